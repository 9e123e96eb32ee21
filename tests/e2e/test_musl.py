# SPDX-License-Identifier: MIT
"""Programs of musl: its loader loads the same library, and they are counted as those of glibc are."""
import json
import os
import subprocess

import test_shared
import test_ways_in
import test_ways_out
from harness import ADDRESS
from test_watch import STEPS
from variants import observed_by, repeat, run_is_exact, use

repeat(globals(), "musl", test_ways_in, test_ways_out, test_shared)
# musl-gcc's own header has the lengths as 32 bits and padding, which this program fills.
PADDING = r"""
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    _Alignas(8) char control[CMSG_SPACE(sizeof(int))];
    struct cmsghdr *right = (void *)control;
    struct iovec byte = {"x", 1};
    struct msghdr message;
    int pair[2], fd = socket(AF_INET, SOCK_STREAM, 0);

    inet_pton(AF_INET, argv[1], &to.sin_addr);
    if (connect(fd, (void *)&to, sizeof(to)) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        return 1;
    memset(control, 0xee, sizeof(control));
    memset(&message, 0xee, sizeof(message));
    message.msg_name = 0, message.msg_namelen = 0;
    message.msg_iov = &byte, message.msg_iovlen = 1, message.msg_flags = 0;
    message.msg_control = control, message.msg_controllen = sizeof(control);
    right->cmsg_len = CMSG_LEN(sizeof(int));
    right->cmsg_level = SOL_SOCKET, right->cmsg_type = SCM_RIGHTS;
    memcpy(CMSG_DATA(right), &fd, sizeof(fd));
    return sendmsg(pair[0], &message, 0) != 1 || close(fd);
}
"""


def test_run_says_nothing_and_the_shim_counts(t):
    run_is_exact(t, "musl")


def test_a_policy_acts(t):
    use(t, "musl")
    server = t.server()
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:50",
                          options=("-p", "close=fin-reset"))
    t.counters(report, attempts=50, established=50, ended_fin_reset=50, policy_applied=50)
    t.time_wait_agrees(report, server, 0)


def test_in_a_tree_of_both_libraries_each_is_counted_once_and_no_loader_complains(t):
    glibc = t.prog("client")
    use(t, "musl")
    musl, server = t.prog("client"), t.server()
    to = f"{ADDRESS} {server.port} {' '.join(STEPS)}"
    script = f"{musl} {to}; {glibc} {to} repeat:20; {musl} {to} repeat:30 & env {musl} {to}; wait"
    report = t.twshim_run("sh", "-c", script)
    assert t.result.stderr == b"", t.result
    t.counters(report, attempts=52, established=52, ended_local_fin=52)
    t.accounted(report, server)
    assert observed_by(report) == 4


def test_a_connection_is_handed_over_between_the_libraries_at_exec(t):
    glibc = t.prog("client")
    use(t, "musl")
    ends = os.path.join(t.scratch, "ends")
    subprocess.run(["musl-gcc", "-o", ends, t.file("ends.c", "int main(void) { return 0; }\n")],
                   check=True)
    for first, second in ((t.prog("client"), "/bin/true"), (glibc, ends)):
        server = t.server()
        report = t.twshim_run(first, ADDRESS, str(server.port), *STEPS[:-1], "repeat:5",
                              f"exec:{second}")
        t.counters(report, attempts=5, established=5, ended_local_fin=5, adopted=5, open=0)
        t.accounted(report, server)


def test_a_right_is_seen_although_the_lengths_have_padding(t):
    t.need("musl-gcc")
    binary, server = os.path.join(t.scratch, "padding"), t.server()
    subprocess.run(["musl-gcc", "-w", "-o", binary, t.file("padding.c", PADDING)], check=True)
    report = t.twshim_run(binary, ADDRESS, str(server.port),
                          options=("-p", f"to={ADDRESS},close=reset"))
    t.counters(report, attempts=1, established=1, ended_local_fin=1, policy_skipped_shared=1)


def test_doctor_says_that_the_shim_reaches_it(t):
    use(t, "musl")
    said = t.run(t.twshim, "doctor", "--json", t.prog("client"), shim=False, status=None)
    [finding] = [f for f in json.loads(said.stdout)["findings"] if f["id"] == "TW301"]
    assert finding["verdict"] == "ok", finding
