# SPDX-License-Identifier: MIT
"""Clients that a signal kills with connections open: the kernel says how these ended, and the answer
outlives the segment of the process."""
import json
import os
import re
import signal
import subprocess

from harness import ADDRESS, ADDRESS6, SERVE_PORT, SOURCE, Skip, settle, time_wait, time_wait_left, wait_for
from test_refused import BPF, ERRORS
from test_supervisor import is_told_of_ends

MANY = 1200  # connections: more messages than netlink is listened to as root
STORM = 700  # more processes than the number of segments that are kept
OPEN = ("socket", "connect", "send:1", "recv")
CAPABILITIES_OF_BPF = 1 << 38 | 1 << 39  # CAP_PERFMON, CAP_BPF
FIRST = ("socket", "connect", "send:1", "recv", "wait-hup")


def storm(t, server, kills):
    """The arguments of a shell that starts this many short clients and kills every third."""
    steps = " ".join(OPEN)
    client = f"{t.prog('client')} {ADDRESS} {server.port} {steps}"
    return ("sh", "-c", f"n=0; while [ $n -lt {kills} ]; do n=$((n+3)); "
            f"{client} kill; {client} close; {client} exit:0; done 2>/dev/null; true")


def check_endings(report, number):
    """All endings are known."""
    total = report["total"]
    assert (total["established"], total["ended_local_fin"]) == (number, number), total
    assert (total["ended_unseen"], total["folded_unseen"]) == (0, 0), total


def check_storm(t, server, number):
    """All endings are known, and every TIME_WAIT socket has its owner. There are as many as
    connections only when the server has closed too, and a busy one is later than the clients."""
    settle(server.port)
    report = t.report()
    check_endings(report, number)
    assert report["kernel"]["owned"] == time_wait(server.port) == number, report["kernel"]


def test_a_storm_with_kills_leaves_nothing_unseen_under_run(t):
    server = t.server()
    check_endings(t.twshim_run(*storm(t, server, STORM)), STORM // 3 * 3 + 3)
    check_storm(t, server, STORM // 3 * 3 + 3)


def test_a_storm_with_kills_leaves_nothing_unseen_while_serve_runs(t):
    server = t.server()
    serve = t.start(t.twshim, "serve", "--listen", f"{ADDRESS}:{SERVE_PORT}", shim=False,
                    stdout=subprocess.PIPE)
    serve.stdout.readline()
    t.run(*storm(t, server, STORM))
    wait_for(lambda: not t.report()["total"]["ended_unseen"], "the last ones are settled")
    serve.send_signal(signal.SIGTERM)
    assert serve.wait(20) == 0
    check_storm(t, server, STORM // 3 * 3 + 3)


def test_a_storm_with_kills_leaves_nothing_unseen_while_trace_runs(t):
    server = t.server()
    out = t.file("trace.json", "")  # a pipe that nobody reads would hold it up
    with open(out, "wb") as file:
        trace = t.start(t.twshim, "trace", "--json", shim=False, stdout=file)
    wait_for(lambda: _sees(t, server, out), "trace has begun")
    before = t.report()["total"]["established"]
    t.run(*storm(t, server, STORM))
    wait_for(lambda: not t.report()["total"]["ended_unseen"], "the last ones are settled")
    trace.send_signal(signal.SIGINT)
    assert trace.wait(20) == 0
    with open(out, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    check_storm(t, server, STORM // 3 * 3 + 3 + before)
    assert not [line for line in lines if line.get("ending") == "unseen"]


def _sees(t, server, out):
    """Whether trace shows connections that are made now."""
    t.run(t.prog("client"), ADDRESS, str(server.port), *OPEN, "close")
    return os.path.getsize(out) > 0


def test_a_storm_without_a_reader_keeps_the_killed_ones_for_the_next(t):
    """Of the dead segments beyond 512, those are folded first whose endings are known."""
    server = t.server()
    t.run(*storm(t, server, STORM))
    check_storm(t, server, STORM // 3 * 3 + 3)


def test_without_a_reader_the_report_says_how_many_were_folded_unsettled(t):
    server = t.server("first")
    client = f"{t.prog('client')} {ADDRESS} {server.port} {' '.join(FIRST)}"
    t.run("sh", "-c", f"n=0; while [ $n -lt {STORM} ]; do n=$((n+1)); {client} kill; done "
          "2>/dev/null; true")
    t.run(t.twshim, "run", "-q", "--", "true", shim=False)  # folds what is beyond 512
    total = t.report()["total"]
    # On a busy machine the last one may still be in LAST_ACK when a reader comes: its ending is known.
    assert total["ended_unseen"] + total["ended_remote_fin"] == total["via_kill"] == STORM, total
    assert 0 < total["folded_unseen"] < STORM, total
    text = t.run(t.twshim, "report", shim=False).stdout.decode()
    assert f"{total['folded_unseen']} connections of killed processes" in " ".join(text.split())


def _killed(t, server, number, ending):
    """Five connections, then the process is ended by a signal without a handler."""
    script = t.file("killed.py", """
import os, signal, socket, sys, time
held = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(5)]
for conn in held:
    conn.sendall(b"x")
    conn.recv(1)
for conn in held:
    if sys.argv[4] == "peer":
        while conn.recv(1, socket.MSG_PEEK): conn.recv(1)
os.kill(os.getpid(), int(sys.argv[3]))
""")
    return "python3", script, ADDRESS, str(server.port), str(int(number)), ending


def test_sigterm_and_sigkill_end_connections_as_the_kernel_says(t):
    for number in (signal.SIGTERM, signal.SIGKILL):
        echo, first = t.server(), t.server("first")
        total = t.twshim_run(*_killed(t, echo, number, "us"), status=-number)["total"]
        assert (total["ended_local_fin"], total["via_kill"]) == (5, 5), (number, total)
        total = t.twshim_run(*_killed(t, first, number, "peer"), status=-number)["total"]
        assert (total["ended_remote_fin"], total["via_kill"]) == (5, 5), (number, total)


def test_a_later_report_knows_what_run_has_settled(t):
    first = t.server("first")
    t.twshim_run(*_killed(t, first, signal.SIGTERM, "peer"), status=-signal.SIGTERM)
    assert t.report()["total"]["ended_remote_fin"] == 5


def test_under_fin_reset_a_killed_client_leaves_nothing_unseen_with_or_without_a_reader(t):
    """Without a reader, the option on the socket decides."""
    server = t.server()
    total = t.twshim_run(*_killed(t, server, signal.SIGTERM, "us"), status=-signal.SIGTERM,
                         options=("-p", "close=fin-reset"))["total"]
    assert (total["ended_fin_reset"], total["ended_unseen"]) == (5, 0), total
    t.run(t.twshim, "policy", "load", t.file("fin.conf", """
rules = ( { name = "all"; match = { to = ["*"]; }; close = "fin-reset"; } );
"""), shim=False)
    t.run(*_killed(t, server, signal.SIGTERM, "us"), status=-signal.SIGTERM)
    wait_for(lambda: time_wait(server.port) == 0, "none is left")
    total = t.report()["total"]
    assert (total["ended_fin_reset"], total["ended_unseen"]) == (10, 0), total


def _rule_line(t, rule, *command, status=0):
    """What the report says about the rule, as JSON and as one line."""
    options = ("-p", f"{rule},to={ADDRESS}")
    [said] = t.twshim_run(*command, options=options, status=status)["rules"]
    text = t.run(t.twshim, "run", *options, "--", *command, shim=False,
                 status=status).stderr.decode()
    return said, " ".join(text.partition("  Rule ")[2].partition("\n\n")[0].split())


def test_a_rule_line_says_that_the_process_was_killed_before_it_closed(t):
    server = t.server()
    act_in_close = ("close=reset", "close=reset-drained", "close=fin-reset,short_lived=true")
    for number in (signal.SIGTERM, signal.SIGKILL):
        command = _killed(t, server, number, "us")
        for rule in act_in_close:
            said, line = _rule_line(t, rule, *command, status=-number)
            assert (said["matched"], said["helped"], said["killed"]) == (5, 0, 5), said
            assert "5 connections matched; 0 helped: 5 still open when the process was killed" \
                in line and "act only in close()" in line, line
            assert line.endswith("the kernel shows 5 of them in TIME_WAIT"), line
        before = time_wait_left(server.port)
        said, line = _rule_line(t, "close=fin-reset", *command, status=-number)
        assert (said["matched"], said["helped"], said["killed"]) == (5, 5, 0), said
        assert line.endswith("5 connections matched; 5 helped"), line
        assert time_wait_left(server.port) == before  # what the line advises does help


def test_a_rule_line_says_what_needed_no_help(t):
    first = t.server("first")
    for rule in ("close=reset", "close=fin-reset"):
        said, line = _rule_line(t, rule, t.prog("client"), ADDRESS, str(first.port), *FIRST,
                                "close", "repeat:20")
        assert (said["matched"], said["helped"], said["needless"]) == (20, 0, 20), said
        assert "20 connections matched; 0 helped: 20 left no TIME_WAIT anyway" in line, line
        said, line = _rule_line(t, rule, t.prog("client"), ADDRESS, str(first.port + 1), "socket",
                                "connect?", "close", "repeat:3")
        assert (said["matched"], said["failed"]) == (3, 3), said
        assert "3 connections matched; 0 helped: 3 failed to connect" in line, line


def _killed_in_turn(t, servers, seconds):
    """A command that opens many connections, waits so long at most until the `run` that started it
    no longer listens over netlink, and has clients killed, each in another state. Prints at first and at
    the end whether that `run` listens over netlink, and whether anybody does."""
    client, echo, first, echo6 = t.prog("client"), *servers
    kills = ((ADDRESS, echo, *OPEN, "kill"), (ADDRESS, first, *FIRST, "kill"),
             (ADDRESS, echo, *OPEN, "send:5", "wait-readable", "kill"),
             (ADDRESS6, echo6, "socket:6", *OPEN[1:], "kill"))
    script = t.file("in_turn.py", f"""
import os, subprocess, time

def links(folder):
    for name in os.listdir(folder):
        try:
            yield os.readlink(os.path.join(folder, name))
        except FileNotFoundError:  # closed meanwhile
            pass

def listens():
    held = list(links(f"/proc/{{os.getppid()}}/fd"))
    with open("/proc/net/netlink") as table:
        rows = [line.split() for line in table][1:]
    listening = [row[9] for row in rows if row[1] == "4" and int(row[3], 16)]
    return any(f"socket:[{{inode}}]" in held for inode in listening), bool(listening)

print(*listens())
subprocess.run({[client, ADDRESS, str(echo.port), *OPEN, "close", f"repeat:{MANY}"]}, check=True)
until = time.monotonic() + {seconds}
while any(listens()) and time.monotonic() < until:
    time.sleep(0.01)
for client in {[[client, to, str(server.port), *steps] for to, server, *steps in kills]}:
    for _ in range(5):
        subprocess.run(client)
print(*listens())
""")
    return "python3", script


def test_as_root_a_program_in_the_kernel_tells_how_killed_clients_ended_and_else_netlink(t):
    """Both say the same."""
    if os.geteuid() != 0:
        raise Skip("loading programs into the kernel needs root")
    servers = t.server(), t.server("first"), t.server(address=ADDRESS6)
    detail, expected = t.file("detail.conf", "detail = true;"), None
    for listens, refuse in ((False, ()), *((True, (t.prog("refuse"), BPF, str(error)))
                                           for error in ERRORS)):
        path = os.path.join(t.scratch, "report.json")
        said = t.run(*refuse, t.twshim, "run", "--json", "-o", path, "-c", detail, "--",
                     *_killed_in_turn(t, servers, 0 if listens else 20), shim=False).stdout
        assert said.decode().split() == ["True"] * 2 + [str(listens)] * 2, (refuse, said)
        with open(path, encoding="utf-8") as file:
            report = t.read_report(file.read())
        total = {name: value for name, value in report["total"].items()
                 if re.match("attempts|established|open|ended_|via_|bytes_", name)}
        assert total == (expected := expected or total), (refuse, total, expected)
        assert report["unseen"]["announcements_lost"] == 0, report["unseen"]
    ended = [expected[f"ended_{name}"] for name in ("local_fin", "remote_fin", "reset_unread", "unseen")]
    assert (ended, expected["via_kill"]) == ([MANY + 10, 5, 5, 0], 20), expected
    assert expected["bytes_sent"] == MANY + 4 * 5 + 5 * 5, expected


def _capabilities(pid):
    """What each thread of a process has in effect, as a mask."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="utf-8") as status:
            yield int(re.search(r"CapEff:\s*(\w+)", status.read())[1], 16)


def test_the_unit_of_serve_has_a_program_in_the_kernel_tell_it_and_can_load_no_other(t):
    if os.geteuid() != 0:
        raise Skip("loading programs into the kernel needs root")
    t.need("setpriv")
    with open(os.path.join(SOURCE, "config/systemd/twshim-serve.service"), encoding="utf-8") as unit:
        allowed = re.search("^CapabilityBoundingSet=(.*)", unit.read(), re.M)[1].lower()
    server, client = t.server(), t.prog("client")
    serve = t.start("setpriv", "--no-new-privs", "--inh-caps=-all",
                    f"--bounding-set=-all,{allowed.replace('cap_', '+').replace(' ', ',')}", t.twshim, "serve",
                    "--listen", f"{ADDRESS}:{SERVE_PORT}", shim=False, stdout=subprocess.PIPE)
    serve.stdout.readline()
    assert not any(mask & CAPABILITIES_OF_BPF for mask in _capabilities(serve.pid))
    wait_for(lambda: t.run(client, ADDRESS, str(server.port), *OPEN, "close")
             and not is_told_of_ends(serve.pid), "it listens over netlink no more")
    for _ in range(5):
        t.run(client, ADDRESS, str(server.port), *OPEN, "send:5", "wait-readable", "kill",
              status=-signal.SIGKILL)
    wait_for(lambda: t.report()["total"]["ended_reset_unread"] == 5, "the killed ones are settled")
    assert t.report()["total"]["ended_unseen"] == 0
    serve.send_signal(signal.SIGTERM)
    assert serve.wait(20) == 0
