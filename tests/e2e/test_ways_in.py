# SPDX-License-Identifier: MIT
"""Every way in which a connection is born, and what must not count as one."""
import socket
import sys

from harness import ADDRESS, ADDRESS6, sysctl


def _client(t, *steps, mode="echo", address=ADDRESS, listen=None):
    server = t.server(mode, listen or address)
    report = t.twshim_run(t.prog("client"), address, str(server.port), *steps)
    return server, report


def _check(t, server, report, number=20, **more):
    assert server.counts["accepted"] == number, server.counts
    t.counters(report, attempts=number, established=number, ended_local_fin=number, **more)
    t.time_wait_agrees(report, server, number)


def test_non_blocking_with_poll(t):
    _check(t, *_client(t, "socket", "nonblock", "connect-poll", "send:1", "recv", "close",
                       "repeat:20"), peak_open=1)


def test_non_blocking_whose_outcome_is_asked_by_connect(t):
    _check(t, *_client(t, "socket", "nonblock", "connect?", "block", "sleep:2", "connect-again",
                       "send:1", "recv", "close", "repeat:20"))


def test_non_blocking_whose_outcome_is_never_asked(t):
    _check(t, *_client(t, "socket", "nonblock", "connect?", "block", "send:1", "recv", "close",
                       "repeat:20"))


def test_a_repeated_connect_is_one_attempt(t):
    _check(t, *_client(t, "socket", "connect", "connect-again", "connect-again", "send:1",
                       "recv", "close", "repeat:20"))


def test_ipv6(t):
    _check(t, *_client(t, "socket", "connect", "send:1", "recv", "close", "repeat:20",
                       address=ADDRESS6))


def test_ipv4_mapped_addresses_are_counted_as_ipv4(t):
    server = t.server()
    report = t.twshim_run(t.prog("client"), f"::ffff:{ADDRESS}", str(server.port), "socket",
                          "connect", "send:1", "recv", "close", "repeat:20")
    assert [d["to"] for d in report["apps"][0]["destinations"]] == [server.to]
    _check(t, server, report)


def test_bound_before_connect_is_counted_and_named(t):
    _check(t, *_client(t, "socket", "bind", "connect", "send:1", "recv", "close", "repeat:20"),
           bound_before_connect=20)


def test_fast_open_counts_as_a_connect(t):
    sysctl("net.ipv4.tcp_fastopen", 3)
    _check(t, *_client(t, "socket", "fastopen", "recv:4", "close", "repeat:20"))


def test_fast_open_by_option(t):
    sysctl("net.ipv4.tcp_fastopen", 3)
    _check(t, *_client(t, "socket", "fastopen-connect", "connect", "send:1", "recv", "close",
                       "repeat:20"))


def test_fast_open_put_off_and_never_written_is_abandoned(t):
    sysctl("net.ipv4.tcp_fastopen", 3)
    server = t.server()
    # The kernel puts the SYN off only where it has the server's cookie.
    t.run(t.prog("client"), ADDRESS, str(server.port), "socket", "fastopen", "recv:4", "close",
          shim=False)
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), "socket",
                          "fastopen-connect", "connect", "close", "repeat:5")
    total = report["total"]
    assert total["attempts"] == 5
    assert total["abandoned"] + total["established"] == 5


def test_af_unspec_dissolves_and_a_new_connect_is_a_new_connection(t):
    server, report = _client(t, "socket", "connect", "send:1", "recv", "unspec", "connect",
                             "send:1", "recv", "close", "repeat:20")
    assert server.counts["accepted"] == 40
    t.counters(report, attempts=40, established=40, ended_reset_app=20, ended_local_fin=20)
    t.time_wait_agrees(report, server, 20)


def test_multipath_tcp(t):
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close()
    except OSError as error:
        t.need("no-mptcp: " + str(error))
    server, report = _client(t, "socket:mptcp", "connect", "send:1", "recv", "close", "repeat:20")
    assert server.counts["accepted"] == 20
    t.counters(report, attempts=20, established=20, ended_local_fin=20)


def test_a_connect_that_is_closed_while_connecting_is_abandoned(t):
    # Nothing answers on this address of the namespace: the SYN goes nowhere.
    sysctl("net.ipv4.conf.lo.arp_ignore", 0)
    server = t.server()
    server.close()
    script = t.file("full.py", f"""
import socket
listener = socket.socket(); listener.bind(("{ADDRESS}", 0)); listener.listen(0)
filler = [socket.socket() for _ in range(8)]
for s in filler:
    s.setblocking(False)
    s.connect_ex(listener.getsockname())
socket.create_server(("{ADDRESS}", 0)).close()
for s in filler:
    s.close()
""")
    report = t.twshim_run(sys.executable, script)
    total = report["total"]
    assert total["attempts"] == 8 and total["abandoned"] >= 5, total


def test_udp_unix_and_listening_sockets_never_count(t):
    script = t.file("others.py", f"""
import os, socket, threading
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(("{ADDRESS}", 9)); u.close()
a, b = socket.socketpair(); a.close(); b.close()
listener = socket.create_server(("{ADDRESS}", 0))
other = socket.create_connection(listener.getsockname())
got, _ = listener.accept()
got.close(); other.recv(1); other.close(); listener.close()
""")
    report = t.twshim_run(sys.executable, script)
    t.counters(report, attempts=1, established=1, ended_remote_fin=1)


def test_received_sockets_are_adopted_not_opened(t):
    server = t.server()
    script = t.file("rights.py", f"""
import os, socket
a, b = socket.socketpair()
if os.fork() == 0:
    a.close()
    _, fds, _, _ = socket.recv_fds(b, 1, 1)
    c = socket.socket(fileno=fds[0]); c.send(b"x"); c.recv(1); c.close()
    os._exit(0)
b.close()
c = socket.create_connection(("{ADDRESS}", {server.port}))
socket.send_fds(a, [b"x"], [c.fileno()])
c.close()
os.wait()
""")
    report = t.twshim_run(sys.executable, script)
    t.counters(report, attempts=1, established=1, ended_local_fin=1, adopted=1)
    t.time_wait_agrees(report, server, 1)


def test_no_port_left_is_a_failure_of_its_own(t):
    server = t.server()
    sysctl("net.ipv4.ip_local_port_range", "20000 20019")
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect?",
                          "close", "repeat:30")
    t.counters(report, attempts=30, established=20, ended_local_fin=20, failed_no_port=10)
