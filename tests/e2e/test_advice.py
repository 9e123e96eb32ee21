# SPDX-License-Identifier: MIT
"""Advice is followed to its end: each rule that a finding prints is applied literally to the same
program. Then the finding is gone, and the rule has not caused another one to take its place."""
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap

from harness import ADDRESS, Skip, sysctl, wait_for
from test_doctor import a_minute_passes, doctor, named, ports, wrong

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROBLEMS = ("TW103", "TW104", "TW105", "TW114")

SHUTDOWN_FIRST = """
import socket, sys
for _ in range(30):
    with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as s:
        s.sendall(b"x")
        s.recv(1)
        s.shutdown(socket.SHUT_WR)
        s.recv(1)
"""

APP_RESET = """
import socket, struct, sys
for _ in range(30):
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    s.sendall(b"x")
    s.recv(1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
"""

# Source address, then destinations.
BINDS = """
import socket, sys
failed = 0
for port in sys.argv[2:]:
    for _ in range(45):
        with socket.socket() as s:
            try:
                s.bind((sys.argv[1], 0))
                s.connect((sys.argv[1], int(port)))
                s.sendall(b"x")
                s.recv(1)
            except OSError:
                failed += 1
print(failed)
"""

# 25 connections from one source port; argument 3: whether SO_REUSEADDR is set.
FIXED_PORT = """
import socket, subprocess, sys
ok = 0
for _ in range(25):
    with socket.socket() as s:
        if sys.argv[3] == "1":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((sys.argv[1], 15060))
            s.connect((sys.argv[1], int(sys.argv[2])))
            s.sendall(b"x")
            s.recv(1)
            ok += 1
        except OSError:
            pass
    for _ in range(200):  # TIME_WAIT begins when the peer has closed
        if not subprocess.run(["ss", "-Htn", "state", "fin-wait-1", "state", "fin-wait-2"],
                              capture_output=True).stdout:
            break
print(ok)
"""

# Answers one byte, and closes nothing.
NEVER_CLOSES = """
import socket, sys
listener = socket.socket()
listener.bind((sys.argv[1], 15080))
listener.listen(999)
print("listens", flush=True)
held = []
while True:
    held.append(listener.accept()[0])
    held[-1].sendall(b"k")
"""

# One connection after another; each waits until the kernel has the peer's ACK of our FIN.
ONE_BY_ONE = """
import socket, subprocess, sys, time
for _ in range(int(sys.argv[3])):
    with socket.socket() as s:
        try:
            s.connect((sys.argv[1], int(sys.argv[2])))
            s.recv(1)
        except OSError:
            pass
    for _ in range(200):
        if not subprocess.run(["ss", "-Htn", "state", "fin-wait-1"], capture_output=True).stdout:
            break
        time.sleep(.005)
"""

UNANSWERED = """
import socket, sys
listener = socket.socket()
listener.bind((sys.argv[1], 0))
listener.listen(0)
held = []
for _ in range(150):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(listener.getsockname())
    held.append(s)
print("held", flush=True)
sys.stdin.readline()
"""

MPTCP = """
import socket, sys
if len(sys.argv) < 4:
    for _ in range(25):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as s:
            s.connect((sys.argv[1], int(sys.argv[2])))
            s.sendall(b"x")
            s.recv(1)
    sys.exit()
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((sys.argv[1], 15070))
listener.listen(99)
print("listens", flush=True)
while True:
    conn = listener.accept()[0]
    while conn.recv(9):
        conn.sendall(b"k")
    conn.close()
"""


def python(t, name, text, *arguments):
    return (sys.executable, t.file(name, text), *(str(a) for a in arguments))


def rules_of(finding):
    return re.findall(r"-p '([^']+)'", finding["advice"])


def the(report, ident):
    found = [f for f in report["advice"] if f["id"] == ident]
    assert found, (ident, report["advice"])
    return found[0]


def idents(report):
    return {f["id"] for f in report["advice"]}


def follow(t, ident, *command, options=(), expect=None):
    """Runs the command, then again under each rule that the finding prints. Returns the reports of
    the first run and of the last."""
    first = t.twshim_run(*command, options=options)
    rules = rules_of(the(first, ident))
    assert rules, the(first, ident)
    if expect:
        assert any(rule.startswith(expect) for rule in rules), rules
    for rule in rules:
        a_minute_passes(t)
        last = t.twshim_run(*command, options=("-p", rule))
        assert ident not in idents(last), (rule, the(last, ident))
        new = [f for f in last["advice"] if rules_of(f) and f["id"] not in idents(first)]
        assert not new, (rule, new)
        assert last["total"]["policy_unsupported"] == 0, (rule, last["total"])
    return first, last


# ------------------------------------------------------------------ following the advice

def test_the_advice_for_a_client_that_closes_first_works(t):
    server = t.server()
    _, last = follow(t, "TW102", t.prog("client"), ADDRESS, str(server.port), "socket", "connect",
                     "send:1", "recv", "close", "repeat:40", expect="close=fin-reset")
    assert last["total"]["ended_fin_reset"] == 40


def test_the_advice_for_a_client_that_shuts_down_first_works(t):
    server = t.server()
    command = python(t, "shut.py", SHUTDOWN_FIRST, ADDRESS, server.port)
    first, _ = follow(t, "TW102", *command, expect="port_ring=")
    assert first["total"]["shut_down_first"] == 30
    assert "cannot help 30 of them" in the(first, "TW102")["advice"]


def test_the_advice_for_a_client_that_resets_works_at_once(t):
    server = t.server()
    command = python(t, "reset.py", APP_RESET, ADDRESS, server.port)
    _, last = follow(t, "TW108", *command, expect="close=fin-reset,app_options=override")
    assert (last["total"]["ended_fin_reset"], last["total"]["ended_reset_app"]) == (30, 0)
    a_minute_passes(t)
    # ... also after the rule that is not enough, and it is not a circle.
    _, last = follow(t, "TW108", *command, options=("-p", f"close=fin-reset,to={server.to}"))
    assert "TW102" not in idents(last)


def test_the_advice_for_ports_that_are_bound_early_works(t):
    ports(100)
    servers = [t.server() for _ in range(3)]
    command = python(t, "binds.py", BINDS, ADDRESS, *(s.port for s in servers))
    first, last = follow(t, "TW105", *command, expect="late_bind=true,app=binds.py,exe=")
    finding = the(first, "TW105")
    assert finding["verdict"] == "problem" and first["total"]["bind_failed_in_use"] == 35, first
    assert f"the 100 ports of the source address {ADDRESS}, of which 100 (100 %)" in \
        finding["evidence"] and "35 bind() calls failed" in finding["evidence"], finding
    fills = [d["ports"]["used"] for d in first["apps"][0]["destinations"]]
    assert set(fills) == {100}, fills  # one pool, whatever the destination
    fills = [d["ports"]["used"] for d in last["apps"][0]["destinations"]]
    assert fills == [45, 45, 45], fills
    assert last["total"]["established"] == 135 and not last["total"]["bind_failed_in_use"]
    assert not set(PROBLEMS) & idents(last), last["advice"]


def test_the_advice_for_a_fixed_source_port_works(t):
    server = t.server()
    bare = python(t, "fixed.py", FIXED_PORT, ADDRESS, server.port, 0)
    first, last = follow(t, "TW114", *bare, expect="reuseaddr=true")
    assert first["total"]["bind_failed_in_use"] == 24 and last["total"]["established"] == 25
    a_minute_passes(t)
    sysctl("net.ipv4.tcp_timestamps", 0)  # then SO_REUSEADDR is not enough
    reuse = python(t, "fixed.py", FIXED_PORT, ADDRESS, server.port, 1)
    first, last = follow(t, "TW104", *reuse, expect="close=fin-reset")
    assert "fixed source port" in the(first, "TW104")["advice"], first["advice"]
    assert last["total"]["established"] == 25


def test_the_advice_for_ports_that_run_out_works(t):
    ports(100)
    server = t.server()
    command = (t.prog("client"), ADDRESS, str(server.port), "socket", "connect?", "close")
    first, last = follow(t, "TW103", *command, "sleep:2", "repeat:110", expect="close=fin-reset")
    assert {"TW103", "TW104"} <= idents(first) and not set(PROBLEMS) & idents(last)
    a_minute_passes(t)
    follow(t, "TW104", *command, "sleep:2", "repeat:110", expect="close=fin-reset")


def test_the_advice_about_tcp_tw_reuse_works_for_one_program(t):
    ports(100)
    sysctl("net.ipv4.tcp_tw_reuse", 2)
    server = t.server()
    command = (t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "send:1", "recv",
               "close", "repeat:60")
    t.run(*command)
    rules = rules_of(named(doctor(t), "TW201", "notice"))
    assert [rule.split("=")[0] for rule in rules] == ["close", "port_ring"], rules
    for rule in rules:
        a_minute_passes(t)
        t.run(t.twshim, "run", "-q", "-p", rule, "--", *command, shim=False)
        assert not {"TW102", "TW103", "TW201"} & set(wrong(doctor(t))), (rule, doctor(t))


def test_the_advice_for_a_port_ring_that_withholds_ports_works(t):
    ports(1000)
    server = t.server()
    command = (t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "send:1", "recv",
               "close", "repeat:1200")
    first, _ = follow(t, "TW103", *command, options=("-p", f"port_ring=full,to={server.to}"))
    assert "by its port_ring" in the(first, "TW103")["advice"]


def test_the_advice_for_mptcp_works(t):
    if subprocess.run(["sysctl", "-n", "net.mptcp.enabled"], capture_output=True,
                      check=False).stdout.strip() != b"1":
        raise Skip("no MPTCP")
    server = t.start(*python(t, "mptcp.py", MPTCP, ADDRESS, 0, "server"), shim=False,
                     stdout=subprocess.PIPE)
    assert server.stdout.readline()
    first, _ = follow(t, "TW102", *python(t, "mptcp.py", MPTCP, ADDRESS, 15070),
                      expect="port_ring=")
    assert "does not work for MPTCP" in the(first, "TW102")["advice"]
    server.kill()


def test_mptcp_connections_that_the_peer_has_not_closed_did_not_end_early(t):
    """Until then the kernel has them ESTABLISHED, though the client has closed them."""
    if not os.path.exists("/proc/sys/net/mptcp/enabled"):
        raise Skip("no MPTCP")
    holds = MPTCP.replace("    while conn.recv(9):\n        conn.sendall(b\"k\")\n    conn.close()",
                          "    conn.recv(9)\n    conn.sendall(b\"k\")\n    held.append(conn)")
    server = t.start(*python(t, "holds.py", "held = []" + holds, ADDRESS, 0, "server"), shim=False,
                     stdout=subprocess.PIPE)
    assert server.stdout.readline()
    text = t.run(t.twshim, "run", "--", *python(t, "mptcp.py", MPTCP, ADDRESS, 15070),
                 shim=False).stderr.decode()
    assert "ended early" not in text, text
    assert "25 connections are closed only here: TIME_WAIT begins when" in text, text
    server.kill()


def test_the_advice_for_a_peer_that_does_not_close_works(t):
    ports(30)
    server = t.start(*python(t, "holds.py", NEVER_CLOSES, ADDRESS), shim=False,
                     stdout=subprocess.PIPE)
    assert server.stdout.readline()
    command = python(t, "one.py", ONE_BY_ONE, ADDRESS, 15080, 40)
    first = t.twshim_run(*command)
    finding = the(first, "TW103")
    assert "30 are in FIN_WAIT_2" in finding["evidence"], finding
    assert "(FIN_WAIT_2)" in finding["advice"], finding
    assert "open connections" not in finding["advice"] + the(first, "TW104")["advice"]
    [rule] = rules_of(finding)
    subprocess.run(["ss", "-K", "state", "fin-wait-2"], check=False, capture_output=True)
    last = t.twshim_run(*command, options=("-p", rule))
    assert not set(PROBLEMS) & idents(last), last["advice"]
    assert last["total"]["established"] == 40
    server.kill()


def test_the_advice_for_data_that_a_policy_discarded_works(t):
    server = t.server("slow")
    command = (t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "send:500000",
               "close")
    first, last = follow(t, "TW113", *command, options=("-p", f"close=reset,to={server.to}"))
    assert first["total"]["bytes_discarded"] and not last["total"]["bytes_discarded"]


def test_the_advice_for_libraries_that_bypass_the_shim_works(t):
    t.need("php")
    if subprocess.run(["php", "-r", "exit((int)!function_exists('curl_init'));"],
                      check=False).returncode:
        raise Skip("no curl extension for php")
    server = t.server("http")
    command = ("php", "-r", f"curl_exec(curl_init('http://{server.to}/'));")
    assert "TW112" in idents(t.twshim_run(*command))
    policy = t.file("strip.conf", 'deepbind = "strip";\n')
    report = t.twshim_run(*command, options=("-c", policy))
    assert "TW112" not in idents(report) and report["total"]["established"] == 1, report["total"]


# -------------------------------------------------------------------- rules in force

def test_a_rule_that_does_not_help_is_not_said_to_and_not_advised_again(t):
    server = t.server()
    command = python(t, "shut.py", SHUTDOWN_FIRST, ADDRESS, server.port)
    text = t.run(t.twshim, "run", "-p", f"close=fin-reset,to={server.to}", "--", *command,
                 shim=False).stderr.decode()
    said = " ".join(text.split())
    assert "30 connections matched; 0 helped: 30 already in TIME_WAIT when close() was called" \
        in said and "the kernel shows 30 of them in TIME_WAIT" in said, text
    for finding in doctor(t)["findings"]:
        if finding["id"] == "TW102":
            assert not any("fin-reset" in rule for rule in rules_of(finding)), finding
            assert "is in force but did not help 30 connections" in finding["advice"], finding
            break
    else:
        raise AssertionError("no TW102")


def test_each_of_several_rules_is_held_to_its_promise(t):
    servers = [t.server(), t.server(), t.server()]
    script = """
        import socket, sys
        for port in sys.argv[2:]:
            for i in range(30):
                s = socket.socket()
                if port == sys.argv[4]:
                    s.bind((sys.argv[1], 0))
                s.connect((sys.argv[1], int(port)))
                if port == sys.argv[3] and i % 3 == 0:
                    s.sendall(b"x")
                    s.recv(1)
                    s.shutdown(socket.SHUT_WR)
                    s.recv(1)
                s.close()
    """
    command = python(t, "three.py", textwrap.dedent(script), ADDRESS, *(s.port for s in servers))
    rules = ("-p", f"port_ring=30000-40000,to={servers[0].to}",
             "-p", f"close=fin-reset,to={servers[1].to}", "-p", f"late_bind=true,to={servers[2].to}")
    report = t.twshim_run(*command, options=rules)
    told = [(r["matched"], r["helped"]) for r in report["rules"]]
    assert told == [(30, 30), (30, 20), (30, 30)], report["rules"]
    assert report["rules"][1]["time_wait"] == 10, report["rules"]
    text = t.run(t.twshim, "run", *rules, "--", *command, shim=False).stderr.decode()
    said = " ".join(text.split())
    assert "30 connections matched; 20 helped; the kernel shows 10 of them in TIME_WAIT" in said
    assert said.count("30 connections matched; 30 helped") == 2, text
    assert "Not helped: 10 already in TIME_WAIT when close() was called" in said, text


def test_a_trial_on_a_share_is_followed_by_the_whole(t):
    server = t.server()
    command = (t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "send:1", "recv",
               "close", "repeat:400")
    report = t.twshim_run(*command, options=("-p", f"close=fin-reset,sample=10,to={server.to}"))
    advice = the(report, "TW102")["advice"]
    helped = report["total"]["policy_applied"]
    assert f"in force for {helped} of the 400 connections" in advice and "extend" in advice, advice


# ------------------------------------------------------------------- who holds the ports

def test_a_binder_whose_connections_are_open_is_named(t):
    ports(100)
    server, other = t.server(), t.server()
    holds = """
        import socket, sys
        held = []
        for _ in range(98):
            held.append(socket.socket())
            held[-1].bind((sys.argv[1], 0))
            held[-1].connect((sys.argv[1], int(sys.argv[2])))
        print("held", flush=True)
        sys.stdin.readline()
    """
    binder = t.start(*python(t, "binder.py", textwrap.dedent(holds), ADDRESS, server.port),
                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert binder.stdout.readline()
    t.run(t.prog("client"), ADDRESS, str(other.port), "socket", "connect?", "close", "repeat:20")
    name = os.path.basename(os.path.realpath(sys.executable))
    said = doctor(t)
    assert f"late_bind=true,app=binder.py,exe={name}" in named(said, "TW104", "problem", "client")["advice"]
    early = named(said, "TW105", "problem", "binder.py")
    assert "of which 98 (98 %)" in early["evidence"] or "of which 100" in early["evidence"], early
    binder.kill()


def test_a_program_that_finds_every_port_bound_by_another_is_told_so(t):
    """The binder has 60 of 100 ports to the first server and the other 40 to the second."""
    ports(100)
    server, other = t.server(), t.server()
    binds = (t.prog("client"), ADDRESS, str(server.port), "socket", f"bind:{ADDRESS}")
    t.run(*binds, "connect", "send:1", "recv", "close", "repeat:60")
    t.run(t.prog("client"), ADDRESS, str(other.port), *binds[3:], "connect", "send:1", "recv", "close",
          "repeat:40")
    late = shutil.copy(t.prog("client"), t.file("late", ""))
    script = """
        import socket, sys
        for _ in range(30):
            try:
                socket.socket().bind((sys.argv[1], 0))
            except OSError:
                pass
    """
    bound = t.twshim_run(*python(t, "late.py", textwrap.dedent(script), ADDRESS))
    t.counters(bound, attempts=0, bind_failed_in_use=30)
    name = os.path.basename(os.path.realpath(sys.executable))
    advice = the(bound, "TW114")["advice"]
    assert f"all 100 ports of the source address {ADDRESS} are in use" in advice, advice
    assert f"late_bind=true,app=late.py,exe={name}" in advice, advice
    plain = t.twshim_run(late, ADDRESS, str(server.port), "socket", "connect?", "close", "repeat:20")
    t.counters(plain, established=0, failed_no_port=20)
    finding = the(plain, "TW104")
    assert "although only 60 of 100 ephemeral ports to it are in use" in finding["evidence"], finding
    assert "twshim doctor names the program" in finding["advice"], finding
    assert "late_bind=true,exe=client" in named(doctor(t), "TW104", "problem", "late")["advice"]
    fill = next((f for f in plain["advice"] if f["id"] == "TW103"), {"advice": ""})
    assert "-p 'close=fin-reset" not in fill["advice"] or "left none of them" in fill["advice"], fill


def test_attempts_that_nobody_answers_are_what_holds_the_ports(t):
    ports(100)
    process = t.start(*python(t, "unanswered.py", UNANSWERED, ADDRESS), stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE)
    assert process.stdout.readline()
    name = "unanswered.py"
    said = doctor(t)
    finding = named(said, "TW103", "problem", name)
    assert "are in SYN_SENT" in finding["evidence"] and "does not answer" in finding["advice"]
    assert "does not answer" in named(said, "TW104", "problem", name)["advice"]
    text = " ".join(t.run(t.twshim, "report", shim=False).stdout.decode().split())
    assert "attempts are still unanswered" in text and "no free port" in text, text
    process.stdin.write(b"\n")
    process.stdin.flush()
    process.wait()
    text = " ".join(t.run(t.twshim, "report", shim=False).stdout.decode().split())
    assert "attempts were given up unanswered" in text and "something else" not in text, text


def test_a_fixed_source_port_makes_reuseaddr_no_placebo(t):
    server = t.server()
    report = t.twshim_run(*python(t, "fixed.py", FIXED_PORT, ADDRESS, server.port, 1))
    assert report["total"]["established"] == 25 and "TW106" not in idents(report), report["advice"]


def test_with_autobind_reuse_neither_reuseaddr_nor_the_pool_is_blamed(t):
    ports(100)
    sysctl("net.ipv4.ip_autobind_reuse", 1)
    servers = [t.server() for _ in range(3)]
    script = BINDS.replace("            try:\n", "            s.setsockopt(socket.SOL_SOCKET, "
                           "socket.SO_REUSEADDR, 1)\n            try:\n", 1)
    report = t.twshim_run(*python(t, "binds.py", script, ADDRESS, *(s.port for s in servers)))
    total = report["total"]  # a port that is chosen at random may be in use to there
    assert total["established"] > 100 and not total["bind_failed_in_use"], total
    assert not {"TW105", "TW106", "TW114"} & idents(report), report["advice"]


# -------------------------------------------------------------------------- what is said

def test_failures_lead_the_headline(t):
    ports(30)
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect?", "close", "repeat:30",
          shim=False)
    text = t.run(t.twshim, "run", "--", t.prog("client"), ADDRESS, str(server.port), "socket",
                 "connect?", "close", "repeat:15", shim=False).stderr.decode()
    assert text.startswith("client: all 15 connects failed in ") and \
        "no free port." in text.splitlines()[0] and "opened 0" not in text, text


def test_binds_that_fail_are_in_the_headline_and_counted_apart(t):
    server = t.server()
    script = """
        import socket, sys
        for _ in range(3):
            for address in (sys.argv[1], int(sys.argv[2])), ("192.0.2.1", 0):
                try:
                    socket.socket().bind(address)
                except OSError:
                    pass
    """
    command = python(t, "fails.py", textwrap.dedent(script), ADDRESS, server.port)
    report = t.twshim_run(*command)
    t.counters(report, attempts=0, bind_failed_in_use=3, bind_failed_other=3)
    assert "another socket uses the port" in the(report, "TW114")["advice"]
    text = t.run(t.twshim, "run", "--", *command, shim=False).stderr.decode()
    assert "opened no connection" in text and "6 bind() calls failed" in text, text


def test_at_most_three_findings_are_shown_with_the_number_of_the_rest(t):
    ports(100)
    server = t.server()
    command = (t.prog("client"), ADDRESS, str(server.port), "socket", "reuseaddr", "linger:5",
               "connect?", "close", "repeat:130")
    report = t.twshim_run(*command)
    a_minute_passes(t)
    text = t.run(t.twshim, "run", "--", *command, shim=False).stderr.decode()
    shown = re.findall(r"^  (TW\d+)  ", text, re.M)
    assert len(shown) == 3 and "TW104" in shown, text
    assert f"+{len(report['advice']) - 3} more: twshim doctor" in text, text


def test_every_finding_states_its_period(t):
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "close", "repeat:40")
    findings = doctor(t, "--all")["findings"] + t.report()["advice"]
    periods = {f["period"] for f in findings}
    assert periods <= {"now", "last minute", "all", "all, still going on"} and len(periods) > 2
    text = t.run(t.twshim, "doctor", shim=False, status=None).stdout.decode()
    assert "since the first connection, and still in the last minute" in " ".join(text.split())


BOUND = """
import errno, socket, sys
def connected(to):
    conn = socket.socket()
    try:
        conn.connect((to, int(sys.argv[3])))
    except OSError as error:
        print(errno.errorcode[error.errno])
    else:
        print("connected")
    return conn
servers = [socket.create_server((to, int(sys.argv[3]))) for to in sys.argv[1:3]]
first, binder = connected(sys.argv[1]), socket.socket()
for one in first, binder:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
binder.bind(first.getsockname())
connected(sys.argv[2])
binder.close()
connected(sys.argv[2])
"""


def test_a_port_that_was_bound_is_free_again_as_tw104_says(t):
    """The kernel's change of September 2025: before, `first` would have kept the port closed to
    connect() after its binder had gone."""
    version = tuple(int(n) for n in os.uname().release.split(".")[:2])
    if version < (6, 18):
        raise Skip("the kernel may be older than the change")
    ports(1)
    other = "10.77.0.2"
    t.run("ip", "address", "add", f"{other}/32", "dev", "lo", shim=False)
    told = t.run(sys.executable, t.file("bound.py", BOUND), ADDRESS, other, "7009", shim=False)
    assert told.stdout.split() == [b"connected", b"EADDRNOTAVAIL", b"connected"], told
    said = " ".join(t.run(t.twshim, "doctor", "--explain", "TW104", shim=False).stdout.decode().split())
    assert "before a kernel change of September 2025, which Linux 6.18 has: until every" in said, said


# ------------------------------------------------------------------------ what it risks

PEER = """
import os, select, socket, subprocess, sys
listener = socket.socket()
listener.bind((sys.argv[1], 0))
listener.listen(5)
subprocess.run([*sys.argv[2:], sys.argv[1], str(listener.getsockname()[1]), "socket", "connect",
                "send:7", "close"], check=True)
conn, _ = listener.accept()
poll = select.poll()
poll.register(conn, select.POLLIN)
while not (events := poll.poll(10000)[0][1]) & select.POLLHUP and len(sys.argv) > 3:
    pass
print(bool(events & select.POLLHUP), bool(events & select.POLLERR))
print(conn.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
print(len(conn.recv(99)), len(conn.recv(99)))
try:
    conn.getpeername()
except OSError as error:
    print(error.errno)
try:
    conn.send(b"x")
except OSError as error:
    print(error.errno)
"""


def test_what_fin_reset_changes_for_the_server_is_said_where_a_rule_is_chosen(t):
    script = t.file("peer.py", PEER)
    saw = t.run(sys.executable, script, ADDRESS, t.twshim, "run", "-q", "-p", "close=fin-reset",
                "--", t.prog("client"), shim=False).stdout.decode().split()
    assert saw == ["True", "True", str(errno.EPIPE), "7", "0", str(errno.ENOTCONN),
                   str(errno.EPIPE)], saw
    bare = t.run(sys.executable, script, ADDRESS, t.prog("client"),
                 shim=False).stdout.decode().split()
    assert bare == ["False", "False", "0", "7", "0"], bare  # the control
    words = ("poll() also shows POLLHUP and POLLERR", "SO_ERROR is EPIPE", "getpeername() fails",
             "first send() fails", "sample=10")
    rule = ("-p", "close=fin-reset,to=10.0.0.7:6379")
    explain = ("policy", "explain", *rule, "--exe", "curl", "--to", "10.0.0.7:6379")
    shown = [t.run(t.twshim, *command, shim=False).stdout.decode()
             for command in (("policy", "check", *rule), explain, (*explain, "--json"))]
    server = t.server()
    shown.append(the(t.twshim_run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect",
                                  "close", "repeat:30"), "TW102")["advice"])
    with open(os.path.join(TOP, "docs", "policy.md"), encoding="utf-8") as file:
        shown.append(file.read().replace("`", ""))
    shown.append(t.run(t.twshim, "doctor", "--explain", "TW102", shim=False).stdout.decode())
    risk = shown[0].partition("the server can ")[2].partition(";")[0]
    for text in shown:
        assert risk and risk in " ".join(text.split()), text
    for text in shown[:4]:
        assert all(word in " ".join(text.split()) for word in words), text
    printed = t.file("again.conf", shown[0])  # the notes are comments
    t.run(t.twshim, "policy", "check", printed, shim=False)


def test_every_view_means_the_same_by_closed_first_and_reset(t):
    server = t.server()
    client = (t.prog("client"), ADDRESS, str(server.port))
    rule = t.file("policy.conf", f"""experiment = {{ name = "half"; match = {{ to = "{server.to}"; }};
  arms = ( {{ name = "a"; weight = 1; }}, {{ name = "b"; weight = 1; close = "fin-reset"; }} ); }};
""")
    t.run(t.twshim, "run", "-q", "--keep", "-c", rule, "--", *client, "socket", "connect", "send:1",
          "recv", "close", "repeat:40", shim=False)
    t.run(*client, "socket", "linger:0", "connect", "close", "repeat:10")
    report = t.report()
    [app] = report["apps"]
    for part in report, app, app["destinations"][0]:
        assert part["summary"] | {"by_policy": 0} == {"closed_first": 40, "by_policy": 0,
                                                      "peer_closed": 0, "reset": 10, "failed": 0}
    assert app["summary"]["by_policy"] == app["counters"]["ended_fin_reset"] > 0, app["summary"]
    text = t.run(t.twshim, "report", shim=False).stdout.decode()
    lines = text.splitlines()
    head = next(line for line in lines if "WE CLOSED" in line)
    row = next(line for line in lines if line.strip().startswith(server.to))
    cells = dict(zip(re.split(r"  +", head.strip()), re.split(r"  +", row.strip())))
    assert (cells["WE CLOSED"], cells["RESET"]) == ("40", "10"), text
    assert cells["BY POLICY"] == str(app["summary"]["by_policy"]), text
    assert "closed first on 40 (20 by policy)" in " ".join(text.split()).replace(
        f"({app['summary']['by_policy']} by", "(20 by"), text
    top = json.loads(t.run(t.twshim, "top", "--batch", "-n", "1", "--json", shim=False).stdout)
    [row] = top["rows"]
    assert (row["closed_first"], row["ended_reset"], row["failed"]) == (40, 10, 0), row
    batch = t.run(t.twshim, "top", "--batch", "-n", "1", shim=False).stdout.decode().splitlines()
    assert batch[1].split()[-3:] == ["PEER", "RESET", "FAILED"], batch
    assert batch[2].split()[-3:] == ["0%", "20%", "0"] and " 80% " in batch[2], batch


# ----------------------------------------------------------- programs that shut down first

JAVA = """
import java.net.Socket;
public class Shut {
    public static void main(String[] arguments) throws Exception {
        for (int i = 0; i < 25; i++)
            try (Socket s = new Socket(arguments[0], Integer.parseInt(arguments[1]))) {
                s.getOutputStream().write(1);
                s.getInputStream().read();
                s.shutdownOutput();
                s.getInputStream().read();
            }
    }
}
"""

NODE = """
const net = require('net');
let left = 25;
function next() {
  if (!left--) return;
  const s = net.connect(+process.argv[3], process.argv[2], () => s.write('x'));
  s.on('data', () => s.end());
  s.on('close', next);
}
next();
"""


def shuts_down_first(t, server, *command):
    report = t.twshim_run(*command)
    total = report["total"]
    assert total["shut_down_first"] >= 20 and total["ended_local_fin"] >= 20, total
    finding = the(report, "TW102")
    assert not any("fin-reset" in rule for rule in rules_of(finding)), finding
    assert f"to={server.to}" in rules_of(finding)[0], finding


def test_node_shuts_down_first(t):
    t.need("node")
    server = t.server()
    shuts_down_first(t, server, "node", t.file("shut.js", NODE), ADDRESS, str(server.port))


def test_java_shuts_down_first(t):
    t.need("java")
    server = t.server()
    shuts_down_first(t, server, "java", t.file("Shut.java", JAVA), ADDRESS, str(server.port))


JAVA_CLOSE = re.sub(r" *s\.shutdownOutput\(\);\n.*\n", "", JAVA).replace("Shut", "Close")


def test_a_close_right_after_shutdown_is_advised_what_helps_it(t):
    """Java's Socket.close() shuts down and closes at once: which comes first, the peer's FIN or the
    close, is seen connection by connection."""
    t.need("java")
    server = t.server()
    command = ("java", t.file("Close.java", JAVA_CLOSE), ADDRESS, str(server.port))
    report = t.twshim_run(*command)
    assert report["total"]["shut_down_first"] == 25, report["total"]
    finding = the(report, "TW102")
    helps = re.search(r"except on the (\d+) on", finding["advice"])
    beyond = re.search(r"cannot help (\d+) of them", finding["advice"])
    assert bool(beyond) == (not rules_of(finding)[0].startswith("close=fin-reset")), finding
    seen = int((helps or beyond or [0, 0])[1])
    assert seen <= 12 or beyond, finding


def test_nc_and_socat_shut_down_first(t):
    t.need("nc", "socat")
    server = t.server()
    for tool in (f"nc -N {ADDRESS} {server.port}", f"socat -t5 - TCP:{ADDRESS}:{server.port}"):
        a_minute_passes(t)
        shuts_down_first(t, server, "sh", "-c",
                         f"for i in $(seq 25); do echo x | {tool} >/dev/null; done")


def test_haproxy_shuts_down_first(t):
    t.need("haproxy")
    server = t.server()
    config = t.file("haproxy.cfg", f"""
defaults
    mode tcp
    timeout connect 5s
    timeout client 5s
    timeout server 5s
listen l
    bind {ADDRESS}:15090
    server s {ADDRESS}:{server.port}
""")
    proxy = t.start(t.twshim, "run", "--json", "-o", t.file("report.json", ""), "--", "haproxy",
                    "-db", "-f", config, shim=False)
    script = t.file("half.py", SHUTDOWN_FIRST)

    def answers():
        return subprocess.run([sys.executable, "-c", "import socket, sys\n"
                               f"socket.create_connection(('{ADDRESS}', 15090)).close()"],
                              check=False, capture_output=True).returncode == 0
    wait_for(answers, "haproxy answers")
    t.run(sys.executable, script, ADDRESS, "15090", shim=False)
    proxy.terminate()
    proxy.wait()
    with open(os.path.join(t.scratch, "report.json"), encoding="utf-8") as file:
        total = json.load(file)["total"]
    assert total["shut_down_first"] >= 20, total
