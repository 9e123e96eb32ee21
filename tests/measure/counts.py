# SPDX-License-Identifier: MIT
"""Figures that do not vary (system calls, instructions, memory), and the time that a process needs
to start and a plain file to close."""
import os
import random
import re
import shutil
import subprocess
import time

from harness import ADDRESS, added_system_calls

from measure import table

STEPS = ("socket", "connect", "send:1", "recv", "close")
NONBLOCKING = ("socket", "nonblock", "connect-poll", "send:1", "recv", "close")
DETAIL = "detail = true;"


def rule(settings):
    """A policy file of one rule for every destination."""
    return f'rules = ( {{ name = "bench"; match = {{ to = ["*"]; }}; {settings} }} );'


def _calls_of(test, client, name, conf, number):
    """The `strace -c` summary of a run with that many connections."""
    path = os.path.join(test.scratch, name)
    options = ("-c", conf) if conf else ()
    command = ("strace", "-f", "-c", "-o", path, *client, f"repeat:{number}")
    if conf is None:
        test.run(*command, shim=False)
    else:
        test.run(test.twshim, "run", "-q", *options, "--", *command, shim=False)
    return path


def calls(test, rows):
    """Added system calls per connection, over 1,000 connections."""
    cases = (("observe", STEPS, "", 4), ("observe, non-blocking", NONBLOCKING, "", 4),
             ("observe, detail = true", STEPS, DETAIL, 4),
             ("close = fin-reset", STEPS, rule('close = "fin-reset";'), None),
             ("close = reset", STEPS, rule('close = "reset";'), None),
             ("close = reset-drained", STEPS, rule('close = "reset-drained";'), None),
             ("port_range = full", STEPS, rule('port_range = "full";'), None))
    for label, steps, conf, limit in cases:
        client = (test.prog("client"), ADDRESS, str(test.server().port), *steps)
        if conf:
            conf = test.file("calls.conf", conf)
        bare = _calls_of(test, client, "bare", None, 1000)
        added = added_system_calls(bare, _calls_of(test, client, "shimmed", conf, 1000))
        each = sum(c for c in added.values() if c >= 500) / 1000
        rows.add(f"added system calls a connection, {label}", each, "calls", limit)
    for how, limit in (("close", 0), ("file", 0)):
        client = (test.prog("cycle"), how, "1000")
        paths = [os.path.join(test.scratch, n) for n in ("bare", "shimmed")]
        for path, preload in zip(paths, ((), ("-E", f"LD_PRELOAD={test.library}"))):
            test.run("strace", "-f", "-c", "-o", path, *preload, *client, shim=False)
        added = added_system_calls(*paths)
        what = {"close": "close() of no descriptor", "file": "open() and close() of a file"}[how]
        rows.add(f"added system calls, {what}",
                 sum(c for c in added.values() if c >= 500) / 1000, "calls", limit)


def _instructions(test, client, conf):
    """Instructions of the client, by valgrind; conf None: bare."""
    if conf:
        test.run(test.twshim, "policy", "load", "--dir", test.dir,
                 test.file("instructions.conf", conf), shim=False)
    result = test.run("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *client,
                      shim=conf is not None)
    if conf:
        test.run(test.twshim, "policy", "clear", "--dir", test.dir, shim=False)
    return int(re.search(r"refs:\s+([\d,]+)", result.stderr.decode())[1].replace(",", ""))


def instructions(test, rows):
    """Added instructions, the difference of two lengths of the same run."""
    if not shutil.which("valgrind"):
        return

    def each(client, count, conf=None):
        few, many = (_instructions(test, (*client, *n), conf) for n in count)
        return (many - few) / 1000

    closing, one = (test.prog("cycle"), "close"), (("100",), ("1100",))
    rows.add("added instructions, close() of no connection",
             each(closing, one, "") - each(closing, one), "instr.", 25)
    client = (test.prog("client"), ADDRESS, str(test.server().port), *STEPS)
    number = (("repeat:100",), ("repeat:1100",))
    bare = each(client, number)
    for label, conf, limit in (("observe", "", 1500), ("observe, detail = true", DETAIL, None),
                               ("close = fin-reset", rule('close = "fin-reset";'), None)):
        rows.add(f"added instructions a connection, {label}", each(client, number, conf) - bare,
                 "instr.", limit)


def memory(test, rows):
    """Shared memory that a process with 10 connections touches."""
    before = set(os.listdir(test.dir))
    test.run(test.prog("client"), ADDRESS, str(test.server().port), *STEPS, "repeat:10")
    [name] = [n for n in set(os.listdir(test.dir)) - before if n.endswith(".seg")]
    blocks = os.stat(os.path.join(test.dir, name)).st_blocks * 512
    rows.add("shared memory touched by a process with 10 connections", blocks // 1024, "KiB", 64)


def _spawn(command, environment):
    """Microseconds from the start of a process to its end."""
    started = time.perf_counter_ns()
    os.waitpid(os.posix_spawn(command[0], command, environment), 0)
    return (time.perf_counter_ns() - started) / 1000


def _empty(test):
    """A preload that does nothing and is as large as the shim."""
    sizes = subprocess.run(["size", test.library], check=True, stdout=subprocess.PIPE)
    text, data, bss = sizes.stdout.split(b"\n")[1].split()[:3]
    path = os.path.join(test.scratch, "empty.so")
    source = os.path.join(os.path.dirname(__file__), "..", "preload", "empty.c")
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", f"-DTEXT={int(text)}",
                    f"-DDATA={int(data)}", f"-DBSS={int(bss)}", "-o", path, source], check=True)
    return path


def start(test, rows):
    """The start and end of a process that opens nothing: bare, with a preload that does nothing
    (the least that any preload of this size costs), and with the shim, in random order."""
    environments = {"bare": test.environment(False), "shim": test.environment(True)}
    environments["least"] = {**environments["bare"], "LD_PRELOAD": _empty(test)}
    times = []
    for _ in range(400):
        times.append({kind: _spawn(["/bin/true"], environments[kind])
                      for kind in random.sample(sorted(environments), 3)})
    rows.add("start and end of true, bare", table.median([t["bare"] for t in times]), "us")
    least = rows.add("start and end of true, added by an empty preload of the same size",
                     table.median([t["least"] - t["bare"] for t in times]), "us")["value"]
    rows.add("start and end of true, added", table.median([t["shim"] - t["bare"] for t in times]),
             "us", max(2 * least, least + 150))


def plain(test, rows):
    """open() and close() of a plain file, in batches of 20,000."""
    command = (test.prog("cycle"), "file", "20000")
    times = []
    for _ in range(40):
        took = {shim: int(test.run(*command, shim=shim).stdout)
                for shim in random.sample((False, True), 2)}
        times.append((took[False], took[True]))
    rows.add("open() and close() of a plain file, bare", table.median([b for b, _ in times]),
             "ns")
    rows.add("open() and close() of a plain file, ratio",
             table.median([s / b for b, s in times]), "x")


def machine_call(test, rows):
    """How long this machine takes for any system call; the shim makes three per connection."""
    times = [int(test.run(test.prog("cycle"), "call", "20000", shim=False).stdout)
             for _ in range(20)]
    rows.add("getppid(), a system call that does next to nothing", table.median(times), "ns")


def measure(test, rows):
    """The section."""
    for part in (calls, instructions, memory, start, plain, machine_call):
        part(test, rows)
