# SPDX-License-Identifier: MIT
"""`twshim exec`: becomes a program that a supervisor observes. The program finds the process as it
would be without, whatever goes wrong; what is counted is held against the server's count."""
import os
import re
import shutil
import signal
import socket
import subprocess

from harness import ADDRESS, TIME_WAIT, Skip, kernel_sockets, settle, wait_for
from test_supervisor import as_nobody, compiled_seccomp, go_client, observers
from test_watch import MANY, STEPS, compiled

FIN_RESET = ("-p", "close=fin-reset")


def exec_words(t, *options):
    """`twshim exec ... --`, and as which users it is tried."""
    return (t.twshim, "exec", *options, "--")


def run_observed(t, *command, options=(), start=(), **more):
    """The report, once the supervisor has ended."""
    t.result = t.run(*start, *exec_words(t, *options), *command, shim=False, **more)
    said = t.result.stderr.decode()
    if "user notification" in said:
        raise Skip(said)
    wait_for(lambda: not observers(), "the supervisor has ended with its program")
    return t.report()


def own(t, uid):
    """Root's or nobody's turn: what begins the command. The directory is emptied."""
    for name in os.listdir(t.dir):
        os.unlink(os.path.join(t.dir, name))
    if uid:
        return as_nobody(t)
    os.chown(t.dir, 0, 0)
    return ()


def check(t, report, server, **expected):
    """One process, which the supervisor alone observed. What passed while the machine was too busy
    for the supervisor is counted as unobserved."""
    assert [a["observed_by"] for a in report["apps"]] == [{"shim": 0, "bpf": 0, "supervisor": 1}], report
    missed, made = report["total"]["unobserved"], expected["attempts"]
    assert missed < made / 2, report["total"]
    less = {k: v - missed if v == made else v for k, v in expected.items()}
    t.counters(report, unobserved=missed, **less)
    if not missed:
        t.accounted(report, server)
    return made - missed


def test_static_programs_of_both_libraries_are_counted_as_root_and_as_nobody(t):
    for compiler in ("gcc", "musl-gcc"):
        client = compiled(t, compiler)
        for uid in (0, 65534):
            server, start = t.server(), own(t, uid)
            report = run_observed(t, client, ADDRESS, str(server.port), *STEPS, f"repeat:{MANY}",
                                  start=start)
            assert t.result.stderr == b"", t.result.stderr
            check(t, report, server, attempts=MANY, established=MANY, ended_local_fin=MANY,
                  bytes_sent=MANY, bytes_received=MANY)


def test_a_go_program_is_counted_and_its_policy_leaves_no_time_wait(t):
    program = go_client(t)
    policy = t.file("policy.conf", 'rules = ({ name = "r"; close = "fin-reset"; });\n')
    for options, ending in (((), "ended_local_fin"), (FIN_RESET, "ended_fin_reset"),
                            (("-c", policy), "ended_fin_reset")):
        server, start = t.server(), own(t, 65534)
        report = run_observed(t, program, "dial", server.to, options=options, start=start)
        seen = check(t, report, server, attempts=MANY, established=MANY, **{ending: MANY})
        assert len(kernel_sockets(TIME_WAIT, server.port)) == MANY - (seen if options else 0)
        assert [(r["rule"], r["matched"]) for r in report["rules"]] == \
            ([("r" if options[0] == "-c" else "rule 1", seen)] if options else []), report["rules"]


def test_what_it_starts_is_observed_too_and_the_shim_counts_its_own(t):
    server, client = t.server(), compiled(t, "gcc")
    steps = f"{ADDRESS} {server.port} {' '.join(STEPS)}"
    report = run_observed(t, "sh", "-c", f"{client} {steps} repeat:30; LD_PRELOAD={t.library} "
                          f"{t.prog('client')} {steps} repeat:20; {client} {steps}")
    t.counters(report, attempts=51, established=51, ended_local_fin=51)
    t.accounted(report, server)
    assert {a["app"]: a["observed_by"] for a in report["apps"]} == {
        "client": {"shim": 1, "bpf": 0, "supervisor": 0},
        "client-gcc": {"shim": 0, "bpf": 0, "supervisor": 2}}, report["apps"]


# ---------------------------------------------------------------- the program as it would be

LOOK = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv) {
    char line[256], path[99], to[256];
    FILE *status = fopen("/proc/self/status", "re");
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    struct rlimit files;
    for (int i = 0; i < argc; i++) printf("[%s]", argv[i]);
    for (char **at = environ; *at; at++) if (strncmp(*at, "_=", 2)) printf("\n%s", *at);
    printf("\npid %d parent %d group %d session %d\n", getpid(), getppid(), getpgrp(), getsid(0));
    printf("child %d", (int)wait(NULL)); printf(" %s\n", strerror(errno));
    while (fgets(line, sizeof(line), status))
        if (!strncmp(line, "Sig", 3) || !strncmp(line, "Shd", 3) || !strncmp(line, "Cap", 3)
            || !strncmp(line, "Uid", 3) || !strncmp(line, "Threads", 7)) {
            if (strncmp(line, "SigQ", 4)) printf("%s", line);
        }
    fclose(status);
    while ((entry = readdir(dir))) {
        if (*entry->d_name == '.' || atoi(entry->d_name) == dirfd(dir)) continue;
        snprintf(path, sizeof(path), "/proc/self/fd/%s", entry->d_name);
        to[readlink(path, to, sizeof(to) - 1)] = 0;
        printf("%s %s\n", entry->d_name, to);
    }
    getrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_GET_NAME, line);
    printf("%s %lu %d %d\n", line, files.rlim_cur, (int)prctl(PR_GET_DUMPABLE),
           (int)prctl(PR_GET_PDEATHSIG, &argc) + argc);
    return 7;
}
"""


def looker(t):
    """A static program that prints all that it finds in its process, and ends with 7."""
    t.need("gcc")
    path = os.path.join(t.scratch, "look")
    t.run("gcc", "-w", "-static", "-o", path, t.file("look.c", LOOK), shim=False)
    return path


# Becomes its arguments with signals blocked and ignored, standard input closed and a descriptor more.
ODD = """import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGUSR2])
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if sys.argv[1] == "ignored": signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.kill(os.getpid(), signal.SIGUSR2)
os.close(0)
os.dup2(os.open(sys.argv[2], os.O_RDONLY), 77)
os.execv(sys.argv[3], sys.argv[3:])
"""


def test_the_program_finds_everything_as_it_would_be_without(t):
    program = looker(t)
    def look(*words):
        process = t.start("/usr/bin/python3", odd, how, odd, *words, shim=False, env={"MORE": "a b"},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 7 and err == b"", (process.returncode, err)
        said = re.sub(r"pipe:\[\d+\]", "a pipe", out.decode())
        return said.replace(f"pid {process.pid} ", "the pid ").splitlines()
    odd = t.file("odd.py", ODD)
    for how in ("default", "ignored"):
        bare = look(program, "a", "b c", "")
        assert any(line.startswith("the pid ") for line in bare), bare
        assert look(*exec_words(t), program, "a", "b c", "") == bare
        assert look(*exec_words(t, *FIN_RESET), program, "a", "b c", "") == bare
        named = look(*exec_words(t, "--argv0", "another"), program, "a", "b c", "")
        assert named[0] == "[another][a][b c][]" and named[1:] == bare[1:], named


def test_a_signal_reaches_the_program_and_the_supervisor_ends_with_it(t):
    server, client = t.server("silent"), compiled(t, "gcc")
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = t.start(*exec_words(t), client, ADDRESS, str(server.port), "socket", "connect",
                          "send:1", "sleep:60000", shim=False)
        server.wait("accepted", 1)
        assert len(observers()) == 2, observers()
        process.send_signal(number)
        assert process.wait(30) == -number
        wait_for(lambda: not observers(), "supervisor and keeper have ended")
        server = t.server("silent")
    report = t.report()
    t.counters(report, attempts=2, established=2, ended_local_fin=2)


def test_the_service_manager_hears_the_programs_own_process(t):
    t.need("gcc")
    source = t.file("notify.c", """#include <string.h>
        #include <stdlib.h>
        #include <sys/socket.h>
        #include <sys/un.h>
        int main(void) {
            struct sockaddr_un to = {.sun_family = AF_UNIX};
            strcpy(to.sun_path, getenv("NOTIFY_SOCKET"));
            return sendto(socket(AF_UNIX, SOCK_DGRAM, 0), "READY=1", 7, 0, (void *)&to, sizeof(to)) != 7;
        }""")
    program, path = os.path.join(t.scratch, "notify"), os.path.join(t.scratch, "notify.sock")
    t.run("gcc", "-w", "-static", "-o", program, source, shim=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        manager.bind(path)
        process = t.start(*exec_words(t), program, shim=False, env={"NOTIFY_SOCKET": path})
        assert process.wait(30) == 0
        manager.settimeout(30)
        data, control, _, _ = manager.recvmsg(100, 100)
    assert data == b"READY=1"
    assert int.from_bytes(control[0][2][:4], "little") == process.pid, (control, process.pid)


# ------------------------------------------------------------------------ it harms nobody

def test_no_connect_fails_whoever_is_killed_beside_the_program(t):
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../progs/steady.c")
    program = os.path.join(t.scratch, "steady")
    t.need("gcc")
    t.run("gcc", "-w", "-static", "-D_GNU_SOURCE", "-o", program, source, shim=False)
    for name in ("twshim-observer", "twshim-keeper"):
        server = t.server()
        process = t.start(*exec_words(t), program, ADDRESS, str(server.port), shim=False,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        server.wait("accepted", 100)
        for pid in observers():
            with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                if file.read() == name + "\n":
                    os.kill(pid, signal.SIGKILL)
        server.wait("accepted", server.counts["accepted"] + 100)
        process.stdin.close()
        connects, failed, _ = map(int, process.stdout.readline().split())
        assert failed == 0 and connects == server.counts["accepted"], (connects, failed)
        assert process.wait(30) == 0
        wait_for(lambda: not observers(), "supervisor and keeper have ended")


# Forbids a system call before it becomes its arguments: by an error, or by death.
FILTERED = """#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, atoi(argv[1]), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, *argv[2] == 'k' ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {4, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 99;
    execv(argv[3], argv + 3);
    return 98;
}"""


def test_under_a_filter_of_system_calls_the_program_is_started_all_the_same(t):
    """Whatever the filter forbids of what a supervisor needs, with an error or by death."""
    t.need("gcc")
    program, outer = looker(t), os.path.join(t.scratch, "filtered")
    t.run("gcc", "-w", "-static", "-o", outer, t.file("filtered.c", FILTERED), shim=False)
    calls = {"seccomp": 317, "socketpair": 53, "pidfd_open": 434, "setsid": 112, "netlink": 41,
             "epoll_create1": 291, "close_range": 436}
    if os.uname().machine != "x86_64":
        raise Skip("the numbers are those of x86-64")
    for name, number in calls.items():
        for how in ("error", "kill"):
            if how == "kill" and name == "socketpair":
                continue  # the process's own call, before it can try anything
            said = t.run(outer, str(number), how, *exec_words(t), program, shim=False, status=7)
            lines = said.stderr.decode().splitlines()
            if name in ("setsid", "close_range") and how == "error":
                continue  # goes without
            assert len(lines) == 1 and "started without being observed" in lines[0], (name, how, lines)
            wait_for(lambda: not observers(), "nothing is left")


def test_where_it_cannot_be_observed_the_program_is_started_as_it_is(t):
    program, start = compiled_seccomp(t), as_nobody(t)
    inner = shutil.copy(t.twshim, os.path.join(t.scratch, "inner"))
    def said(*words, begin=start, **env):
        result = t.run(*begin, *words, shim=False, env=env)
        lines = result.stderr.decode().splitlines()
        assert len(lines) == 1, lines
        return result.stdout, lines[0]
    mode, line = said(*exec_words(t), program, TWSHIM_DIR="/proc/no-such")
    assert mode == b"0\n" and "started without being observed: /proc/no-such" in line, line
    mode, line = said(*exec_words(t), program, TWSHIM_DISABLED="1")
    assert mode == b"0\n" and "TWSHIM_DISABLED" in line, line
    mode, line = said(*exec_words(t), inner, "exec", "--", program)
    assert mode == b"2\n" and "it has a filter of this kind already" in line, line
    os.chmod(program, 0o4755)
    mode, line = said(*exec_words(t), program)
    assert mode == b"0\n" and "set-user-ID" in line, line


def test_a_wrong_policy_does_not_keep_the_program_from_starting(t):
    server, client = t.server(), compiled(t, "gcc")
    report = run_observed(t, client, ADDRESS, str(server.port), *STEPS, "repeat:5",
                          options=("-p", "close=sideways"))
    first, second = t.result.stderr.decode().splitlines()
    assert first.startswith("-p:1: close") and "is started without it" in second, t.result.stderr
    check(t, report, server, attempts=5, established=5, ended_local_fin=5)


def test_what_cannot_be_executed_has_the_exit_status_that_shells_give_it(t):
    text = t.file("text", "hello\n")
    for words, status, why in (((os.path.join(t.scratch, "gone"),), 127, b"not found"),
                               (("no-such-command",), 127, b"not found in PATH"),
                               ((t.scratch,), 126, b"directory"), ((text,), 126, b"chmod +x"),
                               ((), 125, b"COMMAND is missing")):
        said = t.run(*exec_words(t), *words, shim=False, status=status).stderr
        assert why in said and said.count(b"\n") <= 2, said
    t.run(t.twshim, "exec", "--no-such", "--", "true", shim=False, status=125)
    wait_for(lambda: not observers(), "nothing is left")


def test_the_counts_belong_to_the_run_that_the_environment_names(t):
    server, client = t.server(), compiled(t, "gcc")
    tag = "0123456789abcdef0123456789abcdef"
    run_observed(t, client, ADDRESS, str(server.port), *STEPS, env={"TWSHIM_RUN": tag})
    settle(server.port)
    t.counters(t.report("--run", tag), attempts=1, established=1, ended_local_fin=1)
    t.counters(t.report("--run", tag[::-1]), attempts=0)
