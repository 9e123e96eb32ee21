# SPDX-License-Identifier: MIT
"""The life of segments: short processes leave a bounded directory and exact totals; pids that
come up again and namespaces are never mixed up."""
import glob
import os
import signal
import subprocess
import sys
import time

from harness import ADDRESS, Skip, sysctl, time_wait, wait_for

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
    # One process in 64 clears away, up to 128 at once.
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
    # Another namespace's processes: nobody here can say whether they live.
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


def test_sizes_come_from_the_configuration(t):
    server = t.server()
    _load(t, "connection_slots = 64; destination_slots = 16; ended_slots = 64; "
             "time_wait_slots = 1024;")
    report_size = []
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:200")
    [segment] = _segments(t)
    report_size.append(os.path.getsize(segment))
    assert report_size[0] < 200000, report_size
    t.counters(t.report(), attempts=200, established=200, ended_local_fin=200)
    assert time_wait(server.port) == 200


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
