# SPDX-License-Identifier: MIT
"""Several users on one machine: which user sees what, and a root reader that reads files of other
users. Each test has a /dev/shm and a /run of its own."""
import http.client
import json
import os
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys

from harness import ADDRESS, SERVE_PORT, Skip, time_wait_cookies, time_wait_left, wait_for

STEPS = ("socket", "connect", "send:1", "recv", "close")
ALICE, BOB, READERS = 12345, 23456, 34567
SECTION_AT, SECTION_SIZE = 32, 24
PROCESS, CONNECTIONS, DESTINATIONS, TIME_WAIT = 0, 1, 2, 6
START_AT, PID_AT, EXE_AT = 256, 264, 344
HOSTILE = b"cl\x1b]0;x\x07\x1b[31mi\nent\xff\t\"\\<b>&\xe2\x80\xae"


class World:
    """A mount namespace with memory file systems that only this test uses."""

    def __init__(self, t):
        if os.getuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False,
                                              stderr=subprocess.DEVNULL).returncode:
            raise Skip("needs root, and mount namespaces")
        self.t = t
        holder = t.start("unshare", "-m", "sh", "-c", "mount -t tmpfs -o mode=1777 none /dev/shm"
                         " && mount -t tmpfs -o mode=755 none /run && echo made && exec sleep 600",
                         shim=False, stdout=subprocess.PIPE)
        assert holder.stdout.readline() == b"made\n"
        self.pid = holder.pid
        self.shm = f"/proc/{self.pid}/root/dev/shm"
        os.chmod(t.scratch, 0o755)
        self.library = shutil.copy(t.library, t.scratch)
        self.client = shutil.copy(t.prog("client"), t.scratch)
        self.twshim = shutil.copy(t.twshim, t.scratch)

    def words(self, uid, command, group=None):
        """The command line, as a user in here."""
        who = ("setpriv", "--reuid", str(uid), "--regid", str(group or uid), "--clear-groups") \
            if uid else ()
        return ("nsenter", "-t", str(self.pid), "-m", *who, "env", "-u", "TWSHIM_DIR", "-u",
                "XDG_RUNTIME_DIR", *command)

    def run(self, uid, *command, shim=False, group=None, **more):
        """Runs it."""
        if shim:
            command = (f"LD_PRELOAD={self.library}", *command)
        return self.t.run(*self.words(uid, command, group), shim=False, **more)

    def connect(self, uid, server, number, exe=None):
        """Opens this many connections as a user."""
        self.run(uid, exe or self.client, ADDRESS, str(server.port), *STEPS * number, shim=True)

    def directory(self, uid):
        """The path of a user's segments, from outside the namespace."""
        return f"{self.shm}/twshim-{uid}"

    def segments(self, uid):
        """A user's, as bytes."""
        found = []
        for name in sorted(os.listdir(self.directory(uid))):
            if name.endswith(".seg"):
                with open(os.path.join(self.directory(uid), name), "rb") as file:
                    found.append(file.read())
        return found

    def put(self, uid, name, data):
        """A file in a user's directory, as that user would make it."""
        path = os.path.join(self.directory(uid), name)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, 0o600)
        os.chown(path, uid, uid)
        return path

    def report(self, uid=0, *arguments, group=None):
        """As JSON."""
        return self.t.read_report(self.run(uid, self.twshim, "report", "--json", *arguments,
                                           group=group, timeout=60).stdout)


def _attempts(report):
    return report["total"]["attempts"]


def _skipped(report):
    return {os.path.basename(s["file"]): s["reason"] for s in report["unseen"]["skipped"]}


def _section(data, number):
    """(offset, element size, count, used)."""
    return struct.unpack_from("<QIII", data, SECTION_AT + number * SECTION_SIZE)


def _claim(data, pid=None, start=None, exe=None, cookies=()):
    """The segment with false claims in it."""
    data = bytearray(data)
    if pid is not None:
        struct.pack_into("<Q", data, START_AT, start)
        struct.pack_into("<I", data, PID_AT, pid)
    if exe:
        data[EXE_AT:EXE_AT + len(exe) + 1] = exe + b"\0"
    offset, size, count, _ = _section(data, TIME_WAIT)
    for i, cookie in enumerate(cookies):
        struct.pack_into("<Q", data, offset + i * size, cookie | 1 << 48)
    if cookies:
        assert len(cookies) <= count
        struct.pack_into("<I", data, SECTION_AT + TIME_WAIT * SECTION_SIZE + 16, len(cookies))
    return bytes(data)


def _start_time(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return int(file.read().rsplit(")", 1)[1].split()[19])


# ----------------------------------------------------------------------------- who sees what

def test_users_see_their_own_and_root_sees_all(t):
    world, server = World(t), t.server()
    world.connect(ALICE, server, 3)
    world.connect(BOB, server, 2)
    for uid in (ALICE, BOB):
        directory = os.stat(world.directory(uid))
        assert (directory.st_uid, stat.S_IMODE(directory.st_mode)) == (uid, 0o700), directory
        for name in os.listdir(world.directory(uid)):
            file = os.stat(os.path.join(world.directory(uid), name))
            assert (file.st_uid, stat.S_IMODE(file.st_mode)) == (uid, 0o700 if name == "policy" else 0o600), (name, file)
    assert _attempts(world.report(ALICE)) == 3
    assert _attempts(world.report(BOB)) == 2
    refused = world.run(BOB, world.twshim, "report", "--dir", f"/dev/shm/twshim-{ALICE}",
                        status=None)
    assert refused.returncode == 1 and b"Permission denied" in refused.stderr, refused
    report = world.report()
    t.counters(report, attempts=5, established=5, ended_local_fin=5)
    t.time_wait_agrees(report, server, 5)
    owners = json.loads(world.run(0, world.twshim, "owners", "--json").stdout)
    assert (owners["owned"], owners["unowned"]) == (5, 0), owners


def test_no_variable_but_twshim_dir_decides_where_programs_publish(t):
    """A program that a user service starts has an XDG_RUNTIME_DIR; others have none."""
    world, server, own = World(t), t.server(), "XDG_RUNTIME_DIR=/run/user/0"
    world.run(0, "mkdir", "-p", "/run/user/0/twshim")
    for number, environment in ((2, (own,)), (3, ())):
        world.run(0, *environment, world.client, ADDRESS, str(server.port), *STEPS * number,
                  shim=True)
        assert os.listdir(f"/proc/{world.pid}/root/run/user/0/twshim") == []
        for reader in ((), (own,)):
            said = world.run(0, *reader, world.twshim, "report", "--json").stdout
            assert _attempts(t.read_report(said)) == (2 if environment else 5), said
    # Segments of the former release are found where it published, and counted once.
    [former] = [f for f in os.listdir(world.directory(0)) if f.endswith("-0.seg")][:1]
    shutil.move(os.path.join(world.directory(0), former),
                f"/proc/{world.pid}/root/run/user/0/twshim/{former}")
    assert _attempts(world.report()) == 5


def test_coverage_counts_what_root_sees_of_all_users(t):
    """A server that root starts and whose workers run as another user."""
    world, server = World(t), t.server()
    for uid, number in ((ALICE, 30), (BOB, 20), (0, 10)):
        world.connect(uid, server, number)
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS * 40, shim=False)

    def said(uid):
        text = world.run(uid, world.twshim, "doctor", "--json", "--coverage", "--only", "TW302",
                         status=None).stdout
        return json.loads(text)["findings"][0]["evidence"]

    for uid, seen in ((0, 60), (ALICE, 30)):
        text = said(uid)
        assert f"100 connections were opened (ActiveOpens)" in text and f" counted {seen} of them" in text, text
        assert ("shims that this user may read counted" in text) == (uid != 0), text


def test_a_group_may_be_let_in(t):
    world, server = World(t), t.server()
    policy = t.file("group.conf", f"readable_by_group = {READERS};\n")
    os.chmod(policy, 0o644)
    world.run(ALICE, world.twshim, "policy", "load", policy, group=READERS)
    world.run(ALICE, world.client, ADDRESS, str(server.port), *STEPS, shim=True, group=READERS)
    directory = f"/dev/shm/twshim-{ALICE}"
    assert _attempts(world.report(BOB, "--dir", directory, group=READERS)) == 1
    assert world.run(BOB, world.twshim, "report", "--dir", directory, status=None).returncode == 1
    # The same by the directory's mode alone, set-group-id or not; with any umask.
    made = world.directory(BOB)
    os.mkdir(made)
    os.chown(made, BOB, READERS)
    os.chmod(made, 0o2750)
    for umask in ("000", "777"):
        world.run(BOB, "sh", "-c", f'umask {umask}; LD_PRELOAD={world.library} "$@"', "sh",
                  world.client, ADDRESS, str(server.port), *STEPS, group=READERS)
    modes = {n: stat.S_IMODE(os.stat(os.path.join(made, n)).st_mode) for n in os.listdir(made)}
    assert {m for n, m in modes.items() if n.endswith(".seg")} == {0o640}, modes
    directory = f"/dev/shm/twshim-{BOB}"
    assert _attempts(world.report(ALICE, "--dir", directory, group=READERS)) == 2
    assert world.run(ALICE, world.twshim, "report", "--dir", directory,
                     status=None).returncode == 1


def test_the_users_umask_opens_nothing(t):
    world, server = World(t), t.server()
    for umask in ("000", "777"):
        world.run(ALICE, "sh", "-c", f'umask {umask}; LD_PRELOAD={world.library} "$@"', "sh",
                  world.client, ADDRESS, str(server.port), *STEPS)
    modes = {name: stat.S_IMODE(os.stat(os.path.join(world.directory(ALICE), name)).st_mode)
             for name in os.listdir(world.directory(ALICE))}
    assert not [m for m in modes.values() if m & 0o077], modes
    assert not stat.S_IMODE(os.stat(world.directory(ALICE)).st_mode) & 0o077
    assert _attempts(world.report(ALICE)) == 2


def test_a_policy_that_another_user_could_write_is_refused_and_said(t):
    world, server = World(t), t.server()
    policy = t.file("close.conf", 'rules = ({ name = "r"; match = { exe = ["client"]; };'
                                  ' close = "fin-reset"; });\n')
    os.chmod(policy, 0o644)
    world.run(ALICE, world.twshim, "policy", "load", policy)
    place = world.directory(ALICE)
    whose = (("policy/policy.ctl", 0o600, BOB), ("policy/policy.ctl", 0o620, ALICE),
             ("policy/policy.ctl", 0o602, ALICE), ("policy", 0o700, BOB), ("policy", 0o720, ALICE))
    for number, (name, mode, uid) in enumerate(whose, 1):
        path = os.path.join(place, name)
        os.chmod(path, mode)
        os.chown(path, uid, uid)
        world.connect(ALICE, server, 1)
        total = world.report()["total"]
        assert (total["policy_image_refused"], total["ended_local_fin"]) == (number, number), \
            (name, oct(mode), uid, total)
        said = world.run(ALICE, world.twshim, "policy", "show").stdout
        assert b"is refused by programs: others can" in said and b"in force since" not in said, \
            (name, oct(mode), uid, said)
        os.chmod(path, 0o700 if name == "policy" else 0o600)
        os.chown(path, ALICE, ALICE)
    assert b"policies were refused" in world.run(0, world.twshim, "report").stdout
    assert b"in force since" in world.run(ALICE, world.twshim, "policy", "show").stdout
    world.connect(ALICE, server, 1)  # the control: it is obeyed if only she can write it
    assert world.report()["total"]["ended_fin_reset"] == 1
    # A directory that others could write is not used at all, and no tool puts a policy there.
    os.chmod(place, 0o770)
    world.connect(ALICE, server, 1)
    assert _attempts(world.report()) == len(whose) + 1
    refused = world.run(ALICE, world.twshim, "policy", "load", policy, status=None)
    assert refused.returncode == 1 and refused.stderr.startswith(b"twshim: "), refused


def test_a_setuid_program_is_as_it_is_bare(t):
    """The loader ignores our preload: nothing is counted and nothing is printed."""
    world, server = World(t), t.server()
    program = shutil.copy(world.client, os.path.join(t.scratch, "setuid"))
    os.chown(program, BOB, BOB)
    os.chmod(program, 0o6755)
    if os.statvfs(t.scratch).f_flag & os.ST_NOSUID:
        raise Skip("no setuid programs in the scratch directory")
    seen = [world.run(ALICE, program, ADDRESS, str(server.port), *STEPS, shim=shim)
            for shim in (False, True)]
    assert len({(s.returncode, s.stdout, s.stderr) for s in seen}) == 1, seen
    assert server.counts["accepted"] == 2
    assert os.listdir(world.shm) == [], os.listdir(world.shm)
    world.connect(ALICE, server, 1)  # the control: the same program, its own user
    assert os.listdir(world.shm) == [f"twshim-{ALICE}"]


# -------------------------------------------------------------------------- what is not true

def _traced(path):
    """{pid: application} of the whole lines that trace has written."""
    with open(path, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file if line.endswith("\n")]
    return {line["pid"]: line["app"] for line in lines}


def test_nobody_speaks_for_another_users_process(t):
    world, server = World(t), t.server()
    world.connect(ALICE, server, 3)
    bob = t.start(*world.words(BOB, (f"LD_PRELOAD={world.library}", world.client, ADDRESS,
                                     str(server.port), "socket", "connect", "note:here", "sleep:60000")),
                  shim=False, stdout=subprocess.PIPE)
    assert bob.stdout.readline().startswith(b"here")
    [name] = [n for n in os.listdir(world.directory(BOB)) if n.endswith(".seg")]
    pid, start = int(name.split("-")[1]), _start_time(name.split("-")[1])
    [mine] = world.segments(ALICE)
    world.put(ALICE, "1-1-1-0.seg", _claim(mine, pid, start, b"/usr/bin/liar"))
    report = world.report()
    assert _skipped(report) == {"1-1-1-0.seg": "claims a process of another user"}, report["unseen"]
    assert _attempts(report) == 4, report["total"]
    for command in ("ps", "owners", "doctor"):
        text = world.run(0, world.twshim, command, status=None).stdout
        assert b"liar" not in text, (command, text)
    out = t.file("trace.json", "")
    with open(out, "wb") as file:
        trace = t.start(*world.words(0, (world.twshim, "trace", "--json", "-s", "60")), shim=False,
                        stdout=file)
    # It shows what ends after it has begun.
    wait_for(lambda: world.connect(BOB, server, 1) or _traced(out), "trace has begun")
    attempts = _attempts(world.report())
    bob.kill()
    wait_for(lambda: pid in _traced(out), "trace shows how his process ended")
    assert _traced(out)[pid] == "client"
    trace.kill()
    # A user may claim anything about their own processes: only they see it.
    alice = t.start(*world.words(ALICE, ("sleep", "60")), shim=False)
    wait_for(lambda: os.stat(f"/proc/{alice.pid}").st_uid == ALICE, "she is herself")
    world.put(ALICE, "1-1-1-0.seg", _claim(mine, alice.pid, _start_time(alice.pid)))
    after = _attempts(world.report())
    assert after == attempts + 3, (attempts, after)


def test_sockets_that_two_users_claim_are_neithers(t):
    world, server = World(t), t.server()
    world.connect(ALICE, server, 1)
    [mine] = world.segments(ALICE)
    world.connect(0, server, 2)
    world.connect(BOB, server, 3)
    assert time_wait_left(server.port) == 6
    lie = _claim(mine, exe=b"/usr/bin/liar", cookies=sorted(time_wait_cookies()))
    world.put(ALICE, "1-1-1-0.seg", lie)
    report = world.report()
    owners = json.loads(world.run(0, world.twshim, "owners", "--json").stdout)
    # Root's belong to root and hers to her, by either name; his are in dispute.
    assert report["unseen"]["disputed_sockets"] == 3, report["unseen"]
    assert (owners["owned"], owners["unowned"]) == (3, 3), owners
    confirmed = {a["app"]: sum(d["time_wait"]["confirmed"] for d in a["destinations"])
                 for a in report["apps"]}
    assert confirmed["liar"] <= 1 and sum(confirmed.values()) == 3, confirmed
    assert b"claimed by processes of more than one user" in \
        world.run(0, world.twshim, "report").stdout


# ---------------------------------------------------------------------- a hostile directory

def _every_command(t, world):
    """{command: output}, each run as root; each must end in time and without a crash."""
    commands = [("report",), ("report", "--json"), ("ps",), ("ps", "--json"), ("owners",),
                ("owners", "--all"), ("owners", "--json"), ("doctor",), ("doctor", "--json"),
                ("top", "--batch", "-n", "1", "--by", "process"),
                ("top", "--batch", "-n", "1", "--json"), ("trace", "-s", "1"),
                ("export", "--textfile", os.path.join(t.scratch, "metrics.prom"))]
    outputs = {}
    for command in commands:
        result = world.run(0, world.twshim, *command, status=None, timeout=60)
        assert result.returncode in (0, 1, 2), (command, result)
        outputs[command] = result.stdout + result.stderr
    with open(os.path.join(t.scratch, "metrics.prom"), "rb") as file:
        outputs["metrics"] = file.read()
    serve = t.start(*world.words(0, (world.twshim, "serve")), shim=False,
                    stdout=subprocess.PIPE)
    assert serve.stdout.readline().startswith(b"http://")
    for path in ("/", "/metrics", "/api/report", "/api/owners", "/api/doctor"):
        connection = http.client.HTTPConnection("127.0.0.1", SERVE_PORT, timeout=60)
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200, (path, response.status)
        outputs[path] = response.read()
        connection.close()
    serve.kill()
    return outputs


def _nothing_raw(outputs):
    for command, text in outputs.items():
        if command != "/":  # the page is ours and contains no name
            bad = re.findall(r"[^\n\u0020-\u007e\u00a0-\u2027\u202f-\u2065\u206a-\U0010ffff]",
                             text.decode())
            assert not bad, (command, bad[:5], text[:2000])
        if "--json" in command or str(command).startswith("/api"):
            for line in text.decode().splitlines() if command[0] == "top" else [text]:
                json.loads(line)


def test_names_are_printed_raw_by_no_command(t):
    world, server = World(t), t.server()
    evil = os.path.join(os.fsencode(t.scratch), HOSTILE)
    shutil.copy(world.client, evil)
    world.connect(ALICE, server, 3, exe=evil)
    held = t.start(*world.words(0, (world.twshim, "trace", "-n", "1", "-s", "30")), shim=False,
                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(_watches(held.pid), "trace watches the directory")
    while held.poll() is None:  # it ends at its first line, or after 30 s
        world.connect(ALICE, server, 1, exe=evil)
    outputs = _every_command(t, world)
    outputs["trace"] = b"".join(held.communicate(timeout=60))
    _nothing_raw(outputs)
    assert b"cl\\x1b]0;x" in outputs[("report",)], outputs[("report",)]
    assert b"cl\\x1b]0;x" in outputs["trace"], outputs["trace"]


def _has_open(pid, name):
    """Whether a process has a file of that name open."""
    links = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass
    return any(os.path.basename(link) == name for link in links)


def _watches(pid):
    """Whether a process (or the program it has executed) watches something."""
    def watches():
        for fd in os.listdir(f"/proc/{pid}/fdinfo"):
            with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
                if "inotify wd" in file.read():
                    return True
        return False
    return watches


def test_a_root_reader_neither_follows_nor_waits_nor_drowns(t):
    world, server = World(t), t.server()
    world.connect(ALICE, server, 3)
    world.connect(0, server, 2)
    [mine] = world.segments(ALICE)
    place = world.directory(ALICE)
    secret = t.file("secret", "root's own\n")
    os.symlink(secret, os.path.join(place, "link.seg"))
    os.symlink("/dev/zero", os.path.join(place, "zero.totals"))
    os.symlink("/", os.path.join(place, "run-root"))
    os.mkfifo(os.path.join(place, "fifo.seg"))
    os.mkfifo(os.path.join(place, "policy.ctl.new"))
    os.mknod(os.path.join(place, "null.seg"), 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    socket.socket(socket.AF_UNIX).bind(os.path.join(place, "socket.seg"))
    [root_segment] = [n for n in os.listdir(world.directory(0)) if n.endswith(".seg")]
    os.link(os.path.join(world.directory(0), root_segment), os.path.join(place, "hard.seg"))
    giant = world.put(ALICE, "giant.seg", _claim(mine))
    os.truncate(giant, 1 << 40)
    report = world.report()
    reasons = _skipped(report)
    assert {"link.seg", "zero.totals", "fifo.seg", "null.seg", "socket.seg", "hard.seg",
            "giant.seg"} <= set(reasons), reasons
    # Root's own segment has two names now. Neither is believed, and the report says so.
    assert _attempts(report) in (3, 5), report["total"]
    _nothing_raw(_every_command(t, world))


def test_thousands_of_files_of_holes_are_bounded_work(t):
    """4,000 files of 60 MiB each, all claimed to be full: they cost their user nothing."""
    world, server = World(t), t.server()
    world.connect(ALICE, server, 1)
    world.connect(BOB, server, 2)
    [mine] = world.segments(ALICE)
    size = 60 << 20
    offset, element, _, _ = _section(mine, CONNECTIONS)
    count = (size - offset) // element
    head = bytearray(mine[:8192])
    struct.pack_into("<Q", head, 16, size)
    struct.pack_into("<QIII", head, SECTION_AT + CONNECTIONS * SECTION_SIZE, offset, element,
                     count, count)
    for number in (3, 4, 5, 6, 7):
        struct.pack_into("<QIII", head, SECTION_AT + number * SECTION_SIZE, 4096, 0, 0, 0)
    struct.pack_into("<I", head, SECTION_AT + DESTINATIONS * SECTION_SIZE + 12, 0)
    struct.pack_into("<I", head, SECTION_AT + DESTINATIONS * SECTION_SIZE + 16, 0)
    for number in range(4000):
        path = os.path.join(world.directory(ALICE), f"1-{number}-1-0.seg")
        with open(path, "wb") as file:
            file.write(head)
            file.truncate(size)
        os.chown(path, ALICE, ALICE)
        os.chmod(path, 0o600)
    report = world.report()
    assert "its user's files are too many or too large" in _skipped(report).values(), \
        report["unseen"]
    assert report["unseen"]["files_skipped"] > 3900, report["unseen"]
    assert report["total"]["attempts"] >= 3, "the others are read nevertheless"
    _every_command(t, world)


def test_a_file_that_shrinks_while_root_reads_it(t):
    world, server = World(t), t.server()
    world.connect(ALICE, server, 3)
    [mine] = world.segments(ALICE)
    path = world.put(ALICE, "1-77-1-0.seg", mine)
    shrinker = t.start("python3", "-c",
                       "import os, sys\n"
                       "data = open(sys.argv[1], 'rb').read()\n"
                       "fd = os.open(sys.argv[1], os.O_RDWR)\n"
                       "while True:\n"
                       "    for size in (0, 100, 4096, 5000, len(data) // 2):\n"
                       "        os.ftruncate(fd, size)\n"
                       "    os.pwrite(fd, data, 0)\n", path, shim=False)
    for _ in range(30):
        assert _attempts(world.report()) in (3, 6)
        result = world.run(0, world.twshim, "top", "--batch", "-n", "1", status=None)
        assert result.returncode == 0, result
    assert shrinker.poll() is None


# ------------------------------------------------------------------------------ what is served

def _served(t, world, *options):
    """{path: what serve, as root, answers}."""
    serve = t.start(*world.words(0, (world.twshim, "serve", "--listen", "127.0.0.1:19461", *options)),
                    shim=False, stdout=subprocess.PIPE)
    assert serve.stdout.readline().startswith(b"http://")
    found = {}
    for path in ("/metrics", "/api/report", "/api/owners", "/api/doctor"):
        connection = http.client.HTTPConnection("127.0.0.1", 19461, timeout=60)
        connection.request("GET", path)
        found[path] = connection.getresponse().read().decode()
        connection.close()
    serve.terminate()
    serve.wait()
    return found


def test_serve_names_other_users_programs_only_when_it_is_asked_to(t):
    """Also those that hold connections, that listen, and that the metrics' state remembers."""
    world, server = World(t), t.server()
    secret = shutil.copy(world.client, os.path.join(t.scratch, "secretprog"))
    world.connect(ALICE, server, 3, exe=secret)
    world.connect(0, server, 2)
    for options, named in (((), False), (("--all-names",), True), ((), False)):
        for path, text in _served(t, world, *options).items():
            assert named or "secretprog" not in text, (path, options, text)
            if path != "/api/doctor":
                shown = "secretprog" if named else f"user {ALICE}"
                assert "client" in text and shown in text, (path, options, text)
    report = json.loads(_served(t, world)["/api/report"])
    assert {a["app"]: a["processes"] for a in report["apps"]} == {f"user {ALICE}": 1, "client": 1}
    assert report["total"]["established"] == 5
    for uid, app in ((0, "secretprog"), (ALICE, "secretprog")):  # what is not served names it
        assert app in [a["app"] for a in world.report(uid)["apps"]]


def test_arguments_of_command_lines_are_neither_stored_nor_served_nor_exported(t):
    world, server = World(t), t.server()
    where = {kind: os.path.join(t.scratch, kind) for kind in ("json", "html", "junit", "prom", "text")}
    command = (world.client, ADDRESS, str(server.port), "socket", "connect", "note:hunter2", "close")
    for options in (("--json", "-o", where["json"]), ("-o", where["text"])):
        world.run(0, world.twshim, "run", "--keep", *options, "--html", where["html"], "--junit",
                  where["junit"], "--", "env", *command)
    world.run(0, world.twshim, "export", "--textfile", where["prom"])
    for path in where.values():
        with open(path, "rb") as file:
            text = file.read()
        assert b"hunter2" not in text and text, path
    with open(where["json"], encoding="utf-8") as file:
        assert json.load(file)["run"]["command"] == "env"
    for path, text in _served(t, world, "--all-names").items():
        assert "hunter2" not in text, path
    for folder, _, names in os.walk(f"/proc/{world.pid}/root/run/twshim"):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                assert b"hunter2" not in file.read(), (folder, name)


def test_a_process_of_two_users_at_once_is_not_said_to_be_reached(t):
    if os.getuid() != 0:
        raise Skip("needs root")
    server = t.server()
    # As squid: root until it has bound its ports, then another user with root's ID put by.
    program = t.file("two.py", "import os, sys\nos.setresuid(65534, 65534, 0)\nprint(flush=True)\n"
                               "sys.stdin.read()\n")
    os.chmod(t.scratch, 0o755)
    process = t.start(sys.executable, program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    result = t.run(t.twshim, "doctor", str(process.pid), shim=False, status=1)
    text = " ".join(result.stdout.decode().split())
    assert "has the shim, but its user IDs differ" in text and "runuser" in text, text
    program = t.file("connects.py", f"""
import os, socket
os.setresuid(65534, 65534, 0)
with socket.create_connection(("{ADDRESS}", {server.port})) as c:
    c.send(b"x")
    c.recv(1)
""")
    said = t.run(t.twshim, "run", "-p", f"close=fin-reset,to={server.to}", "--", sys.executable, program,
                 shim=False).stderr.decode()
    assert "The policy did not act: " in said and "was observed from outside" in " ".join(said.split()), said
    assert process.communicate()[0] == b"" and process.returncode == 0
