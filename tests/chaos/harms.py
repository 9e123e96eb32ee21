# SPDX-License-Identifier: MIT
"""What `make chaos` does while clients run. Each harm begins with the round and takes a step
now and then until the round ends. `undo` restores the machine."""
import errno
import os
import random
import shutil
import signal
import subprocess

SLEEPING = ("35", "230")  # nanosleep, clock_nanosleep on x86-64
POLICIES = ("close = \"keep\";", "close = \"fin-reset\";", "close = \"reset-drained\";",
            "close = \"graceful\";", "close = \"fin-reset\"; dry_run = true;",
            "port_range = \"full\";", "close = \"fin-reset\"; sample = 50;")


class Harm:
    """One kind. `exact`: the counts must be exact in spite of it."""

    exact = True
    counted = True  # the counts can be read at all

    def __init__(self, chaos):
        self.chaos = chaos
        self.dir = chaos.test.dir

    def step(self):
        """A little of it."""

    def undo(self):
        """No more of it."""

    def segments(self):
        """Those that are there."""
        try:
            return [os.path.join(self.dir, n) for n in os.listdir(self.dir) if n.endswith(".seg")]
        except FileNotFoundError:
            return []


class Kill(Harm):
    """SIGKILL."""

    def step(self):
        running = self.chaos.running()
        if running and random.random() < 0.5:
            client = random.choice(running)
            client.killed = True
            client.process.kill()


class Stop(Harm):
    """SIGSTOP, and SIGCONT some time later."""

    def __init__(self, chaos):
        super().__init__(chaos)
        self.stopped = []

    def step(self):
        for client in self.stopped[:]:
            if random.random() < 0.4:
                client.process.send_signal(signal.SIGCONT)
                self.stopped.remove(client)
        running = [c for c in self.chaos.running() if c not in self.stopped]
        if running:
            client = random.choice(running)
            client.process.send_signal(signal.SIGSTOP)
            self.stopped.append(client)

    def undo(self):
        for client in self.stopped:
            client.process.send_signal(signal.SIGCONT)
        self.stopped = []


class Policy(Harm):
    """Policies swapped, and cleared."""

    def step(self):
        if random.random() < 0.3:
            self.chaos.command("policy", "clear")
            return
        path = self.chaos.test.file("chaos.conf", f"""
retention_seconds = 1; max_segments = {random.randrange(1, 20)};
rules = ( {{ match = {{ to = ["*"]; }}; {random.choice(POLICIES)} }} );
""")
        self.chaos.command("policy", "load", path)


class Read(Harm):
    """Readers attached, some of them killed."""

    COMMANDS = (("report", "--json"), ("ps",), ("owners", "--json", "--sample", "0"),
                ("doctor", "--json", "--sample", "0"),
                ("trace", "--json"), ("top", "--batch", "-n", "2"), ("export", "--textfile", "@"),
                ("serve", "--listen", "127.0.0.1:@"))
    ENDLESS = ("trace", "serve")

    def __init__(self, chaos):
        super().__init__(chaos)
        self.readers = []

    def step(self):
        for name, process in self.readers[:]:
            if process.poll() is None and random.random() < 0.4:
                process.kill()
                process.wait()
                self.readers.remove((name, process))
        words = random.choice(self.COMMANDS)
        if len(self.readers) >= 4:
            return
        scratch = os.path.join(self.chaos.test.scratch, "chaos.prom")
        filled = [w.replace("@", str(random.randrange(20000, 30000)) if "127" in w else scratch)
                  for w in words]
        self.readers.append((words[0], self.chaos.test.start(
            self.chaos.test.twshim, *filled, shim=False, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)))

    def undo(self):
        for name, process in self.readers:
            if name in self.ENDLESS:
                if process.poll() is None:
                    process.kill()
                    process.wait()
                    continue
            elif process.wait(30) >= 0:
                continue
            if process.returncode < 0:
                self.chaos.fault(f"twshim {name} died of signal {-process.returncode}")
        self.readers = []


class Fill(Harm):
    """The memory file system full, and empty again."""

    exact = False

    def step(self):
        path = os.path.join(self.chaos.mount, "fill")
        if os.path.exists(path) and random.random() < 0.4:
            os.unlink(path)
            return
        try:
            with open(path, "ab", buffering=0) as file:
                while file.write(b"f" * 65536):
                    pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def undo(self):
        path = os.path.join(self.chaos.mount, "fill")
        if os.path.exists(path):
            os.unlink(path)


class Delete(Harm):
    """The run-time directory deleted, and made anew."""

    exact = False

    def step(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        if random.random() < 0.5:
            self.undo()

    def undo(self):
        os.makedirs(self.dir, 0o700, exist_ok=True)


class Cut(Harm):
    """Truncates segments of clients that are asleep. In the microseconds in which the shim
    uses a segment, nothing could prevent the damage."""

    exact = False

    def step(self):
        for client in self.chaos.running():
            if not client.kind.paced or random.random() < 0.5:
                continue
            client.process.send_signal(signal.SIGSTOP)
            try:
                if self.is_asleep(client.process.pid):
                    self.cut(f"-{client.process.pid}-")
            finally:
                client.process.send_signal(signal.SIGCONT)

    @staticmethod
    def is_asleep(pid):
        """Stops a client that sleeps; the kernel shows this until it continues."""
        try:
            with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
                return file.read().split()[0] in SLEEPING
        except OSError:
            return False

    def cut(self, part):
        """This process's."""
        for path in self.segments():
            if part in path:
                size = random.choice((0, 1, 4096, 5000, os.stat(path).st_size // 2))
                os.truncate(path, size)


class Scribble(Harm):
    """Overwrites segments with random words, at any time."""

    exact = counted = False

    def step(self):
        for path in self.segments():
            try:
                with open(path, "r+b", buffering=0) as file:
                    size = os.fstat(file.fileno()).st_size
                    for _ in range(20):
                        file.seek(random.randrange(0, random.choice((4096, 65536, size))))
                        file.write(random.choice((b"\0" * 8, b"\xff" * 8, os.urandom(8))))
            except OSError:
                pass


HARMS = (Kill, Stop, Policy, Read, Fill, Delete, Cut, Scribble)
