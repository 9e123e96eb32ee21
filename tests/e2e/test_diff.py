# SPDX-License-Identifier: MIT
"""What has changed since an older report."""
import json
import os
import re

from harness import ADDRESS

STEPS = ("socket", "connect", "send:1", "recv", "close")


def connects(t, server, count):
    """Opens this many connections."""
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, f"repeat:{count}")


def test_a_lost_pool_is_named_with_its_numbers(t):
    server, other = t.server(), t.server()
    connects(t, server, 12)
    connects(t, other, 30)
    old = t.file("old.json", t.run(t.twshim, "report", "--json", shim=False).stdout.decode())
    same = t.run(t.twshim, "report", "--diff", old, shim=False).stdout.decode()
    assert "nothing has changed" in same, same
    connects(t, server, 1188)
    text = t.run(t.twshim, "report", "--diff", old, shim=False).stdout.decode()
    assert f"client to {server.to}\n  no longer pooled, connections opened: 12 -> 1,200\n" in text, text
    assert "new finding: TW102 the client closes first" in text, text
    assert other.to not in text, text
    assert re.match(r"From \S+Z to \S+Z \(UTC\): \d+ changes\n", text), text
    diff = json.loads(t.run(t.twshim, "report", "--diff", old, "--json", shim=False).stdout)
    assert diff["schema"] == "twshim.diff/1"
    assert {"app": "client", "to": server.to, "what": "no longer pooled, connections opened",
            "counter": "established", "old": 12, "new": 1200} in diff["changes"], diff


def test_what_is_not_a_report_is_refused_with_the_cure(t):
    bad = t.file("bad.json", '{"schema": "twshim.owners/1"}')
    for path in (bad, t.file("none.json", "{"), os.path.join(t.scratch, "missing")):
        error = t.run(t.twshim, "report", "--diff", path, shim=False, status=1).stderr.decode()
        assert error.startswith(f"twshim: report: --diff {path}: ") and "report --json" in error, error
        assert error.count("\n") == 1, error
