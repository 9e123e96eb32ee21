# SPDX-License-Identifier: MIT
"""Runs one command of a suite by itself: its own network, processes, mounts, host name, IPC,
scratch directory and a plain environment, the same whether the shim is there or not.

run()     from outside
inside()  in the namespaces, as their first process; ends with what it started
"""
import ctypes
import functools
import json
import os
import resource
import signal
import subprocess
import sys
import time

NAMESPACES = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork",
              "--kill-child", "--mount-proc"]
MOST_OUTPUT = 64 << 20
MOST_MEMORY = 6 << 30


def filled(text, scratch):
    """A unit's word with its {scratch}."""
    return text.replace("{scratch}", scratch)


def die_with(parent):
    """PR_SET_PDEATHSIG: nothing keeps running if the runner is killed, or was killed before."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def run(unit, command, scratch, shim):
    """{"outcomes", "seconds", "shim", "output"} of one run; shim: None, or what to load and
    where it publishes."""
    os.makedirs(os.path.join(scratch, "work"))
    work = os.path.join(scratch, "work")
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": work, "TMPDIR": work,
                   "LANG": "C.UTF-8", "PYTHONHASHSEED": "1", "PYTHONDONTWRITEBYTECODE": "1",
                   "PERL_HASH_SEED": "1", **unit.environment}
    spec = {"command": [filled(word, work) for word in command],
            "directory": filled(unit.directory, work), "timeout": unit.timeout, "shim": shim,
            "environment": {k: filled(v, work) for k, v in environment.items()},
            "output": os.path.join(scratch, "output"), "result": os.path.join(scratch, "result")}
    started = time.monotonic()
    as_root = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
    try:
        outer = subprocess.run([NAMESPACES[0], *as_root, *NAMESPACES[1:], sys.executable, "-B",
                                os.path.abspath(__file__)], input=json.dumps(spec).encode(),
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                               timeout=unit.timeout + 60,
                               preexec_fn=functools.partial(die_with, os.getpid())).stdout
    except subprocess.TimeoutExpired as late:
        outer = (late.stdout or b"") + b"would not end"
    result = read_result(spec, outer.decode(errors="replace"))
    outcomes = unit.parse(result["output"], work)
    outcomes["(exit status)"] = result["status"]
    return {"outcomes": outcomes, "seconds": time.monotonic() - started,
            "shim": result["shim"], "output": result["output"]}


def read_result(spec, complaint):
    """What inside() left."""
    output = ""
    if os.path.exists(spec["output"]):
        with open(spec["output"], "rb") as file:
            output = file.read(MOST_OUTPUT).decode(errors="replace")
    if not os.path.exists(spec["result"]):
        return {"status": "not run: " + complaint[-500:], "shim": None, "output": output}
    with open(spec["result"], encoding="utf-8") as file:
        return {**json.load(file), "output": output}


# --------------------------------------------------------------- in the namespaces

def has_library(pid):
    """Whether a process has the shim mapped."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            return b"/libtwshim.so" in file.read()
    except OSError:
        return False


def wait(process, seconds, look):
    """Its exit status, or "timed out"; reaps what is left to us as well. `look`: called often
    for the first seconds."""
    started = time.monotonic()
    while True:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return "lost"
            if pid == process.pid:
                return str(os.waitstatus_to_exitcode(status))
            if not pid:
                break
        passed = time.monotonic() - started
        if passed > seconds:
            return "timed out"
        look()
        signal.sigtimedwait([signal.SIGCHLD], 0.02 if passed < 3 else 1)


def as_from_a_shell():
    """In the child: signals as an interactive shell leaves them, whoever started us (a shell's
    background job ignores SIGINT, and tests of it would never end); and not all memory."""
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))


def start(spec, environment):
    """The command, its output in a file."""
    with open(spec["output"], "wb") as output:
        return subprocess.Popen(spec["command"], cwd=spec["directory"], env=environment,
                                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                start_new_session=True, preexec_fn=as_from_a_shell)


def end_all():
    """Kills every process except us, who are process 1 here."""
    if os.getpid() != 1:
        return
    try:
        os.kill(-1, signal.SIGKILL)
        while True:
            os.waitpid(-1, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def counted(shim):
    """What the shim published, and whether its identities hold."""
    result = subprocess.run([shim["twshim"], "report", "--json", "--dir", shim["directory"]],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if result.returncode:
        return {"error": result.stderr.decode(errors="replace")[-500:]}
    report = json.loads(result.stdout)
    total = {k: v for k, v in report["total"].items() if isinstance(v, int) and v}
    return {"processes": sum(a["processes"] for a in report["apps"]),
            "broken_identity": broken_identity(report), "counters": total}


def broken_identity(report):
    """None, or which."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
        os.path.abspath(__file__))), "e2e"))
    import harness
    try:
        harness.check_identities(report)
    except AssertionError as error:
        return str(error)
    return None


def protect_the_host():
    """Suites that run as root may remove foreign files, even /dev/null; this prevents it."""
    for folder in ("/dev", "/etc", "/usr"):
        subprocess.run(["mount", "--rbind", folder, folder], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)


def inside():
    """Runs the command, then reads the report of the shim."""
    spec = json.load(sys.stdin)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    protect_the_host()
    shim, environment, loaded = spec["shim"], spec["environment"], []
    # One process either way: the command has the same pid, and so have the files it names by it.
    subprocess.run([shim["twshim"], "policy", "load", "--dir", shim["directory"], shim["policy"]]
                   if shim and shim["policy"] else ["true"], check=True,
                   stdout=subprocess.DEVNULL)
    if shim:
        environment = {**environment, "LD_PRELOAD": shim["library"],
                       "TWSHIM_DIR": shim["directory"]}
    process = start(spec, environment)

    def look():
        if shim and not loaded and has_library(process.pid):
            loaded.append(True)
    status = wait(process, spec["timeout"], look)
    end_all()
    report = {"seen_loaded": bool(loaded), **counted(shim)} if shim else None
    with open(spec["result"], "w", encoding="utf-8") as file:
        json.dump({"status": status, "shim": report}, file)


if __name__ == "__main__":
    inside()
