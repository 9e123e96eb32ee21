# SPDX-License-Identifier: MIT
"""The verdict in one sentence: the first line of `doctor`, in its JSON, on the page, and of `twshim`
alone."""
import re

from test_doctor import client, doctor, ports
from test_page import opened

STEPS = ("socket", "connect?", "send:1", "recv", "close")


def first_line(t):
    """Of `doctor`, with its wrapped lines joined."""
    said = t.run(t.twshim, "doctor", shim=False, status=None).stdout.decode()
    return " ".join(said.split("\n\n")[0].split())


def test_the_first_line_names_the_destination_and_who_holds_its_ports(t):
    ports(100)
    server = t.server()
    client(t, server, *STEPS[:2], "close", "sleep:2", "repeat:90")
    said = doctor(t)
    assert re.fullmatch(rf"(Ports to {server.to} run out in \d+ s|90 % of the ports to {server.to} are in use)"
                        r"; client holds 100 %", said["verdict"]), said["verdict"]
    assert said["worst"] == "problem"
    assert said["findings"][0]["headline"] == said["verdict"]
    client(t, server, *STEPS[:2], "close", "sleep:2", "repeat:20", status=None)
    fullest = rf"(No port|Ports|9\d % of the ports) to {server.to} .*; client holds 100 %\."
    assert re.fullmatch(fullest, first_line(t)), first_line(t)
    _, browser = opened(t)
    browser.wait("document.getElementById('verdict').textContent", "a verdict")
    shown = browser.text("verdict")
    assert re.fullmatch(fullest, shown), shown


def test_the_first_line_says_that_incoming_time_wait_is_harmless(t):
    server = t.server("first")
    client(t, server, "socket", "connect", "send:1", "recv", "wait-hup", "close", "repeat:40", shim=False)
    line = first_line(t)
    assert line == f"Harmless: 40 TIME_WAIT on port {server.port} are incoming; they cost 10.2 kB." or \
        "pressure" in line, line
