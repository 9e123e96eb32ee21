# SPDX-License-Identifier: MIT
"""twshim trace: every ending as a line, of long and very short processes; filters; missed endings are
counted; it stops when asked."""
import datetime
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

from harness import ADDRESS, Skip, skip_under_thread_sanitizer, wait_for

STEPS = ("socket", "connect", "send:1", "recv", "close")
ENDED_TICKETS = 312  # in the header: tests/abi.golden


def waits(process):
    """Whether a trace has read what there is and waits for more. Only then is SIGINT unblocked; it blocks
    it before it ignores SIGPIPE."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
        masks = dict(line.split(":", 1) for line in file if line.startswith("Sig"))
    def has(mask, number):
        return int(masks[mask], 16) >> number - 1 & 1
    return has("SigIgn", signal.SIGPIPE) and not has("SigBlk", signal.SIGINT)


def begin(t, *options, json_lines=True, **more):
    """A trace in the background that is already following."""
    process = t.start(t.twshim, "trace", *(("--json",) if json_lines else ()), *options,
                      shim=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    wait_for(lambda: waits(process), "trace follows")
    return process


def descriptors(process):
    """{descriptor: what /proc says about it}."""
    directory, found = f"/proc/{process.pid}/fdinfo", {}
    for number in os.listdir(directory):
        try:
            with open(f"{directory}/{number}", encoding="ascii") as file:
                found[number] = file.read()
        except FileNotFoundError:
            pass
    return found


def watched(process):
    """The directories that a trace watches: (minor number of the device, inode)."""
    lines = [line for text in descriptors(process).values() for line in text.splitlines()]
    found = [re.search(r" ino:(\w+) sdev:(\w+)", l) for l in lines if l.startswith("inotify ")]
    return {(int(one[2], 16) & 0xfffff, int(one[1], 16)) for one in found}


def identity(directory):
    """Its name in the result of watched()."""
    told = os.stat(directory)
    return os.minor(told.st_dev), told.st_ino


def wait_watched(process, directory):
    """Waits until a trace has found this directory."""
    wait_for(lambda: identity(directory) in watched(process), f"{directory} is watched")


def end(process):
    """Interrupts it. Returns its output and its standard error."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return [json.loads(line) for line in out.decode().splitlines()], err.decode()


def test_a_line_says_who_where_how_long_and_how_it_ended(t):
    server, first = t.server(), t.server("first")
    trace = begin(t)
    conf = t.file("detail.conf", "detail = true;")
    t.run(t.twshim, "policy", "load", "--dir", t.dir, conf, shim=False)
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS[:4], "sleep:50", "close")
    t.run(t.twshim, "policy", "clear", "--dir", t.dir, shim=False)
    t.run(t.prog("client"), ADDRESS, str(first.port), *STEPS[:4], "wait-hup", "close")
    lines, said = end(trace)
    assert not said and len(lines) == 2, (lines, said)
    ours, theirs = lines
    assert ours["schema"] == "twshim.trace/1" and ours["app"] == "client"
    assert (ours["ending"], ours["via"], ours["to"]) == ("local_fin", "close", server.to)
    assert 0.045 < ours["lifetime_s"] < 5 and ours["short_lived"]
    assert (ours["bytes_sent"], ours["bytes_received"]) == (1, 1)
    assert ours["from"].startswith(ADDRESS + ":")
    assert (theirs["ending"], theirs["to"]) == ("remote_fin", first.to)
    assert (theirs["bytes_sent"], theirs["bytes_received"]) == (None, None)


DEAF = """
#include <errno.h>
int setsockopt(int fd, int level, int name, const void *value, unsigned length)
{
	(void)fd, (void)level, (void)name, (void)value, (void)length;
	errno = EPERM;
	return -1;
}
"""


def test_from_is_known_where_nothing_is_heard_of_the_kernel(t):
    # On a busy machine announcements of ended sockets are late; then the table decides.
    library = f"{t.scratch}/deaf.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, t.file("deaf.c", DEAF)], check=True)
    server = t.server()
    trace = begin(t, env={"LD_PRELOAD": library})
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:5")
    lines, _ = end(trace)
    assert len(lines) == 5 and all(l["from"] for l in lines), lines
    assert len({l["from"] for l in lines}) == 5, lines


def test_under_faked_time_the_time_is_told_as_it_is(t):
    # Times of the processes are compared with the time now, both by the kernel's clock.
    fakes = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    if not fakes:
        raise Skip("no faketime")
    server = t.server()
    faked, before = {"LD_PRELOAD": fakes[0], "FAKETIME": "+400d"}, time.time()
    trace = begin(t, env=faked)
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS)
    [line], _ = end(trace)
    ended = datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
    assert before - 1 <= ended.timestamp() <= time.time(), line
    client = t.start(t.prog("client"), ADDRESS, str(server.port), *STEPS, "sleep:60000",
                     stdout=subprocess.DEVNULL)
    server.wait("eofs", 2)
    ps = json.loads(t.run(t.twshim, "ps", "--json", shim=False, env=faked).stdout)
    assert [(p["pid"], p["rate"] > 0) for p in ps["processes"]] == [(client.pid, True)], ps


def test_who_writes_a_segment_does_not_keep_a_reader(t):
    """The segment shows ever more endings while it is read; trace still ends on time."""
    server = t.server()
    held = t.start(t.prog("client"), ADDRESS, str(server.port), *STEPS[:4], "note:held",
                   "sleep:60000", stdout=subprocess.PIPE)
    held.stdout.readline()
    [path] = glob.glob(os.path.join(t.dir, "*.seg"))
    liar = t.start(sys.executable, "-c", f"""
import ctypes, mmap
with open({path!r}, "r+b") as file:
    tickets = ctypes.c_uint64.from_buffer(mmap.mmap(file.fileno(), 4096), {ENDED_TICKETS})
while True:
    tickets.value += 1 << 36
""", shim=False)
    result = t.run(t.twshim, "trace", "--json", "-s", "2", shim=False, timeout=30)
    assert liar.poll() is None
    assert len(result.stdout.splitlines()) < 100000, len(result.stdout)


def test_exit_and_kill_are_lines_too(t):
    server = t.server()
    trace = begin(t)
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS[:4], "exit:0")
    held = t.start(t.prog("client"), ADDRESS, str(server.port), *STEPS[:4], "note:read",
                   "sleep:60000", stdout=subprocess.PIPE)
    held.stdout.readline()
    held.kill()
    held.wait()
    lines = [json.loads(trace.stdout.readline()) for _ in range(2)]
    trace.send_signal(signal.SIGINT)
    assert trace.stdout.read() == b"" and trace.wait(timeout=60) == 0
    assert [(l["ending"], l["via"]) for l in lines] == \
        [("local_fin", "exit"), ("local_fin", "kill")], lines
    assert lines[1]["pid"] == held.pid and lines[1]["bytes_sent"] is None


def test_what_ended_before_is_not_shown_and_what_was_open_is(t):
    server = t.server()
    script = t.file("client.py", """
import socket, sys
to = (sys.argv[1], int(sys.argv[2]))
socket.create_connection(to).close()
held = socket.create_connection(to)
print("ready", flush=True)
sys.stdin.readline()
held.close()
print("closed", flush=True)
sys.stdin.readline()
""")
    client = t.start(sys.executable, script, ADDRESS, str(server.port), stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE)
    client.stdout.readline()
    opened = time.monotonic()
    trace = begin(t)
    waited = time.monotonic() - opened
    client.stdin.write(b"\n")
    client.stdin.flush()
    client.stdout.readline()
    lines, _ = end(trace)
    assert len(lines) == 1 and lines[0]["pid"] == client.pid, lines
    assert lines[0]["lifetime_s"] >= waited - 0.001, (lines, waited)


def test_processes_of_three_milliseconds_are_all_seen(t):
    server = t.server()
    trace = begin(t)
    for _ in range(4):
        t.run("sh", "-c", f"for i in $(seq 50); do {t.prog('client')} {ADDRESS} {server.port} "
              f"{' '.join(STEPS)}; done")
    lines, said = end(trace)
    assert len(lines) == 200 and len({l["pid"] for l in lines}) == 200, (len(lines), said)


def test_a_run_directory_is_followed_as_well(t):
    server = t.server()
    trace = begin(t)
    t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:20")
    lines, said = end(trace)
    assert len(lines) == 20 and not said, (len(lines), said)


def _fast(t, rate):
    """Runs two processes of 20,000 connections each under a trace, together this many per second (0: as
    fast as they can). Returns the lines."""
    server = t.server("first")
    trace = begin(t)
    script = t.file("fast.py", """
import socket, sys, time
to, number, rate = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3]), float(sys.argv[4])
began = time.monotonic()
for i in range(number):
    one = socket.socket()
    one.connect(to)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
    one.close()
    early = rate and began + i / rate - time.monotonic()
    if early > 0.002:
        time.sleep(early)
""")
    clients = [t.start(sys.executable, script, ADDRESS, str(server.port), "20000", str(rate / 2))
               for _ in range(2)]
    got = []
    reader = threading.Thread(target=lambda: got.append(trace.stdout.read()))
    reader.start()
    assert [c.wait(timeout=100) for c in clients] == [0, 0]
    trace.send_signal(signal.SIGINT)
    reader.join()
    return [json.loads(l) for l in got[0].decode().splitlines()]


def test_nothing_is_missed_at_5000_a_second(t):
    skip_under_thread_sanitizer(t, "trace is too slow for that")
    # A busy machine may keep trace waiting for longer than the ring lasts, as it then says.
    for _ in range(3):
        lines = _fast(t, 5500)
        if not any("missed" in l for l in lines):
            break
    assert not any("missed" in l for l in lines)
    assert len(lines) == len({(l["pid"], l["cookie"]) for l in lines}) == 40000, len(lines)
    # A client may be kept waiting between the end of a connection and its record.
    assert all(a["time"] <= b["time"] for a, b in zip(lines, lines[5000:]))


def test_at_any_rate_lines_and_missed_are_all(t):
    lines = _fast(t, 0)
    shown = [l for l in lines if "missed" not in l]
    missed = sum(l["missed"] for l in lines if "missed" in l)
    assert len(shown) == len({(l["pid"], l["cookie"]) for l in shown}), len(shown)
    assert len(shown) + missed == 40000, (len(shown), missed)


def test_what_the_ring_lost_is_said(t):
    server = t.server()
    trace = begin(t)
    trace.send_signal(signal.SIGSTOP)
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:3000")
    trace.send_signal(signal.SIGCONT)
    lines, said = end(trace)
    missed = sum(l.get("missed", 0) for l in lines)
    shown = sum("missed" not in l for l in lines)
    assert missed + shown == 3000 and shown == 2048, (missed, shown)
    assert f"{missed} endings were missed, {shown} shown" in said


def test_filters_choose_lines(t):
    server, first = t.server(), t.server("first")
    commands = (
        (("client",), 4), (("/nowhere/client",), 0), (("cli*",), 4), (("other",), 0),
        (("--to", f"10.77.0.0/16:{server.port}"), 2), (("--to", "10.78.0.0/16"), 0),
        (("--to", "*:1", "--to", f"*:{first.port}"), 2), (("--ending", "remote_fin"), 2),
        (("--ending", "local_fin,reset_app"), 2), (("--min-lifetime", "100ms"), 1),
        (("--min-lifetime", "60"), 0), (("1",), 0))
    traces = [(begin(t, *options), options, number) for options, number in commands]
    run = (t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "send:1", "recv")
    t.run(*run, "close")
    t.run(*run, "sleep:120", "close")
    t.run(t.prog("client"), ADDRESS, str(first.port), "socket", "connect", "send:1", "recv",
          "wait-hup", "close", "repeat:2")
    for trace, options, number in traces:
        lines, _ = end(trace)
        assert len(lines) == number, (options, lines)


def test_it_ends_after_a_count_a_time_and_with_its_reader(t):
    server = t.server()
    trace = begin(t, "--count", "3")
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:9")
    out, _ = trace.communicate(timeout=10)
    assert len(out.splitlines()) == 3 and trace.returncode == 0
    began = time.monotonic()
    t.run(t.twshim, "trace", "--seconds", "500ms", shim=False)
    assert 0.4 < time.monotonic() - began < 5
    trace = begin(t)
    trace.stdout.close()
    assert trace.wait(timeout=10) == 0 and trace.stderr.read() == b""


def test_text_is_one_line_each_and_safe(t):
    server = t.server()
    strange = f"{t.scratch}/evil\x1b[31m\nname"
    t.run("cp", t.prog("client"), strange, shim=False)
    trace = begin(t, json_lines=False)
    t.run(strange, ADDRESS, str(server.port), *STEPS)
    trace.send_signal(signal.SIGTERM)
    out = trace.communicate(timeout=10)[0]
    assert len(out.splitlines()) == 2 and b"\x1b" not in out and b"local_fin" in out, out


def test_a_directory_that_comes_later_is_found(t):
    directory = t.dir + "/later"
    trace = begin(t, "--dir", directory)
    server = t.server()
    t.run("mkdir", "-m", "700", directory, shim=False)
    wait_watched(trace, directory)
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, env={"TWSHIM_DIR": directory})
    lines, said = end(trace)
    assert len(lines) == 1
    [line] = said.splitlines()
    assert line.startswith(f"twshim: --dir {directory}: no such directory yet"), line


def test_a_directory_made_anew_is_followed_and_the_old_one_let_go(t):
    server = t.server()
    run = (t.prog("client"), ADDRESS, str(server.port), *STEPS)
    trace = begin(t)
    t.run(*run)
    lines = [trace.stdout.readline()]
    old = identity(t.dir)
    number = len(descriptors(trace))
    for _ in range(2):
        shutil.rmtree(t.dir)
        os.mkdir(t.dir, 0o700)
        wait_watched(trace, t.dir)
        t.run(*run, "repeat:2")
        lines += [trace.stdout.readline(), trace.stdout.readline()]
    t.twshim_run(*run)
    lines.append(trace.stdout.readline())
    wait_for(lambda: old not in watched(trace) and len(descriptors(trace)) <= number,
             "what was removed is let go")
    trace.send_signal(signal.SIGINT)
    assert trace.stdout.read() == b"" == trace.stderr.read() and trace.wait(timeout=60) == 0
    assert len({json.loads(l)["cookie"] for l in lines}) == 6, lines


def test_a_tmpfs_mounted_anew_is_followed(t):
    server = t.server()
    run = (t.prog("client"), ADDRESS, str(server.port))
    directory = f"{t.scratch}/tmpfs"
    os.mkdir(directory, 0o700)
    mount = ("mount", "-t", "tmpfs", "-o", "mode=700", "none", directory)
    t.run(*mount, shim=False)
    trace = begin(t, "--dir", directory)
    held = t.start(*run, *STEPS[:4], "wait-hup", "close", env={"TWSHIM_DIR": directory})
    wait_for(lambda: server.counts["bytes"] == 1, "it has sent")
    t.run(*run, *STEPS, env={"TWSHIM_DIR": directory})
    t.run("umount", "-l", directory, shim=False)
    t.run(*mount, shim=False)
    wait_watched(trace, directory)
    t.run(*run, *STEPS, env={"TWSHIM_DIR": directory})
    server.close()
    assert held.wait(timeout=20) == 0
    lines, said = end(trace)
    t.run("umount", directory, shim=False)
    assert sorted(l["ending"] for l in lines) == ["local_fin", "local_fin", "remote_fin"], lines
    assert not said


def test_what_was_missed_is_said_however_it_ends(t):
    server = t.server()
    run = (t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:3000")
    for leave in (lambda trace: trace.send_signal(signal.SIGINT),
                  lambda trace: trace.send_signal(signal.SIGTERM),
                  lambda trace: trace.stdout.close()):
        trace = begin(t)
        trace.send_signal(signal.SIGSTOP)
        t.run(*run)
        leave(trace)
        trace.send_signal(signal.SIGCONT)
        if trace.stdout.closed:
            trace.wait(timeout=60)
            said = trace.stderr.read()
        else:
            said = trace.communicate(timeout=60)[1]
        assert trace.returncode == 0, (trace.returncode, said)
        assert b"trace: 952 endings were missed" in said and said.count(b"\n") == 1, said


def test_wrong_options_of_trace_are_told(t):
    for arguments in (("--count", "0"), ("--count", "x"), ("--to", "nonsense"),
                      ("--ending", "happily"), ("--seconds", "soon"), ("a", "b"), ("--x",)):
        result = t.run(t.twshim, "trace", *arguments, shim=False, status=2)
        assert result.stderr.startswith(b"twshim: ") and result.stderr.count(b"\n") == 1
