# SPDX-License-Identifier: MIT
"""Where programs publish: root makes the places, and users only fill them. Each test has a /dev/shm
and a /run of its own."""
import http.client
import json
import os
import shutil
import stat

from harness import ADDRESS, wait_for
from test_other_users import ALICE, BOB, STEPS, World

WWW = 33  # a user in Debian's /etc/passwd


def _attempts(report):
    return report["total"]["attempts"]


def _place(world, uid):
    return f"/proc/{world.pid}/root/run/twshim/{uid}"


def _segments(directory):
    return [f for f in os.listdir(directory) if f.endswith(".seg")] \
        if os.path.isdir(directory) else []


def test_root_makes_a_place_for_each_user_and_only_root_creates_entries(t):
    world, server = World(t), t.server()
    world.run(0, world.twshim, "run", "-q", "--", "true")
    above = os.stat(_place(world, ""))
    with open(f"/proc/{world.pid}/mounts", encoding="ascii") as file:
        # The last one is this /run's: the host's may be hidden below it.
        mount = [line.split() for line in file if line.split()[1] == "/run/twshim"][-1]
    assert mount[2] == "tmpfs" and {"nosuid", "nodev", "noexec"} <= set(mount[3].split(",")), mount
    assert "size=" in mount[3] and "nr_inodes=" in mount[3], mount
    assert (above.st_uid, stat.S_IMODE(above.st_mode)) == (0, 0o755), above
    for name, uid, mode in (("policy", 0, 0o755), ("run", 0, 0o711), ("0", 0, 0o700),
                            (str(WWW), WWW, 0o700)):
        found = os.stat(_place(world, name))
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (uid, mode), (name, found)
    refused = world.run(WWW, "mkdir", "/run/twshim/12", status=None)
    assert refused.returncode == 1, refused
    for uid, number in ((0, 2), (WWW, 3)):
        world.connect(uid, server, number)
        assert _segments(_place(world, uid)) and not os.path.exists(world.directory(uid)), uid
    assert (_attempts(world.report()), _attempts(world.report(WWW))) == (5, 3)


def test_a_user_outside_of_passwd_falls_back_and_prepare_cures_it(t):
    world, server = World(t), t.server()
    world.run(0, world.twshim, "prepare")
    world.connect(ALICE, server, 1)
    assert _segments(world.directory(ALICE)), "in /dev/shm"
    refused = world.run(ALICE, world.twshim, "prepare", str(ALICE), status=1)
    assert refused.stderr.startswith(b"twshim: prepare: only root"), refused
    world.run(0, world.twshim, "prepare", str(ALICE), str(BOB))
    world.connect(ALICE, server, 2)
    world.connect(BOB, server, 3)
    assert _segments(_place(world, ALICE)) and _segments(_place(world, BOB))
    assert (_attempts(world.report()), _attempts(world.report(ALICE))) == (6, 3)
    for wrong in ("x", "-1", "4294967295", ""):
        assert world.run(0, world.twshim, "prepare", wrong, status=None).returncode == 2, wrong


def test_names_that_another_user_has_taken_in_shared_memory_do_not_matter(t):
    world, server = World(t), t.server()
    for uid in (0, WWW):
        world.run(BOB, "mkdir", f"/dev/shm/twshim-{uid}")
    world.run(0, world.twshim, "run", "-q", "--", "true")
    for uid, number in ((0, 2), (WWW, 3)):
        world.connect(uid, server, number)
    assert _attempts(world.report()) == 5
    assert _attempts(world.report(WWW)) == 3


def test_programs_that_began_before_the_mount_are_found(t):
    world, server = World(t), t.server()
    held = t.start(*world.words(WWW, (f"LD_PRELOAD={world.library}", world.client, ADDRESS,
                                      str(server.port), *STEPS[:4], "note:here", "sleep:60000")),
                   shim=False, stdout=-1)
    assert held.stdout.readline().startswith(b"here")
    world.run(0, world.twshim, "prepare")
    world.connect(WWW, server, 1)
    report = world.report()
    assert (_attempts(report), report["total"]["open"]) == (2, 1), report["total"]
    assert _attempts(world.report(WWW)) == 2


def test_a_user_who_fills_the_places_keeps_run_free_and_is_counted_elsewhere(t):
    world, server = World(t), t.server()
    world.run(0, "mkdir", "/run/twshim")
    world.run(0, "mount", "-t", "tmpfs", "-o", "mode=755,size=1M,nr_inodes=200", "none",
              "/run/twshim")
    world.run(0, world.twshim, "prepare")
    for fill in (f"head -c 2M /dev/zero >/run/twshim/{WWW}/fill",
                 f"rm /run/twshim/{WWW}/fill; touch $(seq -f /run/twshim/{WWW}/%g 300)"):
        world.run(WWW, "sh", "-c", fill, status=None)
        world.run(0, "sh", "-c", "echo still room >/run/file")
        before = _attempts(world.report())
        for uid in (0, WWW):
            world.connect(uid, server, 1)
        assert _attempts(world.report()) - before == 2, fill
    assert _segments(world.directory(0)) and _segments(world.directory(WWW))


def test_what_is_no_place_of_roots_is_not_used(t):
    """/run/twshim is another user's directory, or one that others can write."""
    world, server = World(t), t.server()
    place = _place(world, "").rstrip("/")
    os.mkdir(place)
    for uid, mode in ((BOB, 0o755), (0, 0o1777)):
        os.chown(place, uid, uid)
        os.chmod(place, mode)
        said = world.run(0, world.twshim, "prepare", status=1)
        assert b"/run/twshim: something that is not root's" in said.stderr, said
        world.run(BOB, "mkdir", "-p", f"/run/twshim/{BOB}", status=None)
        world.connect(BOB, server, 1)
        assert not _segments(_place(world, BOB))
    assert len(_segments(world.directory(BOB))) == 2 and _attempts(world.report()) == 2



def test_root_puts_nothing_where_others_may_write(t):
    """A directory of root's with the sticky bit, in which no program publishes either."""
    world = World(t)
    for mode, status in ((0o1777, 125), (0o1770, 125), (0o755, 0)):
        world.run(0, "sh", "-c", f"mkdir -p /dev/shm/shared && chmod {mode:o} /dev/shm/shared")
        said = world.run(0, "env", "TWSHIM_DIR=/dev/shm/shared", world.twshim, "run", "-q", "--", "true",
                         status=status)
        assert (b"others may change it" in said.stderr) == (status != 0), said
        assert status == 0 or os.listdir(f"{world.shm}/shared") == []


# ------------------------------------------------------------ what a user does to root's reader

def _place_troubles(report):
    return {p["place"]: p["trouble"] + ": " + p["cure"] for p in report["unseen"]["places"]}


def test_roots_report_says_who_has_filled_the_places(t):
    world = World(t)
    world.run(0, "mkdir", "/run/twshim")
    world.run(0, "mount", "-t", "tmpfs", "-o", "mode=755,size=1M,nr_inodes=200", "none",
              "/run/twshim")
    world.run(0, world.twshim, "prepare")
    assert _place_troubles(world.report()) == {}
    for fill, what in ((f"head -c 2M /dev/zero >/run/twshim/{WWW}/fill", "bytes"),
                       (f"rm /run/twshim/{WWW}/fill; touch $(seq -f /run/twshim/{WWW}/%g 300)",
                        "files")):
        world.run(WWW, "sh", "-c", fill, status=None)
        [trouble] = [v for k, v in _place_troubles(world.report()).items() if k == "/run/twshim"]
        assert f"full: user {WWW} holds" in trouble and f"% of its {what}" in trouble, trouble
        text = world.run(0, world.twshim, "report").stdout.decode()
        assert f"/run/twshim: full: user {WWW} holds" in text, text
    # Others are not told, and cannot look.
    assert _place_troubles(world.report(WWW)) == {}


def test_a_place_that_another_user_has_taken_is_named_and_prepare_cures_it(t):
    """Also from within a user namespace, where everybody can be root."""
    world, server = World(t), t.server()
    world.run(0, world.twshim, "prepare")
    taken = f"/dev/shm/twshim-{ALICE}"
    for taker in (("mkdir", taken), ("unshare", "-Ur", "mkdir", taken), ("touch", taken),
                  ("ln", "-s", "/", taken)):
        world.run(BOB, *taker)
        world.connect(ALICE, server, 1)
        for uid in (0, WWW):
            world.run(BOB, "mkdir", "-p", f"/dev/shm/twshim-{uid}")
        troubles = _place_troubles(world.report())
        assert list(troubles) == [taken] and f"twshim prepare {ALICE}" in troubles[taken], troubles
        text = world.run(0, world.twshim, "report").stdout.decode()
        assert f"{taken}: another user has taken this name" in text, text
        world.run(BOB, "rm", "-r", taken)
    world.run(BOB, "mkdir", taken)
    world.run(0, world.twshim, "prepare", str(ALICE))
    world.connect(ALICE, server, 1)
    assert (_attempts(world.report()), _place_troubles(world.report())) == (1, {})


def _skipped(report):
    return {s["file"]: s["reason"] for s in report["unseen"]["skipped"]}


def test_what_is_mounted_over_a_users_files_and_places_is_not_read(t):
    """As a user can do by FUSE; here root does it for them."""
    world, server = World(t), t.server()
    world.run(0, world.twshim, "prepare")
    world.connect(WWW, server, 3)
    world.connect(BOB, server, 2)
    [mine] = _segments(_place(world, WWW))
    copy = os.path.join("/run/twshim", str(WWW), "1-1-1-0.seg")
    world.run(WWW, "touch", copy)
    world.run(0, "mount", "--bind", f"/run/twshim/{WWW}/{mine}", copy)
    report = world.report()
    assert _skipped(report) == {copy: "something is mounted over it"}, report["unseen"]
    assert _attempts(report) == 5
    # A place as a whole: a second one of the same files.
    world.run(BOB, "mkdir", "/dev/shm/twshim-23456-1")
    world.run(0, "mount", "--bind", "/dev/shm/twshim-23456", "/dev/shm/twshim-23456-1")
    assert _attempts(world.report()) == 5


def test_a_lease_on_a_users_file_makes_no_reader_wait(t):
    world, server = World(t), t.server()
    world.connect(ALICE, server, 3)
    world.connect(0, server, 2)
    [mine] = _segments(world.directory(ALICE))
    holder = t.start(*world.words(ALICE, ("/usr/bin/python3", "-c", f"""
import fcntl, os, signal
signal.signal(signal.SIGIO, signal.SIG_IGN)
fd = os.open("/dev/shm/twshim-{ALICE}/{mine}", os.O_RDWR)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("leased", flush=True)
signal.pause()
""")), shim=False, stdout=-1)
    assert holder.stdout.readline() == b"leased\n"
    report = world.report()
    assert _skipped(report) == {f"/dev/shm/twshim-{ALICE}/{mine}": "a process holds a lease on it"}
    assert _attempts(report) == 2
    holder.kill()
    holder.wait()
    assert _attempts(world.report()) == 5


def test_a_users_files_are_bounded_however_many_places_hold_them(t):
    """6,001 files in each of two places, one of which claims a user namespace: 10,000 are read."""
    world, server = World(t), t.server()
    world.connect(ALICE, server, 1)
    world.connect(BOB, server, 2)
    [mine] = world.segments(ALICE)
    shutil.rmtree(world.directory(ALICE))
    for place in (str(ALICE), f"{ALICE}-1"):
        os.mkdir(world.directory(place), 0o700)
        os.chown(world.directory(place), ALICE, ALICE)
        for number in range(6001):
            path = os.path.join(world.directory(place), f"{number:04}-1-1-0.seg")
            with open(path, "wb") as file:
                file.write(mine if number == 6000 else b"")
            os.chown(path, ALICE, ALICE)
    report = world.report()
    assert (_attempts(report), report["unseen"]["files_skipped"]) == (3, 12001)


def test_doctor_says_what_the_last_logout_takes_away(t):
    """For a user who logs in and has no place in /run/twshim, while logind runs and RemoveIPC is not off."""
    world, server = World(t), t.server()
    world.run(0, world.twshim, "prepare")
    for uid in (ALICE, WWW):
        world.connect(uid, server, 1)

    def said(uid):
        findings = json.loads(world.run(uid, world.twshim, "doctor", "--json", status=None).stdout)
        [found] = [f for f in findings["findings"] if f["id"] == "TW303"] or [{"verdict": "ok"}]
        return found
    assert said(0)["verdict"] == "ok", "no logind"
    world.run(0, "mkdir", "-p", "/run/systemd/users", "/run/systemd/logind.conf.d")
    for uid in (0, ALICE):
        found = said(uid)
        assert found["verdict"] == "notice" and f"twshim prepare {ALICE}" in found["advice"], found
    assert said(WWW)["verdict"] == "ok"
    world.run(0, "sh", "-c", "echo ' RemoveIPC=no' >/run/systemd/logind.conf.d/a.conf")
    assert said(0)["verdict"] == "ok"
    world.run(0, "rm", "/run/systemd/logind.conf.d/a.conf")
    world.run(0, world.twshim, "prepare", str(ALICE))
    shutil.rmtree(world.directory(ALICE))
    assert said(0)["verdict"] == "ok"
    # A place that another user has taken is worse.
    world.run(ALICE, "mkdir", f"/dev/shm/twshim-{BOB}")
    found = said(0)
    assert found["verdict"] == "warning" and f"twshim prepare {BOB}" in found["advice"], found


HOSTILE = """
import fcntl, os, random, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
place, name = sys.argv[1:]
path = os.path.join(place, name)
whole = open(path, "rb").read()
random.seed(1)
print("begun", flush=True)

def fresh():
    if os.path.lexists(path):
        os.unlink(path)
    with open(path, "wb") as file:
        file.write(whole)
    os.chmod(path, 0o600)

def write(data, size=None):
    fresh()
    with open(path, "r+b") as file:
        file.write(data)
        if size is not None:
            file.truncate(size)

def lease():
    fresh()
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError:
        pass  # a reader has it open
    return fd

def replace(make):
    if os.path.lexists(path):
        os.unlink(path)
    make()

held = None
while True:
    if held is not None:
        os.close(held)
        held = None
    n = random.randrange(9)
    if n == 0: write(b"", random.randrange(len(whole)))
    elif n == 1: write(bytes(random.randrange(256) for _ in range(4096)))
    elif n == 2: write(whole[:256] + b"\\xff" * 128)
    elif n == 3: write(b"", 1 << 40)
    elif n == 4: held = lease()
    elif n == 5: replace(lambda: os.mkfifo(path))
    elif n == 6: replace(lambda: os.symlink("/dev/zero", path))
    elif n == 7: replace(lambda: os.mkdir(path)); os.rmdir(path)
    else:
        fresh()
        os.link(path, path + "x")
        os.unlink(path + "x")
"""


def test_what_a_user_does_to_their_files_meanwhile_changes_no_count_of_others(t):
    """Cut, written over, linked, leased, replaced by what is no file: while root reports and serves."""
    world, server = World(t), t.server()
    world.run(0, world.twshim, "prepare")
    world.connect(WWW, server, 3)
    world.connect(BOB, server, 2)
    world.connect(0, server, 4)
    [name] = _segments(_place(world, WWW))
    serve = t.start(*world.words(0, (world.twshim, "serve", "--listen", "127.0.0.1:19462")),
                    shim=False, stdout=-1)
    assert serve.stdout.readline().startswith(b"http://")
    program = t.file("hostile.py", HOSTILE)
    os.chmod(program, 0o644)
    hostile = t.start(*world.words(WWW, ("/usr/bin/python3", program, f"/run/twshim/{WWW}", name)),
                      shim=False, stdout=-1)
    assert hostile.stdout.readline() == b"begun\n"

    def served():
        connection = http.client.HTTPConnection("127.0.0.1", 19462, timeout=20)
        connection.request("GET", "/api/report")
        report = json.loads(connection.getresponse().read())
        connection.close()
        return report
    for _ in range(25):
        for report in (world.report(), served()):
            assert _attempts(report) - 6 in (0, 3), (report["total"], report["unseen"])
    assert hostile.poll() is None and serve.poll() is None
    hostile.kill()
    hostile.wait()
    world.run(WWW, "sh", "-c", f"rm -rf /run/twshim/{WWW}/*")
    world.connect(WWW, server, 1)
    assert _attempts(world.report()) == 7
    wait_for(lambda: _attempts(served()) == 7, "serve makes a new answer")


def test_users_of_user_namespaces_are_kept_apart(t):
    """As UID 0 of one, in whose /dev/shm another root publishes too; as 65534, to whom everybody looks like
    themselves."""
    world, server = World(t), t.server()
    unmapped = ("unshare", "-U")
    steps = (world.client, ADDRESS, str(server.port), *STEPS)
    preload = f"LD_PRELOAD={world.library}"
    for uid, number in ((0, 2), (BOB, 1)):
        world.connect(uid, server, number)
    before = set(os.listdir(world.shm))
    assert before == {"twshim-0", f"twshim-{BOB}"}
    # Its root reads what it has published, and nothing else.
    said = world.run(ALICE, "unshare", "-Ur", "sh", "-c",
                     f'{preload} "$@" && {world.twshim} report --json', "sh", *steps).stdout
    assert _attempts(t.read_report(said)) == 1, said
    [made] = set(os.listdir(world.shm)) - before
    assert made.startswith("twshim-0-") and os.stat(os.path.join(world.shm, made)).st_uid == ALICE
    # Root outside counts its own, and names what speaks for root.
    report = world.report()
    assert _attempts(report) == 3, report["total"]
    [(file, reason)] = _skipped(report).items()
    assert file.startswith(f"/dev/shm/{made}/") and reason == "its owner is not the process's user"
    # Nobody in particular: BOB's directory, and one of that name, look like their own.
    world.run(BOB, "mkdir", "/dev/shm/twshim-65534")
    world.run(ALICE, *unmapped, "env", preload, *steps)
    assert server.counts["accepted"] == 5
    assert set(os.listdir(world.shm)) == before | {made, "twshim-65534"}
    assert os.listdir(os.path.join(world.shm, "twshim-65534")) == []
    assert _attempts(world.report()) == 3
    world.run(0, world.twshim, "run", "-q", "--", "true")


def test_a_process_that_never_connects_opens_at_most_one_file_and_only_as_root(t):
    t.need("strace")
    world = World(t)
    world.run(0, world.twshim, "prepare")
    for uid, most in ((0, 1), (WWW, 0), (ALICE, 0)):
        log = os.path.join(t.scratch, f"strace.{uid}")
        world.run(0, "strace", "-f", "-o", log, "-e", "trace=openat,open,openat2,mkdirat,mkdir",
                  *(("setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups") if uid else ()),
                  "env", f"LD_PRELOAD={world.library}", "true")
        with open(log, encoding="utf-8") as file:
            calls = file.read()
        begin = calls.rindex("libtwshim.so")
        ours = [line for line in calls[begin:].splitlines() if "twshim" in line.split("libtwshim.so")[-1]]
        assert len(ours) <= most, (uid, ours)


def test_programs_of_the_former_release_are_found_where_they_publish_and_counted_once(t):
    """In a run-time directory of the user, and in one that systemd made for a service; both still run."""
    world, server = World(t), t.server()
    world.run(0, world.twshim, "prepare")
    places = (f"/run/user/{WWW}/twshim", "/run/twshim/old.service")
    world.run(0, "install", "-d", "-o", str(WWW), "-m", "700", os.path.dirname(places[0]), *places)
    for number, place in enumerate(places, 1):
        held = t.start(*world.words(WWW, (f"TWSHIM_DIR={place}", f"LD_PRELOAD={world.library}", world.client,
                                          ADDRESS, str(server.port), *STEPS * number, "socket", "connect",
                                          "note:here", "sleep:60000")), shim=False, stdout=-1)
        assert held.stdout.readline().startswith(b"here")
        assert len(_segments(f"/proc/{world.pid}/root{place}")) == 1
    world.connect(WWW, server, 4)
    assert len(_segments(_place(world, WWW))) == 1
    report = world.report()
    assert (_attempts(report), report["total"]["open"]) == (9, 2), report["total"]
    shown = json.loads(world.run(0, world.twshim, "ps", "--json").stdout)
    assert len(shown["processes"]) == 2, shown
