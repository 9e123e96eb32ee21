# SPDX-License-Identifier: MIT
"""`twshim attach PID --inject`: a supervisor for a process that runs already. The process complains of
whatever it could notice, and its maps, descriptors and signals are compared before and after."""
import ctypes
import os
import shutil
import signal
import subprocess

from harness import ADDRESS, TIME_WAIT, Skip, kernel_sockets, wait_for
from test_supervisor import as_nobody, observers

HERE = os.path.dirname(os.path.abspath(__file__))
PTRACE_ATTACH, PTRACE_DETACH = 16, 17  # from sys/ptrace.h
PATIENT = ("sleep", "poll", "select", "epoll", "read", "accept", "suspend", "sums")


def need_ptrace(t):
    """Skips on other machines."""
    if os.uname().machine != "x86_64":
        raise Skip("only programs of x86-64 can be attached to")
    t.need("gcc")


class Attached:
    """The program tests/progs/attached.c, which waits in one way."""

    def __init__(self, t, way, start=(), linked="-static"):
        need_ptrace(t)
        self.t = t
        program = os.path.join(t.scratch, "attached" + linked)
        if not os.path.exists(program):
            t.run("gcc", "-w", "-O2", linked, "-pthread", "-D_GNU_SOURCE", "-o", program,
                  os.path.join(HERE, "../progs/attached.c"), shim=False)
        self.server = t.server()
        self.process = t.start(*start, program, way, ADDRESS, str(self.server.port), shim=False,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"
        self.pid = self.process.pid

    def state(self):
        """What must be the same before and after."""
        with open(f"/proc/{self.pid}/maps", encoding="utf-8") as file:
            maps = file.read()
        with open(f"/proc/{self.pid}/status", encoding="utf-8") as file:
            kept = [line for line in file if line.startswith(("Sig", "Shd", "Cap", "Uid", "TracerPid"))
                    and not line.startswith(("SigQ", "SigPnd", "ShdPnd"))]
        fds = {fd: os.readlink(f"/proc/{self.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{self.pid}/fd")}
        return maps, kept, fds

    def seccomp(self):
        """The modes of all threads."""
        modes = set()
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{thread}/status", encoding="utf-8") as file:
                modes |= {line.split()[1] for line in file if line.startswith("Seccomp:")}
        return modes

    def waits_in(self, number):
        """Waits until its main thread is in a system call."""
        def is_there():
            with open(f"/proc/{self.pid}/syscall", encoding="utf-8") as file:
                return file.read().split()[0] == str(number)
        wait_for(is_there, f"it is in system call {number}")

    def end(self):
        """Has it connect, and hears what it has to complain of."""
        self.process.send_signal(signal.SIGUSR1)
        said, complaints = self.process.communicate(timeout=60)
        assert said == b"0 0\n" and complaints == b"", (said, complaints)
        assert self.server.counts["accepted"] == 20


def attach(t, pid, *options, start=(), status=0):
    """`twshim attach`: what it prints."""
    said = t.run(*start, t.twshim, "attach", str(pid), "--inject", *options, shim=False, status=status)
    return said.stdout.decode(), said.stderr.decode()


def check(t, **expected):
    """The counts, once the supervisor has ended with the program."""
    wait_for(lambda: not observers(), "the supervisor has ended with its program")
    report = t.report()
    assert [a["observed_by"]["supervisor"] for a in report["apps"]] == [1], report["apps"]
    t.counters(report, attempts=20, established=20, **expected)


def clear(t):
    """Before another round."""
    for entry in os.scandir(t.dir):
        shutil.rmtree(entry.path) if entry.is_dir() else os.unlink(entry.path)


def test_a_process_notices_nothing_however_it_waits_and_is_counted_from_then_on(t):
    for way in PATIENT:
        for linked in ("-static", "-no-pie"):
            program = Attached(t, way, linked=linked)
            before = program.state()
            said, more = attach(t, program.pid)
            assert f"observes {program.pid} from now on" in said and more == "", (said, more)
            assert program.state() == before, way
            assert program.seccomp() == {"2"}
            program.end()
            check(t, ended_local_fin=20)
            clear(t)


def test_the_threads_of_a_process_notice_nothing(t):
    for _ in range(10):
        program = Attached(t, "threads")
        attach(t, program.pid)
        assert program.seccomp() == {"2"}
        program.end()
        check(t, ended_local_fin=20)
        clear(t)


def test_a_policy_acts_from_then_on(t):
    program = Attached(t, "sleep")
    attach(t, program.pid, "-p", "close=fin-reset")
    program.end()
    check(t, ended_fin_reset=20, policy_applied=20)
    assert not kernel_sockets(TIME_WAIT, program.server.port)


def test_an_ordinary_user_attaches_to_their_own_and_hears_what_it_costs(t):
    start = as_nobody(t)
    program = Attached(t, "read", start)
    before = program.state()
    _, more = attach(t, program.pid, start=start)
    assert "can't start sudo" in more, more
    assert program.state() == before
    program.end()
    check(t, ended_local_fin=20)


GO = """package main
import ("bufio"; "fmt"; "net"; "os"; "runtime"; "sync"; "time")
func main() {
	for i := 0; i < 50; i++ {
		go func() { for { s := make([]byte, 4000); s[1] = 1; time.Sleep(time.Millisecond); _ = s } }()
	}
	go func() { for { runtime.GC(); time.Sleep(10 * time.Millisecond) } }()
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\\n')
	var wait sync.WaitGroup
	failed := make(chan error, 1000)
	for i := 0; i < 10; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for j := 0; j < 20; j++ {
				c, err := net.Dial("tcp", os.Args[1])
				if err != nil { failed <- err; continue }
				c.Write([]byte("x"))
				c.Read(make([]byte, 1))
				c.Close()
			}
		}()
	}
	wait.Wait()
	fmt.Println(len(failed))
}
"""


def test_a_go_program_goes_on_and_is_counted(t):
    need_ptrace(t)
    t.need("go")
    program = os.path.join(t.scratch, "go-attached")
    t.run("go", "build", "-o", program, t.file("main.go", GO), shim=False, timeout=200,
          env={"HOME": t.scratch, "GOCACHE": os.path.join(t.scratch, "cache"), "GO111MODULE": "off"})
    for _ in range(5):
        server = t.server()
        process = t.start(program, server.to, shim=False, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        attach(t, process.pid)
        said, _ = process.communicate(b"go\n", timeout=60)
        assert said == b"0\n" and process.returncode == 0, said
        wait_for(lambda: not observers(), "the supervisor has ended with its program")
        t.counters(t.report(), attempts=200, established=200, ended_local_fin=200)
        clear(t)


# --------------------------------------------------------------------------- refusals

def test_a_process_that_must_not_be_stopped_now_is_left_alone(t):
    """In a write that would be cut short, and in code that makes no system call."""
    for way, number in (("send", 1), ("busy", None)):
        program = Attached(t, way)
        if number is not None:
            program.waits_in(number)
        before = program.state()
        _, said = attach(t, program.pid, status=1)
        assert "must not be interrupted" in said and said.count("\n") == 1, said
        assert program.state() == before and program.seccomp() == {"0"}
        wait_for(lambda: not observers(), "no supervisor is left")
        if way == "busy":
            program.end()
        else:
            program.process.kill()


def test_attach_refuses_what_is_not_to_be_attached_to(t):
    start = as_nobody(t)
    def refused(pid, why, begin=(), options=("--inject",), status=1):
        said = t.run(*begin, t.twshim, "attach", *([str(pid)] if pid else []), *options, shim=False,
                     status=status).stderr.decode()
        assert why in said and said.count("\n") == 1, said
    mine, theirs = Attached(t, "sleep"), Attached(t, "sleep", start)
    refused(theirs.pid, "not a process of your own user")
    refused(mine.pid, "not a process of your own user", start)
    refused(mine.pid, "--inject is missing", options=(), status=2)
    refused("x", "not the number of a process", status=2)
    refused(None, "PID is missing", status=2)
    refused(2 ** 22 + 1, "no such process")
    os.chown(t.dir, 0, 0)
    refused(mine.pid, "-p:1: close", options=("--inject", "-p", "close=sideways"))
    assert mine.seccomp() == theirs.seccomp() == {"0"}
    mine.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: os.waitid(os.P_PID, mine.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT), "it is stopped")
    refused(mine.pid, "it is stopped")
    mine.process.send_signal(signal.SIGCONT)
    shimmed = t.start("sleep", "60")
    def has_shim():
        with open(f"/proc/{shimmed.pid}/maps", encoding="utf-8") as file:
            return "/libtwshim.so" in file.read()
    wait_for(has_shim, "it has the shim")
    refused(shimmed.pid, "it has the shim")
    attach(t, mine.pid)
    refused(mine.pid, "has a filter of system calls already")
    mine.end()


def test_where_yama_forbids_it_attach_says_so_and_what_helps(t):
    """Another file is mounted in the place of Yama's, where the kernel may have none."""
    t.need("unshare")
    start = as_nobody(t)
    program = Attached(t, "sleep", start)
    inside = ("mount -t tmpfs none /proc/sys/kernel && mkdir /proc/sys/kernel/yama && "
              "echo $SCOPE > /proc/sys/kernel/yama/ptrace_scope && exec $COMMAND")
    def said(scope):
        command = " ".join((*start, t.twshim, "attach", str(program.pid), "--inject"))
        result = t.run("unshare", "-m", "sh", "-c", inside, shim=False, status=None,
                       env={"SCOPE": str(scope), "COMMAND": command})
        if b"mount:" in result.stderr:
            raise Skip(result.stderr)
        assert result.returncode == 1, result
        return result.stderr.decode()
    for scope in (1, 2):
        text = said(scope)
        assert f"ptrace_scope is {scope}" in text and "sysctl kernel.yama.ptrace_scope=0" in text, text
    assert "ptrace_scope is 3" in said(3)
    assert program.seccomp() == {"0"}
    attach(t, program.pid, start=start)
    program.end()
    check(t, ended_local_fin=20)


def test_a_process_that_is_traced_is_left_alone(t):
    t.need("strace")
    program = Attached(t, "sleep")
    tracer = t.start("strace", "-qq", "-o", "/dev/null", "-p", str(program.pid), shim=False)
    def is_traced():
        with open(f"/proc/{program.pid}/status", encoding="utf-8") as file:
            return f"TracerPid:\t{tracer.pid}\n" in file.read()
    wait_for(is_traced, "it is traced")
    _, said = attach(t, program.pid, status=1)
    assert f"process {tracer.pid} traces it" in said, said
    tracer.terminate()
    tracer.wait()
    # A tracer may also hold it in a stop of its own.
    ptrace = ctypes.CDLL(None).ptrace
    assert ptrace(PTRACE_ATTACH, program.pid, None, None) == 0
    os.waitid(os.P_PID, program.pid, os.WSTOPPED)
    _, said = attach(t, program.pid, status=1)
    assert f"process {os.getpid()} traces it" in said, said
    assert ptrace(PTRACE_DETACH, program.pid, None, None) == 0
    program.end()


def test_no_connect_fails_whoever_is_killed_after_it_was_attached(t):
    for name in ("twshim-observer", "twshim-keeper"):
        program = Attached(t, "sleep")
        attach(t, program.pid)
        for pid in observers():
            with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                if file.read() == name + "\n":
                    os.kill(pid, signal.SIGKILL)
        program.end()
        wait_for(lambda: not observers(), "supervisor and keeper have ended")
