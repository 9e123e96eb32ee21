# SPDX-License-Identifier: MIT
"""`doctor CMD` and `doctor PID` say which of the shim, BPF and a supervisor can see a program. Each answer
is held against what the observer then does see."""
import json
import os
import shutil
import signal
import subprocess

from harness import ADDRESS, settle, wait_for
from test_exec import exec_words
from test_supervisor import as_nobody, go_client, observers
from test_watch import STEPS, Watch, compiled

ALL = {"shim": True, "bpf": True, "supervisor": True}
NO_SHIM = {"shim": False, "bpf": True, "supervisor": True}


def ways(t, subject, start=()):
    """{observer: whether it can see the command or process}, and the same with its sentence."""
    said = t.run(*start, t.twshim, "doctor", "--json", str(subject), shim=False, status=None).stdout
    found = json.loads(said)["reach"]["ways"]
    return {name: way["sees"] for name, way in found.items()}, found


def seen(report):
    """Who saw something."""
    return {name: sum(a["observed_by"][name] for a in report["apps"]) > 0 for name in ALL}


def empty(t, uid):
    """An empty directory, of root's or of nobody's."""
    for entry in os.scandir(t.dir):
        if entry.is_dir():
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
    os.chown(t.dir, uid, uid)


def observe(t, words, start=()):
    """Who sees the program, when one after the other is asked to."""
    uid = 65534 if start else 0
    found = {}
    empty(t, uid)
    t.run(*start, *words, env={"LD_PRELOAD": t.library}, shim=False)
    found["shim"] = seen(t.report())["shim"]
    empty(t, 0)
    watch = Watch(t)
    t.run(*start, *words, shim=False)
    found["bpf"] = seen(watch.end())["bpf"]
    empty(t, uid)
    t.run(*start, *exec_words(t), *words, shim=False)
    wait_for(lambda: not observers(), "the supervisor has ended")
    found["supervisor"] = seen(t.report())["supervisor"]
    return found


def test_what_doctor_says_of_a_command_is_what_each_observer_sees(t):
    server = t.server()
    steps = (ADDRESS, str(server.port), *STEPS)
    script = t.file("script", f"#!/usr/bin/python3\nimport socket\n"
                              f"socket.create_connection(('{ADDRESS}', {server.port})).close()\n")
    os.chmod(script, 0o755)
    kinds = [(ALL, (t.prog("client"), *steps)), (ALL, (script,)),
             (NO_SHIM, (compiled(t, "gcc"), *steps)), (NO_SHIM, (compiled(t, "musl-gcc"), *steps)),
             *([(NO_SHIM, (go_client(t), "dial", server.to))] if shutil.which("go") else [])]
    for wanted, words in kinds:
        said, found = ways(t, words[0])
        assert said == wanted, (words, found)
        assert observe(t, words) == wanted, words


def test_a_set_user_id_program_is_seen_by_the_kernel_alone(t):
    start, server = as_nobody(t), t.server()
    program = compiled(t, "gcc")
    os.chmod(program, 0o4755)
    words = (program, ADDRESS, str(server.port), *STEPS)
    wanted = {"shim": False, "bpf": True, "supervisor": False}
    said, found = ways(t, program, start)
    assert said == wanted and "privileges" in found["supervisor"]["how"], found
    assert observe(t, words, start) == wanted


def test_a_process_that_runs_is_told_who_sees_it_now(t):
    server, client = t.server(), compiled(t, "gcc")
    steps = (ADDRESS, str(server.port), "socket", "connect", "send:1", "recv", "sleep:60000")
    bare = t.start(client, *steps, shim=False)
    said, found = ways(t, bare.pid)
    attaches = os.uname().machine == "x86_64"
    assert said == {"shim": False, "bpf": True, "supervisor": attaches}, found
    assert "without a restart" in found["bpf"]["how"] and "attach" in found["supervisor"]["how"], found
    shimmed = t.start(t.prog("client"), *steps)
    wait_for(lambda: ways(t, shimmed.pid)[0] == {"shim": True, "bpf": True, "supervisor": False}, "it loads it")
    theirs = t.start(*as_nobody(t), "sleep", "60", shim=False)
    os.chown(t.dir, 0, 0)
    wait_for(lambda: "own user" in ways(t, theirs.pid)[1]["supervisor"]["how"], "it is another user's")
    supervised = t.start(*exec_words(t), client, *steps, shim=False)
    wait_for(lambda: ways(t, supervised.pid)[1]["supervisor"] ==
             {"sees": True, "how": "it does so now"}, "the supervisor publishes")
    assert ways(t, supervised.pid)[0] == NO_SHIM
    theirs.kill()
    for process in (bare, shimmed, supervised):
        process.send_signal(signal.SIGKILL)
        process.wait()
    settle(server.port)


def test_the_text_has_a_line_for_each_observer(t):
    said = t.run(t.twshim, "doctor", compiled(t, "gcc"), shim=False, status=None,
                 stderr=subprocess.DEVNULL).stdout.decode()
    lines = said.split("Who can see it:\n")[1].splitlines()
    assert lines[0].split()[:3] == ["the", "shim", "no"] and "statically linked" in lines[0], lines
    assert lines[1].split()[:2] == ["BPF", "yes"], lines
    assert lines[2].split()[:3] == ["a", "supervisor", "yes"], lines
    for subject in ("no-such-command", t.file("text", "\0")):
        result = t.run(t.twshim, "doctor", subject, shim=False, status=None)
        assert b"Who can see it" not in result.stdout, result.stdout
    said = t.run(t.twshim, "doctor", shim=False, status=None).stdout
    assert b"Who can see it" not in said, said
