# SPDX-License-Identifier: MIT
"""The live page of twshim serve in a real browser: it shows what the API says, follows what
happens, never presents old numbers as new, and treats names as text."""
import http.client
import json
import os
import signal
import subprocess
import sys

from browser import Browser
from harness import ADDRESS, Skip, sysctl, time_wait, wait_for
from test_serve import PORT, ask, serve
from test_since import client, make_older

STEPS = ("socket", "connect", "send:1", "recv:1", "close")
PAGE = f"http://127.0.0.1:{PORT}/"
LIVE = "!document.body.matches('.waiting, .stale') && document.getElementById('alarm').hidden"


def api(path="/api/report"):
    """What the API says."""
    return json.loads(ask(path)[2])


def opened(t, **size):
    """Starts a server, and a browser whose page shows the first answer."""
    process = serve(t)
    browser = Browser(t, **size)
    browser.open(PAGE)
    browser.wait(LIVE, "the page shows an answer")
    return process, browser


def rows(browser, table):
    """The cells of a table's body."""
    return browser.run("return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)]"
                       ".map(row => [...row.cells].map(cell => cell.textContent))", table)


def the_same_moment(browser):
    """The report that the page got last, and how many TIME_WAIT sockets it shows with it: each request
    of the browser leaves some here."""
    browser.run("const ask = get; window.heard = {}; "
                "get = async path => heard[path] = await ask(path);")
    return browser.wait("heard['api/report'] && [heard['api/report'], "
                        "document.getElementById('time-wait').textContent]", "an answer")


def test_the_page_shows_in_a_browser_what_the_api_says(t):
    server, first = t.server(), t.server("first")
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:1234")
    t.run(t.prog("client"), ADDRESS, str(first.port), *STEPS[:4], "wait-hup", "close", "repeat:55")
    wait_for(lambda: time_wait(server.port) == 1234, "TIME_WAIT")
    _, browser = opened(t)
    browser.wait("document.querySelectorAll('.finding').length > 0", "findings")
    report = api()
    assert report["kernel"]["owned"] == 1234 and report["total"]["established"] == 1289
    assert browser.number("tile-owned") == report["kernel"]["owned"]
    told, now = the_same_moment(browser)
    assert now == f"{told['kernel']['time_wait']:,}" and told["kernel"]["owned"] == 1234
    assert told["total"] == report["total"]
    assert browser.number("tile-opened") == report["total"]["established"]
    assert browser.number("tile-no-port") == report["total"]["failed_no_port"] == 0
    whose = browser.text("whose")
    assert whose.startswith(
        "client has 1,234 of them (") and f", all to {server.to}, " in whose, whose
    shown = {row[0]: row for row in rows(browser, "destinations")}
    assert shown[server.to][2] == "1,234" and shown[server.to][6] == "1,234", shown
    assert shown[first.to][2] == "55" and shown[first.to][5:7] == ["0 %", "0"], shown
    fill = next(d["ports"] for a in report["apps"] for d in a["destinations"]
                if d["to"] == server.to)
    assert f"{fill['used']:,} of {fill['range']:,}" in browser.text("ports")
    findings = {f["id"] for f in api("/api/doctor")["findings"]}
    named = set(browser.run("return [...document.querySelectorAll('#findings .id:first-of-type')]"
                            ".map(one => one.textContent.trim())"))
    assert {"TW101", "TW102"} <= named <= findings, (named, findings)
    drawn = browser.run("return Object.values(charts).map(one => one.data.datasets"
                        ".map(set => [set.label, set.data.map(p => p.y ?? p)]))")
    assert ["closed here first: TIME_WAIT", [1234]] in drawn[1], drawn
    assert drawn[0][0][0] == "client" and drawn[0][0][1][-1] == 1234, drawn
    assert "client 1234" in browser.run(
        "return document.getElementById('chart-time-wait').getAttribute('aria-label')")
    assert not browser.console()


def test_the_page_follows_a_client_that_runs(t):
    """One page, without reloading, shows the numbers grow, and findings and an experiment appear."""
    server = t.server()
    process, browser = opened(t)
    assert browser.number("tile-opened") == 0 and not rows(browser, "applications")
    assert browser.run("return document.getElementById('experiment').hidden")
    arms = t.file("experiment.conf", f"""
experiment = {{ name = "trial"; match = {{ to = ["{server.to}"]; }};
  arms = ( {{ name = "control"; weight = 1; }},
           {{ name = "treated"; weight = 1; close = "fin-reset"; }} ); }};""")
    t.run(t.twshim, "policy", "load", arms, shim=False)
    client = t.start(t.prog("client"), ADDRESS, str(server.port), *STEPS, "sleep:5",
                     "repeat:1000000")
    seen = 0
    for _ in range(3):
        seen = browser.wait(f"+document.getElementById('tile-opened').textContent.replace(',', '') "
                            f"> {seen} && +document.getElementById('tile-opened').textContent"
                            ".replace(',', '')", "more connections") + 0
    browser.wait("document.querySelector('#arms .better')", "the arm's verdict")
    caption = browser.run("return document.querySelector('#arms caption').textContent")
    assert caption.startswith("trial: treated, ") and "against control, " in caption, caption
    line = next(row for row in browser.run(
        "return [...document.querySelectorAll('#arms tbody tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))") if "time wait" in row[0])
    assert line[3] == "−100" and " to −" in line[4] and line[5] == "better", line
    browser.wait("document.getElementById('findings').textContent.includes('TW101')", "a finding")
    client.kill()
    client.wait()
    wait_for(lambda: browser.number("tile-opened") == api()["total"]["established"], "all of it")
    assert browser.run("return samples.length") > 1 and not browser.console()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0


def test_the_page_marks_old_numbers_and_recovers(t):
    """The server stops and starts again: meanwhile the page says that its numbers are old."""
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:10")
    process, browser = opened(t)
    wait_for(lambda: browser.number("tile-opened") == 10, "the numbers")
    process.send_signal(signal.SIGTERM)
    process.wait()
    browser.wait("document.body.matches('.stale')", "it is seen that the server is gone")
    assert "does not answer" in browser.text("alarm") and "are from" in browser.text("alarm")
    assert ": stale" in browser.text("state") and browser.number("tile-opened") == 10
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:5")
    process = serve(t)
    browser.wait(LIVE, "it is live again")
    wait_for(lambda: browser.number("tile-opened") == 15, "the numbers of now")
    assert browser.run("return samples.some(one => one.values === null)"), "no gap in the chart"
    process.send_signal(signal.SIGSTOP)  # it hangs: connected, without an answer
    browser.wait("document.body.matches('.stale')", "it is seen that the server hangs")
    process.send_signal(signal.SIGCONT)
    browser.wait(LIVE, "it is live again")


def test_a_page_that_is_not_visible_asks_nothing(t):
    _, browser = opened(t)
    browser.minimize()
    if browser.run("return document.visibilityState") != "hidden":
        raise Skip("this browser hides no page")
    browser.wait("!asking && timer === null", "it has stopped asking")
    before = browser.run("return asOf")
    wait_for(lambda: api()["generated"][11:19] + " UTC" > before, "a second passes")
    assert browser.run("return asOf") == before
    browser.restore()
    browser.wait(f"asOf > '{before}' && {LIVE}", "it asks again")


def test_names_are_never_markup(t):
    server = t.server()
    strange = f"{t.scratch}/<img src=x onerror=document.title=7>"
    t.run("cp", t.prog("client"), strange, shim=False)
    t.run(strange, ADDRESS, str(server.port), *STEPS, "repeat:200")
    _, browser = opened(t)
    browser.wait("document.getElementById('findings').textContent.includes('TW101')", "a finding")
    name = strange.rsplit("/", 1)[1]
    assert [row[0] for row in rows(browser, "applications")] == [name]
    assert name in browser.text("findings") and name in browser.text("whose")
    assert browser.run("return document.querySelectorAll('img, main script').length") == 0
    assert "TIME_WAIT" in browser.run("return document.title")
    assert not browser.console()


def test_a_page_open_for_hours_does_not_grow(t):
    """The page gets six hours of answers at once, with ever new applications. Findings come and go
    on their own."""
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:3")
    _, browser = opened(t)
    feed = """
        const report = await get("api/report"), app = report.apps[0];
        for (let i = 0; i < 21600; i++) {
          const mine = Object.assign({}, app, { app: `job-${i / 7 | 0}`, exe: `/opt/job-${i / 7 | 0}` });
          remember(report, applications(Object.assign({}, report, { apps: [app, mine] })), arguments[0] + i);
          if (i % 300 === 0) showReport(Object.assign({}, report, { apps: [app, mine] }), arguments[0] + i);
        }
        const shown = [...document.querySelectorAll("*")].filter(one => !one.closest("#findings, #advice"));
        return [samples.length, given.size, speeds.length, shown.length];"""
    feed = "return (async arguments => {" + feed + "})(arguments)"

    def used():
        browser.devtools("HeapProfiler.collectGarbage")
        return browser.run("return performance.memory.usedJSHeapSize")
    once, before = browser.run(feed, 100000), used()
    twice = browser.run(feed, 200000)
    assert once == twice and once[0] <= 1200 and once[1] <= 10, (once, twice)
    wait_for(lambda: used() < before + 2000000, f"what it used is given back: {before}, {used()}")
    assert not browser.console()


def test_the_page_is_usable_on_a_phone_and_by_keyboard(t):
    server = t.server()
    path = f"{t.scratch}/{'a-rather-long-application-name-' * 4}"
    t.run("cp", t.prog("client"), path, shim=False)
    t.run(path, ADDRESS, str(server.port), *STEPS, "repeat:150")
    _, browser = opened(t)
    browser.wait("document.querySelectorAll('.finding').length > 0", "findings")
    for width, mobile in ((360, True), (1920, False)):
        browser.size(width, 800, mobile)
        browser.wait(f"innerWidth === {width}")
        assert browser.run("return document.documentElement.scrollWidth") <= width
    for scheme in ("dark", "light"):
        browser.scheme(scheme)
        browser.wait(f"matchMedia('(prefers-color-scheme: {scheme})').matches && "
                     "charts['chart-endings'] && charts['chart-endings'].options.color === style('--ink')")
    assert browser.run("""
        return [...document.querySelectorAll("section")].every(one => one.hasAttribute("aria-label") ||
            document.getElementById(one.getAttribute("aria-labelledby"))) &&
          [...document.querySelectorAll("canvas")].every(one => one.getAttribute("aria-label")) &&
          [...document.querySelectorAll("[role=meter]")].every(one => one.hasAttribute("aria-valuenow") &&
            one.getAttribute("aria-label")) &&
          [...document.querySelectorAll(".scroll")].every(one => one.tabIndex === 0) &&
          [...document.querySelectorAll("th")].every(one => one.scope)""")
    assert not browser.console()


def drawn_names(browser, chart):
    """The labels of a chart's bars."""
    return browser.run(f"return charts['chart-{chart}'].data.labels")


def choose(browser, name, value):
    """Chooses in a filter, as a person does."""
    browser.run("const select = document.getElementById(arguments[0]); select.value = arguments[1]; "
                "select.dispatchEvent(new Event('change'));", name, value)


def two_applications(t):
    """Two applications with one server in common, and one of them with another."""
    common, other = t.server(), t.server()
    copy = f"{t.scratch}/worker"
    t.run("cp", t.prog("client"), copy, shim=False)
    t.run(copy, ADDRESS, str(common.port), *STEPS, "repeat:30")
    t.run(copy, ADDRESS, str(other.port), *STEPS, "repeat:20")
    t.run(t.prog("client"), ADDRESS, str(common.port), *STEPS, "repeat:40")
    wait_for(lambda: time_wait(common.port) == 70 and time_wait(other.port) == 20, "TIME_WAIT")
    return common.to, other.to


def test_the_page_has_one_bar_per_destination_and_filters(t):
    common, other = two_applications(t)
    _, browser = opened(t)
    browser.wait("document.querySelectorAll('#ports li').length === 2", "two bars")
    bars = browser.run("return [...document.querySelectorAll('#ports .who')].map(one => one.textContent)")
    assert {bar.split()[0] for bar in bars} == {common, other}
    shared = next(bar for bar in bars if bar.startswith(common))
    assert "client" in shared and "worker" in shared, bars
    choose(browser, "filter-app", "worker")
    assert {row[0] for row in rows(browser, "applications")} == {"worker"}
    assert {row[0]: row[1] for row in rows(browser, "destinations")} == {common: "worker", other: "worker"}
    choose(browser, "filter-app", "")
    choose(browser, "filter-to", common)
    opened_there = {row[0]: row[3] for row in rows(browser, "applications")}
    assert opened_there == {"worker": "30", "client": "40"}, opened_there
    assert set(drawn_names(browser, "endings")) == {"worker", "client"}
    assert not browser.console()


def test_the_page_names_host_and_rules_and_lists_processes(t):
    server = t.server()
    conf = t.file("rules.conf", """rules = ( { name = "cache"; match = { to = ["*"]; };
                                                close = "fin-reset"; } );""")
    t.run(t.twshim, "policy", "load", "--dir", t.dir, conf, shim=False)
    client = t.start(t.prog("client"), ADDRESS, str(server.port), *STEPS, "socket", "connect", "wait-hup")
    _, browser = opened(t)
    about = browser.wait("document.getElementById('about').textContent.includes('cache') && "
                         "document.getElementById('about').textContent", "the rule")
    assert about.startswith(f"{os.uname().nodename} · policy: rules cache · counted since "), about
    assert api()["host"] == os.uname().nodename
    browser.wait("document.querySelectorAll('#processes tbody tr').length === 1", "the process")
    [row] = rows(browser, "processes")
    assert row[:2] == [str(client.pid), "client"] and row[3:5] == ["2", "1"], row


EXPERIMENT = """experiment = { name = "at the cache"; match = { to = ["*"]; };
  arms = ( { name = "control"; }, { name = "treated"; close = "fin-reset"; } ); };"""


def test_the_page_fits_its_screens_with_an_experiment(t):
    server = t.server()
    t.run(t.twshim, "policy", "load", "--dir", t.dir, t.file("experiment.conf", EXPERIMENT), shim=False)
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:200")
    _, browser = opened(t)
    browser.wait("document.querySelectorAll('#arms tbody tr').length > 0", "the arms")
    for width in (420, 1000, 1400):
        browser.size(width, 900, width == 420)
        browser.wait(f"innerWidth === {width}")
        wide = browser.run("return [document.documentElement, ...document.querySelectorAll('#arms .scroll')]"
                           ".map(one => one.scrollWidth - one.clientWidth)")
        assert not any(wide), (width, wide)
    colours = browser.run("return [...COLORS, ...Object.values(ENDINGS).map(one => one[1]), ...Object.values(GREY)]")
    assert len(set(colours)) == len(colours), colours


def test_other_sites_cannot_read_it(t):
    """A page of another origin, in a real browser: neither script, frame nor rebound name."""
    _, browser = opened(t)
    other = t.server("http-close", "127.0.0.1", files=t.scratch)
    t.file("evil.html", f"""<!doctype html><title>evil</title><script>
let done = [];
fetch("{PAGE}api/report").then(a => a.text()).then(t => done.push(["read", t.length]))
  .catch(e => done.push(["fetch", "refused"]));
const frame = document.createElement("iframe");
frame.src = "{PAGE}";
frame.onload = () => {{ let seen = "nothing"; try {{ seen = frame.contentDocument?.title ?? "nothing"; }} catch (e) {{}}
  done.push(["frame", seen]); }};
addEventListener("DOMContentLoaded", () => document.body.append(frame));
const script = document.createElement("script");
script.src = "{PAGE}page.js";
script.onload = () => done.push(["script", "loaded"]);
script.onerror = () => done.push(["script", "refused"]);
document.head.append(script);
</script><body>""")
    # Served without a type: a browser would not show it; so it is written into a page of that origin.
    browser.open(f"http://127.0.0.1:{other.port}/none")
    browser.run("document.open(); document.write(arguments[0]); document.close();",
                open(f"{t.scratch}/evil.html", encoding="utf-8").read())
    browser.wait("done.length === 3", "all three were tried")
    assert sorted(browser.run("return done")) == \
        [["fetch", "refused"], ["frame", "nothing"], ["script", "refused"]]
    rebound = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    rebound.request("GET", "/api/report", headers={"Host": f"rebound.example:{PORT}"})
    assert rebound.getresponse().status == 403


def test_the_page_counts_in_the_period_that_is_chosen(t):
    server = t.server()
    loop, tell = client(t, server)
    tell(5)
    make_older(t)
    tell(2)
    serve(t)
    browser = Browser(t)
    browser.open(f"{PAGE}?since=1m")
    browser.wait(f"{LIVE} && document.getElementById('tile-opened').textContent === '2'", "2 opened")
    about = browser.text("about")
    assert "· counted since " in about and "; 5 older connects are left out" in about, about
    assert browser.run("return document.getElementById('since').value") == "1m"
    browser.run("const list = document.getElementById('since'); list.value = 'all';"
                "list.dispatchEvent(new Event('change'))")
    browser.wait("document.getElementById('tile-opened').textContent === '7'", "all opened")
    assert "left out" not in browser.text("about")
    assert browser.run("return location.search") == "?since=all"
    browser.run("const list = document.getElementById('since'); list.value = 'policy';"
                "list.dispatchEvent(new Event('change'))")
    browser.wait("document.getElementById('alarm').textContent.includes('no policy is in force')",
                 "why there is no answer")
    loop.communicate()
