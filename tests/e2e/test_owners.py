# SPDX-License-Identifier: MIT
"""`twshim owners` and `ps`: every TIME_WAIT socket has its owner and no owner is invented; compared
with ss and the kernel's own table."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

from harness import ADDRESS, Skip, sysctl, time_wait, wait_for

STEPS = ("socket", "connect", "send:1", "recv", "close")
ADDRESSES = [ADDRESS] + [f"10.77.0.{n}" for n in (2, 3, 4)]
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")


def add_addresses():
    """More of them than the network of the test has."""
    for address in ADDRESSES[1:]:
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)


def ss_time_wait():
    """The count of ss."""
    lines = subprocess.run(["ss", "-Htan", "state", "time-wait"], check=True,
                           capture_output=True).stdout.splitlines()
    return len(lines)


def owners(t, *options):
    """The output of `twshim owners --json`, with its sums checked."""
    said = json.loads(t.run(t.twshim, "owners", "--json", *options, shim=False).stdout)
    assert said["schema"] == "twshim.owners/1"
    assert said["time_wait"] == said["owned"] + said["incoming"] + said["unowned"]
    assert said["incoming"] == sum(o["count"] for o in said["incoming_groups"])
    assert said["owned"] == sum(o["count"] for o in said["owners"])
    assert said["unowned"] == sum(o["count"] for o in said["unowned_groups"])
    for owner in said["owners"] + said["unowned_groups"]:
        assert 0 < owner["oldest_leaves_s"] <= owner["newest_leaves_s"] <= 60.1, owner
    return said


def check_against_ss(t, number):
    """Checks that all three agree exactly."""
    said = owners(t)
    assert said["time_wait"] == ss_time_wait() == time_wait() == number, said["time_wait"]
    return said


def test_owners_agrees_with_ss_where_there_is_nothing(t):
    assert check_against_ss(t, 0)["owners"] == []
    assert "0 TIME_WAIT sockets" in t.run(t.twshim, "owners", shim=False).stdout.decode()


def test_owners_agrees_with_ss_at_a_thousand_and_knows_who_left_them(t):
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:1000")
    said = check_against_ss(t, 1000)
    assert said["owned"] == 1000
    (owner,) = said["owners"]
    assert (owner["app"], owner["to"], owner["count"]) == ("client", server.to, 1000)
    assert owner["process"] == "exited" and 0 <= owner["exited_s"] < 30


def test_owners_agrees_with_ss_at_28000_and_attributes_all(t):
    add_addresses()
    t.run(t.prog("fill"), "28000", *ADDRESSES)
    said = check_against_ss(t, 28000)
    assert said["owned"] == 28000
    assert sorted(o["count"] for o in said["owners"]) == [7000] * 4


def test_a_storm_of_short_processes_is_one_line_that_names_it(t):
    server = t.server()
    for _ in range(45):
        t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS)
    alive = t.start(t.prog("client"), ADDRESS, str(server.port), *STEPS, "sleep:60000")
    wait_for(lambda: owners(t)["owned"] == 46, "all are known")
    rows = [line.split() for line in t.run(t.twshim, "owners", shim=False).stdout.decode()
            .splitlines() if line.split()[:1] == ["client"]]
    assert len(rows) == 2, rows
    assert rows[0][1:6] == ["45", "processes,", "exited", server.to, "45"], rows
    assert rows[1][1:4] == [str(alive.pid), server.to, "1"], rows
    assert len(owners(t)["owners"]) == 46


def test_those_of_killed_and_of_living_processes_are_attributed(t):
    killed = t.start(t.prog("fill"), "300", ADDRESS, env={"FILL_KILL": "1"})
    assert killed.wait(20) == -signal.SIGKILL
    living = t.start(t.prog("fill"), "200", ADDRESS, env={"FILL_WAIT": "1"},
                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    wait_for(lambda: time_wait() == 500, "500 TIME_WAIT sockets")
    said = check_against_ss(t, 500)
    by_pid = {o["pid"]: o for o in said["owners"]}
    assert by_pid[killed.pid]["count"] == 300 and by_pid[killed.pid]["process"] == "exited"
    assert by_pid[living.pid]["count"] == 200 and by_pid[living.pid]["process"] == "alive"
    text = t.run(t.twshim, "owners", shim=False).stdout.decode()
    assert f"{killed.pid}, exited" in text


def test_what_was_open_at_a_kill_is_attributed(t):
    server = t.server()
    held = t.start(t.prog("client"), ADDRESS, str(server.port), "socket", "connect",
                   "sleep:60000")
    wait_for(lambda: server.counts["accepted"] == 1, "it is open")
    held.kill()
    held.wait()
    wait_for(lambda: time_wait(server.port) == 1, "TIME_WAIT")
    said = owners(t)
    assert [(o["app"], o["pid"]) for o in said["owners"]] == [("client", held.pid)], said


def test_incoming_ones_are_those_of_the_process_that_listens_and_no_others(t):
    server, first = t.server(), t.server("first")
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:30", shim=False)
    t.run(t.prog("client"), ADDRESS, str(first.port), "socket", "connect", "send:1", "recv",
          "wait-hup", "close", "repeat:20", shim=False)
    said = owners(t)
    assert (said["owned"], said["incoming"], said["unowned"]) == (0, 20, 30)
    (outgoing,), (incoming,) = said["unowned_groups"], said["incoming_groups"]
    assert (outgoing["looks"], outgoing["to"], outgoing["count"]) == ("outgoing", server.to, 30)
    assert (incoming["local_port"], incoming["count"]) == (first.port, 20)
    with open(f"/proc/{incoming['pid']}/comm", encoding="utf-8") as file:
        assert file.read().strip() == incoming["app"]
    text = t.run(t.twshim, "owners", shim=False).stdout.decode()
    assert "outgoing" in text and "incoming" in text and server.to in text


def test_every_view_counts_incoming_sockets_of_a_listener_as_incoming(t):
    server, first = t.server(), t.server("first")
    steps = ("socket", "connect", "send:1", "recv", "wait-hup", "close")
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:10")
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:30", shim=False)
    t.run(t.prog("client"), ADDRESS, str(first.port), *steps, "repeat:20", shim=False)
    counts = {"time_wait": 60, "owned": 10, "incoming": 20, "unowned": 30}
    for said in owners(t), t.report()["kernel"]:
        assert {key: said[key] for key in counts} == counts, said
    series = t.file("metrics.prom", "")
    t.run(t.twshim, "export", "--textfile", series, shim=False)
    with open(series, encoding="utf-8") as file:
        told = re.findall(r'^twshim_host_time_wait_sockets{owner="(\w+)"} (\d+)$', file.read(), re.M)
    assert dict(told) == {"known": "10", "incoming": "20", "unknown": "30"}, told
    text = t.run(t.twshim, "report", shim=False).stdout.decode()
    assert "60 TIME_WAIT sockets, 10 from known applications, 20 incoming, 30 from others" in text
    text = t.run(t.twshim, "owners", shim=False).stdout.decode()
    assert "10 from known applications, 20 incoming, 30 from programs not running" in text, text


def test_a_client_outside_of_the_present_range_does_not_look_like_a_server(t):
    """A client that connected with another port range or chose its own port looks like a server, and
    a server that has ended since does too."""
    sysctl("net.ipv4.ip_local_port_range", "30000 30999")
    server, first = t.server(), t.server("first")
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:11", shim=False)
    t.run(t.prog("client"), ADDRESS, str(first.port), "socket", "connect", "send:1", "recv",
          "wait-hup", "close", "repeat:5", shim=False)
    with socket.socket() as conn:
        conn.bind((ADDRESS, 25000))
        conn.connect((ADDRESS, server.port))
    wait_for(lambda: time_wait(server.port) == 12, "TIME_WAIT")
    sysctl("net.ipv4.ip_local_port_range", "40000 40999")
    first.close()
    groups = [(g["looks"], g["to"], g["local_port"], g["count"])
              for g in owners(t)["unowned_groups"]]
    assert groups == [("outgoing", server.to, None, 12), ("incoming", None, first.port, 5)], groups


def test_all_prints_one_line_a_socket(t):
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:40")
    lines = t.run(t.twshim, "owners", "--all", shim=False).stdout.decode().splitlines()
    assert len(lines) == 41 and all(server.to in line for line in lines[1:])
    assert len(owners(t, "--all")["sockets"]) == 40


def test_it_works_without_root(t):
    t.need("setpriv")
    if subprocess.run(NOBODY + (t.twshim, "--version"), check=False,
                      capture_output=True).returncode:
        raise Skip("another user may not run this build")
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:30")
    none = {"TWSHIM_DIR": os.path.join(t.scratch, "none")}
    os.chmod(t.scratch, 0o755)
    result = t.run(*NOBODY, t.twshim, "owners", "--json", shim=False, env=none)
    assert json.loads(result.stdout)["time_wait"] == 30
    result = t.run(*NOBODY, t.twshim, "doctor", "--json", shim=False, status=None, env=none)
    assert json.loads(result.stdout)["time_wait"] == 30


def test_wrong_options_are_told(t):
    for arguments in (("--nonsense",), ("operand",), ("--color", "blue")):
        for command in ("owners", "ps"):
            result = t.run(t.twshim, command, *arguments, shim=False, status=2)
            assert result.stderr.startswith(b"twshim: ") and result.stderr.count(b"\n") == 1


def test_ps_shows_open_rate_and_time_wait_of_each_process(t):
    server = t.server()
    script = t.file("client.py", """
import socket, sys, time
to = (sys.argv[1], int(sys.argv[2]))
held = [socket.create_connection(to) for _ in range(7)]
for _ in range(93):
    socket.create_connection(to).close()
time.sleep(60)
""")
    process = t.start(sys.executable, script, ADDRESS, str(server.port))
    wait_for(lambda: time_wait(server.port) == 93, "93 TIME_WAIT sockets")
    said = json.loads(t.run(t.twshim, "ps", "--json", shim=False).stdout)
    (found,) = said["processes"]
    assert (said["schema"], found["pid"]) == ("twshim.ps/1", process.pid)
    assert (found["open"], found["established"], found["time_wait"]) == (7, 100, 93)
    assert 10 <= found["rate"] <= 20000, found
    process.kill()
    process.wait()
    assert json.loads(t.run(t.twshim, "ps", "--json", shim=False).stdout)["processes"] == []
    assert b"exited" in t.run(t.twshim, "ps", "--all", shim=False).stdout


MPTCP = """
import os, select, signal, socket, sys
kind, address, port, ending = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
for _ in range(20):
    conn = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
    conn.setblocking(kind == "blocking")
    try:
        conn.connect((address, port))
    except BlockingIOError:
        select.select([], [conn], [])
    conn.setblocking(True)
    conn.sendall(b"x")
    conn.recv(1)
    if ending == "kill":
        globals().setdefault("held", []).append(conn)
    else:
        conn.close()
if ending == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_mptcp_sockets_are_owned_however_they_connected_and_ended(t):
    """TIME_WAIT is the subflow's, which has another cookie than the program's socket."""
    if not os.path.exists("/proc/sys/net/mptcp/enabled"):
        raise Skip("no MPTCP here")
    server, script = t.server(), t.file("mptcp.py", MPTCP)
    for number, (kind, ending) in enumerate((("blocking", "close"), ("waiting", "close"),
                                             ("blocking", "kill")), 1):
        report = t.twshim_run(sys.executable, script, kind, ADDRESS, str(server.port), ending,
                              status=-signal.SIGKILL if ending == "kill" else 0)
        counters = report["total"]
        assert (counters["established"], counters["ended_local_fin"]) == (20, 20), (kind, ending)
        assert report["time_wait"]["confirmed"] == 20 and not report["time_wait"]["gone_early"]
        said = check_against_ss(t, 20 * number)
        assert said["owned"] == 20 * number, (kind, ending, said)
