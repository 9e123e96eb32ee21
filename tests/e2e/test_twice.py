# SPDX-License-Identifier: MIT
"""Root's `run`: the shim counts the programs that it reaches and the kernel the others, so that nothing is
counted twice and nothing is left out. Each program says by itself how many attempts it makes."""
import os
import subprocess

from harness import ADDRESS, Skip, wait_for
from test_policy import _netstat
from test_ways_in import _Full

MANY = 20
HEAD = """
#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
static int to(int fd, const char *address, int port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, address, &in.sin_addr);
    return connect(fd, (struct sockaddr *)&in, sizeof(in));
}
static int tcp(void) { return socket(AF_INET, SOCK_STREAM, 0); }
"""

FIRST_THREAD_ENDS = HEAD + """
static void *others(void *main_thread)
{
    pthread_join(*(pthread_t *)main_thread, NULL);
    for (int i = 0; i < %(many)d; i++) { int fd = tcp(); to(fd, "%(address)s", %(port)d); close(fd); }
    _exit(0);
}
int main(void)
{
    static pthread_t self, other;
    self = pthread_self();
    pthread_create(&other, NULL, others, &self);
    pthread_exit(NULL);
}
"""

# A child connects a socket that it is handed, and ends.
HANDED = HEAD + """
int main(void)
{
    for (int i = 0; i < %(many)d; i++) {
        union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control;
        char byte = 0;
        struct iovec part = {&byte, 1};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                                 .msg_controllen = sizeof(control)};
        int pair[2], fd = -1;
        memset(&control, 0, sizeof(control));
        socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
        if (!fork()) {
            recvmsg(pair[1], &message, 0);
            memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
            to(fd, "%(address)s", %(port)d);
            close(fd);
            _exit(0);
        }
        fd = tcp();
        control.head = (struct cmsghdr){CMSG_LEN(sizeof(fd)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
        sendmsg(pair[0], &message, 0);
        close(fd); close(pair[0]); close(pair[1]);
        wait(NULL);
    }
}
"""

# The child was handed the socket past the shim, which learns of it after the call.
HANDED_UNSEEN = HANDED.replace("recvmsg(pair[1], &message, 0)",
                               "syscall(SYS_recvmsg, pair[1], &message, 0)") \
                      .replace("#include <unistd.h>", "#include <sys/syscall.h>\n#include <unistd.h>")

# A child that shares memory and descriptors connects, and its maker closes.
CLONED = HEAD + """
#include <sched.h>
#include <signal.h>
static int fd;
static char stack[65536];
static int child(void *unused) { fd = tcp(); return to(fd, "%(address)s", %(port)d); }
int main(void)
{
    usleep(30000); /* so that the child's start time in ticks is another */
    for (int i = 0; i < %(many)d; i++) {
        waitpid(clone(child, stack + sizeof(stack), CLONE_VM | CLONE_FILES | SIGCHLD, NULL), NULL, 0);
        close(fd);
    }
}
"""

# The second call is an attempt, and fails before its SYN; the first names no place to go.
NO_ROUTE = HEAD + """
int main(void)
{
    for (int i = 0; i < %(many)d; i++) {
        struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/nowhere"};
        int fd = tcp();
        connect(fd, (struct sockaddr *)&un, sizeof(un));
        to(fd, "203.0.113.9", 80);
        close(fd);
    }
}
"""

# A daemon, which ends with its standard input.
DAEMON = HEAD + """
int main(void)
{
    char byte;
    int fd;
    if (fork()) return 0;
    setsid();
    fd = tcp();
    close(1); close(2);
    read(0, &byte, 1);
}
"""


def _built(t, source, port, *options):
    program = os.path.join(t.scratch, "odd")
    text = source % {"many": MANY, "address": ADDRESS, "port": port}
    t.run("gcc", "-w", "-pthread", "-D_GNU_SOURCE", *options, "-o", program, t.file("odd.c", text), shim=False)
    return program


def _run(t, source, *options):
    """The report of a program, compiled in this way, and the server that it may connect to."""
    if os.geteuid() != 0:
        raise Skip("the kernel is asked by root")
    server = t.server()
    return t.twshim_run(_built(t, source, server.port, *options)), server


def _check_by_shim(t, report, server):
    t.counters(report, attempts=MANY, established=MANY, ended_local_fin=MANY)
    t.accounted(report, server)
    assert [(a["app"], a["observed_by"]["bpf"]) for a in report["apps"]] == [("odd", 0)], report["apps"]


def test_a_process_whose_first_thread_has_ended_has_its_name_and_is_counted_once(t):
    _check_by_shim(t, *_run(t, FIRST_THREAD_ENDS))


def test_children_that_connect_a_socket_that_they_were_handed_are_counted_once(t):
    _check_by_shim(t, *_run(t, HANDED))


def test_children_that_share_memory_and_descriptors_are_counted_once_for_their_maker(t):
    for options, observer in (((), "shim"), (("-static",), "bpf")):
        report, server = _run(t, CLONED, *options)
        t.counters(report, attempts=MANY, established=MANY, ended_local_fin=MANY)
        t.accounted(report, server)
        assert [a["observed_by"][observer] for a in report["apps"]] == [1], report["apps"]


def test_what_fails_before_its_syn_is_counted_to_the_last_one_and_other_families_are_not(t):
    for options, observer in (((), "shim"), (("-static",), "bpf")):
        report, _ = _run(t, NO_ROUTE, *options)
        t.counters(report, attempts=MANY, failed_unreachable=MANY)
        assert [a["observed_by"][observer] for a in report["apps"]] == [1], report["apps"]


def test_of_what_a_run_leaves_it_says_who_observes_it_from_now_on(t):
    """The shim goes on; root's `run` asks the kernel only as long as it runs itself."""
    if os.geteuid() != 0:
        raise Skip("the kernel is asked by root")
    for options, says in (((), "twshim report shows them as well"), (("-static",), "twshim watch --pid ")):
        program = _built(t, DAEMON, 0, *options)
        run = t.start(t.twshim, "run", "--", program, shim=False, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert run.wait(20) == 0
        text = run.stderr.read().decode()
        run.stdin.close()
        assert "1 of its processes still runs: odd (" in text and says in text, text


# --------------------------------------------------------------------- calls that take long

def _total_of(process, path, t):
    assert process.wait(60) == 0
    with open(path, encoding="utf-8") as file:
        return t.read_report(file.read())["total"]


def _root_waits(t):
    if os.geteuid() != 0:
        raise Skip("the kernel is asked by root")
    return _Full(t), f"{t.scratch}/report.json"


def test_a_first_attempt_past_the_shim_shows_while_it_goes_on(t):
    full, path = _root_waits(t)
    process = t.start(t.twshim, "run", "--json", "-o", path, "--", t.prog("client"), ADDRESS, str(full.port),
                      "socket", "connect-raw", "close", shim=False)
    full.wait()
    wait_for(lambda: t.report()["total"]["connecting"] == 1, "the attempt shows")
    full.let()
    total = _total_of(process, path, t)
    assert total["attempts"] == total["established"] == 1, total


def test_a_first_attempt_past_the_shim_that_outlives_its_run_is_counted(t):
    full, path = _root_waits(t)
    process = t.start(t.twshim, "run", "--json", "-o", path, "--", "sh", "-c", '"$@" & read line; exit 0', "sh",
                      t.prog("client"), ADDRESS, str(full.port), "socket", "connect-raw", "close", shim=False,
                      stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    full.wait()
    process.stdin.close()
    total = _total_of(process, path, t)
    full.let()
    assert total["attempts"] == total["connecting"] == 1, total


def test_a_first_attempt_that_the_shim_sees_after_the_call_is_counted_once(t):
    full, path = _root_waits(t)
    program = _built(t, HANDED_UNSEEN.replace("%(many)d", "1"), full.port)
    before = _netstat("TCPSynRetrans")
    process = t.start(t.twshim, "run", "--json", "-o", path, "--", program, shim=False)
    wait_for(lambda: _netstat("TCPSynRetrans") >= before + 2, "its SYN is sent again")
    full.let()
    total = _total_of(process, path, t)
    assert total["attempts"] == total["established"] == 1, total
