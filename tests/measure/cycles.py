# SPDX-License-Identifier: MIT
"""The time of a connection: connect, request, reply, close, compared with the same cycle bare.

Two processes differ by 5 % here for reasons unrelated to the shim. Therefore tests/progs/paired.c runs all variants inside one process, in short
batches whose order is random in each round, and each round gives one ratio.
"""
import os
import shutil
import select
import signal
import subprocess
import tempfile

from harness import ADDRESS, sysctl

from measure import table
from measure.counts import DETAIL, rule

BATCH = 30
# For a variant that runs alone with the bare client, because a program has one shim, not eleven.
# The batch is long enough that cold caches at its start do not matter.
ALONE = 300
# The least that a shim of three system calls can reach. What the shim adds may be this many times
# as much.
CALLS = "the three system calls alone"
# ... and that one which keeps the counts can reach.
LEAST = "the calls and what is counted, unchecked"
SHARE = 1.25
POLICIES = (("close = fin-reset", 'close = "fin-reset";', None), ("close = reset", 'close = "reset";', None),
            ("close = reset-drained", 'close = "reset-drained";', None),
            ("close = graceful", 'close = "graceful";', None),
            ("close = linger", 'close = "linger"; linger_seconds = 1;', None),
            ("port_range = full", 'port_range = "full";', None),
            ("port_ring = full", 'port_ring = "full";', None),
            ("late_bind", "late_bind = true;", None), ("reuseaddr", "reuseaddr = true;", None),
            ("fin_timeout = 10", "fin_timeout = 10;", None))


def variant(test, library, conf=""):
    """(a copy of the library, a run-time directory with its policy): to be loaded beside
    others, each needs its own."""
    copy = tempfile.mkstemp(suffix=".so", dir=test.scratch)[1]
    shutil.copy(library, copy)
    directory = tempfile.mkdtemp(dir=test.dir)
    if conf:
        test.run(test.twshim, "policy", "load", "--dir", directory,
                 test.file("cycle.conf", conf), shim=False)
    return copy, directory


def rounds(test, number, variants, threads=1, batch=BATCH):
    """A list of rounds, each a list of nanoseconds a cycle: bare, then each variant. One thread
    and its server are held on one core, and at real-time priority where that may be had: what is
    compared is what they do, not when the scheduler changes between them."""
    pin = ("taskset", "-c", str(max(os.sched_getaffinity(0)))) if threads == 1 else ()
    if threads == 1 and shutil.which("chrt") and os.geteuid() == 0:
        pin = ("chrt", "-f", "10", *pin)
    arguments = [word for pair in variants for word in pair]
    result = test.run(*pin, test.prog("paired"), ADDRESS, str(number), str(batch), str(threads),
                      *arguments, shim=False)
    return [[float(word) for word in line.split()] for line in result.stdout.splitlines()]


def ratio(found, column):
    """Median and bounds of a column against the first, round by round."""
    return table.median([r[column] / r[0] for r in found])


def cycle(test, rows):
    """Each policy on one core."""
    shim = test.library
    cases = [("a wrapper that only counts", test.prog("pass_through.so"), "", None),
             (CALLS, test.prog("three_calls.so"), "", None),
             (LEAST, test.prog("least.so"), "", None),
             ("twshim, observe", shim, "", SHARE), ("twshim, detail = true", shim, DETAIL, None)]
    cases += [(f"twshim, {label}", shim, rule(settings), limit)
              for label, settings, limit in POLICIES]
    found = rounds(test, 300, [variant(test, library, conf) for _, library, conf, _ in cases])
    rows.add("cycle on one core, bare", table.median([r[0] for r in found]), "ns")
    calls = 1
    for column, (label, library, conf, share) in enumerate(cases, 1):
        value = ratio(found, column)
        if share or label in (CALLS, LEAST):
            value = ratio(rounds(test, 150, [variant(test, library, conf)], batch=ALONE), 1)
        row = rows.add(f"cycle, ratio to bare: {label}", value, "x",
                       1 + share * (calls - 1) if share else None, "cycle")
        calls = row["value"] if label == CALLS else calls


class Traced:
    """bpftrace on the kernel's TCP state tracepoint, counting by process and state."""

    SCRIPT = "tracepoint:sock:inet_sock_set_state { @[pid, args->newstate] = count(); }"

    def __enter__(self):
        # Where it looks for tracepoints; the bench has a mount namespace of its own.
        for kind, path in (("debugfs", "/sys/kernel/debug"), ("tracefs", "/sys/kernel/tracing")):
            if not os.path.ismount(path):
                subprocess.run(["mount", "-t", kind, "nodev", path], stderr=subprocess.DEVNULL,
                               check=False)
        self.process = subprocess.Popen(["bpftrace", "-e", self.SCRIPT + " BEGIN { print(1); }"],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
        # Its second line comes from BEGIN, when all probes are attached. Rarely it never comes.
        self.attached = all(select.select([self.process.stdout], [], [], 30)[0]
                            and self.process.stdout.readline() for _ in range(2))
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.communicate()


class Watched:
    """`twshim watch` of the whole host, as it would run for ever."""

    def __init__(self, test):
        self.test = test

    def __enter__(self):
        self.process = self.test.start(self.test.twshim, "watch", shim=False,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        # On a busy machine it says first that it is still getting ready.
        self.attached = any(b"watching" in line for line in self.process.stderr)
        self.before_s = self.cpu_s() if self.attached else 0
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.communicate()

    def cpu_s(self):
        """User and system time so far."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bpftrace(test, rows, repeat=7):
    """Times the bare cycle alone, beside bpftrace and beside `watch`, in turn, and ours in the
    same runs."""
    if not shutil.which("bpftrace"):
        return
    ours, theirs, watched, cpu = [], [], [], []
    for _ in range(repeat):
        without = rounds(test, 40, [variant(test, test.library)], batch=ALONE)
        with Traced() as traced:
            if not traced.attached:
                print("  bpftrace cannot attach to tracepoints here")
                return
            within = rounds(test, 40, [], batch=ALONE)
        with Watched(test) as watch:
            if watch.attached:
                beside = rounds(test, 40, [], batch=ALONE)
                watched.append(table.median([r[0] for r in beside])[0] /
                               table.median([r[0] for r in without])[0])
                cpu.append((watch.cpu_s() - watch.before_s) / (len(beside) * ALONE) * 5000 * 100)
        ours.append(table.median([r[1] / r[0] for r in without])[0])
        theirs.append(table.median([r[0] for r in within])[0] /
                      table.median([r[0] for r in without])[0])
    row = rows.add("cycle, ratio to bare: bpftrace on TCP states", table.median(theirs), "x",
                   None, "cycle")
    rows.add("cycle, ratio to bare: twshim, in the same runs", table.median(ours), "x",
             row["value"])
    if watched:
        rows.add("cycle, ratio to bare: beside twshim watch, in the same runs", table.median(watched), "x",
                 row["value"])
        rows.add("CPU of twshim watch at 5,000 connections per second", table.median(cpu), "%")


def strace(test, rows, repeat=5):
    """The same client under strace; ratios this large need no pairing inside one process."""
    if not shutil.which("strace"):
        return
    cases = {"strace -f --seccomp-bpf -e close":
             ("strace", "-f", "--seccomp-bpf", "-e", "trace=close", "-o", "/dev/null"),
             "strace -f -e network,close":
             ("strace", "-f", "-e", "trace=network,close", "-o", "/dev/null"),
             "strace -f": ("strace", "-f", "-o", "/dev/null")}
    core = str(max(os.sched_getaffinity(0)))

    def once(*wrap):
        result = test.run("taskset", "-c", core, *wrap, test.prog("cycle"), ADDRESS, "500", "1",
                          shim=False)
        return int(result.stdout.split()[-1])

    times = {name: [] for name in cases}
    for _ in range(repeat):
        bare = once()
        for name, wrap in cases.items():
            times[name].append(once(*wrap) / bare)
    for name, values in times.items():
        rows.add(f"cycle, ratio to bare: {name}", table.median(values), "x", None, "cycle")


def threads(test, rows):
    """The ratio with more threads, on all cores."""
    one = None
    for number in (1, 2, 8):
        found = rounds(test, 150, [variant(test, test.library)], number, ALONE)
        limit = one and one["high"]
        row = rows.add(f"cycle, ratio to bare: twshim, observe, {number} threads",
                       ratio(found, 1), "x", limit)
        one = one or row


def measure_cycles(test, rows):
    """The section."""
    sysctl("net.ipv4.tcp_tw_reuse", 1)
    cycle(test, rows)


def measure_others(test, rows):
    """The section of other tools that do the same work."""
    sysctl("net.ipv4.tcp_tw_reuse", 1)
    bpftrace(test, rows)
    strace(test, rows)


def measure_threads(test, rows):
    """The section."""
    sysctl("net.ipv4.tcp_tw_reuse", 1)
    threads(test, rows)
