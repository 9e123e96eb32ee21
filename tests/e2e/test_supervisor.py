# SPDX-License-Identifier: MIT
"""`twshim run` by an ordinary user, of a program that the shim does not reach: a supervisor
observes it. What it counts is held against the server's count and the kernel's table, and it is
stopped and killed at any moment."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from harness import (ADDRESS, TIME_WAIT, Skip, is_sanitized, kernel_sockets, settle, sysctl,
                     wait_for)
from test_cold import NOBODY
from test_watch import CLIENT, ENDINGS, GO, MANY, STEPS, compiled
from test_ways_in import _Full

UID = 65534
FIN_WAIT2 = 5  # in the kernel's table
SLOW_US = 1000000  # far over what a held-up supervisor may cost, 100 ms, which `make bench` measures


def as_nobody(t):
    """What begins a command of an ordinary user, who has a directory to publish in."""
    t.need("setpriv")
    if os.geteuid() != 0:
        raise Skip("becoming another user needs root")
    os.chmod(t.scratch, 0o777)
    os.chown(t.dir, UID, UID)
    return NOBODY


def run_supervised(t, *command, options=(), before=(), **more):
    """The report of a run as nobody, which `before` starts."""
    path = os.path.join(t.scratch, "report.json")
    if os.path.exists(path):
        os.unlink(path)
    t.result = t.run(*as_nobody(t), *before, t.twshim, "run", "--json", "-o", path, *options, "--",
                     *command, shim=False, **more)
    said = t.result.stderr.decode()
    if "user notification" in said:
        raise Skip(said)
    with open(path, encoding="utf-8") as file:
        return t.read_report(file.read())


def check(t, report, server, attempts=MANY, **expected):
    """One application, which a supervisor observed, and of which only this was counted. What passed
    while the machine was too busy for its supervisor is counted as unobserved."""
    assert [a["observed_by"]["supervisor"] for a in report["apps"]] == [1], report["apps"]
    missed = report["total"]["unobserved"]
    assert missed < attempts / 2, report["total"]
    less = {k: v - missed if v == attempts and missed else v for k, v in expected.items()}
    said = t.result.stderr.decode() if t.result else ""
    passed = re.search(r"(\d+) calls of close\(\) or bind\(\) passed", said)
    if passed and "policy_applied" in less and "ended_local_fin" not in less:
        # On a close that passed, the policy did not act.
        spared = report["total"]["ended_local_fin"]
        assert spared <= int(passed[1]) < attempts / 2, (spared, passed)
        less = {k: v - spared if k == "policy_applied" or k.startswith("ended_") else v for k, v in less.items()}
        less["ended_local_fin"] = spared
    t.counters(report, attempts=attempts - missed, unobserved=missed, **less)
    if not missed:
        t.accounted(report, server)


def test_static_programs_of_both_libraries_are_counted_to_the_connection(t):
    for compiler in ("gcc", "musl-gcc"):
        server = t.server()
        report = run_supervised(t, compiled(t, compiler), ADDRESS, str(server.port), *STEPS,
                                f"repeat:{MANY}")
        check(t, report, server, established=MANY, ended_local_fin=MANY, short_lived=MANY,
              peak_open=1, bytes_sent=MANY, bytes_received=MANY)
        assert "a supervisor observes it" in t.result.stderr.decode(), t.result.stderr


def test_every_kind_of_ending_is_told_apart(t):
    client = compiled(t, "gcc")
    for name, (mode, steps, ending) in ENDINGS.items():
        if "linger2:-1" in steps:
            continue  # the program's own, which looks as if the peer had closed first
        server = t.server(mode)
        opened = ("socket", "fastopen") if name == "fast open" else ("socket", "connect")
        report = run_supervised(t, client, ADDRESS, str(server.port), *opened, *steps,
                                f"repeat:{MANY}")
        try:
            check(t, report, server, established=MANY, **{ending: MANY})
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def test_a_peer_that_sends_after_our_close_did_not_close_first(t):
    """The reset that answers its data takes the TIME_WAIT away. Where a close is seen, that is known
    of a connection that had received something too."""
    for options, steps in (((), ("socket", "connect", "close")),
                           (("-p", f"close=reset,dry_run=true,to={ADDRESS}"), STEPS)):
        server = t.server("late")
        report = run_supervised(t, compiled(t, "gcc"), ADDRESS, str(server.port), *steps, f"repeat:{MANY}",
                                options=options)
        total = report["total"]
        assert total["ended_local_fin"] == total["established"] == MANY - total["unobserved"], total


SAME_PORT = """#include <arpa/inet.h>
    #include <stdlib.h>
    #include <sys/socket.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        struct sockaddr_in to = {AF_INET, htons(atoi(argv[1])), {inet_addr(argv[2])}};
        struct sockaddr_in from = {AF_INET, htons(23999), {inet_addr(argv[2])}};
        char byte = 'x';
        int one = 1;
        for (int i = 0; i < 40; i++) {
            int c = socket(AF_INET, SOCK_STREAM, 0);
            setsockopt(c, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
            if (bind(c, (void *)&from, sizeof(from)) || connect(c, (void *)&to, sizeof(to))) return 1;
            write(c, &byte, 1);
            read(c, &byte, 1);
            shutdown(c, SHUT_WR);
            if (read(c, &byte, 1)) return 2;
            close(c);
        }
        return 0; }"""


def test_a_time_wait_whose_port_is_taken_at_once_is_seen_before(t):
    t.need("gcc")
    path, server = os.path.join(t.scratch, "same-port"), t.server()
    t.run("gcc", "-w", "-static", "-o", path, t.file("same_port.c", SAME_PORT), shim=False)
    total = run_supervised(t, path, str(server.port), ADDRESS)["total"]
    assert total["ended_local_fin"] == total["established"] == 40 - total["unobserved"], total


def test_the_peers_fin_is_no_byte_where_a_close_is_seen(t):
    options = ("-p", f"close=reset,dry_run=true,to={ADDRESS}")
    for mode, steps in (("echo", ("send:1", "recv", "shutdown:wr", "wait-hup", "close")),
                        ("first", ("send:1", "wait-hup", "close")),
                        ("first", ("send:1", "recv", "wait-hup", "unspec"))):
        server = t.server(mode)
        report = run_supervised(t, compiled(t, "gcc"), ADDRESS, str(server.port), "socket", "connect", *steps,
                                "repeat:20", options=options)
        total = report["total"]
        assert total["established"] == total["bytes_sent"] == total["bytes_received"] == 20, (steps, total)


GIVEN_UP = """#include <arpa/inet.h>
    #include <netinet/tcp.h>
    #include <poll.h>
    #include <stdlib.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        struct sockaddr_in to = {AF_INET, htons(atoi(argv[1])), {inet_addr(argv[2])}};
        int c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        unsigned ms = atoi(argv[3]);
        struct pollfd polled = {c, POLLOUT};
        setsockopt(c, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
        connect(c, (void *)&to, sizeof(to));
        return poll(&polled, 1, atoi(argv[4])) != atoi(argv[5]); }"""


def test_an_attempt_that_its_user_timeout_ends_timed_out_and_one_given_up_before_is_abandoned(t):
    t.need("gcc")
    full, source = _Full(t), t.file("given_up.c", GIVEN_UP)
    for static in ((), ("-static",)):
        path = os.path.join(t.scratch, "given-up" + "".join(static))
        t.run("gcc", "-w", *static, "-o", path, source, shim=False)
        for timeout_ms, wait_ms, ready, ending in (("500", "-1", "1", "failed_timed_out"),
                                                   ("60000", "1", "0", "abandoned")):
            report = run_supervised(t, path, str(full.port), ADDRESS, timeout_ms, wait_ms, ready)
            t.counters(report, attempts=1, established=0, **{ending: 1})


WAITS = """#include <arpa/inet.h>
    #include <stdlib.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        struct sockaddr_in to = {AF_INET, htons(atoi(argv[1])), {inet_addr(argv[2])}};
        int c = socket(AF_INET, SOCK_STREAM, 0);
        char byte = 'c';
        if (connect(c, (void *)&to, sizeof(to))) return 1;
        write(1, &byte, 1);
        return read(0, &byte, 1) < 0; }"""

STARTS_MANY = """if True:
    import os, subprocess, sys
    wait, go = os.pipe()
    came, tell = os.pipe()
    # All of them connect, and none ends before all have.
    programs = [subprocess.Popen(sys.argv[2:], stdin=wait, stdout=tell) for _ in range(int(sys.argv[1]))]
    for _ in programs:
        assert os.read(came, 1) == b"c"
    os.close(wait)
    os.close(go)
    assert not any(p.wait() for p in programs)"""


def test_programs_beyond_the_256_that_a_supervisor_observes_are_counted_as_unobserved(t):
    need_helper(t)
    t.need("gcc")
    path, server = os.path.join(t.scratch, "waits"), t.server()
    t.run("gcc", "-w", "-static", "-o", path, t.file("waits.c", WAITS), shim=False)
    report = run_supervised(t, "/usr/bin/python3", "-c", STARTS_MANY, "260", path, str(server.port), ADDRESS,
                            options=("-p", "close=keep"))
    said = t.result.stderr.decode()
    assert int(re.search(r"(\d+) programs were not observed: 256", said)[1]) == 4, said
    total = report["total"]
    assert total["established"] + total["unobserved"] == 260 and total["unobserved"] >= 4, total


def test_a_reset_by_policy_keeps_its_bytes(t):
    server = t.server()
    report = run_supervised(t, compiled(t, "gcc"), ADDRESS, str(server.port), *STEPS, "repeat:20",
                            options=("-p", f"close=reset,to={ADDRESS}"))
    check(t, report, server, attempts=20, established=20, ended_reset_policy=20, policy_applied=20, bytes_sent=20,
          bytes_received=20)


def go_client(t):
    """The client in Go; where go has cgo, it loads the shim, which then sees none of its calls."""
    t.need("go")
    source, program = t.file("main.go", GO), os.path.join(t.scratch, "go-client")
    t.run("go", "build", "-o", program, source, shim=False, timeout=200,
          env={"HOME": t.scratch, "GOCACHE": os.path.join(t.scratch, "cache"), "GO111MODULE": "off"})
    return program


def test_go_programs_are_counted_to_the_connection(t):
    program = go_client(t)
    for how, mode in (("close", "http"), ("keep", "http11"), ("dial", "echo")):
        server = t.server(mode)
        report = run_supervised(t, program, how, server.to)
        total = t.accounted(report, server)
        assert how == "keep" or total["established"] == MANY, (how, total)
        assert report["total"]["attempts"] == report["total"]["established"], (how, total)
        assert [a["app"] for a in report["apps"]] == ["go-client"]


def test_a_go_program_that_loads_the_shim_is_counted_by_the_kernel_under_roots_run(t):
    program, server = go_client(t), t.server()
    report = t.twshim_run(program, "dial", server.to)
    t.counters(report, attempts=MANY, established=MANY, ended_local_fin=MANY)
    assert sum(a["observed_by"]["bpf"] + a["observed_by"]["supervisor"] for a in report["apps"]) == 1


def test_root_in_a_container_gets_a_supervisor(t):
    server, client = t.server(), compiled(t, "gcc")
    path = os.path.join(t.scratch, "report.json")
    t.run("unshare", "--pid", "--fork", "--mount-proc", t.twshim, "run", "--json", "-o", path, "--",
          client, ADDRESS, str(server.port), *STEPS, "repeat:30", shim=False)
    settle(server.port)
    with open(path, encoding="utf-8") as file:
        check(t, t.read_report(file.read()), server, attempts=30, established=30, ended_local_fin=30)


def test_what_connect_with_af_unspec_ends_was_established_or_is_given_up(t):
    server, client = t.server(), compiled(t, "gcc")
    again = ("unspec", "connect", "send:1", "recv", "close", "repeat:20")
    report = run_supervised(t, client, ADDRESS, str(server.port), "socket", "connect", "send:1", "recv", *again)
    check(t, report, server, attempts=40, established=40, ended_reset_app=20, ended_local_fin=20, bytes_sent=40,
          bytes_received=40, bound_before_connect=0)


def test_failures_are_counted_and_a_blocking_connect_keeps_its_reason_to_itself(t):
    client, server = compiled(t, "gcc"), t.server()
    report = run_supervised(t, client, ADDRESS, "19999", "socket", "nonblock", "connect?",
                            "close", "repeat:20")
    t.counters(report, attempts=20, failed_refused=20)
    report = run_supervised(t, client, ADDRESS, "19999", "socket", "connect?", "close", "repeat:20")
    t.counters(report, attempts=20, failed_other=20)
    report = run_supervised(t, client, "203.0.113.7", "80", "socket", "connect?", "close", "repeat:20")
    t.counters(report, attempts=20, failed_unreachable=20)
    t.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40019", shim=False)
    report = run_supervised(t, client, ADDRESS, str(server.port), "socket", "connect?", "close",
                            "repeat:60")
    t.counters(report, attempts=60, established=20, ended_local_fin=20, failed_no_port=40)


def test_each_call_without_a_route_is_an_attempt_as_with_the_shim(t):
    for steps in (("connect?", "connect?", "connect?"), ("connect?", "port:81", "connect?", "port:80", "connect?")):
        for program in (t.prog("client"), compiled(t, "gcc")):
            report = run_supervised(t, program, "203.0.113.7", "80", "socket", *steps, "close", "repeat:20")
            t.counters(report, attempts=60, failed_unreachable=60)


def test_repeated_and_interrupted_connects_are_one_attempt_each(t):
    client, server = compiled(t, "gcc"), t.server()
    report = run_supervised(t, client, ADDRESS, str(server.port), "socket", "nonblock", "connect-poll",
                            "connect-again", "block", "send:1", "recv", "close", "repeat:200")
    check(t, report, server, attempts=200, established=200, ended_local_fin=200)
    server = t.server()
    report = run_supervised(t, client, ADDRESS, "19999", "socket", "connect?", f"port:{server.port}",
                            "connect", "send:1", "recv", "close")
    t.counters(report, attempts=2, established=1, ended_local_fin=1, failed_other=1)


def test_what_a_killed_program_leaves_is_what_the_kernel_says(t):
    server = t.server()
    report = run_supervised(t, compiled(t, "gcc"), ADDRESS, str(server.port), "socket", "connect",
                            "send:1", "recv", "kill", status=-signal.SIGKILL)
    check(t, report, server, attempts=1, established=1, ended_local_fin=1)


def test_what_a_peer_lets_wait_for_its_close_keeps_its_bytes(t):
    sysctl("net.ipv4.tcp_fin_timeout", 120)  # so long that the socket itself waits in FIN_WAIT2
    server, path = t.server("slow"), os.path.join(t.scratch, "report.json")
    steps = f"{compiled(t, 'gcc')} {ADDRESS} {server.port} socket connect send:7 close; read line"
    run = t.start(*as_nobody(t), t.twshim, "run", "--json", "-o", path, "--", "sh", "-c", steps, shim=False,
                  stdin=subprocess.PIPE, stderr=subprocess.PIPE)

    wait_for(lambda: kernel_sockets(FIN_WAIT2, server.port), "it waits")
    time.sleep(1)  # the supervisor looks at the kernel's table twice a second, and nothing shows that it has
    server.drain()
    settle(server.port)
    run.communicate(b"\n")
    with open(path, encoding="utf-8") as file:
        check(t, t.read_report(file.read()), server, attempts=1, established=1, ended_local_fin=1, bytes_sent=7)


def test_what_still_runs_is_observed_to_its_end(t):
    server = t.server()
    report = run_supervised(t, compiled(t, "gcc"), ADDRESS, str(server.port), "socket", "connect",
                            "send:1", "recv", "fork-hold", "close")
    assert report["total"]["established"] == 1, report["total"]


# ------------------------------------------------------------------------ it harms nobody

def processes(pid):
    """{name: pid} of the supervisor and its keeper, below a `run`."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                name, rest = file.read().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        found[int(entry)] = (name, int(rest.split()[1]))
    observer = [p for p, (name, parent) in found.items() if parent == pid
                and name == "twshim-observer"]
    keeper = [p for p, (name, parent) in found.items() if parent in observer
              and name == "twshim-keeper"]
    return {"supervisor": observer[0] if observer else 0, "keeper": keeper[0] if keeper else 0,
            "run": pid}


def steady_program(t):
    """The path of a static program that connects without a pause."""
    path = os.path.join(t.scratch, "steady")
    if not os.path.exists(path):
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../progs/steady.c")
        t.run("gcc", "-w", "-static", "-D_GNU_SOURCE", "-o", path, source, shim=False)
    return path


class Steady:
    """A supervised program that connects without a pause, and what it says at the end."""

    def __init__(self, t, *options):
        path = steady_program(t)
        self.server = t.server()
        self.process = t.start(*as_nobody(t), t.twshim, "run", *options, "--", path, ADDRESS,
                               str(self.server.port), shim=False, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n", self.process.stderr.read()
        self.pids = processes(self.process.pid)
        assert all(self.pids.values()), self.pids
        self.goes_on()

    def goes_on(self):
        """Waits for a hundred more connections."""
        more = self.server.counts["accepted"] + 100
        self.server.wait("accepted", more)

    def stall(self, victim="supervisor"):
        """Goes on while one of the observers is stopped, and after that."""
        os.kill(self.pids[victim], signal.SIGSTOP)
        self.goes_on()
        os.kill(self.pids[victim], signal.SIGCONT)
        self.goes_on()

    def finish(self):
        """How many connects there were, none of which failed, and the microseconds of the slowest."""
        self.process.stdin.close()
        connects, failed, slowest = map(int, self.process.stdout.readline().split())
        assert failed == 0, (connects, failed, slowest)
        return connects, slowest

    def end(self):
        """No connect failed, and none hung."""
        connects, slowest = self.finish()
        assert slowest < SLOW_US, (connects, slowest)
        assert connects == self.server.counts["accepted"]


def test_no_connect_fails_or_hangs_whoever_is_killed(t):
    for victim in ("supervisor", "keeper", "run"):
        steady = Steady(t)
        os.kill(steady.pids[victim], signal.SIGKILL)
        steady.goes_on()
        steady.end()


def test_no_connect_fails_or_hangs_whoever_is_stopped(t):
    for victim in ("supervisor", "keeper", "run"):
        steady = Steady(t)
        os.kill(steady.pids[victim], signal.SIGSTOP)
        steady.goes_on()
        os.kill(steady.pids[victim], signal.SIGCONT)
        steady.goes_on()
        steady.end()


def test_what_passes_while_the_supervisor_is_stopped_is_counted_as_unobserved(t):
    steady = Steady(t)
    steady.stall()
    steady.end()
    assert steady.process.wait(20) == 0
    total = t.report()["total"]
    assert total["unobserved"] >= 90, "at most a few were under way when it was stopped"
    assert total["attempts"] + total["unobserved"] == steady.server.counts["accepted"], total


def test_a_program_that_starts_beside_one_that_connects_without_a_pause_is_observed_too(t):
    server, busy = t.server(), t.server()
    end, said = os.path.join(t.scratch, "end"), os.path.join(t.scratch, "said")
    os.mkfifo(end)
    os.chmod(end, 0o666)
    report = run_supervised(t, "sh", "-c", f"""
        {steady_program(t)} {ADDRESS} {busy.port} <{end} >{said} & exec 3>{end}
        until test -s {said}; do sleep 0.01; done
        {compiled(t, "gcc")} {ADDRESS} {server.port} {" ".join(STEPS)} repeat:30
        exec 3>&-; wait""")
    observed = {a["app"]: a["observed_by"]["supervisor"] for a in report["apps"]}
    assert observed == {"steady": 1, "client-gcc": 1}, report["apps"]
    with open(said, encoding="utf-8") as file:
        connects, failed, slowest = map(int, file.read().split()[1:])
    assert failed == 0 and slowest < SLOW_US and connects == busy.counts["accepted"]
    assert report["total"]["attempts"] + report["total"]["unobserved"] == connects + 30, report["total"]


def test_a_keeper_is_replaced_and_then_the_supervisor_may_die_as_well(t):
    steady = Steady(t)
    os.kill(steady.pids["keeper"], signal.SIGKILL)
    wait_for(lambda: processes(steady.process.pid)["keeper"] not in (0, steady.pids["keeper"]),
             "there is another keeper")
    os.kill(steady.pids["supervisor"], signal.SIGKILL)
    steady.goes_on()
    steady.end()
    said = steady.process.stderr.read().decode()
    assert "the supervisor was killed" in said, said


def test_the_keys_of_the_terminal_do_not_reach_the_supervisor(t):
    steady = Steady(t)
    for name in ("supervisor", "keeper"):
        assert os.getsid(steady.pids[name]) != os.getsid(steady.process.pid), name
    steady.end()


def observers():
    """The supervisors and keepers of this test: those in its network namespace."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/comm", encoding="utf-8") as file:
                if file.read().startswith("twshim-") and \
                        os.readlink(f"/proc/{entry}/ns/net") == os.readlink("/proc/self/ns/net"):
                    found.append(int(entry))
        except OSError:
            continue
    return found


def test_nothing_is_left_of_a_supervisor(t):
    server = t.server()
    run_supervised(t, compiled(t, "gcc"), ADDRESS, str(server.port), *STEPS, "repeat:3")
    left = [f for _, folders, files in os.walk(t.dir) for f in folders + files
            if not f.endswith((".seg", ".lock"))]
    assert not left, left
    wait_for(lambda: not observers(), "supervisor and keeper have ended")


# ---------------------------------------------------------------------------- policies

def test_fin_reset_leaves_no_time_wait_of_a_go_or_static_program(t):
    for client in (go_client(t), compiled(t, "gcc")):
        server = t.server()
        words = ("dial", server.to) if client.endswith("go-client") else \
            (ADDRESS, str(server.port), *STEPS, f"repeat:{MANY}")
        report = run_supervised(t, client, *words, options=("-p", "close=fin-reset"))
        check(t, report, server, established=MANY, ended_fin_reset=MANY, policy_applied=MANY)
        (rule,) = report["rules"]
        assert rule["matched"] == rule["helped"] == MANY, rule


def test_fin_reset_is_told_apart_from_a_peer_that_closed_first(t):
    server = t.server("first")
    report = run_supervised(t, compiled(t, "gcc"), ADDRESS, str(server.port), "socket", "connect",
                            "send:1", "recv", "wait-hup", "close", "repeat:200",
                            options=("-p", "close=fin-reset"))
    check(t, report, server, attempts=200, established=200, ended_remote_fin=200, policy_applied=0)


def test_roots_run_carries_out_a_policy_and_counts_nothing_twice(t):
    server, client = t.server(), compiled(t, "gcc")
    report = t.twshim_run(client, ADDRESS, str(server.port), *STEPS, "repeat:50",
                          options=("-p", "close=fin-reset"))
    check(t, report, server, attempts=50, established=50, ended_fin_reset=50, policy_applied=50)


def test_ports_of_a_range_and_late_bind_act_on_a_static_program(t):
    client, server = compiled(t, "gcc"), t.server()
    run_supervised(t, client, ADDRESS, str(server.port), *STEPS, "repeat:20",
                   options=("-p", "port_range=50000-50100"))
    ports = [local for local, _ in kernel_sockets(TIME_WAIT, server.port)]
    assert len(ports) == 20 and all(50000 <= port <= 50100 for port in ports), ports
    t.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40019", shim=False)
    servers = [t.server() for _ in range(3)]
    reached = 0
    for other in servers:
        report = run_supervised(t, client, ADDRESS, str(other.port), "socket", "bind", "connect",
                                "send:1", "recv", "close", "repeat:20",
                                options=("-p", "late_bind=true"))
        reached += report["total"]["established"]
    assert reached == 60, reached


def test_a_dry_run_a_sample_and_an_experiment_act_on_a_static_program(t):
    client, server = compiled(t, "gcc"), t.server()
    words = (client, ADDRESS, str(server.port), *STEPS, f"repeat:{MANY}")
    report = run_supervised(t, *words, options=("-p", "close=fin-reset,dry_run=true"))
    check(t, report, server, established=MANY, ended_local_fin=MANY, policy_would_apply=MANY)
    server = t.server()
    words = (client, ADDRESS, str(server.port), *STEPS, f"repeat:{MANY}")
    report = run_supervised(t, *words, options=("-p", "close=fin-reset,sample=50"))
    assert 400 < report["total"]["ended_fin_reset"] < 600, report["total"]
    server = t.server()
    words = (client, ADDRESS, str(server.port), *STEPS, f"repeat:{MANY}")
    report = run_supervised(t, *words, options=("--experiment", f"close=fin-reset,to={server.to}"))
    control, treated = (arm["counters"] for arm in report["arms"])
    assert control["ended_local_fin"] == control["established"] > 400, report["arms"]
    assert treated["ended_fin_reset"] == treated["established"] > 400, report["arms"]
    assert control["established"] + treated["established"] == MANY


# ---------------------------------------------------------------------- a tree of programs

def need_helper(t):
    """Skips where twshim cannot be started with the shim preloaded."""
    if is_sanitized(t):
        raise Skip("a sanitized twshim does not start behind a preloaded library")


def tree(t, server):
    """A script that runs three processes with the shim, and two that it does not reach."""
    need_helper(t)
    client = compiled(t, "gcc")
    one = f"{t.prog('client')} {ADDRESS} {server.port} {' '.join(STEPS)}"
    static = f"{client} {ADDRESS} {server.port} {' '.join(STEPS)} repeat:50"
    return f"{one}; {one} repeat:20; {static} & {one} repeat:30; env {static}; wait"


def test_in_a_tree_the_shim_and_the_supervisor_count_their_own_and_nothing_twice(t):
    for shell in ("sh", "bash"):
        t.need(shell)
        server = t.server()
        report = run_supervised(t, shell, "-c", tree(t, server))
        t.counters(report, attempts=151, established=151, ended_local_fin=151)
        t.accounted(report, server)
        assert {a["app"]: a["observed_by"] for a in report["apps"]} == {
            "client": {"shim": 3, "bpf": 0, "supervisor": 0},
            "client-gcc": {"shim": 0, "bpf": 0, "supervisor": 2}}, report["apps"]
    server = t.server()
    said = t.run(*NOBODY, t.twshim, "run", "--", "sh", "-c", tree(t, server), shim=False).stderr
    assert b"Observed: 3 processes by the shim, 2 by a supervisor" in said, said


def test_a_policy_acts_on_the_whole_tree_as_anybody(t):
    for start in ((), as_nobody(t)):
        server = t.server()
        path = os.path.join(t.scratch, "report.json")
        if os.path.exists(path):
            os.unlink(path)
        if not start:
            os.chown(t.dir, 0, 0)
        else:
            os.chown(t.dir, UID, UID)
        t.run(*start, t.twshim, "run", "-p", "close=fin-reset", "--json", "-o", path, "--", "sh", "-c",
              tree(t, server), shim=False)
        settle(server.port)
        with open(path, encoding="utf-8") as file:
            report = t.read_report(file.read())
        t.counters(report, attempts=151, established=151, ended_fin_reset=151, policy_applied=151)


def test_the_program_of_a_python_script_keeps_its_arguments_name_and_pid(t):
    t.need("gcc")
    need_helper(t)
    program = t.file("show.c", """#include <stdio.h>
        #include <stdlib.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            for (int i = 0; i < argc; i++) printf("[%s]", argv[i]);
            printf("%d %d %s %s", argc, getpid(), getenv("MORE"), getenv("TWSHIM_EXEC") ? "left" : "gone");
            return 7; }""")
    path = os.path.join(t.scratch, "show")
    t.run("gcc", "-w", "-static", "-o", path, program, shim=False)
    script = t.file("start.py", f"""if True:
        import os, subprocess
        for how in ("subprocess", "posix_spawn"):
            arguments = ["another name", "a b", ""]
            environment = dict(os.environ, MORE="more")
            read, write = os.pipe()
            if how == "subprocess":
                p = subprocess.Popen(arguments, executable={path!r}, env=environment, stdout=write)
                pid, status = p.pid, p.wait()
            else:
                pid = os.posix_spawn({path!r}, arguments, environment,
                                     file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)])
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            said = os.read(read, 1000).decode()
            assert said == f"[another name][a b][]3 {{pid}} more gone", said
            assert status == 7, status
        """)
    t.run(*as_nobody(t), t.twshim, "run", "-q", "-p", "close=keep", "--", "/usr/bin/python3", script,
          shim=False)


def test_a_set_user_id_program_of_a_script_is_named(t):
    need_helper(t)
    server, client = t.server(), compiled(t, "gcc")
    gains = os.path.join(t.scratch, "gains")
    shutil.copy(client, gains)
    os.chmod(gains, 0o4755)
    steps = f"{ADDRESS} {server.port} {' '.join(STEPS)}"
    report = run_supervised(t, "sh", "-c", f"{gains} {steps} repeat:3; {gains} {steps} repeat:2; {client} {steps} repeat:4",
                            options=("-p", "close=keep"))
    said = t.result.stderr.decode()
    if os.statvfs(t.scratch).f_flag & os.ST_NOSUID:
        raise Skip("its file system is mounted with nosuid")
    assert said.count(f"{gains}: the shim does not reach it: gains is set-user-ID") == 1, said
    assert "no new privileges" not in said and report["total"]["established"] == 4, (said, report["total"])
    assert server.counts["accepted"] == 9


def test_without_a_supervisor_to_answer_programs_start_as_always(t):
    need_helper(t)
    server, client = t.server(), compiled(t, "gcc")
    script = (f"{client} {ADDRESS} {server.port} {' '.join(STEPS)}; kill -9 $(cat {t.scratch}/pids); "
              f"sleep 0.2; {client} {ADDRESS} {server.port} {' '.join(STEPS)} repeat:20")
    pids = "for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in twshim-observer) " \
           "[ $(readlink $p/ns/net) = $(readlink /proc/self/ns/net) ] && echo ${p#/proc/};; esac; done"
    said = t.run(*as_nobody(t), t.twshim, "run", "--", "sh", "-c",
                 f"{pids} > {t.scratch}/pids; {script}", shim=False).stderr
    assert b"the supervisor was killed" in said, said
    assert server.counts["accepted"] == 21


# ------------------------------------------------------------------------------- its door

def door_of(t):
    """The path of the door of this test's supervisor."""
    for folder, _, files in os.walk(t.dir):
        if "supervisor.sock" in files:
            return os.path.join(folder, "supervisor.sock")
    raise AssertionError(os.listdir(t.dir))


def knock(path, uid=0, descriptor=None):
    """What a process of that user hears at the door: b"" where it is turned away."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        said = b"refused"
        try:
            os.setgid(uid)
            os.setuid(uid)
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                client.settimeout(5)
                client.connect(path)
                said = client.recv(16)
                if said and descriptor is not None:
                    socket.send_fds(client, [b"f"], [descriptor])
                    said = client.recv(16)
        except OSError:
            pass
        finally:
            os.write(write, said)
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    said = os.read(read, 100)
    os.close(read)
    return said


def test_the_door_is_open_to_its_own_user_alone_and_to_listeners_alone(t):
    server = t.server()  # before the client, whose standard input it must not hold open
    steady = Steady(t)
    path = door_of(t)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert knock(path, UID) not in (b"", b"refused"), "its own user gets the terms"
    assert knock(path, 1) == b"refused", "another user can't even connect"
    assert knock(path, 0) in (b"", b"refused"), "not even root is let in"
    with open("/dev/null", encoding="utf-8") as file:
        assert knock(path, UID, file.fileno()) == b"n", "a descriptor of another kind"
    with socket.create_connection((ADDRESS, server.port)) as connection:
        assert knock(path, UID, connection.fileno()) == b"n"
    steady.goes_on()
    steady.end()


def test_a_hundred_clients_at_the_door_that_say_nothing_hold_nobody_up(t):
    steady = Steady(t)
    path = door_of(t)
    clients = []
    for _ in range(100):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.setblocking(False)
        try:
            client.connect(path)
        except BlockingIOError:
            pass
        except OSError:
            break
        clients.append(client)
    steady.goes_on()
    steady.end()


def test_a_program_of_a_stranger_who_poses_as_the_supervisor_runs_without_a_filter(t):
    """The helper hands its connects over only to a process of its own user."""
    t.need("gcc")
    as_nobody(t)
    os.chmod(t.scratch, 0o755)
    tag = "0123456789abcdef0123456789abcdef"
    folder = os.path.join(t.dir, f"run-{tag}")
    os.mkdir(folder)
    os.chmod(t.dir, 0o777)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    door.bind(os.path.join(folder, "supervisor.sock"))
    os.chmod(os.path.join(folder, "supervisor.sock"), 0o777)
    os.chmod(folder, 0o777)
    door.listen(5)  # of root's, not of nobody's

    def welcome():
        client, _ = door.accept()
        client.send(b"\0\0\0\0")
        if socket.recv_fds(client, 1, 1)[1]:
            client.send(b"y")
    threading.Thread(target=welcome, daemon=True).start()
    program = compiled_seccomp(t)
    said = t.run(*NOBODY, t.twshim, env={"TWSHIM_EXEC": program, "TWSHIM_RUN": tag}, shim=False)
    assert said.stdout == b"0\n", said.stdout


def compiled_seccomp(t):
    """A program that prints its seccomp mode, 0 or 2."""
    source = t.file("mode.c", """#include <stdio.h>
        #include <string.h>
        int main(void) {
            char line[256];
            FILE *file = fopen("/proc/self/status", "r");
            while (fgets(line, sizeof(line), file))
                if (!strncmp(line, "Seccomp:", 8)) printf("%c\\n", line[9]);
            return 0; }""")
    path = os.path.join(t.scratch, "mode")
    t.run("gcc", "-w", "-static", "-o", path, source, shim=False)
    return path


def test_a_program_under_a_supervisor_has_a_filter_and_set_user_id_ones_do_not(t):
    as_nobody(t)
    need_helper(t)
    program = compiled_seccomp(t)
    said = t.run(*NOBODY, t.twshim, "run", "-q", "-p", "close=keep", "--", "sh", "-c", program,
                 shim=False)
    assert said.stdout == b"2\n", said.stdout
    os.chmod(program, 0o4755)
    said = t.run(*NOBODY, t.twshim, "run", "-q", "-p", "close=keep", "--", "sh", "-c", program,
                 shim=False)
    assert said.stdout == b"0\n", said.stdout


def test_no_filter_has_the_kernel_guard_its_program_against_speculation(t):
    """Kernels before 5.16 do so unless the filter says that it confines nothing."""
    t.need("strace")
    calls = os.path.join(t.scratch, "calls")
    t.run(*as_nobody(t), "strace", "-f", "-qq", "-e", "trace=seccomp", "-o", calls, t.twshim, "run", "--",
          compiled(t, "gcc"), ADDRESS, str(t.server().port), *STEPS, shim=False)
    with open(calls, encoding="utf-8") as file:
        filters = [line for line in file if "NEW_LISTENER" in line]
    assert len(filters) >= 2 and all("SPEC_ALLOW" in line for line in filters), filters


# ---------------------------------------------------------------- traps of the kernel's

# Becomes a command for which a system call fails if an argument has a bit.
REFUSING = """
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
int main(int argc, char **argv)
{
    struct sock_filter code[] = {
        LOAD(nr), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, %(number)s, 0, 3),
        LOAD(args[1]), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, %(bit)s, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | %(error)s), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(*code), code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        return 77;
    execv(argv[1], argv + 1);
    return 78;
}
"""


def refusing(t, number, bit, error):
    """The path of a program that becomes a command for which the call fails."""
    path = os.path.join(t.scratch, f"refusing-{error}")
    t.run("gcc", "-w", "-o", path, t.file("refusing.c", REFUSING % {"number": number, "bit": bit, "error": error}),
          shim=False)
    return path


def test_signals_without_sa_restart_do_not_count_a_connection_twice(t):
    t.need("gcc")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../progs/interrupted.c")
    program = os.path.join(t.scratch, "interrupted")
    t.run("gcc", "-w", "-static", "-pthread", "-D_GNU_SOURCE", "-o", program, source, shim=False)
    older = refusing(t, "SYS_seccomp", "1 << 5", "EINVAL")  # WAIT_KILLABLE_RECV, of Linux 5.19
    # An older kernel interrupts a call that was received in less than 1 of 100.
    for before, number in (((), 1000), ((older,), 4000)):
        server = t.server()
        report = run_supervised(t, program, ADDRESS, str(server.port), str(number), "11", before=before)
        made, interrupted = map(int, t.result.stdout.split())
        assert interrupted > 10, f"of {made} connects {interrupted} were interrupted"
        # There, a call that has just passed may be interrupted as well, and is observed when made again.
        missed = report["total"]["unobserved"]
        known = report["total"]["attempts"] + missed
        assert made <= known <= made + (missed if before else 0), (made, report["total"])
        check(t, report, server, attempts=known, established=known, ended_local_fin=known)
        assert server.counts["accepted"] == made, (made, server.counts)


def test_what_may_not_be_looked_into_connects_as_always_and_is_said_to_be_missing(t):
    """A process that is not dumpable; and what kernel.yama.ptrace_scope, or a container, forbids."""
    client, server = compiled(t, "gcc"), t.server()
    undumpable = os.path.join(t.scratch, "undumpable")
    t.run("gcc", "-w", "-static", "-D_GNU_SOURCE", "-o", undumpable, CLIENT, t.file("undumpable.c", """
        #include <sys/prctl.h>
        __attribute__((constructor)) static void hide(void) { prctl(PR_SET_DUMPABLE, 0); }"""), shim=False)
    denied = refusing(t, "SYS_pidfd_getfd", "~0u", "EPERM")
    for program, before in ((undumpable, ()), (client, (denied,))):
        seen = server.counts["accepted"]
        report = run_supervised(t, program, ADDRESS, str(server.port), *STEPS, "repeat:20", before=before)
        said = t.result.stderr.decode()
        assert "20 connects are not in the report" in said and "ptrace_scope" in said, said
        assert report["total"]["attempts"] == 0 and server.counts["accepted"] == seen + 20, report["total"]


def test_with_yama_the_program_itself_is_observed(t):
    scope = "/proc/sys/kernel/yama/ptrace_scope"
    if not os.path.exists(scope):
        raise Skip("the kernel has no Yama")
    with open(scope, encoding="ascii") as file:
        if file.read().strip() != "1":
            raise Skip("kernel.yama.ptrace_scope is not 1")
    server = t.server()
    report = run_supervised(t, compiled(t, "gcc"), ADDRESS, str(server.port), *STEPS, "repeat:20")
    check(t, report, server, attempts=20, established=20, ended_local_fin=20)


def test_an_exec_gives_another_program_a_segment_of_its_own(t):
    server, client = t.server(), compiled(t, "gcc")
    other, between = os.path.join(t.scratch, "other"), os.path.join(t.scratch, "between")
    shutil.copy(client, other)
    words = ", ".join(f'"{word}"' for word in (other, ADDRESS, str(server.port), *STEPS))
    source = t.file("between.c", f"#include <unistd.h>\nint main(void) {{ execl(\"{other}\", {words}, "
                                 "(char *)0); return 1; }")
    t.run("gcc", "-w", "-static", "-o", between, source, shim=False)
    report = run_supervised(t, client, ADDRESS, str(server.port), *STEPS, "repeat:5",
                            "socket", "connect", "send:1", "recv", "close", f"exec:{between}")
    assert {a["app"]: a["counters"]["attempts"] for a in report["apps"]} == \
        {"client-gcc": 6, "other": 1}, report["apps"]


def test_a_program_that_uses_io_uring_is_named(t):
    t.need("gcc")
    source = t.file("ring.c", """#define _GNU_SOURCE
        #include <string.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        int main(void) { char p[120]; memset(p, 0, sizeof(p)); return syscall(425, 1, p) < 0 ? 77 : 0; }""")
    program = os.path.join(t.scratch, "ring")
    t.run("gcc", "-w", "-static", "-o", program, source, shim=False)
    result = t.run(*as_nobody(t), t.twshim, "run", "--", program, shim=False, status=None)
    if result.returncode == 77:
        raise Skip("io_uring cannot be used here")
    assert b"use io_uring" in result.stderr, result.stderr


def test_mptcp_and_other_network_namespaces_are_counted_without_an_ending(t):
    client, server = compiled(t, "gcc"), t.server()
    report = run_supervised(t, client, ADDRESS, str(server.port), "socket:mptcp", "connect", "send:1",
                            "recv", "close", "repeat:20")
    t.counters(report, attempts=20, established=20, ended_unseen=20)
    need_helper(t)
    inside = ("ip link set lo up; ip address add 10.77.9.1/24 dev lo; "
              f"{client} 10.77.9.1 1 socket connect? close repeat:7")
    report = run_supervised(t, "unshare", "--user", "--map-root-user", "--net", "sh", "-c", inside,
                            status=None)
    if t.result.returncode:
        raise Skip("user namespaces cannot be used here")
    t.counters(report, attempts=7, established=7, ended_unseen=7)


def test_where_nobody_can_observe_the_program_run_says_so_and_what_the_kernel_shows(t):
    need_helper(t)
    server, known, incoming, earlier = t.server(), t.server(), t.server("first"), t.server()
    client = compiled(t, "gcc")
    t.run(client, ADDRESS, str(earlier.port), *STEPS, "repeat:10", shim=False)
    # A process may have one listener, and this one, which nobody reads, gets no call.
    outer = t.file("outer.c", f"""#include <fcntl.h>
        #include <linux/filter.h>
        #include <linux/seccomp.h>
        #include <sys/prctl.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        int main(void) {{
            struct sock_filter code[] = {{BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}};
            struct sock_fprog filter = {{1, code}};
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            fcntl(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter),
                  F_SETFD, 0);
            execl("{t.twshim}", "twshim", "run", "--", "{client}", "{ADDRESS}", "{server.port}", "socket",
                  "connect", "send:1", "recv", "close", "repeat:20", "sleep:3000", (char *)0);
            return 1; }}""")
    program = os.path.join(t.scratch, "outer")
    t.run("gcc", "-w", "-static", "-o", program, outer, shim=False)
    run = t.start(*as_nobody(t), program, shim=False, stderr=subprocess.PIPE)
    server.wait("accepted", 20)
    # While it runs, a program with the shim, and clients that the server closed first.
    library = shutil.copy(t.library, t.scratch)
    t.run(*NOBODY, "env", f"LD_PRELOAD={library}", shutil.copy(t.prog("client"), t.scratch), ADDRESS,
          str(known.port), *STEPS, "repeat:15", shim=False)
    t.run(client, ADDRESS, str(incoming.port), "socket", "connect", "send:1", "recv", "wait-hup", "close",
          "repeat:12", shim=False)
    said = run.communicate(timeout=60)[1].decode()
    assert run.returncode == 0 and "it has a filter of this kind already" in said, said
    # The server may close the last one after the client has ended.
    found = re.search(r"meanwhile (\d+) TIME_WAIT sockets without an owner appeared, of whatever program: "
                      f"(\\d+) to {re.escape(server.to)}\n", said)
    assert found and found[1] == found[2] and 15 <= int(found[1]) <= 20, said


def test_doctor_says_who_will_see_a_program_that_the_shim_does_not_reach(t):
    said = t.run(t.twshim, "doctor", compiled(t, "gcc"), shim=False, status=None).stdout.decode()
    words = " ".join(said.split())
    assert "twshim run -- COMMAND observes it" in words and "by a supervisor" in words, said


def test_a_child_that_inherits_the_filter_and_has_the_shim_is_counted_by_the_shim_alone(t):
    server = t.server()
    command = f"{t.prog('client')} {ADDRESS} {server.port} {' '.join(STEPS)} repeat:30"
    source = t.file("parent.c", f"#include <stdlib.h>\nint main(void) {{ return system(\"{command}\"); }}")
    program = os.path.join(t.scratch, "parent")
    t.run("gcc", "-w", "-static", "-o", program, source, shim=False)
    report = run_supervised(t, program)
    t.counters(report, attempts=30, established=30, ended_local_fin=30)
    assert [a["observed_by"] for a in report["apps"]] == [{"shim": 1, "bpf": 0, "supervisor": 0}], \
        report["apps"]


def is_told_of_ends(pid):
    """Whether a process listens to the kernel's messages about freed sockets."""
    held = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            held.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    with open("/proc/net/netlink", encoding="utf-8") as table:
        rows = [line.split() for line in table][1:]
    return any(f"socket:[{row[9]}]" in held for row in rows if row[1] == "4" and int(row[3], 16))


def test_run_listens_to_the_kernel_once_a_program_below_a_supervised_one_has_the_shim(t):
    """Not before, because that costs every program; and then so early that a killed one's end is known."""
    server, path = t.server(), os.path.join(t.scratch, "report.json")
    command = f"{t.prog('client')} {ADDRESS} {server.port} socket connect send:5 wait-readable kill"
    source = t.file("parent.c", f"""#include <stdio.h>
        #include <stdlib.h>
        int main(void) {{
            puts("ready"); fflush(stdout); getchar();
            system("{command}");
            puts("killed"); fflush(stdout); getchar(); }}""")
    program = os.path.join(t.scratch, "parent")
    t.run("gcc", "-w", "-static", "-o", program, source, shim=False)
    run = t.start(*as_nobody(t), t.twshim, "run", "--json", "-o", path, "--", program, shim=False,
                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    told = []
    for line in (b"ready\n", b"killed\n"):
        assert run.stdout.readline() == line, run.communicate()
        told.append(is_told_of_ends(run.pid))
        run.stdin.write(b"\n")
        run.stdin.flush()
    run.communicate()
    assert told == [False, True]
    with open(path, encoding="utf-8") as file:
        t.counters(t.read_report(file.read()), attempts=1, established=1, ended_reset_unread=1, ended_unseen=0)


def test_what_a_program_with_the_shim_becomes_is_observed_if_the_shim_does_not_reach_it(t):
    t.need("bash")
    client, known, server = compiled(t, "gcc"), t.server(), t.server()
    # The pid that connected before the exec is the one that connects after it.
    script = f"exec 3<>/dev/tcp/{ADDRESS}/{known.port}; exec {client} {ADDRESS} {server.port} " \
             f"{' '.join(STEPS)} repeat:30"
    source = t.file("parent.c", f"""#include <unistd.h>
        int main(void) {{ return execlp("bash", "bash", "-c", "{script}", (char *)0); }}""")
    program = os.path.join(t.scratch, "parent")
    t.run("gcc", "-w", "-static", "-o", program, source, shim=False)
    report = run_supervised(t, program)
    seen = {a["app"]: (a["counters"]["attempts"], a["observed_by"]) for a in report["apps"]}
    assert seen["client-gcc"] == (30 - report["total"]["unobserved"],
                                  {"shim": 0, "bpf": 0, "supervisor": 1}), seen
    assert seen["bash"] == (1, {"shim": 1, "bpf": 0, "supervisor": 0}), seen
