# SPDX-License-Identifier: MIT
"""What a library in every process of a host meets, and no client of ours does: calls that must
fail, filters, limits. Each program must end as it does without the shim."""
import glob
import os
import subprocess
import sys

from harness import ADDRESS, Skip

SETUP = '''
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
to = sys.argv[1], int(sys.argv[2])
SECCOMP = 317 if os.uname().machine == "x86_64" else 277

def connected():
    c = socket.socket()
    c.connect(to)
    c.sendall(b"x")
    c.recv(1)
    return c

def said(result):
    return os.strerror(ctypes.get_errno()) if result < 0 else result

def is_alive(c):
    c.sendall(b"y")
    return c.recv(1) == b"y"

def filter_calls(action, numbers, by="prctl"):
    """A seccomp filter that answers these system calls so."""
    program = [(0x20, 0, 0, 0)]
    program += [(0x15, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    program += [(6, 0, 0, 0x7fff0000), (6, 0, 0, action)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *x) for x in program))
    fprog = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", len(program),
                                                    ctypes.addressof(code)))
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    return libc.prctl(22, 2, fprog) if by == "prctl" else libc.syscall(SECCOMP, 1, 0, fprog)
'''


def _as_bare(t, script, *arguments, mode="echo"):
    """(what it printed, the report of the shimmed run)."""
    server = t.server(mode)
    path = t.file("odd.py", SETUP + script)
    result = t.bare_and_shimmed(sys.executable, path, ADDRESS, str(server.port), *arguments)
    assert result.returncode == 0 and result.stderr == b"", result
    return result.stdout.decode().split("\n"), t.report()


def test_a_close_range_that_fails_closes_nothing(t):
    _, report = _as_bare(t, """
c = connected()
for first, last, flags in ((3, 0xffffffff, 1 << 10), (3, 0xffffffff, 1 << 31),
                           (c.fileno(), c.fileno() - 1, 0), (3, 0xffffffff, 4)):
    print(said(libc.close_range(first, last, flags)), is_alive(c))
    print(said(libc.syscall(436, first, last, flags)), is_alive(c))
c.close()
""")
    t.counters(report, attempts=1, established=1, ended_local_fin=1, via_close=1)


def test_a_close_range_that_a_filter_refuses_closes_nothing(t):
    lines, report = _as_bare(t, """
c = connected()
print(filter_calls(0x50001, [436]))
print(said(libc.close_range(3, 0xffffffff, 0)), is_alive(c))
print(said(libc.syscall(436, 3, 0xffffffff, 0)), is_alive(c))
c.close()
""")
    assert lines[:2] == ["0", "Operation not permitted True"], lines
    t.counters(report, attempts=1, established=1, ended_local_fin=1)


def test_a_dup3_that_fails_gets_no_policy(t):
    server = t.server()
    script = t.file("dup3.py", SETUP + """
c = connected()
print(said(libc.dup3(1, c.fileno(), 1)), c.getsockopt(1, 13, 8))  # SO_LINGER
c.close()
""")
    t.run(t.twshim, "policy", "load", "-p", f"close=reset,to={server.to}", shim=False)
    t.bare_and_shimmed(sys.executable, script, ADDRESS, str(server.port))


def test_control_messages_that_are_none_give_the_error_that_they_give_bare(t):
    lines, report = _as_bare(t, """
c = connected()
a, b = socket.socketpair()
for length in (0, 1, 15, 17, 25, 1 << 20, 1 << 63, 2 ** 64 - 8, 2 ** 64 - 1):
    control = ctypes.create_string_buffer(struct.pack("=Qiiii", length, 1, 1, 1, 0))
    data = ctypes.create_string_buffer(b"x")
    vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(data), 1))
    message = struct.pack("=QQQQQQQ", 0, 0, ctypes.addressof(vector), 1,
                          ctypes.addressof(control), 24, 0)
    print(said(libc.sendmsg(a.fileno(), message, 0)))
print(is_alive(c))
c.close()
""")
    assert lines[0] == "Invalid argument" and lines[-2] == "True", lines
    t.counters(report, attempts=1, established=1, ended_local_fin=1)


# System calls that the shim makes and a client does not: getpid, gettid, getsockopt, poll, ftruncate, madvise,
# prlimit64, renameat2, statfs, fallocate.
FILTERED = """
kept = connected() if "before" in sys.argv else None
if "vfork" in sys.argv:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    libc.system(b"true")
calls = [39, 186, 55, 7, 77, 28, 302, 316, 138, 285]
print(filter_calls(0x80000000, calls, sys.argv[3]))
for _ in range(3):
    connected().close()
if kept:
    print(is_alive(kept))
    kept.close()
other = socket.socket()
os.dup2(1, other.fileno())
if libc.fork() == 0:
    connected().close()
    os._exit(7)
print(os.wait()[1])
"""


def test_a_program_that_puts_a_filter_upon_itself_is_not_killed_by_it(t):
    if os.uname().machine != "x86_64":
        raise Skip("numbers of x86-64")
    for by, more, number in (("prctl", ("before",), 1), ("seccomp", ("before", "vfork"), 1),
                             ("prctl", (), 0), ("seccomp", (), 0)):
        lines, report = _as_bare(t, FILTERED, by, *more)
        assert lines[0] == "0" and lines[-2] == "1792", lines
        # All connections opened before are reported, as those of a killed process.
        t.counters(report, attempts=number, established=number, ended_local_fin=number,
                   stood_aside=number)
        for path in glob.glob(t.dir + "/*.seg"):
            os.unlink(path)


ON_A_SMALL_STACK = """
#include <arpa/inet.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_in to = {.sin_family = AF_INET};

static void one(int number)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char byte = 'x';

    (void)number;
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) || write(fd, &byte, 1) != 1 ||
        read(fd, &byte, 1) != 1 || close(fd))
        _exit(3);
}

int main(int argc, char **argv)
{
    char *memory = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t stack = {.ss_sp = memory + 4096, .ss_size = 8192};
    struct sigaction action = {.sa_handler = one, .sa_flags = SA_ONSTACK};
    int status = 0;

    (void)argc;
    inet_pton(AF_INET, argv[1], &to.sin_addr);
    to.sin_port = htons((uint16_t)atoi(argv[2]));
    mprotect(memory, 4096, PROT_NONE);
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &action, NULL);
    /* One process of 64 clears away dead segments, by its pid: one such, and one other. */
    for (int left = 3; left;) {
        pid_t child = fork();
        int folds = (((uint32_t)(child ? child : getpid()) * 2654435761u) >> 16) % 64 == 0;

        if (!child && left & (folds ? 1 : 2))
            raise(SIGUSR1);
        if (!child)
            _exit(0);
        waitpid(child, &status, 0);
        if (status)
            return 100 + status;
        left &= folds ? ~1 : ~2;
    }
    return 0;
}
"""


def test_a_first_connection_on_a_small_signal_stack(t):
    t.need("gcc")
    path = t.file("small.c", ON_A_SMALL_STACK)
    subprocess.run(["gcc", "-o", path[:-2], path], check=True)
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "close")
    bare = t.run(path[:-2], ADDRESS, str(server.port), shim=False, status=None)
    if bare.returncode:
        raise Skip("a signal needs more than 8 KiB on this machine")
    t.run(path[:-2], ADDRESS, str(server.port))
    t.counters(t.report(), attempts=3, established=3, ended_local_fin=3)


def test_a_filter_that_could_not_be_had_changes_nothing(t):
    lines, report = _as_bare(t, """
print(said(libc.prctl(22, 2, 0)), said(libc.syscall(SECCOMP, 1, 0, 0)), libc.prctl(21))
connected().close()
""")
    assert lines[0] == "Bad address Bad address 0", lines
    t.counters(report, attempts=1, established=1, ended_local_fin=1)
