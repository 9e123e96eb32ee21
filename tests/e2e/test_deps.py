# SPDX-License-Identifier: MIT
"""tests/deps, which installs what tests need: it starts no service and leaves nothing behind."""
import os
import signal
import subprocess

from harness import Skip, wait_for

DEPS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "deps")
# An apt-get that records what policy-rc.d answers, and installs until it may continue.
APT = """#!/bin/sh
/usr/sbin/policy-rc.d nginx start
echo $? >"$ANSWER"
while [ ! -e "$GO" ]; do sleep 0.01; done
"""


def start(t, go):
    """Starts tests/deps for a missing package, with that apt-get and a /usr/sbin of its own. Once it
    installs, returns the process and the answer about starting services."""
    programs = os.path.join(t.scratch, "bin")
    os.makedirs(programs, exist_ok=True)
    os.makedirs(os.path.join(t.scratch, "sbin"), exist_ok=True)
    for name, text in (("apt-get", APT), ("dpkg-query", "#!/bin/sh\nexit 1\n")):
        os.chmod(t.file(f"bin/{name}", text), 0o755)
    answer = os.path.join(t.scratch, "answer")
    if os.path.exists(answer):
        os.unlink(answer)
    script = f"mount --make-rprivate / && mount --bind {t.scratch}/sbin /usr/sbin && exec {DEPS} x"
    process = t.start("unshare", "-m", "sh", "-c", script, shim=False, stdout=subprocess.DEVNULL,
                      start_new_session=True,
                      env={"PATH": f"{programs}:/usr/bin:/bin", "ANSWER": answer, "GO": go})
    def asked():
        if os.path.exists(answer) and os.path.getsize(answer):
            return True
        if process.poll() is not None:
            raise Skip("no private mount namespace to be had")
        return False
    wait_for(asked, "apt-get was started")
    with open(answer, encoding="ascii") as file:
        return process, int(file.read())


def test_no_service_is_started_and_a_killed_deps_forbids_none(t):
    if os.getuid() != 0:
        raise Skip("only root installs")
    go, policy = os.path.join(t.scratch, "go"), os.path.join(t.scratch, "sbin", "policy-rc.d")
    process, answer = start(t, go)
    assert answer == 101, answer
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert t.run("sh", policy, shim=False, status=None).returncode == 0
    process, answer = start(t, go)
    assert answer == 101, answer
    t.file("go", "")
    assert process.wait(20) == 0
    assert not os.path.exists(policy)
    # A foreign policy-rc.d is kept.
    t.file("sbin/policy-rc.d", "#!/bin/sh\nexit 104\n")
    os.chmod(policy, 0o755)
    process, answer = start(t, go)
    assert (answer, process.wait(20)) == (104, 0)
    assert os.path.exists(policy)


def test_an_option_is_no_package(t):
    """Neither asked for nor installed."""
    path = {"PATH": f"{t.scratch}:/usr/bin:/bin"}
    for name in ("apt-get", "dpkg-query"):
        os.chmod(t.file(name, f'#!/bin/sh\necho "$0 $*" >>{t.scratch}/asked\nexit 1\n'), 0o755)
    for option in ("--help", "-h"):
        result = t.run(DEPS, option, shim=False, env=path)
        assert result.stdout.startswith(b"usage: tests/deps [--optional] PACKAGE..."), result
        assert result.stderr == b""
    for arguments in (("--optinal", "x"), ("--optional", "--help"), ("-x",)):
        result = t.run(DEPS, *arguments, shim=False, env=path, status=2)
        assert b"usage: tests/deps" in result.stderr and result.stdout == b"", result
    assert not os.path.exists(f"{t.scratch}/asked")
