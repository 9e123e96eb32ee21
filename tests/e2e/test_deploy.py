# SPDX-License-Identifier: MIT
"""The shipped examples for containers: the tests parse them and do what they say, with namespaces
instead of containers."""
import http.client
import json
import os
import re
import shutil
import subprocess

from harness import ADDRESS, SERVE_PORT, SOURCE, Skip, time_wait_left, wait_for

DEPLOY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../config/deploy")
# What the image has in /usr/local, and an empty volume in memory where the pod has it.
POD = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /usr/local
mkdir -p /usr/local/lib /usr/local/bin
cp "$LIBRARY" /usr/local/lib/
cp "$TWSHIM" /usr/local/bin/
chmod 755 /usr/local/lib/* /usr/local/bin/*
mount -t tmpfs -o mode=755 tmpfs /run
mkdir "$VOLUME"
mount -t tmpfs -o mode=777,size=128m tmpfs "$VOLUME"
echo ready
exec sleep 1000
"""


def load(name):
    """A shipped YAML file."""
    try:
        import yaml  # pylint: disable=import-outside-toplevel
    except ImportError:
        raise Skip("python3-yaml is not installed") from None
    with open(os.path.join(DEPLOY, name), encoding="utf-8") as file:
        return yaml.safe_load(file)


class Pod:
    """A volume and an image's files in a mount namespace; containers as commands in it."""

    def __init__(self, t, volume, user):
        t.need("setpriv")
        self.t, self.user = t, user
        self.process = t.start("unshare", "-m", "sh", "-c", POD, shim=False,
                               stdout=subprocess.PIPE,
                               env={"LIBRARY": t.library, "TWSHIM": t.twshim, "VOLUME": volume})
        assert self.process.stdout.readline() == b"ready\n"

    def inside(self, command, environment, own_pids=False, user=None):
        """The command line of a container."""
        user = str(user or self.user)
        words = ["nsenter", "-t", str(self.process.pid), "-m"]
        if own_pids:
            words += ["unshare", "-p", "-m", "--fork", "--kill-child", "--mount-proc"]
        return words + ["setpriv", "--reuid", user, "--regid", user, "--clear-groups",
                        "--no-new-privs", "env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin",
                        *[f"{k}={v}" for k, v in environment.items()], *command]

    def run(self, command, environment, **more):
        """A container that ends; its output."""
        user = more.pop("user", None)
        return self.t.run(*self.inside(command, environment, user=user), shim=False, **more)


def ask(path):
    """What the sidecar answers."""
    connection = http.client.HTTPConnection(ADDRESS, SERVE_PORT, timeout=30)
    connection.request("GET", path)
    return connection.getresponse().read().decode()


def act_out(t, volume, user, init, app_environment, sidecar):
    """The library is copied, the application opens five connections, and the sidecar is queried."""
    server = t.server("http")
    pod = Pod(t, volume, user)
    pod.run(init, {})
    curl = ["curl", "-s", "-o", "/dev/null", f"http://{server.to}/[1-5]"]
    t.need("curl")
    pod.run(curl, app_environment)
    assert time_wait_left(server.port) == 5
    process = t.start(*pod.inside(sidecar, {}, own_pids=True), shim=False,
                      stdout=subprocess.PIPE)
    assert process.stdout.readline().startswith(b"http://")
    wait_for(lambda: ask("/healthz") == "ok\n", "the sidecar answers")
    report = t.read_report(ask("/api/report"))
    assert report["total"]["established"] == 5, report["total"]
    t.time_wait_agrees(report, server, 5)
    assert re.search(r'twshim_connections_opened_total\{app="curl",to="[^"]*"\} 5\n',
                     ask("/metrics"))
    # The same user can read, and nobody else.
    command = ["twshim", "report", "--json", "--dir", app_environment["TWSHIM_DIR"]]
    assert json.loads(pod.run(command, {}).stdout)["total"]["established"] == 5
    other = pod.run(command, {}, user=user + 1, status=None)
    assert other.returncode != 0 or json.loads(other.stdout)["total"]["established"] == 0, other


def test_the_pod_of_the_kubernetes_example_is_counted_by_its_sidecar(t):
    pod = load("kubernetes.yaml")
    spec = pod["spec"]
    assert (pod["apiVersion"], pod["kind"]) == ("v1", "Pod") and spec["shareProcessNamespace"]
    volume, = spec["volumes"]
    assert volume["emptyDir"]["medium"] == "Memory"
    containers = {c["name"]: c for c in spec["initContainers"] + spec["containers"]}
    mounts = {(m["name"], m["mountPath"]) for c in containers.values() for m in c["volumeMounts"]}
    (name, path), = mounts
    assert name == volume["name"] and all(c.get("image") for c in containers.values())
    act_out(t, path, spec["securityContext"]["runAsUser"], containers["twshim-library"]["command"],
            {e["name"]: e["value"] for e in containers["app"]["env"]},
            containers["twshim"]["command"])


def test_the_services_of_the_compose_example_are_counted_by_the_sidecar(t):
    services = load("compose.yaml")["services"]
    path, = {s["volumes"][0].split(":")[1] for s in services.values()}
    user, = {s["user"].split(":")[0] for s in services.values()}
    assert services["twshim"]["network_mode"] == services["twshim"]["pid"] == "service:app"
    act_out(t, path, int(user), services["twshim-library"]["command"],
            services["app"]["environment"], services["twshim"]["command"])


def test_the_image_installs_what_twshim_is_linked_with(t):
    """Each library that the binary needs is in a package that the Dockerfile names."""
    t.need("dpkg-query", "readelf")
    with open(os.path.join(DEPLOY, "Dockerfile"), encoding="utf-8") as file:
        words = set(file.read().split())
    text = t.run("readelf", "-d", t.twshim, shim=False).stdout.decode()
    for name in re.findall(r"NEEDED.*\[(.+)\]", text):
        if re.match(r"(libc|libm|libtinfo|lib[a-z]+san)\.so", name):
            continue  # with the base image, with ncurses, or a sanitizer's
        found = t.run("dpkg-query", "-S", f"*/{name}", shim=False).stdout.decode()
        packages = {line.split(":")[0] for line in found.splitlines()}
        assert packages & words, (name, packages)


def test_the_collector_scrapes_the_port_of_serve_and_names_metrics_that_there_are(t):
    """What it renames, and what docs/opentelemetry.md lists, is what `export` writes."""
    collector = load("otel-collector.yaml")
    job, = collector["receivers"]["prometheus/twshim"]["config"]["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{SERVE_PORT}"]}]
    if shutil.which("promtool"):
        scrapes = t.file("scrapes.json", json.dumps(collector["receivers"]["prometheus/twshim"]["config"]))
        t.run("promtool", "check", "config", scrapes, shim=False)
    pipeline = collector["service"]["pipelines"]["metrics/twshim"]
    assert pipeline["processors"] == list(collector["processors"])
    assert set(pipeline["receivers"]) == set(collector["receivers"])
    assert set(pipeline["exporters"]) == set(collector["exporters"])
    labels, names = collector["processors"]["transform/twshim"]["metric_statements"]
    server = t.server("http")
    t.need("curl")
    t.run(t.twshim, "run", "-q", "-c", t.file("d", "detail = true;\n"), "--", "curl", "-s", "-o", "/dev/null",
          f"http://{server.to}/", shim=False)
    metrics = t.run(t.twshim, "export", shim=False).stdout.decode()
    known = set(re.findall(r"^# TYPE (\S+)", metrics, re.M))
    for pattern in re.findall(r'where IsMatch\(name, "(.*)"\)', "\n".join(names["statements"])):
        found = [name for name in known if re.search(pattern.replace("$$", "$"), name)]
        assert len(found) == 2, (pattern, found)
    for name in re.findall(r'metric.name == "(.*)"', "\n".join(labels["statements"])):
        assert name in known, name
    with open(os.path.join(SOURCE, "docs/opentelemetry.md"), encoding="utf-8") as file:
        page = file.read()
    for name in re.findall(r"`(twshim_\w+)`", page):
        assert name in known, name
    # Each address becomes one and a port, as the collector's own expressions do it.
    for to, address, port in (("10.0.0.7:6379", "10.0.0.7", "6379"),
                              ("[fd00::1]:80", "fd00::1", "80"), ("other", "other", None)):
        patterns = re.findall(r'replace_pattern\(attributes\["[\w.]+"\], "(.*)", "(.*)"\)',
                              "\n".join(labels["statements"]).replace("$$", "$"))
        assert len(patterns) == 2
        split = [re.sub(pattern.replace("\\\\", "\\"), r"\1", to) for pattern, _ in patterns]
        assert split[0] == address and (port is None or split[1] == port), (to, split)


def test_every_example_listens_and_scrapes_where_serve_listens(t):
    """One number in all that is shipped and documented, and none is left of 9464, which
    OpenTelemetry's exporters use, except where the page on it says why."""
    del t
    others = []
    for folder in ("config", "docs", "man", "."):
        for path, _, names in os.walk(os.path.join(SOURCE, folder)):
            for name in names if folder != "." or path == os.path.join(SOURCE, folder) else ():
                if not name.endswith((".md", ".yaml", ".yml", ".service", ".man", "Dockerfile")):
                    continue
                with open(os.path.join(path, name), encoding="utf-8") as file:
                    text = file.read()
                if "9464" in text and name not in ("opentelemetry.md", "CHANGELOG.md"):
                    others.append(name)
                for port in re.findall(r"--listen\W+[\d.]+:(\d+)", text):
                    if int(port) != SERVE_PORT and name not in ("opentelemetry.md", "CHANGELOG.md"):
                        others.append((name, port))
    assert not others, others


def test_serve_listens_on_its_own_port_and_on_the_old_one_if_told(t):
    for options, port in (((), SERVE_PORT), (("--listen", "127.0.0.1:9464"), 9464)):
        process = t.start(t.twshim, "serve", *options, shim=False, stdout=subprocess.PIPE)
        assert process.stdout.readline().decode() == f"http://127.0.0.1:{port}/\n"
