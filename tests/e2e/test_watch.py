# SPDX-License-Identifier: MIT
"""`twshim watch`: programs without the shim, seen through the kernel. What it counts is held
against the server's count and the kernel's table."""
import json
import os
import re
import signal
import socket
import subprocess
import time

from harness import ADDRESS, Skip, check_identities, settle, time_wait_left, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENT = os.path.join(HERE, "..", "progs", "client.c")
STEPS = ("socket", "connect", "send:1", "recv", "close")
MANY = 1000


class Watch:
    """A watch of this test's own children, from when it sees them until it is told to end."""

    def __init__(self, t, *options):
        self.test = t
        if os.geteuid() != 0:
            raise Skip("BPF needs root")
        scope = options if options else ("--pid", str(os.getpid()))
        self.process = t.start(t.twshim, "watch", "--json", *scope, shim=False,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said = self.process.stderr.readline().decode()
        if "built without" in said or "BTF" in said or "libbpf" in said:
            raise Skip(said)
        assert "watching" in said, said

    def end(self):
        """The report, its identities checked; and what was said beside it."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, err
        report = json.loads(out)
        check_identities(report)
        self.said = err.decode()
        return report

    def live(self):
        """What `report` knows meanwhile."""
        return self.test.report()


def compiled(t, compiler, *options):
    """The client, built in another way."""
    path = os.path.join(t.scratch, f"client-{compiler}")
    t.need(compiler)
    t.run(compiler, "-w", "-static", *options, "-D_GNU_SOURCE", "-o", path, CLIENT, shim=False)
    return path


def check(t, report, server, **expected):
    """One application, of which only this was counted."""
    assert len(report["apps"]) == 1, [a["app"] for a in report["apps"]]
    t.counters(report, attempts=MANY, **expected)
    t.accounted(report, server)


def run_client(t, client, server, *steps):
    """Many connections of one kind, without the shim."""
    t.run(client, ADDRESS, str(server.port), *steps, f"repeat:{MANY}", shim=False)


def test_static_programs_of_both_libraries_are_counted_to_the_connection(t):
    for compiler in ("gcc", "musl-gcc"):
        server, client = t.server(), compiled(t, compiler)
        watch = Watch(t)
        run_client(t, client, server, *STEPS)
        settle(server.port)
        check(t, watch.end(), server, established=MANY, ended_local_fin=MANY,
              short_lived=MANY, peak_open=1, bytes_sent=MANY, bytes_received=MANY)


ENDINGS = {
    "the peer closes first":
        ("first", ("send:1", "recv", "wait-hup", "close"), "ended_remote_fin"),
    "SO_LINGER {1,0}": ("echo", ("send:1", "recv", "linger:0", "close"), "ended_reset_app"),
    "unread bytes": ("unread", ("wait-readable", "close"), "ended_reset_unread"),
    "the peer resets": ("reset", ("send:1", "recv", "wait-hup", "close"), "ended_reset_remote"),
    "TCP_LINGER2 = -1": ("echo", ("send:1", "recv", "linger2:-1", "close"), "ended_fin_reset"),
    "shutdown first": ("echo", ("send:1", "recv", "shutdown:wr", "wait-hup", "close"),
                       "ended_local_fin"),
    "shutdown of both halves": ("echo", ("send:1", "recv", "shutdown:rdwr", "close"),
                                "ended_local_fin"),
    "a raw close": ("echo", ("send:1", "recv", "close-raw"), "ended_local_fin"),
    "a descriptor in a child": ("echo", ("send:1", "recv", "dup", "close", "close-d"),
                                "ended_local_fin"),
    "fast open": ("echo", ("recv:4", "close"), "ended_local_fin"),
}


def test_a_route_that_another_network_namespace_lacks_is_named(t):
    watch, steps = Watch(t), "socket connect? close repeat:20"
    there = t.start("unshare", "--net", "sh", "-c", f"{t.prog('client')} 203.0.113.7 80 {steps}; read end",
                    shim=False, stdin=subprocess.PIPE)
    wait_for(lambda: watch.live()["total"]["attempts"] == 20, "the attempts are counted")
    there.communicate(b"\n")
    t.counters(watch.end(), attempts=20, failed_unreachable=20)


# Sends more than its peer reads, closes, and says how much that was.
FILLER = """if True:
    import socket, sys
    client = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    client.setblocking(False)
    sent = 0
    try:
        while True:
            sent += client.send(b"x" * 65536)
    except BlockingIOError:
        pass
    if len(sys.argv) > 3:
        client.shutdown(socket.SHUT_WR)
    client.close()
    print(sent)
"""


def fill(t, listener, *more, **options):
    """Bytes that a client has sent to a peer that reads none of them and resets."""
    process = t.start("/usr/bin/python3", "-c", FILLER, *map(str, listener.getsockname()), *more,
                      stdout=subprocess.PIPE, **options)
    peer = listener.accept()[0]
    sent = int(process.stdout.readline())
    process.wait()
    peer.close()
    return sent


def test_a_fin_behind_unsent_bytes_is_none_of_them(t):
    with socket.create_server((ADDRESS, 0)) as listener:
        port = listener.getsockname()[1]
        t.run(t.twshim, "policy", "load", t.file("detail.conf", "detail = true;"), shim=False)
        by_shim = fill(t, listener, "shutdown")
        settle(port)
        assert t.report()["total"]["bytes_sent"] == by_shim
        watch = Watch(t)
        unshimmed = fill(t, listener, shim=False)
        settle(port)
        t.counters(watch.end(), established=1, ended_reset_remote=1, bytes_sent=unshimmed)


def test_every_kind_of_ending_is_told_apart(t):
    for name, (mode, steps, ending) in ENDINGS.items():
        server = t.server(mode)
        watch = Watch(t)
        opened = ("socket", "fastopen") if name == "fast open" else ("socket", "connect")
        run_client(t, t.prog("client"), server, *opened, *steps)
        settle(server.port)
        try:
            check(t, watch.end(), server, established=MANY, **{ending: MANY})
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def test_raw_system_calls_and_mptcp_are_seen(t):
    server = t.server()
    watch = Watch(t)
    run_client(t, t.prog("client"), server, "socket", "connect-raw", "send:1", "recv",
               "close-raw")
    settle(server.port)
    check(t, watch.end(), server, established=MANY, ended_local_fin=MANY)
    server = t.server()
    watch = Watch(t)
    run_client(t, t.prog("client"), server, "socket:mptcp", "connect", "send:1", "recv", "close")
    settle(server.port)
    report = watch.end()
    t.counters(report, attempts=MANY, established=MANY,
               ended_local_fin=report["total"]["ended_local_fin"],
               ended_remote_fin=report["total"]["ended_remote_fin"])
    t.accounted(report, server)


def test_connections_that_io_uring_closes_are_counted_exactly(t):
    server = t.server()
    bare = t.run(t.prog("races"), ADDRESS, str(server.port), "io_uring", shim=False, status=None)
    if bare.returncode == 77:
        raise Skip("io_uring cannot be used here")
    settle(server.port)
    server = t.server()
    watch = Watch(t)
    t.run(t.prog("races"), ADDRESS, str(server.port), "io_uring", shim=False)
    settle(server.port)
    report = watch.end()
    t.counters(report, attempts=20, established=20, ended_local_fin=20)
    t.accounted(report, server)


GO = """package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"sync"
)

func get(client *http.Client, url string) {
	answer, err := client.Get(url)
	if err != nil {
		panic(err)
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
}

func dial(to string) {
	conn, err := net.Dial("tcp", to)
	if err != nil {
		panic(err)
	}
	conn.Write([]byte("x"))
	conn.Read(make([]byte, 1))
	conn.Close()
}

func main() {
	how, to := os.Args[1], os.Args[2]
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: how == "close"}}
	var all sync.WaitGroup
	for g := 0; g < 50; g++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := 0; i < 20; i++ {
				if how == "dial" {
					dial(to)
				} else {
					get(client, "http://"+to+"/")
				}
			}
		}()
	}
	all.Wait()
}
"""


def test_go_programs_are_counted_to_the_connection(t):
    """50 goroutines: net/http without and with keep-alive, and raw connections."""
    t.need("go")
    source, program = t.file("main.go", GO), os.path.join(t.scratch, "go-client")
    t.run("go", "build", "-o", program, source, shim=False, timeout=200,
          env={"HOME": t.scratch, "GOCACHE": os.path.join(t.scratch, "cache"), "GO111MODULE": "off"})
    for how, mode in (("close", "http"), ("keep", "http11"), ("dial", "echo")):
        server = t.server(mode)
        watch = Watch(t)
        t.run(program, how, server.to, shim=False)
        settle(server.port)
        report = watch.end()
        total = t.accounted(report, server)
        assert how == "keep" or total["established"] == MANY, (how, total)
        assert report["total"]["attempts"] == report["total"]["established"], (how, total)
        assert [a["app"] for a in report["apps"]] == ["go-client"]


def test_a_container_is_seen_from_outside_and_its_pid_is_its_own(t):
    watch = Watch(t)
    inside = ("ip link set lo up; ip address add 10.77.9.1/24 dev lo; "
              f"{t.prog('client')} 10.77.9.1 1 socket connect? close repeat:7")
    t.run("unshare", "--net", "--pid", "--fork", "--mount-proc", "sh", "-c", inside, shim=False)
    wait_for(lambda: watch.live()["total"]["attempts"] == 7, "all are published")
    ps = json.loads(t.run(t.twshim, "ps", "--json", "--all", shim=False).stdout)
    assert [p["pid"] < 10 for p in ps["processes"]] == [True], ps
    report = watch.end()
    t.counters(report, attempts=7, failed_refused=7)
    assert report["unseen"]["other_network_namespace"] == 1, report["unseen"]


def test_a_killed_process_leaves_what_the_kernel_says(t):
    server = t.server()
    watch = Watch(t)
    held = t.start(t.prog("client"), ADDRESS, str(server.port), "socket", "connect",
                   "sleep:60000", shim=False)
    wait_for(lambda: watch.live()["total"]["open"] == 1, "it is seen to be open")
    held.send_signal(signal.SIGKILL)
    held.wait()
    settle(server.port)
    report = watch.end()
    t.counters(report, attempts=1, established=1, ended_local_fin=1, open=0, via_kill=0)
    t.accounted(report, server)


def test_failures_have_their_reason(t):
    watch = Watch(t)
    closed = 19999
    t.run(t.prog("client"), ADDRESS, str(closed), "socket", "connect?", "close", "repeat:20",
          shim=False)
    report = watch.end()
    t.counters(report, attempts=20, failed_refused=20)


def test_connects_without_a_free_port_are_counted(t):
    server = t.server()
    t.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40019", shim=False)
    watch = Watch(t)
    t.run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect?", "close",
          "repeat:60", shim=False)
    settle(server.port)
    report = watch.end()
    t.counters(report, attempts=60, established=20, ended_local_fin=20, failed_no_port=40)


def test_connects_without_a_route_are_counted_or_said_to_be_unseen(t):
    watch = Watch(t)
    t.run(t.prog("client"), "203.0.113.7", "80", "socket", "connect?", "close", "repeat:10",
          shim=False)
    t.run("sleep", "2.2", shim=False)  # the last of a thread is looked for each second
    report = watch.end()
    if "no route" in watch.said:
        raise Skip(watch.said)
    t.counters(report, attempts=10, failed_unreachable=10)


def test_one_watch_beside_twenty_running_programs_loses_and_doubles_none(t):
    servers = [t.server() for _ in range(4)]
    script = """if True:
        import socket, sys
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(1000):
            with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as s:
                s.send(b"x")
                s.recv(1)
        """
    clients = [t.start("python3", "-c", script, ADDRESS, str(servers[i % 4].port), shim=False,
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE) for i in range(20)]
    for client in clients:
        assert client.stdout.readline() == b"ready\n"
    watch = Watch(t)
    for client in clients:
        client.stdin.write(b"\n")
        client.stdin.close()
    for client in clients:
        assert client.wait(100) == 0
    settle(*[server.port for server in servers])
    assert sum(server.counts["accepted"] for server in servers) == 20000
    report = watch.end()
    assert "lost" not in watch.said and "not counted" not in watch.said, watch.said
    t.counters(report, attempts=20000, established=20000, ended_local_fin=20000)
    assert sum(a["observed_by"]["bpf"] for a in report["apps"]) == 20


def test_more_at_once_than_there_are_places_are_counted_to_the_connection(t):
    script = """if True:
        import resource, socket, sys
        resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
        listener = socket.create_server((sys.argv[1], 0))
        pairs = []
        for _ in range(6000):
            client = socket.create_connection(listener.getsockname())
            pairs.append((client, listener.accept()[0]))
        print("open", flush=True)
        sys.stdin.readline()
        for client, server in pairs:
            client.close()
            server.close()
        """
    watch = Watch(t)
    client = t.start("python3", "-c", script, ADDRESS, shim=False, stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE)
    assert client.stdout.readline() == b"open\n"
    wait_for(lambda: watch.live()["total"]["open"] == 6000, "6,000 open ones")
    client.stdin.write(b"\n")
    client.stdin.close()
    assert client.wait(60) == 0
    t.counters(watch.end(), attempts=6000, established=6000, peak_open=6000, ended_local_fin=6000)
    assert "not counted" not in watch.said, watch.said


def test_attempts_that_nobody_answers_are_shown_live_and_counted_at_the_end(t):
    script = """if True:
        import socket, sys
        listener = socket.create_server((sys.argv[1], 0), backlog=0)
        answered = socket.create_connection(listener.getsockname())
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        print("waiting", flush=True)
        sys.stdin.readline()
        """
    for live in (True, False):
        watch = Watch(t)
        client = t.start("python3", "-c", script, ADDRESS, shim=False, stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE)
        assert client.stdout.readline() == b"waiting\n"
        if live:
            wait_for(lambda w=watch: w.live()["total"]["attempts"] == 4, "four attempts")
        t.counters(watch.end(), attempts=4, established=1)
        client.stdin.close()
        assert client.wait(60) == 0


def test_what_was_open_before_is_adopted_and_never_counted_as_opened(t):
    server = t.server()
    held = t.start(t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "note:1",
                   "recv", "close", "socket", "connect", "send:1", "recv", "close",
                   shim=False, stdout=subprocess.PIPE)
    held.stdout.readline()
    watch = Watch(t)
    held.send_signal(signal.SIGKILL)
    held.wait()
    settle(server.port)
    report = watch.end()
    t.counters(report, attempts=0, established=0, adopted=1)
    assert time_wait_left(server.port) == 1
    said = json.loads(t.run(t.twshim, "owners", "--json", shim=False).stdout)
    assert [(o["app"], o["count"]) for o in said["owners"]] == [("client", 1)], said


def test_a_program_with_the_shim_is_counted_by_the_shim_alone(t):
    server = t.server()
    watch = Watch(t)
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:50")
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:30", shim=False)
    settle(server.port)
    report = t.report()
    t.counters(report, attempts=80, established=80, ended_local_fin=80)
    (app,) = report["apps"]
    assert (app["observed_by"]["shim"], app["observed_by"]["bpf"]) == (1, 1), app
    t.counters(watch.end(), attempts=30, established=30, ended_local_fin=30)


def test_a_segment_whose_number_is_not_the_first_is_found_too(t):
    """Where two threads connect first at once, one of two segments is taken back, perhaps the first."""
    server, watch = t.server(), Watch(t)
    watch.process.send_signal(signal.SIGSTOP)
    t.run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "send:1", "recv", "repeat:5")
    [name] = [n for n in os.listdir(t.dir) if n.endswith("-0.seg")]
    os.rename(os.path.join(t.dir, name), os.path.join(t.dir, name.replace("-0.seg", "-2.seg")))
    watch.process.send_signal(signal.SIGCONT)
    settle(server.port)
    t.counters(watch.end(), attempts=0, established=0)
    t.counters(t.report(), attempts=5, established=5, ended_local_fin=5)


def test_what_a_program_with_the_shim_did_before_it_called_exec_is_the_shims(t):
    server, reads = t.server(), os.path.join(t.scratch, "reads")
    t.run("cc", "-static", "-o", reads, t.file("reads.c", "#include <stdio.h>\nint main(void) { getchar(); }\n"),
          shim=False)
    watch = Watch(t)
    watch.process.send_signal(signal.SIGSTOP)
    program = t.start(t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "send:1", "recv",
                      "repeat:5", f"exec:{reads}", stdin=subprocess.PIPE)
    wait_for(lambda: os.readlink(f"/proc/{program.pid}/exe") == reads, "it has called exec")
    watch.process.send_signal(signal.SIGCONT)
    program.stdin.close()
    assert program.wait(20) == 0
    settle(server.port)
    report = t.report()
    t.counters(report, attempts=5, established=5, ended_local_fin=5)
    t.counters(watch.end(), attempts=0, established=0)


def test_every_reader_shows_live_what_it_sees(t):
    server = t.server()
    watch = Watch(t)
    trace = t.start(t.twshim, "trace", "--json", shim=False, stdout=subprocess.PIPE)
    t.run("sleep", "0.5", shim=False)
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:40", shim=False)
    held = t.start(t.prog("client"), ADDRESS, str(server.port), "socket", "connect",
                   "sleep:60000", shim=False)
    wait_for(lambda: watch.live()["total"]["open"] == 1, "one is open")
    ps = json.loads(t.run(t.twshim, "ps", "--json", "--all", shim=False).stdout)
    assert {p["observed_by"] for p in ps["processes"]} == {"bpf"}
    assert held.pid in {p["pid"] for p in ps["processes"]}
    owners = json.loads(t.run(t.twshim, "owners", "--json", shim=False).stdout)
    assert owners["owned"] == 40, owners
    lines = [json.loads(trace.stdout.readline()) for _ in range(40)]
    assert {line["app"] for line in lines} == {"client"}, lines[0]
    held.kill()
    watch.end()


def test_a_cgroup_is_a_scope(t):
    with open("/proc/self/mounts", encoding="utf-8") as file:
        roots = [line.split()[1] for line in file if line.split()[2] == "cgroup2"]
    if not roots:
        raise Skip("no control groups of version 2")
    group = os.path.join(roots[0], f"twshim-test-{os.getpid()}")
    os.mkdir(group)
    server = t.server()
    try:
        watch = Watch(t, "--cgroup", group)
        inside = f'echo $$ > {group}/cgroup.procs; exec "$@"'
        t.run("sh", "-c", inside, "sh", t.prog("client"), ADDRESS, str(server.port), *STEPS,
              "repeat:20", shim=False)
        t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:30", shim=False)
        settle(server.port)
        t.counters(watch.end(), attempts=20, established=20, ended_local_fin=20)
    finally:
        wait_for(lambda: not os.path.exists(group) or not _remove(group), "the group is empty")


def _remove(group):
    try:
        os.rmdir(group)
    except OSError:
        return True
    return False


def test_a_loss_in_the_ring_is_repaired_and_one_in_the_table_is_said(t):
    server = t.server()
    watch = Watch(t, "--pid", str(os.getpid()), "--ring", "4")
    watch.process.send_signal(signal.SIGSTOP)
    run_client(t, t.prog("client"), server, *STEPS)
    settle(server.port)
    watch.process.send_signal(signal.SIGCONT)
    report = watch.end()
    assert "ring was full" in watch.said and "nothing is lost" in watch.said, watch.said
    check(t, report, server, established=MANY, ended_local_fin=MANY)
    watch = Watch(t, "--pid", str(os.getpid()), "--ring", "4", "--connections", "20")
    watch.process.send_signal(signal.SIGSTOP)
    many = 6000  # more than the program in the kernel has places for, whichever sockets they take
    t.run(t.prog("fill"), str(many), ADDRESS, shim=False)
    watch.process.send_signal(signal.SIGCONT)
    report = watch.end()
    lost = int(re.search(r"([\d,]+) connections were not counted", watch.said)[1].replace(",", ""))
    assert 0 < lost < many and report["total"]["attempts"] + lost == many, (lost, watch.said)


def test_a_ring_that_is_full_again_and_again_loses_and_doubles_none(t):
    watch, many = Watch(t, "--pid", str(os.getpid()), "--ring", "16"), 8 * 3000
    clients = [t.start(t.prog("cycle"), ADDRESS, "3000", "1", shim=False, stdout=subprocess.DEVNULL)
               for _ in range(8)]
    while any(client.poll() is None for client in clients):
        for number in (signal.SIGSTOP, signal.SIGCONT):
            watch.process.send_signal(number)
            time.sleep(0.03)  # meanwhile the ring fills, or is read
    assert not any(client.returncode for client in clients)
    # The last server closes when it is killed.
    wait_for(lambda: watch.live()["total"]["ended_local_fin"] == many, "the last end")
    report = watch.end()
    assert "ring was full" in watch.said and "nothing is lost" in watch.said, watch.said
    t.counters(report, attempts=many, established=many, ended_local_fin=many, peak_open=1)


def spread_packets(mask):
    """Which processors take the packets of this namespace: with more than one, a packet comes by
    an interrupt, in the middle of whatever runs there."""
    subprocess.run(["unshare", "-m", "sh", "-c", "mount -t sysfs sysfs /sys && "
                    f"echo {mask} >/sys/class/net/lo/queues/rx-0/rps_cpus"], check=False)


def test_a_storm_of_packets_that_interrupt_the_watch_is_counted_in_full(t):
    watch, many = Watch(t), 6 * 4000
    spread_packets(3)
    clients = [t.start(t.prog("cycle"), ADDRESS, "4000", "1", shim=False, stdout=subprocess.DEVNULL)
               for _ in range(6)]
    for client in clients:
        assert client.wait(timeout=60) == 0
    spread_packets(0)
    t.counters(watch.end(), attempts=many, established=many, ended_local_fin=many, peak_open=1)


def test_run_of_a_static_program_gives_the_same_report_without_any_option(t):
    server, client = t.server(), compiled(t, "gcc")
    report = t.twshim_run(client, ADDRESS, str(server.port), *STEPS, f"repeat:{MANY}")
    check(t, report, server, established=MANY, ended_local_fin=MANY)
    assert report["apps"][0]["observed_by"] == {"shim": 0, "bpf": 1, "supervisor": 0}
    said = t.result.stderr.decode()
    assert "statically linked" in said and "the kernel observes it instead" in said, said


def test_a_quiet_run_of_a_static_program_keeps_its_counts_where_it_is_asked_to(t):
    server, client = t.server(), compiled(t, "gcc")
    said = t.run(t.twshim, "run", "-q", "--keep", "--", client, ADDRESS, str(server.port), *STEPS,
                 f"repeat:{MANY}", shim=False).stderr.decode()
    report = t.report("--run", re.search(r"report --run (\S+)", said)[1])
    check(t, report, server, established=MANY, ended_local_fin=MANY)


def test_in_a_tree_the_shim_and_the_kernel_count_their_own_and_nothing_twice(t):
    server, client = t.server(), compiled(t, "gcc")
    one = f"{t.prog('client')} {ADDRESS} {server.port} {' '.join(STEPS)}"
    static = f"{client} {ADDRESS} {server.port} {' '.join(STEPS)} repeat:50"
    script = f"{one}; {one} repeat:20; {static} & {one} repeat:30; wait"
    result = t.run(t.twshim, "run", "--", "sh", "-c", script, shim=False)
    assert b"Observed: 3 processes by the shim, 1 by the kernel" in result.stderr, result.stderr
    report = t.twshim_run("sh", "-c", script)
    t.counters(report, attempts=101, established=101, ended_local_fin=101)
    assert {a["app"]: a["observed_by"] for a in report["apps"]} == {
        "client": {"shim": 3, "bpf": 0, "supervisor": 0},
        "client-gcc": {"shim": 0, "bpf": 1, "supervisor": 0}}, report["apps"]


def test_run_beside_a_watch_counts_nothing_twice(t):
    server, client = t.server(), compiled(t, "gcc")
    watch = Watch(t)
    report = t.twshim_run(client, ADDRESS, str(server.port), *STEPS, "repeat:70")
    t.counters(report, attempts=70, established=70, ended_local_fin=70)
    t.counters(t.report(), attempts=70, established=70, ended_local_fin=70)
    t.counters(watch.end(), attempts=0)


def test_a_watch_of_the_whole_host_is_alone(t):
    watch = Watch(t)
    second = Watch(t)  # two of some processes go together
    second.end()
    result = t.run(t.twshim, "watch", "--seconds", "1", shim=False, status=1)
    assert b"another watch is running" in result.stderr, result.stderr
    watch.end()
    t.run(t.twshim, "watch", "--seconds", "1", "--quiet", shim=False)


def test_without_root_it_says_why_and_what_to_use(t):
    result = t.run("setpriv", "--reuid", "65534", "--clear-groups", t.twshim, "watch",
                   "--seconds", "1", shim=False, status=1,
                   env={"TWSHIM_DIR": "/dev/shm/twshim-65534"})
    said = result.stderr.decode()
    assert "only root may" in said and "twshim run" in said and said.count("\n") == 1, said
