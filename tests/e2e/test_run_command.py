# SPDX-License-Identifier: MIT
"""`twshim run` behaves like the command alone: exit statuses, streams, where the report goes,
children, and what a preload cannot reach."""
import glob
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
import xml.etree.ElementTree

from harness import (ADDRESS, ESTABLISHED, Skip, kernel_sockets, sysctl, time_wait, time_wait_left,
                     wait_for)

STEPS = ("socket", "connect", "send:1", "recv", "close")


def _run(t, *arguments, status=0, **more):
    return t.run(t.twshim, "run", *arguments, shim=False, status=status, **more)


def _client(t, server, *steps):
    return (t.prog("client"), ADDRESS, str(server.port), *(steps or STEPS))


def _one_line(result, *words):
    """One line on stderr, `twshim: ...`, with these words; nothing on stdout."""
    lines = result.stderr.decode().splitlines()
    assert result.stdout == b"" and len(lines) == 1, result
    assert lines[0].startswith("twshim: "), lines
    for word in words:
        assert word in lines[0], lines
    return lines[0]


# ------------------------------------------------------------------- exit statuses

def test_the_exit_status_is_the_commands(t):
    for status in (0, 1, 2, 7, 125, 126, 127, 128, 255):
        _run(t, "-q", "--", "sh", "-c", f"exit {status}", status=status)


def test_death_by_a_signal_is_death_by_that_signal(t):
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE,
                   signal.SIGUSR1, signal.SIGSEGV, signal.SIGABRT, signal.SIGALRM, signal.SIGQUIT):
        script = f"ulimit -c 0; kill -{int(number)} $$; sleep 9"
        _run(t, "-q", "--", "sh", "-c", script, status=-number)


def test_what_is_not_there_is_127(t):
    for command in ("no-such-command-here", "/nonexistent/program", "./nowhere"):
        _one_line(_run(t, "--", command, status=127), command, "not found", "name ")
    # The current directory is not searched, and its interpreter exists.
    result = _run(t, "--", os.path.basename(t.file("here", "#!/bin/sh\n")), status=127, cwd=t.scratch)
    _one_line(result, "here: not found in PATH: name its path, as ./here")


def test_what_cannot_be_executed_is_126(t):
    plain = t.file("plain", "just text")
    for command, cure in ((plain, f"chmod +x it, or name what runs it, as in sh {plain}"),
                          ("/etc", "it is a directory: name"), (t.scratch, "it is a directory: name"),
                          (plain + "/below", "see execve(2)")):
        _one_line(_run(t, "--", command, status=126), command, cure)


def test_a_shebang_whose_interpreter_is_missing_is_said(t):
    script = t.file("its-script", "#!/nonexistent/interpreter\n")
    os.chmod(script, 0o755)
    for command in (script, "its-script"):
        result = _run(t, "--", command, status=None,
                      env={"PATH": os.environ["PATH"] + ":" + t.scratch})
        assert result.returncode in (126, 127), result
        assert b"interpreter" in result.stderr, result


def test_usage_errors_are_125_with_one_line(t):
    for arguments, word in (((), "COMMAND"), (("--",), "COMMAND"), (("--nonsense", "true"), "nonsense"),
                            (("-p",), "p"), (("-o",), "o"), (("-Z", "--", "true"), "Z")):
        _one_line(_run(t, *arguments, status=125), word)


def test_a_policy_error_stops_before_the_command_starts(t):
    proof = os.path.join(t.scratch, "proof")
    bad = t.file("bad.conf", 'rules = ( { name = "r"; close = "sideways"; } );\n')
    broken = t.file("broken.conf", "rules = ( {\n")
    for options in (("-p", "close=sideways"), ("-p", "nonsense=1"), ("-p", "to=999.1.1.1"),
                    ("-c", bad), ("-c", broken), ("-c", "/nonexistent/file")):
        result = _run(t, *options, "--", "touch", proof, status=125)
        assert result.stderr and result.stdout == b"", result
        assert not os.path.exists(proof), options
    named = _run(t, "-c", "/nonexistent/file", "--", "true", status=125).stderr.decode()
    assert named.startswith("/nonexistent/file: can't be read: "), named
    named = _run(t, "-c", bad, "--", "true", status=125).stderr.decode()
    assert re.search(r"bad\.conf:1: ", named), named


def test_a_reset_that_narrows_nothing_is_warned_of_wherever_it_is_said(t):
    everything = t.file("all.conf", 'rules = ( { match = { to = ["0.0.0.0/0", "[::/0]"]; };\n'
                                    'close = "reset"; } );\n')
    for policy in (("-p", "close=reset,to=*"), ("-p", "close=reset,exe=*"), (everything,)):
        option = policy if len(policy) == 2 else ("-c", *policy)
        for command in (("policy", "check", *policy), ("policy", "load", *policy),
                        ("run", *option, "--", "true")):
            said = t.run(t.twshim, *command, shim=False).stderr.decode()
            assert "every program and destination" in said and "allow_everything" in said, said


def test_a_port_range_that_the_kernel_ignores_is_named(t):
    conf = t.file("range.conf", 'rules = (\n{ port_range = "100-200"; } );\n')
    for arguments, place in ((("run", "-p", "port_range=100-200", "--", "true"), "-p:1:"),
                             (("run", "-c", conf, "--", "true"), f"{conf}:2:"),
                             (("policy", "check", "-p", "port_range=100-200"), "-p:1:"),
                             (("policy", "load", "-p", "port_range=100-200"), "-p:1:")):
        lines = t.run(t.twshim, *arguments, shim=False).stderr.decode().splitlines()
        assert lines[0].startswith(f"{place} warning: port_range") and "ignores it" in lines[0], lines
    for rule in ("port_range=full", "port_range=100-65535"):
        text = t.run(t.twshim, "run", "-p", rule, "--", "true", shim=False).stderr.decode()
        assert "warning" not in text, text


def test_a_port_ring_that_takes_ports_from_others_is_named(t):
    low, high = sysctl("net.ipv4.ip_local_port_range")
    conf = t.file("ring.conf", 'rules = (\n{ port_ring = "full"; } );\n')
    for arguments, place in ((("run", "-p", "port_ring=full", "--", "true"), "-p:1:"),
                             (("run", "-c", conf, "--", "true"), f"{conf}:2:"),
                             (("policy", "check", conf), f"{conf}:2:"),
                             (("policy", "load", "-p", "port_ring=full"), "-p:1:")):
        lines = t.run(t.twshim, *arguments, shim=False).stderr.decode().splitlines()
        assert lines[0].startswith(f'{place} warning: port_ring = "full" takes '), lines
        assert f"{int(low) - 10000}-{int(low) - 1}" in lines[0] and "fin-reset" in lines[0], lines
    said = t.run(t.twshim, "policy", "check", "--json", "-p", "port_ring=full", shim=False)
    [warning] = json.loads(said.stdout)["warnings"]
    assert "to any destination" in warning["what"] and said.stderr == b"", said
    sysctl("net.ipv4.ip_local_reserved_ports", f"{high}")
    for ring in (f"{int(low) - 100}-{int(low) - 1}", f"{high}-{int(high) + 99}"):
        text = t.run(t.twshim, "run", "-p", f"port_ring={ring}", "--", "true", shim=False).stderr
        assert b"warning" not in text, text


def test_a_report_file_that_cannot_be_written_stops_before_the_command_starts(t):
    proof = os.path.join(t.scratch, "proof")
    for path in ("/nonexistent/report", t.scratch, "/proc/report"):
        _one_line(_run(t, "-o", path, "--", "touch", proof, status=125), path)
        assert not os.path.exists(proof), path


def test_options_after_the_command_are_the_commands(t):
    assert _run(t, "-q", "sh", "-c", "echo $0 $1", "-o", "--json").stdout == b"-o --json\n"
    assert _run(t, "-q", "--", "echo", "-q", "--help").stdout == b"-q --help\n"


def test_help_is_help(t):
    result = _run(t, "--help")
    assert b"Usage: twshim run" in result.stdout and result.stderr == b"", result


# ----------------------------------------------------------------- the report's ways

def test_the_report_goes_to_stderr_and_stdout_is_the_commands(t):
    server = t.server()
    result = _run(t, "--", "sh", "-c", f"{' '.join(_client(t, server))}; echo out; echo err >&2")
    assert result.stdout == b"out\n", result
    assert result.stderr.startswith(b"err\n") and server.to.encode() in result.stderr, result


def test_the_report_goes_to_a_file_and_stderr_is_the_commands(t):
    server = t.server()
    path = os.path.join(t.scratch, "report.txt")
    result = _run(t, "-o", path, "--", "sh", "-c",
                  f"{' '.join(_client(t, server))}; echo out; echo err >&2")
    assert (result.stdout, result.stderr) == (b"out\n", b"err\n"), result
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert server.to in text and "TIME_WAIT" in text, text
    assert glob.glob(os.path.join(t.scratch, "report.txt*")) == [path]


def test_a_report_file_is_replaced_whole(t):
    server = t.server()
    path = t.file("report.txt", "x" * 100000)
    _run(t, "-o", path, "--", *_client(t, server))
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert "xxx" not in text and server.to in text, text[:1000]


def test_quiet_says_nothing(t):
    server = t.server()
    result = _run(t, "-q", "--", *_client(t, server))
    assert (result.stdout, result.stderr) == (b"", b""), result
    assert server.counts["accepted"] == 1


def test_a_run_counts_since_it_began(t):
    """Not since its first connection, a second or more later; also where it opened none."""
    client = " ".join(_client(t, t.server()))
    wait = "s=$(date +%s); while [ $(date +%s) -lt $((s + 2)) ]; do :; done"
    for command, opened in ((f"date -u +%FT%TZ; {wait}; {client}", 1), ("date -u +%FT%TZ", 0)):
        before = time.strftime("%FT%TZ", time.gmtime(time.time() - 1))
        result = _run(t, "--json", "--", "sh", "-c", command)
        began = result.stdout.decode().split("\n")[0]
        report = t.read_report(result.stderr)
        assert report["total"]["established"] == opened, report["total"]
        assert before <= report["since"] <= began <= report["until"], (before, began, report)


def test_json_is_one_object_of_the_contract(t):
    server = t.server()
    result = _run(t, "--json", "--", *_client(t, server), "exit:3", status=3)
    assert result.stdout == b"", result
    report = t.read_report(result.stderr)
    assert report["schema"].startswith("twshim.") and report["schema"].endswith("/1"), report
    assert report["run"]["exit_status"] == 3, report["run"]
    assert "client" in json.dumps(report["run"]["command"]), report["run"]
    assert report["run"]["elapsed_seconds"] >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", report["generated"]), report
    for key in ("total", "apps", "kernel", "arms", "advice", "unseen"):
        assert key in report, key
    [app] = report["apps"]
    assert app["app"] == "client" and app["exe"] == os.path.realpath(t.prog("client")), app
    assert app["processes"] == 1
    [destination] = app["destinations"]
    assert destination["to"] == server.to and destination["peak_open"] == 1, destination
    assert set(destination["time_wait"]) >= {"predicted", "confirmed", "oldest_leaves_s",
                                             "newest_leaves_s"}, destination
    assert 50 <= destination["time_wait"]["oldest_leaves_s"] <= 60, destination
    assert set(destination["ports"]) >= {"used", "range", "fill"}, destination
    assert report["kernel"]["time_wait"] == report["kernel"]["owned"] == 1, report["kernel"]
    histogram = report["total"]["lifetime_seconds"]
    assert sum(histogram["count"]) == 1, histogram
    # The last bucket holds the rest.
    assert len(histogram["le"]) == len(histogram["count"]) - 1, histogram


def test_every_counter_is_in_the_report(t):
    path = os.path.join(os.path.dirname(__file__), "..", "..", "shim", "shared", "counters.def")
    with open(path, encoding="utf-8") as file:
        names = re.findall(r"^(?:COUNTER|HISTOGRAM)\((\w+),", file.read(), re.M)
    report = t.twshim_run("true")
    assert names and not [n for n in names if n not in report["total"]], report["total"]


def test_a_command_that_never_connects_is_said_to_have_done_so(t):
    result = _run(t, "--", "true")
    assert result.stdout == b"" and len(result.stderr.splitlines()) >= 1, result
    report = t.twshim_run("true")
    t.counters(report, attempts=0, established=0)
    assert report["apps"] == [] and report["kernel"]["time_wait"] == 0, report


def test_the_report_is_of_this_run_alone(t):
    first, second = t.server(), t.server()
    t.run(*_client(t, first))
    report = t.twshim_run(*_client(t, second))
    t.counters(report, attempts=1, established=1, ended_local_fin=1)
    assert report["kernel"]["time_wait"] == 2, report["kernel"]
    # `report` sees both.
    t.counters(t.report(), attempts=2, established=2, ended_local_fin=2)


def test_keep_keeps_the_counts_apart_and_says_how_to_see_them(t):
    server = t.server()
    result = _run(t, "--keep", "--", *_client(t, server))
    [tag] = re.findall(r"kept: twshim report --run (\w+)", result.stderr.decode())
    assert os.path.isdir(os.path.join(t.dir, f"run-{tag}")), tag
    t.run(*_client(t, server))  # of no run
    report = t.report("--run", tag)
    t.counters(report, attempts=1, established=1, ended_local_fin=1)


def test_no_directory_of_a_run_stays(t):
    server = t.server()
    _run(t, "-q", "--", *_client(t, server))
    _run(t, "-q", "--", "no-such-command", status=127)
    _run(t, "-q", "-p", "close=sideways", "--", "true", status=125)
    assert glob.glob(os.path.join(t.dir, "run-*")) == []


# ---------------------------------------------------------------- as if not there

def test_stdin_reaches_the_command_whole(t):
    data = os.urandom(3_000_000)
    path = os.path.join(t.scratch, "data")
    with open(path, "wb") as file:
        file.write(data)
    with open(path, "rb") as file:
        assert _run(t, "-q", "--", "cat", stdin=file).stdout == data
    # Unread input is left for the next reader.
    script = f"{t.twshim} run -q -- sh -c 'read a; echo got $a'; cat"
    read, write = os.pipe()
    os.write(write, b"one\ntwo\n")
    os.close(write)
    result = t.run("sh", "-c", script, shim=False, stdin=read)
    os.close(read)
    assert result.stdout == b"got one\ntwo\n", result


def test_descriptors_environment_and_directory_are_the_callers(t):
    script = "ls -l /proc/self/fd | sed 's/.*[0-9][0-9] //' | grep -v '^total'; pwd; umask; ulimit -n; nice"
    bare = t.run("sh", "-c", script, shim=False, cwd=t.scratch)
    under = _run(t, "-q", "--", "sh", "-c", script, cwd=t.scratch)

    def lines(result):
        return [re.sub(r"/proc/\d+/fd|\[\d+\]", "", l) for l in result.stdout.decode().splitlines()]
    assert lines(bare) == lines(under), f"{bare.stdout}\n{under.stdout}"
    names = "import os; print(sorted(set(os.environ) - {'LD_PRELOAD', 'TWSHIM_RUN'}))"
    assert t.run(sys.executable, "-c", names, shim=False).stdout == \
        _run(t, "-q", "--", sys.executable, "-c", names).stdout


def test_a_preload_of_the_users_stays_and_stays_first(t):
    found = glob.glob("/usr/libexec/coreutils/libstdbuf.so")
    if not found:
        raise Skip("no libstdbuf.so")
    result = _run(t, "-q", "--", "sh", "-c", "echo $LD_PRELOAD", env={"LD_PRELOAD": found[0]})
    preload = re.split("[: ]", result.stdout.decode().strip())
    assert preload == [found[0], os.path.realpath(t.preload)] or \
        preload == [found[0], t.preload], preload


def test_signals_sent_to_it_are_handed_on(t):
    ready = os.path.join(t.scratch, "ready")
    for name in ("TERM", "INT", "HUP", "USR1", "USR2"):
        process = t.start(t.twshim, "run", "-q", "--", "sh", "-c",
                          f"trap 'echo {name}; exit 9' {name}; : > {ready}; while :; do sleep 0.05; done",
                          shim=False, stdout=subprocess.PIPE)
        wait_for(lambda: os.path.exists(ready), "the command runs")
        process.send_signal(getattr(signal, "SIG" + name))
        out, _ = process.communicate(timeout=20)
        assert (process.returncode, out) == (9, name.encode() + b"\n"), (name, out)
        os.unlink(ready)


def test_a_terminal_is_the_commands(t):
    """isatty, size, and foreground group under a pseudo-terminal; ^C ends the command."""
    script = ("import os, signal, sys\n"
              "print('tty', all(os.isatty(n) for n in (0, 1, 2)), os.get_terminal_size(),"
              " os.tcgetpgrp(0) == os.getpgrp(), flush=True)\n"
              "signal.pause()\n")

    def command(*before):
        return [*before, sys.executable, "-c",
                "import os, signal\n"
                "signal.signal(signal.SIGINT, lambda *a: (print('INT', flush=True), os._exit(5)))\n"
                + script]
    for before in ((), (t.twshim, "run", "-q", "--")):
        status, text = _on_a_terminal(t, command(*before), ((b") True", b"\x03"),))
        assert status == 5, (before, status, text)
        assert re.search(rb"tty True os.terminal_size\([^)]*\) True", text), (before, text)
        assert b"INT" in text, (before, text)


JOB_CONTROL = """
import os, signal, subprocess, sys
import termios
import xml.etree.ElementTree
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = subprocess.Popen(sys.argv[1:], preexec_fn=os.setpgrp,
                       restore_signals=True)
os.tcsetpgrp(0, job.pid)
print("foreground", flush=True)
_, status = os.waitpid(job.pid, os.WUNTRACED)
print("stopped", os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGTSTP, flush=True)
os.tcsetpgrp(0, job.pid)
os.killpg(job.pid, signal.SIGCONT)
_, status = os.waitpid(job.pid, 0)
print("ended", os.waitstatus_to_exitcode(status), flush=True)
"""


def _on_a_terminal(t, command, keys):
    """Runs it as the leader of a terminal's session. `keys`: (text to wait for, what is then typed).
    Returns what the terminal showed."""
    pid, master = pty.fork()
    if pid == 0:
        # Otherwise the key that sends a signal would discard the immediate answer of the program.
        mode = termios.tcgetattr(0)
        mode[3] |= termios.NOFLSH
        termios.tcsetattr(0, termios.TCSANOW, mode)
        os.execve(command[0], command, t.environment(False))
    text = b""
    for wanted, typed in (*keys, (None, b"")):
        try:
            while wanted is None or wanted not in text:
                more = os.read(master, 1000)
                if not more:
                    break
                text += more
            os.write(master, typed)
        except OSError:
            break
    _, status = os.waitpid(pid, 0)
    os.close(master)
    return os.waitstatus_to_exitcode(status), text


def test_the_stop_key_stops_both_and_both_go_on(t):
    controller = t.file("job.py", JOB_CONTROL)
    inner = (sys.executable, "-c", "import os, signal\n"
             "signal.signal(signal.SIGCONT, lambda *a: (print('went on', flush=True), os._exit(4)))\n"
             "print('ready', flush=True)\nwhile True: signal.pause()")
    for command in (inner, (t.twshim, "run", "-q", "--", *inner)):
        status, text = _on_a_terminal(t, [sys.executable, controller, *command],
                                      ((b"foreground", b""), (b"ready", b"\x1a")))
        assert status == 0, (status, text)
        for line in (b"stopped True", b"went on", b"ended 4"):
            assert line in text, (command, text)


def test_a_killed_twshim_leaves_the_command_running_and_its_directory_is_cleared_later(t):
    server = t.server()
    process = t.start(t.twshim, "run", "-q", "--", *_client(t, server, "socket", "connect", "send:1",
                      "recv"), "sleep:1500", "send:1", "recv", "close", shim=False)
    server.wait("bytes", 1)
    process.kill()
    process.wait()
    server.wait("eofs", 1)
    assert server.counts["bytes"] == 2
    wait_for(lambda: time_wait(server.port) == 1, "TIME_WAIT")
    t.counters(t.report(), attempts=1, established=1, ended_local_fin=1)
    _run(t, "-q", "--", "true")
    wait_for(lambda: glob.glob(os.path.join(t.dir, "run-*")) == [], "the dead run is cleared")
    # Clearing it loses nothing.
    t.counters(t.report(), attempts=1, established=1, ended_local_fin=1)


# ------------------------------------------------------------------------- children

def test_children_that_outlive_it_are_named_and_counted_later(t):
    server = t.server()
    inner = " ".join(_client(t, server, "socket", "connect", "send:1", "recv", "sleep:1500", "close"))
    result = _run(t, "--", "sh", "-c", f"{inner} >/dev/null 2>&1 </dev/null & "
                  f"{t.prog('client')} {ADDRESS} {server.port} socket connect send:1 recv close; "
                  "sleep 0.3")
    text = result.stderr.decode()
    assert "still run" in text and "client (" in text, text
    server.wait("eofs", 2)
    wait_for(lambda: time_wait(server.port) == 2, "2 TIME_WAIT sockets")
    wait_for(lambda: t.report()["total"]["ended_local_fin"] == 2, "both are in the report")


def test_applications_are_summed_apart(t):
    t.need("curl", "perl")
    http = t.server("http")
    perl = ("use IO::Socket::INET; my $c = IO::Socket::INET->new(PeerAddr => $ARGV[0], "
            "PeerPort => $ARGV[1]) or die; print $c \"GET / HTTP/1.0\\r\\n\\r\\n\"; <$c>; close $c")
    path = t.file("client.pl", perl)
    report = t.twshim_run("sh", "-c", f"for i in 1 2 3; do curl -s http://{http.to}/ >/dev/null; "
                          f"perl {path} {ADDRESS} {http.port}; done")
    found = {a["app"]: (a["processes"], a["counters"]["established"]) for a in report["apps"]}
    assert found == {"curl": (3, 3), "client.pl": (3, 3)}, found
    # perl reads the first line and leaves the rest: the kernel resets.
    by_name = {a["app"]: a["counters"] for a in report["apps"]}
    assert by_name["curl"]["ended_local_fin"] == 3, by_name
    assert time_wait_left(http.port) == sum(c["ended_local_fin"] for c in by_name.values())


def test_a_run_within_a_run(t):
    server = t.server()
    inner = os.path.join(t.scratch, "inner.json")
    outer = t.twshim_run(t.twshim, "run", "--json", "-o", inner, "--", *_client(t, server))
    with open(inner, encoding="utf-8") as file:
        report = t.read_report(file.read())
    t.counters(report, attempts=1, established=1, ended_local_fin=1)
    # Connections of the inner run are not the outer's; both see the kernel's sockets.
    assert outer["kernel"]["time_wait"] == 1, outer["kernel"]


def test_open_connections_of_a_live_run_are_in_report_too(t):
    server = t.server()
    process = t.start(t.twshim, "run", "-q", "--", *_client(t, server, "socket", "connect", "send:1",
                      "recv", "repeat:5", "sleep:60000"), shim=False)
    server.wait("bytes", 5)
    wait_for(lambda: len(kernel_sockets(ESTABLISHED, server.port)) == 5, "5 connections")
    wait_for(lambda: t.report()["total"]["open"] == 5, "5 open in the report")
    process.terminate()
    process.wait()


# ------------------------------------------------------------- out of a preload's reach

SOURCE = """
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_port = htons((unsigned short)atoi(argc > 2 ? argv[2] : "0"));
    inet_pton(AF_INET, argc > 1 ? argv[1] : "0.0.0.0", &a.sin_addr);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) || write(fd, "x", 1) != 1 ||
        read(fd, &a, 1) != 1)
        return 1;
    close(fd);
    return 0;
}
"""


def _compile(t, name, *flags, compiler="gcc"):
    t.need(compiler)
    source = t.file(name + ".c", SOURCE)
    made = subprocess.run([compiler, *flags, "-o", source[:-2], source], check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if made.returncode:
        raise Skip(f"{compiler} {' '.join(flags)} does not work here")
    return source[:-2]


def _named(t, binary, *words, connects=True):
    """The command runs and works, and the reason is named before."""
    server = t.server()
    result = _run(t, "--", binary, ADDRESS, str(server.port))
    lines = result.stderr.decode().splitlines()
    assert "does not reach" in lines[0], lines
    for word in words:
        assert word in lines[0], lines
    if connects:
        assert server.counts["accepted"] == 1
        assert time_wait_left(server.port) == 1
    quiet = _run(t, "-q", "--", binary, ADDRESS, str(server.port))
    assert quiet.stderr == b"", quiet
    return lines


def test_a_static_program_is_named_and_runs(t):
    _named(t, _compile(t, "static-client", "-static"), "static")


def test_a_static_pie_program_is_named_and_runs(t):
    _named(t, _compile(t, "pie-client", "-static-pie"), "static")


def test_a_program_of_another_loader_is_named_and_runs(t):
    loader = os.path.join(t.scratch, "linker64")
    os.symlink("/lib/ld-musl-x86_64.so.1", loader)
    binary = _compile(t, "other-client", f"-Wl,--dynamic-linker={loader}", compiler="musl-gcc")
    _named(t, binary, "linker64", "not by glibc's or musl's")


def test_a_program_with_address_sanitizer_is_named_and_runs(t):
    binary = _compile(t, "asan-client", "-fsanitize=address")
    _named(t, binary, "AddressSanitizer", "before its own")
    runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], check=True,
                             stdout=subprocess.PIPE).stdout.decode().strip()
    server = t.server()
    report = t.twshim_run(binary, ADDRESS, str(server.port), env={"LD_PRELOAD": runtime})
    t.counters(report, attempts=1, established=1, ended_local_fin=1)
    assert t.result.stderr == b"", t.result


def test_a_setuid_program_is_named_and_runs(t):
    if os.getuid() != 0:
        raise Skip("only root can make one that counts")
    t.need("setpriv")
    binary = _compile(t, "setuid-client")
    os.chown(binary, 12345, 12345)
    os.chmod(binary, 0o4755)
    os.chmod(t.scratch, 0o755)
    _named(t, binary, "set-user-ID")


def test_a_program_with_file_capabilities_is_named(t):
    if os.getuid() != 0:
        raise Skip("only root can make one")
    t.need("setcap", "setpriv")
    binary = _compile(t, "capable-client")
    if subprocess.run(["setcap", "cap_net_raw+ep", binary], check=False).returncode:
        raise Skip("no file capabilities on this file system")
    os.chmod(t.scratch, 0o755)
    os.chmod(t.dir, 0o777)
    reached = os.path.join(t.scratch, "twshim-copy")
    os.makedirs(reached)
    for path in (t.twshim, t.library):
        subprocess.run(["cp", path, reached], check=True)
    os.chmod(reached, 0o755)
    home = "/dev/shm/" + os.path.basename(t.scratch)
    os.mkdir(home, 0o700)
    os.chown(home, 65534, 65534)
    server = t.server()
    try:
        result = t.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                       os.path.join(reached, "twshim"), "run", "--", binary, ADDRESS,
                       str(server.port), shim=False, env={"TWSHIM_DIR": home})
    finally:
        subprocess.run(["rm", "-rf", home], check=True)
    first = result.stderr.decode().splitlines()[0]
    assert "does not reach" in first and "capabilit" in first, first
    assert server.counts["accepted"] == 1


def test_a_script_whose_interpreter_is_static_is_named(t):
    binary = _compile(t, "interpreter", "-static")
    server = t.server()
    script = t.file("script", f"#!{binary} {ADDRESS}\n")
    os.chmod(script, 0o755)
    result = _run(t, "--", script, status=None)
    assert "does not reach" in result.stderr.decode().splitlines()[0], result
    assert server.counts["accepted"] == 0


def test_scripts_of_the_shell_and_python_are_not_named(t):
    for line in ("/bin/sh", "/usr/bin/env sh", sys.executable):
        script = t.file("script", f"#!{line}\n")
        os.chmod(script, 0o755)
        result = _run(t, "--", script)
        assert b"does not reach" not in result.stderr, result


def test_a_disabled_shim_is_said_to_be(t):
    server = t.server()
    result = _run(t, "--", *_client(t, server), env={"TWSHIM_DISABLED": "1"})
    assert b"TWSHIM_DISABLED" in result.stderr, result
    assert server.counts["accepted"] == 1


# -------------------------------------------------------------------- env and report

def test_what_env_prints_makes_a_plain_preload(t):
    server = t.server()
    script = f'eval "$({t.twshim} env)" && exec {" ".join(_client(t, server))} repeat:5'
    t.run("sh", "-c", script, shim=False)
    t.counters(t.report(), attempts=5, established=5, ended_local_fin=5)
    t.time_wait_agrees(t.report(), server, 5)


def test_what_env_prints_for_systemd_is_an_environment_file(t):
    text = t.run(t.twshim, "env", "--systemd", shim=False).stdout.decode()
    lines = [l for l in text.splitlines() if l and not l.startswith("#")]
    assert lines and all(re.fullmatch(r'[A-Z_]+=("[^"]*"|\S*)', l) for l in lines), text
    assert any(l.startswith("LD_PRELOAD=") for l in lines), text


def test_a_directory_where_programs_publish_nothing_is_refused(t):
    for directory in (t.scratch, os.path.join(t.scratch, "none-yet")):
        for arguments in (("env",), ("env", "-p", "close=fin-reset"),
                          ("policy", "load", "-p", "close=fin-reset"), ("policy", "clear"),
                          ("policy", "load", "--dir", directory, "-p", "close=fin-reset")):
            result = t.run(t.twshim, *arguments, shim=False, status=1,
                           env={"TWSHIM_DIR": directory})
            [line] = result.stderr.decode().splitlines()
            assert "not in memory" in line and "tmpfs" in line, (arguments, line)
            assert result.stdout == b"", (arguments, result)
    assert not os.path.exists(os.path.join(t.scratch, "none-yet"))


READERS = (("report",), ("report", "--json"), ("ps",), ("owners",), ("doctor",),
           ("doctor", "--coverage"), ("top", "--batch", "-n", "1"), ("export",), ("policy", "show"))


def test_a_directory_that_is_not_there_is_no_empty_one(t):
    """Neither is a file that is not a directory: an all-clear would mean nothing."""
    none, file, link = os.path.join(t.dir, "none"), t.file("file", ""), os.path.join(t.dir, "link")
    os.symlink(t.dir, link)
    says = {none: ("no such directory", "twshim env"), "": ("no such directory", "twshim env"),
            file: ("not a directory", "twshim env"),
            os.path.join(file, "below"): ("not a directory", "twshim env"),
            link: ("it is a symbolic link", "name the directory itself")}
    for command in (*READERS, ("serve",), ("trace", "-s", "1")):
        for directory, (why, cure) in says.items():
            if command[0] == "trace" and why.startswith("no such directory"):
                continue  # it waits: test_a_directory_that_comes_later_is_found
            result = t.run(t.twshim, *command, "--dir", directory, shim=False, status=1, timeout=20)
            [line] = result.stderr.decode().splitlines()
            assert line.startswith(f"twshim: --dir {directory}: {why}") and cure in line, result
            assert result.stdout == b"", result
    assert not os.path.exists(none)


def test_the_usual_directory_need_not_be_there_yet(t):
    none = os.path.join(t.dir, "none")
    for command in (*READERS, ("trace", "-s", "0.1")):
        result = t.run(t.twshim, *command, shim=False, status=None, env={"TWSHIM_DIR": none})
        assert result.returncode == 0 or command[0] == "doctor", result
        assert result.stdout and not result.stderr, (command, result)


def test_a_usual_directory_that_is_none_is_named_with_what_to_do(t):
    for directory in (t.file("file", ""), "relative"):
        for command in (("report",), ("ps",), ("owners",), ("doctor",), ("export",),
                        ("trace", "-s", "1")):
            result = t.run(t.twshim, *command, shim=False, status=1, env={"TWSHIM_DIR": directory})
            [line] = result.stderr.decode().splitlines()
            assert "absolute path, with TWSHIM_DIR" in line and not result.stdout, (command, line)


def test_a_long_path_does_not_cut_off_what_to_do(t):
    for length in (250, 550, 3500):
        path = os.path.join(t.scratch, *["d" * 100] * ((length - len(t.scratch)) // 101))
        file, none = os.path.join(path, "file"), os.path.join(path, "none")
        os.makedirs(path, exist_ok=True)
        with open(file, "w", encoding="utf-8"):
            pass
        for command in (("report",), ("ps",), ("owners",), ("doctor",), ("export",),
                        ("trace", "-s", "1")):
            result = t.run(t.twshim, *command, shim=False, status=1, env={"TWSHIM_DIR": file})
            assert result.stderr.endswith(b"with TWSHIM_DIR\n"), (command, length, result.stderr)
        for command in READERS:
            result = t.run(t.twshim, *command, "--dir", none, shim=False, status=1)
            assert result.stderr.endswith(b"as TWSHIM_DIR\n"), (command, length, result.stderr)
        result = t.run(t.twshim, "run", "-c", none, "--", "true", shim=False, status=125)
        assert result.stderr.endswith(b"name a readable policy file\n"), result.stderr


def test_what_fails_says_what_to_do(t):
    """One of each kind of error that once had no cure."""
    root = os.path.join(t.scratch, "root")
    system = os.path.join(root, "etc/systemd/system")
    os.makedirs(os.path.join(root, "bin"))
    os.makedirs(system)
    shutil.copy("/bin/true", os.path.join(root, "bin/true"))
    shutil.copy(t.library, os.path.join(root, "libtwshim.so"))
    with open(os.path.join(system, "a.service"), "w", encoding="utf-8") as unit:
        unit.write("[Service]\nExecStart=/bin/true\n")
    with open(os.path.join(system, "a.service.d"), "w", encoding="utf-8"):
        pass  # in the place of a directory
    rules = ("-p", "close=keep") * 65
    for arguments, status, cure in (
            (("doctor", "a", "b"), 2, "see twshim doctor --help"),
            (("env", *rules), 2, "leave some out"), (("run", *rules, "true"), 125, "leave some out"),
            (("policy", "check", *rules), 2, "leave some out"),
            (("export", "-o", os.path.join(t.scratch, "no/file")), 1, "name a file (--textfile)"),
            (("enable", "--root", root, "--restart", "a"), 2, "leave one of them out"),
            (("disable", "--root", root, "--restart", "a"), 2, "leave one of them out"),
            (("disable", "a.socket"), 1, "twshim enabled lists"),
            (("enabled", "--root", root + "/none"), 2, "name the top directory of an image"),
            (("enable", "--root", root, "--library", "/libtwshim.so", "a"), 1,
             "Not a directory: mend that")):
        result = t.run(t.twshim, *arguments, shim=False, status=status)
        _one_line(result, cure)
    result = t.run(t.twshim, "run", "-o", "/dev/full", "true", shim=False)
    assert b"twshim report still shows" in result.stderr, result


def test_output_that_cannot_be_written_is_a_failure_with_its_reason(t):
    with open("/dev/full", "wb") as full:
        for arguments in (("report",), ("report", "--json"), ("policy", "show"),
                          ("policy", "show", "--json"), ("policy", "settings"),
                          ("policy", "settings", "--json"), ("policy", "clear"),
                          ("policy", "check", "-p", "close=keep"), ("policy", "--help"),
                          ("policy", "load", "--help")):
            result = t.run(t.twshim, *arguments, shim=False, status=1, stdout=full)
            [line] = result.stderr.decode().splitlines()
            assert "No space left on device" in line, (arguments, line)


def test_a_page_that_cannot_be_written_is_not_said_to_be_there(t):
    result = t.run(t.twshim, "run", "--html", "/dev/full", "--", "true", shim=False)
    assert b"No space left" in result.stderr and b"the page is in" not in result.stderr, result


def test_report_of_one_application_or_pid(t):
    server = t.server()
    process = t.start(*_client(t, server, "socket", "connect", "send:1", "recv"), "sleep:60000")
    server.wait("bytes", 1)
    t.run(sys.executable, "-c", "import socket, sys\ns = socket.create_connection((sys.argv[1], "
          "int(sys.argv[2])))\ns.close()", ADDRESS, str(server.port))
    wait_for(lambda: t.report()["total"]["attempts"] == 2, "both are there")
    only = t.report("client")
    assert [a["app"] for a in only["apps"]] == ["client"], only["apps"]
    assert only["total"]["attempts"] == 1, only["total"]
    by_pid = t.report(str(process.pid))
    assert [a["app"] for a in by_pid["apps"]] == ["client"], by_pid["apps"]


def test_report_of_what_nobody_knows_is_a_failure_that_says_so(t):
    server = t.server()
    t.run(*_client(t, server))
    page = os.path.join(t.scratch, "page.html")
    for subject, says in (("cleint", "nothing is known about this application: did you mean client?"),
                          ("no\x1b[31msuch", "twshim report shows all known ones"),
                          ("1", "nothing is known about this process: twshim ps lists")):
        for options in ((), ("--json",), ("--html", page)):
            result = t.run(t.twshim, "report", *options, subject, shim=False, status=1)
            [line] = result.stderr.decode().splitlines()
            assert line.startswith("twshim: report: ") and says in line, line
            assert not result.stdout and "\x1b" not in line and not os.path.exists(page), result
    assert b"client" in t.run(t.twshim, "report", "client", shim=False).stdout


def test_unknown_commands_and_options_are_usage_errors(t):
    for arguments in (("nonsense",), ("report", "--nonsense"), ("policy",), ("policy", "nonsense"),
                      ("report", "a", "b")):
        result = t.run(t.twshim, *arguments, shim=False, status=2)
        lines = result.stderr.decode().splitlines()
        assert len(lines) >= 1 and lines[0].startswith("twshim: "), result


def test_every_command_has_help(t):
    text = t.run(t.twshim, "--help", shim=False).stdout.decode()
    commands = re.findall(r"^  (\w+)  ", text, re.M)
    assert {"run", "env", "report", "policy"} <= set(commands), text
    for command in commands:
        result = t.run(t.twshim, command, "--help", shim=False)
        assert b"Usage: twshim" in result.stdout and result.stderr == b"", (command, result)


def test_nothing_works_differently_under_an_unwritable_tmp(t):
    server = t.server()
    report = t.twshim_run(*_client(t, server), env={"TMPDIR": "/nonexistent"})
    t.counters(report, attempts=1, established=1, ended_local_fin=1)


def test_twshim_alone_on_a_terminal_shows_the_verdict_and_what_to_do_next(t):
    """Elsewhere it stays an error: a script that forgot the command must not go on."""
    t.run(t.twshim, shim=False, status=2)
    server = t.server()
    t.run(*_client(t, server))
    leader, terminal = os.openpty()
    process = t.start(t.twshim, shim=False, stdout=terminal)
    os.close(terminal)
    said = b""
    try:
        while chunk := os.read(leader, 65536):
            said += chunk
    except OSError:  # EIO: it has ended
        pass
    os.close(leader)
    assert process.wait(20) == 0
    said = said.decode()
    assert "Harmless: 1 TIME_WAIT socket;" in said or "pressure" in said, said  # a busy machine
    assert "twshim doctor" in said, said
    assert f"1  client to {ADDRESS}:{server.port}" in said, said


# --------------------------------------------------------------- conditions of a test

def test_a_condition_that_holds_makes_a_command_that_succeeded_fail(t):
    server, junit = t.server(), os.path.join(t.scratch, "junit.xml")
    command = ("--", *_client(t, server))
    for bad in ("time_wait>0", "time_wait=1", "attempts>=1", "established", "open!=1", "failed_no_port<1"):
        result = _run(t, "--fail-if", bad, "-q", *command, status=124)
        assert b"--fail-if '" + bad.encode() in result.stderr, result
    for good in ("time_wait>1", "failed_no_port", "tw104", "attempts<1", "open!=0"):
        assert _run(t, "--fail-if", good, "-q", *command).stderr == b"", good
    # What the command says goes first, and every condition is in the file.
    script = f"{' '.join(command[1:])}; exit 7"
    _run(t, "--fail-if", "attempts", "--fail-if", "failed_no_port", "--junit", junit, "-q", "--", "sh", "-c",
         script, status=7)
    suite = xml.etree.ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3", "2"), suite.attrib
    failed = {case.get("name"): case.find("failure") for case in suite}
    assert failed["failed_no_port"] is None, failed
    assert failed["attempts"].get("message") == "attempts is 1", failed


def test_findings_are_conditions_too(t):
    result = t.twshim_run("sh", "-c", f"for i in $(seq 60); do {' '.join(_client(t, t.server()))}; done")
    found = {finding["id"] for finding in result["advice"]}
    assert found, result
    for name in found:
        server = t.server()
        loop = f"for i in $(seq 60); do {' '.join(_client(t, server))}; done"
        _run(t, "-q", "--fail-if", name, "--", "sh", "-c", loop, status=124)


def test_a_condition_that_nobody_can_judge_stops_before_the_command_starts(t):
    for bad, word in (("time_wiat>1", "did you mean time_wait?"), ("time_wait>", "as in 'time_wait>100'"),
                      ("time_wait=>1", "as in"), (">1", "as in"), ("attempts>x", "as in"),
                      ("TW201", "twshim doctor")):
        _one_line(_run(t, "--fail-if", bad, "--", "true", status=125), "--fail-if", word)
    _one_line(_run(t, "--junit", "/nonexistent/file", "--", "true", status=125), "--junit")


# ------------------------------------------------------------ an experiment in one line

def test_an_experiment_of_one_line_ends_in_a_sentence(t):
    server = t.server()
    script = f"for i in $(seq 60); do {' '.join(_client(t, server))}; done"
    rule = f"close=fin-reset,to={ADDRESS}:{server.port}"
    said = " ".join(_run(t, "--experiment", rule, "--", "sh", "-c", script).stderr.decode().split())
    found = re.search(r'Of 60 connections, (\d+) were "treated": TIME_WAIT left by 100 % -> 0 % '
                      r"\(95 % sure: -100.0 to -[\d.]+ percentage points\); failures 0 and 0; "
                      r"latency of connect\(\): ", said)
    assert found and 0 < int(found.group(1)) < 60, said
    marked = _run(t, "--experiment", rule, "--markdown", "--", "sh", "-c", script).stderr.decode()
    assert marked.startswith("Of 60 connections, "), marked
    assert "| measure | unchanged | treated |" in marked and "\n| TIME_WAIT left | 100 % | 0 % |" in marked, marked


def test_an_experiment_of_one_line_that_cannot_be_run_says_why(t):
    conf = t.file("two.conf", 'experiment = { arms = ( { name = "a"; }, { name = "b"; } ); };\n')
    for options, word in ((("--experiment", "close=sideways"), "close"),
                          (("--experiment", "close=fin-reset,sample=5"), "sample may not stand in an experiment"),
                          (("--experiment", "close=fin-reset", "-c", conf), "two experiments")):
        result = _run(t, *options, "--", "true", status=125).stderr.decode()
        assert result.startswith("--experiment:1: ") and word in result, result


def test_run_does_not_wake_up_for_each_socket_that_ends(t):
    """The kernel tells of the sockets of all programs. It kept a third of a core busy."""
    many, trace = 20000, os.path.join(t.scratch, "trace")
    sysctl("net.ipv4.tcp_tw_reuse", 1)
    t.run("strace", "-o", trace, "-e", "trace=poll,ppoll", t.twshim, "run", "-o", "/dev/null", "--",
          t.prog("cycle"), ADDRESS, str(many), "1", shim=False)
    with open(trace, encoding="utf-8") as file:
        wakes = file.read().count("poll(")
    assert 0 < wakes < many / 20, wakes
