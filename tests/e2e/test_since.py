# SPDX-License-Identifier: MIT
"""Every number says which period it covers: --since of report and top, and what is left out. The
tests do not wait for time to pass; they make what a process wrote older."""
import json
import os
import re
import struct
import subprocess
import time

from harness import ADDRESS, SOURCE, Skip
from test_serve import ask, serve

PYTHON = os.path.realpath("/usr/bin/python3")
# For each number on stdin: opens and closes so many connections.
LOOP = """import socket, sys
for line in sys.stdin:
    for _ in range(int(line)):
        socket.create_connection((sys.argv[1], int(sys.argv[2]))).close()
    print("done", flush=True)
"""
AGE_S = 600       # more than two slices of time
SLICES = 2
SLICE_SHIFT = 38  # of shim/shared/slices.h


def offsets(struct_name):
    """Field -> offset, from the golden layout."""
    with open(os.path.join(SOURCE, "tests", "abi.golden"), encoding="utf-8") as file:
        block = re.search(rf"^struct {struct_name} \d+\n((?:  .*\n)+)", file.read(), re.M)[1]
    return {name: int(at) for name, at, _ in (line.split() for line in block.splitlines())}


def make_older(t):
    """All that was counted until now was counted two slices and more ago."""
    if time.clock_gettime(time.CLOCK_MONOTONIC) < 2 * AGE_S:
        raise Skip("the machine was started a moment ago")
    header, section = offsets("tws_header"), offsets("tws_section")
    destination = offsets("tws_destination")
    for name in os.listdir(t.dir):
        if not name.endswith(".seg"):
            continue
        with open(os.path.join(t.dir, name), "r+b") as file:
            data = file.read()

            def change(at, form, less):
                value, = struct.unpack_from(form, data, at)
                file.seek(at)  # pylint: disable=cell-var-from-loop
                file.write(struct.pack(form, value - less if value else 0))

            for field in ("created_monotonic_ns", "created_realtime_ns", "heartbeat_ns"):
                change(header[field], "=Q", AGE_S * 10**9)
            change(header["process_slice"], "=I", SLICES)
            at = header["section"] + 2 * 24  # TWS_SECTION_DESTINATIONS
            first, = struct.unpack_from("=Q", data, at + section["offset"])
            size, _, used = struct.unpack_from("=III", data, at + section["element_size"])
            for i in range(used):
                change(first + i * size + destination["slice"], "=I", SLICES)


def client(t, server):
    """A process that waits to be told how many connections to open."""
    loop = t.start(PYTHON, "-c", LOOP, ADDRESS, str(server.port), stdin=subprocess.PIPE,
                   stdout=subprocess.PIPE)

    def tell(number):
        loop.stdin.write(f"{number}\n".encode())
        loop.stdin.flush()
        assert loop.stdout.readline() == b"done\n"
    return loop, tell


def asked(t, *arguments):
    """The report as JSON."""
    return json.loads(t.run(t.twshim, "report", "--json", *arguments, shim=False).stdout)


def text_of(t, *arguments, command="report", status=0):
    """What it prints, on one line."""
    result = t.run(t.twshim, command, *arguments, shim=False, status=status)
    return " ".join((result.stdout + result.stderr).decode().split())


def test_a_living_process_knows_what_it_counted_in_the_period(t):
    server = t.server()
    loop, tell = client(t, server)
    tell(5)
    make_older(t)
    report = asked(t, "--since", "1m")
    assert (report["total"]["attempts"], report["older_left_out"]) == (0, 5), report["total"]
    tell(3)
    tell(1)
    report = asked(t, "--since", "1m")
    total = report["total"]
    assert (total["attempts"], total["established"], total["open"]) == (4, 4, 0), total
    assert (report["older_left_out"], report["perhaps_older"]) == (5, 0), report
    assert report["apps"][0]["destinations"][0]["counters"]["attempts"] == 4, report["apps"]
    assert report["since"] < report["until"] == report["generated"], report["since"]
    assert total["lifetime_seconds"] is None, total["lifetime_seconds"]
    text = text_of(t, "--since", "1m")
    assert f"opened 4 connections since {report['since'][11:19]} UTC" in text, text
    assert "5 older connects are left out: --since all shows them" in text, text
    whole = asked(t, "--since", "all")
    assert (whole["total"]["attempts"], whole["older_left_out"]) == (9, 0), whole["total"]
    assert "left out" not in text_of(t, "--since", "all")
    loop.communicate()


def test_what_the_dead_counted_belongs_to_its_time_also_in_totals(t):
    server = t.server()
    policy = t.file("policy", "max_segments = 1; retention_seconds = 1;")
    connect = (t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "close")
    t.run(*connect, "repeat:6")
    make_older(t)
    t.run(t.twshim, "policy", "load", policy, shim=False)
    for _ in range(5000):  # a fast machine runs hundreds within the second of retention
        t.run(*connect)
        if any(n.endswith(".totals") for n in os.listdir(t.dir)):
            break
    opened = asked(t, "--since", "all")["total"]["attempts"]
    report = asked(t, "--since", "1m")
    assert any(n.endswith(".totals") for n in os.listdir(t.dir))
    assert report["total"]["attempts"] == opened - 6, (opened, report["total"])
    assert (report["older_left_out"], report["perhaps_older"]) == (6, 0), report
    assert sum(a["processes"] for a in report["apps"]) == opened - 6, report["apps"]


def test_top_counts_in_the_same_period_and_says_so(t):
    server = t.server()
    loop, tell = client(t, server)
    tell(5)
    make_older(t)
    tell(2)
    top = ("top", "--batch", "-n1", "--since", "1m")
    said = json.loads(t.run(t.twshim, *top, "--json", shim=False).stdout)
    assert (said["rows"][0]["opened"], said["older_left_out"]) == (2, 5), said
    text = t.run(t.twshim, *top, shim=False).stdout.decode()
    assert f"opened 2 since {said['since'][11:19]}" in text, text
    loop.communicate()


def test_nothing_in_the_period_is_not_nothing_at_all(t):
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "close")
    make_older(t)
    text = text_of(t, "--since", "1m")
    assert re.match(r"No TCP connection was opened since [\d:]{8} UTC. 1 older connect is left "
                    r"out: --since all shows it", text), text


def test_a_segment_without_slices_is_said_to_be_at_most(t):
    server = t.server()
    loop, tell = client(t, server)
    tell(5)
    make_older(t)
    tell(1)
    name, = (n for n in os.listdir(t.dir) if n.endswith(".seg"))
    with open(os.path.join(t.dir, name), "r+b") as file:  # as an older version leaves it
        file.seek(offsets("tws_header")["slices"])
        file.write(bytes(24))
    report = asked(t, "--since", "1m")
    assert report["total"]["attempts"] == report["perhaps_older"] == 6, report["total"]
    text = text_of(t, "--since", "1m")
    assert 'These numbers are "at most": how many of 6 connects of' in text, text
    loop.communicate()


def test_the_period_may_begin_when_the_policy_changed(t):
    server = t.server()
    loop, tell = client(t, server)
    assert "--since policy: no policy is in force: give a time" in \
        text_of(t, "--since", "policy", status=2)
    tell(5)
    make_older(t)
    t.run(t.twshim, "policy", "load", "-p", "close=fin-reset", shim=False)
    tell(2)
    report = asked(t, "--since", "policy")
    assert report["total"]["attempts"] == 2, report["total"]
    assert report["total"]["policy_applied"] == 2, report["total"]
    loop.communicate()


def test_the_api_and_the_exported_page_take_a_period(t):
    server = t.server()
    loop, tell = client(t, server)
    tell(5)
    make_older(t)
    tell(2)
    serve(t)
    for asked_for, opened in (("?since=1m", 2), ("?since=all", 7), ("", 7), ("?since=10s", 2)):
        status, _, text = ask("/api/report" + asked_for)
        assert status == 200 and json.loads(text)["total"]["attempts"] == opened, (asked_for, text)
    status, _, text = ask("/api/report?since=%3Cb%3E%0A")
    assert status == 400 and "--since <b>\\x0a: not a time: give 90s" in text, text
    metrics = ask("/metrics?since=1m")[2]
    assert re.search(r"^twshim_connections_attempted_total\{.* 7$", metrics, re.M), metrics
    page = t.run(t.twshim, "report", "--since", "1m", "--html", "-", shim=False).stdout.decode()
    assert '"older_left_out": 5' in page, page[-3000:]
    loop.communicate()


def test_a_wrong_period_is_an_error_that_names_the_forms(t):
    for word in ("yesterday", "25:00", "1w", "-1h", "@", "09:60", "2026-13-01", "", "1h "):
        for command in (("report",), ("top", "--batch", "-n1")):
            said = text_of(t, *command[1:], "--since", word, command=command[0], status=2)
            assert said.startswith(f"twshim: {command[0]}: --since ") and \
                "give 90s, 10m, 2h, 1d, 09:12 or 2026-11-30T09:12 (UTC), @1796029920, policy or " \
                "all" in said, said
    for word in ("2999-01-01", f"@{int(time.time()) + 3600}"):
        assert "is in the future" in text_of(t, "--since", word, status=2)
    for word in ("90s", "10m", "2h", "1d", "00:00", "2026-01-01", "2026-01-01T09:12:30Z", "@5",
                 "2026-01-01 09:12", "all", "0.5h"):
        asked(t, "--since", word)
