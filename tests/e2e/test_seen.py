# SPDX-License-Identifier: MIT
"""What root's observers publish of other users' programs: these users can read it, and change
nothing in it. Each test has a /dev/shm and a /run of its own."""
import json
import os
import shutil
import signal
import stat
import subprocess

from harness import ADDRESS, wait_for
from test_cold import need_bpf
from test_other_users import ALICE, BOB, STEPS, World

MANY = 540  # more dead processes than a directory keeps


class Watched:
    """A world in which root's `watch` observes this test's children."""

    def __init__(self, t):
        need_bpf(t)
        self.world, self.server = World(t), t.server()
        self.process = t.start(*self.world.words(0, (self.world.twshim, "watch", "--pid", str(os.getpid()))),
                               shim=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        said = self.process.stderr.readline()
        assert b"watching" in said, said
        self.seen = f"/proc/{self.world.pid}/root/run/twshim/seen"

    def connect(self, uid, number):
        """Connects as a user, without the shim."""
        self.world.run(uid, self.world.client, ADDRESS, str(self.server.port), *STEPS * number)

    def end(self):
        """Ends the watch."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=60) == 0

    def attempts(self, uid):
        """What a user's report counts."""
        return self.world.report(uid)["total"]["attempts"]

    def segments(self, uid):
        """The paths of the segments that this user may read."""
        above = os.path.join(self.seen, str(uid))
        return [os.path.join(above, name) for name in os.listdir(above) if name.endswith(".seg")]


def test_a_user_sees_what_roots_watch_saw_of_their_programs(t):
    watched = Watched(t)
    world = watched.world
    for uid, number in ((ALICE, 5), (BOB, 3), (0, 2)):
        watched.connect(uid, number)
    wait_for(lambda: watched.attempts(0) == 10, "root sees all")
    assert (watched.attempts(ALICE), watched.attempts(BOB)) == (5, 3)
    [app] = world.report(ALICE)["apps"]
    assert (app["app"], app["observed_by"]) == ("client", {"shim": 0, "bpf": 1, "supervisor": 0}), app
    owners = json.loads(world.run(ALICE, world.twshim, "owners", "--json", "--sample", "0").stdout)
    assert owners["owned"] == 5, owners
    top = world.run(ALICE, world.twshim, "top", "--batch", "-n", "1").stdout.decode()
    assert "client" in top, top
    watched.end()
    assert (watched.attempts(ALICE), watched.attempts(BOB), watched.attempts(0)) == (5, 3, 10)


def test_a_user_can_change_nothing_of_what_root_saw(t):
    watched = Watched(t)
    world = watched.world
    watched.connect(ALICE, 5)
    watched.connect(BOB, 1)
    wait_for(lambda: watched.attempts(0) == 6, "root sees all")
    [path] = watched.segments(ALICE)
    found = os.stat(path)
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode) & 0o027) == (0, 0, 0), found
    inside = f"/run/twshim/seen/{ALICE}/{os.path.basename(path)}"
    world.run(ALICE, "cat", inside)
    for user, script in ((ALICE, f": >>{inside}"), (ALICE, f"truncate -s 0 {inside}"), (ALICE, f"rm -f {inside}"),
                         (ALICE, f"mv {inside} {inside}2"), (ALICE, f"chmod 600 {inside}"),
                         (ALICE, f"touch /run/twshim/seen/{ALICE}/1-2-3-0.seg"), (BOB, f"cat {inside}"),
                         (BOB, f"ls /run/twshim/seen/{ALICE}"), (ALICE, f"mkdir /run/twshim/seen/{BOB}x")):
        assert world.run(user, "sh", "-c", script, status=None).returncode, (user, script)
    assert watched.attempts(ALICE) == 5
    watched.end()


def test_a_file_that_is_not_roots_does_not_count_among_what_root_saw(t):
    watched = Watched(t)
    world = watched.world
    watched.connect(ALICE, 5)
    world.connect(ALICE, watched.server, 2)
    wait_for(lambda: watched.attempts(ALICE) == 7, "both are counted")
    [own] = [n for n in os.listdir(world.directory(ALICE)) if n.endswith(".seg")]
    foreign = shutil.move(os.path.join(world.directory(ALICE), own), os.path.join(watched.seen, str(ALICE), own))
    os.chown(foreign, ALICE, ALICE)
    for reader in (ALICE, 0):
        report = world.report(reader)
        assert report["total"]["attempts"] == 5, report["total"]
        assert "not root's" in json.dumps(report["unseen"]), report["unseen"]
    watched.end()


def test_what_root_saw_stays_readable_when_it_is_folded(t):
    watched = Watched(t)
    client = f"{watched.world.client} {ADDRESS} {watched.server.port} {' '.join(STEPS)}"
    watched.world.run(ALICE, "sh", "-c", f"for i in $(seq {MANY}); do {client} || exit 1; done")
    wait_for(lambda: watched.attempts(0) == MANY, "root sees all")
    watched.end()
    assert [n for n in os.listdir(os.path.join(watched.seen, str(ALICE))) if n.endswith(".totals")]
    assert watched.attempts(ALICE) == MANY
