# SPDX-License-Identifier: MIT
"""Programs that change their user. A user who can truncate a file that a process maps must be able to
kill the process, and no other user's policy decides how it closes."""
import os
import subprocess

from harness import ADDRESS, time_wait_left
from test_other_users import ALICE, STEPS, World

ROUNDS = 20
WAYS = ("seteuid", "setreuid", "setresuid", "setfsuid", "syscall", "raw", "keepcaps", "thread")
CLOSES = ("keep", "graceful", "linger", "fin-reset", "reset-drained", "reset")


def _policy(close, dry_run=False):
    text = f"close={close}" + (",linger_seconds=1" if close == "linger" else "")
    return text + (",dry_run=true" if dry_run else "")


def _load(world, uid, rule):
    world.run(uid, world.twshim, "policy", "load", "-p", rule + ",to=*")


def _files_of_others(pid):
    """The files on memory file systems that a process maps and root does not own."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        lines = [line.split(None, 5) for line in maps]
    paths = {line[5].strip() for line in lines if len(line) == 6 and line[5].startswith("/dev/shm")}
    return {p for p in paths if os.stat(f"/proc/{pid}/root{p.removesuffix(' (deleted)')}").st_uid}


def _daemon(world, server, way, shim=True):
    """Root's daemon that becomes ALICE from time to time. Returns what it printed and mapped."""
    command = (world.users, ADDRESS, str(server.port), str(ALICE), way, str(ROUNDS))
    if shim:
        command = (f"LD_PRELOAD={world.library}", *command)
    daemon = world.t.start(*world.words(0, command), shim=False, stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE)
    assert daemon.stdout.readline() == b"holding\n"
    mapped = _files_of_others(daemon.pid)
    printed, _ = daemon.communicate(b"\n", timeout=60)
    return (daemon.returncode, printed), mapped


def _world(t):
    world = World(t)
    world.users = os.path.join(t.scratch, "users")
    with open(t.prog("users"), "rb") as file, open(world.users, "wb") as copy:
        copy.write(file.read())
    os.chmod(world.users, 0o755)
    return world


def test_a_daemon_that_is_another_user_for_a_moment_maps_none_of_that_users_files(t):
    world, server = _world(t), t.server()
    world.connect(ALICE, server, 1)  # her directory exists, with a policy in it
    _load(world, ALICE, "close=reset")
    for number, way in enumerate(WAYS, 1):
        bare, _ = _daemon(world, server, way, shim=False)
        shimmed, mapped = _daemon(world, server, way)
        assert bare == shimmed == (0, b"survived %d\n" % ROUNDS), (way, bare, shimmed)
        assert not mapped, (way, mapped)
        assert server.counts["resets"] == 0, (way, server.counts)
        total = world.report()["total"]
        assert total["attempts"] - 1 >= number * ROUNDS, (way, total)
        assert total["attempts"] - 1 + total["unobserved"] == number * 2 * ROUNDS, (way, total)


def test_a_daemon_obeys_roots_policy_and_not_the_moments_users(t):
    world, server = _world(t), t.server()
    _load(world, ALICE, "close=reset")
    for rule in [_policy(c) for c in CLOSES] + [_policy("reset", dry_run=True)]:
        _load(world, 0, rule)
        for way in ("seteuid", "keepcaps"):
            before = server.counts["resets"]
            bare, _ = _daemon(world, server, way, shim=False)
            shimmed, mapped = _daemon(world, server, way)
            resets = server.counts["resets"] - before
            assert bare == shimmed and not mapped, (rule, way, bare, shimmed, mapped)
            # Root's connections are reset where root says so, and none of those that were
            # opened as ALICE.
            expected = ROUNDS if rule in ("close=reset", "close=reset-drained") else 0
            assert resets == expected, (rule, way, resets)


def test_a_process_that_drops_root_begins_a_segment_of_its_new_user(t):
    world, server = World(t), t.server()
    script = ("import os, socket, sys\n"
              "def connect(n):\n"
              "    for _ in range(n):\n"
              f"        s = socket.create_connection(('{ADDRESS}', {server.port}))\n"
              "        s.sendall(b'x'); s.recv(1); s.close()\n"
              "connect(2)\n"
              f"os.setgid({ALICE}); os.setuid({ALICE})\n"
              "connect(3)\n"
              "print('dropped', flush=True)\n"
              "sys.stdin.readline()\n"
              "connect(1)\n")
    _load(world, ALICE, "close=reset")
    process = t.start(*world.words(0, (f"LD_PRELOAD={world.library}", "python3", "-c", script)),
                      shim=False, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"dropped\n"
    report = world.report()
    assert (report["total"]["attempts"], report["unseen"]["files_skipped"]) == (5, 0), report
    assert world.report(ALICE)["total"]["attempts"] == 3
    process.communicate(b"\n", timeout=60)
    assert process.returncode == 0
    t.counters(world.report(), attempts=6, established=6, ended_local_fin=6)
    assert (server.counts["resets"], time_wait_left(server.port)) == (0, 6)
    # The control: her own program obeys her policy.
    world.connect(ALICE, server, 1)
    total = world.report(ALICE)["total"]
    assert server.counts["resets"] == 1, {k: v for k, v in total.items() if isinstance(v, int) and v}


def test_a_program_obeys_its_users_policy_though_a_child_was_waited_for_before_its_exec(t):
    world, server = World(t), t.server()
    world.connect(ALICE, server, 1)  # her directory exists
    _load(world, ALICE, "close=reset")
    script = '/bin/true; LD_PRELOAD="$0" exec "$@"'
    world.run(ALICE, "sh", "-c", script, world.library, world.client, ADDRESS, str(server.port), *STEPS)
    assert server.counts["resets"] == 1, server.counts


def test_a_program_with_capabilities_obeys_no_policy_of_its_user(t):
    world, server = World(t), t.server()
    _load(world, ALICE, "close=reset")
    for capability, counted in (("+net_bind_service", 1), ("+setuid", 0)):
        words = list(world.words(ALICE, (f"LD_PRELOAD={world.library}", world.client, ADDRESS,
                                         str(server.port), *STEPS)))
        at = words.index("--clear-groups")
        words[at:at] = ["--inh-caps", capability, "--ambient-caps", capability]
        before = world.report()["total"]["attempts"]
        t.run(*words, shim=False)
        # One that could become another user again publishes nothing as this one.
        assert world.report()["total"]["attempts"] - before == counted, capability
        assert server.counts["resets"] == 0, capability


def test_looking_for_a_change_of_user_costs_no_call_per_connection(t):
    """Five more once per process at most; root's own programs one."""
    world, server = World(t), t.server()
    t.need("strace")
    calls = {}
    for uid in (0, ALICE):
        world.connect(uid, server, 1)  # the first process makes the place of the policy
        for number in (1, 21):
            out = os.path.join(t.scratch, f"strace-{uid}-{number}")
            with open(out, "wb"):
                os.chmod(out, 0o666)
            world.run(uid, "strace", "-f", "-c", "-o", out, "-E",
                      f"LD_PRELOAD={world.library}", world.client, ADDRESS, str(server.port),
                      *STEPS * number)
            with open(out, encoding="utf-8") as file:
                counts = {line.split()[-1]: int(line.split()[3]) for line in file
                          if line[:1] == " " and line.split()[-1] != "total"}
            calls[uid, number] = {name: counts.get(name, 0) for name in ("getresuid", "capget",
                                                                        "gettid")}
        assert calls[uid, 1] == calls[uid, 21], calls


def test_a_root_process_that_begins_as_another_user_for_a_moment_loses_no_count(t):
    """Before its first segment, which it makes once it is one user again."""
    server = t.server()
    t.run("/usr/bin/python3", "-c", """
import os, socket, sys
def connect():
    with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as one:
        one.send(b"x")
        one.recv(1)
os.seteuid(int(sys.argv[3]))
for _ in range(5):
    connect()
os.seteuid(0)
connect()
""", ADDRESS, str(server.port), str(ALICE))
    t.counters(t.report(), attempts=1, established=1, ended_local_fin=1, unobserved=5)
