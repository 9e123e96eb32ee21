# SPDX-License-Identifier: MIT
"""The life of segments: short processes leave a bounded directory and exact totals; reused pids and
pid namespaces are never confused."""
import glob
import os
import signal
import struct
import subprocess
import sys
import time

from harness import ADDRESS, Skip, sysctl, time_wait_left, wait_for

STEPS = ("socket", "connect", "send:1", "recv", "close")


def _load(t, text):
    t.run(t.twshim, "policy", "load", t.file("settings.conf", text), shim=False)


def _segments(t):
    return glob.glob(os.path.join(t.dir, "*.seg"))


def _loop(t, server, number, steps=STEPS):
    words = " ".join(steps)
    t.run("sh", "-c", f"for i in $(seq {number}); do {t.prog('client')} {ADDRESS} "
          f"{server.port} {words} || exit 1; done", timeout=110)


def test_short_processes_leave_a_bounded_directory_and_exact_totals(t):
    server = t.server()
    _load(t, "max_segments = 16;")
    _loop(t, server, 1000)
    assert server.counts["accepted"] == 1000
    # One process in 64 folds, up to 128 segments at once.
    assert len(_segments(t)) < 600, len(_segments(t))
    assert glob.glob(os.path.join(t.dir, "*.totals"))
    report = t.report()
    t.counters(report, attempts=1000, established=1000, ended_local_fin=1000)
    assert report["apps"][0]["processes"] == 1000
    t.time_wait_agrees(report, server, 1000)


def test_killed_processes_are_folded_with_their_endings(t):
    server = t.server()
    _load(t, "max_segments = 1; retention_seconds = 1;")
    for _ in range(200):
        t.run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "send:1",
              "recv", "kill", status=-signal.SIGKILL)
    total = t.report()["total"]
    assert total["attempts"] == total["established"] == 200, total
    assert total["ended_local_fin"] + total["ended_unseen"] == 200, total
    assert total["via_kill"] == 200 and total["open"] == 0, total


def test_the_same_pid_in_several_namespaces_is_several_processes(t):
    server = t.server()
    isolate = ("unshare", "-pf", "--mount-proc")
    if subprocess.run([*isolate, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        raise Skip("no pid namespaces here")
    for _ in range(3):
        t.run(*isolate, t.prog("client"), ADDRESS, str(server.port), *STEPS)
    # Processes of another namespace: nobody here can tell whether they are alive.
    assert len(_segments(t)) == 3
    report = t.report()
    t.counters(report, attempts=3, established=3, ended_local_fin=3)
    t.time_wait_agrees(report, server, 3)


def test_a_pid_that_comes_up_again_is_another_process(t):
    server = t.server()
    try:
        last, most = int(sysctl("kernel.ns_last_pid")[0]), int(sysctl("kernel.pid_max")[0])
    except FileNotFoundError as error:
        raise Skip("no ns_last_pid here") from error
    wanted = last + 3000 if last + 4000 < most else 4000
    pids = set()
    for _ in range(3):
        for _ in range(20):
            sysctl("kernel.ns_last_pid", wanted)
            process = t.start(t.prog("client"), ADDRESS, str(server.port), *STEPS)
            process.wait()
            if process.pid == wanted + 1:
                break
        pids.add(process.pid)
    if len(pids) != 1:
        raise Skip("the pid could not be had again")
    number = server.counts["accepted"]
    assert len(_segments(t)) == number
    t.counters(t.report(), attempts=number, established=number, ended_local_fin=number)


def test_a_killed_maker_leaves_nothing_that_counts(t):
    server = t.server()
    path = os.path.join(t.dir, "123-456.tmp")
    with open(path, "wb") as file:
        file.write(b"\0" * 4096)
    os.utime(path, (time.time() - 3600,) * 2)
    _load(t, "max_segments = 1;")
    _loop(t, server, 600)
    assert not os.path.exists(path)
    t.counters(t.report(), attempts=600, established=600, ended_local_fin=600)


def test_a_segment_that_was_deleted_does_not_disturb_its_client(t):
    server = t.server()
    client = t.start(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:10", "sleep:300",
                     *STEPS, "repeat:2", "exit:0")
    server.wait("accepted", 10)
    wait_for(lambda: _segments(t), "a segment")
    for path in _segments(t):
        os.unlink(path)
    assert client.wait() == 0


SCRIBBLER = """
import glob, socket, sys, time
address, port, path, places = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
def cycle():
    with socket.create_connection((address, port)) as connection:
        connection.send(b"x")
        connection.recv(1)
for _ in range(10):
    cycle()
with open(glob.glob(path + "/*.seg")[0], "r+b") as file:
    for place in places.split(","):
        file.seek(int(place))
        file.write(bytes(4))
time.sleep(1.1)
for _ in range(10):
    cycle()
"""


def test_what_is_recorded_as_used_and_overwritten_comes_back(t):
    server = t.server()
    # struct tws_header: section[1] to section[6], `used` in each
    places = ",".join(str(32 + 24 * section + 16) for section in range(1, 7))
    t.run(sys.executable, "-c", SCRIBBLER, ADDRESS, str(server.port), t.dir, places)
    t.counters(t.report(), attempts=20, established=20, ended_local_fin=20)


def test_a_network_of_ipv6_hosts_has_a_place_for_each(t):
    server = t.server(address="::")
    hosts = [f"fd00::{i:x}" for i in range(1, 129)]
    for host in hosts:
        t.run("ip", "address", "add", f"{host}/64", "dev", "lo", "nodad", shim=False)
    t.run(sys.executable, "-c", "import socket, sys\nfor host in sys.argv[2:]:\n"
          " socket.create_connection((host, int(sys.argv[1]))).close()", str(server.port), *hosts)
    [app] = t.report()["apps"]
    found = {d["to"] for d in app["destinations"]}
    assert found == {f"[{host}]:{server.port}" for host in hosts}, found


def test_sizes_come_from_the_configuration(t):
    server = t.server()
    _load(t, "connection_slots = 64; destination_slots = 16; ended_slots = 64; "
             "time_wait_slots = 1024;")
    report_size = []
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:200")
    [segment] = _segments(t)
    report_size.append(os.path.getsize(segment))
    assert report_size[0] < 300000, "a third of it is for what was counted when; the usual is 4 MB"
    t.counters(t.report(), attempts=200, established=200, ended_local_fin=200)
    assert time_wait_left(server.port) == 200


def test_more_connections_than_slots_are_said_to_be_unobserved(t):
    server = t.server()
    _load(t, "connection_slots = 64;")
    t.run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "send:1", "recv",
          "repeat:100")
    total = t.report()["total"]
    assert total["attempts"] == 64 and total["unobserved"] == 36, total


FULL = '''
import os, socket, sys
server = (sys.argv[1], int(sys.argv[2]))
held = [socket.create_connection(server) for _ in range(100)]
held.pop(10).close()
held += [socket.create_connection(server) for _ in range(2)]  # one has a slot, one has none
if os.fork() == 0:
    held.append(socket.create_connection(server))  # and a child has slots of its own
    os._exit(0)
os.wait()
for each in held:
    each.close()
held = [socket.create_connection(server) for _ in range(64)]
'''


def test_a_full_table_takes_one_as_soon_as_one_went(t):
    server = t.server()
    _load(t, "connection_slots = 64;")
    t.run(sys.executable, "-c", FULL, ADDRESS, str(server.port))
    total = t.report()["total"]
    assert total["attempts"] == 64 + 1 + 1 + 64 and total["unobserved"] == 36 + 1, total


LEFT = '''
import os, signal, socket, sys, time
server = (sys.argv[1], int(sys.argv[2]))
held = [socket.create_connection(server) for _ in range(16)]
wait, tell = os.pipe()
child = os.fork()
if child == 0:
    os.read(wait, 1)
    os._exit(0)
for each in held:
    each.close()  # the child has them still
socket.create_connection(server).close()  # finds no slot
if sys.argv[3] == "kill":
    os.kill(child, signal.SIGKILL)
os.write(tell, b"!")
os.wait()
time.sleep(1.1)  # it is looked for at least once a second
socket.create_connection(server).close()
'''


def _what_others_let_go_of(t, how):
    server = t.server()
    _load(t, "connection_slots = 16;")
    t.run(sys.executable, "-c", LEFT, ADDRESS, str(server.port), how)
    total = t.report()["total"]
    assert total["attempts"] == 16 + 1 and total["unobserved"] == 1, total


def test_a_full_table_takes_one_when_another_process_has_let_go(t):
    _what_others_let_go_of(t, "exit")


def test_a_full_table_takes_one_when_another_process_was_killed(t):
    _what_others_let_go_of(t, "kill")


DAEMON = '''
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int begin(struct sockaddr_in *to, int port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to->sin_port = htons(port);
	return connect(fd, (void *)to, sizeof(*to)), fd;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	int fds[17];

	inet_pton(AF_INET, argv[1], &to.sin_addr);
	for (int i = 0; i < 17; i++)
		fds[i] = begin(&to, 9); /* refused; the last finds no slot */
	for (int i = 0; fork() == 0; i++) {
		for (int j = 0; j < 17; j++)
			close(fds[j]);
		if (i == 0)
			continue; /* a second time, as a daemon does */
		for (int j = 0; j < 5; j++)
			close(begin(&to, atoi(argv[2])));
		_exit(0);
	}
	wait(NULL);
	return 0;
}
'''


def test_a_daemon_of_a_program_with_a_full_table_has_one_of_its_own(t):
    server = t.server()
    _load(t, "connection_slots = 16;")
    client = os.path.join(t.scratch, "daemon")
    subprocess.run(["gcc", "-o", client, t.file("daemon.c", DAEMON)], check=True)
    t.run(client, ADDRESS, str(server.port))
    t.counters(t.report(), attempts=16 + 5, failed_refused=16, established=5, ended_local_fin=5,
               unobserved=1)


HELD = '''
import os, socket, sys
server = (sys.argv[1], int(sys.argv[2]))
held = [socket.create_connection(server) for _ in range(256)]
wait, tell = os.pipe()
if os.fork() == 0:
    os.read(wait, 1)
    os._exit(0)
for each in held:
    each.close()
for _ in range(50):
    socket.create_connection(server).close()
os.write(tell, b"!")
os.wait()
'''


def test_a_table_full_of_what_others_hold_is_not_looked_through_for_every_connection(t):
    t.need("strace")
    server = t.server()
    _load(t, "connection_slots = 256;")
    said = t.run("strace", "-qq", "-e", "trace=socket", "-E", "LD_PRELOAD=" + t.library,
                 sys.executable, "-c", HELD, ADDRESS, str(server.port), shim=False).stderr.decode()
    assert t.report()["total"]["unobserved"] == 50
    assert 256 <= said.count("AF_NETLINK") < 256 * 8, said.count("AF_NETLINK")


SECTIONS, ENDED, TIME_WAIT = 32, 5, 6  # in the header: tests/abi.golden


def test_rings_of_no_power_of_two_hold_the_newest(t):
    size, number = 100, 250
    server = t.server()
    _load(t, f"ended_slots = {size}; time_wait_slots = {size};")
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, f"repeat:{number}")
    [path] = _segments(t)
    with open(path, "rb") as file:
        segment = file.read()
    at = [struct.unpack_from("=Q", segment, SECTIONS + 24 * each)[0] for each in (ENDED, TIME_WAIT)]
    ended = [struct.unpack_from("=2Q", segment, at[0] + 128 * i) for i in range(size)]
    newest = {ticket % size: ticket + 1 for ticket in range(number)}
    assert [sequence for sequence, _ in ended] == [newest[i] for i in range(size)], ended
    cookies = [word & (1 << 48) - 1 for word in struct.unpack_from(f"={size}Q", segment, at[1])]
    assert cookies == [cookie for _, cookie in ended] and len(set(cookies)) == size, cookies
