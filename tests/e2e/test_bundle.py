# SPDX-License-Identifier: MIT
"""doctor --bundle: one text file for a colleague, without secrets."""
import os
import shutil
import sys

from harness import ADDRESS
from test_cures import STAYS

SECRET = "hunter2-and-more"


def test_a_bundle_has_all_that_a_colleague_needs_and_no_secret(t):
    server = t.server()
    t.run(t.twshim, "policy", "load", "-p", "close=keep,to=192.0.2.1:9", shim=False)
    nasty = os.path.join(t.scratch, "red\x1b[31m")
    shutil.copy(t.prog("client"), nasty)
    t.run(nasty, ADDRESS, str(server.port), "socket", "connect", "send:1", "recv", "close", "repeat:30",
          env={"PASSWORD": SECRET})
    script = t.file("worker.py", STAYS.replace("int(sys.argv[3])", "30"))
    process = t.start(sys.executable, script, ADDRESS, str(server.port), SECRET,
                      env={"PASSWORD": SECRET}, stdin=-1, stdout=-1)
    assert process.stdout.readline()
    assert SECRET in t.run(t.twshim, "doctor", "--json", shim=False, status=None).stdout.decode()
    path = os.path.join(t.scratch, "bundle.txt")
    said = t.run(t.twshim, "doctor", "--bundle", path, shim=False)
    process.stdin.close()
    assert said.stderr.decode() == f"twshim: the bundle is in {path}\n" and not said.stdout
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert SECRET not in text
    assert "\x1b" not in text, [line for line in text.splitlines() if "\x1b" in line]
    for needed in (f"twshim bundle of {os.uname().nodename}", os.uname().release, "(UTC)", "TW102",
                   "red\\x1b[31m", server.to, "60 TIME_WAIT sockets", "192.0.2.1:9", "tcp_tw_reuse is",
                   "twshim policy load", '"schema": "twshim.report/1"', '"schema": "twshim.doctor/1"'):
        assert needed in text, (needed, text[:6000])
    for part in ("report", "owners", "ps", "policy show", "enabled", "features"):
        assert f"\n======== twshim {part}" in text, part
    missing = os.path.join(t.scratch, "none", "bundle.txt")
    error = t.run(t.twshim, "doctor", "--bundle", missing, shim=False, status=1).stderr.decode()
    assert "directory that exists" in error, error
