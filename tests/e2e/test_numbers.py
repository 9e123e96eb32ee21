# SPDX-License-Identifier: MIT
"""The same calls by number, through syscall(2), as libuv and others make them."""
import os
import sys

from harness import ADDRESS, Skip

CLIENT = r'''
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
N = dict(close=3, dup=32, dup2=33, socket=41, connect=42, accept=43, sendto=44, shutdown=48,
         bind=49, setsockopt=54, fcntl=72, exit_group=231, accept4=288, dup3=292, close_range=436)
MSG_FASTOPEN = 0x20000000

def call(name, *words):
    words = [ctypes.c_char_p(w) if isinstance(w, bytes) else ctypes.c_long(w) for w in words]
    ret = libc.syscall(ctypes.c_long(N[name]), *words)
    if ret < 0:
        sys.exit(f"{name}: {os.strerror(ctypes.get_errno())}")
    return ret

def address(port, host=sys.argv[1]):
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)

server = address(int(sys.argv[2]))

def opened(bound=False):
    fd = call("socket", socket.AF_INET, socket.SOCK_STREAM, 0)
    if bound:
        call("bind", fd, address(0), 16)
    call("connect", fd, server, 16)
    return fd

fd = opened()                                   # shutdown first
call("shutdown", fd, socket.SHUT_WR)
call("close", fd)
fd = opened(bound=True)                         # of two descriptors, the last ends it
copy = call("dup", fd)
call("close", fd)
os.close(copy)                                  # not by number: it is this that counts
for number, name in ((200, "dup2"), (201, "dup3"), (202, "fcntl")):
    fd = opened()
    words = (fd, 0, number) if name == "fcntl" else (fd, number, 0)
    assert call(name, *words) == number
    call("close", fd)
    os.close(number)
call("dup2", 0, opened())                       # another file over it
fd = opened()
call("setsockopt", fd, socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0), 8)
call("close", fd)
fd = opened()
call("close_range", fd, fd, 0)
fd = call("socket", socket.AF_INET, socket.SOCK_STREAM, 0)
call("sendto", fd, b"x", 1, MSG_FASTOPEN, server, 16)
os.read(fd, 1)                                  # or its answer is unread, sometimes
call("close", fd)
listener = socket.socket()                      # what is accepted is not ours to count
listener.bind((sys.argv[1], 0))
listener.listen()
server, last = address(listener.getsockname()[1]), server
for name in ("accept", "accept4"):
    fd = opened()
    theirs = call(name, listener.fileno(), 0, 0, 0)
    call("close", fd)
    call("close", theirs)
server = last
opened()
call("exit_group", 0)
'''


def test_calls_by_number_are_counted_as_by_name(t):
    if os.uname().machine != "x86_64":
        raise Skip("the numbers are x86-64's")
    server = t.server()
    command = (sys.executable, t.file("numbers.py", CLIENT), ADDRESS, str(server.port))
    t.run(*command, shim=False)
    bare = server.counts["accepted"]
    report = t.twshim_run(*command)
    assert server.counts["accepted"] == 2 * bare == 20, server.counts
    t.counters(report, attempts=12, established=12, ended_local_fin=11, ended_reset_app=1)
    total = report["total"]
    ways = {n: total["via_" + n] for n in ("exit", "dup", "close_range", "close", "syscall")}
    assert ways == {"exit": 1, "dup": 1, "close_range": 1, "close": 4, "syscall": 5}, ways
    assert total["setsockopt_linger_zero"] == total["bound_before_connect"] == 1, total
