# SPDX-License-Identifier: MIT
"""The tools of an end-to-end test.

Test      a run-time directory, processes, reports; everything it started ends with it
Server    a TCP server in a process of its own, whose counts are the truth
kernel    the kernel's tables, read from /proc, not through twshim
"""
import atexit
import ctypes
import errno
import json
import os
import random
import re
import selectors
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

ADDRESS = "10.77.0.1"
ADDRESS6 = "fd77::1"
TIME_WAIT, ESTABLISHED = 6, 1
SOURCE = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))


def defined(name, path):
    """The number that a header of the sources gives to a name."""
    with open(os.path.join(SOURCE, path), encoding="utf-8") as file:
        return int(re.search(rf"#define {name}\s+(\d+)", file.read()).group(1))


SERVE_PORT = defined("WEB_PORT", "tools/web/web.h")
ENDINGS = ("ended_local_fin", "ended_remote_fin", "ended_fin_reset", "ended_reset_policy",
           "ended_reset_app", "ended_reset_unread", "ended_reset_remote", "ended_unseen")
FAILURES = ("failed_refused", "failed_timed_out", "failed_unreachable", "failed_no_port",
            "failed_address_in_use", "failed_other", "abandoned")


def policy_slot(generation):
    """Where the image of a generation is in policy.ctl, and how long it may be."""
    return 4096 + generation % 2 * (256 << 10)


class Skip(Exception):
    """The test cannot be run here, and why."""


def is_sanitized(t):
    """Whether this build of twshim carries a sanitizer."""
    with open(t.twshim, "rb") as file:
        text = file.read()
    return b"__asan_init" in text or b"__tsan_init" in text


def skip_under_thread_sanitizer(t, why):
    """Skips a test that this build of twshim cannot pass because of ThreadSanitizer."""
    with open(t.twshim, "rb") as file:
        if b"__tsan_init" in file.read():
            raise Skip(f"under ThreadSanitizer {why}")


def how_it_ended(command, environment, returncode, expected):
    """The command with what twshim sees of its environment, ready to paste; for a death by signal
    also the gdb command that shows where it died."""
    ours = {k: v for k, v in environment.items() if k == "LD_PRELOAD" or k.startswith("TWSHIM")}
    before = " ".join(f"{k}={shlex.quote(v)}" for k, v in ours.items())
    words = shlex.join(str(word) for word in command)
    text = f"status {returncode}, not {expected}, of\n  {before} {words}"
    if returncode < 0:
        wrapper = shlex.quote(f"set exec-wrapper env {before}")
        text += f"\ndied of {signal.Signals(-returncode).name}; to see where:\n" \
                f"  gdb -ex {wrapper} -ex run -ex backtrace --args {words}"
    return text


def set_up_network():
    """Sets lo up, with addresses outside 127/8: the kernel treats loopback addresses differently."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", f"{ADDRESS}/24", "dev", "lo"], check=True)
    subprocess.run(["ip", "address", "add", f"{ADDRESS6}/64", "dev", "lo", "nodad"], check=False)
    # A stray RST would free a TIME_WAIT socket early, with and without the shim (RFC 1337; 82 of
    # 5,862 without it), and the kernel's table would show fewer than there were.
    sysctl("net.ipv4.tcp_rfc1337", 1)


def sysctl(name, value=None):
    """Reads or sets a sysctl of this network namespace."""
    path = "/proc/sys/" + name.replace(".", "/")
    if value is None:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    with open(path, "w", encoding="ascii") as file:
        file.write(str(value))
    return None


def wait_for(condition, what, seconds=20):
    """Polls until the condition holds; fails, naming it, if it never does."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"never came true: {what}")
        time.sleep(0.005)


def _bind_below(listener, address):
    """Binds to a free port below every ephemeral range of a test: a listener inside the range would
    take one of the ports that are counted."""
    for _ in range(100):
        try:
            listener.bind((address, random.randrange(10000, 20000)))
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise AssertionError("no free port from 10000 to 19999")


class Server:
    """One TCP server process.

    mode  echo      answers each piece of data with the same; closes when the client has
          first     answers once, then closes before the client does
          silent    reads and answers nothing
          unread    sends 1,000 bytes at once, and never reads
          reset     answers once, then resets (SO_LINGER {1,0})
          http      HTTP/1.0 answers; closes when the client has
          http11    HTTP/1.1 answers, keep-alive; closes when the client has
          http-close  HTTP/1.1 answers without a length; closes first, after each
          redis     answers each RESP command; closes when the client has
          late      answers each piece of data, and once more when the client has closed
          slow      small window, reads nothing until told (drain())
    """

    COUNTS = ("accepted", "eofs", "resets", "bytes")

    def __init__(self, mode="echo", address=ADDRESS, backlog=4096, files=None):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if mode == "slow":
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        _bind_below(self.listener, address)
        self.listener.listen(backlog)
        self.address, self.port = self.listener.getsockname()[:2]
        self.to = f"[{address}]:{self.port}" if family == socket.AF_INET6 \
            else f"{address}:{self.port}"
        self.control, inner = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self.control.close()
            os.closerange(3, min(inner.fileno(), self.listener.fileno()))
            try:
                _Serving(mode, self.listener, inner, files).run()
            finally:
                os._exit(0)
        inner.close()
        self.listener.close()
        self.lock = threading.Lock()

    def _ask(self, what):
        with self.lock:
            self.control.sendall(what)
            return struct.unpack("4Q", self.control.recv(32, socket.MSG_WAITALL))

    @property
    def counts(self):
        """{accepted, eofs, resets, bytes} so far."""
        return dict(zip(self.COUNTS, self._ask(b"?")))

    def drain(self):
        """A slow server reads from now on."""
        self._ask(b"d")

    def wait(self, name, value):
        """Waits until a count is reached."""
        wait_for(lambda: self.counts[name] >= value, f"server {name} = {value}")

    def close(self):
        """Ends the process."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.control.close()
            self.pid = 0


class _Serving:
    """The inside of a server's process."""

    def __init__(self, mode, listener, control, files):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        self.mode = mode
        self.counts = [0, 0, 0, 0]
        self.selector = selectors.DefaultSelector()
        self.listener = listener
        self.control = control
        self.held = []
        self.files = files  # the directory of HTTP answers; None: "hi" to all
        self.pending = {}  # by connection: the beginning of a request
        listener.setblocking(False)
        self.selector.register(listener, selectors.EVENT_READ, self.accept)
        self.selector.register(control, selectors.EVENT_READ, self.answer)

    def run(self):
        """Serves until killed, or until the test is gone."""
        while True:
            for key, _ in self.selector.select():
                key.data(key.fileobj)

    def answer(self, control):
        """Answers the test, which asks for the counts or says to drain."""
        what = control.recv(1)
        if not what:
            os._exit(0)
        if what == b"d":
            for conn in self.held:
                self.selector.register(conn, selectors.EVENT_READ, self.read)
            self.held = []
            self.mode = "silent"
        control.sendall(struct.pack("4Q", *self.counts))

    def accept(self, listener):
        """Accepts all waiting connections."""
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            self.counts[0] += 1
            conn.setblocking(False)
            if self.mode == "unread":
                conn.send(b"u" * 1000)
            if self.mode == "slow":
                self.held.append(conn)
            else:
                self.selector.register(conn, selectors.EVENT_READ, self.read)

    def read(self, conn):
        """Reads from one connection."""
        try:
            data = conn.recv(262144)
        except ConnectionResetError:
            self.counts[2] += 1
            self.drop(conn)
            return
        except BlockingIOError:
            return
        if not data:
            self.counts[1] += 1
            if self.mode == "late":
                conn.send(b"too late")
            self.drop(conn)
            return
        self.counts[3] += len(data)
        self.reply(conn, data)

    def reply(self, conn, data):
        """Answers as the mode says."""
        try:
            if self.mode in ("echo", "first", "reset", "late"):
                conn.send(data)
            elif self.mode.startswith("http"):
                self.answer_http(conn, data)
            elif self.mode == "redis":
                self.answer_redis(conn, data)
        except OSError:
            pass
        if self.mode == "reset":
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self.mode in ("first", "reset"):
            self.drop(conn)

    def answer_http(self, conn, data):
        """Answers each whole request; requests have no body."""
        data = self.pending.pop(conn, b"") + data
        while b"\r\n\r\n" in data:
            head, data = data.split(b"\r\n\r\n", 1)
            found, body = True, b"hi\n"
            if self.files is not None:
                path = head.split()[1].decode().split("?")[0].lstrip("/")
                found, body = self.content(os.path.join(self.files, path))
            status = b"200 OK" if found else b"404 Not Found"
            length = b"Content-Length: %d\r\n" % len(body)
            version, more = {"http": (b"1.0", length),
                             "http11": (b"1.1", length + b"Connection: keep-alive\r\n"),
                             "http-close": (b"1.1", b"Connection: close\r\n")}[self.mode]
            conn.setblocking(True)
            conn.sendall(b"HTTP/%s %s\r\n%s\r\n%s" % (version, status, more, body))
            conn.setblocking(False)
            if self.mode == "http-close":
                self.drop(conn)
                return
        self.pending[conn] = data

    @staticmethod
    def content(path):
        """(found, the file's content)."""
        try:
            with open(path, "rb") as file:
                return True, file.read()
        except OSError:
            return False, b"no such file\n"

    def answer_redis(self, conn, data):
        """Answers each whole command, which is an array of strings."""
        answers = {b"PING": b"+PONG\r\n", b"CONFIG": b"*2\r\n$4\r\nsave\r\n$0\r\n\r\n"}
        data = self.pending.pop(conn, b"") + data
        while True:
            head = re.match(rb"\*(\d+)\r\n", data)
            if not head:
                break
            at = head.end()
            words = []
            for _ in range(int(head[1])):
                size = re.compile(rb"\$(\d+)\r\n").match(data, at)
                if not size or len(data) < size.end() + int(size[1]) + 2:
                    break
                at = size.end() + int(size[1]) + 2
                words.append(data[size.end():at - 2])
            if len(words) < int(head[1]):
                break
            if words[0].upper() == b"ECHO":
                conn.sendall(b"$%d\r\n%s\r\n" % (len(words[1]), words[1]))
            else:
                conn.sendall(answers.get(words[0].upper(), b"+OK\r\n"))
            data = data[at:]
        self.pending[conn] = data

    def drop(self, conn):
        """Closes it."""
        self.pending.pop(conn, None)
        self.selector.unregister(conn)
        conn.close()


def kernel_sockets(state, port=None, local=False):
    """Sockets of a TCP state as (local port, remote port), from /proc/net/tcp and tcp6."""
    found = []
    for name in ("tcp", "tcp6"):
        with open(f"/proc/net/{name}", encoding="ascii") as file:
            next(file)
            for line in file:
                field = line.split()
                if int(field[3], 16) != state:
                    continue
                ports = [int(field[i].rsplit(":", 1)[1], 16) for i in (1, 2)]
                if port is None or ports[0 if local else 1] == port:
                    found.append(tuple(ports))
    return found


def time_wait(port=None):
    """How many TIME_WAIT sockets clients have to this port of a server."""
    return len(kernel_sockets(TIME_WAIT, port))


def settle(*ports):
    """Waits until every connection of these server ports is gone or in TIME_WAIT."""
    def live():
        return [s for state in (1, 2, 3, 4, 5, 8, 9, 11) for s in kernel_sockets(state)
                if set(s) & set(ports)]
    wait_for(lambda: not live(), f"all connections of ports {ports} are closed: {live()}")


def time_wait_left(port):
    """How many TIME_WAIT sockets remain once all connections to that port of a server are closed on
    both sides: the server may close after the client has ended."""
    settle(port)
    return time_wait(port)


def time_wait_created():
    """How many TIME_WAIT sockets were ever created in this namespace: TcpExtTW."""
    with open("/proc/net/netstat", encoding="ascii") as file:
        lines = [l.split() for l in file if l.startswith("TcpExt:")]
    return int(dict(zip(*lines))["TW"])


def time_wait_cookies():
    """The socket cookies of all TIME_WAIT sockets, as ss(8) shows them. If a connection was reset, its
    local port may be used again to the same server; a cookie is never used again."""
    text = subprocess.run(["ss", "-Htnea", "state", "time-wait"], stdout=subprocess.PIPE,
                          check=True).stdout.decode()
    return {int(cookie, 16) for cookie in re.findall(r"\bsk:([0-9a-f]+)", text)}


def check_counters(counters, where):
    """Checks the identities: every attempt has an outcome, every connection is open or has ended."""
    attempts = counters["established"] + sum(counters[f] for f in FAILURES) \
        + counters["connecting"]
    assert counters["attempts"] == attempts, \
        f"{where}: attempts {counters['attempts']} but {attempts} accounted for"
    established = counters["open"] + sum(counters[e] for e in ENDINGS)
    assert counters["established"] == established, \
        f"{where}: established {counters['established']} but {established} accounted for"


def check_identities(report):
    """Checks the identities in total, per application and per destination, and that these add up."""
    check_counters(report["total"], "total")
    for app in report["apps"]:
        check_counters(app["counters"], app["app"])
        for destination in app["destinations"]:
            check_counters(destination["counters"], f"{app['app']} {destination['to']}")
        for name in ("attempts", "established") + ENDINGS:
            parts = sum(d["counters"][name] for d in app["destinations"])
            assert app["counters"][name] == parts, f"{app['app']} {name}: {parts}"
    for name in ("attempts", "established") + ENDINGS:
        parts = sum(a["counters"][name] for a in report["apps"])
        assert report["total"][name] == parts, f"total {name}: {parts}"


class Test:
    """One test, in a new namespace with an empty directory."""

    def __init__(self, build, seed):
        self.build = build
        self.seed = seed
        self.library = os.path.join(build, "libtwshim.so")
        # What run, env and enable name: where there is a library for 32-bit programs, both.
        tree = os.path.join(build, "twshim.d", "$LIB", "libtwshim.so")
        self.preload = tree if os.path.exists(tree) else self.library
        self.twshim = os.path.join(build, "twshim")
        self.programs = os.path.join(build, "tests")
        self.scratch = tempfile.mkdtemp(prefix="twshim-test-")
        self.dir = tempfile.mkdtemp(prefix="twshim-test-", dir="/dev/shm")
        os.chmod(self.dir, 0o700)
        self.servers = []
        self.processes = []
        self.result = None  # of the last call of twshim_run()
        set_up_network()
        atexit.register(self.close)

    def close(self):
        """Ends what was started."""
        for server in self.servers:
            server.close()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.servers, self.processes = [], []
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.rmtree(self.dir, ignore_errors=True)

    # ------------------------------------------------------------ what it needs

    def server(self, mode="echo", address=ADDRESS, backlog=4096, files=None):
        """Starts a server that ends with the test."""
        server = Server(mode, address, backlog, files)
        self.servers.append(server)
        return server

    def need(self, *programs):
        """Skips the test if one of the programs is missing."""
        for program in programs:
            if not shutil.which(program):
                raise Skip(f"{program} is not installed")

    def prog(self, name):
        """The path of a program of tests/progs."""
        return os.path.join(self.programs, name)

    def file(self, name, text):
        """Writes a file in the scratch directory; its path."""
        path = os.path.join(self.scratch, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    @property
    def control(self):
        """The policy.ctl of this test's directory."""
        return os.path.join(self.dir, "policy", "policy.ctl")

    # ----------------------------------------------------------------- running

    def environment(self, shim=True, **more):
        """The environment of a client."""
        environment = {k: v for k, v in os.environ.items()
                       if k not in ("LD_PRELOAD", "TWSHIM_DIR", "TWSHIM_DISABLED")}
        environment["TWSHIM_DIR"] = self.dir
        if shim:
            environment["LD_PRELOAD"] = self.library
        environment.update(more)
        return environment

    def start(self, *command, shim=True, env=None, **options):
        """Starts a client in the background; it ends with the test."""
        options.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(command, env=self.environment(shim, **(env or {})), **options)
        self.processes.append(process)
        return process

    def run(self, *command, shim=True, env=None, status=0, timeout=100, **options):
        """Runs a client, whose exit status must be `status` (None: any)."""
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        options.setdefault("stdin", subprocess.DEVNULL)
        environment = self.environment(shim, **(env or {}))
        result = subprocess.run(command, env=environment, timeout=timeout, check=False,
                                **options)
        if status is not None and result.returncode != status:
            raise AssertionError(how_it_ended(command, environment, result.returncode, status)
                                 + f"\n{result.stdout}\n{result.stderr}")
        return result

    def twshim_run(self, *command, options=(), status=0, **more):
        """Runs a command under `twshim run`. Returns the report, with its identities checked."""
        path = os.path.join(self.scratch, "report.json")
        self.result = self.run(self.twshim, "run", "--json", "-o", path, *options, "--",
                               *command, shim=False, status=status, **more)
        with open(path, encoding="utf-8") as file:
            return self.read_report(file.read())

    @staticmethod
    def read_report(text):
        """Parses a report and checks its identities."""
        report = json.loads(text)
        check_identities(report)
        return report

    def report(self, *arguments):
        """The report of this test's directory, with its identities checked."""
        result = self.run(self.twshim, "report", "--json", *arguments, shim=False)
        return self.read_report(result.stdout)

    def bare_and_shimmed(self, *command, **options):
        """The control: output and status are the same with and without the shim."""
        bare = self.run(*command, shim=False, status=None, **options)
        shimmed = self.run(*command, status=None, **options)
        assert (bare.returncode, bare.stdout, bare.stderr) == \
            (shimmed.returncode, shimmed.stdout, shimmed.stderr), \
            how_it_ended(command, self.environment(), shimmed.returncode, bare.returncode) \
            + f"\n{bare}\n{shimmed}"
        return shimmed

    def same_under_every_policy(self, bare, *command):
        """Each line of the output is the bare one when only observed, under each way to close,
        as a dry run of it, and under a policy for another address."""
        closes = ("keep", "graceful", "linger,linger_seconds=1", "fin-reset", "reset-drained",
                  "reset")
        rules = [f"to=127.0.0.1,close={close}{dry}" for dry in ("", ",dry_run=true")
                 for close in closes]
        for policy in ((), *(("-p", rule) for rule in (*rules, "to=192.0.2.1,close=reset"))):
            result = self.run(self.twshim, "run", "-q", *policy, "--", *command, shim=False)
            shimmed = result.stdout.decode().splitlines()
            differs = [pair for pair in zip(bare, shimmed) if pair[0] != pair[1]]
            assert not differs and len(bare) == len(shimmed) and not result.stderr, \
                (policy, differs, result.stderr)

    # -------------------------------------------------------------- comparing

    def counters(self, report, **expected):
        """Checks the totals. Counters of endings and failures that are not named must be 0."""
        total = report["total"]
        for name in ("attempts", "established") + ENDINGS + FAILURES:
            if name in expected or name.startswith(("ended_", "failed_", "abandoned")):
                assert total[name] == expected.get(name, 0), \
                    f"{name} is {total[name]}, not {expected.get(name, 0)}\n{total}"
        for name in expected:
            assert total[name] == expected[name], f"{name}: {total[name]}, {expected[name]}"

    def time_wait_agrees(self, report, server, number):
        """Checks that the kernel's table, the prediction and the confirmation all say `number`."""
        settle(server.port)
        kernel = time_wait(server.port)
        assert kernel == number, f"{kernel} TIME_WAIT sockets in the kernel, not {number}"
        found = [d["time_wait"] for a in report["apps"] for d in a["destinations"]
                 if d["to"] == server.to]
        for kind in ("predicted", "confirmed"):
            said = sum(f[kind] for f in found)
            assert said == number, f"{kind}: {said}, not {number}"

    def accounted(self, report, server, accepted=None, late_answers=False):
        """Checks that the report has every connection that the server accepted, that all have
        ended, and that the kernel's TIME_WAIT sockets are those predicted and confirmed. Returns
        the sums of the destination. `accepted` is the count of a server that is not a Server.
        `late_answers` means that the client closes while requests are under way. An answer after
        its close removes the TIME_WAIT socket, which nobody can know at the close: then the
        confirmed sockets must be all there are, and the predicted ones at least as many."""
        settle(server.port)
        if accepted is None:
            accepted = server.counts["accepted"]
        found = [d for a in report["apps"] for d in a["destinations"] if d["to"] == server.to]
        total = {name: sum(d["counters"][name] for d in found)
                 for name in ("attempts", "established", "open", "connecting") + ENDINGS + FAILURES}
        assert total["established"] == accepted, f"the server accepted {accepted}: {total}"
        assert total["open"] == total["connecting"] == 0, total
        kernel = time_wait(server.port)
        if late_answers:
            confirmed = sum(d["time_wait"]["confirmed"] for d in found)
            assert confirmed == kernel <= total["ended_local_fin"], (confirmed, kernel, total)
            return total
        assert total["ended_local_fin"] == kernel, f"the kernel has {kernel} TIME_WAIT: {total}"
        self.time_wait_agrees(report, server, kernel)
        return total


def added_system_calls(bare, shimmed):
    """From two `strace -c` summaries: {call: how many more}."""
    def read(path):
        counts = {}
        with open(path, encoding="utf-8") as file:
            for line in file:
                match = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
                if match and match[2] != "total":
                    counts[match[2]] = int(match[1])
        return counts
    before, after = read(bare), read(shimmed)
    return {n: after.get(n, 0) - before.get(n, 0) for n in set(before) | set(after)}
