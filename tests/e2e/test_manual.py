# SPDX-License-Identifier: MIT
"""The manual: made from the tables, whole, clean, and installed."""
import os
import re
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def plain(path):
    """A page's text without its formatting."""
    with open(path, encoding="utf-8") as file:
        return file.read().replace("\\-", "-").replace("\\(dq", "\"").replace("\\(ga", "`").replace("\\e", "\\")


def commands(t):
    """Names of all subcommands."""
    text = t.run(t.twshim, "--help", shim=False).stdout.decode()
    return re.findall(r"^  ([a-z]+) ", text, re.M)


def test_each_command_has_a_page_with_all_its_options(t):
    names = commands(t)
    assert "run" in names and "doctor" in names, names
    for name in names:
        page = plain(os.path.join(t.build, "man", "man1", f"twshim-{name}.1"))
        said = t.run(t.twshim, name, "--help", shim=False).stdout.decode()
        options = re.findall(r"^ +(-[^ ].*?)(?:  .*)?$", said, re.M)
        for option in options:
            assert f"\n.B {option}\n" in page, f"twshim-{name}(1) lacks {option}"
        assert options or name == "policy", said


def test_each_help_ends_with_two_examples_of_its_command(t):
    """Of options that it has; the manual's page has the same."""
    policies = ("check", "explain", "load", "show", "clear", "settings")
    for name in (*commands(t), *(f"policy {word}" for word in policies)):
        said = t.run(t.twshim, *name.split(), "--help", shim=False).stdout.decode()
        typed = re.findall(r"^  (\S.*)$", said.partition("\nExamples:\n")[2], re.M)
        assert len(typed) >= 2, said
        assert all(f"twshim {name}" in line for line in typed), typed
        for line in typed:
            own = line.partition(" -- ")[0]
            for option in re.findall(r" (--?[a-z][a-z-]*)", own) if name != "dump" else ():
                assert name == "policy" or re.search(rf"(^|[ ,]){option}\b", said, re.M), line
        if " " not in name:
            page = plain(os.path.join(t.build, "man", "man1", f"twshim-{name}.1"))
            assert all(f"\n.B {line}\n" in page for line in typed), typed


def test_each_counter_and_each_setting_is_in_the_manual(t):
    with open(os.path.join(TOP, "shim", "shared", "counters.def"), encoding="utf-8") as file:
        counters = re.findall(r"^(?:COUNTER|HISTOGRAM)\((\w+),", file.read(), re.M)
    page = plain(os.path.join(t.build, "man", "man7", "twshim-counters.7"))
    assert len(counters) > 40, counters
    for name in counters:
        assert f"\n.BR {name} " in page, f"twshim-counters(7) lacks {name}"
    settings = t.run(t.twshim, "policy", "settings", shim=False).stdout.decode()
    page = plain(os.path.join(t.build, "man", "man5", "twshim-policy.5"))
    for name in re.findall(r"^(\w+) \(", settings, re.M):
        assert f"\n.BR {name} " in page, f"twshim-policy(5) lacks {name}"


def test_no_page_has_a_warning(t):
    t.need("mandoc")
    pages = [os.path.join(at, file) for at, _, files in os.walk(os.path.join(t.build, "man"))
             for file in files]
    result = t.run("mandoc", "-Tlint", "-Wwarning", *pages, shim=False, status=None)
    assert (result.returncode, result.stdout) == (0, b""), result.stdout.decode()


def test_install_brings_the_manual_and_uninstall_takes_it_away(t):
    def make(goal):
        # Do not rebuild anything: other tests are running it.
        subprocess.run(["make", "-s", "-C", TOP, goal, "-o", "all", "-o", "man", "-o", "extras",
                        f"DESTDIR={t.scratch}/to",
                        f"BUILD={t.build}", "PREFIX=/usr/local"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    make("install")
    man = os.path.join(t.scratch, "to/usr/local/share/man")
    assert os.path.exists(f"{man}/man1/twshim-run.1"), os.listdir(man)
    assert os.path.exists(f"{man}/man5/twshim-policy.5"), os.listdir(man)
    make("uninstall")
    left = [f for _, _, files in os.walk(os.path.join(t.scratch, "to")) for f in files]
    assert not left, left
