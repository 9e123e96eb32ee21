# SPDX-License-Identifier: MIT
"""The report as one page, --html, opened from a file in a real browser."""
import json
import math
import os
import re

from browser import Browser
from harness import ADDRESS, sysctl
from test_page import rows

STEPS = ("socket", "connect", "send:1", "recv:1", "close")


def data(page):
    """The report that is in a page."""
    found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert len(found) == 1 and "<" not in found[0]
    return json.loads(found[0])


def read(path):
    """A file's text."""
    with open(path, encoding="utf-8") as file:
        return file.read()


def opened(t, path):
    """A browser that shows the file; the page fetched nothing and logged no error."""
    browser = Browser(t)
    browser.open(f"file://{path}")
    assert not browser.run("return document.body.matches('.waiting, .stale')")
    assert browser.run("return performance.getEntriesByType('resource')"
                       ".filter(one => !one.name.startsWith('data:')).length") == 0
    assert not browser.console()
    return browser


def test_a_run_as_a_page_says_what_its_json_says(t):
    server, first = t.server(), t.server("first")
    page, path = f"{t.scratch}/page.html", f"{t.scratch}/report.json"
    script = t.file("both.sh", f"""
{t.prog("client")} {ADDRESS} {server.port} {" ".join(STEPS)} repeat:1234
{t.prog("client")} {ADDRESS} {first.port} {" ".join(STEPS[:4])} wait-hup close repeat:56
exit 3
""")
    result = t.run(t.twshim, "run", "--json", "-o", path, "--html", page, "--", "sh", script,
                   shim=False, status=3)
    assert result.stderr.decode() == f"twshim: the page is in {page}\n"
    report = t.read_report(read(path))
    assert data(read(page)) == report and report["total"]["established"] == 1290
    browser = opened(t, page)
    assert browser.number("time-wait") == report["kernel"]["time_wait"]
    assert browser.number("tile-owned") == report["kernel"]["owned"] == 1234
    assert browser.number("tile-opened") == 1290
    shown = {row[0]: row for row in rows(browser, "destinations")}
    assert shown[server.to][2] == "1,234" and shown[first.to][2] == "56", shown
    assert browser.text("state").startswith(f"sh {script}: exit status 3, ")
    named = browser.run("return [...document.querySelectorAll('.finding .id:nth-child(3)')]"
                        ".map(one => one.textContent.trim())")
    assert set(named) == {advice["id"] for advice in report["advice"]}, named
    assert report["advice"][0]["advice"] in browser.text("findings")
    drawn = browser.run("return Object.values(charts).map(one => one.data.datasets"
                        ".map(set => [set.label, set.data]))")
    (name, points), = drawn[0]
    left = [point["y"] for point in points]
    assert name == "client" and (points[0]["x"], points[-1]["x"]) == \
        (-math.ceil(report["run"]["elapsed_seconds"]), 60)
    assert left[0] < 1234 and max(left) == 1234 and left[-1] == 0, left
    assert left[points.index({"x": 0, "y": 1234})] == 1234
    assert ["closed here first: TIME_WAIT", [1234]] in drawn[1], drawn
    assert sum(sum(counts) for _, counts in drawn[2]) == 1290, drawn


def text_and_page(t, *command):
    """The text report of a run, with its lines joined, and its page in a browser."""
    page = f"{t.scratch}/page.html"
    result = t.run(t.twshim, "run", "--html", page, *command, shim=False)
    return " ".join(result.stderr.decode().split()), opened(t, page)


def shown(browser, selector):
    """The text of an element; "" if it is not shown."""
    return browser.run("const one = document.querySelector(arguments[0]);"
                       "return one?.checkVisibility() ? one.textContent : ''", selector)


def test_a_page_says_as_the_text_does_why_time_wait_is_not_there(t):
    server = t.server()
    command = ("--", t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:50")
    sysctl("net.ipv4.tcp_max_tw_buckets", 10)
    text, browser = text_and_page(t, *command)
    said = shown(browser, "#gone")
    assert said.startswith("40 TIME_WAIT sockets are missing: tcp_max_tw_buckets, 10, was "
                           "reached, and the kernel did not create 40 in this network namespace") and \
        said in text, (said, text)
    browser.close()
    sysctl("net.ipv4.tcp_max_tw_buckets", 1000)  # the control: room for all
    text, browser = text_and_page(t, *command)
    assert shown(browser, "#gone") == "" and "are missing" not in text, text


def test_a_page_says_as_the_text_does_where_connect_never_blocked(t):
    t.need("curl")
    server, http = t.server(), t.server("http")
    policy = t.file("trial.conf", """experiment = { name = "trial"; match = { to = ["10.77.0.1"]; };
  arms = ( { name = "control"; weight = 1; },
           { name = "treated"; weight = 1; close = "fin-reset"; } ); };
""")
    said = "The latency of connect() is measured only for blocking calls, and there were none."
    text, browser = text_and_page(t, "-c", policy, "--", "curl", "-s", f"http://{http.to}/?[1-60]")
    assert said in text and shown(browser, "#arms .note") == said, text
    browser.close()
    text, browser = text_and_page(t, "-c", policy, "--", t.prog("client"), ADDRESS,
                                  str(server.port), *STEPS, "repeat:60")
    assert said not in text and shown(browser, "#arms .note") == "", text


def test_names_in_a_page_are_never_markup(t):
    server = t.server()
    folder = f"{t.scratch}/<!--<script><"
    os.makedirs(folder)
    strange = f"{folder}/script><script>document.title=7<"
    t.run("cp", t.prog("client"), strange, shim=False)
    t.run(strange, ADDRESS, str(server.port), *STEPS, "repeat:200")
    page = f"{t.scratch}/page.html"
    result = t.run(t.twshim, "report", "--json", "--html", page, shim=False)
    report = t.read_report(result.stdout)
    assert data(read(page)) == report and report["apps"][0]["exe"] == strange
    browser = opened(t, page)
    assert rows(browser, "applications")[0][0] == os.path.basename(strange)
    assert browser.run("return document.querySelectorAll('script').length") == 5
    assert browser.run("return document.title") == \
        f"{report['kernel']['time_wait']:,} TIME_WAIT – {report['host']}"
    assert not browser.console()


def test_a_page_runs_no_script_but_its_own(t):
    """Even if a script got into the page: the browser refuses one without the page's nonce."""
    pages = [t.run(t.twshim, "report", "--html", "-", shim=False).stdout.decode()
             for _ in range(2)]
    nonces = [set(re.findall(r'nonce[-=]"?([0-9a-f]{32})', page)) for page in pages]
    assert all(len(found) == 1 for found in nonces) and nonces[0] != nonces[1]
    assert "http-equiv" in pages[0] and not re.search(r'(src|href)="(?!data:)(?!#)', pages[0]
                                                      .split("<style")[0])
    changed = pages[0].replace("<h1>", "<script>document.title = 7</script>"
                               "<img src=x onerror='document.title = 8'><h1>")
    browser = Browser(t)
    browser.open(f"file://{t.file('changed.html', changed)}")
    assert browser.run("return document.title").endswith(f"TIME_WAIT – {os.uname().nodename}")
    assert any("Content Security Policy" in said for said in browser.console())


def test_a_page_is_whole_or_not_written(t):
    page = t.file("page.html", "before")
    os.chmod(page, 0o600)
    result = t.run(t.twshim, "report", "--html", page, shim=False)
    assert result.stdout == b"" and result.stderr.decode() == f"twshim: the page is in {page}\n"
    assert read(page).endswith("</html>\n") and os.stat(page).st_mode & 0o777 == 0o600
    result = t.run(t.twshim, "report", "--html", f"{t.scratch}/no/page", shim=False, status=1)
    assert b"No such file or directory" in result.stderr and result.stderr.count(b"\n") == 1
    t.file("page.html", "before")
    result = t.run(t.twshim, "report", "--dir", page, "--html", page, shim=False, status=1)
    assert result.stderr.startswith(b"twshim: ") and read(page) == "before"
    result = t.run(t.twshim, "report", "--html", "/dev/full", shim=False, status=1)
    assert b"No space left" in result.stderr
    result = t.run(t.twshim, "report", "--json", "--html", "-", shim=False, status=2)
    assert b"--html -" in result.stderr
    result = t.run(t.twshim, "run", "--html", f"{t.scratch}/no/page", "--", "touch",
                   f"{t.scratch}/started", shim=False, status=125)
    assert not os.path.exists(f"{t.scratch}/started") and b"--html" in result.stderr
    assert [f for f in os.listdir(t.scratch) if f.startswith("page.html")] == ["page.html"]


def test_a_quiet_run_still_writes_its_page(t):
    server, page = t.server(), f"{t.scratch}/page.html"
    result = t.run(t.twshim, "run", "-q", "--html", page, "--", t.prog("client"), ADDRESS,
                   str(server.port), *STEPS, "repeat:7", shim=False)
    assert result.stderr == b"" and data(read(page))["total"]["established"] == 7
