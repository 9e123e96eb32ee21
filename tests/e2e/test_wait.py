# SPDX-License-Identifier: MIT
"""twshim wait: until the TIME_WAIT sockets to a destination have gone."""
import json
import signal
import subprocess

from harness import ADDRESS, time_wait_left, wait_for


def _leave(t, server, count):
    """TIME_WAIT sockets of this many connections."""
    t.run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "close",
          f"repeat:{count}")
    wait_for(lambda: time_wait_left(server.port) == count, "they are in TIME_WAIT")


def test_wait_counts_only_the_destination_and_gives_up_in_time(t):
    server, other = t.server(), t.server()
    _leave(t, server, 3)
    here, there = f"{ADDRESS}:{server.port}", f"{ADDRESS}:{other.port}"
    t.run(t.twshim, "wait", "--to", there, shim=False, timeout=10)
    t.run(t.twshim, "wait", "--to", here, "--below", "4", shim=False, timeout=10)
    result = t.run(t.twshim, "wait", "--json", "--to", here, "--below", "3", "--timeout", "0.2s",
                   shim=False, status=1, timeout=20)
    said = json.loads(result.stdout)
    assert (said["reached"], said["time_wait"], said["below"]) == (False, 3, 3), said
    assert b"gave up after" in result.stderr and b"3 TIME_WAIT sockets are left" in result.stderr


def test_wait_ends_when_the_sockets_go(t):
    """ss -K takes them away. If this kernel cannot do that, an interruption ends the wait."""
    server = t.server()
    _leave(t, server, 2)
    process = t.start(t.twshim, "wait", "--to", f"*:{server.port}", shim=False,
                      stderr=subprocess.PIPE)
    killed = t.run("ss", "-K", "state", "time-wait", shim=False, status=None)
    if killed.returncode or time_wait_left(server.port):
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 1 and b"interrupted" in process.stderr.read()
        return
    assert process.wait(20) == 0, process.stderr.read()


def test_wait_refuses_what_is_no_destination_or_number(t):
    for words in (("--to", "nowhere"), ("--below", "0"), ("--timeout", "soon"), ("now",)):
        t.run(t.twshim, "wait", *words, shim=False, status=2)
