# SPDX-License-Identifier: MIT
"""A policy acts on the first call of a process: on a bind() before any connection, and on the first
library that it loads. As an ordinary user, since root's processes look for a policy at their start."""
import errno
import os
import sys

from harness import ADDRESS, sysctl, time_wait_left
from test_supervisor import as_nobody, run_supervised

# Each connection is a process of its own; prints how often each error came, 0 for none.
EACH = """
import collections, subprocess, sys
count = collections.Counter()
for port in sys.argv[3:]:
    count[subprocess.run([sys.executable, "-c", sys.argv[1], sys.argv[2], port]).returncode] += 1
print(dict(count))
"""

# The answer is waited for: the server has accepted, and is the second to close.
ONCE = f"""
import socket, sys
c = socket.socket()
try:
    c.bind(("{ADDRESS}", int(sys.argv[1])))
    c.connect(("{ADDRESS}", int(sys.argv[2])))
except OSError as e:
    sys.exit(e.errno)
c.send(b"x")
c.recv(1)
"""

# Binds to a free port, tells which, and listens: its own connection must get there. Twice, since it
# has no connection before the first.
LISTENS = f"""
import socket
for _ in range(2):
    s = socket.socket()
    s.bind(("{ADDRESS}", 0))
    name = s.getsockname()
    s.listen()
    assert s.getsockname() == name and name[1], name
    c = socket.create_connection(name)
    a, _ = s.accept()
    c.send(b"x")
    print(a.recv(1))
    c.close()
"""

SERVES = """
import socket, sys
sockets = [socket.socket() for _ in range(3)]
for port, s in zip((0, 17999, 0), sockets):
    s.bind(("127.0.0.1", port))
    s.listen()
print("ready", flush=True)
sys.stdin.read()
"""


def each(t, servers, port, rule):
    """Runs a process for each connection to the servers, in turn; what it printed, and the report."""
    output = os.path.join(t.scratch, "output")
    with open(output, "wb") as file:
        report = run_supervised(t, sys.executable, t.file("each.py", EACH), ONCE, str(port),
                                *(str(server.port) for server in servers), stdout=file, options=("-p", rule))
    with open(output, encoding="ascii") as file:
        return eval(file.read()), report["total"]  # pylint: disable=eval-used


def test_late_bind_helps_processes_of_one_connection_each(t):
    servers = [t.server() for _ in range(3)]
    sysctl("net.ipv4.ip_local_port_range", "40000 40019")
    sysctl("net.ipv4.tcp_tw_reuse", 0)
    count, total = each(t, [s for s in servers for _ in range(20)], 0, "late_bind=true")
    assert count == {0: 60}, count
    assert total["policy_applied"] == total["established"] == 60, total
    assert total["bind_failed_in_use"] == total["bound_before_connect"] == 0, total
    assert [time_wait_left(s.port) for s in servers] == [20, 20, 20]


def test_late_bind_as_a_dry_run_counts_whom_it_would_help(t):
    server = t.server()
    for port, would in ((0, 5), (21000, 0)):
        count, total = each(t, [server] * (5 if port == 0 else 1), port, "late_bind=true,dry_run=true")
        assert list(count) == [0] and total["policy_would_apply"] == would, (count, total)


def test_reuseaddr_helps_processes_of_one_connection_each_from_one_port(t):
    servers = [t.server() for _ in range(5)]
    count, total = each(t, servers, 21000, "reuseaddr=true,exe=python*")
    assert count == {0: 5}, count
    assert total["policy_applied"] == total["established"] == 5, total
    assert total["bind_failed_in_use"] == 0, total
    count, total = each(t, servers, 21001, "reuseaddr=true,exe=other")
    assert count == {0: 1, errno.EADDRINUSE: 4}, count
    assert (total["policy_applied"], total["bind_failed_in_use"]) == (0, 4), total


def test_a_program_that_asks_for_its_port_has_one_under_late_bind(t):
    report = run_supervised(t, sys.executable, "-c", LISTENS, options=("-p", "late_bind=true"))
    assert t.result.stdout == b"b'x'\n" * 2, t.result
    assert report["total"]["established"] == 2, report["total"]


def test_a_server_publishes_nothing_although_it_looks_for_a_policy(t):
    nobody = as_nobody(t)
    for loaded in (False, True):
        if loaded:
            t.run(*nobody, t.twshim, "policy", "load", "-p", "late_bind=true,reuseaddr=true", shim=False)
        before = sorted(os.listdir(t.dir))
        process = t.start(*nobody, sys.executable, "-c", SERVES, stdin=-1, stdout=-1)
        assert process.stdout.readline() == b"ready\n"
        assert sorted(os.listdir(t.dir)) == before
        process.communicate(timeout=20)
        assert process.returncode == 0 and sorted(os.listdir(t.dir)) == before


def test_the_first_library_of_a_process_is_loaded_as_the_policy_says(t):
    """RTLD_DEEPBIND of the first dlopen() is removed as well."""
    script = "import ctypes, os; ctypes.CDLL('libutil.so.1', mode=ctypes.RTLD_GLOBAL | os.RTLD_DEEPBIND)"
    for rule, loads in (("deepbind=keep", 1), ("deepbind=strip", 0)):
        report = run_supervised(t, sys.executable, "-c", script, options=("-p", rule))
        assert report["total"]["deepbind_loads"] == loads, (rule, report["total"])
