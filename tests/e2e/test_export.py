# SPDX-License-Identifier: MIT
"""twshim export: the metrics match the report, and counters never decrease."""
import fcntl
import os
import re
import stat
import subprocess
import urllib.request

from harness import ADDRESS, SERVE_PORT, wait_for, time_wait
from test_names import cgroup

STEPS = ("socket", "connect", "send:1", "recv:1", "close")
LINE = re.compile(r'^(\w+)(?:\{(.*)\})? (\S+)$')


def parse(text):
    """{(name, frozenset of label pairs): value}; each series once."""
    series = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = LINE.match(line).groups()
        key = name, frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))
        assert key not in series, line
        series[key] = float(value)
    return series


def export(t, *options):
    """The metrics now."""
    return parse(t.run(t.twshim, "export", *options, shim=False).stdout.decode())


def total(series, name, **labels):
    """The sum of what has these labels."""
    return sum(v for (n, l), v in series.items()
               if n == name and set(labels.items()) <= set(l))


def counters(series):
    """The series that must never decrease."""
    return {k: v for k, v in series.items()
            if k[0].endswith(("_total", "_bucket", "_sum", "_count"))}


def test_metrics_say_what_the_report_says(t):
    server, first = t.server(), t.server("first")
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:30")
    t.run(t.prog("client"), ADDRESS, str(first.port), *STEPS[:4], "wait-hup", "close",
          "repeat:7")
    wait_for(lambda: time_wait(server.port) == 30, "TIME_WAIT")
    series, report = export(t), t.report()
    one = {"app": "client", "to": server.to}
    assert total(series, "twshim_connections_opened_total", **one) == 30
    assert total(series, "twshim_connections_ended_total", ending="local_fin", **one) == 30
    assert total(series, "twshim_connections_ended_total", ending="remote_fin") == 7
    assert total(series, "twshim_time_wait_sockets", **one) == 30
    assert total(series, "twshim_host_time_wait_sockets") == report["kernel"]["time_wait"]
    assert total(series, "twshim_connections_opened_total") == report["total"]["established"]
    assert total(series, "twshim_connection_lifetime_seconds_count") == 37
    fill = total(series, "twshim_ephemeral_port_fill_ratio", to=server.to)
    assert abs(fill - 30 / 28232) < 1e-6
    assert total(series, "twshim_connections_let_go_total", via="close") == 37


def test_promtool_finds_nothing_to_say(t):
    t.need("promtool")
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:3")
    strange = f"{t.scratch}/a\\b\"c\nd\x1b\x7f"
    t.run("cp", t.prog("client"), strange, shim=False)
    t.run(strange, ADDRESS, str(server.port), *STEPS)
    text = t.run(t.twshim, "export", shim=False).stdout
    result = subprocess.run(["promtool", "check", "metrics"], input=text, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert (result.returncode, result.stdout) == (0, b""), result


def test_counters_never_go_back(t):
    """Killed, folded, removed; with one exporter and another."""
    server = t.server()
    before = counters(export(t))
    held = []
    for turn in range(6):
        t.run("sh", "-c", f"for i in $(seq 12); do {t.prog('client')} {ADDRESS} {server.port} "
              f"{' '.join(STEPS)}; done")
        held.append(t.start(t.prog("client"), ADDRESS, str(server.port), *STEPS[:4],
                            "sleep:60000"))
        wait_for(lambda: server.counts["bytes"] == 13 * (turn + 1), "all have sent")
        if turn % 2:
            held[turn].kill()
            held[turn].wait()
        after = counters(export(t))
        back = {k: (v, after.get(k)) for k, v in before.items() if after.get(k, -1) < v}
        assert not back, back
        before = after
    opened = total(before, "twshim_connections_opened_total")
    assert opened == 78
    for name in os.listdir(t.dir):
        if name.endswith(".seg"):
            os.unlink(os.path.join(t.dir, name))
    after = counters(export(t))
    assert not [k for k, v in before.items() if after.get(k, -1) < v]
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:200")
    again = counters(export(t))
    assert not [k for k, v in after.items() if again.get(k, -1) < v]


def test_exporters_at_once_keep_one_ledger(t):
    """No exporter starts from zero because another is running: it waits, or says so and prints nothing."""
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:5")
    export(t)
    for name in os.listdir(t.dir):
        if name.endswith(".seg"):
            os.unlink(os.path.join(t.dir, name))
    many = [t.start(t.twshim, "export", shim=False, stdout=subprocess.PIPE) for _ in range(20)]
    for one in many:
        series = parse(one.communicate(timeout=60)[0].decode())
        assert total(series, "twshim_connections_opened_total") == 5 and one.returncode == 0
    with open(os.path.join(t.dir, "metrics.lock"), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = t.run(t.twshim, "export", shim=False, status=1)
        assert result.stdout == b"" and b"another exporter" in result.stderr, result
        assert b"try again, or end that process" in result.stderr, result
    assert total(export(t), "twshim_connections_opened_total") == 5


def test_no_more_series_than_asked_for(t):
    servers = [t.server() for _ in range(6)]
    for number, server in enumerate(servers):
        t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, f"repeat:{number + 1}")
    series = export(t, "--top", "2")
    shown = {dict(l)["to"] for n, l in series if n == "twshim_connections_opened_total"}
    assert shown == {servers[5].to, servers[4].to, "other"}
    assert total(series, "twshim_connections_opened_total", to="other") == 10
    capped = export(t, "--max-series", "40")
    assert len(capped) <= 41 and total(capped, "twshim_metrics_series_dropped_total") > 0


def test_a_textfile_is_whole_or_not_there(t):
    path = os.path.join(t.scratch, "twshim.prom")
    t.run(t.twshim, "export", "--textfile", path, shim=False)
    with open(path, encoding="utf-8") as file:
        assert "twshim_build_info" in file.read()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644
    assert os.listdir(t.scratch) == ["twshim.prom"]
    result = t.run(t.twshim, "export", "--textfile", t.scratch + "/no/where", shim=False,
                   status=1)
    assert result.stderr.count(b"\n") == 1


def test_open_metrics_are_what_they_claim(t):
    text = t.run(t.twshim, "export", "--openmetrics", shim=False).stdout.decode()
    assert text.endswith("# EOF\n") and "# TYPE twshim_build info\n" in text
    names = re.findall(r"^# TYPE (\S+) counter$", text, re.M)
    assert names and not [n for n in names if n.endswith("_total")]


def test_wrong_options_of_export_are_told(t):
    for arguments in (("--top", "x"), ("--max-series", "-1"), ("operand",), ("--nonsense",)):
        result = t.run(t.twshim, "export", *arguments, shim=False, status=2)
        assert result.stderr.startswith(b"twshim: ") and result.stderr.count(b"\n") == 1


def test_a_unit_is_a_label_where_it_is_asked_for(t):
    """Switched on and off, no counter goes back and none is counted twice."""
    server = t.server()
    client = (t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:3")
    name, one = "twshim_connections_opened_total", {"app": "shop", "to": server.to}
    without = export(t)
    for turn in range(1, 4):
        with cgroup("system.slice/cart.service") as enter:
            t.run(*enter, *client, env={"TWSHIM_APP": "shop"})
        plain, labelled = export(t), export(t, "--unit-label")
        assert not any("unit" in dict(l) for _, l in plain), plain
        assert total(labelled, name, unit="cart.service", **one) == 3 * turn, labelled
        assert total(labelled, name, **one) == total(plain, name, **one) == 3 * turn
        assert len(labelled) == len(plain), (labelled, plain)
        assert not [k for k, v in counters(without).items() if plain.get(k, -1) < v]
        without = plain
    t.run(*client, env={"TWSHIM_APP": "shop"})
    apart = export(t, "--unit-label")
    assert total(apart, name, **one) == 12 and not any("unit" in dict(l) for _, l in apart)


def test_serve_shows_the_units_too(t):
    server = t.server()
    with cgroup("system.slice/cart.service") as enter:
        t.run(*enter, t.prog("client"), ADDRESS, str(server.port), *STEPS)
    process = t.start(t.twshim, "serve", "--unit-label", shim=False, stdout=subprocess.PIPE)
    assert process.stdout.readline().startswith(b"http://")
    with urllib.request.urlopen(f"http://127.0.0.1:{SERVE_PORT}/metrics", timeout=30) as answer:
        series = parse(answer.read().decode())
    assert total(series, "twshim_connections_opened_total", app="cart.service",
                 unit="cart.service") == 1, series
