# SPDX-License-Identifier: MIT
"""Every command that twshim prints works when it is copied into bash and into dash."""
import os
import re
import subprocess
import sys

from harness import ADDRESS, Skip, sysctl, time_wait
from test_doctor import a_minute_passes, client, doctor, named, ports, wrong
from test_manual import commands

SHELLS = ("bash", "dash")
STEPS = ("socket", "connect?", "send:1", "recv", "close")

# A client that stays, so that it can be seen how it was started.
STAYS = """
import socket, sys
def go():
    for _ in range(int(sys.argv[3])):
        with socket.socket() as s:
            if s.connect_ex((sys.argv[1], int(sys.argv[2]))) == 0:
                s.sendall(b"x")
                s.recv(1)
go()
print("done", flush=True)
for line in sys.stdin:
    go()
    print("done", flush=True)
"""


def shell(t, name, text, **options):
    """Types it into a shell in which `twshim` is found: the result."""
    path = f"{os.path.dirname(t.twshim)}:{os.environ['PATH']}"
    return t.run(name, "-c", text, shim=False, env={"PATH": path}, status=None, **options)


def typed(finding, kind="command"):
    """The commands of a finding's cure."""
    return [step["type"] for step in finding["cure"] if step["kind"] == kind]


def stays(t, server, count, **options):
    """Starts the client that stays; it has made its connections."""
    process = t.start(sys.executable, t.file("stays.py", STAYS), ADDRESS, str(server.port), str(count),
                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
    assert process.stdout.readline()
    return process


# ------------------------------------------------------------------------- the manual

def test_every_example_of_help_and_manual_is_no_syntax_error(t):
    """In the manual as a terminal shows it."""
    t.need("man")
    for name in ("", *commands(t)):
        said = t.run(t.twshim, *name.split(), "--help", shim=False).stdout.decode()
        lines = re.findall(r"^  (\S.*)$", said.partition("\nExamples:\n")[2], re.M)
        page = os.path.join(t.build, "man", "man1", f"twshim-{name}.1") if name else None
        if page:
            shown = t.run("man", page, shim=False, env={"MANWIDTH": "200", "LC_ALL": "C.UTF-8"})
            text = shown.stdout.decode().partition("\nEXAMPLES\n")[2].partition("\nSEE ALSO")[0]
            lines += re.findall(r"^ {7}(\S.*)$", text, re.M)
        for line in lines:
            for each in SHELLS:
                result = shell(t, each, f"set -n\n{line}")
                assert (result.returncode, result.stderr) == (0, b""), (line, result)


def test_the_command_of_env_works_as_the_manual_prints_it(t):
    t.need("man")
    page = os.path.join(t.build, "man", "man1", "twshim-env.1")
    text = t.run("man", page, shim=False, env={"MANWIDTH": "200"}).stdout.decode()
    [line] = re.findall(r"^ {7}(eval .*)$", text, re.M)
    for each in SHELLS:
        result = shell(t, each, f"{line}\nexec env")
        assert result.returncode == 0 and b"libtwshim.so" in result.stdout, (line, result)


# ------------------------------------------------------------------------- the cures

def test_every_command_of_a_cure_works_in_bash_and_in_dash(t):
    ports(200)
    server = t.server()
    process = stays(t, server, 190)
    found = [f for f in doctor(t)["findings"] if f["cure"]]
    assert {"TW102", "TW103"} <= {f["id"] for f in found}, found
    process.stdin.close()
    for command in sorted({c for f in found for c in typed(f)}):
        command = command.replace("twshim wait ", "twshim wait --timeout 0.1 ")
        for each in SHELLS:
            result = shell(t, each, command, stdin=subprocess.DEVNULL)
            late = command.startswith("twshim wait") and result.returncode == 1
            assert result.returncode == 0 or late, (command, result)


def test_what_to_type_now_cures_a_running_program_and_is_undone(t):
    server = t.server()
    process = stays(t, server, 30)
    finding = named(doctor(t), "TW102", "notice")
    now, undo = [c for c in typed(finding) if "policy" in c]
    assert f"close=fin-reset,to={server.to},app=stays.py,exe=python3" in now, now
    assert shell(t, "dash", now).returncode == 0
    subprocess.run(["ss", "-K", "state", "time-wait"], check=False, capture_output=True)
    if time_wait():
        raise Skip("the kernel cannot drop TIME_WAIT sockets (ss -K)")
    process.stdin.write(b"\n")
    process.stdin.flush()
    assert process.stdout.readline()
    assert "TW102" not in wrong(doctor(t))
    assert shell(t, "bash", undo).returncode == 0
    shown = t.run(t.twshim, "policy", "show", shim=False).stdout.decode()
    assert "fin-reset" not in shown, shown


def test_a_cure_does_not_touch_another_program_of_the_same_executable(t):
    """Of two services that are python3, to one server, one is to be cured."""
    server = t.server()
    process = stays(t, server, 30)
    other = t.start(sys.executable, t.file("cart.py", STAYS), ADDRESS, str(server.port), "4",
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline()
    finding = named(doctor(t), "TW102", "notice", "stays.py")
    now = [c for c in typed(finding) if c.startswith("twshim policy load")][0]
    assert shell(t, "dash", now).returncode == 0
    for each in (process, other):
        each.stdin.write(b"\n")
        each.stdin.flush()
        assert each.stdout.readline()
    counted = {a["app"]: a["counters"] for a in t.report()["apps"]}
    assert counted["stays.py"]["ended_fin_reset"] == 30, counted["stays.py"]
    assert counted["cart.py"]["ended_fin_reset"] == counted["cart.py"]["policy_applied"] == 0
    assert counted["cart.py"]["ended_local_fin"] == 8, counted["cart.py"]
    last = [c for c in typed(finding) if "twshim run" in c or "twshim env" in c][0]
    assert "app=stays.py,exe=python3" in last, last
    for each in (process, other):
        each.communicate()


def test_a_policy_in_force_survives_the_cure_and_its_undoing(t):
    server = t.server()
    t.run(t.twshim, "policy", "load", "-p", "close=linger,linger_seconds=1,to=192.0.2.1:9", shim=False)
    process = stays(t, server, 30)
    first, now, undo = [c for c in typed(named(doctor(t), "TW102", "notice")) if "policy" in c]
    process.stdin.close()
    for command in (first, now):
        assert shell(t, "dash", command, cwd=t.scratch).returncode == 0, command
    shown = t.run(t.twshim, "policy", "show", shim=False).stdout.decode()
    assert "192.0.2.1:9" in shown and server.to in shown, shown
    assert shell(t, "dash", undo, cwd=t.scratch).returncode == 0
    shown = t.run(t.twshim, "policy", "show", shim=False).stdout.decode()
    assert "192.0.2.1:9" in shown and server.to not in shown, shown


def test_where_no_port_is_left_a_ring_brings_connections_at_once(t):
    ports(100)
    server = t.server()
    process = stays(t, server, 120)
    finding = named(doctor(t), "TW103", "problem")
    commands_now = [c for c in typed(finding) if c.startswith("twshim policy load")]
    assert "port_ring=" in commands_now[0] and "close=fin-reset" in commands_now[0], finding
    assert re.search(r"the first in \d+ s and the last in \d+ s", finding["cure"][0]["text"]), finding
    assert shell(t, "dash", commands_now[0]).returncode == 0
    before = server.counts["accepted"]
    process.stdin.write(b"\n")
    process.stdin.flush()
    assert process.stdout.readline()
    assert server.counts["accepted"] == before + 120
    assert sysctl("net.ipv4.ip_local_port_range") == ["20000", "20099"]


def test_a_job_of_cron_gets_the_line_for_its_crontab(t):
    server = t.server()
    script = t.file("stays.py", STAYS)
    job = f"{sys.executable} {script} {ADDRESS} {server.port} 30 5%x"
    cron = t.file("cron", f"#!/bin/sh\nsh -c '{job}'\nexit\n")
    os.chmod(cron, 0o755)
    process = t.start(cron, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline()
    [line] = typed(named(doctor(t), "TW102", "notice"), "crontab")
    process.stdin.close()
    assert line.startswith(f"twshim run -q -p 'close=fin-reset,to={server.to},app=stays.py,exe=python3"), line
    assert re.search(r" 30 5\\%x'?$", line), line
    a_minute_passes(t)
    # cron takes the backslash away, and runs the line by /bin/sh.
    assert shell(t, "sh", line.replace("\\%", "%"), stdin=subprocess.DEVNULL).returncode == 0
    assert "TW102" not in wrong(doctor(t))


def test_no_finding_names_an_option_twice(t):
    ports(100)
    server = t.server()
    client(t, server, *STEPS[:2], "close", "sleep:2", "repeat:110", status=None)
    for finding in doctor(t)["findings"]:
        for sentence in re.split(r"[.;] ", finding["advice"]):
            options = re.findall(r"\b([a-z_]+=[a-z-]+)", sentence)
            assert len(options) == len(set(options)), sentence


# --------------------------------------------------------------------- the next step

def next_commands(text):
    """What a report ends with."""
    return re.findall(r"^    (\S.*)$", text.partition("\nNext:\n")[2], re.M)


def test_a_run_ends_with_the_same_under_its_rule_and_a_report_with_doctor(t):
    server = t.server()
    script = t.file("it's.sh", f"{t.prog('client')} {ADDRESS} {server.port} {' '.join(STEPS[:1])} connect "
                               "send:1 recv close repeat:40\n")
    first = t.run(t.twshim, "run", "--", "sh", script, shim=False).stderr.decode()
    again, experiment, *more = next_commands(first)
    assert again.startswith(f"twshim run -p 'close=fin-reset,to={server.to}' -- sh '"), first
    assert experiment == again.replace("-p", "--experiment", 1), first
    assert more == ["twshim doctor"], first
    for each in SHELLS:
        a_minute_passes(t)
        second = shell(t, each, again)
        assert second.returncode == 0 and b"TW102" not in second.stderr, second
    kept = os.path.join(t.scratch, "report.txt")
    t.run(t.twshim, "run", "-o", kept, "--", "sh", script, shim=False)
    with open(kept, encoding="utf-8") as file:
        assert "it's.sh" not in file.read()
    report = t.run(t.twshim, "report", shim=False).stdout.decode()
    assert next_commands(report)[0] == "twshim doctor", report
    for command in next_commands(report):
        if command != "twshim top":
            assert shell(t, "dash", command).returncode in (0, 1), command


def test_a_program_that_is_a_new_process_each_time_is_cured_where_it_is_started(t):
    """Its processes have gone, but the loop that starts them has not."""
    server = t.server()
    loop = t.file("loop.sh", f"for i in $(seq 30); do {t.prog('client')} {ADDRESS} {server.port} socket connect "
                             "send:1 recv close; done; echo done; read line\n")
    process = t.start("bash", loop, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline()
    start = [c for c in typed(named(doctor(t, "--sample", "0"), "TW102", "notice")) if c.startswith("twshim run")]
    process.stdin.close()
    assert start == [f"twshim run -p 'close=fin-reset,to={server.to},exe=client' -- bash {loop}"], start
    a_minute_passes(t)
    assert shell(t, "dash", start[0], stdin=subprocess.DEVNULL).returncode in (0, 1)
    assert "TW102" not in wrong(doctor(t, "--sample", "0"))
