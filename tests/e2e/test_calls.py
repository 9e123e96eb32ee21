# SPDX-License-Identifier: MIT
"""The shim's own system calls: the list that enable and docs/trust.md have is what the source
makes, and strace sees no other."""
import json
import os
import re

from harness import ADDRESS, Skip, SOURCE

# What this test does not bring about: renameat() and poll() or ppoll() belong to other kernels and
# machines, the clock is read without a system call here, two threads have to meet for sched_yield(),
# and the last two are made at an exec that a supervisor observes.
ELSEWHERE = {"renameat", "poll", "ppoll", "clock_gettime", "sched_yield", "fgetxattr", "faccessat2"}
OPEN = ("socket", "connect", "send:1", "recv")
# Ways to open and to close; each a program of its own, under each of the policies.
CLIENTS = (
    (*OPEN, "close", "repeat:3"),
    ("socket", "nonblock", "connect-poll", "send:1", "recv", "dup", "close", "close-d"),
    (*OPEN, "fork-close", "close", *OPEN, "spawn", "close", *OPEN, "shutdown:wr", "wait-hup", "close"),
    (*OPEN, "fork-hold", "close", "sleep:50", *OPEN, "close"),
    ("socket", "bind", "connect", "lowat:9", "send:9", "recv:9", "dup2-over"),
    (*OPEN, "close-range"),
    ("socket", "reuseaddr", "linger:0", "connect", "close-raw", *OPEN, "exit:0"),
)
POLICIES = ("close=keep", "close=fin-reset", "close=reset-drained,drain_ms=50", "close=reset",
            "port_range=full", "port_ring=20000-29999", "late_bind=true,reuseaddr=true")


def own_calls(path):
    """The names of the calls that were made from the library's code; strace -f -i wrote the file."""
    begun, ranges, names = {}, {}, set()
    line = re.compile(r"(\d+) +\[([0-9a-f]+|\?+)\] (\w+)\((.*)")
    with open(path, encoding="utf-8", errors="replace") as file:
        for match in filter(None, map(line.match, file)):
            pid, at, name, rest = match.groups()
            if name == "execve" and not re.search(r"= -1 \w+ ", rest):
                ranges[pid] = None
            # Two processes at once split a line, perhaps that of the mmap() or of the close(): the
            # next file that the loader opens is another one, often with the same number.
            if name == "openat":
                begun[pid] = rest.split("= ")[-1] if "libtwshim.so" in rest else None
            if name == "mmap" and begun.get(pid) and f", {begun[pid]}, 0) = " in rest:
                size, base = int(rest.split(", ")[1]), int(rest.split("= ")[-1], 16)
                ranges[pid] = (base, base + size)
                begun[pid] = None
            # A child that has not called exec has its parent's memory.
            known = ranges[pid] if pid in ranges else next(filter(None, ranges.values()), None)
            if known and "?" not in at and known[0] <= int(at, 16) < known[1]:
                names.add(name)
    return names


def listed(t):
    """The system calls of `twshim features`."""
    result = t.run(t.twshim, "features", "--json", shim=False)
    return set(json.loads(result.stdout)["system_calls"])


def traced(t, *command, options=(), env=None):
    """Runs a command with the shim under strace; the shim's own calls."""
    path = os.path.join(t.scratch, "strace")
    variables = {"LD_PRELOAD": t.library, **(env or {})}
    t.run("strace", "-f", "-i", *options, "-o", path, *(f"-E{k}={v}" for k, v in variables.items()),
          *command, shim=False, timeout=60)
    return own_calls(path)


def load(t, text):
    """Loads a policy."""
    t.run(t.twshim, "policy", "load", "--dir", t.dir, t.file("policy.conf", text), shim=False)


def in_each_way(t):
    """Clients that open and close in each way, under each of the policies."""
    server, names = t.server(), set()
    for policy in POLICIES:
        t.run(t.twshim, "policy", "load", "--dir", t.dir, "-p", f"{policy},to={server.to}",
              shim=False)
        for steps in CLIENTS:
            names |= traced(t, t.prog("client"), ADDRESS, str(server.port), *steps)
    return names


def slowly(t):
    """A connect() that takes long, and a close that waits for data to be acknowledged."""
    server, slow = t.server(), t.server("slow")
    load(t, 'rules = ({ close = "reset-drained"; drain_ms = 50; });')
    names = traced(t, t.prog("client"), ADDRESS, str(slow.port), "socket", "nonblock", "connect-poll",
                   "send:100000", "close")
    load(t, "")
    return names | traced(t, t.prog("client"), ADDRESS, str(server.port), *OPEN, "close",
                          options=("-e", "inject=connect:delay_exit=30000", "-e", "trace=all"))


def while_folding(t):
    """Processes whose number makes them clear away the dead ones before them (fold_sometimes() in
    shim/book/publish.c): the second finds the totals of the first. A group may read."""
    server = t.server()
    load(t, "max_segments = 1; retention_seconds = 1;")
    os.chmod(t.dir, 0o750)
    folds = [p for p in range(1000, 9000) if (p * 2654435761 & 0xffffffff) >> 16 & 63 == 0]
    script = "".join(f'"$@"; "$@"; echo {pid - 1} > /proc/sys/kernel/ns_last_pid; "$@"; '
                     for pid in folds[:2]) + f"ls {t.dir}/*.totals"
    return traced(t, "unshare", "-p", "-f", "--mount-proc", "sh", "-c", script, "sh", t.prog("client"),
                  ADDRESS, str(server.port), *OPEN, "close")


def as_another_user(t):
    """In a place that the shim makes itself."""
    server = t.server()
    mount = "mount -t tmpfs -o mode=1777 none /dev/shm && mount -t tmpfs none /run && exec \"$@\""
    return traced(t, "unshare", "-m", "sh", "-c", mount, "sh", "env", "-u", "TWSHIM_DIR", "setpriv",
                  "--reuid=65534", "--clear-groups", t.prog("client"), ADDRESS, str(server.port), *OPEN,
                  "close")


def test_strace_sees_no_call_of_the_shim_that_is_not_listed_and_each_that_is(t):
    t.need("strace", "setpriv")
    if os.getuid() != 0:
        raise Skip("another user needs root")
    names = set().union(*(step(t) for step in (in_each_way, slowly, while_folding, as_another_user)))
    assert names <= listed(t), names - listed(t)
    assert listed(t) - names <= ELSEWHERE, listed(t) - names


def test_trust_md_prints_the_list(t):
    printed = t.run(t.twshim, "features", "--calls", shim=False).stdout.decode()
    with open(os.path.join(SOURCE, "docs/trust.md"), encoding="utf-8") as file:
        assert f"\n\n{printed}\n" in file.read(), "run make docs"
    assert set(re.findall(r"[a-z0-9_]+", printed.split(";")[0])) | {"fchown", "fgetxattr", "faccessat2"} == listed(t)
