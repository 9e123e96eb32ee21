# SPDX-License-Identifier: MIT
"""Kernels and containers that lack a feature, by a seccomp filter that the client inherits: the
client and its counts stay as they are, and what was lost has a name."""
import errno
import glob
import itertools
import json
import os

from harness import ADDRESS, Skip, settle, time_wait_left
from test_watch import compiled

X86 = os.uname().machine == "x86_64"
GET, SET, MADVISE = ("55", "54", "28") if X86 else ("209", "208", "233")
COOKIE = f"{GET}:1:57"  # SOL_SOCKET, SO_COOKIE
PORTS, LINGER2 = f"{SET}:0:51", f"{SET}:6:8"
DESTROYED = f"{SET}:270:1"  # SOL_NETLINK, NETLINK_ADD_MEMBERSHIP
CLOSE_RANGE, OPENAT2 = "436", "437"
BPF, SECCOMP = ("321", "317") if X86 else ("280", "277")
POPULATE = f"{MADVISE}:*:23"  # MADV_POPULATE_WRITE
# What is refused, and the feature that `twshim features` then misses (None: none).
REFUSED = {COOKIE: "socket_cookie", PORTS: "port_range_option", LINGER2: "linger2",
           DESTROYED: "destroy_group", CLOSE_RANGE: "close_range", OPENAT2: "openat2", BPF: "bpf",
           SECCOMP: "user_notification", POPULATE: None}
ERRORS = (errno.ENOPROTOOPT, errno.ENOSYS, errno.EPERM)
OPEN = ("socket", "connect", "send:1", "recv")
# Closed plainly, by its second descriptor, beside a child that holds it, and after a shutdown.
STEPS = (*OPEN, "close", *OPEN, "dup", "close", "close-d", *OPEN, "fork-close", "close",
         *OPEN, "shutdown:wr", "wait-hup", "close", *OPEN, "exit:0")
PLAIN = (*OPEN, "close", "repeat:3")


def refusing(t):
    """Each call that is refused and each error, with the program that refuses it."""
    for what, error in itertools.product(REFUSED, ERRORS):
        yield what, (t.prog("refuse"), what, str(error))


def observed(t, server, steps, refuse=(), options=(), program=None):
    """What a client prints, and the counters of its report without times."""
    path = os.path.join(t.scratch, "report.json")
    result = t.run(*refuse, t.twshim, "run", "--json", "-o", path, *options, "--",
                   program or t.prog("client"), ADDRESS, str(server.port), *steps, shim=False)
    with open(path, encoding="utf-8") as file:
        report = t.read_report(file.read())
    counted = {name: value for name, value in report["total"].items() if isinstance(value, int)}
    settle(server.port)
    return (result.stdout, result.stderr), counted, report


def test_a_feature_that_is_refused_changes_nothing_in_a_client_or_its_counts(t):
    server = t.server()
    result = t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, shim=False)
    bare = result.stdout, result.stderr
    _, expected, _ = observed(t, server, STEPS)
    assert expected["ended_local_fin"] == expected["established"] == 5, expected
    for what, refuse in refusing(t):
        said, counted, _ = observed(t, server, STEPS, refuse)
        assert said == bare, (refuse, said)
        differs = {n: (v, counted[n]) for n, v in expected.items() if counted[n] != v}
        assert not differs, (refuse, differs)


def without_btf(*command):
    """The command, where the kernel shows no BTF."""
    return ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', "sh",
            *command)


def ways_without_bpf(t):
    """What begins a command to which BPF is refused, and what watch then says."""
    for error in ERRORS:
        yield (t.prog("refuse"), BPF, str(error)), ("BPF: ",)
    if os.path.exists("/sys/kernel/btf/vmlinux"):
        yield without_btf(), ("BPF: ", "BTF")


def test_without_bpf_a_supervisor_counts_the_same_and_without_it_bpf_does(t):
    """A static program, which the shim does not reach."""
    if os.geteuid() != 0:
        raise Skip("watching through the kernel needs root")
    client = compiled(t, "gcc")
    ways = [(refuse, "supervisor") for refuse, _ in ways_without_bpf(t)]
    ways += [((t.prog("refuse"), SECCOMP, str(error)), "bpf") for error in ERRORS]
    first = None
    for refuse, observer in ways:
        server = t.server()
        said, counted, report = observed(t, server, PLAIN, refuse, program=client)
        observers = {"shim": 0, "bpf": 0, "supervisor": 0, observer: 1}
        assert [app["observed_by"] for app in report["apps"]] == [observers], (refuse, report["apps"])
        assert (said[0], said[1].count(b"\n")) == (b"", 1) and b"observes it instead" in said[1], said
        t.accounted(report, server, accepted=3)
        counted = {name: counted[name] for name in ("attempts", "established", "ended_local_fin",
                                                    "bytes_sent", "bytes_received", "peak_open")}
        assert counted == (first := first or counted) and counted["established"] == 3, counted


def test_without_both_a_program_runs_as_always_and_run_says_what_was_refused(t):
    client = compiled(t, "gcc")
    for error in ERRORS:
        server = t.server()
        refuse = itertools.chain(*((t.prog("refuse"), what, str(error)) for what in (BPF, SECCOMP)))
        # It waits for the server to close: from then on the socket is in TIME_WAIT.
        steps = ("socket", "connect", "shutdown:wr", "wait-hup", "close", "repeat:3")
        said, counted, _ = observed(t, server, steps, tuple(refuse), program=client)
        text = said[1].decode()
        assert counted["attempts"] == 0 and said[0] == b"", (counted, said)
        assert "nothing here can observe it instead" in text, text
        assert "not in the report: seccomp user notification: " in text, text
        assert "3 TIME_WAIT sockets without an owner appeared" in text, text
        assert server.counts["accepted"] == 3 == time_wait_left(server.port), server.counts


def test_watch_says_what_it_lacks_and_what_to_use(t):
    if os.geteuid() != 0:
        raise Skip("watching through the kernel needs root")
    for refuse, words in ways_without_bpf(t):
        said = t.run(*refuse, t.twshim, "watch", "--seconds", "1", shim=False, status=1).stderr.decode()
        assert all(word in said for word in (*words, "twshim run -- ")), said
        assert said.startswith("twshim: watch: ") and said.count("\n") == 1, said


def test_time_wait_sockets_are_confirmed_and_owned_without_cookies(t):
    for error in ERRORS:
        server, refuse = t.server(), (t.prog("refuse"), COOKIE, str(error))
        _, _, report = observed(t, server, STEPS, refuse)
        t.accounted(report, server, accepted=5)
        path = os.path.join(t.scratch, "owners.json")
        with open(path, "wb") as file:
            t.run(*refuse, t.twshim, "owners", "--json", shim=False, stdout=file)
        with open(path, encoding="utf-8") as file:
            owners = json.load(file)
        owned = sum(o["count"] for o in owners["owners"] if o["to"] == server.to)
        assert owned == 5 == time_wait_left(server.port), owners


def test_a_policy_whose_option_is_refused_changes_nothing_and_is_counted_unsupported(t):
    for what, rule in ((LINGER2, "close=fin-reset"), (PORTS, "port_range=full")):
        server = t.server()
        for error in ERRORS:
            refuse = t.prog("refuse"), what, str(error)
            said, counted, _ = observed(t, server, PLAIN, refuse, ("-p", rule))
            assert said == (b"", b""), said
            assert counted["ended_local_fin"] == counted["policy_unsupported"] == 3, counted
            assert counted["policy_applied"] == 0, counted


def test_a_close_range_that_is_refused_closes_nothing_and_counts_nothing(t):
    """In the second, libc closes one descriptor after the other instead."""
    server = t.server()
    for error in ERRORS:
        refuse = t.prog("refuse"), CLOSE_RANGE, str(error)
        _, counted, _ = observed(t, server, (*OPEN, "close-range", "send:1", "recv", "close"), refuse)
        assert counted["via_close"] == counted["ended_local_fin"] == 1, counted
        assert counted["via_close_range"] == 0, counted
        _, counted, _ = observed(t, server, (*OPEN, "closefrom"), refuse)
        assert counted["via_close_range"] == counted["ended_local_fin"] == 1, counted


def test_a_segment_that_is_cut_is_noticed_although_a_feature_is_refused(t):
    for what in (COOKIE, POPULATE):
        server = t.server()
        process = t.start(t.prog("refuse"), what, str(errno.EPERM), "env",
                          f"LD_PRELOAD={t.library}", t.prog("client"), ADDRESS, str(server.port),
                          *OPEN, "close", "sleep:150", *(*OPEN, "close") * 20, shim=False)
        server.wait("eofs", 1)
        [path] = glob.glob(os.path.join(t.dir, "*.seg"))
        os.truncate(path, 0)
        assert process.wait(30) == 0, (what, process.returncode)
        os.unlink(path)
        t.counters(t.report(), attempts=20, established=20, ended_local_fin=20)
        for path in glob.glob(os.path.join(t.dir, "*.seg")):
            os.unlink(path)


def test_each_feature_that_is_refused_is_named_and_no_other(t):
    def missing(*refuse):
        result = t.run(*refuse, t.twshim, "features", "--json", shim=False)
        rows = json.loads(result.stdout)["features"]
        return {row["id"]: row for row in rows if row["available"] is not True}

    there = missing()
    for what, refuse in refusing(t):
        lost = {id: row for id, row in missing(*refuse).items() if id not in there}
        names = {REFUSED[what]} - {None}
        if what == PORTS:
            names.add("flat_scan")  # which is tried with that option
        if what == BPF:
            lost.pop("libbpf", None)
        assert set(lost) == names, (refuse, lost)


def test_a_socket_option_that_is_refused_is_named_by_doctor(t):
    for what, name in ((PORTS, b"IP_LOCAL_PORT_RANGE"), (LINGER2, b"TCP_LINGER2")):
        for error in ERRORS:
            result = t.run(t.prog("refuse"), what, str(error), t.twshim, "doctor", "--all", shim=False,
                           status=None)
            lines = [line for line in result.stdout.splitlines() if name in line]
            assert lines and any(b"missing" in line for line in lines), (name, error, result.stdout)
