# SPDX-License-Identifier: MIT
"""Applications are called as their owners call them: by TWSHIM_APP, unit, container, script or
executable, in segments, totals and every view."""
import contextlib
import glob
import json
import os
import re
import subprocess
import sys
import uuid

from harness import ADDRESS, Skip, wait_for

CLIENT = """import socket, sys, time
for _ in range(int(sys.argv[2])):
    s = socket.create_connection(("%s", int(sys.argv[1])))
    s.sendall(b"x")
    s.recv(1)
    s.close()
sys.stdin.read()
""" % ADDRESS
ID = "0123456789abcdef" * 4
PYTHON = os.path.realpath(sys.executable)
SECRET = "--token=hunter2"


def script(t, name):
    """A client of that name; its path."""
    return t.file(name, CLIENT)


def python(t, name, port, number, *more, **options):
    """Runs a script to its end."""
    return t.run(PYTHON, script(t, name), str(port), str(number), *more, **options)


def apps(t, *options):
    """{app: established} of the report, and all that it says."""
    report = t.report(*options)
    return {a["app"]: a["counters"]["established"] for a in report["apps"]}, report


@contextlib.contextmanager
def cgroup(path):
    """A control group below the root of a hierarchy; the command that enters it."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        mounts = [line.split() for line in file if line.split()[2] in ("cgroup2", "cgroup")]
    roots = [m[1] for m in mounts if m[2] == "cgroup2"] or [m[1] for m in mounts]
    made = []
    try:
        if not roots:
            raise Skip("no control groups")
        at = roots[0]
        # Other tests run at the same time.
        for part in [f"twshim-{uuid.uuid4().hex}", *path.split("/")]:
            at = os.path.join(at, part)
            if not os.path.exists(at):
                os.mkdir(at)
                made.append(at)
    except OSError as error:
        raise Skip(f"no control group can be made: {error}") from error
    try:
        yield ("sh", "-c", f'echo $$ > {at}/cgroup.procs; exec "$@"', "sh")
    finally:
        for one in reversed(made):
            wait_for(lambda one=one: _removed(one), "the group is empty")


def _removed(path):
    try:
        os.rmdir(path)
    except OSError:
        return not os.path.exists(path)
    return True


def test_a_script_names_its_application_and_its_arguments_are_published_nowhere(t):
    server = t.server()
    python(t, "shop.py", server.port, 3, SECRET)
    python(t, "cart.py", server.port, 2)
    found, report = apps(t)
    assert found == {"shop.py": 3, "cart.py": 2}, found
    one = report["apps"][0]
    assert (one["exe"], one["script"], one["user"]) == (PYTHON, "shop.py", "root"), one
    assert one["unit"] is None and one["container"] is None and "command" not in one, one
    assert one["parent"]["pid"] == os.getpid(), one
    for path in glob.glob(os.path.join(t.dir, "*.seg")):
        with open(path, "rb") as file:
            assert b"hunter2" not in file.read(), path


def test_the_command_line_is_read_from_proc_while_the_process_lives(t):
    server = t.server()
    process = t.start(PYTHON, script(t, "shop.py"), str(server.port), "1", SECRET,
                      stdin=subprocess.PIPE)
    wait_for(lambda: apps(t)[0] == {"shop.py": 1}, "it connected")
    ps = json.loads(t.run(t.twshim, "ps", "--json", shim=False).stdout)["processes"]
    for one in (apps(t)[1]["apps"][0], ps[0]):
        assert one["command"].endswith(f"/shop.py {server.port} 1 {SECRET}"), one
        assert one["app"] == "shop.py" and one["parent"]["pid"] == os.getpid(), one
    process.communicate()
    assert "command" not in apps(t)[1]["apps"][0]


def test_twshim_app_comes_before_every_other_name(t):
    server = t.server()
    python(t, "shop.py", server.port, 2, env={"TWSHIM_APP": "the shop"})
    assert apps(t)[0] == {"the shop": 2}
    for name in ("the shop", "shop.py", os.path.basename(PYTHON), PYTHON):
        assert apps(t, name)[0] == {"the shop": 2}, name


def test_a_unit_and_a_container_name_what_runs_in_them(t):
    server = t.server()
    for group, name in (("system.slice/shop.service", "shop.service"),
                        (f"system.slice/docker-{ID}.scope", ID[:12]),
                        ("lxc.payload.web1/system.slice/cron.service", "web1")):
        with cgroup(group) as enter:
            t.run(*enter, PYTHON, script(t, "shop.py"), str(server.port), "2")
            assert name in apps(t)[0], (group, apps(t)[0])
    found = apps(t, "--by", "unit")[0]
    assert found == {"shop.service": 2, "cron.service": 2, "(no unit)": 2}, found
    assert apps(t, "--by", "container")[0] == {"web1": 2, ID[:12]: 2, "(no container)": 2}
    assert apps(t, "--by", "exe")[0] == {os.path.basename(PYTHON): 6}
    assert apps(t, "--by", "user")[0] == {"root": 6}
    assert apps(t, "shop")[0] == {"shop.service": 2}


def test_a_rule_matches_by_application_unit_and_container(t):
    server = t.server()
    rules = ("{ name = 'a'; match = { app = ['shop*']; }; close = 'fin-reset'; },"
             "{ name = 'u'; match = { unit = ['cart.service']; }; close = 'fin-reset'; },"
             "{ name = 'c'; match = { container = ['web*']; }; close = 'fin-reset'; }")
    policy = t.file("policy", f"rules = ({rules});".replace("'", '"'))
    t.run(t.twshim, "policy", "load", policy, shim=False)
    for name in ("shop.py", "till.py"):
        python(t, name, server.port, 2)
    for group in ("system.slice/cart.service", "lxc.payload.web1"):
        with cgroup(group) as enter:
            t.run(*enter, PYTHON, script(t, "till.py"), str(server.port), "2")
    ended = {a["app"]: (a["counters"]["ended_fin_reset"], a["counters"]["ended_local_fin"])
             for a in t.report()["apps"]}
    assert ended == {"shop.py": (2, 0), "till.py": (0, 2), "cart.service": (2, 0),
                     "web1": (2, 0)}, ended
    for option, value, rule in (("--app", "shopping", 1), ("--unit", "cart.service", 2),
                                ("--container", "web2", 3), ("--app", "till", None)):
        said = json.loads(t.run(t.twshim, "policy", "explain", policy, "--exe", PYTHON, "--to",
                                server.to, option, value, "--json", shim=False).stdout)
        assert said.get("rule") == rule, (option, said)
    shown = t.run(t.twshim, "policy", "show", shim=False).stdout.decode()
    assert 'unit = [ "cart.service" ]' in shown or 'cart.service' in shown, shown


def test_top_and_owners_group_by_other_names(t):
    server = t.server()
    for name in ("shop.py", "cart.py"):
        python(t, name, server.port, 2)
    program = os.path.basename(PYTHON)
    for by, expected in (("app", {"shop.py": 2, "cart.py": 2}), ("exe", {program: 4}),
                         ("user", {"root": 4}), ("unit", {"(no unit)": 4})):
        said = json.loads(t.run(t.twshim, "owners", "--json", "--by", by, shim=False).stdout)
        counts = {}
        for one in said["owners"]:
            counts[one["app"]] = counts.get(one["app"], 0) + one["count"]
        assert counts == expected, (by, said["owners"])
        said = json.loads(t.run(t.twshim, "top", "--batch", "-n1", "--json", "--by", by,
                                shim=False).stdout)
        assert {r["app"]: r["opened"] for r in said["rows"]} == expected, said


def test_a_storm_of_short_processes_has_a_rate_and_the_name_of_who_starts_them(t):
    t.need("bash", "curl")
    server = t.server("http")
    loop = t.file("cron.sh", f"for i in {{1..20}}; do curl -s -o /dev/null http://{server.to}/; "
                             "done; read")
    shell = t.start("bash", loop, stdin=subprocess.PIPE)
    wait_for(lambda: apps(t)[0] == {"curl": 20}, "all were fetched")
    for command in (("ps",), ("top", "--batch", "-n1")):
        text = t.run(t.twshim, *command, shim=False).stdout.decode()
        assert re.search(rf"^curl, [\d.]+/s, a new process each time, started by cron.sh "
                         rf"\({shell.pid}\)$", text, re.M), text
    said = json.loads(t.run(t.twshim, "ps", "--json", shim=False).stdout)
    storm, = said["storms"]
    assert storm["app"] == "curl" and storm["rate"] > 0 and storm["processes"] == 20, storm
    assert storm["started_by"] == {"pid": shell.pid, "app": "cron.sh"}, storm
    row, = json.loads(t.run(t.twshim, "top", "--batch", "-n1", "--json", shim=False).stdout)["rows"]
    assert row["rate"] > 0 and not row["exited"], row
    shell.communicate()
    text = t.run(t.twshim, "ps", shim=False).stdout.decode()
    assert f", a new process each time, started by process {shell.pid}\n" in text, text


def test_the_report_says_since_when_it_counts(t):
    server = t.server()
    python(t, "shop.py", server.port, 2)
    report = apps(t)[1]
    assert report["since"] == report["apps"][0]["since"] <= report["generated"], report["since"]
    text = " ".join(t.run(t.twshim, "report", shim=False).stdout.decode().split())
    when = report["since"] if report["since"][:10] != report["generated"][:10] \
        else report["since"][11:19] + " UTC"
    assert f"shop.py opened 2 connections since {when}, 2 of them" in text, text


def test_each_application_of_one_program_has_totals_of_its_own(t):
    server = t.server()
    policy = t.file("policy", "max_segments = 1; retention_seconds = 1;")
    t.run(t.twshim, "policy", "load", policy, shim=False)
    for i in range(400):
        t.run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect", "close",
              env={"TWSHIM_APP": ("shop", "cart")[i % 2]} if i % 3 else {})
    names = os.listdir(t.dir)
    assert len([n for n in names if n.endswith(".totals")]) == 3, len(names)
    assert apps(t)[0] == {"shop": 133, "cart": 133, "client": 134}, apps(t)[0]


def test_a_pool_of_php_fpm_is_read_from_the_title_that_it_wrote_over_its_arguments(t):
    server = t.server()
    fpm = os.path.join(t.scratch, "php-fpm8.2")
    with open(t.prog("client"), "rb") as file, open(fpm, "wb") as copy:
        copy.write(file.read())
    os.chmod(fpm, 0o755)
    subprocess.run(["bash", "-c", 'exec -a "php-fpm: pool www" "$@"', "bash", fpm, ADDRESS,
                    str(server.port), "socket", "connect", "close"], check=True,
                   env=t.environment(), stdin=subprocess.DEVNULL)
    assert apps(t)[0] == {"php-fpm pool www": 1}


def test_a_hostile_name_is_escaped_in_every_view(t):
    server = t.server()
    name = "a\x1b[31m\n\"x\" \xff"
    python(t, "shop.py", server.port, 2, env={"TWSHIM_APP": os.fsdecode(name.encode("latin-1"))})
    for command in (("report",), ("ps", "-a"), ("owners",), ("doctor",), ("top", "--batch", "-n1"),
                    ("report", "--json"), ("export", "--textfile", "-"), ("report", "--html", "-")):
        said = t.run(t.twshim, *command, shim=False, status=None).stdout
        assert said and b"\x1b[31m" not in said and b"\xff" not in said, (command, said)
