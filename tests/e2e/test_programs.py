# SPDX-License-Identifier: MIT
"""The programs of tests/progs themselves: what they leave behind."""
import os
import subprocess

from harness import ADDRESS, kernel_sockets, wait_for

LISTEN = 10
# A child comes to its prctl(PR_SET_PDEATHSIG) when its parent has long failed.
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
