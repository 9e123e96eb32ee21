# SPDX-License-Identifier: MIT
"""Hostile and damaged segments, and a machine without memory, descriptors or a directory. Readers
skip such files and name them; clients run as without the shim."""
import glob
import itertools
import json
import os
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from harness import ADDRESS, Skip, kernel_sockets, time_wait, time_wait_left, wait_for, policy_slot
from test_refused import ERRORS, POPULATE

STEPS = ("socket", "connect", "send:1", "recv", "close")
SECTIONS, SECTION_AT, SECTION_SIZE = 8, 32, 24


def _client(t, server, *steps):
    return (t.prog("client"), ADDRESS, str(server.port), *(steps or STEPS))


# --------------------------------------------------------- segments, by hostile hands

def _good(t, number=3):
    """One segment of a real process, which must be counted whatever is beside it."""
    server = t.server()
    t.run(*_client(t, server), *(STEPS * (number - 1)))
    [path] = glob.glob(os.path.join(t.dir, "*.seg"))
    with open(path, "rb") as file:
        return path, file.read()


def _put(t, name, data):
    path = os.path.join(t.dir, name)
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, 0o600)
    return path


def _report(t, *arguments):
    """Prints the report as text and as JSON, which must work whatever is in the directory. Returns
    the JSON, unchecked."""
    text = t.run(t.twshim, "report", *arguments, shim=False, timeout=30)
    assert b"\x1b" not in text.stdout, text.stdout
    result = t.run(t.twshim, "report", "--json", *arguments, shim=False, timeout=30)
    assert result.stderr == b"", result.stderr
    return json.loads(result.stdout.decode())


def _skipped(report):
    return {os.path.basename(s["file"]): s["reason"] for s in report["unseen"]["skipped"]}


def _with(data, offset, form, *values):
    """The bytes with other values at an offset."""
    data = bytearray(data)
    struct.pack_into(form, data, offset, *values)
    return bytes(data)


def test_what_is_no_segment_is_named_and_skipped(t):
    path, data = _good(t)
    size = len(data)
    bad = {
        "empty.seg": b"",
        "one-byte.seg": b"!",
        "text.seg": b"this is no segment\n" * 1000,
        "zeros.seg": bytes(size),
        "header-only.seg": data[:4096],
        "half-a-header.seg": data[:200],
        "truncated.seg": data[:-1],
        "longer.seg": data + b"\0",
        "magic.seg": _with(data, 0, "<Q", 0x4141414141414141),
        "byte-order.seg": _with(data, 8, "<I", 0x04030201),
        "other-abi.seg": _with(data, 12, "<H", 2),
        "size.seg": _with(data, 16, "<Q", 1 << 60),
        "section-count.seg": _with(data, 28, "<I", 0xffffffff),
    }
    for number in range(SECTIONS):
        at = SECTION_AT + number * SECTION_SIZE
        if struct.unpack_from("<I", data, at + 12)[0]:  # the offset of an empty section is not used
            bad[f"offset-{number}.seg"] = _with(data, at, "<Q", (1 << 63) + 64)
        bad[f"count-{number}.seg"] = _with(data, at + 12, "<II", 0xffffffff, 0xffffffff)
    for name, content in bad.items():
        _put(t, name, content)
    report = _report(t)
    assert set(_skipped(report)) == set(bad), set(bad) ^ set(_skipped(report))
    assert all(_skipped(report).values()), _skipped(report)
    assert report["unseen"]["files_skipped"] == len(bad), report["unseen"]
    assert report["total"]["attempts"] == 3, report["total"]
    assert os.path.exists(path)


def test_what_is_no_regular_file_is_neither_followed_nor_waited_for(t):
    path, data = _good(t)
    elsewhere = t.file("elsewhere", "")
    with open(elsewhere, "wb") as file:
        file.write(data)
    os.symlink(elsewhere, os.path.join(t.dir, "link.seg"))
    os.symlink("/dev/zero", os.path.join(t.dir, "zero.seg"))
    os.symlink("link2.seg", os.path.join(t.dir, "link2.seg"))
    os.mkfifo(os.path.join(t.dir, "fifo.seg"))
    os.mkdir(os.path.join(t.dir, "directory.seg"))
    os.symlink("/", os.path.join(t.dir, "run-link"))
    os.symlink(".", os.path.join(t.dir, "run-loop"))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(os.path.join(t.dir, "socket.seg"))
    os.mkfifo(os.path.join(t.dir, "fifo.totals"))
    os.mkfifo(os.path.join(t.dir, "run-fifo"))
    report = _report(t)
    wanted = {"link.seg", "zero.seg", "link2.seg", "fifo.seg", "directory.seg", "socket.seg",
              "fifo.totals"}
    assert wanted <= set(_skipped(report)), wanted - set(_skipped(report))
    assert report["total"]["attempts"] == 3, report["total"]


def test_a_hard_link_does_not_count_twice(t):
    path, _ = _good(t)
    os.link(path, os.path.join(t.dir, "1-2-3-0.seg"))
    report = _report(t)
    assert report["total"]["attempts"] in (0, 3), report["total"]
    assert _skipped(report), report["unseen"]


def test_another_users_segment_in_our_directory_is_not_believed(t):
    if os.getuid() != 0:
        raise Skip("only root can give files away")
    _, data = _good(t)
    os.chown(_put(t, "9-9-9-0.seg", data), 12345, 12345)
    report = _report(t)
    assert "9-9-9-0.seg" in _skipped(report), report["unseen"]
    assert report["total"]["attempts"] == 3, report["total"]


def test_a_sparse_giant_costs_neither_time_nor_memory(t):
    _, data = _good(t)
    giant = _put(t, "giant.seg", _with(data, 16, "<Q", 1 << 40))
    with open(giant, "r+b") as file:
        try:
            file.truncate(1 << 40)
        except OSError as error:
            raise Skip(f"no sparse giant here: {error}") from error
    command = (t.twshim, "report", "--json")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    report = json.loads(t.run(*command, shim=False, timeout=20).stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert "giant.seg" in _skipped(report), report["unseen"]
    assert report["total"]["attempts"] == 3
    assert after < max(before, 200 << 10), f"{after} KiB"
    assert os.stat(giant).st_blocks * 512 < 8 << 20, "a reader made the holes of the file real"


def test_mutations_never_crash_a_reader(t):
    _, data = _good(t)
    source = random.Random(t.seed)
    for round_number in range(8):
        for number in range(40):
            mutated = bytearray(data)
            for _ in range(source.choice((1, 3, 20, 300))):
                # Mostly in the structure: the header, its table, the first records.
                at = source.choice((source.randrange(600), source.randrange(4096),
                                    source.randrange(len(data))))
                if source.random() < 0.5:
                    mutated[at] = source.randrange(256)
                else:
                    at = min(at, len(data) - 8)
                    value = source.choice((0, 1, 0xff, 0xffff, 0x7fffffff, 0xffffffff,
                                           (1 << 63) - 1, (1 << 64) - 1))
                    struct.pack_into("<Q", mutated, at, value)
            _put(t, f"1-{number + 1}-{round_number}-0.seg", bytes(mutated))
        _report(t)
        for command in (("owners", "--json"), ("ps", "--json")):
            result = t.run(t.twshim, *command, shim=False, status=None, timeout=30)
            assert result.returncode in (0, 1, 2), f"seed {t.seed}: {command} {result}"


def test_mutated_counters_stay_behind_a_readers_arithmetic(t):
    """A plausible segment in which each number is false."""
    _, data = _good(t)
    source = random.Random(t.seed)
    sections = [struct.unpack_from("<QIII", data, SECTION_AT + n * SECTION_SIZE)
                for n in range(SECTIONS)]
    for number in range(20):
        mutated = bytearray(data)
        for offset, size, _, used in sections:
            for word in range(offset, offset + size * used, 8):
                if source.random() < 0.2:
                    struct.pack_into("<Q", mutated, word, source.getrandbits(64))
        _put(t, f"1-{number + 1}-1-0.seg", bytes(mutated))
    report = _report(t)
    assert report["schema"] == "twshim.report/1"


def test_a_segment_rewritten_while_read(t):
    path, data = _good(t)
    source = random.Random(t.seed)
    target = _put(t, "1-1-1-0.seg", data)
    over = threading.Event()

    def rewrite():
        with open(target, "r+b", buffering=0) as file:
            while not over.is_set():
                choice = source.randrange(4)
                if choice == 0:
                    file.truncate(source.randrange(len(data)))
                elif choice == 1:
                    file.seek(source.randrange(len(data)))
                    file.write(os.urandom(source.randrange(1, 4096)))
                else:
                    file.seek(0)
                    file.write(data)
    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        for _ in range(60):
            report = _report(t)
            assert report["total"]["attempts"] >= 3, report["total"]
    finally:
        over.set()
        thread.join()


def test_names_of_executables_never_reach_a_terminal_raw(t):
    server = t.server()
    name = "cl\x1b[31mi\nent\x07\t\"\\<b>&\u202e"
    copy = os.path.join(t.scratch, name)
    shutil.copy(t.prog("client"), copy)
    t.run(copy, ADDRESS, str(server.port), *STEPS)
    for command in (("report",), ("ps",), ("owners",)):
        text = t.run(t.twshim, *command, shim=False).stdout
        bad = [byte for byte in text if byte < 32 and byte != 10 or byte == 127]
        assert not bad, (command, text)
    report = t.report()
    assert [a["app"] for a in report["apps"]] == [name], report["apps"]


def test_lies_about_pids_and_time_do_not_reach_anybody(t):
    """A segment that claims to be of pid 1, of a live process, of the year 2500."""
    path, data = _good(t)
    for number, (pid, start) in enumerate(((1, 1), (os.getpid(), 1), (0, 0),
                                           (0xffffffff, (1 << 64) - 1))):
        lie = _with(data, SECTION_AT + SECTIONS * SECTION_SIZE + 32, "<QI", start, pid)
        _put(t, f"1-{number}-1-0.seg", lie)
    before = os.getpid()
    report = _report(t)
    assert report["total"]["attempts"] >= 3 and os.getpid() == before


def test_nobody_can_make_a_client_without_a_policy_reset_its_connections(t):
    """What a rule wants at close is not in a file that others can write. Another process writes `reset`
    into the slot, where it was once, between connect and close."""
    server = t.server()
    process = t.start(*_client(t, server, "socket", "connect", "send:1", "recv",
                               "sleep:600", "close"))
    wait_for(lambda: server.counts["bytes"] == 1, "it is connected")
    time.sleep(0.2)
    [path] = glob.glob(os.path.join(t.dir, "*.seg"))
    with open(path, "r+b", buffering=0) as segment:
        offset, = struct.unpack("<Q", os.pread(segment.fileno(), 8, SECTION_AT + SECTION_SIZE))
        for word in range(2):  # tws_connection.action[]
            os.pwrite(segment.fileno(), struct.pack("<I", 5), offset + 100 + 4 * word)
    assert process.wait(30) == 0
    server.wait("eofs", 1)
    assert server.counts["resets"] == 0, server.counts
    t.counters(t.report(), attempts=1, established=1, ended_local_fin=1)


# --------------------------------------------------------------- the client, if alone

def _alone(t, *command, number=None, wrap=(), repeat=1, **more):
    """The client ends as it does without the shim, and its server sees the same."""
    seen = []
    for shim in (False, True):
        server = t.server()
        words = [w.replace("PORT", str(server.port)) for w in command]
        environment = dict(more.get("env") or {})
        if shim:
            environment["LD_PRELOAD"] = t.library
        for _ in range(repeat):
            # The preload is set behind the wrapper, so only the client has it.
            assignment = [f"{k}={v}" for k, v in environment.items()]
            result = t.run(*wrap, "env", *assignment, *words, shim=False, status=None)
        left = time_wait_left(server.port)
        seen.append((result.returncode, result.stdout, result.stderr, server.counts["accepted"],
                     server.counts["bytes"], left))
    assert seen[0] == seen[1], f"bare {seen[0]}\nshimmed {seen[1]}"
    if number is not None:
        assert seen[0][3] == number, seen
    return seen[1]


def _many(t, number=20):
    return (t.prog("client"), ADDRESS, "PORT", *STEPS, f"repeat:{number}")


def _mounted(options, path):
    """A wrapper that runs the command with a tmpfs of its own mounted over the path."""
    return ("unshare", "-m", "sh", "-c",
            f'mount -t tmpfs -o {options} none {path} && exec "$@"', "sh")


def _need_mounts(t):
    if os.getuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False,
                                          stderr=subprocess.DEVNULL).returncode:
        raise Skip("no mount namespaces here")


def test_directories_that_cannot_be_used_leave_the_client_alone(t):
    missing = os.path.join(t.scratch, "a", "b")
    foreign = os.path.join(t.dir, "foreign")
    open_to_all = os.path.join(t.dir, "open")
    link = os.path.join(t.dir, "link")
    loop = os.path.join(t.dir, "loop")
    for path in (foreign, open_to_all):
        os.mkdir(path)
    os.chmod(open_to_all, 0o777)
    if os.getuid() == 0:
        os.chown(foreign, 12345, 12345)
    os.symlink(t.scratch, link)
    os.symlink(loop, loop)
    for directory in (missing, foreign, open_to_all, link, loop, "/etc/passwd", "/proc", "/sys",
                      "relative", "x" * 5000, "/dev/shm/" + "y" * 300, "/dev/null"):
        _alone(t, *_many(t, 3), number=3, env={"TWSHIM_DIR": directory})
    assert os.listdir(foreign) == os.listdir(open_to_all) == []
    assert not glob.glob(os.path.join(t.scratch, "*.seg"))


def test_no_tmpfs_leaves_the_client_alone(t):
    for environment in ({"TWSHIM_DIR": t.scratch}, {"TWSHIM_DIR": "/var/tmp"}):
        _alone(t, *_many(t, 3), number=3, env=environment)


def test_a_full_tmpfs_leaves_the_client_alone(t):
    _need_mounts(t)
    for size in ("4k", "16k", "64k", "128k", "256k", "512k", "1m"):
        _alone(t, *_many(t, 300), number=300, wrap=_mounted(f"size={size},mode=700", t.dir),
               env={"TWSHIM_DIR": t.dir})


def test_a_full_tmpfs_is_named_by_whoever_is_asked_why_nothing_was_counted(t):
    _need_mounts(t)
    fills = ("head -c 64M /dev/zero >$TWSHIM_DIR/fill 2>/dev/null; exec $@",
             "mkdir $(seq -f $TWSHIM_DIR/%g 20) 2>/dev/null; exec $@")
    server = t.server()
    for fill, (arguments, words) in itertools.product(fills, (
            (("run", "--", *_client(t, server)), "connections will not be counted"),
            (("env",), "connections will not be counted"),
            (("report",), "The tmpfs of the run-time directory is full"),
            (("doctor", t.prog("client")), "is full, so programs that start now are not counted"))):
        command = ("sh", "-c", fill, "sh", t.twshim, *arguments)
        result = t.run(*_mounted("size=1m,nr_inodes=10,mode=700", t.dir), *command, shim=False,
                       status=None)
        said = " ".join((result.stdout + result.stderr).decode().split())
        # `run` needs an inode for its directory, and fails without one.
        if arguments[0] == "run" and "mkdir" in fill:
            words = "no room is left on this tmpfs: make room there"
        assert words in said, (fill, arguments, said)
        failed = {"doctor": 1, "run": 125 if "mkdir" in fill else 0}
        assert result.returncode == failed.get(arguments[0], 0), result


def test_a_policy_that_finds_no_room_is_said_once_with_what_to_do(t):
    _need_mounts(t)
    rule = ("-p", f"close=fin-reset,to={ADDRESS}")
    for fill, (arguments, status) in itertools.product(
            ("head -c 64M /dev/zero >$TWSHIM_DIR/fill 2>/dev/null; exec $@",
             "mkdir $(seq -f $TWSHIM_DIR/%g 20) 2>/dev/null; exec $@"),
            ((("env",), 1), (("policy", "load"), 1), (("run", "-p", rule[1], "true"), 125))):
        command = ("sh", "-c", fill, "sh", t.twshim, *arguments, *(rule if status == 1 else ()))
        result = t.run(*_mounted("size=1m,nr_inodes=10,mode=700", t.dir), *command, shim=False,
                       status=status)
        [line] = result.stderr.decode().splitlines()
        assert "no room is left on this tmpfs" in line and "make room" in line, line
        assert "TWSHIM_DIR" in line and not result.stdout, result


def test_a_tmpfs_that_fills_up_leaves_the_client_alone(t):
    _need_mounts(t)
    script = t.file("fill.sh", f"""
mount -t tmpfs -o size=2m,mode=700 none {t.dir} || exit 9
"$@" &
while ! ls {t.dir}/*.seg >/dev/null 2>&1; do :; done
cat /dev/zero > {t.dir}/fill 2>/dev/null
wait $!
""")
    # The segment grows with its use: many connections open at once, and many ended.
    more = ("socket", "connect", "send:1", "recv") * 600
    for refuse in ((), *((t.prog("refuse"), POPULATE, str(error)) for error in ERRORS)):
        server = t.server()
        client = _client(t, server, "socket", "connect", "send:1", "recv", "close", "sleep:300")
        t.run("unshare", "-m", "sh", script, *refuse, "env", f"LD_PRELOAD={t.library}", *client,
              *more, shim=False)
        assert server.counts["accepted"] == 601, server.counts


OPENS_MANY = """
import glob, os, socket, struct, sys
directory, to, number = sys.argv[1], (sys.argv[2], int(sys.argv[3])), int(sys.argv[4])
socket.create_connection(to).close()
with open(glob.glob(directory + "/*.seg")[0], "r+b") as segment:
    segment.seek(32 + 24 + 20)  # section[TWS_SECTION_CONNECTIONS].ready
    segment.write(struct.pack("<I", 0xffffffff))
try:
    with open(directory + "/fill", "wb", buffering=0) as file:
        while file.write(b"f" * 4096):
            pass
except OSError:
    pass
held = [socket.create_connection(to) for _ in range(number)]
print(len(held))
"""


def test_a_segment_that_claims_memory_which_is_not_there_is_not_believed(t):
    _need_mounts(t)
    server = t.server()
    script = t.file("many.py", OPENS_MANY)
    # 300 connections at once need more slots than the first allocation has.
    result = t.run(*_mounted("size=1m,mode=700", t.dir), "env", f"LD_PRELOAD={t.library}",
                   sys.executable, script, t.dir, ADDRESS, str(server.port), "300", shim=False)
    assert result.stdout == b"300\n" and server.counts["accepted"] == 301


def test_no_inodes_left_leaves_the_client_alone(t):
    _need_mounts(t)
    for inodes in (1, 2, 3):
        _alone(t, *_many(t, 3), number=3, env={"TWSHIM_DIR": t.dir},
               wrap=_mounted(f"nr_inodes={inodes},mode=700", t.dir))


def test_a_read_only_directory_leaves_the_client_alone(t):
    _need_mounts(t)
    _alone(t, *_many(t, 3), number=3, env={"TWSHIM_DIR": t.dir},
           wrap=_mounted("ro,mode=700", t.dir))


def test_without_proc_the_client_is_as_if_alone(t):
    _need_mounts(t)
    _alone(t, *_many(t, 20), number=20, env={"TWSHIM_DIR": t.dir}, wrap=_mounted("ro", "/proc"))


LIMITED = """
import errno, resource, socket, sys
kind, value = sys.argv[3], int(sys.argv[4])
resource.setrlimit(getattr(resource, "RLIMIT_" + kind), (value, value))
kept, said = [], []
for _ in range(40):
    try:
        c = socket.socket()
        c.connect((sys.argv[1], int(sys.argv[2])))
        c.sendall(b"x")
        c.recv(1)
        kept.append(c)
    except OSError as error:
        said.append(errno.errorcode[error.errno])
print(len(kept), said)
for c in kept:
    c.close()
for _ in range(20):
    c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    c.close()
print("well")
"""


def test_no_descriptor_left_leaves_the_client_alone(t):
    script = t.file("limited.py", LIMITED)
    # From a limit that the first connection reaches, to plenty.
    for limit in (4, 5, 6, 7, 10, 30):
        _alone(t, sys.executable, script, ADDRESS, "PORT", "NOFILE", str(limit),
               env={"TWSHIM_DIR": t.dir})


def test_a_file_size_limit_leaves_the_client_alone(t):
    # A file made longer than the limit brings SIGXFSZ, which ends the process. (C: python
    # ignores that signal.)
    for limit in (0, 1, 8, 100):
        _alone(t, "sh", "-c", f"ulimit -f {limit} && exec \"$@\"", "sh", *_many(t, 20),
               number=20, env={"TWSHIM_DIR": t.dir})


def test_an_address_space_limit_leaves_the_client_alone(t):
    def limited(kilobytes, *command):
        return ("sh", "-c", f"ulimit -v {kilobytes} && exec \"$@\"", "sh", *command)
    # The least in which the loader has room for the library; then step by step, until there is room
    # for a segment too.
    probe = ("env", f"LD_PRELOAD={t.library}", t.prog("client"), ADDRESS, "1")
    least = next(kilobytes for kilobytes in range(2500, 40000, 64)
                 if (result := t.run(*limited(kilobytes, *probe), shim=False, status=None))
                 .returncode == 0 and not result.stderr)
    for more in (0, 64, 128, 256, 512, 1024, 2048, 4096):
        _alone(t, *limited(least + more, *_many(t, 20)), number=20, env={"TWSHIM_DIR": t.dir})


def test_a_small_stack_leaves_the_client_alone(t):
    script = t.file("stack.py", """
import socket, sys, threading
threading.stack_size(32768)
def work():
    for _ in range(20):
        c = socket.socket()
        c.connect((sys.argv[1], int(sys.argv[2])))
        c.send(b"x"); c.recv(1); c.close()
threads = [threading.Thread(target=work) for _ in range(4)]
[x.start() for x in threads]; [x.join() for x in threads]
""")
    _alone(t, sys.executable, script, ADDRESS, "PORT", number=80, env={"TWSHIM_DIR": t.dir})


def test_a_client_that_closes_everything_at_its_start(t):
    script = t.file("closeall.py", """
import os, socket, sys
os.closerange(0, 1024)
for _ in range(20):
    c = socket.socket()
    c.connect((sys.argv[1], int(sys.argv[2])))
    c.send(b"x"); c.recv(1); c.close()
os._exit(5)
""")
    seen = _alone(t, sys.executable, script, ADDRESS, "PORT", number=20, env={"TWSHIM_DIR": t.dir})
    assert seen[0] == 5, seen


def test_a_client_that_gives_up_its_rights_after_its_first_connection(t):
    if os.getuid() != 0:
        raise Skip("only root can give up")
    script = t.file("drop.py", """
import os, socket, sys
def one():
    c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    c.send(b"x"); c.recv(1); c.close()
one()
os.setgid(65534); os.setuid(65534)
for _ in range(10):
    one()
if os.fork() == 0:
    one()
    os._exit(0)
os.wait()
print("well")
""")
    os.chmod(t.scratch, 0o755)
    _alone(t, sys.executable, script, ADDRESS, "PORT", number=12, env={"TWSHIM_DIR": t.dir})


def test_a_client_in_a_chroot_without_anything(t):
    if os.getuid() != 0:
        raise Skip("only root can")
    script = t.file("chroot.py", """
import os, socket, sys
os.chroot(sys.argv[3]); os.chdir("/")
for _ in range(10):
    c = socket.socket()
    c.connect((sys.argv[1], int(sys.argv[2])))
    c.send(b"x"); c.recv(1); c.close()
print("well")
""")
    root = os.path.join(t.scratch, "root")
    os.mkdir(root)
    _alone(t, sys.executable, script, ADDRESS, "PORT", root, number=10, env={"TWSHIM_DIR": t.dir})
    assert os.listdir(root) == []


# --------------------------------------------------- under a client's feet, while it runs

def _running(t, *steps_after, mode="echo", env=None):
    """A client with a segment, which waits until it may continue: (process, server, go on)."""
    server = t.server(mode)
    other = t.server("first")
    process = t.start(*_client(t, server, *STEPS, "socket", f"port:{other.port}", "connect",
                               "wait-hup", "close", f"port:{server.port}", *steps_after),
                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    server.wait("eofs", 1)
    wait_for(lambda: kernel_sockets(1, other.port), "it waits")
    return process, server, other


def _goes_on(process, server, other, number):
    other.close()  # its end is the signal to go on
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, b"", b""), (process.returncode, out, err)
    assert server.counts["accepted"] == number, server.counts


def test_a_deleted_directory_does_not_disturb_a_running_client(t):
    process, server, other = _running(t, *STEPS, *STEPS)
    shutil.rmtree(t.dir)
    _goes_on(process, server, other, 3)
    os.mkdir(t.dir, 0o700)
    assert _report(t)["total"]["attempts"] == 0


def test_a_segment_that_is_overwritten_does_not_disturb_its_client(t):
    for content in (b"\0", b"\xff", b"\x5a"):
        process, server, other = _running(t, *(STEPS * 20))
        [path] = glob.glob(os.path.join(t.dir, "*.seg"))
        size = os.path.getsize(path)
        with open(path, "r+b") as file:
            file.write(content * size)
        _goes_on(process, server, other, 21)
        _report(t)
        for path in glob.glob(os.path.join(t.dir, "*.seg")):
            os.unlink(path)  # its own, and another one if the damage was seen


def test_a_segment_that_is_cut_does_not_end_its_client(t):
    for size in (0, 100, 4096, 100000):
        process, server, other = _running(t, *(STEPS * 20))
        [path] = glob.glob(os.path.join(t.dir, "*.seg"))
        os.truncate(path, size)
        _goes_on(process, server, other, 21)
        # Its content is lost; the next connection makes a new segment.
        [new] = [p for p in glob.glob(os.path.join(t.dir, "*.seg")) if p != path]
        total = _report(t)["total"]
        assert total["attempts"] == total["ended_local_fin"] == 20, total
        assert total["unobserved"] == 1, total
        os.unlink(path)
        os.unlink(new)


# It holds no connection meanwhile, whose end would show the cut first.
WAITS_FOR_A_LINE = """
import socket, sys
for answer in ("ready", "ok"):
    for _ in range(3):
        socket.create_connection((sys.argv[1], int(sys.argv[2]))).close()
    print(answer, flush=True)
    sys.stdin.readline()
"""


def test_a_segment_that_is_cut_before_a_policy_is_loaded_does_not_end_its_client(t):
    server = t.server()
    for number, to in enumerate((ADDRESS, "192.0.2.1"), 1):
        process = t.start("python3", "-c", WAITS_FOR_A_LINE, ADDRESS, str(server.port),
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        [path] = glob.glob(os.path.join(t.dir, f"*-{process.pid}-*.seg"))
        os.truncate(path, 0)
        policy = t.file("graceful.conf", f'rules = ({{ name = "r"; match = {{ to = "{to}"; }};'
                                         ' close = "graceful"; });')
        t.run(t.twshim, "policy", "load", policy, shim=False)
        out, _ = process.communicate(timeout=30)
        assert (process.returncode, out) == (0, b"ok\n"), (process.returncode, out)
        server.wait("eofs", 6 * number)
        os.unlink(path)


def test_a_segment_whose_word_at_the_end_is_written_over_is_left_for_another(t):
    for word in (0, 4, 0x80000000, 0xffffffff):
        process, server, other = _running(t, *(STEPS * 20))
        [path] = glob.glob(os.path.join(t.dir, "*.seg"))
        _write_at(path, os.path.getsize(path) - 128, struct.pack("<I", word))
        _goes_on(process, server, other, 21)
        [new] = [p for p in glob.glob(os.path.join(t.dir, "*.seg")) if p != path]
        os.unlink(path)
        total = _report(t)["total"]
        assert total["attempts"] == total["ended_local_fin"] == 20, total
        os.unlink(new)


def test_no_step_on_a_connection_is_ended_by_a_segment_that_was_cut_since(t):
    """The steps that use the slot without asking the socket anything first."""
    for step in ("linger:0", "reuseaddr", "linger2:5", "dup", "dup2", "fdupfd", "shutdown:wr",
                 "connect-again", "unspec", "so-error", "dup2-over", "close-raw socket"):
        server = t.server()
        process = t.start(*_client(t, server, "socket", "connect", "send:1", "recv", "sleep:150",
                                   *step.split(), "exit:0"))
        wait_for(lambda: server.counts["bytes"] == 1, "it is connected")
        time.sleep(0.05)
        [path] = glob.glob(os.path.join(t.dir, "*.seg"))
        os.truncate(path, 0)
        assert process.wait(30) == 0, (step, process.returncode)
        os.unlink(path)


def test_a_segment_that_is_cut_during_a_long_connect_does_not_end_its_client(t):
    # The server's queue is full: the connect waits until the server accepts.
    server = t.server(backlog=0)
    os.kill(server.pid, signal.SIGSTOP)
    held = [t.start(*_client(t, server, *STEPS), shim=False) for _ in range(3)]
    wait_for(lambda: kernel_sockets(2, server.port), "a connect that stands")
    process = t.start(*_client(t, server, *STEPS, *STEPS))
    wait_for(lambda: len(kernel_sockets(2, server.port)) >= 2 and
             glob.glob(os.path.join(t.dir, "*.seg")), "the client's stands")
    [path] = glob.glob(os.path.join(t.dir, "*.seg"))
    os.truncate(path, 0)
    os.kill(server.pid, signal.SIGCONT)
    assert process.wait(60) == 0, process.returncode
    assert [h.wait(60) for h in held] == [0, 0, 0]


def test_a_policy_control_file_that_is_cut_does_not_end_its_client(t):
    _load(t, close="fin-reset")
    process, server, other = _running(t, *(STEPS * 20))
    os.truncate(t.control, 0)
    time.sleep(0.05)  # the shim looks again ten milliseconds after its last look (TWS_FRESH_NS)
    _goes_on(process, server, other, 21)


def test_a_policy_that_is_loaded_after_the_cut_is_followed_within_a_second(t):
    server = t.server()
    _load(t, close="fin-reset")
    process = t.start(*_client(t, server, *(*STEPS, "sleep:50") * 80))
    server.wait("eofs", 2)
    os.truncate(t.control, 0)
    server.wait("eofs", server.counts["eofs"] + 4)
    _load(t, close="fin-reset")
    assert process.wait(60) == 0
    left = time_wait_left(server.port)
    # 20 connections a second: some before the load, and those of the second after it.
    assert 2 <= left <= 45, left
    t.counters(t.report(), attempts=80, established=80, ended_local_fin=left,
               ended_fin_reset=80 - left)


def test_a_port_ring_that_is_cut_or_lies_does_not_end_its_client(t):
    t.run(t.twshim, "policy", "load", "-p", "port_ring=20000-20999,to=*", shim=False)
    for harm in (lambda path: os.truncate(path, 0),
                 lambda path: _write_at(path, 8, struct.pack("<HH", 30000, 29999)),
                 lambda path: _write_at(path, 8, struct.pack("<HH", 1, 65535))):
        server = t.server()
        process = t.start(*_client(t, server, *STEPS, "sleep:500", *STEPS * 20))
        server.wait("eofs", 1)
        [path] = glob.glob(os.path.join(t.dir, "ring-*.map"))
        harm(path)
        assert process.wait(60) == 0
        assert server.counts["accepted"] == 21


def _write_at(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def _load(t, name="p.conf", close="reset"):
    rule = t.file(name, f'rules = ( {{ name = "r"; match = {{ to = ["{ADDRESS}"]; }}; '
                        f'close = "{close}"; }} );')
    t.run(t.twshim, "policy", "load", rule, shim=False)


def test_a_policy_image_that_is_cut_does_not_end_its_client(t):
    _load(t, close="fin-reset")
    process, server, other = _running(t, *(STEPS * 20))
    os.truncate(t.control, policy_slot(1))
    _goes_on(process, server, other, 21)


def test_policy_images_that_are_none_are_refused_and_the_client_observed(t):
    _load(t)
    path = t.control
    with open(path, "rb") as file:
        data = file.read()
    slot = policy_slot(1)
    size = struct.unpack_from("<I", data, slot + 16)[0]
    source = random.Random(t.seed)

    def refused(what):
        server = t.server()
        t.run(*_client(t, server), *(STEPS * 4))
        left = time_wait_left(server.port)
        counts = (server.counts["accepted"], left)
        assert counts == (5, 5), f"{what}: {counts}"
    for cut in (0, 1, 63, slot, slot + size // 2, len(data) - 1):
        with open(path, "wb") as file:
            file.write(data[:cut])
        refused(f"cut at {cut}")
    for _ in range(10):
        mutated = bytearray(data)
        mutated[slot + source.randrange(size)] ^= 1 << source.randrange(8)
        with open(path, "wb") as file:
            file.write(mutated)
        refused(f"one bit, seed {t.seed}")
    os.unlink(path)
    refused("gone")
    os.unlink(path)  # the client made an empty one
    os.mkfifo(path)
    refused("a FIFO")
    os.unlink(path)
    os.mkdir(path)
    refused("a directory")


def test_a_policy_image_that_another_user_could_write_is_refused(t):
    if os.getuid() != 0:
        raise Skip("only root can give files away")
    _load(t)
    path = t.control
    server = t.server()
    os.chmod(path, 0o666)
    t.run(*_client(t, server))
    wait_for(lambda: time_wait(server.port) == 1, "refused for its mode")
    os.chmod(path, 0o600)
    os.chown(path, 12345, 12345)
    t.run(*_client(t, server))
    wait_for(lambda: time_wait(server.port) == 2, "refused for its owner")
    os.chown(path, 0, 0)
    t.run(*_client(t, server))
    assert time_wait_left(server.port) == 2, "the control: it is obeyed when it is ours"


def test_a_killed_reader_and_many_at_once_disturb_nobody(t):
    server = t.server()
    client = t.start(*_client(t, server), *(STEPS * 1999))
    readers = []
    while client.poll() is None:
        readers.append(t.start(t.twshim, "report", "--json", shim=False,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        if len(readers) > 3:
            readers.pop(0).send_signal(signal.SIGKILL)
    assert client.returncode == 0
    t.counters(t.report(), attempts=2000, established=2000, ended_local_fin=2000)
    assert time_wait_left(server.port) == 2000
