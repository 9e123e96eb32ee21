# SPDX-License-Identifier: MIT
"""The shim in systemd services: `enable`, `disable` and `enabled`, in root directories and under a
real systemd that is pid 1 of namespaces of its own."""
import atexit
import json
import os
import shutil
import subprocess

from harness import Skip, is_sanitized, wait_for

SERVICE = "/lib/systemd/system"


def make_root(t, **units):
    """A root directory with unit files: NAME='text'; and the library where it is installed."""
    root = os.path.join(t.scratch, "root")
    system = os.path.join(root, "etc/systemd/system")
    for folder in (system, os.path.join(root, "usr/bin"), os.path.join(root, "usr/lib/systemd/system"),
                   os.path.join(root, "opt")):
        os.makedirs(folder, exist_ok=True)
    shutil.copy(t.library, os.path.join(root, "opt/libtwshim.so"))
    shutil.copy("/bin/true", os.path.join(root, "usr/bin/true"))
    for name, text in units.items():
        with open(os.path.join(system, name.replace("_", "-") + ".service"), "w",
                  encoding="utf-8") as file:
            file.write(text)
    return root


def enable(t, root, *arguments, status=0):
    """`twshim enable --json` in the root; its object, or the complaint."""
    result = t.run(t.twshim, "enable", "--root", root, "--library", "/opt/libtwshim.so", "--json",
                   *arguments, shim=False, status=status)
    return json.loads(result.stdout) if status == 0 else result.stderr.decode()


def tree(root):
    """{path: content} of all files."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                found[os.path.join(folder, name)] = file.read()
    return found


def verify(t, root, unit):
    """The verdict of systemd on the unit with its drop-in, if systemd is installed."""
    if not shutil.which("systemd-analyze"):
        return
    result = t.run("systemd-analyze", "--root", root, "verify", "--man=no", unit, shim=False,
                   status=None)
    ours = [l for l in result.stderr.decode().splitlines() if "50-twshim" in l]
    assert not ours, ours


def test_enable_appends_to_what_the_unit_preloads(t):
    """In an image: the drop-in is complete, making it again changes nothing, and disable removes it all."""
    root = make_root(t, a='[Service]\nEnvironment="LD_PRELOAD=/usr/lib/libfoo.so" A=1\n'
                          'ExecStart=/usr/bin/true --x \\\n  y\n')
    before = tree(root)
    dry = enable(t, root, "--dry-run", "a")
    assert tree(root) == before, "--dry-run wrote something"
    made = enable(t, root, "a.service")
    assert made["change"] == "made" and made["text"] == dry["text"], made
    assert 'Environment="LD_PRELOAD=/usr/lib/libfoo.so:/opt/libtwshim.so"' in made["text"], made
    with open(made["drop_in"], encoding="utf-8") as file:
        assert file.read() == made["text"]
    verify(t, root, "a.service")
    after = tree(root)
    assert enable(t, root, "a")["change"] == "unchanged" and tree(root) == after
    listed = json.loads(t.run(t.twshim, "enabled", "--root", root, "--json", shim=False).stdout)
    assert [u["unit"] for u in listed["units"]] == ["a.service"], listed
    t.run(t.twshim, "disable", "--root", root, "a", shim=False)
    assert tree(root) == before, "disable left something"
    assert not os.path.exists(os.path.dirname(made["drop_in"]))


def test_disable_touches_only_what_enable_made(t):
    """An edited drop-in and a foreign one are kept."""
    root = make_root(t, a="[Service]\nExecStart=/usr/bin/true\n")
    path = enable(t, root, "a")["drop_in"]
    with open(path, "a", encoding="utf-8") as file:
        file.write("Nice=5\n")
    edited = tree(root)
    for command in ("disable", "enable"):
        options = ["--library", "/opt/libtwshim.so"] if command == "enable" else []
        result = t.run(t.twshim, command, "--root", root, *options, "a", shim=False, status=1)
        assert b"edited" in result.stderr, result.stderr
    with open(path, "w", encoding="utf-8") as file:
        file.write("[Service]\nNice=5\n")
    other = tree(root)
    result = t.run(t.twshim, "disable", "--root", root, "a", shim=False, status=1)
    assert b"not of twshim's making" in result.stderr, result.stderr
    assert tree(root) == other != edited


def test_enable_says_why_a_unit_is_not_reached(t):
    """Programs that the shim cannot get into: nothing is written."""
    root = make_root(
        t, gone="[Service]\nExecStart=/usr/bin/gone\n",
        unset="[Service]\nExecStart=/usr/bin/true\nUnsetEnvironment=LD_PRELOAD\n",
        hidden="[Service]\nExecStart=/usr/bin/true\nInaccessiblePaths=/opt\n",
        filed="[Service]\nExecStart=/usr/bin/true\nEnvironmentFile=-/etc/filed\n",
        killed="[Service]\nExecStart=/usr/bin/true\nSystemCallFilter=@network-io\n"
        "SystemCallFilter=@basic-io @file-system\nSystemCallErrorNumber=kill\n",
        nothing="[Service]\nExecStart=/usr/bin/true\nExecStart=\n")
    with open(os.path.join(root, "etc/filed"), "w", encoding="utf-8") as file:
        file.write("LD_PRELOAD=/x.so\n")
    os.symlink("/dev/null", os.path.join(root, "etc/systemd/system/masked.service"))
    before = tree(root)
    for unit, why in (("gone", "not found"),
                      ("unset", "UnsetEnvironment="), ("hidden", "InaccessiblePaths="),
                      ("filed", "sets LD_PRELOAD"), ("nothing", "no ExecStart="),
                      ("killed", "SystemCallFilter="),
                      ("masked", "masked"), ("absent", "no such unit"), ("a.socket", "only services")):
        said = enable(t, root, unit, status=1)
        assert why in said, (unit, said)
    assert tree(root) == before


def test_enable_has_a_program_observed_that_the_shim_does_not_reach(t):
    """Nothing in the unit changes but that it wants the observer."""
    root = make_root(t, static="[Service]\nExecStart=/usr/bin/static\n")
    t.file("static.c", "int main(void) { return 0; }\n")
    t.need("gcc")
    t.run("gcc", "-static", "-o", os.path.join(root, "usr/bin/static"),
          os.path.join(t.scratch, "static.c"), shim=False)
    before = tree(root)
    said = enable(t, root, "static")
    assert said["text"].splitlines()[1:] == ["[Unit]", "Wants=twshim-watch@%n"], said["text"]
    assert said["observed"] and "statically linked" in said["notes"][0], said
    verify(t, root, "static.service")
    t.run(t.twshim, "disable", "--root", root, "static", shim=False)
    assert tree(root) == before


def test_enable_takes_filters_of_system_calls_that_do_not_kill(t):
    """A list that has all the shim's, a list of what is refused, an answer that is an error."""
    for filters in ("SystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources",
                    "SystemCallFilter=@network-io @system-service", "SystemCallFilter=~@mount",
                    "SystemCallFilter=@network-io\nSystemCallErrorNumber=EPERM",
                    "SystemCallFilter=@network-io\nSystemCallFilter="):
        root = make_root(t, open=f"[Service]\nExecStart=/usr/bin/true\n{filters}\n")
        enable(t, root, "open")


def test_enable_names_the_calls_at_which_a_filter_would_kill(t):
    """Lists of what is allowed and of what is refused, later lines that take away, and one that gives
    back; an error number of its own kills nobody."""
    t.need("systemd-analyze")
    for filters, calls in (("SystemCallFilter=~@network-io", "bind getpeername getsockname getsockopt "
                            "recvfrom sendto setsockopt socket"),
                           ("SystemCallFilter=~futex madvise @mount", "futex madvise"),
                           ("SystemCallFilter=@system-service\nSystemCallFilter=~@timer poll",
                            "poll"),
                           ("SystemCallFilter=@basic-io @file-system", "@system-service"),
                           ("SystemCallFilter=~futex:EPERM fchown getdents64", "getdents64"),
                           ("SystemCallFilter=~futex poll\nSystemCallFilter=futex", "poll")):
        root = make_root(t, open=f"[Service]\nExecStart=/usr/bin/true\n{filters}\n")
        said = enable(t, root, "open", status=1)
        assert f"add the line SystemCallFilter={calls} to it, or" in said, (filters, said)
        root = make_root(t, open="[Service]\nExecStart=/usr/bin/true\n"
                                 f"{filters}\nSystemCallFilter={calls}\n")
        enable(t, root, "open")


def test_enable_knows_templates_instances_and_aliases(t):
    """As systemd does: an instance has its template's settings, an alias is another's name."""
    root = make_root(t, **{"x@": "[Service]\nEnvironment=LD_PRELOAD=/t.so\nExecStart=/usr/bin/true %i\n"})
    system = os.path.join(root, "etc/systemd/system")
    os.makedirs(os.path.join(system, "x@.service.d"))
    with open(os.path.join(system, "x@.service.d/10.conf"), "w", encoding="utf-8") as file:
        file.write("[Service]\nEnvironment=LD_PRELOAD=/d.so\n")
    os.symlink("/etc/systemd/system/x@.service", os.path.join(system, "y@.service"))
    one = enable(t, root, "x@one")
    assert one["drop_in"].endswith("/x@one.service.d/50-twshim.conf"), one
    assert "LD_PRELOAD=/d.so:/opt/libtwshim.so" in one["text"], one
    assert enable(t, root, "x@")["drop_in"].endswith("/x@.service.d/50-twshim.conf")
    verify(t, root, "x@one.service")


def test_enable_takes_units_of_debian_packages(t):
    """Units that are installed here: enable accepts them, and systemd accepts the drop-in."""
    t.need("systemd-analyze")
    units = [u for u in ("nginx", "haproxy", "redis-server", "apache2", "postgresql@")
             if os.path.exists(f"{SERVICE}/{u}.service")]
    if not units:
        raise Skip("none of the packages is installed")
    # A checkout there is none that every unit can see: PrivateTmp=, ProtectHome=.
    hidden = t.library.startswith(("/tmp/", "/var/tmp/", "/home/", "/root/"))
    for unit in units:
        said = t.run(t.twshim, "enable", "--dry-run", "--json", unit, shim=False, status=None)
        if hidden and said.returncode == 1:
            assert b"hides" in said.stderr and b"make install" in said.stderr, said.stderr
            continue
        result = json.loads(said.stdout)
        assert result["commands"][0]["reached"], result
        folder = os.path.join(t.scratch, unit, "etc/systemd/system")
        os.makedirs(f"{folder}/{unit}.service.d")
        shutil.copy(f"{SERVICE}/{unit}.service", folder)
        with open(f"{folder}/{unit}.service.d/50-twshim.conf", "w", encoding="utf-8") as file:
            file.write(result["text"])
        said = t.run("systemd-analyze", "verify", "--man=no", f"{folder}/{unit}.service".replace(
            "@.", "@15-main."), shim=False, status=None,
                     env={"SYSTEMD_UNIT_PATH": folder + ":" + SERVICE}).stderr.decode()
        assert "50-twshim" not in said, said


# --------------------------------------------------------------------- a user's own systemd

class User:
    """A user with a home and a run-time directory of the test, in which no systemd looks, and with a
    systemctl that only records its arguments."""

    def __init__(self, t, **variables):
        self.t = t
        self.home = os.path.join(t.scratch, "home")
        self.runtime = os.path.join(t.dir, "runtime")
        self.told = os.path.join(t.scratch, "told")
        bin_ = os.path.join(t.scratch, "bin")
        for folder in (self.home, self.runtime, bin_):
            os.mkdir(folder, 0o700)
        systemctl = t.file("bin/systemctl", f'#!/bin/sh\necho "$*" >> {self.told}\n')
        os.chmod(systemctl, 0o755)
        # TWSHIM_DIR and XDG_CONFIG_HOME "": as if they were not set.
        self.env = {"HOME": self.home, "XDG_RUNTIME_DIR": self.runtime, "XDG_CONFIG_HOME": "",
                    "TWSHIM_DIR": "", "PATH": f"{bin_}:{os.environ['PATH']}", **variables}

    def unit(self, folder, name, text):
        """A unit file of the user's."""
        folder = os.path.join(self.home, folder, "systemd/user")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write("[Service]\n" + text)
        return folder

    def run(self, command, *arguments, status=0):
        """`twshim COMMAND --user`."""
        return self.t.run(self.t.twshim, command, "--user", *arguments, shim=False, status=status,
                          env=self.env)

    def json(self, command, *arguments):
        """Its object."""
        return json.loads(self.run(command, "--json", *arguments).stdout)

    def enabled(self):
        """{unit: its drop-in}."""
        return {u["unit"]: u["drop_in"] for u in self.json("enabled")["units"]}

    def all(self):
        """All files and directories."""
        found = tree(self.home) | tree(self.runtime)
        for top in (self.home, self.runtime):
            found |= {folder: None for folder, _, _ in os.walk(top)}
        return found


def test_a_users_own_unit_is_enabled_and_disabled_without_a_trace(t):
    user = User(t)
    folder = user.unit(".config", "a.service", 'Environment="LD_PRELOAD=/usr/lib/libfoo.so"\n'
                                               "ExecStart=/bin/true\n")
    os.makedirs(os.path.join(user.runtime, "systemd/user"))
    policy = t.file("policy.conf", 'rules = ({ name = "r"; close = "fin-reset"; });\n')
    before = user.all()
    for options, place in (((), folder), (("--runtime",), user.runtime + "/systemd/user")):
        dry = user.json("enable", "--dry-run", *options, "-c", policy, "a")
        assert user.all() == before and dry["change"] == "made", dry
        made = user.json("enable", *options, "-c", policy, "a")
        assert made["drop_in"] == dry["drop_in"] == f"{place}/a.service.d/50-twshim.conf", made
        assert f'"LD_PRELOAD=/usr/lib/libfoo.so:{t.preload}"' in made["text"], made
        new = {path: content for path, content in user.all().items() if path not in before}
        assert set(new) == {f"{place}/a.service.d", made["drop_in"], made["policy"]}, new
        assert new[made["drop_in"]].decode() == made["text"] and b"fin-reset" in new[made["policy"]]
        assert user.json("enable", *options, "-c", policy, "a")["change"] == "unchanged"
        assert user.enabled() == {"a.service": made["drop_in"]}
        # The host's units are not the user's.
        host = json.loads(t.run(t.twshim, "enabled", "--json", shim=False).stdout)["units"]
        assert not [u for u in host if u["drop_in"] == made["drop_in"]], host
        assert user.json("disable", "--dry-run", "a")["removed"] and user.enabled()
        assert user.json("disable", "a")["removed"]
        assert user.all() == before and user.enabled() == {}
        assert not user.json("disable", "a")["removed"]
    assert not os.path.exists(user.told), "systemctl was asked without --restart"


def test_enable_takes_a_policy_of_one_line(t):
    user = User(t)
    user.unit(".config", "a.service", "ExecStart=/bin/true\n")
    policy = t.file("policy.conf", 'rules = ({ name = "r"; close = "graceful"; });\n')
    for options in (("-p", "close=fin-reset,to=10.0.0.7:6379"), ("-p", "close=fin-reset", "-c", policy),
                    ("-p", "close=reset,allow_everything=true")):
        made = user.json("enable", *options, "a")
        written = t.run(t.twshim, "policy", "check", "--json", made["policy"], shim=False)
        given = t.run(t.twshim, "policy", "check", "--json", *options[:2], *options[3:], shim=False)
        assert json.loads(written.stdout)["policy"] == json.loads(given.stdout)["policy"], (written, given)
    wrong = user.run("enable", "-n", "-p", "close=sideways", "a", status=1).stderr
    assert b"-p:1: close" in wrong, wrong


def test_enable_warns_of_a_policy_as_policy_check_does(t):
    """With the same text. It mentions the ports of this namespace only if the unit connects from them."""
    user = User(t)
    user.unit(".config", "a.service", "ExecStart=/bin/true\n")
    user.unit(".config", "private.service", "PrivateNetwork=yes\nExecStart=/bin/true\n")
    policy = t.file("policy.conf", """rules = ({ match = { to = ["10.0.0.7"]; };
  port_ring = "full"; },
{ match = { to = ["10.0.0.8"]; }; close = "reset-drained"; drain_ms = 10; });
""")
    checked = t.run(t.twshim, "policy", "check", policy, shim=False).stderr
    drain, ring = checked.splitlines()
    assert b"policy.conf:1: warning: port_ring" in ring and b"to any destination" in ring, checked
    assert b"policy.conf:3: warning: drain_ms" in drain, checked
    said = user.run("enable", "--dry-run", "-c", policy, "a").stderr
    assert said.startswith(checked), said
    listed = json.loads(t.run(t.twshim, "policy", "check", "--json", policy, shim=False).stdout)
    assert len(listed["warnings"]) == 2
    assert user.json("enable", "-n", "-c", policy, "a")["warnings"] == listed["warnings"]
    assert user.json("enable", "-n", "a")["warnings"] == []
    said = user.run("enable", "--dry-run", "-c", policy, "private").stderr
    assert drain in said and b"port_ring" not in said, said
    root = make_root(t, a="[Service]\nExecStart=/usr/bin/true\n")
    shutil.copy(t.twshim, os.path.join(root, "usr/bin/twshim"))
    assert enable(t, root, "-n", "-c", policy, "a")["warnings"] == listed["warnings"][:1]


def test_what_enable_writes_for_a_user_is_counted_in_the_users_usual_place(t):
    server, user = t.server(), User(t)
    folder = user.unit(".local/share", "b.service", f"ExecStart={t.prog('client')}\n")
    made = user.json("enable", "--restart", "b")
    # A unit of a package's: the drop-in is where the user's own are.
    assert made["drop_in"] == f"{user.home}/.config/systemd/user/b.service.d/50-twshim.conf", made
    assert os.listdir(folder) == ["b.service"] and made["restarted"], made
    assert "RuntimeDirectory" not in made["text"] and "TWSHIM_DIR" not in made["text"], made
    # What systemd reads.
    lines = [line[len('Environment="'):-1] for line in made["text"].splitlines()
             if line.startswith("Environment=")]
    environment = dict(line.split("=", 1) for line in lines)
    t.run(t.prog("client"), server.address, str(server.port), "socket", "connect", "send:1", "recv",
          "close", shim=False, env=environment)
    t.counters(t.report(), attempts=1, established=1, ended_local_fin=1)
    assert user.json("disable", "--restart", "b")["restarted"]
    with open(user.told, encoding="utf-8") as file:
        assert file.read() == "--user daemon-reload\n--user restart b.service\n" * 2


def test_a_users_drop_ins_are_where_the_users_systemd_looks(t):
    """$XDG_CONFIG_HOME, or below $HOME if it is empty or relative, which is invalid."""
    other = os.path.join(t.scratch, "config")
    user = User(t)
    user.unit(".local/share", "c.service", "ExecStart=/bin/true\n")
    for value, place in ((other, other), ("", f"{user.home}/.config"),
                         ("relative", f"{user.home}/.config")):
        user.env["XDG_CONFIG_HOME"] = value
        made = user.json("enable", "c")
        assert made["drop_in"] == f"{place}/systemd/user/c.service.d/50-twshim.conf", made
        assert user.enabled() == {"c.service": made["drop_in"]}
        assert user.json("disable", "c")["removed"]
        assert not os.path.exists(os.path.dirname(made["drop_in"]))
    user.env.update(HOME="", XDG_CONFIG_HOME="")
    result = user.run("enable", "c", status=1)
    assert b"there is no such unit" in result.stderr, result
    result = user.run("enable", "--root", t.scratch, "c", status=2)
    assert b"--user: it does not work with --root" in result.stderr, result


# ------------------------------------------------------------------------- a real systemd

BOOT = """
set -e
echo 0 > "$CGROUP/cgroup.procs"
exec unshare -m -p -C -u -i --fork --mount-proc --kill-child sh -c "$INSIDE"
"""
# It must not touch the machine: /tmp is another one, in which only what the test needs is seen, what is
# installed is read-only, and a unit with default dependencies fails, because sysinit.target would run
# systemd-tmpfiles, which empties /tmp, and systemd-sysctl.
INSIDE = """
set -e
mount --make-rprivate /
umount /run/twshim 2>/dev/null || true
mount -t tmpfs tmpfs /run
number=0
for kept in $KEPT; do
    number=$((number + 1))
    mkdir /run/$number
    mount --bind "$kept" /run/$number
done
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=1777 tmpfs /var/tmp
number=0
for kept in $KEPT; do
    number=$((number + 1))
    mkdir -p "$kept"
    mount --move /run/$number "$kept"
    rmdir /run/$number
done
for fixed in /etc /usr /var/lib /var/log /home /root; do
    mount --bind $fixed $fixed
    mount -o remount,bind,ro $fixed
done
mkdir -p /run/systemd/system
for masked in sysinit.target basic.target systemd-tmpfiles-setup.service systemd-sysctl.service \
    systemd-tmpfiles-setup-dev.service systemd-journald.service; do
    ln -s /dev/null /run/systemd/system/$masked
done
mount -t tmpfs tmpfs /dev/shm
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/systemd/system
printf '[Unit]\\nDefaultDependencies=no\\n' > /run/systemd/system/boot.target
exec env -i container=twshim PATH="$PATH" /lib/systemd/systemd --unit=boot.target \
    --log-level=warning --show-status=no
"""


def make_group():
    """A control group of our own, so that two tests' systemds do not share one."""
    with open("/proc/self/mounts", encoding="ascii") as file:
        mounts = [line.split()[1] for line in file if line.split()[2] == "cgroup2"]
    with open("/proc/self/cgroup", encoding="ascii") as file:
        own = [line.strip()[3:] for line in file if line.startswith("0::")]
    if not mounts or not own:
        raise Skip("no cgroup2 here")
    path = f"{mounts[0]}{own[0].rstrip('/')}/twshim-test-{os.getpid()}"
    try:
        os.mkdir(path)
    except OSError as error:
        raise Skip(f"no control group to be had: {error}") from None
    return path


class Systemd:
    """A real systemd, pid 1 of its own namespaces, in the test's network namespace."""

    def __init__(self, t):
        self.t = t
        if not os.path.exists("/lib/systemd/systemd"):
            raise Skip("systemd is not installed")
        self.group = make_group()
        self.process = t.start("sh", "-c", BOOT, shim=False, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL,
                               env={"CGROUP": self.group, "INSIDE": INSIDE,
                                    "KEPT": f"{t.scratch} {os.path.abspath(t.build)}"})
        atexit.register(self.end)
        wait_for(lambda: self.pid() or self.process.poll() is not None, "unshare forked")
        if self.process.poll() is not None:
            raise Skip("no namespaces for a systemd to be had")
        try:
            wait_for(lambda: self.run("systemctl", "is-system-running", status=None).stdout
                     in (b"running\n", b"degraded\n"), "systemd is up", 30)
        except AssertionError:
            raise Skip("systemd does not start here") from None
        # A place that every user and sandbox sees, unlike /tmp and the home of the builder.
        self.run("mkdir", "-m", "755", "/run/t")
        self.run("cp", t.twshim, t.library, "/run/t")
        self.twshim = "/run/t/twshim"

    def end(self):
        """Removes the control groups that it made, once its processes are gone."""
        self.process.kill()
        def is_gone():
            for folder, _, _ in os.walk(self.group, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass
            return not os.path.exists(self.group)
        wait_for(is_gone, "its control group is empty")

    def pid(self):
        """The systemd's pid."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(path, encoding="ascii") as file:
            children = file.read().split()
        return int(children[0]) if children else 0

    def run(self, *command, status=0):
        """A command inside."""
        environment = ["env", "-u", "TWSHIM_DIR"]
        return self.t.run("nsenter", "-t", str(self.pid()), "-m", "-p", "-C", *environment, *command,
                          shim=False, status=status)

    def unit(self, name, text):
        """A unit file."""
        path = self.t.file(name, "[Unit]\nDefaultDependencies=no\n[Service]\n" + text)
        self.run("cp", path, "/run/systemd/system/" + name)

    def script(self, text):
        """A program that Python runs: its ExecStart=."""
        self.run("install", "-m", "644", self.t.file("script.py", text), "/run/t/script.py")
        return "ExecStart=/usr/bin/python3 /run/t/script.py"

    def report(self):
        """What root's report knows inside: {application: established}."""
        report = self.t.read_report(self.run(self.twshim, "report", "--json").stdout)
        return {a["app"]: a["counters"]["established"] for a in report["apps"]}, report


def test_services_of_a_real_systemd_are_counted(t):
    """Services of another user with each of systemd's sandboxes, of a dynamic user, and one that drops its
    privileges: they are enabled, restarted, and appear in root's report."""
    server = t.server("http")
    systemd = Systemd(t)
    get = (f"import os,socket,sys; os.setuid(int(sys.argv[1])) if len(sys.argv) > 1 else 0\n"
           f"[socket.create_connection(('{server.address}', {server.port})).close()"
           f" for _ in range(3)]\n")
    run = systemd.script(get)
    walls = ("User=nobody\nProtectSystem=strict\nProtectHome=read-only\nPrivateDevices=yes\n"
             "RestrictAddressFamilies=AF_INET AF_INET6\nNoNewPrivileges=yes\n"
             "SystemCallFilter=@system-service\nTemporaryFileSystem=/var /dev/shm\n")
    own = "User=nobody\nRuntimeDirectory=own\nRuntimeDirectoryPreserve=yes\n"
    # Oneshots that remain after exit, so that they have ended and their directories still exist.
    kind = "Type=oneshot\nRemainAfterExit=yes\n"
    if is_sanitized(t):
        kind += ASAN
    for name, more in (("walls", walls), ("dynamic", "DynamicUser=yes\n"), ("own", own),
                       ("drops", "")):
        systemd.unit(name + ".service", kind + more + run + (" 33" if name == "drops" else "")
                     + "\n")
    policy = t.file("policy.conf", 'rules = ({ name = "r"; close = "fin-reset"; });\n')
    names = ("walls", "dynamic", "own", "drops")
    for count, name in enumerate(names, 1):
        said = systemd.run(systemd.twshim, "enable", "--runtime", "--restart", "--json", "-c", policy,
                           name)
        result = json.loads(said.stdout)
        assert result["change"] == "made" and result["restarted"], result
        found, report = systemd.report()
        assert found == {f"{n}.service": 3 for n in names[:count]}, (name, found)
        assert report["total"]["ended_fin_reset"] == 3 * count, (name, report["total"])
    listed = json.loads(systemd.run(systemd.twshim, "enabled", "--json").stdout)["units"]
    assert [u["unit"] for u in listed] == ["drops.service", "dynamic.service", "own.service",
                                           "walls.service"], listed


def test_enabled_tells_what_of_a_running_service_has_the_shim(t):
    """None before the restart, all after it, and none after disable and a restart."""
    server = t.server("silent")
    systemd = Systemd(t)
    hold = (f"import socket,time; s=socket.create_connection(('{server.address}', {server.port}));"
            f" open('/run/up','w').close(); time.sleep(1000)")
    systemd.unit("hold.service", systemd.script(hold) + "\nExecStartPre=/bin/rm -f /run/up\n")
    def restart():
        systemd.run("systemctl", "restart", "hold.service")
        wait_for(lambda: systemd.run("test", "-e", "/run/up", status=None).returncode == 0, "up")
    def state():
        unit = json.loads(systemd.run(systemd.twshim, "enabled", "--json").stdout)["units"][0]
        return unit["processes"], unit["loaded"], unit["publishing"]
    restart()
    systemd.run(systemd.twshim, "enable", "--runtime", "hold")
    systemd.run("systemctl", "daemon-reload")
    assert state() == (1, 0, 0), state()
    restart()
    assert state() == (1, 1, 1), state()
    assert systemd.report()[1]["total"]["open"] == 1
    systemd.run(systemd.twshim, "disable", "--restart", "hold")
    assert json.loads(systemd.run(systemd.twshim, "enabled", "--json").stdout)["units"] == []


UNITS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../config/systemd")
BOB = 23456
# Under the preload, without the search for leaks, which would ptrace inside the sandbox.
ASAN = "Environment=ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0\n"


def as_user(uid, *command):
    """The words that run a command as another user."""
    return ("setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", *command)


def mounted(systemd):
    """(type, options) of /run/twshim, without what the kernel adds; its size in blocks and files."""
    # The last one: the host's may be hidden below.
    kind, options = systemd.run("findmnt", "-no", "FSTYPE,OPTIONS", "/run/twshim").stdout.decode().split()[-2:]
    size = systemd.run("stat", "-fc", "%b %c", "/run/twshim").stdout
    return kind, sorted(o for o in options.split(",") if o not in ("relatime", "inode64")), size


def connects(server, times=1):
    """A Python program that opens connections."""
    return (f"import socket\nfor _ in range({times}):\n"
            f"    socket.create_connection(('{server.address}', {server.port})).close()\n")


def test_the_shipped_units_mount_what_prepare_mounts(t):
    t.need("findmnt")
    systemd = Systemd(t)
    for name in ("run-twshim.mount", "twshim-prepare.service"):
        with open(os.path.join(UNITS, name), encoding="utf-8") as file:
            text = file.read()
        assert "DefaultDependencies=no" in text, "a service that starts early would wait for ever"
        systemd.run("cp", t.file(name, text.replace("/usr/local/bin", "/run/t")),
                    "/run/systemd/system/" + name)
        said = t.run("systemd-analyze", "verify", "--man=no", os.path.join(UNITS, name), shim=False,
                     status=None).stderr.decode()
        assert not [line for line in said.splitlines()
                    if name in line and "is not executable" not in line], said
    systemd.run("systemctl", "start", "twshim-prepare.service")
    by_unit = mounted(systemd)
    assert systemd.run("stat", "-c", "%u %a", "/run/twshim/65534", "/run/twshim/0").stdout == \
        b"65534 700\n0 700\n"
    systemd.run("umount", "/run/twshim")
    systemd.run(systemd.twshim, "prepare")
    assert by_unit == mounted(systemd) and by_unit[0] == "tmpfs", (by_unit, mounted(systemd))
    assert {"nosuid", "nodev", "noexec"} <= set(by_unit[1]), by_unit


def test_names_that_another_user_has_taken_keep_no_service_from_being_counted(t):
    """As directory, link and file: of the unit's user, and of the unit."""
    server = t.server("http")
    systemd = Systemd(t)
    systemd.unit("walls.service", "Type=oneshot\nUser=nobody\nProtectSystem=strict\n" +
                 (ASAN if is_sanitized(t) else "") + systemd.script(connects(server)) + "\n")
    made = json.loads(systemd.run(systemd.twshim, "enable", "--runtime", "--json", "walls").stdout)
    assert "\nReadWritePaths=-/run/twshim/65534\n" in made["text"], made["text"]
    systemd.run("systemctl", "daemon-reload")
    for count, take in enumerate((("mkdir",), ("ln", "-s", "/tmp"), ("touch",)), 1):
        for place in ("/dev/shm/twshim-65534", "/run/twshim/walls.service", "/run/twshim/12"):
            said = systemd.run(*as_user(BOB, *take, place), status=None)
            assert (said.returncode == 0) == place.startswith("/dev/shm"), (place, said)
        systemd.run("systemctl", "start", "walls.service")
        found, report = systemd.report()
        assert sum(found.values()) == count and not report["unseen"]["places"], (take, report)
        systemd.run("rm", "-r", "/dev/shm/twshim-65534")
    assert systemd.run("ls", "/run/twshim/65534").stdout.count(b".seg") == 3
    assert b"walls" not in systemd.run("ls", "/run/twshim").stdout


def test_a_user_id_that_systemd_gives_again_inherits_nothing(t):
    """Two services of one dynamic user, one after the other; the first loads a policy."""
    server = t.server("http")
    systemd = Systemd(t)
    get = systemd.script(connects(server))
    policy = "/run/t/policy.conf"
    systemd.run("install", "-m", "644", t.file("policy.conf", 'rules = ({ name = "r"; close = "fin-reset"; });\n'),
                policy)
    kind = "Type=oneshot\nDynamicUser=yes\nUser=twshimtest\n" + (ASAN if is_sanitized(t) else "")
    systemd.unit("one.service", kind + f"ExecStartPre={systemd.twshim} policy load {policy}\n{get}\n"
                 "ExecStopPost=+/bin/sh -c 'ls -d /dev/shm/twshim-* >/run/was'\n")
    systemd.unit("two.service", kind + get + "\nRemainAfterExit=yes\n")
    for name in ("one", "two"):
        made = json.loads(systemd.run(systemd.twshim, "enable", "--runtime", "--json", name).stdout)
        assert any("DynamicUser=" in note for note in made["notes"]), made
    systemd.run("systemctl", "daemon-reload")
    systemd.run("systemctl", "start", "one.service")
    was = systemd.run("cat", "/run/was").stdout.decode().split()
    assert len(was) == 1, was
    wait_for(lambda: systemd.run("test", "-e", was[0], status=None).returncode, "systemd clears it")
    assert systemd.report()[1]["total"]["attempts"] == 0
    systemd.run("systemctl", "start", "two.service")
    total = systemd.report()[1]["total"]
    assert (total["attempts"], total["ended_local_fin"], total["ended_fin_reset"]) == (1, 1, 0), total
    assert systemd.run("ls", "-d", was[0]).stdout.decode().split() == was, "the same user ID"
