# SPDX-License-Identifier: MIT
"""twshim reset: counting starts from zero for the user who gives the command, whatever lives, dies
or is folded; nothing of a program changes, and metrics count on."""
import json
import os
import re
import subprocess

from harness import ADDRESS, settle
from test_other_users import ALICE, BOB, World
from test_since import client, make_older

STEPS = ("socket", "connect", "close")


def known(t, *arguments):
    """The report, everything that is not left out."""
    return json.loads(t.run(t.twshim, "report", "--json", "--since", "all", *arguments,
                            shim=False).stdout)


def attempts(t, *arguments):
    """{application: connects} and the total."""
    report = known(t, *arguments)
    return {a["app"]: a["counters"]["attempts"] for a in report["apps"]
            if a["counters"]["attempts"]}, report["total"]["attempts"]


def reset(t, *arguments):
    """What the command says, as JSON."""
    return json.loads(t.run(t.twshim, "reset", "--json", *arguments, shim=False).stdout)


def metric(t):
    """The sum of connects that the metrics show."""
    text = t.run(t.twshim, "export", shim=False).stdout.decode()
    return sum(int(n) for n in re.findall(r"^twshim_connections_attempted_total\{.*\} (\d+)$", text,
                                          re.M))


def run_client(t, server, number, **options):
    """A process that ends."""
    return t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, f"repeat:{number}", **options)


def test_a_rule_has_helped_whatever_it_has_helped_before(t):
    server = t.server()
    t.run(t.twshim, "policy", "load", "-p", f"close=fin-reset,to={ADDRESS}", shim=False)
    loop, tell = client(t, server)
    tell(5)
    reset(t)
    tell(3)
    said = " ".join(t.run(t.twshim, "report", shim=False).stdout.decode().split())
    assert 'Rule "rule 1": 8 connections matched; 8 helped; the kernel shows none' in said, said
    assert "PEAK and the numbers of rules are of each process's whole life" in said, said
    loop.stdin.close()
    loop.wait()


def test_counts_begin_at_zero_and_are_exact_from_there(t):
    server, other = t.server(), t.server()
    loop, tell = client(t, server)
    tell(5)
    run_client(t, other, 7)
    before = known(t)
    assert before["total"]["attempts"] == 12
    said = reset(t)
    assert said["old_connects"] == 12, said
    assert attempts(t) == ({}, 0)
    report = known(t)
    assert (report["older_left_out"], report["perhaps_older"]) == (12, 0), report
    assert report["total"]["lifetime_seconds"] is None
    python = os.path.basename(os.path.realpath("/usr/bin/python3"))
    tell(3)
    run_client(t, other, 2)
    assert attempts(t) == ({python: 3, "client": 2}, 5)
    report = known(t)
    total = report["total"]
    assert total["established"] == 5 and total["open"] == 0, total
    assert sum(v for k, v in total.items() if k.startswith("ended_")) == 5, total
    opened = {d["to"]: d["counters"]["attempts"] for a in report["apps"]
              for d in a["destinations"]}
    assert opened == {server.to: 3, other.to: 2}, opened
    processes = {a["app"]: a["processes"] for a in report["apps"]}
    assert processes == {python: 1, "client": 1}, processes
    text = " ".join(t.run(t.twshim, "report", shim=False).stdout.decode().split())
    assert "opened 5 connections since " in text and "12 older connects are left out" in text, text
    listed = json.loads(t.run(t.twshim, "top", "--batch", "-n1", "--json", "--by", "process",
                              shim=False).stdout)["rows"]
    assert sorted(r["opened"] for r in listed) == [0, 2, 3], listed
    with open(said["old"], encoding="utf-8") as file:
        old = json.load(file)
    assert old["total"] == before["total"] and old["schema"] == "twshim.report/1", old["total"]
    loop.communicate()


def test_what_dies_and_is_folded_after_a_reset_stays_left_out(t):
    server = t.server()
    loop, tell = client(t, server)
    tell(5)
    run_client(t, server, 7)
    reset(t)
    policy = t.file("policy", "max_segments = 1; retention_seconds = 1;")
    t.run(t.twshim, "policy", "load", policy, shim=False)
    tell(4)
    loop.communicate()
    opened = 4
    for _ in range(1500):  # one process in 64 folds, by its pid
        run_client(t, server, 1)
        opened += 1
        if sum(n.endswith(".totals") for n in os.listdir(t.dir)) >= 2:
            break
    assert sum(n.endswith(".totals") for n in os.listdir(t.dir)) >= 2
    report = known(t)
    assert report["total"]["attempts"] == opened, (opened, report["total"])
    assert (report["older_left_out"], report["perhaps_older"]) == (12, 0), report
    assert sum(a["processes"] for a in report["apps"]) == opened - 3, report["apps"]


def test_a_connection_that_was_open_at_the_reset_ends_after_it(t):
    server = t.server()
    held = t.start(t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "send:1",
                   "recv:1", "sleep:600000", stdin=subprocess.DEVNULL)
    server.wait("accepted", 1)
    while not known(t)["total"]["open"]:
        pass
    reset(t)
    total = known(t)["total"]
    assert (total["attempts"], total["established"], total["open"]) == (0, 0, 1), total
    held.kill()
    held.wait()
    settle(server.port)
    total = known(t)["total"]
    ended = sum(v for k, v in total.items() if k.startswith("ended_"))
    assert (total["attempts"], total["open"], ended) == (0, 0, 1), total


def test_metrics_and_runs_are_not_affected_and_undo_counts_on(t):
    server = t.server()
    run_client(t, server, 7)
    assert metric(t) == 7
    reset(t)
    assert metric(t) == 7
    run_client(t, server, 2)
    assert (metric(t), attempts(t)[1]) == (9, 2)
    ran = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:3")
    assert (ran["total"]["attempts"], ran["older_left_out"]) == (3, 0), ran
    text = t.run(t.twshim, "reset", "--undo", shim=False).stdout.decode()
    assert text == "Counts go on from the old totals.\n"
    assert attempts(t)[1] == 12 and not [n for n in os.listdir(t.dir) if "reset" in n]
    error = t.run(t.twshim, "reset", "--undo", shim=False, status=1).stderr.decode()
    assert error == f"twshim: reset: --undo: nothing was reset in {t.dir}\n", error


def test_every_printed_command_works_and_a_second_reset_counts_anew(t):
    server = t.server()
    run_client(t, server, 7)
    for number in (7, 9):
        text = t.run(t.twshim, "reset", shim=False).stdout.decode()
        assert f"The old totals, {number} connects, are in\n  {t.dir}/before-reset.json\n" in text, text
        assert attempts(t)[1] == 0
        run_client(t, server, 2)
    for command in re.findall(r"^  (twshim .*)$", text, re.M):
        said = t.run("sh", "-c", command, shim=False,
                     env={"PATH": f"{os.path.dirname(t.twshim)}:{os.environ['PATH']}"}).stdout
        assert said.startswith((b"From 20", b"Counts go on")), (command, said)
    assert attempts(t)[1] == 11


def test_a_later_period_is_of_its_own(t):
    server = t.server()
    loop, tell = client(t, server)
    tell(5)
    reset(t)
    tell(3)
    assert known(t)["total"]["attempts"] == 3
    make_older(t)
    with open(os.path.join(t.dir, "reset.counts"), "r+b") as file:  # long ago as well
        file.seek(32)
        file.write(bytes(8))
    tell(2)
    assert known(t, "--since", "1m")["total"]["attempts"] == 2
    loop.communicate()


def test_a_file_of_counts_that_is_damaged_or_foreign_is_not_used(t):
    server = t.server()
    run_client(t, server, 7)
    path = os.path.join(t.dir, "reset.counts")
    reset(t)
    with open(path, "rb") as file:
        whole = file.read()
    for bytes_now in (b"", whole[:40], whole[:-1], whole + b"x", b"x" + whole[1:],
                      whole[:12] + b"\xff\xff" + whole[14:], whole[:16] + bytes(16) + whole[32:]):
        with open(path, "wb") as file:
            file.write(bytes_now)
        assert attempts(t)[1] == 7, bytes_now[:60]
    with open(path, "wb") as file:
        file.write(whole)
    assert attempts(t)[1] == 0
    os.chown(path, 65534, -1)
    assert attempts(t)[1] == 7


def test_what_was_removed_since_is_said_to_be_at_most(t):
    server = t.server()
    run_client(t, server, 7)
    reset(t)
    for name in os.listdir(t.dir):
        if name.endswith(".seg"):
            os.unlink(os.path.join(t.dir, name))
    run_client(t, server, 2)
    report = known(t)
    assert (report["total"]["attempts"], report["perhaps_older"]) == (2, 2), report


def test_each_user_resets_a_view_of_ones_own(t):
    world, server = World(t), t.server()

    def seen():
        return [world.report(uid, "--since", "all")["total"]["attempts"] for uid in (0, ALICE, BOB)]
    world.connect(ALICE, server, 3)
    world.connect(BOB, server, 2)
    assert seen() == [5, 3, 2]
    text = world.run(ALICE, world.twshim, "reset").stdout.decode()
    assert "The old totals, 3 connects, are in\n" in text, text
    assert seen() == [5, 0, 2]
    world.connect(ALICE, server, 4)
    assert seen() == [9, 4, 2]
    world.run(0, world.twshim, "reset")
    assert seen() == [0, 4, 2]
    world.connect(BOB, server, 1)
    world.connect(ALICE, server, 1)
    assert seen() == [2, 5, 3]
    refused = world.run(BOB, world.twshim, "reset", "--dir", world.directory(ALICE), status=1)
    assert b"Permission denied" in refused.stderr, refused
    refused = world.run(0, world.twshim, "reset", "--dir", f"/dev/shm/twshim-{ALICE}", status=1)
    assert b"belongs to another user" in refused.stderr, refused
    world.run(0, world.twshim, "reset", "--undo")
    assert seen() == [11, 5, 3]
