# SPDX-License-Identifier: MIT
"""The programs of tests/progs themselves leave nothing behind."""
import os
import signal
import subprocess

from harness import ADDRESS, kernel_sockets, wait_for

LISTEN = 10
# The child calls prctl(PR_SET_PDEATHSIG) long after its parent has ended.
LATE = ("strace", "-f", "-o", "/dev/null", "-e", "trace=prctl", "-e",
        "inject=prctl:delay_enter=300000")


def test_no_server_outlives_the_program_that_failed_before_it_began(t):
    t.need("strace")
    for command, limit in (
            (("paired", ADDRESS, "1", "1", "1", os.path.join(t.scratch, "none.so"), t.dir), ""),
            (("cycle", ADDRESS, "100", "8"), "ulimit -n 4;")):  # for some thread there is none
        process = t.start(*LATE, "sh", "-c", f'{limit} exec "$@"', "sh", t.prog(command[0]),
                          *command[1:], shim=False, stderr=subprocess.PIPE)
        assert process.stderr.readline().startswith(command[0].encode())
        wait_for(lambda: not kernel_sockets(LISTEN), f"the server of {command[0]} is gone", 10)
        assert process.wait(10) == 1


def test_the_demo_server_ends_with_the_shell_that_was_killed_before_it_began(t):
    t.need("strace")
    script = f"{t.prog('demo_server')} {ADDRESS} $$ & kill -KILL $$"
    process = t.start(*LATE, "sh", "-c", script, shim=False, stdout=subprocess.PIPE)
    assert process.stdout.read() == b"", "it listens"  # strace ends when all that it traces has
    process.wait(10)


def test_no_case_of_the_lab_outlives_a_lab_that_was_killed_before_it_began(t):
    t.need("strace")
    log = os.path.join(t.scratch, "strace")
    process = t.start("strace", "-f", "-o", log, "-e", "trace=prctl,unshare", "-e",
                      "inject=prctl:delay_enter=3000000", t.twshim, "lab", "close", shim=False,
                      stdout=subprocess.DEVNULL)

    def children(pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return file.read().split()
    wait_for(lambda: children(process.pid) and children(children(process.pid)[0]), "a case")
    os.kill(int(children(process.pid)[0]), signal.SIGKILL)
    process.wait(60)
    with open(log, encoding="utf-8") as file:
        said = file.read()
    assert "PR_SET_PDEATHSIG" in said and "unshare" not in said, said
