# SPDX-License-Identifier: MIT
"""The main job: run an unmodified client and see which program leaves TIME_WAIT, compared with the
server's counts and the kernel's own table."""
import os
import signal
import sys

from harness import ADDRESS, ESTABLISHED, kernel_sockets, time_wait, time_wait_left, wait_for, policy_slot

PYTHON_CLIENT = """
import socket, sys
for _ in range(int(sys.argv[3])):
    with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as c:
        c.sendall(b"x")
        c.recv(1)
"""
STEPS = ("socket", "connect", "send:1", "recv", "close")


def test_a_thousand_connections_of_a_c_client_are_counted_and_confirmed(t):
    server = t.server()
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:1000")
    assert server.counts["accepted"] == 1000
    t.counters(report, attempts=1000, established=1000, ended_local_fin=1000, via_close=1000,
               short_lived=1000, peak_open=1, bytes_sent=0)
    assert not report["bytes_counted"] and not report["apps"][0]["bytes_counted"]
    t.time_wait_agrees(report, server, 1000)


def test_bytes_are_counted_where_they_are_asked_for(t):
    server = t.server()
    conf = t.file("detail.conf", "detail = true;")
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:100",
                          options=("-c", conf))
    t.counters(report, established=100, ended_local_fin=100, bytes_sent=100, bytes_received=100)
    assert report["bytes_counted"] and report["apps"][0]["bytes_counted"]


def test_a_thousand_connections_of_python_are_counted_and_confirmed(t):
    server = t.server()
    script = t.file("client.py", PYTHON_CLIENT)
    report = t.twshim_run(sys.executable, script, ADDRESS, str(server.port), "1000")
    assert server.counts["accepted"] == 1000
    t.counters(report, attempts=1000, established=1000, ended_local_fin=1000)
    t.time_wait_agrees(report, server, 1000)


def test_a_thousand_connections_of_curl_are_counted_and_confirmed(t):
    t.need("curl")
    server = t.server("http")
    report = t.twshim_run("curl", "-s", "-o", "/dev/null",
                          f"http://{ADDRESS}:{server.port}/[1-1000]")
    assert server.counts["accepted"] == 1000
    t.counters(report, attempts=1000, established=1000, ended_local_fin=1000)
    t.time_wait_agrees(report, server, 1000)


def test_bare_the_same_clients_leave_the_same_sockets(t):
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:1000", shim=False)
    assert server.counts["accepted"] == 1000
    assert time_wait_left(server.port) == 1000
    assert os.listdir(t.dir) == []


def test_when_the_peer_closes_first_no_time_wait_stays_here(t):
    server = t.server("first")
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect",
                          "send:1", "recv", "wait-hup", "close", "repeat:100")
    t.counters(report, attempts=100, established=100, ended_remote_fin=100)
    t.time_wait_agrees(report, server, 0)


def test_refused_connections_are_failures(t):
    server = t.server()
    server.close()
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect?",
                          "close", "repeat:100")
    t.counters(report, attempts=100, failed_refused=100, established=0)
    t.time_wait_agrees(report, server, 0)


def test_unread_data_makes_a_close_a_reset(t):
    server = t.server("unread")
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect",
                          "wait-readable", "close", "repeat:100")
    t.counters(report, attempts=100, established=100, ended_reset_unread=100)
    server.wait("resets", 100)
    t.time_wait_agrees(report, server, 0)


def test_fifty_open_connections_of_a_killed_process_are_accounted(t):
    server = t.server()
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect",
                          "send:1", "recv", "repeat:50", "kill", status=-signal.SIGKILL)
    t.counters(report, attempts=50, established=50, ended_local_fin=50, via_kill=50, open=0)
    t.time_wait_agrees(report, server, 50)


def test_report_accounts_a_killed_process_too(t):
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "send:1", "recv",
          "repeat:50", "kill", status=-signal.SIGKILL)
    wait_for(lambda: time_wait(server.port) == 50, "50 TIME_WAIT sockets")
    report = t.report()
    t.counters(report, attempts=50, established=50, ended_local_fin=50, via_kill=50)
    t.time_wait_agrees(report, server, 50)


def test_what_another_network_namespace_holds_is_not_said_to_be_gone(t):
    script = (f"ip link set lo up && ip address add {ADDRESS}/24 dev lo && "
              f"{t.prog('fill')} 30 {ADDRESS}")
    t.run("unshare", "-n", "sh", "-c", script)
    report = t.report()
    t.counters(report, attempts=30, established=30, ended_local_fin=30)
    assert report["unseen"]["other_network_namespace"] == 1, report["unseen"]
    said = report["time_wait"]
    assert (said["predicted"], said["confirmed"], said["gone_early"]) == (30, 0, 0), said
    text = t.run(t.twshim, "report", shim=False).stdout.decode()
    assert "ended early" not in text and "another network namespace" in text, text


def test_connections_of_a_stopped_process_are_open(t):
    server = t.server()
    process = t.start(t.prog("client"), ADDRESS, str(server.port), "socket", "connect",
                      "send:1", "recv", "repeat:20", "sleep:60000")
    wait_for(lambda: len(kernel_sockets(ESTABLISHED, server.port)) == 20, "20 connections")
    server.wait("bytes", 20)
    process.send_signal(signal.SIGSTOP)
    t.counters(t.report(), attempts=20, established=20, open=20)


def test_children_and_grandchildren_are_summed_by_application(t):
    server = t.server("http")
    t.need("curl")
    url = f"http://{ADDRESS}:{server.port}/"
    loop = f"for i in 1 2 3 4 5; do curl -s {url} >/dev/null; done; sh -c 'curl -s {url}'"
    report = t.twshim_run("sh", "-c", loop)
    assert [(a["app"], a["processes"]) for a in report["apps"]] == [("curl", 6)]
    t.counters(report, attempts=6, established=6, ended_local_fin=6)
    t.time_wait_agrees(report, server, 6)


def test_two_threads_lose_no_count(t):
    server = t.server()
    script = t.file("threads.py", """
import socket, sys, threading
def work():
    for _ in range(500):
        with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as c:
            c.sendall(b"x"); c.recv(1)
threads = [threading.Thread(target=work) for _ in range(2)]
[x.start() for x in threads]; [x.join() for x in threads]
""")
    report = t.twshim_run(sys.executable, script, ADDRESS, str(server.port))
    t.counters(report, attempts=1000, established=1000, ended_local_fin=1000)
    t.time_wait_agrees(report, server, 1000)


def _policy(t, rule, mode="echo", steps=STEPS, number=100):
    server = t.server(mode)
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *steps,
                          f"repeat:{number}", options=("-p", f"{rule},to={server.to}"))
    return server, report


def test_policy_reset_leaves_no_time_wait(t):
    server, report = _policy(t, "close=reset")
    t.counters(report, attempts=100, established=100, ended_reset_policy=100,
               policy_applied=100, bytes_discarded=0)
    server.wait("resets", 100)
    t.time_wait_agrees(report, server, 0)


def test_policy_fin_reset_leaves_no_time_wait_and_the_peer_reads_to_the_end(t):
    server, report = _policy(t, "close=fin-reset")
    t.counters(report, attempts=100, established=100, ended_fin_reset=100, policy_applied=100)
    server.wait("eofs", 100)
    assert server.counts["resets"] == 0
    t.time_wait_agrees(report, server, 0)


def test_policy_dry_run_changes_nothing_and_says_what_it_would(t):
    server, report = _policy(t, "close=reset,dry_run=true")
    t.counters(report, attempts=100, established=100, ended_local_fin=100,
               policy_would_apply=100, policy_applied=0)
    t.time_wait_agrees(report, server, 100)


def test_the_text_says_what_a_policy_did_or_would_have_done(t):
    server = t.server()
    command = (t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:30")
    for rule, words in (
            ("close=fin-reset,dry_run=true", "30 connections matched; 30 would have been applied (dry run)"),
            ("close=fin-reset", "30 connections matched; 30 helped; the kernel "
             "shows none of them in TIME_WAIT"),
            ("close=fin-reset,exe=nobody*", "No rule of the policy applied. The connections were "
             f"opened by {os.path.realpath(t.prog('client'))}; twshim policy explain --exe "
             f"{os.path.realpath(t.prog('client'))} --to {server.to}"),
            (None, None)):
        options = ("-p", rule) if rule else ()
        text = t.run(t.twshim, "run", *options, "--", *command, shim=False).stderr.decode()
        text = " ".join(text.split())
        assert words in text if words else "he policy" not in text and "Rule" not in text, text


def test_policy_for_another_destination_does_not_apply(t):
    server = t.server()
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:50",
                          options=("-p", "close=reset,to=10.77.0.9"))
    t.counters(report, attempts=50, established=50, ended_local_fin=50, policy_applied=0)
    t.time_wait_agrees(report, server, 50)


def test_policy_graceful_takes_away_the_programs_own_reset(t):
    steps = ("socket", "connect", "linger:0", "send:1", "recv", "close")
    server, report = _policy(t, "close=graceful", steps=steps)
    t.counters(report, attempts=100, established=100, ended_local_fin=100, policy_applied=100)
    server.wait("eofs", 100)
    t.time_wait_agrees(report, server, 100)


def test_the_programs_own_linger_stands_against_a_policy(t):
    steps = ("socket", "connect", "linger:3", "send:1", "recv", "close")
    server, report = _policy(t, "close=reset", steps=steps)
    t.counters(report, attempts=100, established=100, ended_local_fin=100,
               policy_skipped_app_option=100)
    t.time_wait_agrees(report, server, 100)


def test_policy_does_not_touch_what_the_peer_closed_first(t):
    server, report = _policy(t, "close=reset", mode="first",
                             steps=("socket", "connect", "send:1", "recv", "wait-hup", "close"))
    t.counters(report, attempts=100, established=100, ended_remote_fin=100, policy_applied=0)
    t.time_wait_agrees(report, server, 0)


def test_a_damaged_policy_image_is_counted_and_the_client_observed(t):
    server = t.server()
    rule = t.file("p.conf", f'rules = ( {{ name = "r"; match = {{ to = ["{ADDRESS}"]; }}; '
                            'close = "reset"; } );')
    t.run(t.twshim, "policy", "load", rule, shim=False)
    with open(t.control, "r+b") as file:
        file.seek(policy_slot(1) + 100)
        file.write(b"\xff\xff\xff\xff")
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:10")
    report = t.report()
    t.counters(report, attempts=10, established=10, ended_local_fin=10, policy_applied=0,
               policy_image_refused=1)
