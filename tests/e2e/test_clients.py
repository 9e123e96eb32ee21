# SPDX-License-Identifier: MIT
"""Many clients from Debian: the report must match what the server accepted and the kernel's table,
and the client must behave as without the shim.

Each scenario runs twice, bare as the control and under `twshim run`, with a server for each.
"""
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

from harness import (ADDRESS, TIME_WAIT, Skip, kernel_sockets, settle, time_wait, time_wait_left,
                     wait_for)

MANY = 20


def _left(server):
    """(TIME_WAIT sockets on the client's side, on the server's)."""
    return time_wait_left(server.port), len(kernel_sockets(TIME_WAIT, server.port, local=True))


def _client(t, arguments, mode="http", number=MANY, exact=True, ended=None,
            late_answers=False, **more):
    """Runs the command of `arguments(server)` bare and shimmed. `number`: how many connections each
    server must have accepted; None: the client decides. `exact`: the number of TIME_WAIT sockets is
    the same each time. `ended`: counters that must have these values."""
    alone, server = t.server(mode), t.server(mode)
    bare = t.run(*arguments(alone), shim=False, status=None, **more)
    kept = _left(alone)
    report = t.twshim_run(*arguments(server), status=bare.returncode, **more)
    total = t.accounted(report, server, late_answers=late_answers)
    if number is not None:
        assert server.counts["accepted"] == alone.counts["accepted"] == number, \
            f"bare {alone.counts}, shimmed {server.counts}"
        assert t.result.stdout == bare.stdout, f"{bare.stdout}\n{t.result.stdout}"
        assert t.result.stderr == bare.stderr, f"{bare.stderr}\n{t.result.stderr}"
    assert total["attempts"] >= 1, total
    if exact:
        assert _left(server) == kept, f"bare {kept}, shimmed {_left(server)}"
    for name, value in (ended or {}).items():
        assert total[name] == value, f"{name}: {total}"
    return report, server


def _url(server, path=""):
    return f"http://{server.to}/{path}"


def _python(t, body):
    return t.file("client.py", "import sys\nADDRESS, PORT, MANY = sys.argv[1], "
                               "int(sys.argv[2]), int(sys.argv[3])\n" + body)


def _script(interpreter, path):
    return lambda s: (interpreter, path, ADDRESS, str(s.port), str(MANY))


# ----------------------------------------------------------------------- curl, wget

def test_curl_that_opens_each_time(t):
    t.need("curl")
    _client(t, lambda s: ("curl", "-s", _url(s, f"[1-{MANY}]")), ended={"ended_local_fin": MANY})


def test_curl_that_keeps_its_connection(t):
    t.need("curl")
    report, _ = _client(t, lambda s: ("curl", "-s", _url(s, f"[1-{MANY}]")), mode="http11",
                        number=1, ended={"ended_local_fin": 1})
    assert report["total"]["peak_open"] == 1


def test_curl_whose_server_closes_first(t):
    t.need("curl")
    _client(t, lambda s: ("curl", "-s", _url(s, f"[1-{MANY}]")), mode="http-close",
            ended={"ended_remote_fin": MANY})


def test_curl_in_parallel(t):
    t.need("curl")
    _client(t, lambda s: ("curl", "-s", "-Z", "--parallel-max", "5", "--no-progress-meter",
                          _url(s, f"[1-{MANY}]")), ended={"ended_local_fin": MANY})


def test_curl_that_is_refused(t):
    t.need("curl")
    server = t.server()
    server.close()
    report = t.twshim_run("curl", "-s", _url(server), status=7)
    t.counters(report, attempts=1, established=0, failed_refused=1)


def test_wget(t):
    t.need("wget")
    script = _loop(t, 'wget -q -O - "$1"')
    _client(t, lambda s: ("sh", script, _url(s)), ended={"ended_local_fin": MANY})


def test_wget_that_exits_with_its_connection_open(t):
    t.need("wget")
    report, _ = _client(t, lambda s: ("wget", "-q", "-O", "-", _url(s, "1"), _url(s, "2")),
                        mode="http11", number=1, ended={"ended_local_fin": 1})
    assert report["total"]["via_exit"] == 1, report["total"]


# --------------------------------------------------------------------------- python

def test_python_urllib(t):
    script = _python(t, """
import urllib.request
for _ in range(MANY):
    with urllib.request.urlopen(f"http://{ADDRESS}:{PORT}/") as answer:
        assert answer.read() == b"hi\\n"
""")
    _client(t, _script(sys.executable, script), ended={"ended_local_fin": MANY})


def test_python_http_client_keeps_its_connection(t):
    script = _python(t, """
import http.client
connection = http.client.HTTPConnection(ADDRESS, PORT)
for _ in range(MANY):
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"hi\\n"
connection.close()
""")
    _client(t, _script(sys.executable, script), mode="http11", number=1,
            ended={"ended_local_fin": 1})


def test_python_asyncio(t):
    script = _python(t, """
import asyncio
async def one():
    reader, writer = await asyncio.open_connection(ADDRESS, PORT)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    writer.close()
    await writer.wait_closed()
async def main():
    await asyncio.gather(*[one() for _ in range(MANY)])
asyncio.run(main())
""")
    _client(t, _script(sys.executable, script), mode="echo", ended={"ended_local_fin": MANY})


def test_python_subprocess_beside_live_connections(t):
    script = _python(t, """
import socket, subprocess
kept = [socket.create_connection((ADDRESS, PORT)) for _ in range(MANY)]
for c in kept:
    subprocess.run(["true"], check=True)
    subprocess.run("true", shell=True, close_fds=False, check=True)
    c.send(b"x")
    assert c.recv(1) == b"x"
for c in kept:
    c.close()
""")
    _client(t, _script(sys.executable, script), mode="echo", ended={"ended_local_fin": MANY})


def test_python_makefile_and_detached_descriptors(t):
    script = _python(t, """
import os, socket
for n in range(MANY):
    c = socket.create_connection((ADDRESS, PORT))
    with c.makefile("rwb", buffering=0) as stream:
        c.close()
        stream.write(b"x")
        assert stream.read(1) == b"x"
    assert c.fileno() == -1
""")
    _client(t, _script(sys.executable, script), mode="echo", ended={"ended_local_fin": MANY})


# ----------------------------------------------------------------------------- node

def _node(t, body):
    t.need("node")
    return t.file("client.js", "const [address, port, many] = [process.argv[2], "
                               "+process.argv[3], +process.argv[4]];\n" + body)


def test_node_http_without_keep_alive(t):
    script = _node(t, """
const http = require('http');
const agent = new http.Agent({keepAlive: false});
function next(left) {
  if (!left) return;
  http.get({host: address, port, agent}, answer => {
    answer.on('data', data => process.stdout.write(data));
    answer.on('close', () => next(left - 1));
  });
}
next(many);
""")
    _client(t, _script("node", script))


def test_node_http_with_keep_alive(t):
    script = _node(t, """
const http = require('http');
const agent = new http.Agent({keepAlive: true, maxSockets: 1});
function next(left) {
  if (!left) { agent.destroy(); return; }
  http.get({host: address, port, agent}, answer => {
    answer.on('data', data => process.stdout.write(data));
    answer.on('end', () => setImmediate(next, left - 1));
  });
}
next(many);
""")
    _client(t, _script("node", script), mode="http11", number=1)


def test_node_fetch(t):
    script = _node(t, """
(async () => {
  for (let i = 0; i < many; i++)
    process.stdout.write(await (await fetch(`http://${address}:${port}/`)).text());
  process.exit(0);
})();
""")
    # Its pool decides how many connections it opens.
    report, _ = _client(t, _script("node", script), mode="http11", number=None, exact=False)
    total = report["total"]
    assert t.result.stdout == b"hi\n" * MANY
    assert total["via_exit"] == total["established"] == total["ended_local_fin"], total


def test_node_net_sockets_at_once(t):
    script = _node(t, """
const net = require('net');
for (let i = 0; i < many; i++) {
  const c = net.connect(port, address, () => c.write('x'));
  c.on('data', () => c.destroy());
}
""")
    _client(t, _script("node", script), mode="echo", ended={"ended_local_fin": MANY})


# ----------------------------------------------------------------------------- java

def _java(t, body):
    t.need("java", "javac")
    source = t.file("Client.java", """
import java.io.*;
import java.net.*;
import java.net.http.*;
public class Client {
    public static void main(String[] a) throws Exception {
        String host = a[0];
        int port = Integer.parseInt(a[1]), many = Integer.parseInt(a[2]);
""" + body + "\n    }\n}\n")
    subprocess.run(["javac", "-d", t.scratch, source], check=True, stdin=subprocess.DEVNULL)
    return lambda s: ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", t.scratch,
                      "Client", ADDRESS, str(s.port), str(MANY))


def test_java_socket(t):
    _client(t, _java(t, """
        for (int i = 0; i < many; i++) {
            try (Socket c = new Socket(host, port)) {
                c.getOutputStream().write('x');
                if (c.getInputStream().read() != 'x') throw new Error();
            }
        }"""), mode="echo", ended={"ended_local_fin": MANY})


def test_java_socket_closed_under_a_blocked_reader(t):
    _client(t, _java(t, """
        for (int i = 0; i < many; i++) {
            Socket c = new Socket(host, port);
            Thread reader = new Thread(() -> {
                try { c.getInputStream().read(); } catch (IOException expected) { }
            });
            reader.start();
            while (reader.getState() != Thread.State.RUNNABLE) Thread.onSpinWait();
            Thread.sleep(5);
            c.close();
            reader.join();
        }"""), mode="silent", ended={"ended_local_fin": MANY})


def test_java_http_url_connection(t):
    _client(t, _java(t, """
        for (int i = 0; i < many; i++) {
            HttpURLConnection c = (HttpURLConnection) new URL("http", host, port, "/")
                .openConnection();
            try (InputStream in = c.getInputStream()) { System.out.write(in.readAllBytes()); }
        }
        System.out.flush();"""), ended={"ended_local_fin": MANY})


def test_java_http_client(t):
    report, _ = _client(t, _java(t, """
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        for (int i = 0; i < many; i++)
            System.out.print(client.send(
                HttpRequest.newBuilder(URI.create("http://" + host + ":" + port + "/")).build(),
                HttpResponse.BodyHandlers.ofString()).body());
        System.out.flush();
        System.exit(0);"""), mode="http11", number=1, ended={"ended_local_fin": 1})
    assert report["total"]["via_exit"] == 1, report["total"]


# --------------------------------------------------------------- perl, ruby, php, rust

def test_perl(t):
    t.need("perl")
    script = t.file("client.pl", """
use IO::Socket::INET;
for (1 .. $ARGV[2]) {
    my $c = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1]) or die "$!";
    $c->autoflush(1);
    print $c "x";
    read($c, my $answer, 1) == 1 or die;
    print $answer;
    close($c);
}
""")
    _client(t, _script("perl", script), mode="echo", ended={"ended_local_fin": MANY})


def test_ruby(t):
    t.need("ruby")
    script = t.file("client.rb", """
require 'socket'
require 'net/http'
(ARGV[2].to_i / 2).times do
  c = TCPSocket.new(ARGV[0], ARGV[1].to_i)
  c.write("GET / HTTP/1.0\\r\\n\\r\\n")
  puts c.readline
  c.close
end
(ARGV[2].to_i / 2).times { puts Net::HTTP.get(ARGV[0], '/', ARGV[1].to_i) }
""")
    _client(t, _script("ruby", script))


PHP_STREAMS = """<?php
for ($i = 0; $i < $argv[3]; $i++) {
    $c = stream_socket_client("tcp://$argv[1]:$argv[2]");
    fwrite($c, "x");
    echo fread($c, 1);
    fclose($c);
}
"""
PHP_CURL = """<?php
for ($i = 0; $i < $argv[3]; $i++) {
    $c = curl_init("http://$argv[1]:$argv[2]/");
    curl_setopt($c, CURLOPT_RETURNTRANSFER, true);
    echo curl_exec($c);
    curl_close($c);
}
"""


def test_php_streams(t):
    t.need("php")
    _client(t, _script("php", t.file("client.php", PHP_STREAMS)), mode="echo",
            ended={"ended_local_fin": MANY})


def _php_curl(t):
    t.need("php")
    if b"curl" not in t.run("php", "-m", shim=False).stdout.split():
        raise Skip("php's curl extension is not installed")
    return t.file("client.php", PHP_CURL), t.server("http")


def test_php_curl_is_loaded_past_the_shim_and_said_to_be(t):
    script, server = _php_curl(t)
    report = t.twshim_run("php", script, ADDRESS, str(server.port), str(MANY))
    assert t.result.stdout == b"hi\n" * MANY
    assert server.counts["accepted"] == MANY and time_wait_left(server.port) == MANY
    total = report["total"]
    assert total["deepbind_loads"] >= 1 and total["attempts"] in (0, MANY), total
    text = t.run(t.twshim, "run", "--", "php", script, ADDRESS, str(server.port), "1",
                 shim=False).stderr.decode()
    assert "TW112" in text and 'deepbind = "strip"' in " ".join(text.split()), text
    if not total["attempts"]:
        assert text.startswith("No TCP connection was observed.") and "doctor" not in text, text
    text = t.run(t.twshim, "doctor", "--only", "TW112", shim=False, status=1).stdout.decode()
    assert "processes" in text and "-p deepbind=strip" in " ".join(text.split()), text


def test_php_curl_is_seen_where_deepbind_is_stripped(t):
    script, server = _php_curl(t)
    report = t.twshim_run("php", script, ADDRESS, str(server.port), str(MANY),
                          options=("-p", "deepbind=strip"))
    assert t.result.stdout == b"hi\n" * MANY
    total = t.accounted(report, server)
    assert total["established"] == total["ended_local_fin"] == MANY, total


def test_rust_std_net(t):
    t.need("rustc")
    source = t.file("client.rs", """
use std::io::{Read, Write};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    for _ in 0..a[3].parse::<u32>().unwrap() {
        let mut c = std::net::TcpStream::connect(format!("{}:{}", a[1], a[2])).unwrap();
        c.write_all(b"x").unwrap();
        let mut answer = [0u8; 1];
        c.read_exact(&mut answer).unwrap();
    }
}
""")
    binary = source[:-3]
    made = subprocess.run(["rustc", "-o", binary, source], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if made.returncode:
        raise Skip(f"rustc does not work here: {made.stdout.decode()[:100]}")
    _client(t, lambda s: (binary, ADDRESS, str(s.port), str(MANY)), mode="echo",
            ended={"ended_local_fin": MANY})


# ------------------------------------------------------------------------ benchmarks

def test_ab_whose_server_closes_first(t):
    t.need("ab")
    _client(t, lambda s: ("ab", "-q", "-n", "200", "-c", "5", _url(s)), mode="http-close",
            number=None, exact=False)


def test_ab_that_keeps_its_connections(t):
    t.need("ab")
    _, server = _client(t, lambda s: ("ab", "-q", "-k", "-n", "200", "-c", "5", _url(s)),
                        mode="http11", number=None, exact=False)
    assert server.counts["accepted"] == 5, server.counts


def test_wrk_that_exits_in_the_middle(t):
    t.need("wrk")
    report, server = _client(t, lambda s: ("wrk", "-t1", "-c", "10", "-d", "1s", _url(s)),
                             mode="http11", number=None, exact=False, late_answers=True)
    assert server.counts["accepted"] >= 10, server.counts
    # It never asks for the result of connect(). Ten are always open; one is the first attempt.
    assert report["total"]["peak_open"] == 10, report["total"]["peak_open"]


def test_redis_benchmark_that_keeps_its_connections(t):
    t.need("redis-benchmark")
    _client(t, lambda s: ("redis-benchmark", "-h", ADDRESS, "-p", str(s.port), "-q", "-n", "500",
                          "-c", "10", "-t", "set"), mode="redis", number=None, exact=False)


def test_redis_benchmark_that_opens_each_time(t):
    t.need("redis-benchmark")
    _, server = _client(t, lambda s: ("redis-benchmark", "-h", ADDRESS, "-p", str(s.port), "-q",
                                      "-n", "500", "-c", "10", "-k", "0", "-t", "set"),
                        mode="redis", number=None, exact=False)
    assert server.counts["accepted"] >= 500, server.counts


def test_redis_cli(t):
    t.need("redis-cli")
    _client(t, lambda s: ("redis-cli", "-h", ADDRESS, "-p", str(s.port), "-r", "5", "ping"),
            mode="redis", number=1, ended={"ended_local_fin": 1})


# -------------------------------------------------------------------- postgresql

class Postgres:
    """A real server without the shim, whose log is the truth."""

    def __init__(self, t):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
        t.need("psql", "pgbench", "setpriv")
        if not found:
            raise Skip("the postgresql server is not installed")
        try:
            user = pwd.getpwnam("postgres")
        except KeyError as error:
            raise Skip("no user postgres") from error
        if os.getuid() != 0:
            raise Skip("postgres must be started by root, as its own user")
        self.address, self.port = ADDRESS, 5499
        self.to = f"{self.address}:{self.port}"
        self.data = tempfile.mkdtemp(prefix="twshim-test-pg-")
        os.chown(self.data, user.pw_uid, user.pw_gid)
        self.log = os.path.join(self.data, "log")
        bin_directory = os.path.dirname(found[-1])
        become = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
        t.run(*become, os.path.join(bin_directory, "initdb"), "-N", "-A", "trust", "-U", "postgres",
              "-D", f"{self.data}/db", shim=False, cwd=self.data)
        with open(self.log, "wb") as log:
            self.process = t.start(
                *become, os.path.join(bin_directory, "postgres"), "-D", f"{self.data}/db",
                "-c", f"listen_addresses={ADDRESS}", "-p", str(self.port), "-F",
                "-c", f"unix_socket_directories={self.data}", "-c", "log_connections=on",
                shim=False, stdout=log, stderr=log, cwd=self.data)
        with open(f"{self.data}/db/pg_hba.conf", "a", encoding="ascii") as file:
            file.write("host all all 0.0.0.0/0 trust\n")

    def wait(self):
        """Waits until it answers."""
        wait_for(lambda: b"ready to accept connections" in self.read(), "postgres is up")

    def read(self):
        """The log so far."""
        with open(self.log, "rb") as file:
            return file.read()

    def received(self):
        """How many connections it has ever received."""
        return self.read().count(b"connection received: host=" + ADDRESS.encode())

    @property
    def counts(self):
        """As those of harness.Server."""
        return {"accepted": self.received()}

    def close(self):
        """Ends the server at once, but not by SIGKILL: that leaves its shared memory in
        /dev/shm for ever. Then its data."""
        with open(f"/proc/{self.process.pid}/maps", encoding="ascii") as file:
            shared = set(re.findall(r"/dev/shm/PostgreSQL\.\d+", file.read()))
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(20)
        shutil.rmtree(self.data, ignore_errors=True)
        assert shared and not any(os.path.exists(path) for path in shared), shared


def _postgres_client(t, command, number):
    server = Postgres(t)
    try:
        server.wait()
        connection = ("-h", ADDRESS, "-p", str(server.port), "-U", "postgres")
        t.run(*command[:1], *connection, *command[1:], shim=False)
        assert server.received() == number, server.received()
        before = time_wait_left(server.port)
        assert before > 0 or number == 1  # in one of them the server may have been faster
        report = t.twshim_run(*command[:1], *connection, *command[1:])
        assert server.received() == 2 * number, server.received()
        settle(server.port)
        # Sometimes the server closes faster after the client says good-bye, also without the shim.
        kernel = time_wait_left(server.port) - before
        t.counters(report, attempts=number, established=number, ended_local_fin=kernel,
                   ended_remote_fin=number - kernel, open=0)
        [said] = [d["time_wait"] for d in report["apps"][0]["destinations"]
                  if d["to"] == server.to]
        assert said["predicted"] == said["confirmed"] == kernel, said
    finally:
        server.close()


def test_psql(t):
    _postgres_client(t, ("psql", "-Atc", "select 1"), 1)


def test_pgbench_that_opens_each_time(t):
    # One connection of its own at the start, and one per transaction.
    script = t.file("one.sql", "select 1;\n")
    os.chmod(t.scratch, 0o755)
    _postgres_client(t, ("pgbench", "-n", "-C", "-c", "2", "-t", "50", "-f", script, "postgres"),
                     101)


# ----------------------------------------------------------------------- proxies

def _through_proxy(t, command, port, upstream, requests, stop=signal.SIGTERM, options=()):
    """Starts a proxy under `twshim run`, drives it, ends it. Its report."""
    path = os.path.join(t.scratch, "proxy.json")
    proxy = t.start(t.twshim, "run", "--json", "-o", path, *options, "--", *command, shim=False,
                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def listening():
        assert proxy.poll() is None, proxy.stderr.read().decode()
        with socket.socket() as probe:
            return probe.connect_ex((ADDRESS, port)) == 0
    wait_for(listening, f"{command[0]} listens")
    for _ in range(requests):
        answer = t.run("curl", "-s", f"http://{ADDRESS}:{port}/", shim=False).stdout
        assert answer == b"hi\n", answer
    proxy.send_signal(stop)
    proxy.wait(20)
    report = t.run("cat", path, shim=False).stdout
    return t.read_report(report), upstream


def _nginx(t, upstream, keepalive, bind=False, master="on"):
    t.need("nginx", "curl")
    path = t.file("nginx.conf", f"""
daemon off; user root; worker_processes 2; master_process {master};
pid {t.scratch}/pid; error_log {t.scratch}/error.log;
events {{ worker_connections 128; }}
http {{
  access_log off;
  client_body_temp_path {t.scratch}/a; proxy_temp_path {t.scratch}/b;
  fastcgi_temp_path {t.scratch}/c; uwsgi_temp_path {t.scratch}/d; scgi_temp_path {t.scratch}/e;
  upstream up {{ server {upstream.to}; {"keepalive 4;" if keepalive else ""} }}
  server {{
    listen {ADDRESS}:8099;
    location / {{
      proxy_pass http://up;
      {f"proxy_bind {ADDRESS};" if bind else ""}
      {'proxy_http_version 1.1; proxy_set_header Connection "";' if keepalive else ""}
    }}
  }}
}}
""")
    return ("nginx", "-p", t.scratch, "-c", path)


def test_nginx_as_a_proxy(t):
    upstream = t.server("http")
    report, _ = _through_proxy(t, _nginx(t, upstream, False), 8099, upstream, MANY,
                               signal.SIGQUIT)
    total = t.accounted(report, upstream)
    assert total["established"] == total["ended_local_fin"] == MANY, total
    # It accepted other connections than it opened.
    assert report["total"]["attempts"] == MANY, report["total"]


def test_of_the_ways_to_close_without_time_wait_fin_reset_alone_acts_in_workers_of_nginx(t):
    """Each has a Unix socket to its master, through which the master could have got the connection."""
    for master, close, ending in (("on", "fin-reset", "ended_fin_reset"), ("on", "reset", None),
                                  ("on", "reset-drained", None), ("off", "reset", "ended_reset_policy")):
        upstream = t.server("http")
        report, _ = _through_proxy(t, _nginx(t, upstream, False, master=master), 8099, upstream, MANY,
                                   signal.SIGQUIT, options=("-p", f"close={close},to={upstream.to}"))
        counted = {"attempts": MANY, "established": MANY, ending or "ended_local_fin": MANY,
                   "policy_applied": MANY if ending else 0, "policy_skipped_shared": 0 if ending else MANY}
        t.counters(report, **counted)
        assert time_wait_left(upstream.port) == (0 if ending else MANY), (master, close)


def test_nginx_with_proxy_bind_takes_its_port_at_connect(t):
    # It sets IP_BIND_ADDRESS_NO_PORT itself, so nothing is wrong, and late_bind has nothing
    # left to do.
    upstream = t.server("http")
    report, _ = _through_proxy(t, _nginx(t, upstream, False, bind=True), 8099, upstream, MANY,
                               signal.SIGQUIT)
    t.accounted(report, upstream)
    t.counters(report, attempts=MANY, established=MANY, ended_local_fin=MANY,
               bound_before_connect=0)
    assert "TW105" not in {f["id"] for f in report["advice"]}, report["advice"]


def test_nginx_as_a_proxy_that_keeps_its_connections(t):
    upstream = t.server("http11")
    report, _ = _through_proxy(t, _nginx(t, upstream, True), 8099, upstream, MANY,
                               signal.SIGQUIT)
    total = t.accounted(report, upstream)
    assert 1 <= total["established"] <= 2, total
    assert report["total"]["attempts"] == total["attempts"], report["total"]


def _haproxy(t, upstream, option):
    t.need("haproxy", "curl")
    path = t.file("haproxy.cfg", f"""
global
  maxconn 100
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
  option {option}
frontend in
  bind {ADDRESS}:8098
  default_backend out
backend out
  server one {upstream.to}
""")
    return ("haproxy", "-db", "-f", path)


def test_haproxy_as_a_proxy_that_closes_with_a_reset(t):
    upstream = t.server("http11")
    # SIGTERM would kill it, perhaps before it has closed the last connection; this one lets it finish.
    report, _ = _through_proxy(t, _haproxy(t, upstream, "http-server-close"), 8098, upstream, MANY,
                               signal.SIGUSR1)
    total = t.accounted(report, upstream)
    assert total["established"] == MANY, total
    # It sets SO_LINGER {1,0} itself; the server's side of it is a reset.
    assert total["ended_reset_app"] == upstream.counts["resets"], (total, upstream.counts)
    assert report["total"]["attempts"] == MANY, report["total"]


def test_haproxy_as_a_proxy_that_keeps_its_connections(t):
    upstream = t.server("http11")
    report, _ = _through_proxy(t, _haproxy(t, upstream, "http-keep-alive"), 8098, upstream, MANY)
    total = t.accounted(report, upstream)
    assert total["established"] >= 1, total


# ------------------------------------------------------------------------- the rest

def test_git_over_http(t):
    t.need("git")
    work, bare = os.path.join(t.scratch, "work"), os.path.join(t.scratch, "root", "r.git")
    who = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "HOME": t.scratch}
    t.run("git", "init", "-q", work, shim=False, env=who)
    for n in range(5):
        t.file(f"work/{n}", f"{n}\n" * 1000)
        t.run("git", "-C", work, "add", ".", shim=False, env=who)
        t.run("git", "-C", work, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit",
              "-q", "-m", str(n), shim=False, env=who)
    t.run("git", "clone", "-q", "--bare", work, bare, shim=False, env=who)
    t.run("git", "-C", bare, "update-server-info", shim=False, env=who)
    bare_server, server = (t.server("http11", files=os.path.join(t.scratch, "root"))
                           for _ in range(2))
    # The pools of its helpers decide how many connections it opens.
    t.run("git", "clone", "-q", _url(bare_server, "r.git"), f"{t.scratch}/bare-clone", shim=False,
          env=who)
    report = t.twshim_run("git", "clone", "-q", _url(server, "r.git"), f"{t.scratch}/clone",
                          env=who)
    t.accounted(report, server)
    assert server.counts["accepted"] >= 1
    assert [a["app"] for a in report["apps"]] == ["git-remote-http"], report["apps"]
    diff = ("diff", "-r", "-x", ".git", f"{t.scratch}/bare-clone", f"{t.scratch}/clone")
    assert t.run(*diff, shim=False).stdout == b""


def _loop(t, body):
    return t.file("client.sh", f"for i in $(seq {MANY}); do\n{body}\ndone\n")


def test_socat(t):
    t.need("socat")
    script = _loop(t, 'printf x | socat - "TCP:$1:$2"')
    _client(t, lambda s: ("sh", script, ADDRESS, str(s.port)), mode="echo")


def test_socat_whose_server_closes_first(t):
    t.need("socat")
    script = _loop(t, 'printf x | socat -,ignoreeof "TCP:$1:$2"')
    _client(t, lambda s: ("sh", script, ADDRESS, str(s.port)), mode="first")


def test_nc(t):
    t.need("nc")
    script = _loop(t, 'printf x | nc -N "$1" "$2"')
    _client(t, lambda s: ("sh", script, ADDRESS, str(s.port)), mode="echo")


def test_bash_dev_tcp(t):
    t.need("bash")
    script = _loop(t, 'exec 3<>"/dev/tcp/$1/$2"; printf x >&3; read -r -n 1 a <&3; echo "$a"\n'
                      '(exec 3>&-; true); echo "$(true)"; exec 3>&-')
    _client(t, lambda s: ("bash", script, ADDRESS, str(s.port)), mode="echo",
            ended={"ended_local_fin": MANY})


def test_bash_dev_tcp_left_to_the_next(t):
    t.need("bash")
    script = _loop(t, 'exec 3<>"/dev/tcp/$1/$2"; printf x >&3; read -r -n 1 a <&3; echo "$a"')
    _client(t, lambda s: ("bash", script, ADDRESS, str(s.port)), mode="echo",
            ended={"ended_local_fin": MANY})


def _dropbear(t):
    """An SSH server of the test; the home of its root is the scratch directory."""
    t.need("ssh", "ssh-keygen", "dropbear", "dropbearkey")
    home = os.path.join(t.scratch, "home")
    os.makedirs(os.path.join(home, ".ssh"), 0o700)
    os.chmod(home, 0o700)
    t.run("dropbearkey", "-t", "ed25519", "-f", f"{t.scratch}/host", shim=False)
    t.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{t.scratch}/key", shim=False)
    shutil.copy(f"{t.scratch}/key.pub", f"{home}/.ssh/authorized_keys")
    root = pwd.getpwuid(os.getuid()).pw_dir
    if subprocess.run(["unshare", "-m", "true"], stderr=subprocess.DEVNULL,
                      check=False).returncode:
        raise Skip("no mount namespaces here")
    process = t.start("unshare", "-m", "sh", "-c", 'mount --bind "$0" "$1" && exec dropbear -F -E '
                      '-s -r "$2" -P "$3" -p "$4"', home, root, f"{t.scratch}/host",
                      f"{t.scratch}/dropbear.pid", f"{ADDRESS}:2299", shim=False,
                      stderr=subprocess.PIPE)
    wait_for(lambda: kernel_sockets(10, 2299, local=True), "dropbear listens")
    return process


def test_openssh(t):
    dropbear = _dropbear(t)
    script = t.file("client.sh", f"""
for i in 1 2 3; do
    ssh -F none -i {t.scratch}/key -p 2299 -o BatchMode=yes -o StrictHostKeyChecking=no \
        -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR {ADDRESS} 'echo "it works"' || exit
done
""")
    bare = t.run("sh", script, shim=False)
    assert bare.stdout == b"it works\n" * 3, bare
    settle(2299)
    before = time_wait(2299)
    report = t.twshim_run("sh", script)
    assert t.result.stdout == bare.stdout, t.result
    settle(2299)
    kernel = time_wait(2299) - before  # dropbear or ssh, depending on which closes first
    t.counters(report, attempts=3, established=3, ended_local_fin=kernel,
               ended_remote_fin=3 - kernel)
    dropbear.terminate()
    accepted = re.findall(rb"Child connection from", dropbear.stderr.read())
    assert len(accepted) == 6, accepted


# --------------------------------------------------------- a mix, and what is not counted

def test_a_mix_of_clients_in_one_shell_pipeline(t):
    t.need("curl", "perl")
    servers = [t.server("http"), t.server("http-close"), t.server("http11")]
    urls = " ".join(_url(s) for s in servers)
    script = t.file("mix.sh", f"""
for i in 1 2 3 4 5; do
    curl -s {urls} >/dev/null &
    {sys.executable} -c 'import sys, urllib.request as r
for u in sys.argv[1:]: r.urlopen(u).read()' {urls} | cat &
done
seq 10 | xargs -P 4 -I% curl -s {urls} >/dev/null
wait
""")
    report = t.twshim_run("bash", script)
    for server in servers:
        t.accounted(report, server)
        assert server.counts["accepted"] == 20, server.counts
    assert report["total"]["attempts"] == 60, report["total"]
