# SPDX-License-Identifier: MIT
"""twshim lab: what its experiments find on this kernel, and that it leaves nothing behind."""
import glob
import json
import os
import signal
import subprocess
import time

from harness import Skip, skip_under_thread_sanitizer, wait_for

NORMAL = ("normal", "SO_LINGER {1,1}", "same, graceful")
RESETS = ("SO_LINGER {1,0}", "reset")
IDLE, IN_FLIGHT = "we close first, nothing in flight", "we close first, 100,000 bytes"
ACKNOWLEDGED = "we close first, 20,000 bytes acknowledged"


def _lab(t, *experiments, status=0, **options):
    result = t.run(t.twshim, "lab", "--json", *experiments, shim=False, status=status, **options)
    found = json.loads(result.stdout)
    assert found["schema"] == "twshim.lab/1"
    return {e["name"]: e for e in found["experiments"]}


def _rows(experiment, title=""):
    table = [x for x in experiment["tables"] if x["title"].startswith(title)]
    assert len(table) == 1, [x["title"] for x in experiment["tables"]]
    return {next(iter(row.values())): row for row in table[0]["rows"]}


def test_lab_close_shows_what_each_way_leaves_and_loses(t):
    close = _lab(t, "close")["close"]
    assert close["complete"] and close["verdict"] and close["seconds"] < 30
    idle, flight = _rows(close, IDLE), _rows(close, IN_FLIGHT)
    for way in NORMAL:
        assert idle[way]["time_wait"] == 20 and idle[way]["eof"] == 20, idle[way]
    for way in ("fin-reset", "reset-drained", "same, 1 s drain") + RESETS:
        assert idle[way]["time_wait"] == 0, idle[way]
    for way, row in flight.items():
        assert row["bytes_sent"] == 2000000, row
        if way in RESETS:
            assert row["lost_percent"] > 50 and row["reset"] == 20, row
        else:
            assert row["lost_percent"] == 0 and row["hung"] == 0, row
    assert flight["fin-reset"]["time_wait"] == 0 and flight["fin-reset"]["eof"] == 20
    assert flight["reset-drained"]["time_wait"] == 20 and flight["reset-drained"]["eof"] == 20
    assert flight["SO_LINGER {1,1}"]["close_max_ms"] > 20
    assert flight["fin-reset"]["close_p50_ms"] < 5
    given_up = _rows(close, ACKNOWLEDGED)
    assert given_up["reset-drained"]["lost_percent"] == 100
    assert given_up["fin-reset"]["lost_percent"] == 100  # POLLERR is there as under a reset
    assert given_up["normal"]["lost_percent"] == 0
    for row in _rows(close, "the peer closes first, nothing").values():
        assert row["time_wait"] == 0 and row["reset"] == 0, row
    for row in _rows(close, "we close first, with bytes of the peer's unread").values():
        assert row["time_wait"] == 0 and row["reset"] == 20, row


def test_lab_close_shows_what_the_server_sees_and_who_cannot_be_helped(t):
    close = _lab(t, "close")["close"]
    for way, row in _rows(close, "what the server's socket shows").items():
        saw = [row[key] for key in ("pollhup", "pollerr", "so_error", "getpeername", "send")]
        reader = row["reader"].removeprefix("70 of 70 bytes, ")
        if way in NORMAL:
            assert saw + [reader] == [0, 0, "0", "works", "works", "EOF"], row
            continue
        error = "EPIPE" if way == "fin-reset" else "ECONNRESET"
        assert saw == [20, 20, error, "ENOTCONN", "EPIPE"], row
        assert reader == ("EOF" if way == "fin-reset" else "ECONNRESET"), row
    shut = _rows(close, "we shut down, wait for the peer's end")
    assert all(row["time_wait"] == 20 for row in shut.values()), shut
    assert "shutdown() first" in close["verdict"], close["verdict"]
    assert "kept 100 of 100 TIME_WAIT under all rules" in close["verdict"], close["verdict"]
    checked = t.run(t.twshim, "policy", "check", "-p", "close=fin-reset,to=10.0.0.7:6379",
                    shim=False).stdout.decode()
    risk = checked.partition("the server ")[2].partition("\n")[0]
    assert risk and f"Under fin-reset the server {risk}." in close["verdict"], close["verdict"]


def test_lab_link_loses_nothing_but_by_reset(t):
    link = _lab(t, "link", status=None)["link"]
    if "TUN" in link["verdict"]:
        raise Skip(link["verdict"])
    rows = _rows(link, "we close first, 50,000 bytes in flight")
    for way in NORMAL + ("fin-reset", "reset-drained"):
        assert rows[way]["bytes_received"] == rows[way]["bytes_sent"] == 2000000, rows[way]
        assert rows[way]["eof"] == 40, rows[way]
    assert rows["normal"]["time_wait"] == 40 and rows["fin-reset"]["time_wait"] == 0
    for way in RESETS:
        assert rows[way]["lost_percent"] > 20 and rows[way]["time_wait"] == 0, rows[way]


def test_lab_ports_tells_cures_from_placebos(t):
    ports = _lab(t, "ports")["ports"]
    one = _rows(ports, "20 ports, 60 connections to one destination")
    for way in ("as it is", "SO_REUSEADDR", "reuseaddr = true", "SO_LINGER {1,1}",
                "port_range = full", "port_ring, no timestamps"):
        assert (one[way]["succeeded"], one[way]["no_port"]) == (20, 40), one[way]
    for way in ("SO_LINGER {1,0}", "fin-reset", "the peer closes first", "port_ring"):
        assert one[way]["succeeded"] == 60, one[way]
    assert one["port_ring"]["syn_retransmitted"] == 0
    assert "60 unsupported" in one["port_ring, no timestamps"]["policy"]
    three = _rows(ports, "the same ports, 20 connections to each of three")
    assert three["as it is"]["by_destination"] == "20 / 20 / 20"
    assert three["bind(address, 0) first"]["by_destination"] == "20 / 0 / 0"
    assert three["same, SO_REUSEADDR"]["by_destination"] == "20 / 0 / 0"
    assert three["same, late_bind"]["by_destination"] == "20 / 20 / 20"
    assert three["port_range, 5 of the 20"]["by_destination"] == "5 / 5 / 5"
    here, there = _rows(ports, "tcp_tw_reuse, 127"), _rows(ports, "tcp_tw_reuse, 10")
    assert here["2, timestamps on"]["succeeded"] == 60
    assert there["2, timestamps on"]["succeeded"] == 20
    assert there["1, timestamps on"]["succeeded"] == 60
    assert there["1, timestamps off"]["succeeded"] == 20
    assert there["0, timestamps on"]["succeeded"] == 20


def test_lab_brownout_is_cured_by_the_full_range(t):
    before = _directories()
    rows = list(_rows(_lab(t, "brownout")["brownout"], "8,000 ports").values())
    # Side by side in one run, so that a busy machine slows both: many times, not twice.
    for row in rows[5:]:
        assert row["default_p50_us"] > 3 * row["full_p50_us"], rows
    assert not _directories() - before


test_lab_brownout_is_cured_by_the_full_range.options = {"alone": True}


def test_lab_myths_are_myths(t):
    rows = _rows(_lab(t, "myths")["myths"])
    true = [claim for claim, row in rows.items() if row["verdict"] == "true"]
    assert true == ["a small tcp_max_tw_buckets keeps TIME_WAIT down"], rows
    assert len(rows) >= 16
    for row in rows.values():
        assert row["verdict"] in ("myth", "true", "not testable here") and row["happened"]


def test_lab_timewait_lasts_a_minute_whatever_fin_timeout_is(t):
    rows = _rows(_lab(t, "timewait", timeout=170)["timewait"])
    for value, fin_wait_2 in (("5", 5), ("60", 60), ("61", 2), ("120", 120)):
        assert 59 < rows[value]["time_wait_s"] < 65, rows
        assert abs(rows[value]["fin_wait_2_s"] - fin_wait_2) < 5, rows


test_lab_timewait_lasts_a_minute_whatever_fin_timeout_is.options = {"timeout": 180, "slow": True}


def test_the_whole_lab_takes_under_three_minutes(t):
    before = time.monotonic()
    found = _lab(t, timeout=180, status=None)
    assert time.monotonic() - before < 180
    assert list(found) == ["close", "ports", "brownout", "link", "myths"]


test_the_whole_lab_takes_under_three_minutes.options = {"timeout": 200, "slow": True}


def test_lab_prints_tables_and_a_verdict(t):
    result = t.run(t.twshim, "lab", "myths", shim=False)
    text = result.stdout.decode()
    assert text.startswith("lab myths") and "verdict: of " in text and result.stderr == b""


def test_lab_names_its_experiments_and_what_is_none(t):
    listed = t.run(t.twshim, "lab", "--list", shim=False).stdout.decode()
    assert [line.split()[0] for line in listed.splitlines()] == \
        ["close", "ports", "brownout", "timewait", "link", "myths"]
    assert "two minutes" in listed
    result = t.run(t.twshim, "lab", "--list", "--json", shim=False)
    said = json.loads(result.stdout)
    assert said["schema"] == "twshim.lab-list/1" and set(said) == {"schema", "experiments"}, said
    assert [f"{e['name']:10}{e['help']}" for e in said["experiments"]] == listed.splitlines(), said
    assert [e["name"] for e in said["experiments"] if not e["by_default"]] == ["timewait"], said
    wrong = t.run(t.twshim, "lab", "clos", shim=False, status=2)
    assert wrong.stderr == b"twshim: lab: clos: no such experiment: did you mean close?\n"


def _directories():
    return set(glob.glob("/dev/shm/twshim-lab-*"))


def test_an_interrupted_lab_leaves_nothing_behind(t):
    before = set(glob.glob("/dev/shm/twshim-lab-*"))
    process = t.start(t.twshim, "lab", "close", shim=False, stdout=subprocess.DEVNULL,
                      stderr=subprocess.PIPE)
    time.sleep(1)
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        children = file.read().split()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0, process.returncode
    assert said == b"twshim: lab: interrupted: not everything was tried\n", said
    wait_for(lambda: not any(os.path.exists(f"/proc/{c}") for c in children), "children gone")
    assert not set(glob.glob("/dev/shm/twshim-lab-*")) - before


test_an_interrupted_lab_leaves_nothing_behind.options = {"alone": True}


def test_lab_runs_without_privilege(t):
    skip_under_thread_sanitizer(t, "a process has two threads, and no user namespace to be had")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    t.need("setpriv")
    for command in (["unshare", "-Urn", "true"], ["test", "-x", t.twshim]):
        if t.run(*nobody, *command, shim=False, status=None).returncode != 0:
            raise Skip("an unprivileged user cannot " + " ".join(command))
    found = json.loads(t.run(*nobody, t.twshim, "lab", "--json", "close", shim=False).stdout)
    assert found["experiments"][0]["complete"]
