# SPDX-License-Identifier: MIT
"""Every way in which a connection begins, and what must not count as one."""
import socket
import subprocess
import sys

from harness import ADDRESS, ADDRESS6, ENDINGS, Skip, kernel_sockets, sysctl, wait_for

FAST_OPEN = 0x403  # client, server, and any listener


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


def test_non_blocking_with_epoll(t):
    _check(t, *_client(t, "socket", "nonblock", "connect-epoll", "send:1", "recv", "close",
                       "repeat:20"), peak_open=1)


def test_non_blocking_with_select(t):
    _check(t, *_client(t, "socket", "nonblock", "connect-select", "send:1", "recv", "close",
                       "repeat:20"), peak_open=1)


def test_non_blocking_whose_outcome_is_asked_by_connect(t):
    _check(t, *_client(t, "socket", "nonblock", "connect?", "block", "sleep:2", "connect-again",
                       "send:1", "recv", "close", "repeat:20"))


def test_a_connect_that_answers_0_at_last_is_established_by_it(t):
    _, report = _client(t, "socket", "nonblock", "connect?", "block", "sleep:2", "connect-again",
                        "unspec", "close", "repeat:20")
    t.counters(report, attempts=20, established=20, ended_reset_app=20, peak_open=1)


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


def test_a_bind_that_takes_no_port_is_not_early(t):
    # The kernel reads the option in bind(); setting it later has no effect. A copy of the socket, here
    # or in a child, is bound as well.
    for early, *steps in (
            (0, "no-port:1", "bind"), (0, "no-port-syscall:1", "bind"),
            (0, "no-port:1", "bind", "no-port:0"), (0, "no-port:1", "dup2", "close", "take-d",
                                                    "bind"),
            (20, "bind", "no-port:1"), (20, "no-port:1", "no-port:0", "bind"),
            (20, "no-port-syscall:1", "no-port-syscall:0", "bind")):
        _check(t, *_client(t, "socket", *steps, "connect", "send:1", "recv", "close",
                           "repeat:20"), bound_before_connect=early)


def test_a_socket_keeps_taking_no_port_when_it_is_dissolved(t):
    server, report = _client(t, "socket", "no-port:1", "connect", "unspec", "bind", "connect",
                             "send:1", "recv", "close", "repeat:20")
    t.counters(report, attempts=40, established=40, ended_local_fin=20,
               ended_reset_app=20, bound_before_connect=0)
    assert server.counts["accepted"] == 40, server.counts


def test_a_bind_of_an_ipv6_socket_that_takes_no_port_is_not_early(t):
    script = t.file("bind6.py", """
import socket, sys
for _ in range(20):
    c = socket.socket(socket.AF_INET6)
    c.setsockopt(socket.IPPROTO_IP, 24, 1)
    c.bind((sys.argv[1], 0))
    assert c.getsockname()[1] == 0
    c.connect((sys.argv[1], int(sys.argv[2])))
    c.send(b"x"); c.recv(1); c.close()
""")
    server = t.server(address=ADDRESS6)
    report = t.twshim_run(sys.executable, script, ADDRESS6, str(server.port))
    _check(t, server, report, bound_before_connect=0)


def test_fast_open_counts_as_a_connect(t):
    sysctl("net.ipv4.tcp_fastopen", FAST_OPEN)
    _check(t, *_client(t, "socket", "fastopen", "recv:4", "close", "repeat:20"))


def test_fast_open_by_sendmsg_and_sendmmsg(t):
    sysctl("net.ipv4.tcp_fastopen", FAST_OPEN)
    for step in ("fastopen-msg", "fastopen-mmsg"):
        _check(t, *_client(t, "socket", step, "recv:4", "close", "repeat:20"))


def test_fast_open_without_blocking(t):
    sysctl("net.ipv4.tcp_fastopen", FAST_OPEN)
    first, server = t.server(), t.server()
    # With the address's cookie, data is sent at once, and there is no EINPROGRESS.
    t.run(t.prog("client"), ADDRESS, str(first.port), "socket", "fastopen", "recv:4", "close",
          shim=False)
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), "socket", "nonblock",
                          "fastopen", "recv:4", "close", "repeat:20")
    _check(t, server, report)


def test_fast_open_by_option(t):
    sysctl("net.ipv4.tcp_fastopen", FAST_OPEN)
    _check(t, *_client(t, "socket", "fastopen-connect", "connect", "send:1", "recv", "close",
                       "repeat:20"))


def test_fast_open_put_off_and_never_written_is_abandoned(t):
    sysctl("net.ipv4.tcp_fastopen", FAST_OPEN)
    first, server = t.server(), t.server()
    # The kernel delays the SYN only if it has the address's cookie.
    t.run(t.prog("client"), ADDRESS, str(first.port), "socket", "fastopen", "recv:4", "close",
          shim=False)
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), "socket",
                          "fastopen-connect", "connect", "close", "repeat:5")
    total = report["total"]
    assert total["attempts"] == total["abandoned"] == 5, total
    assert server.counts["accepted"] == 0, server.counts


def test_af_unspec_dissolves_and_a_new_connect_is_a_new_connection(t):
    server, report = _client(t, "socket", "connect", "send:1", "recv", "unspec", "connect",
                             "send:1", "recv", "close", "repeat:20")
    assert server.counts["accepted"] == 40
    t.counters(report, attempts=40, established=40, ended_reset_app=20, ended_local_fin=20)
    t.time_wait_agrees(report, server, 20)


def test_a_dup_of_a_dissolved_socket_ends_no_other_connection(t):
    # The next connection takes the place of the dissolved one.
    server, report = _client(t, "socket", "connect", "dup", "unspec", "socket", "connect", "close-d",
                             "send:1", "recv", "close", "repeat:20")
    assert server.counts["accepted"] == 40
    t.counters(report, attempts=40, established=40, ended_reset_app=20, ended_local_fin=20)
    t.time_wait_agrees(report, server, 20)


def test_a_dup_of_a_dissolved_socket_follows_it_to_its_next_connection(t):
    # Another socket connects in between, which would take the place of the dissolved one.
    server = t.server()
    report = t.twshim_run(sys.executable, t.file("follows.py", f"""
import ctypes, socket
def connected(s):
    s.connect(("{ADDRESS}", {server.port}))
    return s
def ends(s):
    s.send(b"x")
    s.recv(1)
    s.close()
for _ in range(20):
    first = connected(socket.socket())
    second = first.dup()
    assert ctypes.CDLL(None).connect(first.fileno(), bytes(16), 16) == 0
    other = connected(socket.socket())
    connected(first).close()
    ends(second)
    ends(other)
"""))
    assert server.counts["accepted"] == 60
    t.counters(report, attempts=60, established=60, ended_reset_app=20, ended_local_fin=40)
    t.time_wait_agrees(report, server, 40)


def test_multipath_tcp(t):
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close()
    except OSError as error:
        raise Skip(f"no multipath TCP here: {error}") from error
    server, report = _client(t, "socket:mptcp", "connect", "send:1", "recv", "close", "repeat:20")
    assert server.counts["accepted"] == 20
    t.counters(report, attempts=20, established=20, ended_local_fin=20)


def test_a_connect_that_is_closed_while_connecting_is_abandoned(t):
    # Nothing answers at this address of the namespace: the SYN is lost.
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


class _Full:
    """A listener whose queue is full: it answers no SYN until let()."""

    def __init__(self, t):
        self.test = t
        self.socket = socket.socket()
        self.socket.bind((ADDRESS, 0))
        self.socket.listen(0)
        self.port = self.socket.getsockname()[1]
        self.to = f"{ADDRESS}:{self.port}"
        self.filler = [socket.create_connection((ADDRESS, self.port))]
        self.got = []

    def wait(self, number=1):
        """Waits until this many SYNs wait."""
        wait_for(lambda: len(kernel_sockets(SYN_SENT, self.port)) == number, "a SYN waits")

    def let(self):
        """Accepts what fills the queue, and lets the next one in (at its next SYN)."""
        self.got.append(self.socket.accept()[0])
        for one in (*self.filler, *self.got):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            one.close()
        self.filler, self.got = [], []


SYN_SENT = 2


def _run_against_full(t, full, *steps, let, status=0):
    path = f"{t.scratch}/full.json"
    process = t.start(t.twshim, "run", "--json", "-o", path, "--", t.prog("client"), ADDRESS,
                      str(full.port), *steps, shim=False, stdout=subprocess.PIPE)
    full.wait()
    let(full, process)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == status, process.returncode
    with open(path, encoding="utf-8") as file:
        return t.read_report(file.read()), out


def test_a_connect_interrupted_by_a_signal_goes_on(t):
    full = _Full(t)

    def let(listener, process):
        assert process.stdout.readline() == b"interrupted\n"
        listener.let()
    report, _ = _run_against_full(t, full, "socket", "connect-eintr:50", "close", let=let)
    t.counters(report, attempts=1, established=1, ended_local_fin=1)


def test_a_connect_interrupted_and_given_up_is_abandoned(t):
    full = _Full(t)
    script = t.file("eintr.py", f"""
import ctypes, errno, os, signal, socket, struct
signal.signal(signal.SIGALRM, lambda *a: None)
signal.siginterrupt(signal.SIGALRM, True)
c = socket.socket()
libc = ctypes.CDLL(None, use_errno=True)
address = struct.pack("=H", 2) + struct.pack(">H", {full.port}) + \
    socket.inet_aton("{ADDRESS}") + bytes(8)
signal.setitimer(signal.ITIMER_REAL, 0.05)
assert libc.connect(c.fileno(), address, 16) == -1
print(errno.errorcode[ctypes.get_errno()])
c.close()
""")
    bare = t.run(sys.executable, script, shim=False)
    report = t.twshim_run(sys.executable, script)
    assert bare.stdout == t.result.stdout == b"EINTR\n", (bare, t.result)
    t.counters(report, attempts=1, established=0, abandoned=1)


def test_a_shutdown_while_connecting_gives_up_and_the_socket_may_connect_again(t):
    full = _Full(t)
    for how in ("rd", "wr", "rdwr"):
        begin = ("socket", "nonblock", "connect?", f"shutdown:{how}")
        report = t.twshim_run(t.prog("client"), ADDRESS, str(full.port), *begin, "close")
        t.counters(report, attempts=1, established=0, abandoned=1, shut_down_first=0)
        server = t.server()
        report = t.twshim_run(t.prog("client"), ADDRESS, str(full.port), *begin,
                              f"port:{server.port}", "connect-poll", "block", "send:1", "recv",
                              "close")
        assert server.counts["accepted"] == 1
        t.counters(report, attempts=2, established=1, abandoned=1, ended_local_fin=1,
                   shut_down_first=0)
        t.time_wait_agrees(report, server, 1)


def test_a_connect_that_times_out_is_a_failure_of_its_own(t):
    sysctl("net.ipv4.tcp_syn_retries", 1)
    sysctl("net.ipv4.tcp_syn_linear_timeouts", 0)
    full = _Full(t)
    report, out = _run_against_full(t, full, "socket", "connect?", "close",
                                    let=lambda *_: None)
    assert out.startswith(b"connect: ") and out.endswith(b" timed out\n"), out
    t.counters(report, attempts=1, established=0, failed_timed_out=1)


def test_a_non_blocking_connect_that_times_out_too(t):
    sysctl("net.ipv4.tcp_syn_retries", 1)
    sysctl("net.ipv4.tcp_syn_linear_timeouts", 0)
    full = _Full(t)
    report, _ = _run_against_full(t, full, "socket", "nonblock", "connect?", "wait-hup", "close",
                                  let=lambda *_: None)
    t.counters(report, attempts=1, established=0, failed_timed_out=1)


def test_a_connect_by_which_a_thread_is_held_while_another_exits(t):
    full = _Full(t)
    script = t.file("held.py", f"""
import os, socket, sys, threading
def held():
    socket.create_connection(("{ADDRESS}", {full.port}))
threads = [threading.Thread(target=held, daemon=True) for _ in range(3)]
[x.start() for x in threads]
sys.stdin.read()
sys.exit(6)
""")
    path = f"{t.scratch}/held.json"
    process = t.start(t.twshim, "run", "--json", "-o", path, "--", sys.executable, script,
                      shim=False, stdin=subprocess.PIPE)
    full.wait(3)
    process.communicate(b"go", timeout=20)
    assert process.returncode == 6
    with open(path, encoding="utf-8") as file:
        t.counters(t.read_report(file.read()), attempts=3, established=0, abandoned=3)


def test_unreachable_is_a_failure_of_its_own(t):
    for steps in (("socket", "connect?", "close"), ("socket", "nonblock", "connect?", "close")):
        report = t.twshim_run(t.prog("client"), "192.0.2.1", "9", *steps, "repeat:5")
        assert b"unreachable" in t.result.stdout, t.result
        t.counters(report, attempts=5, established=0, failed_unreachable=5)


def test_a_non_blocking_refusal_is_left_for_the_program_to_read(t):
    server = t.server()
    server.close()
    script = t.file("refused.py", f"""
import errno, select, socket
for _ in range(20):
    c = socket.socket()
    c.setblocking(False)
    assert c.connect_ex(("{ADDRESS}", {server.port})) in (0, errno.EINPROGRESS)
    p = select.poll()
    p.register(c, select.POLLOUT)
    print(p.poll(5000)[0][1])
    print(errno.errorcode[c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)])
    print(c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    c.close()
""")
    t.bare_and_shimmed(sys.executable, script)
    report = t.twshim_run(sys.executable, script)
    t.counters(report, attempts=20, established=0, failed_refused=20)


def test_a_refusal_that_the_program_never_read_is_a_failure(t):
    server = t.server()
    server.close()
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), "socket", "nonblock",
                          "connect?", "wait-hup", "close", "repeat:20")
    t.counters(report, attempts=20, established=0, failed_refused=20)


def test_a_socket_that_failed_and_connects_again_is_two_attempts(t):
    closed, server = t.server(), t.server()
    closed.close()
    report = t.twshim_run(t.prog("client"), ADDRESS, "1", "socket", f"port:{closed.port}",
                          "connect?", f"port:{server.port}", "connect", "send:1", "recv", "close",
                          "repeat:20")
    t.counters(report, attempts=40, established=20, ended_local_fin=20, failed_refused=20)
    t.time_wait_agrees(report, server, 20)


def test_a_connect_to_itself_is_one_connection(t):
    # Simultaneous open with one socket: a TCP socket may connect to its own address.
    script = t.file("self.py", f"""
import socket
c = socket.socket()
c.bind(("{ADDRESS}", 23456))
c.connect(("{ADDRESS}", 23456))
c.send(b"x")
assert c.recv(1) == b"x"
c.close()
""")
    report = t.twshim_run(sys.executable, script)
    total = report["total"]
    assert total["attempts"] == total["established"] == 1 and total["open"] == 0, total
    assert sum(total[e] for e in ENDINGS) == 1, total


def test_a_wrong_connect_is_no_connection(t):
    server = t.server()
    script = t.file("wrong.py", f"""
import ctypes, errno, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
good = struct.pack("=H", 2) + struct.pack(">H", {server.port}) + \
    socket.inet_aton("{ADDRESS}") + bytes(8)
def connect(fd, address, length):
    print(libc.connect(fd, address, length), errno.errorcode[ctypes.get_errno()])
c = socket.socket()
connect(-1, good, 16)
connect(9999, good, 16)
connect(os.open("/dev/null", 0), good, 16)
connect(c.fileno(), good, 3)
connect(c.fileno(), struct.pack("=H", 77) + good[2:], 16)
connect(c.fileno(), struct.pack("=H", 10) + good[2:], 16)
listener = socket.create_server(("{ADDRESS}", 0))
connect(listener.fileno(), good, 16)
unix = socket.socket(socket.AF_UNIX)
connect(unix.fileno(), good, 16)
""")
    result = t.bare_and_shimmed(sys.executable, script)
    assert result.returncode == 0 and len(result.stdout.splitlines()) == 8, result
    assert server.counts["accepted"] == 0, server.counts
    total = t.twshim_run(sys.executable, script)["total"]
    assert total["established"] == 0, total


def test_a_connect_asked_of_an_accepted_connection_is_none(t):
    script = t.file("accepted.py", f"""
import errno, socket
def options(s):
    return (s.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8),
            s.getsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2))
listener = socket.create_server(("{ADDRESS}", 0))
c = socket.create_connection(listener.getsockname())
got, peer = listener.accept()
before = options(got), options(listener)
print(errno.errorcode[got.connect_ex(peer)], errno.errorcode[c.connect_ex(listener.getsockname())],
      errno.errorcode[listener.connect_ex(peer)])
assert (options(got), options(listener)) == before
c.close()
got.recv(1)
got.close()
""")
    assert t.bare_and_shimmed(sys.executable, script).stdout == b"EISCONN EISCONN EISCONN\n"
    report = t.twshim_run(sys.executable, script)
    t.counters(report, attempts=1, established=1, ended_local_fin=1)
    report = t.twshim_run(sys.executable, script,
                          options=("-p", f"close=fin-reset,to={ADDRESS}"))
    t.counters(report, attempts=1, established=1, ended_fin_reset=1)
