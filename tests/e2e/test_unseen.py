# SPDX-License-Identifier: MIT
"""Connections that end without the shim seeing it are detected and reported."""
import os
import shutil
import subprocess
import sys

from harness import ADDRESS, Skip, settle, time_wait_left

OPEN = ("socket", "connect", "send:1", "recv")


def _client(t, *steps):
    server = t.server()
    return server, t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *steps)


def test_a_raw_close_is_found_out_when_the_number_comes_up_again(t):
    server, report = _client(t, *OPEN, "close-raw", "repeat:20", "socket", "close")
    t.counters(report, attempts=20, established=20, ended_unseen=20)
    assert time_wait_left(server.port) == 20


def test_a_raw_close_is_found_out_at_the_end_of_the_process(t):
    server, report = _client(t, *OPEN, "close-raw")
    total = report["total"]
    assert (total["attempts"], total["established"], total["open"]) == (1, 1, 0)
    assert total["ended_unseen"] + total["ended_local_fin"] == 1
    assert time_wait_left(server.port) == 1


def test_a_number_reused_past_the_shim_is_not_taken_for_the_connection(t):
    server = t.server()
    script = t.file("reuse.py", f"""
import ctypes, os, socket
libc = ctypes.CDLL(None)
c = socket.create_connection(("{ADDRESS}", {server.port}))
c.send(b"x"); c.recv(1)
fd = c.detach()
# A close that the shim does not see, and an accepted connection under the same number.
code = (b"\\x48\\xc7\\xc0\\x03\\x00\\x00\\x00\\x0f\\x05\\xc3")
import mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
raw_close = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long)(
    ctypes.addressof(ctypes.c_char.from_buffer(page)))
assert raw_close(fd) == 0
file = open("/dev/null")
assert file.fileno() == fd
file.close()
""")
    report = t.twshim_run(sys.executable, script, options=("-p", f"close=reset,to={server.to}"))
    t.counters(report, attempts=1, established=1, ended_unseen=1, policy_applied=0)


def test_a_static_program_is_named_before_it_starts(t):
    if not shutil.which("gcc"):
        raise Skip("no compiler")
    source = t.file("static.c", "int main(void) { return 0; }")
    binary = source[:-2]
    if subprocess.run(["gcc", "-static", "-o", binary, source], check=False,
                      stderr=subprocess.DEVNULL).returncode:
        raise Skip("no static libc")
    result = t.run(t.twshim, "run", "--", binary, shim=False)
    first = result.stderr.decode().splitlines()[0]
    assert "static" in first, first


def test_a_connection_made_by_a_raw_call_is_no_lie(t):
    server, report = _client(t, "socket", "connect-raw", "send:1", "recv", "close", "repeat:20")
    assert server.counts["accepted"] == 20 and time_wait_left(server.port) == 20
    total = report["total"]
    assert total["attempts"] in (0, 20) and total["open"] == 0, total
    assert total["ended_local_fin"] in (0, 20), total
    if total["attempts"] == 0:  # not seen: then they have no owner
        settle(server.port)
        assert t.report()["kernel"]["unowned"] == 20


def test_opened_unseen_and_closed_unseen_disturbs_nobody(t):
    server, report = _client(t, "socket", "connect-raw", "send:1", "recv", "close-raw",
                             "socket", "connect", "send:1", "recv", "close", "repeat:20")
    assert server.counts["accepted"] == 40 and time_wait_left(server.port) == 40
    # Root's run sees the first one through the kernel, unless the shim has begun to count by then.
    seen = report["total"]["attempts"]
    assert seen in (20, 21) if os.getuid() == 0 else seen == 20, seen
    t.counters(report, attempts=seen, established=seen, ended_local_fin=seen)


def test_a_raw_close_never_lends_its_policy_to_the_next(t):
    # The descriptor's number is used again for a connection to another server, which no rule names.
    named, other = t.server(), t.server()
    report = t.twshim_run(t.prog("client"), ADDRESS, "1", f"port:{named.port}", *OPEN, "close-raw",
                          "socket", f"port:{other.port}", "connect-raw", "send:1", "recv",
                          "close", "repeat:20", options=("-p", f"close=reset,to={named.to}"))
    assert (time_wait_left(named.port), time_wait_left(other.port)) == (20, 20)
    assert other.counts["resets"] == named.counts["resets"] == 0
    assert report["total"]["policy_applied"] == 0, report["total"]


# Each second connection is closed, and each third is opened, by the C library of another namespace.
DLMOPEN = """
import ctypes, socket, sys
here = ctypes.CDLL(None)
here.dlmopen.restype = here.dlsym.restype = ctypes.c_void_p
there = here.dlmopen(ctypes.c_long(-1), b"libc.so.6", 2)
connect, close = (ctypes.CFUNCTYPE(ctypes.c_int, *types)(here.dlsym(ctypes.c_void_p(there), name)) for name, types in (
    (b"connect", (ctypes.c_int, ctypes.c_char_p, ctypes.c_int)), (b"close", (ctypes.c_int,))))
address = bytes((2, 0)) + int(sys.argv[2]).to_bytes(2, "big") + socket.inet_aton(sys.argv[1]) + bytes(8)
for number in range(30):
    c = socket.socket()
    if number % 3 == 2:
        assert connect(c.fileno(), address, 16) == 0
        c.close()
        continue
    c.connect((sys.argv[1], int(sys.argv[2])))
    if number % 3 == 1:
        assert close(c.detach()) == 0
"""


def test_what_a_namespace_of_dlmopen_does_is_unseen_and_named_as_a_cause(t):
    server = t.server()
    report = t.twshim_run(sys.executable, t.file("namespace.py", DLMOPEN), ADDRESS, str(server.port))
    total = report["total"]
    assert (server.counts["accepted"], total["attempts"]) == (30, 20), total
    assert total["ended_local_fin"] + total["ended_unseen"] == 20 and total["ended_unseen"] >= 9, total
    text = t.run(t.twshim, "doctor", "--only", "TW110", shim=False, status=None).stdout.decode()
    assert "dlmopen()" in text, text
