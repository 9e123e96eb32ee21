# SPDX-License-Identifier: MIT
"""Cold answers: `owners` and `doctor` name the programs behind TIME_WAIT sockets that nobody
owns, on a host where nothing runs under the shim."""
import json
import os
import sys

from harness import ADDRESS, Skip, time_wait, wait_for
from test_watch import STEPS, compiled

NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
# Connects for ever, about 200 times a second; holds each connection for so many milliseconds.
STORM = """if True:
    import socket, sys, time
    while True:
        with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as s:
            s.send(b"x")
            s.recv(1)
            time.sleep(float(sys.argv[3]) / 1000)
        time.sleep(0.004)
    """


def storm(t, server, held_ms, *before):
    """A Python program that leaves TIME_WAIT sockets, without the shim."""
    path = t.file("storm.py", STORM)
    os.chmod(t.scratch, 0o755)
    process = t.start(*before, "python3", path, ADDRESS, str(server.port), str(held_ms), shim=False)
    wait_for(lambda: time_wait(server.port) > 25, "it storms")
    return process


def seen(t, *command, **options):
    """{app: sighting}, and all that was said."""
    said = json.loads(t.run(*command, "--json", shim=False, status=None, **options).stdout)
    return {s["app"]: s for s in said.get("seen", [])}, said


def need_bpf(t):
    """Skips where `watch` cannot run."""
    if os.geteuid() != 0:
        raise Skip("BPF needs root")
    said = t.run(t.twshim, "watch", "--seconds", "1", "--quiet", shim=False, status=None)
    if said.returncode:
        raise Skip(said.stderr.decode())


def test_owners_and_doctor_name_a_storm_a_loop_of_short_processes_and_a_static_program(t):
    need_bpf(t)
    t.need("curl", "bash")
    python, curl, static = t.server(), t.server("http"), t.server()
    process = storm(t, python, 0)
    cron = t.file("cron.sh", f"while true; do curl -s -o /dev/null http://{curl.to}/; done")
    shell = t.start("bash", cron, shim=False)
    client = t.start(compiled(t, "gcc"), ADDRESS, str(static.port), *STEPS, "sleep:4",
                     "repeat:100000", shim=False)
    wait_for(lambda: min(time_wait(s.port) for s in (curl, static)) > 25, "all storm")
    for command in ("owners", "doctor"):
        found, said = seen(t, t.twshim, command)
        assert {"storm.py", "curl", "client-gcc"} <= set(found), said
        one = next(s for s in said["seen"] if s["to"] == python.to)
        assert (one["pid"], one["how"]) == (process.pid, "counted"), one
        assert "storm.py" in one["command"] and one["how_text"] == "counted by the kernel, 2 s"
        assert 20 < one["connections"] < 2000 and one["uid"] == 0, one
        assert found["curl"]["processes"] > 3 and found["curl"]["to"] == curl.to, found["curl"]
        assert found["curl"]["started_by"]["pid"] == shell.pid, found["curl"]
        assert "bash" in found["curl"]["started_by"]["command"] \
            and "cron.sh" in found["curl"]["started_by"]["command"], found["curl"]
        assert found["client-gcc"]["pid"] == client.pid, found["client-gcc"]
    text = t.run(t.twshim, "owners", shim=False).stdout.decode()
    assert f"a new process each time, started by {shell.pid} (bash {cron})"[:60] in text, text
    assert "counted by the kernel, 2 s" in text, text


def test_what_was_left_meanwhile_is_owned_and_what_was_left_before_only_has_the_same_target(t):
    need_bpf(t)
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:60", shim=False)
    storm(t, server, 0)
    before = time_wait(server.port)
    _, said = seen(t, t.twshim, "owners")
    assert len(said["seen"]) == 1, said["seen"]
    (one,) = said["seen"]
    assert one["unowned_to_same"] >= before - 5 and said["owned"] > 20, said
    assert said["owned"] == sum(o["count"] for o in said["owners"])
    text = t.run(t.twshim, "owners", shim=False).stdout.decode()
    assert "to the same destination as storm.py" in text, text
    assert not [n for n in os.listdir(t.dir) if n.startswith("run-")], list(os.walk(t.dir))


# A storm with its server, to the address and port of another namespace's server.
ELSEWHERE = """if True:
    import os, socket, sys
    listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=4096)
    if os.fork() == 0:
        listener.close()
        os.execv(sys.executable, [sys.executable, sys.argv[3], *sys.argv[1:3], "0"])
    while True:
        connection = listener.accept()[0]
        connection.sendall(connection.recv(1))
        connection.recv(1)
        connection.close()
    """


def test_a_storm_in_another_namespace_is_not_a_program_of_this_one(t):
    need_bpf(t)
    server = t.server()
    process = storm(t, server, 0)
    other = t.file("other_storm.py", STORM)
    there = t.start("unshare", "-n", "sh", "-c", f'ip link set lo up && ip address add {ADDRESS}/32 dev lo && '
                    'exec "$@"', "sh", sys.executable, t.file("elsewhere.py", ELSEWHERE), ADDRESS,
                    str(server.port), other, shim=False)
    path = f"/proc/{there.pid}/net/tcp"

    def is_storming():
        with open(path, encoding="ascii") as file:
            return sum(line.split()[3] == "06" for line in file) > 25
    wait_for(is_storming, "the other namespace storms too")
    for command in ("owners", "doctor"):
        found, said = seen(t, t.twshim, command)
        assert [s["pid"] for s in said["seen"]] == [process.pid] and "other_storm.py" not in found, said
        assert "other_storm.py" not in json.dumps(said), said
    assert said["other_network_namespace"] >= 1, said


def test_another_user_looks_in_proc_and_says_in_how_many_looks(t):
    server = t.server()
    process = storm(t, server, 30, *NOBODY)
    os.chmod(t.dir, 0o755)
    found, said = seen(t, *NOBODY, t.twshim, "owners", env={"TWSHIM_DIR": "/dev/shm/no-such"})
    (one,) = found.values()
    assert (one["pid"], one["how"], one["to"]) == (process.pid, "seen", server.to), said
    assert one["looks"] > 3 and "seen holding connections there" in one["how_text"], one


def test_sample_0_looks_for_nobody(t):
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:60", shim=False)
    for command in ("owners", "doctor"):
        _, said = seen(t, t.twshim, command, "--sample", "0")
        assert "seen" not in said, said
