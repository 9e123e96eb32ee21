# SPDX-License-Identifier: MIT
"""Runs as tags and policies as layers: programs that become other users are counted by the run that
started them, and each process obeys the policy of its layer. Each test has a /dev/shm and a /run of
its own."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess

from harness import ADDRESS, Skip, wait_for
from test_other_users import STEPS, World

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


# --------------------------------------------------------------- what the tools say

def _hold(world, uid, server, *before):
    """A client of one connection, which then makes one more for each line that it gets."""
    script = world.t.file("hold.py", CLIENT + """
connect(1)
print("one", flush=True)
for _ in sys.stdin:
    connect(1)
    print("more", flush=True)
""")
    process = world.t.start(*world.words(uid, (*before, f"LD_PRELOAD={world.library}", PYTHON,
                                               script, ADDRESS, str(server.port))),
                            shim=False, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"one\n"
    return process


def _more(process):
    process.stdin.write(b"\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"more\n"


def _policy(world, uid, *words):
    return world.run(uid, world.twshim, "policy", *words).stdout.decode()


def test_load_says_whom_it_reaches_and_show_who_obeys_what_since_when(t):
    world, server = _world(t), t.server()
    keep = _rule(server, "keep")
    said = _policy(world, WWW, "load", *keep)
    assert "no process that it could reach is running under the shim\n" in said, said
    _policy(world, WWW, "clear")
    root, www = _hold(world, 0, server), _hold(world, WWW, server)
    said = _policy(world, 0, "load", *keep)
    assert "reaches 2 of 2 running processes\n" in said, said
    _more(root)
    said = _policy(world, 0, "show")
    assert re.search(r"^# the system's policy in /run/twshim: generation 1, in force since "
                     r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n"
                     r"#   obeyed by 1 of 2 running processes\n"
                     rf"#   1 hold.py \(pid {www.pid}\) obeys no policy until the next connection\n",
                     said, re.M), said
    _more(www)
    _policy(world, 0, "load", *keep)
    _more(root)
    said = _policy(world, 0, "show")
    assert f"1 hold.py (pid {www.pid}) keeps generation 1 until the next connection" in said, said
    # The user's own is nearer than the system's, and reaches what began as that user.
    became = t.start(*world.words(0, ("setpriv", f"--reuid={WWW}", "--clear-groups", "env",
                                      f"LD_PRELOAD={world.library}", PYTHON, "-c", "pass")),
                     shim=False)
    assert became.wait(20) == 0
    said = _policy(world, WWW, "load", *keep)
    assert "generation 3" in said and "reaches 1 of 1 running process\n" in said, said
    _more(www)
    said = _policy(world, 0, "show")
    assert f"1 hold.py (pid {www.pid}) obeys the policy of its user" in said, said
    layers = json.loads(_policy(world, WWW, "show", "--json"))["layers"]
    assert [(l["layer"], l["in_force"], l["followers"]["obeyed_by"]) for l in layers] == \
        [("user", True, 1), ("system", True, 0)], layers
    said = _policy(world, WWW, "clear")
    assert "now in force: the system's policy, generation 2" in said, said
    assert "no policy is in force now" in _policy(world, 0, "clear")


def test_load_names_the_processes_that_it_does_not_reach(t):
    world, server = _world(t), t.server()
    script = t.file("changes.py", CHANGES + 'print("here", flush=True)\nsys.stdin.read()\n')
    dropped = t.start(*world.words(0, (f"LD_PRELOAD={world.library}", PYTHON, script, ADDRESS,
                                       str(server.port))), shim=False, stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE)
    assert dropped.stdout.readline() == b"here\n"
    said = _policy(world, WWW, "load", *_rule(server, "keep"))
    assert "reaches 0 of 1 running process\n" in said, said
    assert f"1 changes.py (pid {dropped.pid}) not reached: it began as root" in said, said
    said = _policy(world, 0, "load", *_rule(server, "keep"))
    # It has two segments, as root and as www-data.
    assert "not reached" not in said, said


def test_a_run_without_a_policy_obeys_what_is_in_force_and_says_so_in_one_line(t):
    world, server = _world(t), t.server()
    client = (world.client, ADDRESS, str(server.port), *STEPS)
    _, result = _run(world, *client)
    assert b"obeys" not in result.stderr, result
    _policy(world, 0, "load", *_rule(server, "reset"))
    for uid in (0, WWW):
        report, result = _run_of(world, uid, *client)
        assert report["total"]["ended_reset_policy"] == 1, report["total"]
        [line] = [l for l in result.stderr.decode().splitlines() if "obeys" in l]
        assert "obeys the system's policy, generation 1, since 20" in line and "--observe" in line
        report, result = _run_of(world, uid, *client, options=("--observe",))
        assert report["total"]["ended_local_fin"] == 1, report["total"]
        assert b"obeys" not in result.stderr, result
    _policy(world, WWW, "load", *_rule(server, "graceful"))
    report, result = _run_of(world, WWW, *client)
    assert b"obeys the user's policy, generation 1" in result.stderr, result
    assert report["total"]["ended_local_fin"] == 1, report["total"]


def _run_of(world, uid, *command, options=()):
    """The report of a user's run."""
    result = world.run(uid, world.twshim, "run", "--json", *options, "--", *command)
    text = result.stderr.decode()
    return world.t.read_report(text[text.index("{"):]), result


def test_env_with_a_policy_concerns_only_what_gets_that_environment(t):
    world, server = _world(t), t.server()
    script = (f"eval \"$({world.twshim} env -p close=reset,to={server.to})\"; "
              f"exec {world.client} {ADDRESS} {server.port} {' '.join(STEPS)}")
    for uid, before in ((0, 0), (WWW, 1)):
        world.run(uid, "sh", "-c", script)
        server.wait("resets", before + 1)
        world.connect(uid, server, 1)
        assert server.counts["resets"] == before + 1, server.counts
        assert "no policy is in force" in _policy(world, uid, "show")


def test_a_policy_that_others_could_come_to_by_a_link_or_a_directory_is_refused(t):
    world, server = _world(t), t.server()
    place = f"{world.root}/run/twshim"
    world.connect(WWW, server, 1)
    _policy(world, WWW, "load", *_rule(server, "reset"))
    policy = f"{place}/{WWW}/policy"
    os.link(f"{policy}/policy.ctl", f"{policy}/again")
    world.connect(WWW, server, 1)
    assert server.counts["resets"] == 0, server.counts
    os.unlink(f"{policy}/again")
    world.connect(WWW, server, 1)
    server.wait("resets", 1)
    _policy(world, WWW, "clear")
    # The system's, where somebody else could write a directory above it.
    _policy(world, 0, "load", *_rule(server, "reset"))
    os.chmod(place, 0o777)
    for uid in (0, WWW):
        world.connect(uid, server, 1)
    assert server.counts["resets"] == 1, server.counts
    os.chmod(place, 0o755)
    for uid in (0, WWW):
        world.connect(uid, server, 1)
    server.wait("resets", 3)
    assert world.report()["total"]["policy_image_refused"] == 3, world.report()["total"]


def test_env_with_the_same_policy_is_the_same_run_however_often_it_is_asked_for(t):
    world, server = _world(t), t.server()
    for uid in (0, WWW):
        said = {world.run(uid, world.twshim, "env", "-p", f"close={close},to={server.to}").stdout
                for close in ("reset", "keep") for _ in range(3)}
        assert len(said) == 2, said
    assert len(_runs(world)) == 2, _runs(world)


def test_a_process_that_never_connects_opens_one_file_and_only_if_it_began_as_root(t):
    t.need("strace")
    world = _world(t)
    path = "/run/twshim/policy/policy.ctl"
    for uid, opens in ((0, 1), (WWW, 0)):
        lines = world.run(uid, "strace", "-qq", "-E", f"LD_PRELOAD={world.library}",
                          "/bin/true").stderr.decode().splitlines()
        opened = [line for line in lines if "openat" in line]
        ours = [line for line in opened if "twshim" in line and world.library not in line]
        assert len(ours) == opens and all(path in line for line in ours), opened
        assert not [line for line in lines if "getrusage" in line or "/dev/shm" in line], lines


# ------------------------------------------------------------- hostile and killed

HOSTILE = CLIENT + """
import fcntl, glob, struct
connect(3)
place = "/run/twshim/33"
[mine] = glob.glob(place + "/*.seg")
with open(mine, "rb") as file:
    data = bytearray(file.read())
tag = os.environ["TWSHIM_RUN"]
def plant(name, data):
    with open(os.path.join(place, name), "wb") as file:
        file.write(data)
for pid in (1, os.getppid(), os.getpid()):
    for uid in (0, 33):
        struct.pack_into("<I", data, 264, pid)      # header.pid, header.uid: root's
        struct.pack_into("<I", data, 268, uid)
        plant(f"1-{pid}-{uid}-7.seg", data)
        plant(f"77{pid}{uid}-{tag}.totals", data)
        plant(f"77{pid}{uid}.totals", data)
for i in range(3000):
    plant(f"junk-{i}.seg", b"")
held = []
for top in ("/run/twshim", "/dev/shm"):
    for folder, _, files in os.walk(top):
        for path in [folder] + [os.path.join(folder, f) for f in files]:
            try:
                held.append(os.open(path, os.O_RDONLY))
                fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                pass
for name in ("run", "run/" + tag, "0", "policy"):
    for flags in (os.O_CREAT | os.O_RDWR, os.O_RDWR):
        try:
            os.open(f"/run/twshim/{name}/policy.ctl", flags)
            print("wrote", name)
        except OSError:
            pass
child = os.fork()
if child == 0:                                      # stays, with all locks
    os.setsid()
    os.closerange(0, 3)
    import time
    time.sleep(600)
print("child", child, flush=True)
"""


def test_a_hostile_child_of_roots_run_changes_none_of_roots_counts(t):
    world, server = _world(t), t.server()
    script = t.file("hostile.py", HOSTILE)
    line = (f"{world.client} {ADDRESS} {server.port} {' '.join(STEPS * 5)}; "
            f"setpriv --reuid={WWW} --regid={WWW} --clear-groups {PYTHON} {script} {ADDRESS} "
            f"{server.port}; {world.client} {ADDRESS} {server.port} {' '.join(STEPS * 6)}")
    report, result = _run(world, "sh", "-c", line, options=_rule(server), timeout=60)
    assert b"wrote" not in result.stdout, result
    [client] = [a for a in report["apps"] if a["app"] == "client"]
    assert client["counters"]["ended_reset_policy"] == client["counters"]["attempts"] == 11, client
    child = int(result.stdout.split()[-1])
    assert b"1 of its processes still runs: python3 (%d)" % child in result.stderr, result
    assert len(_runs(world)) == 1, "it stays while the child lives"
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{child}/exe"), "it has ended")
    world.run(0, world.twshim, "run", "-q", "--", "true")
    assert not _runs(world), _runs(world)


def test_a_run_that_was_killed_leaves_nothing_to_the_next_command(t):
    world, server = _world(t), t.server()
    script = t.file("waits.py", CLIENT + "connect(1)\nprint(os.getpid(), flush=True)\nsys.stdin.read()\n")
    place = f"{world.root}/run/twshim"
    for uid, runs in ((0, f"{place}/run"), (WWW, f"{place}/{WWW}")):
        run = t.start(*world.words(uid, (world.twshim, "run", *_rule(server), "--", PYTHON, script,
                                         ADDRESS, str(server.port))), shim=False,
                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        client = int(run.stdout.readline())
        [tag] = [n for n in os.listdir(runs) if n != "policy" and not n.endswith((".seg", ".lock"))]
        run.kill()
        run.wait()
        world.run(uid, world.twshim, "run", "-q", "--", "true")
        assert tag in os.listdir(runs), "its client lives"
        run.stdin.close()  # its client ends
        wait_for(lambda: not os.path.exists(f"/proc/{client}/exe"), "it has ended")
        world.run(uid, world.twshim, "run", "-q", "--", "true")
        assert tag not in os.listdir(runs), os.listdir(runs)
    assert world.report()["total"]["attempts"] == 2
