# SPDX-License-Identifier: MIT
"""Descriptors that several processes hold: only the last one ends a connection."""
import sys

from harness import ADDRESS, time_wait, wait_for

OPEN = ("socket", "connect", "send:1", "recv")


def _client(t, *steps, number=1):
    server = t.server()
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *OPEN, *steps)
    assert server.counts["accepted"] == number
    t.counters(report, attempts=number, established=number, ended_local_fin=number, open=0)
    t.time_wait_agrees(report, server, number)
    return report


def test_a_childs_close_ends_nothing(t):
    _client(t, "fork-close", "send:1", "recv", "close", "repeat:5", number=5)


def test_the_last_holder_may_be_a_child(t):
    _client(t, "fork-hold", "close", "close-d", "wait-child")


def test_a_vfork_childs_close_range_does_not_touch_the_parents_books(t):
    report = _client(t, "vfork-close", "send:1", "recv", "close", "repeat:5", number=5)
    assert report["total"]["stood_aside"] >= 1


def test_a_spawned_program_may_hold_a_connection(t):
    _client(t, "spawn", "close", "wait-child")


def test_system_does_not_disturb(t):
    _client(t, "system", "send:1", "recv", "close", "repeat:5", number=5)


def test_python_subprocess_beside_a_live_connection(t):
    server = t.server()
    script = t.file("live.py", f"""
import socket, subprocess
c = socket.create_connection(("{ADDRESS}", {server.port}))
for _ in range(10):
    subprocess.run(["true"], check=True)
    c.send(b"x"); assert c.recv(1) == b"x"
c.close()
""")
    report = t.twshim_run(sys.executable, script, options=("-p", f"close=reset,to={server.to}"))
    t.counters(report, attempts=1, established=1, ended_reset_policy=1)
    t.time_wait_agrees(report, server, 0)
    assert server.counts["bytes"] == 10


def test_prefork_workers_that_inherit_a_connection(t):
    server = t.server()
    script = t.file("prefork.py", f"""
import os, socket
shared = socket.create_connection(("{ADDRESS}", {server.port}))
for _ in range(4):
    if os.fork() == 0:
        for _ in range(25):
            c = socket.create_connection(("{ADDRESS}", {server.port}))
            c.send(b"x"); c.recv(1); c.close()
        os._exit(0)
for _ in range(4):
    os.wait()
shared.send(b"x"); shared.recv(1); shared.close()
""")
    report = t.twshim_run(sys.executable, script)
    assert report["apps"][0]["processes"] == 5
    t.counters(report, attempts=101, established=101, ended_local_fin=101)
    t.time_wait_agrees(report, server, 101)


def test_a_policy_leaves_shared_connections_alone(t):
    server = t.server()
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *OPEN, "fork-close",
                          "send:1", "recv", "close", "repeat:5",
                          options=("-p", f"close=reset,to={server.to}"))
    t.counters(report, attempts=5, established=5, ended_local_fin=5, policy_skipped_shared=5)
    t.time_wait_agrees(report, server, 5)


def test_a_daemon_that_forks_twice(t):
    server = t.server()
    script = t.file("daemon.py", f"""
import os, socket
kept = socket.create_connection(("{ADDRESS}", {server.port}))
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for _ in range(10):
            c = socket.create_connection(("{ADDRESS}", {server.port}))
            c.send(b"x"); c.recv(1); c.close()
        kept.send(b"x"); kept.recv(1); kept.close()
        os._exit(0)
    os._exit(0)
os._exit(0)
""")
    t.run(sys.executable, script)
    wait_for(lambda: time_wait(server.port) == 11, "11 TIME_WAIT sockets")
    report = t.report()
    t.counters(report, attempts=11, established=11, ended_local_fin=11, open=0)
    t.time_wait_agrees(report, server, 11)


def test_a_long_chain_of_forks_is_counted_to_its_end(t):
    server = t.server()
    script = t.file("chain.py", f"""
import os, socket
for depth in range(40):
    c = socket.create_connection(("{ADDRESS}", {server.port}))
    c.send(b"x"); c.recv(1); c.close()
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        os._exit(0)
""")
    report = t.twshim_run(sys.executable, script)
    t.counters(report, attempts=40, established=40, ended_local_fin=40)
    t.time_wait_agrees(report, server, 40)


def test_the_peak_counts_no_connection_that_its_last_holder_a_child_has_closed(t):
    """One at a time, each closed by the parent first and by a child's exit last; and ten that
    children hold at once are ten."""
    server = t.server()
    script = t.file("peak.py", """
import os, socket, sys, time
def connect():
    conn = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    conn.sendall(b"x")
    conn.recv(1)
    return conn
def hand_over(conn):
    ready, done = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(done)
        os.read(ready, 1)
        os._exit(0)
    os.close(ready)
    conn.close()
    return child, done
for _ in range(int(sys.argv[3])):
    child, done = hand_over(connect())
    os.write(done, b"x")
    os.close(done)
    os.waitpid(child, 0)
held = []
for _ in range(int(sys.argv[4])):
    held.append(hand_over(connect()))
    time.sleep(0.01)
connect().close()
for child, done in held:
    os.write(done, b"x")
    os.waitpid(child, 0)
""")
    for alone, together, least, most in ((40, 0, 1, 2), (5, 10, 10, 11)):
        report = t.twshim_run(sys.executable, script, ADDRESS, str(server.port), str(alone),
                              str(together))
        assert report["total"]["established"] == alone + together + 1
        assert least <= report["total"]["peak_open"] <= most, report["total"]
