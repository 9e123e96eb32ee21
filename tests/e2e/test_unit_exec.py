# SPDX-License-Identifier: MIT
"""`enable` for services that the shim does not reach: the kernel observes them, or twshim exec starts
them beside a supervisor; in root directories and under a real systemd."""
import json
import os
import re
import shutil

from harness import ADDRESS, Skip, is_sanitized, wait_for
from test_exec import LOOK
from test_units import Systemd, User, enable, make_root, tree, verify
from test_watch import STEPS, compiled

POLICY = ("-p", "close=fin-reset")
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/systemd/filter.c")


def static_root(t, **units):
    """A root directory with twshim and two static programs in it."""
    root = make_root(t, **units)
    t.need("gcc")
    t.file("static.c", "int main(void) { return 0; }\n")
    program = os.path.join(root, "usr/bin/static")
    t.run("gcc", "-static", "-o", program, os.path.join(t.scratch, "static.c"), shim=False)
    shutil.copy(program, os.path.join(root, "opt/a $program"))
    shutil.copy(t.twshim, os.path.join(root, "usr/bin/twshim"))
    return root


def exec_lines(said):
    """The ExecStart= lines of a drop-in, without twshim and its policy."""
    assert said["supervised"] and not said["observed"], said
    found = re.findall(r"^ExecStart=(.*)$", said["text"], re.M)
    assert found[0] == "" and len(found) > 1, said["text"]
    policy = f'/etc/systemd/system/{said["unit"]}.d/50-twshim.policy'
    front = re.compile(rf'([-:+!]*)"/usr/bin/twshim" exec -c "{re.escape(policy)}" (.*)')
    return [" ".join(front.fullmatch(line).groups()).lstrip() for line in found[1:]]


def test_each_form_of_a_command_is_kept_behind_twshim_exec(t):
    """Prefixes, another argv[0], quotes, variables, specifiers, several commands, no path."""
    forms = {"/usr/bin/static": '-- "/usr/bin/static"',
             "/usr/bin/static --x \\\n  'y z' \"%i\" ${A} $B": '-- "/usr/bin/static" --x    \'y z\' "%i" ${A} $B',
             "-/usr/bin/static": '- -- "/usr/bin/static"',
             ":+/usr/bin/static $A": ':+ -- "/usr/bin/static" $A',
             "!/usr/bin/static": '! -- "/usr/bin/static"',
             "@/usr/bin/static 'a name' x": "--argv0 'a name' -- \"/usr/bin/static\" x",
             "-@/usr/bin/static %p": '- --argv0 %p -- "/usr/bin/static"',
             "static x": '--argv0 "static" -- "/usr/bin/static" x',
             '"/opt/a $program"': '-- "/opt/a $$program"',
             '":/opt/a $program" $A': ': -- "/opt/a $program" $A'}
    root = static_root(t, line="[Service]\nType=oneshot\n"
                               "ExecStart=/usr/bin/static a ; @-/usr/bin/static b c \\; ;\n")
    for number, (form, wanted) in enumerate(forms.items()):
        with open(os.path.join(root, f"etc/systemd/system/f{number}.service"), "w",
                  encoding="utf-8") as file:
            file.write(f"[Service]\nExecStart={form}\n")
        said = enable(t, root, *POLICY, f"f{number}")
        assert exec_lines(said) == [wanted], (form, said["text"])
        verify(t, root, f"f{number}.service")
    said = enable(t, root, *POLICY, "line")
    assert exec_lines(said) == ['-- "/usr/bin/static" a', '- --argv0 b -- "/usr/bin/static" c \\;'], said
    verify(t, root, "line.service")


def test_with_a_policy_the_unit_is_changed_and_disable_changes_it_back(t):
    root = static_root(t, s="[Service]\nUser=1234\nProtectSystem=strict\nNoExecPaths=/\n"
                            "RestrictAddressFamilies=AF_INET\nExecStart=/usr/bin/static\n")
    before = tree(root)
    dry = enable(t, root, "-n", *POLICY, "s")
    assert tree(root) == before
    said = enable(t, root, *POLICY, "s")
    assert said["text"] == dry["text"] and said["change"] == "made", said
    lines = said["text"].splitlines()
    assert lines[1:8] == ["[Unit]", "Wants=twshim-prepare.service", "After=twshim-prepare.service", "",
                          "[Service]", "ReadWritePaths=-/run/twshim/1234",
                          'ExecPaths="/usr/bin/twshim"'], lines
    assert "RestrictAddressFamilies=AF_NETLINK" in lines and "LD_PRELOAD" not in said["text"], lines
    assert "TWSHIM_RUN" not in said["text"] and "ExecStartPre" not in said["text"], lines
    assert "statically linked" in said["notes"][0] and "twshim exec" in said["notes"][0], said["notes"]
    assert "set-user-ID" in said["notes"][1], said["notes"]
    with open(said["policy"], encoding="utf-8") as file:
        assert "fin-reset" in file.read()
    assert enable(t, root, *POLICY, "s")["change"] == "unchanged"
    # Without a policy, the unit is as it was but for the observer.
    said = enable(t, root, "s")
    assert said["observed"] and not said["supervised"] and said["change"] == "replaced", said
    assert said["text"].splitlines()[1:] == ["[Unit]", "Wants=twshim-watch@%n"], said["text"]
    enable(t, root, *POLICY, "s")
    t.run(t.twshim, "disable", "--root", root, "s", shim=False)
    assert tree(root) == before, "disable left something"


def test_enable_says_why_twshim_exec_cannot_start_a_unit(t):
    units = {"shell": ("ExecStart=|/usr/bin/static", "prefix |"),
             "forking": ("Type=forking\nExecStart=/usr/bin/static", "PIDFile="),
             "named": ("ExecStart=@/usr/bin/static $A x", "variable"),
             "home": ("ExecStart=/usr/bin/static\nInaccessiblePaths=/usr/bin/twshim", "hides"),
             "killed": ("ExecStart=/usr/bin/static\nSystemCallFilter=@system-service",
                        "add the line SystemCallFilter=pidfd_getfd seccomp to it"),
             "setid": ("User=1234\nExecStart=/usr/bin/setid", "set-user-ID"),
             "mixed": ("User=1234\nExecStart=/usr/bin/static\nExecStart=/usr/bin/setid", "set-user-ID")}
    root = static_root(t, **{name: f"[Service]\n{text}\n" for name, (text, _) in units.items()})
    shutil.copy(os.path.join(root, "usr/bin/static"), os.path.join(root, "usr/bin/setid"))
    os.chmod(os.path.join(root, "usr/bin/setid"), 0o4755)
    before = tree(root)
    for name, (_, why) in units.items():
        said = enable(t, root, *POLICY, name, status=1)
        assert why in said and said.count("\n") == 1, (name, said)
    assert tree(root) == before
    for more in ("PIDFile=/run/x.pid", "GuessMainPID=no"):
        root = static_root(t, f=f"[Service]\nType=forking\n{more}\nExecStart=/usr/bin/static\n",
                           k="[Service]\nExecStart=/usr/bin/static\n"
                             "SystemCallFilter=@system-service pidfd_getfd seccomp\n")
        assert enable(t, root, *POLICY, "f")["supervised"] and enable(t, root, *POLICY, "k")["supervised"]
    os.unlink(os.path.join(root, "usr/bin/twshim"))
    assert "there is no twshim" in enable(t, root, *POLICY, "f", status=1)


def test_the_calls_of_twshim_exec_are_those_that_enable_looks_for(t):
    """All that twshim itself, its supervisor and its keeper call, traced."""
    t.need("strace")
    if os.uname().machine != "x86_64":
        raise Skip("the list is that of x86-64")
    if is_sanitized(t):
        raise Skip("a sanitizer makes calls of its own")
    with open(SOURCE, encoding="utf-8") as file:
        listed = set(re.findall(r'"(\w+)"', file.read().split("EXEC_CALLS[] = {")[1].split("};")[0]))
    server, client = t.server(), compiled(t, "gcc")
    folder = os.path.join(t.scratch, "trace")
    os.mkdir(folder)
    # strace ends with the last of them, the keeper.
    t.run("strace", "-ff", "-qq", "-o", folder + "/t", t.twshim, "exec", "-p",
          "close=fin-reset,late_bind=true", "--", client, ADDRESS, str(server.port), *STEPS, "repeat:5",
          shim=False)
    made = set()
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            ours = file.read().split(f'execve("{client}"')[0]
        made |= set(re.findall(r"^(\w+)\(", ours, re.M))
    assert {"seccomp", "pidfd_getfd", "epoll_wait"} <= made, made
    assert made <= listed, made - listed


def test_a_users_own_unit_needs_no_policy_to_be_observed_by_a_supervisor(t):
    user, server, client = User(t), t.server(), compiled(t, "gcc")
    user.unit(".config", "a.service", f"ExecStart={client} {ADDRESS} {server.port} {' '.join(STEPS)}\n")
    made = user.json("enable", "a")
    assert made["supervised"] and not made["observed"] and made["policy"] is None, made
    (line,) = re.findall("^ExecStart=(.+)$", made["text"], re.M)
    words = line.replace('"', "").split()
    assert words[:4] == [t.twshim, "exec", "--", client], words
    t.run(*words, shim=False)
    wait_for(lambda: t.report()["total"]["ended_local_fin"] == 1, "it is counted")
    assert user.json("disable", "a")["removed"]


# ------------------------------------------------------------------------- a real systemd

def install(t, systemd, name, source):
    """A static program where every unit sees it."""
    t.run("gcc", "-w", "-static", "-o", os.path.join(t.scratch, name), t.file(name + ".c", source),
          shim=False)
    systemd.run("cp", os.path.join(t.scratch, name), "/run/t/" + name)


def test_a_program_under_systemd_finds_everything_as_before(t):
    """Its arguments, with all that systemd does to them; environment, descriptors, limits, users."""
    t.need("gcc")
    systemd = Systemd(t)
    install(t, systemd, "look", LOOK)
    systemd.run("cp", "/run/t/look", "/run/t/a $look")
    kind = ("Type=oneshot\nEnvironment=A=1 \"B=two words\"\nStandardOutput=append:/run/t/%n.out\n"
            "SuccessExitStatus=7\nUser=nobody\nNoNewPrivileges=yes\nLimitNOFILE=100\n")
    forms = {"plain": "/run/t/look ${B} $B '$$C' \"%n\" \\x41 \\\n  last",
             "literal": ":/run/t/look ${B} $B $$C %%",
             "named": "@/run/t/look other ${A}",
             "dollar": '"/run/t/a $look" $A', "dollars": ':"/run/t/a $look" $A',
             "root": "+/run/t/look", "kept": "-!/run/t/look x ; /run/t/look y"}
    for name, form in forms.items():
        systemd.unit(name + ".service", kind + f"ExecStart={form}\n")
    systemd.run("systemctl", "daemon-reload")
    def look(name):
        systemd.run("rm", "-f", f"/run/t/{name}.service.out")
        systemd.run("systemctl", "start", name + ".service")
        said = systemd.run("cat", f"/run/t/{name}.service.out").stdout.decode()
        return re.sub(r"(pid|group|session) \d+", r"\1 N",
                      re.sub(r"(INVOCATION_ID|JOURNAL_STREAM|SYSTEMD_EXEC_PID)=.*", r"\1", said))
    bare = {name: look(name) for name in forms}
    assert bare["plain"].startswith("[/run/t/look][two words][two][words][$C][plain.service][A][last]"), bare
    for name in forms:
        made = json.loads(systemd.run(systemd.twshim, "enable", "--runtime", "--json", *POLICY, name).stdout)
        assert made["supervised"], made
    systemd.run("systemctl", "daemon-reload")
    for name in forms:
        shown = systemd.run("systemctl", "show", "-p", "ExecStart", name + ".service").stdout
        assert b"twshim exec" in shown, shown
        now = look(name)
        assert now == bare[name], (name, bare[name], now)


NOTIFY = r"""
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sockaddr_un manager = {.sun_family = AF_UNIX};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &to.sin_addr);
    for (int i = 0; i < 20; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        char byte = 'x';
        if (connect(fd, (void *)&to, sizeof(to)) || write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
            return 1;
        close(fd);
    }
    strcpy(manager.sun_path, getenv("NOTIFY_SOCKET"));
    sendto(socket(AF_UNIX, SOCK_DGRAM, 0), "READY=1", 7, 0, (void *)&manager, sizeof(manager));
    for (;;) pause();
}
"""


def test_a_static_service_notifies_obeys_its_policy_is_counted_and_stops(t):
    t.need("gcc")
    server, systemd = t.server(), Systemd(t)
    install(t, systemd, "notify", NOTIFY)
    systemd.unit("app.service", "Type=notify\nUser=nobody\nProtectSystem=strict\nPrivateTmp=yes\n"
                 "RestrictAddressFamilies=AF_INET AF_UNIX\n"
                 "SystemCallFilter=@system-service seccomp pidfd_getfd\n"
                 f"ExecStart=/run/t/notify {server.address} {server.port}\n")
    said = systemd.run(systemd.twshim, "enable", "--runtime", "--restart", "--json", *POLICY, "app")
    result = json.loads(said.stdout)
    assert result["supervised"] and result["restarted"], result
    def show(name):
        return systemd.run("systemctl", "show", "--value", "-p", name, "app.service").stdout.decode().strip()
    assert show("ActiveState") == "active", "READY=1 came from the main process"
    main = show("MainPID")
    assert systemd.run("cat", f"/proc/{main}/comm").stdout == b"notify\n"
    wait_for(lambda: systemd.report()[1]["total"]["ended_fin_reset"] == 20, "all are counted", 30)
    found, report = systemd.report()
    assert found == {"app.service": 20} and report["total"]["policy_applied"] == 20, report["total"]
    assert server.counts["accepted"] == 20
    systemd.run("systemctl", "stop", "app.service")
    assert show("Result") == "success", "nothing of it had to be killed"
    systemd.run(systemd.twshim, "disable", "app")
    systemd.run("systemctl", "daemon-reload")
    assert "twshim" not in show("ExecStart")
