# SPDX-License-Identifier: MIT
"""What policies do to real connections, and what they must not do."""
import glob
import json
import os
import re
import shutil
import socket
import sys
import time

from harness import (policy_slot, ADDRESS, ENDINGS, Skip, added_system_calls, sysctl, time_wait, time_wait_left,
                     wait_for)

BYTES, CONNECTIONS = 100000, 200
EXAMPLES = os.path.join(os.path.dirname(__file__), "..", "..", "config", "examples")
EXCHANGE = ("socket", "connect", "send:1", "recv", "close")

# Sends as much as the kernel accepts at once, closes, and prints how much was sent and how much of it
# was not acknowledged at close, as the kernel says.
IN_FLIGHT = f"""
import fcntl, socket, struct, sys, termios
sent = unacknowledged = 0
for _ in range({CONNECTIONS}):
    c = socket.socket()
    c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 262144)
    c.connect(("{ADDRESS}", int(sys.argv[1])))
    c.setblocking(False)
    left = {BYTES}
    while left:
        left -= c.send(b"x" * left)
    sent += {BYTES}
    unacknowledged += struct.unpack("i", fcntl.ioctl(c, termios.TIOCOUTQ, b"0000"))[0]
    c.close()
print(sent, unacknowledged)
"""

# Opens connections one after another, exchanges a byte, closes; prints the result of each connect.
ONE_BY_ONE = f"""
import collections, errno, socket, sys, time
ends = collections.Counter()
for i in range(int(sys.argv[2])):
    c = socket.socket()
    try:
        c.connect(("{ADDRESS}", int(sys.argv[1])))
        c.send(b"x"); c.recv(1)
        ends["ok"] += 1
    except OSError as error:
        ends[errno.errorcode[error.errno]] += 1
    c.close()
    if i % 50 == 49:
        time.sleep(0.05)
print(dict(ends))
"""


def _python(t, name, text, *arguments, rule=None, **more):
    options = ("-p", rule) if rule else ()
    return t.twshim_run(sys.executable, t.file(name, text), *map(str, arguments),
                        options=options, **more)


def _exchange(t, server, number, *options, steps=EXCHANGE):
    return t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *steps, f"repeat:{number}",
                        options=options)


def _netstat(name):
    with open("/proc/net/netstat", encoding="ascii") as file:
        lines = [line.split() for line in file if line.startswith("TcpExt:")]
    return int(dict(zip(*lines))[name])


# ------------------------------------------------------------ data in flight

def _in_flight(t, close):
    server = t.server("slow")
    script = t.file("in_flight.py", IN_FLIGHT)
    output = os.path.join(t.scratch, "output")
    with open(output, "wb") as file:
        report = t.twshim_run(sys.executable, script, str(server.port), stdout=file,
                              options=("-p", f"close={close},to={server.to}"))
    with open(output, encoding="ascii") as file:
        sent, unacknowledged = map(int, file.read().split())
    server.wait("accepted", CONNECTIONS)
    server.drain()
    wait_for(lambda: server.counts["eofs"] + server.counts["resets"] == CONNECTIONS,
             "all readers saw the end", 60)
    assert sent == BYTES * CONNECTIONS and unacknowledged > sent / 2
    return report, server, sent, unacknowledged


def test_fin_reset_loses_nothing_in_flight_to_a_slow_reader(t):
    report, server, sent, _ = _in_flight(t, "fin-reset")
    assert (server.counts["eofs"], server.counts["bytes"]) == (CONNECTIONS, sent)
    t.counters(report, attempts=200, established=200, ended_fin_reset=200, bytes_discarded=0)
    wait_for(lambda: time_wait(server.port) == 0, "no TIME_WAIT", 2)


def test_reset_drained_closes_normally_where_data_is_under_way(t):
    report, server, sent, _ = _in_flight(t, "reset-drained")
    assert (server.counts["eofs"], server.counts["bytes"]) == (CONNECTIONS, sent)
    t.counters(report, attempts=200, established=200, ended_local_fin=200,
               policy_skipped_unsent=200, bytes_discarded=0)
    wait_for(lambda: time_wait(server.port) == CONNECTIONS, "200 TIME_WAIT", 5)


def test_reset_loses_what_the_report_says(t):
    report, server, sent, unacknowledged = _in_flight(t, "reset")
    lost = sent - server.counts["bytes"]
    assert server.counts["resets"] == CONNECTIONS and lost > sent / 2
    t.counters(report, attempts=200, established=200, ended_reset_policy=200)
    assert lost <= report["total"]["bytes_discarded"] <= unacknowledged, \
        (lost, report["total"]["bytes_discarded"], unacknowledged)
    assert time_wait_left(server.port) == 0


def test_a_drain_waits_and_then_resets_without_loss(t):
    server = t.server("silent")
    script = t.file("drain.py", f"""
import socket
for _ in range(20):
    c = socket.create_connection(("{ADDRESS}", {server.port}))
    c.sendall(b"x" * 200000)
    c.close()
""")
    report = t.twshim_run(sys.executable, script, options=(
        "-p", f"close=reset-drained,drain_ms=2000,to={server.to}"))
    server.wait("resets", 20)
    assert server.counts["bytes"] == 20 * 200000
    t.counters(report, attempts=20, established=20, ended_reset_policy=20, bytes_discarded=0)


def _is_asleep(name):
    """Whether a process of that name sleeps, as a drain does between two looks."""
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(path, encoding="utf-8") as comm, open(path[:-4] + "wchan", encoding="ascii") as at:
                if comm.read().strip() == name and "nanosleep" in at.read():
                    return True
        except OSError:
            pass
    return False


def test_a_peer_that_closes_during_a_drain_is_not_reset(t):
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind((ADDRESS, 0))
        listener.listen()
        port, path = listener.getsockname()[1], os.path.join(t.scratch, "report.json")
        program = os.path.join(t.scratch, f"drains{port}")
        shutil.copy(t.prog("client"), program)
        process = t.start(t.twshim, "run", "--json", "-o", path, "-p",
                          "close=reset-drained,drain_ms=60000", "--", program, ADDRESS, str(port),
                          "socket", "connect", "send:100000", "close", shim=False)
        peer, _ = listener.accept()
    wait_for(lambda: _is_asleep(f"drains{port}"), "close() waits for the peer to read")
    peer.shutdown(socket.SHUT_WR)
    assert len(peer.recv(100000, socket.MSG_WAITALL)) == 100000
    assert peer.recv(1) == b""  # and no ECONNRESET
    peer.close()
    assert process.wait(60) == 0
    with open(path, encoding="utf-8") as file:
        report = t.read_report(file.read())
    t.counters(report, attempts=1, established=1, ended_remote_fin=1, policy_applied=0)


# -------------------------------------------------------------------- ports

def _exhaust(t, rule):
    server = t.server()
    sysctl("net.ipv4.ip_local_port_range", "40000 40199")
    sysctl("net.ipv4.tcp_tw_reuse", 0)
    return _python(t, "exhaust.py", ONE_BY_ONE, server.port, 600, rule=rule)["total"]


def test_three_times_the_port_range_fails_as_it_is(t):
    total = _exhaust(t, None)
    assert total["established"] == 200 and total["failed_no_port"] == 400, total


def test_three_times_the_port_range_completes_under_fin_reset(t):
    total = _exhaust(t, f"close=fin-reset,to={ADDRESS}")
    assert total["established"] == 600 and total["ended_fin_reset"] == 600, total


def test_plain_reuseaddr_is_a_placebo(t):
    total = _exhaust(t, f"reuseaddr=true,to={ADDRESS}")
    assert total["established"] == 200 and total["failed_no_port"] == 400, total
    assert total["policy_applied"] == 600, total


RING = f"""
import socket, sys, time
closed, youngest = {{}}, 1e9
for _ in range(int(sys.argv[2])):
    c = socket.create_connection(("{ADDRESS}", int(sys.argv[1])))
    port, now = c.getsockname()[1], time.monotonic()
    if port in closed:
        youngest = min(youngest, now - closed[port])
    c.send(b"x"); c.recv(1)
    closed[port] = time.monotonic()
    c.close()
print(len(closed), youngest)
"""


def test_a_port_range_holds_for_a_socket_that_is_bound_to_an_address_alone(t):
    # By late_bind, or by the program's own option; a socket that was bound early has its port.
    server = t.server()
    sysctl("net.ipv4.ip_local_port_range", "40000 40999")
    rule = f"late_bind=%s,port_range=40500-40599,to={server.to}"
    for steps, late, applied, inside in (
            (("bind",), "true", 20, True), (("no-port:1", "bind"), "false", 20, True),
            (("no-port:1", "bind"), "true", 20, True), (("bind",), "false", 0, False)):
        output = os.path.join(t.scratch, "ports")
        with open(output, "wb") as file:
            report = t.twshim_run(
                t.prog("client"), ADDRESS, str(server.port), "socket", *steps, "connect",
                "send:1", "recv", "note:x", "close", "repeat:20", stdout=file,
                options=("-p", rule % late))
        with open(output, encoding="ascii") as file:
            ports = [int(line.split()[-1]) for line in file]
        assert len(ports) == 20 and all(
            40500 <= port <= 40599 for port in ports) == inside, (steps, late, ports)
        total = report["total"]
        assert total["policy_applied"] == applied, (steps, late, total)
        assert total["policy_skipped_app_option"] == 20 - applied, (steps, late, total)


def test_a_rule_for_ports_says_that_the_program_bound_its_socket_itself(t):
    server = t.server()
    for number, rule in enumerate(("port_ring=20000-21999", "port_range=full"), 1):
        said = t.run(t.twshim, "run", "-p", f"name=mine,{rule},to={server.to}", "--", t.prog("client"), ADDRESS,
                     str(server.port), "socket", "bind", *EXCHANGE[1:], "repeat:20", shim=False).stderr.decode()
        said = " ".join(said.split())
        assert 'Rule "mine": 20 connections matched; 0 helped: 20 left alone because the program set the ' \
            "option, or bound the socket, itself" in said, said
        assert server.counts["accepted"] == 20 * number


def test_a_port_ring_of_2000_ports_carries_20000_connections(t):
    sysctl("net.ipv4.tcp_tw_reuse", 0)
    server = t.server()
    before = {n: _netstat(n) for n in ("TCPSynRetrans", "TCPTimeouts")}
    output = os.path.join(t.scratch, "output")
    with open(output, "wb") as file:
        report = t.twshim_run(
            sys.executable, t.file("ring.py", RING), str(server.port), "20000", stdout=file,
            options=("-p", f"port_ring=20000-21999,to={server.to}"))
    with open(output, encoding="ascii") as file:
        ports, youngest = file.read().split()
    t.counters(report, attempts=20000, established=20000, ended_local_fin=20000,
               policy_skipped_busy=0, policy_unsupported=0)
    assert int(ports) == 2000 and float(youngest) >= 0.999, (ports, youngest)
    assert {n: _netstat(n) for n in before} == before
    assert time_wait_left(server.port) == 2000


test_a_port_ring_of_2000_ports_carries_20000_connections.options = {"slow": True}


def test_a_port_ring_without_timestamps_is_unsupported_and_said(t):
    sysctl("net.ipv4.tcp_timestamps", 0)
    report = _exchange(t, t.server(), 20, "-p", f"port_ring=20000-21999,to={ADDRESS}")
    t.counters(report, attempts=20, established=20, ended_local_fin=20, policy_unsupported=20,
               policy_applied=0)


def test_processes_share_a_port_ring(t):
    sysctl("net.ipv4.tcp_tw_reuse", 0)
    server = t.server()
    script = t.file("many.py", f"""
import os, socket
for _ in range(4):
    if os.fork() == 0:
        for _ in range(100):
            c = socket.create_connection(("{ADDRESS}", {server.port}))
            c.send(b"x"); c.recv(1); c.close()
        os._exit(0)
for _ in range(4):
    assert os.wait()[1] == 0
""")
    report = t.twshim_run(sys.executable, script, options=(
        "-p", f"port_ring=20000-20099,ring_age_ms=500,to={server.to}"))
    t.counters(report, attempts=400, established=400, ended_local_fin=400)


def test_what_a_port_ring_takes_no_other_connect_gets(t):
    # To any destination, with or without tcp_tw_reuse; therefore there is a warning. Ports that
    # connect() never chooses cost other programs nothing, and neither does plain TIME_WAIT.
    server, other = t.server(), t.server()
    sysctl("net.ipv4.ip_local_port_range", "41000 41199")
    sysctl("net.ipv4.tcp_tw_reuse", 1)

    def others(how):
        script = t.file("other.py", ONE_BY_ONE)
        said = t.run(sys.executable, script, str(other.port), "20", shim=False)
        assert said.stdout.decode() == f"{{'{how}': 20}}\n", said.stdout
    for options in ((), ("-p", f"port_ring=30000-30199,to={server.to}")):
        report = _exchange(t, server, 200, *options)
        assert report["total"]["ended_local_fin"] == 200, report["total"]
        others("ok")
    sysctl("net.ipv4.ip_local_port_range", "40000 40199")
    report = _exchange(t, server, 400, "-p", f"port_ring=40000-40199,to={server.to}")
    assert report["total"]["established"] == 400, report["total"]
    others("EADDRNOTAVAIL")


def test_a_full_ring_asks_for_no_process_but_others(t):
    # Its own ports are in use; it knows that without asking the kernel about each.
    t.need("strace")
    server = t.server()
    script = t.file("full.py", f"""
import socket
kept = [socket.create_connection(("{ADDRESS}", {server.port})) for _ in range(200)]
for _ in range(50):
    socket.create_connection(("{ADDRESS}", {server.port})).close()
""")
    path = os.path.join(t.scratch, "strace")
    report = t.twshim_run("strace", "-f", "-e", "trace=kill", "-o", path, sys.executable, script,
                          options=("-p", f"port_ring=20000-20199,to={server.to}"))
    t.counters(report, attempts=250, established=250, ended_local_fin=250,
               policy_skipped_busy=50)
    with open(path, encoding="ascii") as file:
        kills = sum("kill(" in line for line in file)
    assert kills <= 5, kills


# ------------------------------------------------------------------- explained

def test_explain_follows_a_symbolic_link_to_the_name_that_the_kernel_runs(t):
    program, link = t.file("php8.2", ""), os.path.join(t.dir, "php")
    os.symlink(program, link)
    got = t.run(t.twshim, "policy", "explain", "-p", f"exe={program},close=fin-reset,to=*:80",
                "--exe", link, "--to", "10.0.0.7:80", shim=False)
    assert got.stdout.decode().startswith(f"{program}, uid ") and b"decides" in got.stdout, got
    assert f"{link} is a symbolic link: it runs as {program}" in got.stderr.decode(), got
    folder, env = _programs(t)
    for exe, what in (("php", "is a symbolic link"), ("serve", "is a script")):
        got = t.run(t.twshim, "policy", "explain", "-p", "exe=php8.2,close=fin-reset", "--exe", exe,
                    "--to", "10.0.0.7:80", shim=False, env=env)
        assert f"{folder}/{exe} {what}: it runs as {folder}/php8.2" in got.stderr.decode(), got
        assert got.stdout.decode().startswith(f"{folder}/php8.2, uid "), got


def _programs(t):
    """A directory in PATH with a program, a link to it under another name, and a script."""
    folder = os.path.join(t.dir, "bin")
    os.mkdir(folder)
    program = os.path.join(folder, "php8.2")
    shutil.copy("/bin/true", program)
    os.symlink("php8.2", os.path.join(folder, "php"))
    with open(os.path.join(folder, "serve"), "w", encoding="ascii") as script:
        script.write(f"#!{program}\n")
    os.chmod(script.name, 0o755)
    return folder, {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_a_rule_that_names_a_symbolic_link_or_a_script_is_warned_of(t):
    folder, env = _programs(t)
    program = f"{folder}/php8.2"
    cures = {"php": 'write exe = "php8.2"', f"{folder}/php": f'write exe = "{program}"',
             "serve": "another that the script starts"}
    for exe, cure in cures.items():
        rule = ("-p", f"exe={exe},close=fin-reset,to=*:80")
        for command in (("policy", "check", *rule), ("policy", "load", *rule),
                        ("run", *rule, "--", "true")):
            said = t.run(t.twshim, *command, shim=False, env=env).stderr.decode()
            assert f'warning: exe = "{exe}" matches no program' in said, (command, said)
            assert f"and runs as {program}: " in said and cure in said, said
        checked = json.loads(t.run(t.twshim, "policy", "check", "--json", *rule, shim=False,
                                   env=env).stdout)
        assert checked["ok"] and len(checked["warnings"]) == 1, checked
    for exe in ("php8.2", "php*", "*", f"{folder}/*", program, "true", "of-no-program"):
        rule = ("-p", f"exe={exe},close=fin-reset,to=*:80")
        said = t.run(t.twshim, "policy", "check", *rule, shim=False, env=env).stderr.decode()
        assert "matches no program" not in said, said
    file = t.file("rules.conf", """experiment = { name = "x"; match = { exe = "php"; };
  arms = ( { name = "a"; weight = 1; }, { name = "b"; weight = 1; port_ring = "full"; } ); };
rules = ( { name = "r"; match = { exe = ["php8.2", "php"]; }; close = "fin-reset"; } );
""")
    said = t.run(t.twshim, "policy", "check", file, shim=False, env=env).stderr.decode()
    assert len(re.findall(rf"^{file}:?\d*: warning: exe = \"php\" matches", said, re.M)) == 2, said


def test_warnings_about_this_host_name_an_experiment_of_one_line(t):
    _, env = _programs(t)
    said = t.run(t.twshim, "run", "--experiment", "port_ring=full,exe=php,to=10.0.0.7:80",
                 "--", "true", shim=False, env=env).stderr.decode()
    assert "--experiment: warning: exe = " in said, said
    assert re.search(r"^--experiment:\d+: warning: port_ring", said, re.M), said


def test_the_policy_in_force_is_explained_without_naming_its_file(t):
    def explained(*arguments):
        asked = (t.twshim, "policy", "explain", "--exe", "/usr/bin/curl", "--to", "10.0.0.7:80",
                 *arguments)
        return (t.run(*asked, shim=False).stdout.decode(),
                json.loads(t.run(*asked, "--json", shim=False).stdout))
    text, said = explained()
    assert "no policy is in force" in text, text
    assert (said["decides"], said["generation"], said["considered"]) == ("none", 0, []), said
    t.run(t.twshim, "policy", "load", "-p", "close=reset,to=10.0.0.8", "-p",
          "name=mine,close=fin-reset,to=10.0.0.7", shim=False)
    for options in ((), ("--dir", t.dir)):
        text, said = explained(*options)
        assert text.startswith(f"# generation 1 in {t.dir}\n") and "fin-reset" in text, text
        assert (said["decides"], said["name"], said["rule"]) == ("rule", "mine", 2), said
        assert (said["directory"], said["generation"]) == (t.dir, 1), said
    # The policy that is named is explained, whatever policy is in force.
    text, said = explained("-p", "close=keep")
    assert said["rule"] == 1 and "generation" not in said and "generation" not in text, said


# ---------------------------------------------------------------- guard rails

def test_a_dry_run_does_nothing_and_counts_what_it_would(t):
    server = t.server()
    for close in ("fin-reset", "reset-drained", "reset"):
        report = _exchange(t, server, 10, "-p", f"close={close},dry_run=true,to={server.to}")
        t.counters(report, attempts=10, established=10, ended_local_fin=10,
                   policy_would_apply=10, policy_applied=0)
    assert time_wait_left(server.port) == 30


def test_the_programs_own_linger_stands_unless_overridden(t):
    steps = ("socket", "linger:5", "connect", "send:1", "recv", "close")
    for close in ("reset", "reset-drained"):
        server = t.server()
        rule = f"close={close},to={server.to}"
        report = _exchange(t, server, 10, "-p", rule, steps=steps)
        t.counters(report, attempts=10, established=10, ended_local_fin=10,
                   policy_skipped_app_option=10, policy_applied=0)
        report = _exchange(t, server, 10, "-p", rule + ",app_options=override", steps=steps)
        t.counters(report, attempts=10, established=10, ended_reset_policy=10,
                   policy_skipped_app_option=0, policy_applied=10)


def test_graceful_takes_away_the_programs_own_reset(t):
    server = t.server()
    for steps in (("socket", "linger:0", "connect", "send:1", "recv", "close"),
                  ("socket", "connect", "linger:0", "send:1", "recv", "close")):
        report = _exchange(t, server, 10, "-p", f"close=graceful,to={server.to}", steps=steps)
        t.counters(report, attempts=10, established=10, ended_local_fin=10, ended_reset_app=0)


def _socket_left_by(t, server, steps, options):
    """The report of ten connections, and how many TIME_WAIT sockets they left."""
    before = time_wait_left(server.port)
    report = _exchange(t, server, 10, *options, steps=steps)
    return report, time_wait_left(server.port) - before


def test_fin_reset_that_comes_too_late_is_not_counted_as_applied(t):
    server = t.server()
    last = ("socket", "connect", "send:1", "recv", "shutdown:wr", "wait-hup", "close")
    for more, word in ((",dry_run=true", "policy_would_apply"), ("", "policy_applied")):
        report, left = _socket_left_by(t, server, last,
                                       ("-p", f"close=fin-reset,to={server.to}{more}"))
        t.counters(report, attempts=10, established=10, ended_local_fin=10, shut_down_first=10,
                   policy_too_late=10, **{word: 0})
        assert left == 10, left


def test_fin_reset_is_counted_by_what_it_did(t):
    server = t.server()
    rule = f"close=fin-reset,to={server.to}"
    shut, half = ("shutdown:wr", "close"), ("shutdown:rdwr", "close")
    for end in (("close",), shut, half, ("exit:0",), ("fork-close", "close")):
        report, left = _socket_left_by(t, server, ("socket", "connect", "send:1", "recv") + end,
                                       ("-p", rule))
        total = report["total"]
        assert total["policy_applied"] == total["ended_fin_reset"], (end, total)
        assert total["policy_too_late"] == total["ended_local_fin"] == left, (end, total, left)
        assert total["policy_applied"] + total["policy_too_late"] == total["attempts"], total


def test_a_reset_after_a_shutdown_is_counted_by_what_it_did(t):
    # The peer's FIN may come before close(), or while that waits: then there is TIME_WAIT already.
    server = t.server()
    last = ("socket", "connect", "send:1", "recv", "shutdown:wr", "close")
    for close in ("reset", "reset-drained", "reset-drained,drain_ms=200"):
        report, left = _socket_left_by(t, server, last, ("-p", f"close={close},to={server.to}"))
        total = report["total"]
        assert total["ended_local_fin"] == total["policy_too_late"] == left, (close, left, total)
        assert total["policy_applied"] == total["ended_reset_policy"] == 10 - left, (close, total)
        assert total["bytes_discarded"] == 0, (close, total)  # a FIN is no data


def test_fin_reset_beside_the_programs_own_linger_time_is_counted_by_what_it_did(t):
    # close() waits for the peer, whose FIN makes a TIME_WAIT socket meanwhile.
    server = t.server()
    steps = ("socket", "linger:5", "connect", "send:1", "recv", "close")
    for more in ("", ",app_options=override", ",short_lived=true"):
        report, left = _socket_left_by(t, server, steps, ("-p", f"close=fin-reset,to={server.to}{more}"))
        total = report["total"]
        assert total["ended_local_fin"] == total["policy_skipped_app_option"] == left, (more, left, total)
        assert total["policy_applied"] == total["ended_fin_reset"] == 10 - left, (more, total)


def test_fin_reset_at_the_close_of_an_mptcp_connection_is_unsupported(t):
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close()
    except OSError as error:
        raise Skip(f"no multipath TCP here: {error}") from error
    server = t.server()
    report, left = _socket_left_by(t, server, ("socket:mptcp", "connect", "send:1", "recv", "close"),
                                   ("-p", f"close=fin-reset,short_lived=true,to={server.to}"))
    t.counters(report, attempts=10, established=10, ended_local_fin=10, policy_applied=0,
               policy_unsupported=10)
    assert left == 10, left


def test_a_rule_does_not_outlive_its_connection_where_the_socket_connects_again(t):
    first, second = t.server(), t.server()
    steps = ("socket", "connect", "unspec", f"port:{second.port}", "connect", "send:1", "recv", "close")
    report = t.twshim_run(t.prog("client"), ADDRESS, str(first.port), *steps,
                          options=("-p", f"close=fin-reset,to={first.to}"))
    t.counters(report, attempts=2, established=2, ended_reset_app=1, ended_local_fin=1)
    assert time_wait_left(second.port) == 1


def test_fin_reset_of_what_the_peer_closed_first_is_not_counted(t):
    server = t.server("first")
    report, left = _socket_left_by(t, server, ("socket", "connect", "send:1", "recv", "wait-readable", "close"),
                                   ("-p", f"close=fin-reset,to={server.to}"))
    t.counters(report, established=10, ended_remote_fin=10, policy_applied=0, policy_too_late=0)
    assert left == 0


def test_fin_reset_overrides_the_programs_own_reset(t):
    server = t.server()
    rule = f"close=fin-reset,to={server.to}"
    for steps in (("socket", "linger:0", "connect", "send:1", "recv", "close"),
                  ("socket", "connect", "linger:0", "send:1", "recv", "close"),
                  ("socket", "connect", "send:1", "recv", "linger:0", "exit:0")):
        report, left = _socket_left_by(t, server, steps, ("-p", rule))
        count = report["total"]["established"]
        t.counters(report, ended_reset_app=count, policy_skipped_app_option=count,
                   policy_applied=0)
        report, left = _socket_left_by(t, server, steps, ("-p", rule + ",app_options=override"))
        t.counters(report, ended_fin_reset=count, ended_reset_app=0, policy_applied=count,
                   policy_skipped_app_option=0)
        assert left == 0, left


BINDS = """
import socket
for port in 0, 0, 0, 40000:
    for _ in range(20):
        s = socket.socket()
        try:
            s.bind(("10.77.0.3", port))
            s.connect((HOST, PORT))
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        s.close()
try:
    socket.socket().bind(("192.0.2.1", 0))
except OSError:
    pass
"""


def test_a_bind_that_fails_is_counted_though_nothing_was_begun(t):
    server = t.server()
    t.run("ip", "address", "add", "10.77.0.3/32", "dev", "lo", shim=False)
    t.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40019", shim=False)
    report = t.twshim_run("python3", "-c", BINDS.replace("HOST", repr(ADDRESS))
                          .replace("PORT", str(server.port)))
    total = report["total"]
    assert total["attempts"] + total["bind_failed_in_use"] == 80, total
    assert total["bind_failed_in_use"] >= 40 and total["bind_failed_other"] == 1, total
    assert total["attempts"] == total["established"] <= 20, total


def test_a_sample_takes_its_share(t):
    server = t.server()
    report = _exchange(t, server, 2000, "-p", f"close=fin-reset,sample=25,to={server.to}")
    total = report["total"]
    assert 400 < total["ended_fin_reset"] < 600, total
    assert total["ended_local_fin"] == 2000 - total["ended_fin_reset"]
    assert time_wait_left(server.port) == total["ended_local_fin"]


def test_resets_are_capped_by_the_second(t):
    server = t.server()
    started = time.monotonic()
    report = _exchange(t, server, 500, "-p",
                       f"close=reset,max_resets_per_second=50,to={server.to}")
    seconds = int(time.monotonic() - started) + 2
    total = report["total"]
    assert 50 <= total["ended_reset_policy"] <= 50 * seconds, total
    assert total["policy_skipped_rate"] == 500 - total["ended_reset_policy"], total
    assert total["ended_local_fin"] == total["policy_skipped_rate"]


def test_a_rule_stops_where_it_discards_too_much(t):
    server = t.server("slow")
    report = t.twshim_run(
        sys.executable, t.file("in_flight.py", IN_FLIGHT), str(server.port),
        options=("-p", f"close=reset,bytes_discarded=1000000,to={server.to}"))
    total = report["total"]
    assert 1000000 < total["bytes_discarded"] < 1300000, total
    assert 10 <= total["ended_reset_policy"] <= 15, total
    assert total["policy_skipped_stopped"] + total["ended_reset_policy"] == CONNECTIONS, total


def test_a_rule_stops_where_peers_reset_too_often(t):
    server = t.server("reset")
    steps = ("socket", "connect", "send:1", "wait-hup", "close")
    report = _exchange(t, server, 100, "-p",
                       f"close=fin-reset,peer_reset_percent=5,to={server.to}", steps=steps)
    total = report["total"]
    assert total["ended_reset_remote"] == 100 and total["policy_skipped_stopped"] > 50, total


def test_a_rule_for_the_short_lived_leaves_the_others_alone(t):
    server = t.server()
    path = t.file("short.conf", f"""
short_lived_ms = 200;
rules = ( {{ match = {{ to = ["{server.to}"]; short_lived = true; }}; close = "fin-reset"; }} );
""")
    report = _exchange(t, server, 10, "-c", path)
    t.counters(report, attempts=10, established=10, ended_fin_reset=10, short_lived=10)
    report = _exchange(t, server, 5, "-c", path,
                       steps=("socket", "connect", "send:1", "recv", "sleep:300", "close"))
    t.counters(report, attempts=5, established=5, ended_local_fin=5, short_lived=0)


def test_accepted_and_listening_sockets_are_never_touched(t):
    script = t.file("both.py", f"""
import socket, struct
listener = socket.socket()
listener.bind(("{ADDRESS}", 0)); listener.listen(64)
for _ in range(20):
    c = socket.create_connection(listener.getsockname())
    s, _ = listener.accept()
    assert struct.unpack("ii", s.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (0, 0)
    assert s.getsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2) > 0
    s.close()
    assert c.recv(1) == b""
    c.close()
assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2) > 0
""")
    for close in ("reset", "fin-reset", "reset-drained"):
        report = t.twshim_run(sys.executable, script,
                              options=("-p", f"close={close},to={ADDRESS}"))
        t.counters(report, attempts=20, established=20, ended_remote_fin=20)


def test_a_connection_that_a_child_shares_is_closed_normally(t):
    server = t.server()
    for close in ("reset", "reset-drained"):
        report = _exchange(t, server, 5, "-p", f"close={close},to={server.to}", steps=(
            "socket", "connect", "send:1", "recv", "fork-hold", "close"))
        total = report["total"]
        assert total["ended_reset_policy"] == 0, total
        assert total["policy_skipped_shared"] == 5, total


def test_a_late_close_is_too_late_and_said(t):
    server = t.server()
    report = _exchange(t, server, 5, "-p", f"close=reset,to={server.to}", steps=(
        "socket", "connect", "send:1", "recv", "shutdown:wr", "wait-hup", "close"))
    assert report["total"]["policy_too_late"] == 5, report["total"]
    assert time_wait_left(server.port) == 5


def test_fin_reset_holds_at_exit_and_at_sigkill(t):
    server = t.server()
    for end in ("exit:0", "_exit:0", "kill"):
        report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect",
                              "send:1", "recv", end, status=None,
                              options=("-p", f"close=fin-reset,to={server.to}"))
        t.counters(report, attempts=1, established=1, ended_fin_reset=1)
    assert time_wait_left(server.port) == 0


# ----------------------------------------------------------------------- live

def _fnv(image):
    value = 0x811c9dc5
    for byte in image:
        value = (value ^ byte) * 0x01000193 & 0xffffffff
    return value


def _images(t):
    """Two images, made by `policy load`."""
    found = []
    for close in ("fin-reset", "reset-drained"):
        t.run(t.twshim, "policy", "load", "--dir", t.dir, "-p", f"close={close},to={ADDRESS}",
              shim=False)
        with open(t.control, "rb") as file:
            data = file.read()
        slot = policy_slot(len(found) + 1)
        found.append(data[slot:slot + int.from_bytes(data[slot + 16:slot + 20], "little")])
    return found


def _swap(t, images, swaps, server):
    """Loads generation after generation, as the tool does, but faster, and waits for the load: it is to
    make a connection for every nine or so."""
    def put(image, at, value, size):
        return image[:at] + value.to_bytes(size, "little") + image[at + size:]
    with open(t.control, "r+b", buffering=0) as control:
        first = int.from_bytes(os.pread(control.fileno(), 8, 8), "little") >> 1
        for generation in range(first + 1, first + 1 + swaps):
            if generation % 500 == 0:
                wait_for(lambda: server.counts["accepted"] * 9 > generation - first,
                         "the load keeps up")
            image = put(put(images[generation % 2], 24, generation, 8), 20, 0, 4)
            image = put(image, 20, _fnv(image), 4)
            os.pwrite(control.fileno(), image, policy_slot(generation))
            os.pwrite(control.fileno(), (generation << 1 | 1).to_bytes(8, "little"), 8)


LOAD = f"""
import os, socket, sys, threading
def one():
    c = socket.create_connection(("{ADDRESS}", int(sys.argv[1])))
    c.send(b"x"); c.recv(1); c.close()
def work():
    while not os.path.exists(sys.argv[2]):
        one()
one()
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
"""


def test_images_are_swapped_10000_times_under_load(t):
    server = t.server()
    images = _images(t)
    done = os.path.join(t.scratch, "done")
    client = t.start(sys.executable, t.file("load.py", LOAD), str(server.port), done)
    wait_for(lambda: server.counts["accepted"] > 0, "the client runs")
    _swap(t, images, 10000, server)
    with open(done, "wb"):
        pass
    assert client.wait(timeout=30) == 0
    total = t.report()["total"]
    ended = sum(total[e] for e in ENDINGS)
    assert ended == total["attempts"] == server.counts["accepted"] > 1000, total
    assert total["policy_image_refused"] == 0, total
    assert total["ended_fin_reset"] + total["ended_reset_policy"] == ended, total
    assert min(total["ended_fin_reset"], total["ended_reset_policy"]) > ended / 10, total


def test_a_running_process_obeys_at_its_next_connection(t):
    server = t.server()
    script = t.file("obey.py", f"""
import socket, sys
for line in sys.stdin:
    c = socket.create_connection(("{ADDRESS}", {server.port}))
    c.send(b"x"); c.recv(1); c.close()
    print("done", flush=True)
""")
    client = t.start(sys.executable, script, stdin=-1, stdout=-1)

    def one():
        client.stdin.write(b"go\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"done\n"
    policy = (t.twshim, "policy")
    for rule in (None, "fin-reset", "reset", None):
        if rule:
            t.run(*policy, "load", "--dir", t.dir, "-p", f"close={rule},to={ADDRESS}", shim=False)
        elif client.poll() is None:
            t.run(*policy, "clear", "--dir", t.dir, shim=False)
        one()
    bad = t.file("bad.conf", "rules = ( { close = \"resett\"; } );")
    t.run(*policy, "load", "--dir", t.dir, "-p", f"close=fin-reset,to={ADDRESS}", shim=False)
    assert t.run(*policy, "load", "--dir", t.dir, bad, shim=False, status=None).returncode != 0
    one()
    client.stdin.close()
    client.wait(timeout=10)
    t.counters(t.report(), attempts=5, established=5, ended_local_fin=2, ended_fin_reset=2,
               ended_reset_policy=1)


# ---------------------------------------------------------------- experiments

def _experiment(t, server, arms, seed=1):
    return t.file("experiment.conf", f"""
experiment = {{ name = "trial"; match = {{ to = ["{server.to}"]; }}; seed = {seed};
  arms = ( {arms} ); }};
""")


EQUAL = '{ name = "a"; weight = 1; }, { name = "b"; weight = 1; }'
DIFFERENT = ('{ name = "control"; weight = 1; }, '
             '{ name = "treated"; weight = 1; close = "fin-reset"; }')


def _shown(report):
    arms = report["arms"]
    assert len(arms) == 2, arms
    return {line["measure"]: line["verdict"] for line in arms[1]["against_first"]
            if line["verdict"] not in ("no difference shown", "too few connections")}


def test_two_equal_arms_show_no_difference(t):
    server = t.server()
    shown = []
    for run in range(100):
        path = _experiment(t, server, EQUAL, t.seed % 1000000 * 100 + run)
        report = _exchange(t, server, 150, "-c", path)
        shown += [_shown(report)] if _shown(report) else []
    assert len(shown) <= 5, shown


test_two_equal_arms_show_no_difference.options = {"slow": True}


def test_fin_reset_is_found_in_an_experiment(t):
    server = t.server()
    report = _exchange(t, server, 200, "-c", _experiment(t, server, DIFFERENT))
    assert _shown(report).get("time_wait") == "better", report["arms"]
    control, treated = (a["counters"] for a in report["arms"])
    assert control["ended_local_fin"] == control["established"] == time_wait_left(server.port)
    assert treated["ended_fin_reset"] == treated["established"]
    assert control["established"] + treated["established"] == 200
    assert 60 < treated["established"] < 140
    line = [x for x in report["arms"][1]["against_first"] if x["measure"] == "time_wait"][0]
    assert (line["first"], line["this"], line["difference"]) == (1000, 0, -1000)
    assert -1000 <= line["low"] < line["high"] < -800, line


def test_an_experiment_in_a_running_process_has_the_rate_of_its_own_time(t):
    """The rate of an arm is that of the experiment, not that of the process, which connects before
    the experiment and after it."""
    server = t.server()
    path = _experiment(t, server, DIFFERENT)
    process = t.start(t.prog("client"), ADDRESS, str(server.port), *EXCHANGE, "sleep:10",
                      "repeat:400")
    server.wait("eofs", 100)
    t.run(t.twshim, "policy", "load", path, shim=False)
    began, before = time.monotonic(), server.counts["accepted"]
    server.wait("eofs", 200)
    rate = (server.counts["accepted"] - before) / (time.monotonic() - began)
    t.run(t.twshim, "policy", "clear", shim=False)
    assert process.wait(60) == 0
    arms = t.report()["arms"]
    [line] = [x for x in arms[1]["against_first"] if x["measure"] == "connections_per_second"]
    assert 80 < sum(a["counters"]["established"] for a in arms) < 200, arms
    assert 0.7 * rate < line["first"] + line["this"] < 1.4 * rate, (rate, line)
    # The rates of the arms alone differ only as much as the numbers of connections that each drew.
    opened = [a["counters"]["established"] for a in arms]
    assert abs(line["first"] / line["this"] - opened[0] / opened[1]) < 0.01, (line, opened)


def test_the_arms_stand_side_by_side_in_the_text(t):
    server = t.server()
    path = _experiment(t, server, DIFFERENT)
    result = t.run(t.twshim, "run", "-c", path, "--", t.prog("client"), ADDRESS,
                   str(server.port), *EXCHANGE, "repeat:100", shim=False)
    text = result.stderr.decode()
    assert 'experiment "trial":' in text
    assert re.search(r"MEASURE +control +treated +DIFFERENCE \(95 %\) +VERDICT", text), text
    assert re.search(r"TIME_WAIT left +100 % +0 % +-100.0 \(.* better", text), text


def test_a_client_whose_connect_never_blocks_has_no_latency_and_that_is_said(t):
    t.need("curl")
    server = t.server("http")
    path = _experiment(t, server, DIFFERENT)
    command = ["curl", "-s", f"http://{server.to}/?[1-60]"]
    text = t.run(t.twshim, "run", "-c", path, "--", *command, shim=False).stderr.decode()
    assert "lifetime p50" in text and "connect p50" not in text, text
    assert "The latency of connect() is measured only for blocking calls, and there were none." in text, text
    text = t.run(t.twshim, "run", "-c", path, "--", t.prog("client"), ADDRESS, str(server.port),
                 "socket", "connect", "close", "repeat:60", shim=False).stderr.decode()
    assert "connect p50" in text and "where it blocks" not in text, text


# ------------------------------------------------------------------- examples

def test_every_example_is_valid_and_runs(t):
    found = sorted(glob.glob(EXAMPLES + "/*.conf"))
    assert len(found) >= 7
    for path in found:
        t.run(t.twshim, "policy", "check", path, shim=False)
        server = t.server()
        report = _exchange(t, server, 5, "-c", path)
        t.counters(report, attempts=5, established=5, ended_local_fin=5, policy_image_refused=0)


def test_the_php_example_does_what_it_says(t):
    server = t.server()
    with open(EXAMPLES + "/php-redis.conf", encoding="utf-8") as file:
        text = file.read().replace("10.0.0.0/8:6379", f"10.0.0.0/8:{server.port}")
    php = os.path.join(t.scratch, "php")
    shutil.copy(t.prog("client"), php)
    report = t.twshim_run(php, ADDRESS, str(server.port), *EXCHANGE, "repeat:10",
                          options=("-c", t.file("php.conf", text)))
    t.counters(report, attempts=10, established=10, ended_fin_reset=10)


# ----------------------------------------------------------------------- cost

ROWS = (
    # rule, at connect, at close
    ("close=fin-reset", 1, 0),
    ("close=linger,linger_seconds=1", 1, 0),
    # Three at socket(); and, to know that nobody else holds it, 15 for this client's descriptors.
    ("close=reset-drained", 3, 16),
    ("close=reset", 3, 16),
    ("close=fin-reset,short_lived=true", 0, 2),
    ("reuseaddr=true", 1, 0),
    ("port_range=full", 1, 0),
    ("fin_timeout=5", 1, 0),
    ("port_ring=20000-29999", 2, 0),  # SO_REUSEADDR and the bind are needed
)


NUMBER = 2000  # connections: what is done once (now and then a folding) is less than 0.1 of them


def trace(t, server, *policy):
    """The `strace -c` summary of a client under this policy; without one if there is none."""
    path = os.path.join(t.scratch, f"strace{len(os.listdir(t.scratch))}")
    t.run(t.twshim, "policy", *(("load", "--dir", t.dir, *policy) if policy else ("clear", "--dir", t.dir)),
          shim=False)
    t.run("strace", "-f", "-c", "-o", path, "-E", f"LD_PRELOAD={t.library}", t.prog("client"),
          ADDRESS, str(server.port), *EXCHANGE, f"repeat:{NUMBER}", shim=False)
    return path


def added_each(before, after):
    """Added system calls per connection, and which. futex: the shared files are looked at by the
    clock, not by connections."""
    added = added_system_calls(before, after)
    return sum(n for name, n in added.items() if name != "futex" or n > NUMBER / 2) / NUMBER, \
        {c: n for c, n in added.items() if n}


def test_a_policy_adds_few_calls_and_a_reset_what_its_proof_takes(t):
    t.need("strace")
    server = t.server()
    observed = trace(t, server, "-p", f"close=keep,to={server.to}")
    for rule, connect, close in ROWS:
        each, which = added_each(observed, trace(t, server, "-p", f"{rule},to={server.to}"))
        print(f"{rule}: {each:.2f} more system calls per connection")
        assert each <= connect + close + 0.1, (rule, which)


def test_a_policy_of_other_programs_costs_nothing(t):
    t.need("strace")
    server = t.server()
    observed = trace(t, server)
    each, which = added_each(observed, trace(t, server, "-p", "close=fin-reset,exe=other"))
    assert each < 0.1, which
    each, which = added_each(observed, trace(t, server, t.file("detail.conf", "detail = true;")))
    assert 0.9 < each < 1.1, which  # TCP_INFO at the end


test_a_policy_adds_few_calls_and_a_reset_what_its_proof_takes.options = {"slow": True}
