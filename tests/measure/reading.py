# SPDX-License-Identifier: MIT
"""What reading costs: report, owners, doctor and /metrics against ss(8), by the number of
TIME_WAIT sockets and of segments."""
import http.client
import random
import subprocess
import time

from harness import ADDRESS, SERVE_PORT as PORT, TIME_WAIT, Server, kernel_sockets, settle

from measure import table

SS = "ss -ant | grep -c TIME-WAIT"
# Dead segments must not be folded while we measure.
KEEP = "max_segments = 4096; retention_seconds = 3600;"
# The project's own limit, relative to the time of ss with the same number of sockets.
NO_LOOK = {"owners": ("--sample", "0")}  # not for the programs of sockets that nobody owns
LIMITS = {"report": 0.5, "owners": 0.25, "doctor": 0.5}
# A reader is also within its limit if it takes at most this many times a bare dump of the table.
DUMP = 1.5


def fill(test, server, sockets, segments):
    """Creates that many TIME_WAIT sockets of that many processes. Returns how many there are."""
    client = (test.prog("client"), ADDRESS, str(server.port), "socket", "connect", "send:1",
              "recv", "close")
    environment = test.environment()
    running = []
    for i in range(segments):
        share = sockets // segments + (i < sockets % segments)
        running.append(subprocess.Popen([*client, f"repeat:{max(share, 1)}"], env=environment))
        if len(running) >= 8:
            running.pop(0).wait()
    for process in running:
        process.wait()
    settle(server.port)
    return len(kernel_sockets(TIME_WAIT))


def fetch():
    """One scrape."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    connection.request("GET", "/metrics")
    size = len(connection.getresponse().read())
    connection.close()
    if size < 100:
        raise AssertionError("/metrics is empty")


def timed(name, call):
    """Milliseconds. serve reuses an answer for half a second, then makes a new one."""
    if name == "/metrics":
        time.sleep(0.6)
    started = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - started) / 1e6


def serving(test):
    """A server that answers."""
    serve = test.start(test.twshim, "serve", shim=False, stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL)
    serve.stdout.readline()
    return serve


def first(test):
    """Milliseconds of the first answer of a server."""
    serve = serving(test)
    took = timed("first", fetch)
    serve.terminate()
    serve.wait()
    return took


def one(test, rows, sockets, segments):
    """Times every reader at this size, in turn, in random order."""
    test.run(test.twshim, "policy", "load", "--dir", test.dir, test.file("keep.conf", KEEP),
             shim=False)
    server = Server("echo")
    there = fill(test, server, sockets, segments)
    firsts = [first(test) for _ in range(5)]
    serve = serving(test)

    def run(*command):
        return lambda: test.run(*command, shim=False, status=None)

    calls = {"ss": run("sh", "-c", SS), "dump": run(test.prog("dump")), "/metrics": fetch,
             **{name: run(test.twshim, name, *NO_LOOK.get(name, ())) for name in LIMITS}}
    times = {name: [] for name in calls}
    for _ in range(9):
        for name in random.sample(list(calls), len(calls)):
            times[name].append(timed(name, calls[name]))
    calls["/metrics"]()
    again = timed("again", fetch)
    serve.terminate()
    serve.wait()
    server.close()
    size = f"{there:,} TIME_WAIT, {segments:,} segments"
    group = f"{sockets}/{segments}"
    ss = rows.add(f"{SS}, {size}", table.median(times["ss"]), "ms", None, group)["value"]
    full = sockets == 28000
    dump = rows.add(f"a bare dump of the table, {size}", table.median(times["dump"]), "ms",
                    None, group)["value"]
    for name, share in LIMITS.items():
        rows.add(f"twshim {name}, {size}", table.median(times[name]), "ms",
                 max(share * ss, DUMP * dump) if full and segments == 100 else None, group)
    rows.add(f"/metrics, {size}", table.median(times["/metrics"]), "ms",
             ss / 4 + 20 if full and segments == 1000 else None, group)
    rows.add(f"/metrics, the first after the start, {size}", table.median(firsts), "ms",
             ss / 4 + 20 if full and segments == 1000 else None)
    rows.add(f"/metrics once more, {size}", again, "ms")


SIZES = tuple((sockets, segments) for sockets in (1000, 10000, 28000)
              for segments in (1, 100, 1000))
