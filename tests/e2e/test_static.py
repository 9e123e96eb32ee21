# SPDX-License-Identifier: MIT
"""The static twshim of `make static`, alone in an empty directory."""
import json
import os
import shutil

from harness import ADDRESS, Skip, settle
from test_watch import STEPS

STATIC = os.path.join(os.path.dirname(__file__), "..", "..", "build-static", "twshim")
MANY = 3000  # more TIME_WAIT sockets than one answer of the kernel holds


class Alone:
    """A root directory with nothing but the command, /proc and this test's directory."""

    def __init__(self, t):
        if not os.path.exists(STATIC):
            raise Skip("make static has not built it")
        if os.geteuid() != 0:
            raise Skip("chroot needs root")
        self.t, self.root = t, os.path.join(t.scratch, "root")
        for folder in ("proc", "dir"):
            os.makedirs(os.path.join(self.root, folder))
        shutil.copy(STATIC, self.root)

    def run(self, *words, status=0, mounts=True):
        """Runs it in a mount namespace of its own."""
        mount = 'mount -t proc proc "$1/proc"; mount --bind "$2" "$1/dir"; ' if mounts else ""
        return self.t.run("unshare", "-m", "sh", "-c", f'{mount}r=$1; shift 2; exec chroot "$r" "$@"',
                          "sh", self.root, self.t.dir, "/twshim", *words, shim=False, status=status,
                          env={"TWSHIM_DIR": "/dir"})


def said(report, owners, listed):
    """What does not depend on when it was asked."""
    found = [(d["to"], d["counters"], d["time_wait"]["predicted"], d["time_wait"]["confirmed"])
             for a in report["apps"] for d in a["destinations"]]
    owned = [(o["app"], o["pid"], o["to"], o["count"]) for o in owners["owners"]]
    return report["total"], found, owners["time_wait"], owners["owned"], owned, \
        [p["pid"] for p in listed["processes"]]


def test_it_says_what_the_usual_one_says(t):
    alone, server = Alone(t), t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, f"repeat:{MANY}")
    settle(server.port)
    commands = [(name, "--json") for name in ("report", "owners", "ps")]
    usual = said(*(json.loads(t.run(t.twshim, *c, shim=False).stdout) for c in commands))
    static = said(*(json.loads(alone.run(*c).stdout) for c in commands))
    assert static == usual and static[2:4] == (MANY, MANY), (static, usual)
    for twshim in (alone.run, lambda *c, **more: t.run(t.twshim, *c, shim=False, **more)):
        findings = json.loads(twshim("doctor", "--json", status=None).stdout)["findings"]
        assert any(f["id"].startswith("TW1") for f in findings), findings


def test_it_works_with_nothing_else_at_all(t):
    alone = Alone(t)
    for command in ("report", "owners", "ps"):
        alone.run(command, mounts=False)
    assert b"linked statically" in alone.run("--version", mounts=False).stdout
    assert alone.run("doctor", mounts=False, status=None).stderr == b""


def test_what_it_cannot_load_is_named(t):
    alone = Alone(t)
    for command, library in (("serve", "libmicrohttpd.so"), ("watch", "BPF")):
        said = alone.run(command, status=1).stderr.decode()
        assert said.startswith(f"twshim: {command}: {library}") and said.count("\n") == 1, said
        assert "a static twshim loads no libraries: use the usual one" in said, said
