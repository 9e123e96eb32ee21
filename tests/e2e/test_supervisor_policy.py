# SPDX-License-Identifier: MIT
"""Policies on programs that the shim does not reach, carried out by a supervisor: loaded ones,
and what is done at the close. The kernel's table and the server say what came of it."""
import os
import re
import signal
import time

from harness import ADDRESS, sysctl, time_wait_left, wait_for
from test_exec import run_observed
from test_supervisor import Steady, as_nobody, check, compiled, go_client, run_supervised
from test_watch import MANY, STEPS


def load(t, *arguments):
    """Loads a policy as the user who runs the program."""
    return t.run(*as_nobody(t), t.twshim, "policy", "load", *arguments, shim=False)


def closing(t, mode, *steps, repeat=20, options=(), server=None):
    """The report, of a static client under a rule."""
    server = server or t.server()
    return server, run_supervised(t, compiled(t, "gcc"), ADDRESS, str(server.port), *steps, f"repeat:{repeat}",
                                  options=options or ("-p", f"close={mode},to={ADDRESS}"))


def test_a_loaded_policy_acts_on_a_go_program(t):
    program = go_client(t)
    for mode, ending in (("fin-reset", "ended_fin_reset"), ("reset", "ended_reset_policy"),
                         ("reset-drained", "ended_reset_policy")):
        load(t, "-p", f"close={mode},to={ADDRESS}")
        server = t.server()
        report = run_supervised(t, program, "dial", server.to)
        check(t, report, server, established=MANY, **{ending: MANY}, policy_applied=MANY)
        assert time_wait_left(server.port) == 0, mode
        (rule,) = report["rules"]
        assert rule["matched"] == MANY, rule
    server.wait("resets", MANY)


def test_a_policy_that_is_loaded_meanwhile_acts_from_the_next_connection_on(t):
    server, client = t.server(), compiled(t, "gcc")
    path = os.path.join(t.scratch, "report.json")
    run = t.start(*as_nobody(t), t.twshim, "run", "--json", "-o", path, "--", client, ADDRESS, str(server.port),
                  *STEPS, "sleep:2", "repeat:1500", shim=False)
    # The server may accept what was connected before: 200, of which 40 at least must be new.
    for policy in (("load", "-p", f"close=fin-reset,to={ADDRESS}"), ("load", "-p", f"close=reset,to={ADDRESS}"), ("clear",)):
        seen = server.counts["accepted"]
        wait_for(lambda before=seen: server.counts["accepted"] > before + 200, "it connects")
        t.run(*as_nobody(t), t.twshim, "policy", *policy, shim=False)
    shown = t.run(*as_nobody(t), t.twshim, "policy", "show", shim=False).stdout.decode()
    assert run.wait(60) == 0
    with open(path, encoding="utf-8") as file:
        total = t.read_report(file.read())["total"]
    # What passed while the machine was too busy for its supervisor is counted as unobserved.
    seen = 1500 - total["unobserved"]
    assert seen > 750 and total["established"] == total["ended_local_fin"] + total["ended_fin_reset"] == seen, total
    assert total["ended_fin_reset"] == total["policy_applied"] >= 40, total
    # Its filter was put on when no policy asked to see closes.
    assert total["policy_unsupported"] >= 40 and total["ended_reset_policy"] == 0, total
    assert "no shim" not in shown, shown
    assert time_wait_left(server.port) <= 1500 - total["ended_fin_reset"]


def test_roots_run_carries_out_the_loaded_policy(t):
    server, client = t.server(), compiled(t, "gcc")
    t.run(t.twshim, "policy", "load", "-p", f"close=reset,to={ADDRESS}", shim=False)
    report = t.twshim_run(client, ADDRESS, str(server.port), *STEPS, "repeat:50")
    check(t, report, server, attempts=50, established=50, ended_reset_policy=50, policy_applied=50)
    assert time_wait_left(server.port) == 0


def test_exec_obeys_the_run_that_env_named_and_otherwise_what_is_loaded(t):
    client = compiled(t, "gcc")
    nobody = as_nobody(t)
    printed = t.run(*nobody, t.twshim, "env", "-p", f"close=reset,to={ADDRESS}", shim=False).stdout.decode()
    tag = re.search(r"TWSHIM_RUN='(\w+)'", printed)[1]
    load(t, "-p", f"close=fin-reset,to={ADDRESS}")
    for more, ending in (({"TWSHIM_RUN": tag}, "ended_reset_policy"), ({}, "ended_fin_reset")):
        server = t.server()
        report = run_observed(t, client, ADDRESS, str(server.port), *STEPS, "repeat:50", start=nobody, env=more)
        (there,) = [d["counters"] for a in report["apps"] for d in a["destinations"] if d["to"] == server.to]
        assert there[ending] + there["unobserved"] == 50 and there[ending] > 25, there
        assert time_wait_left(server.port) == there["unobserved"], there


def test_resets_spare_what_others_hold_and_what_the_program_decided(t):
    exchange = ("socket", "connect", "send:1", "recv")
    for steps, options, expected in (
            (("fork-hold", "close", "close-d", "wait-child"), (), {"policy_skipped_shared": 20}),
            (("dup", "close", "close-d"), (), {"ended_reset_policy": 20, "policy_applied": 20}),
            (("dup", "close", "close-d"), ("-p", f"close=reset-drained,to={ADDRESS}"),
             {"ended_reset_policy": 20, "policy_applied": 20}),
            (("dup", "close", "close-d"), ("-p", f"close=reset,dry_run=true,to={ADDRESS}"),
             {"policy_would_apply": 20}),
            (("shutdown:wr", "wait-hup", "close"), (), {"policy_too_late": 20}),
            (("linger:5", "close"), (), {"policy_skipped_app_option": 20}),
            (("linger:5", "close"), ("-p", f"close=reset,app_options=override,to={ADDRESS}"),
             {"ended_reset_policy": 20, "policy_applied": 20}),
            (("close",), ("-p", f"close=reset,dry_run=true,to={ADDRESS}"), {"policy_would_apply": 20})):
        server, report = closing(t, "reset", *exchange, *steps, options=options)
        assert {n: c for n, c in report["total"].items() if n.startswith("policy_") and c} \
            == {n: c for n, c in expected.items() if n.startswith("policy_")}, (steps, report["total"])
        ending = {} if "ended_reset_policy" in expected else {"ended_local_fin": 20}
        check(t, report, server, attempts=20, established=20, **ending, **expected)
        assert time_wait_left(server.port) == 20 * len(ending), (steps, report["total"])


def test_a_peer_that_closed_first_is_not_reset(t):
    server = t.server("first")
    _, report = closing(t, "reset", "socket", "connect", "send:1", "recv", "wait-hup", "close", server=server)
    check(t, report, server, attempts=20, established=20, ended_remote_fin=20)
    assert not server.counts["resets"]


def test_graceful_removes_the_programs_own_reset(t):
    server, report = closing(t, "graceful", "socket", "connect", "send:1", "recv", "linger:0", "close")
    check(t, report, server, attempts=20, established=20, ended_local_fin=20, policy_applied=20)
    assert time_wait_left(server.port) == 20


def test_a_rule_for_the_short_lived_acts_at_the_close(t):
    server = t.server()
    for sleep, ended in (("sleep:1", {"ended_fin_reset": 3, "policy_applied": 3}),
                         ("sleep:1100", {"ended_local_fin": 3})):
        _, report = closing(t, "", "socket", "connect", "send:1", "recv", sleep, "close", repeat=3, server=server,
                            options=("-p", f"close=fin-reset,short_lived=true,to={ADDRESS}"))
        assert {k: report["total"][k] for k in ended} == ended, (sleep, report["total"])
    assert time_wait_left(server.port) == 3


def test_resets_are_capped_and_a_rule_stops_where_it_discards_too_much(t):
    started = time.monotonic()
    _, report = closing(t, "", *STEPS, repeat=500, options=("-p", f"close=reset,max_resets_per_second=50,to={ADDRESS}"))
    most, total = 50 * (int(time.monotonic() - started) + 2), report["total"]
    assert 50 <= total["ended_reset_policy"] <= most, total
    assert total["ended_local_fin"] == total["policy_skipped_rate"] == 500 - total["ended_reset_policy"], total
    _, report = closing(t, "", "socket", "connect", "send:60000", "close", repeat=100, server=t.server("slow"),
                        options=("-p", f"close=reset,bytes_discarded=500000,to={ADDRESS}"))
    total = report["total"]
    assert 500000 < total["bytes_discarded"] < 600000 and 8 <= total["ended_reset_policy"] <= 50, total
    assert total["policy_skipped_stopped"] + total["ended_reset_policy"] == 100, total


def test_reset_drained_closes_normally_where_data_is_under_way(t):
    _, report = closing(t, "reset-drained", "socket", "connect", "send:60000", "close", server=t.server("slow"))
    total = report["total"]
    assert (total["policy_skipped_unsent"], total["ended_reset_policy"], total["bytes_discarded"]) == (20, 0, 0), total


def test_binding_before_connect_and_late_bind_count_as_with_the_shim(t):
    late = "late_bind=true,exe=client*"
    for steps, rule, expected in ((("bind",), None, {"bound_before_connect": 20}),
                                  (("bind",), late, {"policy_applied": 20}),
                                  (("bind",), late + ",dry_run=true", {"policy_would_apply": 20, "bound_before_connect": 20}),
                                  (("no-port:1", "bind"), late, {}), ((), late, {})):
        for program in (t.prog("client"), compiled(t, "gcc")):
            server = t.server()
            report = run_supervised(t, program, ADDRESS, str(server.port), "socket", *steps, *STEPS[1:],
                                    "repeat:20", options=("-p", rule) if rule else ())
            counted = {n: c for n, c in report["total"].items() if c and n.startswith(("policy_", "bound_"))}
            assert counted == expected, (program, steps, rule, report["total"])


def test_a_go_program_does_not_run_out_of_ports_under_a_rule(t):
    program = go_client(t)
    sysctl("net.ipv4.ip_local_port_range", "40000 40299")
    sysctl("net.ipv4.tcp_tw_reuse", 0)
    for mode, ending in ((None, None), ("fin-reset", "ended_fin_reset"), ("reset", "ended_reset_policy")):
        server = t.server()
        options = ("-p", f"close={mode},to={ADDRESS}") if mode else ()
        report = run_supervised(t, program, "dial", server.to, options=options, status=0 if mode else 2)
        if mode:
            check(t, report, server, established=MANY, policy_applied=MANY, **{ending: MANY})
        else:
            assert b"cannot assign requested address" in t.result.stderr, t.result.stderr[-300:]
            assert report["total"]["failed_no_port"] or report["total"]["failed_other"], report["total"]


def test_no_connection_hangs_or_fails_whoever_is_killed_or_stopped_while_closes_wait_too(t):
    for number in (signal.SIGKILL, signal.SIGSTOP):
        for victim in ("supervisor", "keeper", "run"):
            steady = Steady(t, "-p", f"close=reset,to={ADDRESS}")
            os.kill(steady.pids[victim], number)
            steady.goes_on()
            if number == signal.SIGSTOP:
                os.kill(steady.pids[victim], signal.SIGCONT)
                steady.goes_on()
            steady.end()


def test_what_closes_while_the_supervisor_is_stopped_is_said_to_have_passed_the_policy(t):
    steady = Steady(t, "-p", f"close=reset,to={ADDRESS}")
    steady.stall()
    steady.end()
    assert steady.process.wait(20) == 0
    said = steady.process.stderr.read().decode()
    assert int(re.search(r"(\d+) calls of close\(\) or bind\(\) passed", said)[1]) >= 90, said


def test_what_a_supervisor_cannot_do_for_a_policy_is_counted_as_unsupported(t):
    server = t.server()
    report = run_supervised(t, compiled(t, "gcc"), ADDRESS, str(server.port), *STEPS, "repeat:20",
                            options=("-p", f"port_ring=full,to={server.to}"))
    check(t, report, server, attempts=20, established=20, ended_local_fin=20, policy_unsupported=20)
