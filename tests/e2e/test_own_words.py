# SPDX-License-Identifier: MIT
"""The cures in the programs' own words: each is taken literally from what doctor prints, the program is
run with it, and the finding is gone."""
import os
import re
import shlex
import signal
import subprocess
import sys

from harness import Skip, settle, wait_for
from test_clients import Postgres
from test_cold import need_bpf
from test_doctor import a_minute_passes, doctor, wrong

COUNT = 40


def words(t, ident, part):
    """The lines that the finding's cure has for the place that `part` names."""
    found = [step["type"] for finding in doctor(t, "--sample", "0")["findings"] if finding["id"] in (ident, "TW102")
             for step in finding["cure"] if step["kind"] == "change" and part in step["text"]]
    assert found, (ident, part, doctor(t, "--sample", "0"))
    return found[0]


def cured(t, server):
    """Whether few connections were opened, and none of the findings remains."""
    said = doctor(t, "--sample", "0")
    assert not {"TW101", "TW102", "TW103"} & set(wrong(said)), said
    assert server.counts["accepted"] <= 2 * COUNT, server.counts


def proxy(t, name, config, port, server, command):
    """Runs COUNT requests through a proxy with this configuration."""
    path = t.file(name, config)
    before = server.counts["accepted"]
    process = t.start(*command, path, cwd=t.scratch, stderr=subprocess.DEVNULL,
                      stdout=subprocess.DEVNULL)

    def asks():
        return t.run("curl", "-sf", f"http://127.0.0.1:{port}/", shim=False, status=None).returncode == 0
    wait_for(asks, f"{name} answers")
    for _ in range(COUNT - 1):
        assert asks()
    made = server.counts["accepted"] - before
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    return made


def nginx(t, before, inside):
    """A configuration of nginx; `before` the server, `inside` the location."""
    return f"""
user root; daemon off; pid {t.scratch}/nginx.pid; error_log /dev/null; worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path {t.scratch}/a; proxy_temp_path {t.scratch}/b; fastcgi_temp_path {t.scratch}/c;
    uwsgi_temp_path {t.scratch}/d; scgi_temp_path {t.scratch}/e;
    {before}
    server {{ listen 127.0.0.1:16080; location / {{ {inside} }} }}
}}
"""


def test_nginx_keeps_connections_to_its_upstream(t):
    t.need("nginx", "curl")
    server = t.server("http11")
    command = ("nginx", "-c")
    # Without keepalive, nginx asks the server to close; this server leaves that to nginx.
    made = proxy(t, "bad.conf", nginx(t, "", f"proxy_pass http://{server.to};"), 16080, server, command)
    assert made >= COUNT
    said = words(t, "TW101", "nginx")
    upstream, _, inside = said.partition("\n# in each location that passes requests there:\n")
    a_minute_passes(t)
    made = proxy(t, "good.conf", nginx(t, upstream, inside), 16080, server, command)
    assert made == 1, made
    cured(t, server)


def test_haproxy_reuses_connections_to_its_backend(t):
    t.need("haproxy", "curl")
    server = t.server("http11")

    def config(backend):
        lines = "\n".join(f"    {line}" for line in backend.splitlines())
        return f"""
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend front
    bind 127.0.0.1:16081
    default_backend back
backend back
{lines}
    server one {server.to}
"""
    made = proxy(t, "bad.cfg", config("option httpclose"), 16081, server, ("haproxy", "-db", "-f"))
    assert made >= COUNT
    said = words(t, "TW101", "haproxy")
    a_minute_passes(t)
    made = proxy(t, "good.cfg", config(said.replace("pool-max-conn 100", "")), 16081, server,
                 ("haproxy", "-db", "-f"))
    assert made <= 2, made
    cured(t, server)


NODE = """
const url = process.argv[2];
async function go(i) {
  if (i == 0) return;
  await new Promise((done, fail) => require('http').get(url, answer => {
    answer.resume(); answer.on('end', done); }).on('error', fail));
  await go(i - 1);
}
go(%d).then(() => process.exit());
"""


def test_node_keeps_connections(t):
    t.need("node")
    server = t.server("http11")
    bad = "require('http').globalAgent = new (require('http').Agent)({ keepAlive: false });\n"
    t.run("node", t.file("bad.js", bad + NODE % COUNT), f"http://{server.to}/")
    assert server.counts["accepted"] == COUNT
    said = words(t, "TW101", "Node")
    a_minute_passes(t)
    t.run("node", t.file("good.js", said + NODE % COUNT), f"http://{server.to}/")
    assert server.counts["accepted"] == COUNT + 1
    cured(t, server)


def test_curl_asks_for_all_in_one_call(t):
    t.need("curl")
    server = t.server("http11")
    for _ in range(COUNT):
        t.run("curl", "-s", f"http://{server.to}/")
    said = words(t, "TW101", "all URLs")
    file = words(t, "TW101", "a file with one line")
    a_minute_passes(t)
    assert t.run(*shlex.split(said)).stdout == b"hi\nhi\n"
    assert server.counts["accepted"] == COUNT + 1
    t.file("urls.txt", f"url = http://{server.to}/\n" * COUNT)
    assert t.run(*shlex.split(file), cwd=t.scratch).stdout == b"hi\n" * COUNT
    assert server.counts["accepted"] == COUNT + 2
    cured(t, server)


PYTHON_BAD = """
import http.client, sys
for path in ["/"] * %d:
    connection = http.client.HTTPConnection(sys.argv[1])
    connection.request("GET", path)
    connection.getresponse().read()
    connection.close()
"""


def test_python_keeps_its_connection(t):
    server = t.server("http11")
    t.run(sys.executable, t.file("bad.py", PYTHON_BAD % COUNT), server.to)
    first, *rest = words(t, "TW101", "http.client").splitlines()
    a_minute_passes(t)
    good = f"import http.client\n{first}\nfor path in ['/'] * {COUNT}:\n" + "".join(f"    {l}\n" for l in rest)
    t.run(sys.executable, t.file("good.py", good))
    assert server.counts["accepted"] == COUNT + 1
    cured(t, server)


LIBRARY = """
import sys, %s
host, port = sys.argv[1].split(":")
url = f"http://{host}:{port}/"
%s
for _ in range(%d):
    %s
"""


def python_library(t, module, server, part, bad, more=()):
    """A library of Python: `bad` for each request; then the recipe's first line once, and its others
    and `more` for each request."""
    python = "/usr/bin/python3"
    t.need(python)
    if t.run(python, "-c", f"import {module}", shim=False, status=None).returncode != 0:
        raise Skip(f"{python} has no {module}")
    t.run(python, t.file("bad.py", LIBRARY % (module, "", COUNT, bad)), server.to)
    assert server.counts["accepted"] == COUNT
    once, *each = words(t, "TW101", part).splitlines()
    settle(server.port)
    a_minute_passes(t)
    t.run(python, t.file("good.py", LIBRARY % (module, once, COUNT, "; ".join((*each, *more)))), server.to)
    assert server.counts["accepted"] == COUNT + 1
    cured(t, server)


def test_requests_keeps_its_session(t):
    python_library(t, "requests", t.server("http11"), "with requests", "assert requests.get(url).text == 'hi\\n'")


def test_httpx_keeps_its_client(t):
    python_library(t, "httpx", t.server("http11"), "with httpx", "assert httpx.get(url).text == 'hi\\n'")


def test_redis_py_keeps_its_pool(t):
    python_library(t, "redis", t.server("redis"), "with redis-py", "assert redis.Redis(host=host, port=port).ping()",
                   ("assert r.ping()",))


def test_php_keeps_its_handle(t):
    t.need("php")
    server = t.server("http11")
    head = "<?php $url = $argv[1]; for ($i = 0; $i < %d; $i++) { %s }"
    bad = "$handle = curl_init(); curl_setopt($handle, CURLOPT_URL, $url); curl_exec($handle); curl_close($handle);"
    # The extension's connections are seen once the library is not loaded with RTLD_DEEPBIND.
    strip = ("-p", "deepbind=strip")

    def php(name, code):
        t.run(t.twshim, "run", "-q", "--keep", *strip, "--", "php", t.file(name, head % (COUNT, code)),
              f"http://{server.to}/", shim=False)
    php("bad.php", bad)
    if server.counts["accepted"] != COUNT:
        raise Skip("no curl extension for php")
    said = words(t, "TW101", "one handle")
    a_minute_passes(t)
    php("good.php", said)
    assert server.counts["accepted"] == COUNT + 1
    cured(t, server)


PHP = """<?php
ini_set('display_errors', '0');
[$host, $port] = explode(':', '%s');
$port = (int)$port;
%s
"""


def php_worker(t, extension, server, line, bad, script):
    """A worker of PHP that answers many requests: each connects as `bad` does, then as this line of the
    recipe says. `script`: what a request does, with its connection at %s."""
    t.need("php", "curl")
    if t.run("php", "-r", f"exit((int)!extension_loaded('{extension}'));", shim=False, status=None).returncode:
        raise Skip(f"php has no extension {extension}")
    # Extensions' libraries are seen once they are not loaded with RTLD_DEEPBIND.
    command = (t.twshim, "run", "-q", "--keep", "-p", "deepbind=strip", "--", "php", "-S", "127.0.0.1:16082")
    assert proxy(t, "bad.php", PHP % (server.to, script % bad), 16082, server, command) == COUNT
    said = words(t, "TW101", "PHP with Redis or PDO").splitlines()[line]
    settle(server.port, 16082)
    a_minute_passes(t)
    assert proxy(t, "good.php", PHP % (server.to, script % said), 16082, server, command) == 1
    cured(t, server)


def test_php_keeps_its_connection_to_redis(t):
    php_worker(t, "redis", t.server("redis"), 0, "$redis->connect($host, $port);",
               "$redis = new Redis();\n%s\n$redis->ping() or exit(1);")


def test_php_keeps_its_connection_to_a_database(t):
    server = Postgres(t)
    try:
        server.wait()
        php_worker(t, "pdo_pgsql", server, 1, "new PDO($dsn, $user, $password);",
                   "$dsn = \"pgsql:host=$host;port=$port\"; $user = 'postgres'; $password = '';\n"
                   "$database = %s\n$database->query('select 1')->fetch()[0] == 1 or exit(1);")
    finally:
        server.close()


def test_ab_keeps_its_connections(t):
    t.need("ab")
    closes, server = t.server("http-close"), t.server("http11")
    t.run("ab", "-c", "2", "-n", str(COUNT), f"http://{closes.to}/")  # it waits for the server's close
    said = words(t, "TW101", "ab:").replace(closes.to, server.to)
    a_minute_passes(t)
    t.run(*shlex.split(said))
    cured(t, server)


def test_wrk_keeps_its_connections(t):
    t.need("wrk")
    server = t.server("http11")
    t.run("wrk", "-c", "2", "-t", "1", "-d", "1", "-H", "Connection: close", f"http://{server.to}/")
    row = re.search(r'"wrk"[^\n]*\n\s*"(wrk [^"]*)"', open_table())[1].replace("TO", server.to)
    before = server.counts["accepted"]
    a_minute_passes(t)
    t.run(*shlex.split(row.replace("-d 10", "-d 1")))
    assert server.counts["accepted"] - before <= 12
    assert not {"TW101", "TW103"} & set(wrong(doctor(t, "--sample", "0")))


def test_hey_keeps_its_connections(t):
    """It is written in Go, but is used by people who cannot change its code."""
    need_bpf(t)
    t.need("hey")
    server = t.server("http11")

    def hey(*arguments):
        t.run(t.twshim, "run", "--", "hey", *arguments, shim=False)
    hey("-disable-keepalive", "-c", "2", "-n", str(COUNT), f"http://{server.to}/")
    assert server.counts["accepted"] == COUNT
    said = words(t, "TW101", "hey:")
    settle(server.port)
    a_minute_passes(t)
    # As its workers start together, it may open nearly two for each of them.
    hey(*shlex.split(said.replace("-c 10", "-c 2"))[1:])
    assert server.counts["accepted"] <= COUNT + 4, server.counts
    cured(t, server)


JAVA = """
import java.net.URI;
import java.net.http.*;
public class Many {
    %s
    public static void main(String[] argv) throws Exception {
        for (int i = 0; i < %d; i++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(argv[0])).version(HttpClient.Version.HTTP_1_1).build();
            %s
        }
    }
}
"""


def test_java_keeps_its_client(t):
    t.need("java")
    server = t.server("http11")
    bad = "HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());"
    t.run("java", t.file("Many.java", JAVA % ("", COUNT, bad)), f"http://{server.to}/")
    assert server.counts["accepted"] == COUNT
    field, call = words(t, "TW101", "HttpClient").splitlines()
    a_minute_passes(t)
    t.run("java", t.file("Many.java", JAVA % (field, COUNT, call)), f"http://{server.to}/")
    assert server.counts["accepted"] == COUNT + 1
    cured(t, server)


def open_table():
    """The table's text."""
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with open(os.path.join(top, "tools", "advice", "own_words.def"), encoding="utf-8") as file:
        return file.read()


def test_every_row_has_a_source(_):
    rows = re.findall(r'OWN_WORDS\("([^"]+)",.*?"(https://[^"]+)"\)', open_table(), re.S)
    assert {"nginx", "haproxy", "envoy", "node", "php*", "python*", "java", "curl", "wrk", "ab", "hey", "go"} \
        <= {program for program, _ in rows}, rows
