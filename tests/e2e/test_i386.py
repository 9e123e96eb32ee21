# SPDX-License-Identifier: MIT
"""32-bit programs: one word in LD_PRELOAD has each loader find the library of its programs, and all
publish segments of one layout."""
import json
import os
import subprocess

import test_shared
import test_ways_in
import test_ways_out
from harness import ADDRESS, Skip
from test_watch import CLIENT, STEPS
from variants import observed_by, repeat, run_is_exact, use

repeat(globals(), "i386", test_ways_in, test_ways_out, test_shared)
TIME64 = ("-D_TIME_BITS=64", "-D_FILE_OFFSET_BITS=64")


def clients(t):
    """A client of each kind that is built here: x86-64, i386 and, if its compiler is there, musl."""
    found = [t.prog("client")]
    use(t, "i386")
    found.append(t.prog("client"))
    try:
        use(t, "musl")
        found.append(t.prog("client"))
    except Skip:
        pass
    return found


def test_run_says_nothing_and_the_shim_counts(t):
    run_is_exact(t, "i386")


def test_in_a_tree_of_all_kinds_each_is_counted_once_and_no_loader_complains(t):
    server = t.server()
    to = f"{ADDRESS} {server.port} {' '.join(STEPS)}"
    kinds = clients(t)
    script = "; ".join(f"{client} {to} repeat:20 & env {client} {to}" for client in kinds) + "; wait"
    report = t.twshim_run("sh", "-c", script)
    assert t.result.stderr == b"", t.result
    number = 21 * len(kinds)
    t.counters(report, attempts=number, established=number, ended_local_fin=number)
    t.accounted(report, server)
    assert observed_by(report) == 2 * len(kinds)


def test_a_policy_acts_on_all_kinds(t):
    server = t.server()
    to = f"{ADDRESS} {server.port} {' '.join(STEPS)} repeat:20"
    kinds = clients(t)
    for close, ending in (("fin-reset", "ended_fin_reset"), ("reset", "ended_reset_policy")):
        report = t.twshim_run("sh", "-c", "; ".join(f"{client} {to}" for client in kinds),
                              options=("-p", f"to={ADDRESS},close={close}"))
        number = 20 * len(kinds)
        t.counters(report, attempts=number, policy_applied=number, **{ending: number})
        t.time_wait_agrees(report, server, 0)


def test_ports_of_a_ring_are_shared_by_all_kinds(t):
    server = t.server()
    to = f"{ADDRESS} {server.port} {' '.join(STEPS)} repeat:20"
    kinds = clients(t)
    report = t.twshim_run("sh", "-c", "; ".join(f"{client} {to}" for client in kinds),
                          options=("-p", f"to={ADDRESS},port_ring=40000-40099"))
    number = 20 * len(kinds)
    t.counters(report, attempts=number, ended_local_fin=number, policy_applied=number)
    t.time_wait_agrees(report, server, number)


def test_a_connection_is_handed_over_at_exec_to_a_program_of_the_other_width(t):
    wide = t.prog("client")
    use(t, "i386")
    ends = os.path.join(t.scratch, "ends")
    subprocess.run(["gcc", "-m32", "-o", ends, t.file("ends.c", "int main(void) { return 0; }\n")],
                   check=True)
    for first, second in ((t.prog("client"), "/bin/true"), (wide, ends)):
        server = t.server()
        report = t.twshim_run(first, ADDRESS, str(server.port), *STEPS[:-1], "repeat:5",
                              f"exec:{second}")
        t.counters(report, attempts=5, established=5, ended_local_fin=5, adopted=5, open=0)
        t.accounted(report, server)


def test_calls_by_the_names_of_64_bit_times_are_seen(t):
    """Then getsockopt() is __getsockopt64() for the linker, and fcntl() __fcntl_time64()."""
    use(t, "i386")
    binary = os.path.join(t.scratch, "time64")
    subprocess.run(["gcc", "-m32", "-w", "-D_GNU_SOURCE", *TIME64, "-o", binary, CLIENT], check=True)
    names = subprocess.run(["nm", "-D", "-u", binary], check=True, stdout=subprocess.PIPE).stdout
    assert b"__fcntl_time64" in names and b"__setsockopt64" in names, names
    server = t.server()
    report = t.twshim_run(binary, ADDRESS, str(server.port), *STEPS[:-1], "linger:0", "fdupfd", "close",
                          "close-d", "repeat:20")
    t.counters(report, attempts=20, established=20, ended_reset_app=20, setsockopt_linger_zero=20)
    first, server = t.server(), t.server()
    for opened in ("fastopen-msg", "fastopen-mmsg"):
        t.run(binary, ADDRESS, str(first.port), "socket", "fastopen", "recv:4", "close", shim=False)
        report = t.twshim_run(binary, ADDRESS, str(server.port), "socket", opened, "recv:4", "close")
        t.counters(report, attempts=1, established=1, ended_local_fin=1)


def test_doctor_says_that_the_shim_reaches_it(t):
    use(t, "i386")
    said = t.run(t.twshim, "doctor", "--json", t.prog("client"), shim=False, status=None)
    [finding] = [f for f in json.loads(said.stdout)["findings"] if f["id"] == "TW301"]
    assert finding["verdict"] == "ok", finding
