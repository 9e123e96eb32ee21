# SPDX-License-Identifier: MIT
"""A process that holds a connection beside the client loses no data by a policy, even if the shim
cannot see how it got the connection."""
import os
import sys

from harness import ADDRESS, Skip

CLOSES = ("graceful", "linger,linger_seconds=5", "fin-reset", "reset-drained", "reset")
RESETS = ("reset-drained", "reset")
WHOLE = b"400000, then 0\n"
KINDS = ("fork", "_Fork", "syscall-fork", "syscall-clone", "syscall-clone3", "raw-fork",
         "raw-clone3", "raw-fork-before-connect", "raw-grandchild", "raw-orphan",
         "raw-fork-exec", "raw-vfork-exec", "raw-vfork-dup-exec", "vfork-dup2-exec",
         "spawn-actions", "raw-rights", "raw-rights-to-parent", "pidfd", "raw-dup", "ring")


def _shares(t, kind, *options):
    report = t.twshim_run(t.prog("shares"), kind, options=options, timeout=20)
    assert t.result.stdout == WHOLE, (kind, options, t.result.stdout)
    return report["total"]


def _check(t, kind):
    bare = t.run(t.prog("shares"), kind, shim=False, status=None, timeout=20)
    if bare.returncode == 77:
        raise Skip("no io_uring")
    assert bare.stdout == WHOLE, bare
    _shares(t, kind)
    for close in CLOSES:
        total = _shares(t, kind, "-p", f"close={close},to=127.0.0.1")
        if close in RESETS:
            assert total["policy_skipped_shared"] == 1, (kind, close, total)
            assert total["ended_reset_policy"] == 0, (kind, close, total)
    for close in RESETS:
        total = _shares(t, kind, "-p", f"close={close},dry_run=true,to=127.0.0.1")
        assert total["policy_skipped_shared"] == 1, (kind, close, total)
        assert total["policy_would_apply"] == 0, (kind, close, total)


def _row(kind):
    def test(t):
        _check(t, kind)
    test.__name__ = f"test_a_holder_by_{kind.replace('-', '_')}_sends_all"
    test.__module__ = __name__
    globals()[test.__name__] = test


for _kind in KINDS:
    _row(_kind)


def _python(t, name, text, close, status=0):
    server = t.server()
    script = t.file(name, f"""
import os, socket, subprocess, sys, threading
def connection():
    c = socket.create_connection(("{ADDRESS}", {server.port}))
    c.send(b"x"); assert c.recv(1) == b"x"
    return c
{text}""")
    report = t.twshim_run(sys.executable, script, options=("-p", f"close={close},to={server.to}"),
                          status=status)
    return report["total"]


def test_a_client_without_children_is_reset_as_ever(t):
    for close in RESETS:
        total = _python(t, "plain.py", """
for _ in range(10):
    connection().close()
""", close)
        assert (total["ended_reset_policy"], total["policy_skipped_shared"]) == (10, 0), total


def test_threads_alone_do_not_keep_a_reset_from_being_set(t):
    total = _python(t, "threads.py", """
def run():
    for _ in range(25):
        connection().close()
threads = [threading.Thread(target=run) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
""", "reset")
    assert total["ended_reset_policy"] == 200, total


def test_an_event_loops_own_socket_pair_is_nobody_elses(t):
    total = _python(t, "pair.py", """
pair = socket.socketpair()
connection().close()
""", "reset")
    assert total["ended_reset_policy"] == 1, total


def test_children_of_the_image_before_exec_are_not_held_against_a_client(t):
    server = t.server()
    client = " ".join((t.prog("client"), ADDRESS, str(server.port),
                       "socket connect send:1 recv close"))
    report = t.twshim_run("/bin/sh", "-c", f"/bin/true; exec {client}",
                          options=("-p", f"close=reset,to={server.to}"))
    t.counters(report, attempts=1, ended_reset_policy=1)


def test_after_a_child_is_waited_for_the_next_connections_are_reset(t):
    total = _python(t, "after.py", """
before = connection()
if os.fork() == 0:
    os._exit(0)
os.wait()
before.close()
for _ in range(5):
    connection().close()
""", "reset")
    assert total["policy_skipped_shared"] == 1, total
    assert total["ended_reset_policy"] == 5, total


def test_a_forked_worker_resets_its_own_connections(t):
    total = _python(t, "worker.py", """
connection().close()
if os.fork() == 0:
    for _ in range(5):
        connection().close()
    os._exit(0)
os.wait()
""", "reset")
    assert total["ended_reset_policy"] == 6, total


def test_a_childs_standard_output_may_be_a_connection(t):
    for close in RESETS:
        total = _python(t, "stdout.py", """
c = connection()
gone, hold = os.pipe()
subprocess.run(["sh", "-c", "exec 3<&0; (cat <&3 >&2; echo late) &"], stdout=c, stdin=gone,
               stderr=subprocess.DEVNULL)
c.close()
os.close(hold)
""", close)
        assert total["ended_reset_policy"] == 0, total
        assert total["policy_skipped_shared"] == 1, total


def test_a_living_child_may_have_taken_the_socket(t):
    total = _python(t, "living.py", """
ready, done = os.pipe()
if os.fork() == 0:
    os.read(ready, 1)
    os._exit(0)
connection().close()
os.write(done, b"x")
os.wait()
connection().close()
""", "reset")
    assert (total["policy_skipped_shared"], total["ended_reset_policy"]) == (1, 1), total


def test_a_thread_with_descriptors_of_its_own_may_hold_the_socket(t):
    if not hasattr(os, "unshare"):
        text = "import ctypes; ctypes.CDLL(None).unshare(0x400)"
    else:
        text = "os.unshare(0x400)"
    total = _python(t, "unshare.py", f"""
{text}
connection().close()
""", "reset")
    assert (total["policy_skipped_shared"], total["ended_reset_policy"]) == (1, 0), total
