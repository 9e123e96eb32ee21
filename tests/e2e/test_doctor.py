# SPDX-License-Identifier: MIT
"""`twshim doctor`: a real client produces each popular cause; doctor names it, with the
application and the destination, and no longer reports it once the cure is applied."""
import json
import os
import shutil
import subprocess
import sys

from harness import ADDRESS, Skip, is_sanitized, sysctl, time_wait, wait_for

STEPS = ("socket", "connect", "send:1", "recv", "close")
# These are about the whole machine, not the test's namespace.
PRESSURE = ("TW210", "TW211", "TW212")
CHURN = """
import socket, sys
to, connections, requests = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
for _ in range(connections):
    with socket.create_connection(to) as c:
        for _ in range(requests):
            c.sendall(b"x")
            c.recv(1)
"""

IDLE = """
import socket, sys, time
held = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(int(sys.argv[3]))]
print("open", flush=True)
time.sleep(60)
"""


def doctor(t, *arguments, absent=False):
    """The output of `twshim doctor --json` without pressure; checks the exit status. `absent`:
    the command or process does not exist, and never did."""
    result = t.run(t.twshim, "doctor", "--json", *arguments, shim=False, status=None)
    said = json.loads(result.stdout)
    assert said["schema"] == "twshim.doctor/1"
    verdicts = [f["verdict"] for f in said["findings"]]
    expected = 3 if absent else 2 if "problem" in verdicts else 1 if "warning" in verdicts else 0
    assert result.returncode == expected, (result.returncode, verdicts)
    said["findings"] = [f for f in said["findings"] if f["id"] not in PRESSURE]
    for finding in said["findings"]:
        assert finding["evidence"] and {"id", "verdict", "title", "advice"} <= set(finding)
        if finding["verdict"] in ("notice", "warning", "problem"):
            assert any(c.isdigit() for c in finding["evidence"]) and finding["advice"], finding
    return said


def wrong(said):
    """The ids of all findings that are neither ok nor unknown."""
    return sorted({f["id"] for f in said["findings"] if f["verdict"] not in ("ok", "unknown")})


def named(said, ident, verdict, app=None, to=None):
    """The finding, which must be there, of this application and destination."""
    for finding in said["findings"]:
        if finding["id"] == ident and finding["verdict"] == verdict \
                and app in (None, finding["app"]) and to in (None, finding["to"]):
            return finding
    raise AssertionError(f"no {ident} {verdict} of {app} to {to} in {said['findings']}")


def a_minute_passes(t):
    """Removes the TIME_WAIT sockets and counters, without the wait."""
    subprocess.run(["ss", "-K", "state", "time-wait"], check=False, capture_output=True)
    if time_wait():
        raise Skip("the kernel cannot drop TIME_WAIT sockets (ss -K)")
    for name in os.listdir(t.dir):
        path = os.path.join(t.dir, name)
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


def ports(count):
    """Sets an ephemeral range of this many ports."""
    sysctl("net.ipv4.ip_local_port_range", f"20000 {20000 + count - 1}")


def client(t, server, *steps, shim=True, policy=None, status=0):
    """Runs the test client, under a policy if one is given."""
    command = [t.prog("client"), ADDRESS, str(server.port), *steps]
    if policy:
        command = [t.twshim, "run", "-q", "-p", policy, "--"] + command
    return t.run(*command, shim=shim and not policy, status=status)


# ------------------------------------------------------------------------ a quiet host

def test_on_a_quiet_host_it_finds_nothing(t):
    assert wrong(doctor(t)) == []
    said = t.run(t.twshim, "doctor", shim=False, status=None).stdout.decode()
    assert "0 TIME_WAIT sockets" in said


def test_a_few_well_used_connections_are_nothing(t):
    server = t.server()
    script = t.file("client.py", CHURN)
    t.run(sys.executable, script, ADDRESS, str(server.port), "10", "20")
    assert wrong(doctor(t)) == []


# ------------------------------------------------- 1. many short-lived connections

def test_cause_1_churn_is_named_and_a_pool_silences_it(t):
    server = t.server()
    script = t.file("client.py", CHURN)
    t.run(sys.executable, script, ADDRESS, str(server.port), "1200", "1")
    finding = named(doctor(t), "TW101", "warning", "client.py", server.to)
    assert "1,200 connections" in finding["evidence"]
    assert "would have opened 1 connection instead of 1,200" in finding["advice"]
    a_minute_passes(t)
    t.run(sys.executable, script, ADDRESS, str(server.port), "1", "1200")
    assert wrong(doctor(t)) == []


def test_cause_1_many_runs_of_a_short_program_are_named_as_that(t):
    t.need("curl")
    server = t.server("http")
    for _ in range(25):
        t.run("curl", "-s", "-o", "/dev/null", f"http://{ADDRESS}:{server.port}/")
    finding = named(doctor(t), "TW101", "notice", "curl", server.to)
    assert "each run is a separate process" in finding["advice"]


# ---------------------------------------------------------- 2. who closes first

def test_cause_2_the_client_that_closes_first_is_named_and_fin_reset_silences_it(t):
    t.need("curl")
    server = t.server("http")
    url = f"http://{ADDRESS}:{server.port}/[1-50]"
    t.run("curl", "-s", "-o", "/dev/null", url)
    finding = named(doctor(t), "TW102", "notice", "curl", server.to)
    assert "closed first on 50 of 50" in finding["evidence"] and "fin-reset" in finding["advice"]
    a_minute_passes(t)
    t.run(t.twshim, "run", "-q", "-p", f"close=fin-reset,to={server.to}", "--", "curl", "-s",
          "-o", "/dev/null", url, shim=False)
    assert "TW102" not in wrong(doctor(t)) and time_wait() == 0


def test_cause_2_where_the_server_closes_first_nobody_is_blamed(t):
    server = t.server("first")
    client(t, server, "socket", "connect", "send:1", "recv", "wait-hup", "sleep:2", "close",
           "repeat:30")
    said = doctor(t)
    assert "TW102" not in wrong(said)
    advice = named(said, "TW101", "notice", "client", server.to)["advice"]
    assert "the server ended 30 of 30" in advice and "would have opened" not in advice, advice


# ------------------------------------------------------------ 3. ephemeral ports

def test_cause_3_a_filling_port_range_is_named_with_its_end_in_sight(t):
    server = t.server()
    ports(200)
    client(t, server, *STEPS, "repeat:120")
    finding = named(doctor(t), "TW103", "warning", "client", server.to)
    assert f"close=fin-reset,to={server.to}" in finding["advice"], finding
    assert "120 of 200 ephemeral ports (60 %)" in finding["evidence"]
    assert f"from {ADDRESS}" in finding["evidence"] and "they run out in" in finding["evidence"]
    client(t, server, *STEPS, "repeat:50")
    finding = named(doctor(t), "TW103", "problem", "client", server.to)
    order = [finding["advice"].index(w) for w in ("keep connections", "close=fin-reset", "ip_local")]
    assert order == sorted(order), finding["advice"]
    a_minute_passes(t)
    client(t, server, *STEPS, "repeat:170", policy=f"close=fin-reset,to={server.to}")
    assert {"TW103", "TW104"} & set(wrong(doctor(t))) == set()


def test_cause_3_ports_filled_by_programs_without_the_shim_are_named(t):
    server = t.server()
    ports(200)
    client(t, server, *STEPS, "repeat:170", shim=False)
    said = doctor(t)
    assert "170 of 200" in named(said, "TW103", "problem", None, server.to)["evidence"]
    assert "170" in named(said, "TW218", "notice", None, server.to)["evidence"]


def test_cause_3_the_largest_holder_is_named_where_several_share_the_ports(t):
    server = t.server()
    ports(200)
    for name, count in (("one", 55), ("two", 60), ("three", 50)):
        copy = shutil.copy(t.prog("client"), t.file(name, ""))
        t.run(copy, ADDRESS, str(server.port), *STEPS, f"repeat:{count}")
    for said in (doctor(t)["findings"], t.report()["advice"]):
        finding = next(f for f in said if f["id"] == "TW103")
        assert finding["app"] == "two" and "60 of two, 105 of others" in finding["evidence"]
        assert f"close=fin-reset,to={server.to}" in finding["advice"], finding


def test_cause_3_ports_filled_by_others_are_not_called_open(t):
    server = t.server()
    ports(200)
    client(t, server, *STEPS, "repeat:130", shim=False)
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:60")
    finding = next(f for f in report["advice"] if f["id"] == "TW103")
    assert "TIME_WAIT sockets hold 190: 60 of client, 130 of others" in finding["evidence"]
    assert "fin-reset" in finding["advice"] and "open connections hold" not in finding["advice"], finding


def test_cause_3_no_port_left_is_named(t):
    server = t.server()
    ports(50)
    client(t, server, "socket", "connect?", "close", "repeat:80")
    finding = named(doctor(t), "TW104", "problem", "client", server.to)
    assert "30 of 80" in finding["evidence"] and "EADDRNOTAVAIL" in finding["evidence"]
    text = t.run(t.twshim, "doctor", shim=False, status=2).stdout.decode()
    assert "twshim policy load -p 'port_ring=" in text, text
    assert "fails with EADDRNOTAVAIL now" in named(doctor(t), "TW103", "problem", "client",
                                                   server.to)["advice"]
    a_minute_passes(t)
    client(t, server, "socket", "connect", "close", "sleep:2", "repeat:80",
           policy=f"close=fin-reset,to={server.to}")
    assert "TW104" not in wrong(doctor(t))


def test_cause_3_binding_before_connect_is_named_and_late_bind_silences_it(t):
    server = t.server()
    steps = ("socket", "bind", "connect", "send:1", "recv", "close", "repeat:40")
    client(t, server, *steps)
    finding = named(doctor(t), "TW105", "notice", "client")
    assert "before 40 of its connects" in finding["evidence"]
    a_minute_passes(t)
    client(t, server, *steps, policy=f"late_bind=true,to={server.to}")
    assert "TW105" not in wrong(doctor(t))


def test_cause_3_who_binds_early_and_starves_others_is_named_and_late_bind_feeds_them(t):
    ports(100)
    server, other = t.server(), t.server()
    steps = ("socket", "bind", "connect", "send:1", "recv", "close", "repeat:100")
    victim = shutil.copy(t.prog("client"), t.file("victim", ""))
    client(t, server, *steps)
    t.run(victim, ADDRESS, str(other.port), "socket", "connect?", "close")
    for said in (doctor(t)["findings"], t.report()["advice"]):
        finding = next(f for f in said if f["id"] == "TW104")
        assert finding["app"] == "victim" and "only 0 of 100 ephemeral" in finding["evidence"]
        assert "late_bind=true,exe=client" in finding["advice"], finding
        assert "fin-reset" not in finding["advice"], finding
    finding = named(doctor(t), "TW105", "problem", "client")
    assert "at least 1 connect of other programs found no port" in finding["evidence"], finding
    a_minute_passes(t)
    client(t, server, *steps, policy="late_bind=true,exe=client")
    t.run(victim, ADDRESS, str(other.port), "socket", "connect", "close")
    assert {"TW104", "TW105"} & set(wrong(doctor(t))) == set()


VICTIM = """
import errno, socket, sys, time
other, gone = (sys.argv[1], int(sys.argv[2])), (sys.argv[1], 9)
def connect(to):
    with socket.socket() as conn:
        return errno.errorcode.get(conn.connect_ex(to))
print(connect(other), connect(gone), flush=True)
sys.stdin.readline()
print(connect(other), flush=True)
sys.stdin.readline()
"""


CREATED_NS = 288  # created_monotonic_ns in a segment's header, see tests/abi.golden


def started_long_ago(t, exe):
    """The segment of the program says that it began when the machine did."""
    for name in os.listdir(t.dir):
        path = os.path.join(t.dir, name)
        if name.endswith(".seg"):
            with open(path, "r+b") as file:
                if exe.encode() + b"\0" in file.read(4096):
                    file.seek(CREATED_NS)
                    file.write((1).to_bytes(8, sys.byteorder))


def test_cause_3_who_has_run_for_long_and_finds_no_port_now_hears_of_it(t):
    """The ring of ended connections has no connect() that fails at once."""
    ports(100)
    server, other = t.server(), t.server()
    victim = t.start(sys.executable, t.file("victim.py", VICTIM), ADDRESS, str(other.port),
                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert victim.stdout.readline() == b"None ECONNREFUSED\n"
    started_long_ago(t, os.path.realpath(sys.executable))
    assert "TW104" not in wrong(doctor(t))
    client(t, server, "socket", "bind", "connect", "send:1", "recv", "close", "repeat:99")
    victim.stdin.write(b"\n")
    victim.stdin.flush()
    assert victim.stdout.readline() == b"EADDRNOTAVAIL\n"
    for said in (doctor(t)["findings"], t.report()["advice"]):
        finding = next(f for f in said if f["id"] == "TW104")
        assert "1 of 2 connects" in finding["evidence"] and finding["to"] == other.to, finding
        assert "late_bind=true,exe=client" in finding["advice"], finding
    early = named(doctor(t), "TW105", "problem", "client")
    assert "at least 1 connect of other programs found no port" in early["evidence"], early


def test_cause_3_a_port_ring_goes_on_and_what_it_takes_from_others_is_said(t):
    ports(100)
    server, other = t.server(), t.server()
    client(t, server, *STEPS, "repeat:250", policy=f"port_ring=full,to={server.to}")
    finding = named(doctor(t), "TW103", "warning", "client", server.to)
    assert "client itself reuses them, by its port_ring" in finding["advice"]
    assert f"port_ring=20100-65535,to={server.to}" in finding["advice"], finding
    control = ("socket", "connect", "close")
    client(t, other, *control, shim=False, status=3)
    a_minute_passes(t)
    client(t, server, *STEPS, "repeat:250", policy=f"port_ring=20100-20199,to={server.to}")
    client(t, other, *control, shim=False)
    assert {"TW103", "TW104"} & set(wrong(doctor(t))) == set()


def test_time_wait_on_the_server_side_is_named_harmless(t):
    server = t.server("first")
    client(t, server, "socket", "connect", "send:1", "recv", "wait-hup", "close",
           "repeat:1100")
    said = doctor(t)
    finding = named(said, "TW214", "notice")
    assert f"port {server.port}" in finding["evidence"] and "harmless" in finding["advice"]
    assert {"TW102", "TW103", "TW218"} & set(wrong(said)) == set()


# ------------------------------------------------------------ 4. tcp_tw_recycle

def test_cause_4_recycle_is_answered(t):
    if os.path.exists("/proc/sys/net/ipv4/tcp_tw_recycle"):
        raise Skip("an old kernel: it exists")
    finding = named(doctor(t, "--only", "TW203"), "TW203", "ok")
    assert "does not exist" in finding["evidence"] and os.uname().release in finding["evidence"]


# -------------------------------------------------- 5. tcp_tw_reuse, timestamps

def test_cause_5_reuse_is_named_where_it_would_help_and_silent_once_set(t):
    ports(100)
    sysctl("net.ipv4.tcp_tw_reuse", 2)
    server = t.server()
    client(t, server, *STEPS, "repeat:60")
    finding = named(doctor(t), "TW201", "notice")
    assert "tcp_tw_reuse is 2" in finding["evidence"] and server.to in finding["evidence"]
    order = [finding["advice"].index(w) for w in
             ("application", "close=fin-reset", "port_ring=20100-65535", "tcp_tw_reuse=1")]
    assert order == sorted(order), finding["advice"]
    named(doctor(t), "TW103", "warning", "client", server.to)
    sysctl("net.ipv4.tcp_tw_reuse", 1)
    assert {"TW103", "TW201"} & set(wrong(doctor(t))) == set()
    client(t, server, *STEPS, "sleep:40", "repeat:60")
    assert {"TW103", "TW104", "TW201"} & set(wrong(doctor(t))) == set()
    sysctl("net.ipv4.tcp_timestamps", 0)
    said = doctor(t)
    assert "tcp_timestamps=1" in named(said, "TW201", "notice")["advice"]
    named(said, "TW202", "warning")
    sysctl("net.ipv4.tcp_timestamps", 1)
    assert {"TW201", "TW202"} & set(wrong(doctor(t))) == set()


def test_cause_5_reuse_is_no_cure_for_connections_that_are_open(t):
    ports(100)
    sysctl("net.ipv4.tcp_tw_reuse", 2)
    server = t.server()
    script = t.file("idle.py", IDLE)
    idle = t.start(sys.executable, script, ADDRESS, str(server.port), "85",
                   stdout=subprocess.PIPE)
    assert idle.stdout.readline()
    said = doctor(t)
    assert "TW201" not in wrong(said)
    finding = named(said, "TW103", "problem", None, server.to)
    assert "open connections hold" in finding["advice"], finding


# ------------------------------------------------------ 6. resources, and myths

def test_cause_6_a_full_bucket_table_is_named_and_room_silences_it(t):
    sysctl("net.ipv4.tcp_max_tw_buckets", 30)
    server = t.server()
    client(t, server, *STEPS, "repeat:60")
    finding = named(doctor(t), "TW205", "warning")
    assert "at most 30" in finding["evidence"] and "TCPTimeWaitOverflow" in finding["evidence"]
    sysctl("net.ipv4.tcp_max_tw_buckets", 1000)
    assert "TW205" not in wrong(doctor(t))


def test_a_changed_fin_timeout_is_named_a_myth_by_what_stands_here(t):
    sysctl("net.ipv4.tcp_fin_timeout", 5)
    server = t.server()
    client(t, server, *STEPS, "repeat:30")
    finding = named(doctor(t), "TW204", "notice")
    left = int(finding["evidence"].rsplit("has ", 1)[1].split()[0])
    assert left > 5, "the socket outlives the setting, which is the proof"
    sysctl("net.ipv4.tcp_fin_timeout", 60)
    assert "TW204" not in wrong(doctor(t))


def test_placebo_options_are_named(t):
    server = t.server()
    client(t, server, "socket", "reuseaddr", "linger:5", "connect", "send:1", "recv", "close",
           "repeat:10")
    said = doctor(t)
    assert "10 times" in named(said, "TW106", "notice", "client")["evidence"]
    assert "10 times" in named(said, "TW107", "notice", "client")["evidence"]


def test_resets_by_the_program_itself_are_named(t):
    server = t.server()
    client(t, server, "socket", "linger:0", "connect", "send:1", "recv", "close", "repeat:25")
    finding = named(doctor(t), "TW108", "warning", "client", server.to)
    assert "25 of 25" in finding["evidence"] and f"close=fin-reset,app_options=override,to={server.to}" in finding["advice"]


def test_connections_that_a_program_forgot_to_close_are_its_own(t):
    server = t.server("first")
    script = t.file("forgetful.py", """
import socket, sys, time
held = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(50)]
for c in held:
    c.sendall(b"x")
time.sleep(60)
""")
    process = t.start(sys.executable, script, ADDRESS, str(server.port), shim=False)
    wait_for(lambda: wrong(doctor(t)) == ["TW213"], "TW213 and nothing else")
    finding = named(doctor(t), "TW213", "notice", None, server.to)
    assert f"({process.pid}) holds 50" in finding["evidence"], finding
    process.kill()
    process.wait()
    assert wrong(doctor(t)) == []


# ------------------------------------------------------------ what it is asked about

def test_a_command_and_a_process_are_told_whether_the_shim_reaches_them(t):
    assert named(doctor(t, t.prog("client")), "TW301", "ok")
    script = t.file("pyenv-python", "#!/usr/bin/env bash\nexec python3 \"$@\"\n")
    os.chmod(script, 0o755)
    assert "pyenv-python is a script for bash, and bash is" in named(
        doctor(t, script), "TW301", "ok")["evidence"]
    bare = t.start("sleep", "60", shim=False)
    said = doctor(t, str(bare.pid))
    finding = named(said, "TW301", "warning")
    assert "twshim run" in finding["advice"] and "twshim enable" in finding["advice"]
    assert said["reach"]["reached"] is False
    shimmed = t.start("sleep", "60")
    wait_for(lambda: doctor(t, str(shimmed.pid))["reach"]["reached"], "it has the shim")
    for subject in ("/no/such/program", "nosuchcommand", "2147483647"):
        said = doctor(t, subject, absent=True)
        assert said["reach"]["verdict"] == "not-found"
        assert "twshim ps" in named(said, "TW301", "unknown")["advice"], said["findings"]
    # One that has ended or was removed since, and is known, is no mistake.
    program = shutil.copy(t.prog("client"), os.path.join(t.scratch, "removed"))
    client_of = (program, ADDRESS, str(t.server().port), *STEPS)
    t.run(*client_of)
    os.unlink(program)
    assert doctor(t, program)["reach"]["verdict"] == "not-found"


def test_of_one_command_only_its_own_findings_are_told(t):
    server = t.server()
    client(t, server, *STEPS, "repeat:40")
    t.run(t.prog("fill"), "40", ADDRESS)
    apps = {f["app"] for f in doctor(t, t.prog("fill"))["findings"] if f["id"] == "TW101"}
    assert apps == {"fill"}


def test_coverage_is_the_share_of_the_kernels_connections(t):
    server = t.server()
    client(t, server, *STEPS, "repeat:60")
    client(t, server, *STEPS, "repeat:40", shim=False)
    finding = named(doctor(t, "--coverage", "--only", "TW302"), "TW302", "notice")
    assert "100 connections were opened (ActiveOpens); shims counted 60 of them" in finding["evidence"]


def test_a_process_in_another_namespace_is_judged_by_its_own(t):
    process = t.start("unshare", "-n", "sh", "-c",
                      "echo 7 >/proc/sys/net/ipv4/tcp_fin_timeout; exec sleep 60", shim=False)
    wait_for(lambda: doctor(t, str(process.pid))["host"]["fin_timeout"] == 7,
             "the other namespace's value")
    assert doctor(t)["host"]["fin_timeout"] == 60


def test_programs_of_another_namespace_are_not_judged_by_this_ones_table(t):
    client(t, t.server(), *STEPS, "repeat:40")
    listener = t.file("elsewhere.py", """if True:
        import socket, subprocess, sys
        listener = socket.create_server(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
        client = subprocess.Popen([sys.argv[1], "127.0.0.1", port, "socket", "connect", "close", "repeat:60"])
        for _ in range(60):
            listener.accept()[0].close()
        sys.exit(client.wait())
        """)
    elsewhere = os.path.join(t.scratch, "elsewhere")
    shutil.copy(t.prog("client"), elsewhere)
    t.run("unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, listener,
          elsewhere)
    said = doctor(t)
    apps = {f["app"] for f in said["findings"]}
    assert "client" in apps and "elsewhere" not in apps, said["findings"]
    assert said["other_network_namespace"] == 1, said
    text = t.run(t.twshim, "doctor", shim=False, status=None).stdout.decode()
    assert "1 process in another network namespace is not judged here; none of them runs any more" \
        in " ".join(text.split()), text
    assert "elsewhere" in {a["app"] for a in t.report()["apps"]}


# ------------------------------------------------------------------ the command itself

def test_what_only_the_hosts_namespace_has_is_said_to_be_there(t):
    said = doctor(t, "--all")
    for ident in ("TW207", "TW208"):
        evidence = named(said, ident, "unknown")["evidence"]
        assert "only the host's has it" in evidence, evidence


def test_every_finding_is_explained_with_its_sources(t):
    listed = t.run(t.twshim, "doctor", "--markdown", shim=False).stdout.decode()
    idents = [line[3:8] for line in listed.splitlines() if line.startswith("| [TW")]
    assert len(idents) >= 30
    for ident in idents:
        said = t.run(t.twshim, "doctor", "--explain", ident, shim=False).stdout.decode()
        assert said.startswith(ident) and len(said) > 100, said
        assert ident in t.run(t.twshim, "doctor", "--only", ident, shim=False,
                              status=None).stdout.decode() or ident in ("TW213", "TW302")


def test_an_explanation_is_json_where_that_is_asked_for(t):
    def explained(*arguments):
        said = json.loads(t.run(t.twshim, "doctor", "--json", *arguments, shim=False).stdout)
        assert said["schema"] == "twshim.doctor-explain/1" and len(said) == 2, said
        return said["explanations"]
    [one] = explained("--explain", "tw101")
    text = t.run(t.twshim, "doctor", "--explain", "TW101", shim=False).stdout.decode()
    assert text.split() == (f"{one['id']} {one['title']} {one['background']} Sources: "
                            f"{'; '.join(one['sources'])}").split(), (one, text)
    assert one["sources"] == ["RFC 9293 section 3.6", "tcp(7)"], one
    everything = explained("--markdown")
    assert one in everything and len(everything) >= 30
    assert all(e["background"] and e["asked_of"] for e in everything), everything


def test_unknown_findings_and_options_are_told(t):
    for arguments in (("--only", "TW999"), ("--explain", "tw"), ("--nonsense",), ("a", "b")):
        result = t.run(t.twshim, "doctor", *arguments, shim=False, status=2)
        assert result.stderr.startswith(b"twshim: ") and result.stderr.count(b"\n") == 1


def test_watch_prints_an_object_a_line(t):
    process = t.start(t.twshim, "doctor", "--watch", "--json", shim=False,
                      stdout=subprocess.PIPE)
    for _ in range(2):
        assert json.loads(process.stdout.readline())["schema"] == "twshim.doctor/1"
    process.kill()


def test_an_empty_proc_is_unknown_and_no_crash(t):
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        raise Skip("no private mount namespace to be had")
    if is_sanitized(t):
        raise Skip("a sanitizer needs its own /proc")
    script = f"mount -t tmpfs none /proc && {t.twshim} doctor --json"
    result = t.run("unshare", "-m", "sh", "-c", script, shim=False, status=0)
    said = json.loads(result.stdout)
    assert wrong(said) == []
    assert "TW201" in [f["id"] for f in said["findings"] if f["verdict"] == "unknown"]
