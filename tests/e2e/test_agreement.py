# SPDX-License-Identifier: MIT
"""One number, wherever it is shown: text, JSON, metrics, the live view and doctor agree for the same
moment, and match the kernel."""
import json
import socket

from harness import ADDRESS, sysctl, time_wait, time_wait_left, wait_for
from test_export import export, total

STEPS = ("socket", "connect", "send:1", "recv:1", "close")


def doctor(t, *options):
    """{id: finding} of `twshim doctor`."""
    text = t.run(t.twshim, "doctor", "--json", *options, shim=False, status=None).stdout
    return {f["id"]: f for f in json.loads(text)["findings"]}


def test_a_reserved_port_is_none_to_choose_from_wherever_ports_are_shown(t):
    """600 of 1,000 ports are reserved, and some outside the range."""
    sysctl("net.ipv4.ip_local_port_range", "20000 20999")
    sysctl("net.ipv4.ip_local_reserved_ports", "9000-9099,20100-20699")
    server = t.server()
    client = (t.prog("client"), ADDRESS, str(server.port))
    with socket.socket() as conn:
        conn.bind((ADDRESS, 20200))  # which only programs that name it get
        conn.connect((ADDRESS, server.port))
    t.run(*client, *STEPS, "repeat:390")
    wait_for(lambda: time_wait(server.port) == 391, "TIME_WAIT")
    ports = [d["ports"] for a in t.report()["apps"] for d in a["destinations"]]
    assert ports == [{"used": 390, "range": 400, "fill": 0.975}], ports
    assert b" 97 %\n" in t.run(t.twshim, "report", shim=False).stdout
    assert b"#####  97%" in t.run(t.twshim, "top", "-b", "-n", "1", shim=False).stdout
    top = json.loads(t.run(t.twshim, "top", "--batch", "--json", "-n", "1", "--by", "destination",
                           shim=False).stdout.splitlines()[-1])
    assert [r["port_fill"] for r in top["rows"]] == [0.975], top
    series = export(t)
    assert total(series, "twshim_ephemeral_ports") == 400
    assert total(series, "twshim_ephemeral_ports_used", to=server.to) == 390
    assert total(series, "twshim_ephemeral_port_fill_ratio", to=server.to) == 0.975
    found = doctor(t, "--all")
    assert "390 of 400 ephemeral ports (97 %)" in found["TW103"]["evidence"], found["TW103"]
    assert "400 for" in found["TW217"]["evidence"], found["TW217"]
    for ident in ("TW103", "TW217"):
        assert "ip_local_reserved_ports what no server needs: it withholds 600 of the range's 1,000" \
            in found[ident]["advice"], found[ident]
    before = server.counts["accepted"]
    t.run(*client, *STEPS, "repeat:11", status=None)
    assert server.counts["accepted"] == before + 10
    ports = [d["ports"]["fill"] for a in t.report()["apps"] for d in a["destinations"]]
    assert ports == [1.0], ports


def test_time_wait_that_the_kernel_did_not_make_is_not_said_to_be_left(t):
    sysctl("net.ipv4.tcp_max_tw_buckets", 10)
    server = t.server()
    command = (t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:50")
    text = t.run(t.twshim, "run", "--", *command, shim=False).stderr.decode()
    assert time_wait_left(server.port) == 10
    said = " ".join(text.split())
    assert "left 10 TIME_WAIT sockets (10 confirmed by the kernel)" in said, text
    assert "40 TIME_WAIT sockets are missing: tcp_max_tw_buckets, 10, was reached, and the kernel " \
        "did not create 40 in this network namespace (TCPTimeWaitOverflow)" in said, text
    found = doctor(t)
    assert "40" in found["TW205"]["evidence"], found["TW205"]
    sysctl("net.ipv4.tcp_max_tw_buckets", 1000)  # the control: room for all
    text = t.run(t.twshim, "run", "--", *command, shim=False).stderr.decode()
    assert "left 50 TIME_WAIT sockets (50 confirmed by the kernel)" in " ".join(text.split()), text
    assert "are missing" not in text and "ended early" not in text, text
