# SPDX-License-Identifier: MIT
"""Threads, signals and unusual children while connections are made: no deadlock, no lost count."""
import os
import re
import shutil
import subprocess

from harness import ADDRESS, Skip, kernel_sockets, settle, time_wait_created, wait_for


def _races(t, mode, status=0):
    server = t.server()
    report = t.twshim_run(t.prog("races"), ADDRESS, str(server.port), mode, status=status,
                          timeout=100)
    return server, report


def _all_accounted(t, server, report):
    """Checks that what the server accepted was established, nothing is open, and TIME_WAIT agrees."""
    total = report["total"]
    assert total["open"] == 0 and total["connecting"] == 0, total
    assert total["established"] == server.counts["accepted"], \
        f"{total['established']} established, {server.counts['accepted']} accepted"
    wait_for(lambda: not any(kernel_sockets(s, server.port) for s in (1, 4, 5)), "all settled")
    kernel = time_wait_created()
    assert total["ended_local_fin"] == kernel, f"{kernel} TIME_WAIT sockets made, {total}"
    return total


def test_eight_threads_lose_no_count(t):
    server, report = _races(t, "churn")
    t.counters(report, attempts=4000, established=4000, ended_local_fin=4000)
    t.time_wait_agrees(report, server, 4000)


def test_a_number_that_is_closed_and_reused_at_once(t):
    server, report = _races(t, "reuse")
    t.counters(report, attempts=2000, established=2000, ended_local_fin=2000)
    t.time_wait_agrees(report, server, 2000)


def test_two_threads_connect_one_descriptor(t):
    """It is one connection, whichever thread gets the success."""
    server, report = _races(t, "same")
    t.counters(report, attempts=2000, established=2000, ended_local_fin=2000, open=0,
               connecting=0, ended_unseen=0, unobserved=0, policy_image_refused=0)
    t.time_wait_agrees(report, server, 2000)


def test_cancellation_in_connect_and_close(t):
    server, report = _races(t, "cancel")
    total = _all_accounted(t, server, report)
    assert total["ended_unseen"] == 0, total


def test_cancellation_with_another_preload_behind(t):
    """Its close() is a cancellation point, like libc's, and is called for each connection."""
    server = t.server()
    counts = os.path.join(t.scratch, "counts")
    preload = f"{t.library}:{t.prog('pass_through.so')}"
    t.run(t.prog("races"), ADDRESS, str(server.port), "cancel",
          env={"LD_PRELOAD": preload, "PASS_THROUGH_COUNTS": counts})
    total = _all_accounted(t, server, t.report())
    assert total["ended_unseen"] == 0, total
    with open(counts, encoding="ascii") as file:
        closes = int(file.read().split()[2])
    assert closes >= total["established"] > 0, f"{closes} closes came by, {total}"


def test_a_signal_handler_closes_what_connect_works_on(t):
    server, report = _races(t, "handler")
    total = report["total"]
    assert total["attempts"] + total["unobserved"] <= 2000, total
    assert total["open"] == 0 and total["connecting"] == 0, total


def test_a_connection_costs_no_more_where_many_are_held(t):
    """In instructions of the client: four times as many connections are not ten times the work."""
    if not shutil.which("valgrind"):
        raise Skip("valgrind is not installed")
    server = t.server()

    def instructions(mode):
        result = t.run("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                       t.prog("races"), ADDRESS, str(server.port), mode)
        return int(re.search(r"refs:\s+([\d,]+)", result.stderr.decode())[1].replace(",", ""))

    few, many = instructions("hold-200"), instructions("hold-800")
    assert many < 5 * few, f"{few} instructions for 200, {many} for 800"


def test_exit_while_threads_are_connecting(t):
    server, report = _races(t, "exit")
    total = report["total"]
    assert total["open"] == 0 and total["connecting"] == 0, total
    assert total["established"] >= 8


def test_a_clone_that_shares_descriptors_closes_for_all(t):
    server, report = _races(t, "clone-files")
    t.counters(report, attempts=50, established=50, ended_local_fin=50)
    t.time_wait_agrees(report, server, 50)


def test_a_clone_that_shares_memory_only_ends_nothing(t):
    server, report = _races(t, "clone-memory")
    t.counters(report, attempts=50, established=50, ended_local_fin=50)
    t.time_wait_agrees(report, server, 50)


def test_threads_that_libc_does_not_know_lose_no_count(t):
    server, report = _races(t, "clone-threads")
    t.counters(report, attempts=12000, established=12000, ended_local_fin=12000)
    t.time_wait_agrees(report, server, 12000)


def test_a_clone_that_shares_nothing_ends_nothing(t):
    server, report = _races(t, "clone-fork")
    t.counters(report, attempts=50, established=50, ended_local_fin=50)
    t.time_wait_agrees(report, server, 50)


def test_closed_by_io_uring_is_unseen_or_settled_by_the_kernel(t):
    server = t.server()
    bare = t.run(t.prog("races"), ADDRESS, str(server.port), "io_uring", shim=False, status=None)
    if bare.returncode == 77:
        raise Skip("io_uring cannot be used here")
    report = t.twshim_run(t.prog("races"), ADDRESS, str(server.port), "io_uring")
    total = report["total"]
    assert total["established"] == 20 and total["open"] == 0, total
    assert total["ended_unseen"] + total["ended_local_fin"] == 20, total


def test_thread_sanitizer_finds_nothing(t):
    """The shim built with ThreadSanitizer, in a client built with it."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if not shutil.which("gcc"):
        raise Skip("no gcc")
    library = os.path.join(t.scratch, "libtwshim.so")
    client = os.path.join(t.scratch, "races")
    shim = os.path.join(root, "shim")
    sources = [os.path.join(folder, f) for folder, _, names in os.walk(shim)
               for f in sorted(names) if f.endswith(".c")]
    exports = os.path.join(t.build, "shim", "exports.map")
    subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", f"-I{root}", "-g", "-O1", "-fPIC",
                    "-fvisibility=hidden", "-fsanitize=thread", "-shared", "-o", library,
                    f"-Wl,--version-script={exports}", *sources], check=True)
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-g", "-O1", "-fsanitize=thread", "-o", client,
                    os.path.join(root, "tests", "progs", "races.c"), "-lpthread"], check=True)
    # It does not see the shim's own mmap() and munmap(), so two threads that get the same page one
    # after the other look like a race.
    options = "suppressions=" + t.file("suppressions", "race:tws_own_names\n")
    server = t.server()
    for mode in ("churn", "reuse"):
        result = t.run("setarch", "-R", client, ADDRESS, str(server.port), mode, status=None,
                       env={"LD_PRELOAD": library, "TSAN_OPTIONS": options}, timeout=200)
        assert b"WARNING: ThreadSanitizer" not in result.stderr, result.stderr.decode()[:4000]
        assert result.returncode == 0, result
    t.counters(t.report(), attempts=6000, established=6000, ended_local_fin=6000)


test_thread_sanitizer_finds_nothing.options = {"timeout": 300, "slow": True}


SPLIT = """
import ctypes, os, socket, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def closes_its_own():
    assert libc.unshare(0x400) == 0  # CLONE_FILES
    os.close(c.fileno())
thread = threading.Thread(target=closes_its_own)
thread.start()
thread.join()
c.send(b"x")
assert c.recv(1) == b"x"
print("alive", flush=True)
sys.stdin.readline()
c.close()
"""


def test_a_connection_that_a_thread_closed_in_its_own_table_lives_on(t):
    server = t.server()
    process = t.start("/usr/bin/python3", "-c", SPLIT, ADDRESS, str(server.port),
                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"alive\n"
    report = t.report()
    t.counters(report, attempts=1, established=1)
    assert report["total"]["open"] == 1, report["total"]
    process.communicate(b"\n")
    assert process.returncode == 0
    settle(server.port)
    t.counters(t.report(), attempts=1, established=1, ended_local_fin=1)
