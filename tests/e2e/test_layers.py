# SPDX-License-Identifier: MIT
"""Runs as tags and policies as layers: programs that become other users are counted by the run that
started them, and each process obeys the policy of its layer. Each test has a /dev/shm and a /run of
its own."""
import http.client
import os
import shutil
import signal
import socket
import struct

from harness import ADDRESS, Skip, wait_for
from test_other_users import World

WWW = 33  # a user in Debian's /etc/passwd
FEW = 7
PYTHON = "/usr/bin/python3"

CLIENT = """
import os, socket, sys
def connect(times):
    for _ in range(times):
        with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as s:
            s.send(b"x")
            s.recv(1)
"""
CHANGES = CLIENT + """
connect(5)
os.setgroups([]); os.setgid(33); os.setuid(33)
connect(7)
"""


def _rule(server, close="reset"):
    return ("-p", f"close={close},to={server.to}")


def _run(world, *command, options=(), uid=0, **more):
    """The report of a run, as JSON, and the run's result."""
    path = os.path.join(world.t.scratch, "report.json")
    result = world.run(uid, world.twshim, "run", "--json", "-o", path, *options, "--", *command,
                       **more)
    with open(path, encoding="utf-8") as file:
        return world.t.read_report(file.read()), result


def _world(t):
    world = World(t)
    world.root = f"/proc/{world.pid}/root"
    world.run(0, world.twshim, "prepare")
    return world


def _runs(world):
    return os.listdir(f"{world.root}/run/twshim/run")


# ------------------------------------------------------------------- other users

def test_a_run_counts_a_program_that_becomes_another_user_and_it_obeys_the_runs_policy(t):
    world, server = _world(t), t.server()
    script = t.file("changes.py", CHANGES)
    report, _ = _run(world, PYTHON, script, ADDRESS, str(server.port), options=_rule(server))
    t.counters(report, attempts=12, established=12, ended_reset_policy=12, policy_applied=12)
    server.wait("resets", 12)
    assert not _runs(world), _runs(world)


def test_a_run_counts_what_setpriv_runuser_and_su_start(t):
    t.need("setpriv", "runuser", "su")
    world, server = _world(t), t.server()
    script = t.file("client.py", CLIENT + f"connect({FEW})\n")
    client = f"{PYTHON} {script} {ADDRESS} {server.port}"
    for words in (("setpriv", f"--reuid={WWW}", f"--regid={WWW}", "--clear-groups", *client.split()),
                  ("runuser", "-u", "www-data", "--", *client.split()),
                  ("runuser", "-s", "/bin/sh", "www-data", "-c", client),
                  ("su", "-s", "/bin/sh", "www-data", "-c", client)):
        report, _ = _run(world, *words, options=_rule(server))
        assert report["total"]["ended_reset_policy"] == report["total"]["attempts"] == FEW, \
            (words, report["total"])
    assert not _runs(world), _runs(world)


# ----------------------------------------------------------------- real services

def _nginx(world, upstream):
    t = world.t
    t.need("nginx")
    path = t.file("nginx.conf", f"""
daemon off; user www-data; worker_processes 2;
pid {t.scratch}/pid; error_log {t.scratch}/error.log;
events {{ worker_connections 128; }}
http {{
  access_log off;
  client_body_temp_path {t.scratch}/a; proxy_temp_path {t.scratch}/b;
  fastcgi_temp_path {t.scratch}/c; uwsgi_temp_path {t.scratch}/d; scgi_temp_path {t.scratch}/e;
  server {{ listen {ADDRESS}:8099; location / {{ proxy_pass http://{upstream.to}; }} }}
}}
""")
    return ("nginx", "-p", t.scratch, "-c", path)


def _get():
    connection = http.client.HTTPConnection(ADDRESS, 8099, timeout=20)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"hi\n"
    connection.close()


PHP = """<?php
$s = fsockopen("%s", %d);
fwrite($s, "x");
fread($s, 1);
fclose($s);
echo "hi";
"""


def _php_fpm(world, upstream):
    """Its workers are www-data and live in a chroot without anything."""
    t = world.t
    name = next((n for n in ("php-fpm8.2", "php-fpm8.4", "php-fpm") if shutil.which(n)), None)
    if not name:
        raise Skip("php-fpm is not installed")
    inside = os.path.join(t.scratch, "inside")
    os.makedirs(inside, exist_ok=True)
    os.chmod(inside, 0o755)
    with open(os.path.join(inside, "client.php"), "w", encoding="ascii") as file:
        file.write(PHP % (ADDRESS, upstream.port))
    path = t.file("fpm.conf", f"""
[global]
error_log = {t.scratch}/fpm.log
daemonize = no
[www]
user = www-data
group = www-data
listen = {ADDRESS}:8099
pm = static
pm.max_children = 2
chroot = {inside}
""")
    return (name, "-n", "-y", path)


def _fastcgi():
    """One request, by the protocol of FastCGI."""
    def record(kind, body):
        return struct.pack("!BBHHBx", 1, kind, 1, len(body), 0) + body
    values = b""
    for name, value in ((b"SCRIPT_FILENAME", b"/client.php"), (b"REQUEST_METHOD", b"GET")):
        values += bytes((len(name), len(value))) + name + value
    with socket.create_connection((ADDRESS, 8099), timeout=20) as s:
        s.sendall(record(1, struct.pack("!HB5x", 1, 0)) + record(4, values) + record(4, b"")
                  + record(5, b""))
        answer = b""
        while part := s.recv(4096):
            answer += part
    assert b"\r\n\r\nhi" in answer, answer


SERVICES = {"nginx": (_nginx, _get, "http"), "php_fpm_in_a_chroot": (_php_fpm, _fastcgi, "echo")}


def _listens():
    with socket.socket() as probe:
        return probe.connect_ex((ADDRESS, 8099)) == 0


class _Service:
    """A real one, started as root by the words `before`; a function among them gets the service."""

    def __init__(self, t, kind, *before):
        make, self.ask, mode = SERVICES[kind]
        self.t, self.world, self.upstream = t, _world(t), t.server(mode)
        command = make(self.world, self.upstream)
        before = [word(self) if callable(word) else word for word in before]
        self.process = t.start(*self.world.words(0, (*before, *command)), shim=False)
        wait_for(_listens, f"{command[0]} listens")

    def total(self):
        return self.world.report()["total"]

    def asks(self, times, **expected):
        """So many requests; which counters grew by how much."""
        before = self.total()
        for _ in range(times):
            self.ask()
        wait_for(lambda: self.total()["open"] == 0, "all have ended")
        after = self.total()
        grown = {name: after[name] - before[name] for name in
                 ("attempts", "ended_local_fin", "ended_fin_reset")}
        expected = {"attempts": times, "ended_local_fin": 0, "ended_fin_reset": 0, **expected}
        assert grown == expected, (grown, expected)

    def load(self, uid, *rule):
        return self.world.run(uid, self.world.twshim, "policy", "load", *rule)

    def end(self):
        self.process.send_signal(signal.SIGQUIT)
        assert self.process.wait(20) == 0


def _under_env(service):
    return f"eval \"$({service.world.twshim} env)\"; exec \"$@\""


def _under_run(t, kind):
    path = os.path.join(t.scratch, "report.json")
    service = _Service(t, kind, lambda s: s.world.twshim, "run", "--json", "-o", path, "-p",
                       lambda s: f"close=fin-reset,to={s.upstream.to}", "--")
    service.asks(FEW, ended_fin_reset=FEW)
    service.load(0, "-p", f"close=keep,to={service.upstream.to}")  # a run keeps its policy
    service.load(WWW, "-p", f"close=keep,to={service.upstream.to}")
    service.asks(FEW, ended_fin_reset=FEW)
    service.end()
    with open(path, encoding="utf-8") as file:
        report = t.read_report(file.read())
    total = t.accounted(report, service.upstream)
    assert total["ended_fin_reset"] == report["total"]["attempts"] == 2 * FEW, total
    assert not _runs(service.world), _runs(service.world)


def _under_env_and_load(t, kind):
    service = _Service(t, kind, "sh", "-c", _under_env, "sh")
    rule = ("-p", f"close=fin-reset,to={service.upstream.to}")
    service.asks(FEW, ended_local_fin=FEW)
    said = service.load(0, "--system", *rule).stdout.decode()  # while it runs
    assert "loaded the system's policy" in said, said
    service.asks(FEW, ended_fin_reset=FEW)
    service.load(WWW, "-p", f"close=keep,to={service.upstream.to}")
    service.asks(FEW, ended_fin_reset=FEW)
    service.world.run(0, service.world.twshim, "policy", "clear")
    service.asks(FEW, ended_local_fin=FEW)
    service.load(WWW, *rule)
    service.asks(FEW, ended_local_fin=FEW)
    service.end()


def _row(kind, scenario, name):
    def test(t):
        scenario(t, kind)
    test.__name__ = name.format(kind)
    test.__module__ = __name__
    globals()[test.__name__] = test


for _kind in SERVICES:
    _row(_kind, _under_run, "test_{}_under_run_is_counted_and_its_workers_obey_the_runs_policy")
    _row(_kind, _under_env_and_load,
         "test_{}_under_env_obeys_what_root_loads_while_it_runs_and_not_its_own_user")
