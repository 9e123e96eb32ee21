# SPDX-License-Identifier: MIT
"""What the observers of programs without the shim cost: `watch`, and the supervisor of an ordinary
user's `run`; and how long the longest connect() takes when the supervisor is killed or stopped.

Each pair is one run without and one with the observer, one right after the other and in random
order, on one core; the ratio is that of the pair."""
import os
import random
import shutil
import signal
import tempfile

from harness import ADDRESS, SOURCE, Skip, sysctl
from test_supervisor import Steady, as_nobody

from measure import table
from measure.cycles import ALONE, Watched, rounds

PAIRS = 21
WATCH_PAIRS = 41  # what is to be seen is a hundredth
CYCLES = 3000
KILLS = 10
PAST = 100  # ms; what a connect() may take at most, whoever is killed or stopped


def paired(without, within, pairs=PAIRS):
    """(median, low, high) of the ratio of two measurements."""
    found = []
    for _ in range(pairs):
        order = [without, within]
        random.shuffle(order)
        took = {measure: measure() for measure in order}
        found.append(took[within] / took[without])
    return table.median(found)


def watch(test, rows):
    """The bare cycle alone and beside `watch`."""
    def alone():
        return table.median([r[0] for r in rounds(test, 15, [], batch=ALONE)])[0]

    def beside():
        with Watched(test) as watched:
            if not watched.attached:
                raise Skip("watch cannot run here")
            return alone()

    rows.add("cycle on one core, ratio to bare: beside twshim watch",
             paired(alone, beside, WATCH_PAIRS), "x", 1.05, "cycle")


class Runs:
    """A client alone and under an ordinary user's `run`, all on one core."""

    def __init__(self, test, client):
        self.test, self.client, self.nobody = test, client, as_nobody(test)
        self.pin = ("taskset", "-c", str(max(os.sched_getaffinity(0))))

    def once(self, first, *under):
        """Nanoseconds per cycle."""
        result = self.test.run(*first, *self.pin, *self.nobody, *under, self.client, ADDRESS, str(CYCLES),
                               "1", shim=False)
        return float(result.stdout.split()[-1])

    def beneath(self, first):
        """The same under `run`."""
        path = os.path.join(tempfile.mkdtemp(dir=self.test.scratch), "report.json")
        os.chmod(os.path.dirname(path), 0o777)
        took = self.once(first, self.test.twshim, "run", "--json", "-o", path, "--")
        with open(path, encoding="utf-8") as file:
            assert self.test.read_report(file.read())["total"]["attempts"] == CYCLES
        return took

    def ratio(self, *first):
        """That to this, `first` being what sets the priority."""
        return paired(lambda: self.once(first), lambda: self.beneath(first))


def supervisor(test, rows):
    """At real-time priority, where the kernel's worker that tells of ended sockets waits, and at normal
    priority, where it takes part: it does so for every `run`."""
    client = os.path.join(test.scratch, "cycle-static")
    test.run("gcc", "-w", "-static", "-O2", "-pthread", "-D_GNU_SOURCE", f"-I{SOURCE}", "-o", client,
             os.path.join(SOURCE, "tests/progs/cycle.c"), shim=False)
    runs = Runs(test, client)
    rows.add("cycle on one core, ratio to bare: under a supervisor",
             runs.ratio(*(("chrt", "-f", "10") if shutil.which("chrt") else ())), "x", 1.35, "cycle")
    rows.add("the same at normal priority", runs.ratio(), "x", 1.35)
    rows.add("a client that the shim reaches, under run, the same", Runs(test, test.prog("cycle")).ratio(), "x")


def longest(test, number):
    """The milliseconds of the longest connect() of a program while a signal hits its supervisor; none
    may fail."""
    steady = Steady(test)
    os.kill(steady.pids["supervisor"], number)
    steady.goes_on()
    if number == signal.SIGSTOP:
        os.kill(steady.pids["supervisor"], signal.SIGCONT)
    return steady.finish()[1] / 1000


def hangs(test, rows):
    """The longest connect() of all, over several kills."""
    for what, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP)):
        rows.add(f"longest connect() when the supervisor is {what}, of {KILLS}",
                 max(longest(test, number) for _ in range(KILLS)), "ms", PAST)


def measure_observers(test, rows):
    """The section."""
    sysctl("net.ipv4.tcp_tw_reuse", 1)
    for part in (watch, supervisor, hangs):
        try:
            part(test, rows)
        except Skip as why:
            print(f"  {part.__name__}: {why}", flush=True)
