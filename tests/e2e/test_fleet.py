# SPDX-License-Identifier: MIT
"""A fleet on Prometheus: the files of config/prometheus and config/grafana with the real promtool,
Prometheus and node_exporter, on three hosts that are network namespaces."""
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.parse
import urllib.request

from harness import ADDRESS, SERVE_PORT as PORT, TIME_WAIT, Skip, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHIPPED = os.path.join(ROOT, "config", "prometheus")
RULES = ("twshim.rules.yml", "twshim.alerts.yml")
DASHBOARD = os.path.join(ROOT, "config", "grafana", "twshim.json")
STEPS = ("socket", "connect", "send:1", "recv:1", "close")
PROMETHEUS = "127.0.0.1:9090"
BREAKER = 'rules = ( { name = "tried"; match = { to = ["*:1"]; }; close = "fin-reset";' \
          ' stop_if = { failed_percent = 50; }; } );'


def text_of(*path):
    """A file's text."""
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def load(name):
    """A shipped YAML file."""
    try:
        import yaml  # pylint: disable=import-outside-toplevel
    except ImportError:
        raise Skip("python3-yaml is not installed") from None
    return yaml.safe_load(text_of(SHIPPED, name))


def rules():
    """All rules, recording and alerting."""
    return [r for name in RULES for g in load(name)["groups"] for r in g["rules"]]


def dashboard_expressions():
    """(title, PromQL) of every panel, variable and annotation, as Grafana would send it."""
    board = json.loads(text_of(DASHBOARD))
    found = [(p["title"], t["expr"]) for p in board["panels"] for t in p.get("targets", [])]
    found += [(a["name"], a["expr"]) for a in board["annotations"]["list"]]
    for variable in board["templating"]["list"]:
        query = variable["query"]
        if isinstance(query, dict):
            metric = re.fullmatch(r"label_values\((.*), (\w+)\)", query["query"])
            found.append((variable["name"], f"count by ({metric[2]}) ({metric[1]})"))
    return [(title, re.sub(r"\$(instance|app|to)\b", ".*",
                           expression.replace("$__rate_interval", "1m")))
            for title, expression in found]


def metric_names(expression):
    """The metrics of twshim that a PromQL expression asks for."""
    bare = re.sub(r'"(\\.|[^"\\])*"', '""', expression)
    return set(re.findall(r"\b(?:[a-z_]+:)?twshim_[a-z0-9_]+(?::[a-z0-9_]+)?", bare))


def promtool(*arguments, **more):
    """Runs it; its exit status must be 0. Returns its output."""
    result = subprocess.run(["promtool", *arguments], stdout=subprocess.PIPE, check=False,
                            stderr=subprocess.STDOUT, timeout=60, **more)
    assert result.returncode == 0, result.stdout.decode()
    return result.stdout.decode()


def fetch(url):
    """What is there, without any proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=20) as answer:
        return answer.read().decode()


def can_fetch(url):
    """Whether it answers."""
    try:
        return fetch(url) is not None
    except OSError:
        return False


# ------------------------------------------------------------------ what is shipped


def test_promtool_accepts_configuration_and_rules(t):
    t.need("promtool")
    promtool("check", "config", os.path.join(SHIPPED, "prometheus.yml"))
    for name in RULES:
        said = promtool("check", "rules", os.path.join(SHIPPED, name))
        assert "SUCCESS" in said and "duplicate" not in said, said


def test_each_alert_fires_and_keeps_silent_where_it_should(t):
    t.need("promtool")
    cases = text_of(ROOT, "tests", "prometheus", "twshim.test.yml")
    for name in [r["alert"] for r in rules() if "alert" in r]:
        assert f'alertname="{name}"' in cases, f"no test of {name}"
    promtool("test", "rules", os.path.join(ROOT, "tests", "prometheus", "twshim.test.yml"))


def test_what_an_alert_says_to_type_can_be_typed(t):
    for rule in rules():
        if "alert" not in rule:
            continue
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule
        assert rule["annotations"]["summary"], rule
        commands = re.findall(r"`twshim ([^`]*)`", rule["annotations"]["description"])
        assert commands, f"{rule['alert']} does not say what to do"
        for command in commands:
            words = command.split()
            name = words[:2] if words[0] == "policy" else words[:1]
            usage = t.run(t.twshim, *name, "--help", shim=False).stdout.decode()
            for option in re.findall(r"--[a-z-]+", command):
                assert re.search(rf"{option}\b", usage), f"{rule['alert']}: {command}"


def test_metrics_pass_promtool_in_every_state(t):
    t.need("promtool")
    server = t.server()

    def check(*options):
        text = t.run(t.twshim, "export", *options, shim=False).stdout.decode()
        assert promtool("check", "metrics", input=text.encode()) == "", text
        return text

    assert "twshim_build_info" in check()
    t.run(t.twshim, "policy", "load", t.file("p.conf", BREAKER), shim=False)
    held = t.start(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:5", *STEPS[:4],
                   "port:1", "socket", "connect?", "sleep:60000", stdout=subprocess.DEVNULL)
    server.wait("bytes", 6)
    assert re.search(r'twshim_processes\{app="client"\} 1\n', check())
    wait_for(lambda: 'reason="refused"' in check(), "it has tried the closed port")
    assert 'twshim_policy_rule_stopped_processes{rule="tried"} 0' in check()
    held.kill()
    held.wait()
    assert re.search(r'twshim_processes\{app="client"\} 0\n', check())
    for options in (("--top", "0"), ("--max-series", "60"), ("--max-series", "0")):
        check(*options)


def test_what_is_installed_is_whole(t):
    t.need("promtool")
    subprocess.run(["make", "-s", "-C", ROOT, "install", "-o", "all", "-o", "man", "-o", "extras",
                    f"BUILD={t.build}", "PREFIX=/usr/local",
                    f"DESTDIR={t.scratch}"], check=True, stdout=subprocess.DEVNULL)
    shared = os.path.join(t.scratch, "usr", "local", "share", "twshim")
    promtool("check", "config", os.path.join(shared, "prometheus", "prometheus.yml"))
    assert text_of(shared, "grafana", "twshim.json") == text_of(DASHBOARD)
    table = set(re.findall(r"^\| (`Twshim.*?) \|", text_of(ROOT, "docs", "fleet.md"), re.M))
    assert set(re.findall(r"`(\w+)`", "".join(table))) == {r["alert"] for r in rules()
                                                          if "alert" in r}


# ------------------------------------------------------------------- node_exporter


def test_the_textfile_collector_takes_every_series(t):
    t.need("prometheus-node-exporter")
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:9")
    strange = f'{t.scratch}/a\\b"c\nd'
    shutil.copy(t.prog("client"), strange)
    t.run(strange, ADDRESS, str(server.port), *STEPS)
    folder = os.path.join(t.scratch, "textfiles")
    os.mkdir(folder)
    path = os.path.join(folder, "twshim.prom")
    t.run(t.twshim, "export", "--textfile", path, shim=False)
    promtool("check", "metrics", input=text_of(path).encode())
    t.start("prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile",
            f"--collector.textfile.directory={folder}", "--web.listen-address=127.0.0.1:9100",
            shim=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: can_fetch("http://127.0.0.1:9100/metrics"), "node_exporter answers")
    got = fetch("http://127.0.0.1:9100/metrics")
    assert "\nnode_textfile_scrape_error 0\n" in got

    def series(text):
        """{name: {(labels, value)}}: node_exporter sorts labels and prints numbers its way."""
        return sorted((n, tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', l or ""))),
                       float(v))
                      for n, l, v in re.findall(r"^(twshim_\w+)(?:\{(.*)\})? (\S+)$", text, re.M))

    def rounded(text):
        return [(n, tuple((k, float(v) if k == "le" else v) for k, v in l), v)
                for n, l, v in series(text)]
    assert rounded(got) == rounded(text_of(path)) and len(rounded(got)) > 50
    stale = next(r["expr"] for r in rules() if r.get("alert") == "TwshimTextfileStale")
    pattern = re.search(r'file=~"([^"]*)"', stale)[1]
    files = re.findall(r'^node_textfile_mtime_seconds\{file="([^"]*)"\}', got, re.M)
    assert files == [path] and re.fullmatch(pattern, path), (files, pattern)


# ---------------------------------------------------------------------- three hosts


class Host:
    """A network namespace that is a host: an address, a run-time directory, `twshim serve`."""

    def __init__(self, t, number):
        self.t = t
        self.address = f"10.88.{number}.2"
        self.instance = f"{self.address}:{PORT}"
        self.dir = tempfile.mkdtemp(prefix="twshim-host-", dir=t.dir)
        ours = os.readlink("/proc/self/ns/net")
        holder = t.start("unshare", "-n", "sleep", "600", shim=False)
        self.pid = str(holder.pid)
        wait_for(lambda: os.readlink(f"/proc/{self.pid}/ns/net") != ours, "a namespace")
        gateway = f"10.88.{number}.1"
        link = f"host{number}"
        self.ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", self.pid)
        self.ip("address", "add", f"{gateway}/24", "dev", link)
        self.ip("link", "set", link, "up")
        for words in (("link", "set", "lo", "up"), ("link", "set", "eth0", "up"),
                      ("address", "add", f"{self.address}/24", "dev", "eth0"),
                      ("route", "add", "default", "via", gateway)):
            self.run("ip", *words, shim=False)

    @staticmethod
    def ip(*words):
        """ip(8) here."""
        subprocess.run(["ip", *words], check=True)

    def inside(self, command):
        """A command line that runs there."""
        return ["nsenter", "-t", self.pid, "-n", *command]

    def run(self, *command, **more):
        """Runs a client there."""
        return self.t.run(*self.inside(command), env={"TWSHIM_DIR": self.dir}, **more)

    def start(self, *command, **more):
        """Starts a client there in the background."""
        return self.t.start(*self.inside(command), env={"TWSHIM_DIR": self.dir}, **more)

    def serve(self):
        """Starts its exporter and waits until it answers."""
        process = self.start(self.t.twshim, "serve", "--listen", self.instance, shim=False,
                             stdout=subprocess.PIPE)
        assert process.stdout.readline().startswith(b"http://")

    def ports(self, low, high):
        """Narrows its ephemeral ports."""
        self.run("sh", "-c", f"echo {low} {high} > /proc/sys/net/ipv4/ip_local_port_range",
                 shim=False)

    def time_wait(self, port):
        """TIME_WAIT sockets to this port, by its kernel."""
        lines = text_of("/proc", self.pid, "net", "tcp").splitlines()[1:]
        return sum(1 for f in map(str.split, lines)
                   if int(f[3], 16) == TIME_WAIT and int(f[2].rsplit(":", 1)[1], 16) == port)


class Prometheus:
    """A real Prometheus with the shipped files, but with an interval and a `for` of one second."""

    def __init__(self, t, hosts):
        import yaml  # pylint: disable=import-outside-toplevel
        for name in RULES:
            t.file(name, re.sub(r"\bfor: \w+", "for: 1s", text_of(SHIPPED, name)))
        config = load("prometheus.yml")
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        job = config["scrape_configs"][0]
        job["static_configs"] = [{"targets": [h.instance for h in hosts]}]
        path = t.file("prometheus.yml", yaml.safe_dump(config))
        promtool("check", "config", path)
        self.process = t.start("prometheus", "--config.file", path, "--log.level=warn",
                               "--storage.tsdb.path", os.path.join(t.scratch, "tsdb"),
                               f"--web.listen-address={PROMETHEUS}", shim=False,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: can_fetch(f"http://{PROMETHEUS}/-/ready"), "Prometheus is ready", 60)

    @staticmethod
    def api(path, **arguments):
        """Its answer's data; any error fails."""
        url = f"http://{PROMETHEUS}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        answer = json.loads(fetch(url))
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        """[(labels, value)] of an instant query."""
        return [(r["metric"], float(r["value"][1]))
                for r in self.api("query", query=expression)["result"]]

    def value(self, expression):
        """The value of one series; None if there is none."""
        found = self.query(expression)
        return found[0][1] if found else None

    def firing(self):
        """{(alert, instance): it} of those that fire."""
        return {(a["labels"]["alertname"], a["labels"].get("instance")): a
                for a in self.api("alerts")["alerts"] if a["state"] == "firing"}


def clients(hosts, servers, times):
    """curl on all hosts, most on the third; wget and a keep-alive on others."""
    worst, other = servers
    for host, count in zip(hosts, (20, 10, 25)):
        host.run("curl", "-s", "-o", "/dev/null", f"http://{worst.to}/[1-{count * times}]")
    for _ in range(3):
        hosts[0].run("wget", "-q", "-O", "/dev/null", f"http://{other.to}/")


def check_expressions(prometheus):
    """Dashboard, rules and alerts use metrics that exist, and Prometheus accepts each of them."""
    exported = set(prometheus.api("label/__name__/values"))
    recorded = {r["record"] for r in rules() if "record" in r}
    known = {n for n in exported if n.startswith("twshim_")} | recorded
    assert metric_names('rate(twshim_nonsense_total{app="twshim_x"}[5m])') - known \
        == {"twshim_nonsense_total"}
    for rule in rules():
        name = rule.get("alert") or rule["record"]
        assert not metric_names(rule["expr"]) - known, (name, metric_names(rule["expr"]) - known)
        prometheus.query(rule["expr"])
    silent = {"Time until no port is left"}  # perhaps nothing grows any more
    for title, expression in dashboard_expressions():
        assert not metric_names(expression) - known, (title, metric_names(expression) - known)
        # A rate needs two samples.
        wait_for(lambda: prometheus.query(expression) or title in silent,
                 f"{title}: nothing: {expression}")
    assert {n for n in recorded if not prometheus.query(n)} <= \
        {"instance_from_to:twshim_ephemeral_port_exhaustion_seconds:deriv5m"}


def test_one_query_names_the_worst_application_of_three_hosts(t):
    t.need("prometheus", "promtool", "curl", "wget", "nsenter")
    load("prometheus.yml")
    hosts = [Host(t, number) for number in (1, 2, 3)]
    servers = [t.server("http"), t.server("http")]
    hosts[2].ports(40000, 40099)
    hosts[1].run(t.twshim, "policy", "load", t.file("p.conf", BREAKER), shim=False)
    for host in hosts:
        host.serve()
    prometheus = Prometheus(t, hosts)
    wait_for(lambda: prometheus.value('count(up{job="twshim"} == 1)') == 3, "all are scraped")
    clients(hosts, servers, 1)
    wait_for(lambda: prometheus.value("sum(twshim_connections_opened_total)") == 58,
             "what was opened is scraped")
    assert not prometheus.firing(), prometheus.firing()
    clients(hosts, servers, 2)
    # A program that lives while its rule's breaker trips.
    hosts[1].start(t.prog("client"), ADDRESS, "1", "socket", "connect?", "close", "repeat:30",
                   "sleep:600000", stdout=subprocess.DEVNULL)
    worst = servers[0]
    kernel = [h.time_wait(worst.port) for h in hosts]
    assert kernel == [60, 30, 75], kernel
    query = "topk(1, app_to:twshim_time_wait_sockets:sum)"
    wait_for(lambda: prometheus.value(query) == sum(kernel), "Prometheus agrees with the kernels")
    (labels, count), = prometheus.query(query)
    assert (labels["app"], labels["to"], count) == ("curl", worst.to, 165), (labels, count)
    for host, there in zip(hosts, kernel):
        assert host.time_wait(worst.port) == there == prometheus.value(
            f'twshim_time_wait_sockets{{instance="{host.instance}",app="curl",to="{worst.to}"}}')

    half = ("TwshimPortsHalfUsed", hosts[2].instance)
    stopped = ("TwshimPolicyStopped", hosts[1].instance)
    wait_for(lambda: {half, stopped} <= set(prometheus.firing()), "both alerts fire", 30)
    firing = prometheus.firing()
    assert firing[half]["labels"]["to"] == worst.to
    assert firing[half]["annotations"]["summary"] == "75% of the ephemeral ports from " \
        f"{hosts[2].address} to {worst.to} are in use on {hosts[2].instance}"
    assert firing[stopped]["labels"]["rule"] == "tried"
    ports = {a for a in firing if a[0] in ("TwshimPortsHalfUsed", "TwshimPortsNearlyGone")}
    assert ports == {half}, ports
    check_expressions(prometheus)
