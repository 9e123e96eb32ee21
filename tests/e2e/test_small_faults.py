# SPDX-License-Identifier: MIT
"""Faults that bug reports named: what is left behind, exit statuses, causes that were not named."""
import json
import os
import shutil
import signal
import subprocess

from harness import ADDRESS, Skip, wait_for


def test_json_and_a_page_are_both_written(t):
    t.run(t.prog("client"), ADDRESS, str(t.server().port), "socket", "connect", "close")
    page = os.path.join(t.scratch, "page.html")
    result = t.run(t.twshim, "report", "--json", "--html", page, shim=False)
    assert json.loads(result.stdout)["schema"] == "twshim.report/1"
    with open(page, encoding="utf-8") as file:
        assert "<html" in file.read()
    both = t.run(t.twshim, "report", "--json", "--html", "-", shim=False, status=2)
    assert b"--html -: --json goes to standard output" in both.stderr, both


def test_a_closed_pipe_leaves_no_temporary_file(t):
    """The reader has left before the JSON is written, while the page is under way."""
    directory = os.path.join(t.scratch, "pages")
    os.mkdir(directory)
    page = os.path.join(directory, "page.html")
    for command in (("report", "--json", "--html", page),
                    ("run", "--json", "--html", page, "--", "true")):
        reader, writer = os.pipe()
        os.close(reader)
        subprocess.run([t.twshim, *command], env=t.environment(shim=False), stdout=writer,
                       stderr=writer, check=False, timeout=20,
                       preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL))
        os.close(writer)
        assert set(os.listdir(directory)) <= {"page.html"}, os.listdir(directory)


def test_what_does_not_exist_has_an_exit_status_of_its_own(t):
    """1 stays for warnings."""
    for subject in ("no-such-command", "4194300"):
        result = t.run(t.twshim, "doctor", subject, shim=False, status=3)
        assert b"can the shim reach it" in result.stdout, result


def test_an_interruption_ends_every_command_in_the_same_way(t):
    """With status 0, and after it has shown what it found so far."""
    for command, shown in ((("trace",), b"APPLICATION"), (("top", "--batch"), b"TIME_WAIT"),
                           (("serve", "--listen", "127.0.0.1:9481"), b"http://"),
                           (("doctor", "--watch"), b"checks are"),
                           (("lab", "brownout"), b"lab brownout")):
        process = t.start(t.twshim, *command, shim=False, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
        first = b""
        if command[0] != "lab":
            first = process.stdout.read1()
        else:
            wait_for(lambda p=process: os.listdir(f"/proc/{p.pid}/task/{p.pid}/") and
                     open(f"/proc/{p.pid}/task/{p.pid}/children", encoding="ascii").read(),
                     "a case runs")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 0, (command, process.returncode)
        assert shown in first + out, (command, first + out)


def test_a_name_without_its_version_is_suggested_with_it(t):
    directory = os.path.join(t.scratch, "bin")
    os.mkdir(directory)
    shutil.copy(t.prog("client"), os.path.join(directory, "phpx8.2"))
    env = {"PATH": directory + ":" + os.environ["PATH"]}
    said = t.run(t.twshim, "doctor", "phpx", shim=False, status=3, env=env).stdout
    assert b"phpx is not found, or not executable (did you mean phpx8.2?)" in said, said
    t.run("phpx8.2", ADDRESS, str(t.server().port), "socket", "connect", "close", env=env)
    said = t.run(t.twshim, "report", "phpx", shim=False, status=1).stderr
    assert b"did you mean phpx8.2?" in said, said


def test_what_takes_the_shim_away_is_named(t):
    script = t.file("job.sh", "#!/bin/sh\nenv -i /bin/true\n")
    os.chmod(script, 0o755)
    for command, words in (((script,), b"runs `env -i`, and it removes LD_PRELOAD"),
                           (("env", "-i", "/bin/true"), b"runs `env -i`"),
                           (("sh", script), b"runs `env -i`"),
                           (("sh", "-c", "true torsocks; true"), b"runs `torsocks`")):
        result = t.run(t.twshim, "run", "--", *command, shim=False)
        assert words in b" ".join(result.stderr.split()), (command, result)
    result = t.run(t.twshim, "run", "--", "true", shim=False)
    assert b"Either the command opened none" in result.stderr, result


def test_a_musl_program_that_the_shim_is_in_is_not_called_unreachable(t):
    """A shell script starts it: then nothing kept the shim from it."""
    t.need("musl-gcc")
    source = t.file("sleeper.c", "#include <unistd.h>\nint main(void)\n"
                                 "{ write(1, \"up\\n\", 3); pause(); }\n")
    binary = os.path.join(t.scratch, "sleeper")
    if subprocess.run(["musl-gcc", "-o", binary, source], check=False).returncode:
        raise Skip("musl-gcc does not work here")
    process = t.start("sh", "-c", f"{binary} & wait", stdout=subprocess.PIPE)
    process.stdout.readline()
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        [child] = file.read().split()
    said = t.run(t.twshim, "doctor", child, shim=False, status=None)
    os.kill(int(child), signal.SIGKILL)
    assert b"has the shim" in said.stdout and b"not by glibc" not in said.stdout, said
