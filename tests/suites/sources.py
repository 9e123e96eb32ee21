# SPDX-License-Identifier: MIT
"""Suites that Debian ships only as source: fetched with `apt-get source`, run with Debian's
own interpreters."""
import glob
import os
import re
import shutil
import subprocess

from suites.unit import (FAIL, PASS, SKIP, Outcomes, Suite, Unit, by_pattern, parse_tap,
                         parse_tap_of_names)


def source_entries():
    """This machine's Debian archives, as lines and as stanzas for source packages."""
    for path in ["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/*")]:
        if not path.endswith((".list", ".sources")) or not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if "debian" in text:
            yield path[path.rindex("."):], re.sub(
                r"(?m)^(Types: *)?deb(?: deb-src)?\b", r"\1deb-src", text)


def codename():
    """bookworm."""
    with open("/etc/os-release", encoding="utf-8") as file:
        return re.search(r"^VERSION_CODENAME=(\w+)", file.read(), re.M)[1]


def run(*command, directory):
    """Runs a step of fetching; raises with its output if it fails."""
    result = subprocess.run(command, cwd=directory, check=False, stdin=subprocess.DEVNULL,
                            timeout=900, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if result.returncode:
        raise OSError(f"{command[0]}: {result.stderr.decode(errors='replace')[-200:]}")


def fetch(package, directory):
    """Unpacks a source package into directory/source, once; apt's own lists stay as they are."""
    target = os.path.join(directory, "source")
    if os.path.exists(target):
        return target
    lists, parts = os.path.join(directory, "lists"), os.path.join(directory, "parts")
    for folder in (lists, parts):
        os.makedirs(folder, exist_ok=True)
    for number, (ending, text) in enumerate(source_entries()):
        with open(os.path.join(parts, f"{number}{ending}"), "w", encoding="utf-8") as file:
            file.write(text)
    apt = ["apt-get", "-q", "-o", "Dir::Etc::SourceList=/dev/null",
           "-o", f"Dir::Etc::SourceParts={parts}", "-o", f"Dir::State::Lists={lists}"]
    run(*apt, "update", directory=directory)
    try:
        run(*apt, "source", package, directory=directory)
    except OSError:  # a mirror may lack the newest; then that of the release
        run(*apt, "source", f"{package}/{codename()}", directory=directory)
    unpacked = [e.path for e in os.scandir(directory) if e.is_dir()
                and e.path not in (lists, parts)]
    os.rename(unpacked[0], target)
    return target


def files(directory, *patterns):
    """(path below the source, name) of what matches."""
    source = os.path.join(directory, "source")
    for pattern in patterns:
        for path in sorted(glob.glob(os.path.join(source, pattern))):
            yield path, os.path.relpath(path, source)


# --------------------------------------------------------------------- perl

def taint(path):
    """-T if the first line of the test has it."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return ["-" + how for how in re.findall(r"\s-\w*([tT])\b", file.readline())]


def perl_units(*folders):
    """A unit for each .t, in its distribution's folder, with what that has beside it."""
    def units(directory):
        for folder in folders:
            for path, name in files(directory, os.path.join(folder, "t/*.t"),
                                    os.path.join(folder, "t/*/*.t")):
                inside = os.path.join(directory, "source", folder)
                yield Unit(name, ["perl", *taint(path), "-It/lib", "-I.", "-It", path], parse_tap,
                           directory=inside, timeout=120,
                           environment={"NO_NETWORK_TESTING": "1"})
    return units


def perl(package, *packages):
    """The tests of a Perl distribution, against the version that is installed."""
    return Suite(package, ["perl", *(packages or [package])], perl_units("."),
                 lambda directory: fetch(package, directory))


def fetch_perl(directory):
    """Perl itself; the tests of IO look for its helpers in a folder of their own."""
    source = fetch("perl", directory)
    for name in ("test.pl", "charset_tools.pl"):
        shutil.copy(os.path.join(source, "t", name), os.path.join(source, "dist/IO/t", name))


PERL_CORE = ("dist/IO", "cpan/Socket", "cpan/IO-Socket-IP", "cpan/libnet", "cpan/HTTP-Tiny",
             "ext/IPC-Open3", "cpan/IPC-Cmd", "cpan/Sys-Syslog", "dist/Net-Ping")


# ------------------------------------------------------------------ tcl, ruby

def tcl_units(directory):
    """tcltest's files of channels, sockets, processes."""
    names = ("socket", "http", "http11", "httpPipeline", "httpold", "io", "ioCmd", "ioTrans",
             "iogt", "chan", "chanio", "exec", "event", "async", "notify", "pid", "zlib",
             "fCmd", "unixFCmd", "unixForkEvent", "unixNotfy", "env", "main", "interp", "timer",
             "thread", "safe", "encoding")
    parse = by_pattern(r"^(?:\+\+\+\+|====) (?P<name>\S+)(?: .*)? (?P<outcome>PASSED|FAILED|"
                       r"SKIPPED)", {"PASSED": PASS, "FAILED": FAIL, "SKIPPED": SKIP})
    for name in names:
        for path, _ in files(directory, f"tests/{name}.test"):
            yield Unit(name, ["tclsh8.6", path, "-verbose", "pass skip", "-tmpdir", "{scratch}"],
                       parse, directory=os.path.dirname(path), timeout=180)


def parse_ruby(output, scratch):
    """Ruby's runner: one line per test; failed and skipped tests are named below."""
    found = Outcomes()
    for name in re.findall(r"^\[ *\d+/\d+\] (\S+#\S+) = ", output, re.M):
        found.add(name, PASS)
    for how, name in re.findall(r"^ *\d+\) (Failure|Error|Skipped):\n(\S+#\w+)", output, re.M):
        found[name] = SKIP if how == "Skipped" else FAIL
    return found


def ruby_units(directory):
    """Ruby's tests of sockets, protocols, processes and IO."""
    for path, name in files(directory, "test/socket/test_*.rb", "test/net/*/test_*.rb",
                            "test/openssl/test_ssl*.rb", "test/ruby/test_io*.rb",
                            "test/ruby/test_process.rb", "test/ruby/test_signal.rb",
                            "test/ruby/test_thread*.rb", "test/drb/test_*.rb",
                            "test/test_open3.rb", "test/test_pty.rb", "test/io/*/test_*.rb",
                            "test/fiber/test_*.rb", "test/resolv/test_*.rb"):
        inside = os.path.join(directory, "source")
        yield Unit(name, ["ruby", "-Itool/lib", "-Itest/lib", "-Itest", "-rtest/unit", path,
                          "-v", "--seed=1"], parse_ruby, directory=inside, timeout=120)


# ------------------------------------------------------------------------ php

def php_units(directory):
    """PHP's own tests of streams, sockets, curl and processes, by its own runner."""
    parse = by_pattern(r"(?:^|\r)(?P<outcome>PASS|FAIL|SKIP|XFAIL|WARN|BORK|LEAK) .*"
                       r"\[(?P<name>[^\]\n]+\.phpt)\]",
                       {"PASS": PASS, "FAIL": FAIL, "SKIP": SKIP, "XFAIL": SKIP, "WARN": FAIL,
                        "BORK": FAIL, "LEAK": FAIL})
    source = os.path.join(directory, "source")
    command = ["php", "run-tests.php", "-q", "-p", "/usr/bin/php", "--no-color",
               "--temp-source", source, "--temp-target", "{scratch}/t"]
    for folder in ("ext/sockets/tests", "ext/standard/tests/network",
                   "ext/standard/tests/streams", "ext/standard/tests/http",
                   "ext/openssl/tests", "ext/curl/tests", "ext/pcntl/tests", "ext/posix/tests",
                   "ext/ftp/tests", "sapi/cli/tests", "ext/standard/tests/general_functions"):
        if os.path.isdir(os.path.join(source, folder)):
            yield Unit(folder, [*command, folder], parse, directory=source, timeout=600,
                       narrow=lambda test: [*command, test],
                       environment={"SKIP_ONLINE_TESTS": "1", "SKIP_SLOW_TESTS": "1",
                                    "NO_INTERACTION": "1"})


# ----------------------------------------------------------------------- node

NODE_LOOP = r"""
for f in "$@"; do
    flags=$(sed -n 's,^// Flags: ,,p' "$f" | tr '\n' ' ')
    if NODE_TEST_DIR="$TMPDIR" timeout 30 node $flags "$f" >/dev/null 2>&1 </dev/null
    then echo "ok - ${f##*/}"; else echo "not ok - ${f##*/}"; fi
done"""
NODE_GROUPS = ("net", "http", "https", "http2", "tls", "dgram", "dns", "child-process",
               "cluster", "socket", "pipe", "process", "worker", "tcp", "listen", "signal",
               "stdin", "stdout")
NODE_AT_ONCE = 20


def node_units(directory):
    """Node's test/parallel, each file is a test, twenty of a group are a unit."""
    tests = os.path.join(directory, "source/test/parallel")
    command = ["sh", "-c", NODE_LOOP, "sh"]
    for group in NODE_GROUPS:
        paths = [path for path, _ in files(directory, f"test/parallel/test-{group}-*.js")]
        for at in range(0, len(paths), NODE_AT_ONCE):
            yield Unit(f"{group}-{at // NODE_AT_ONCE}",
                       [*command, *paths[at:at + NODE_AT_ONCE]], parse_tap_of_names, timeout=620,
                       directory=os.path.join(directory, "source"),
                       narrow=lambda test: [*command, os.path.join(tests, test)])


SUITES = [
    Suite("perl", ["perl", "dpkg-dev"], perl_units(*PERL_CORE), fetch_perl),
    perl("libio-socket-ssl-perl"),
    perl("libwww-perl", "libwww-perl", "libtest-fatal-perl", "libtest-needs-perl",
         "libtest-requires-perl", "libtest-requiresinternet-perl", "libhttp-daemon-perl"),
    perl("libhttp-daemon-perl"),
    perl("libnet-server-perl"), perl("libio-async-perl"), perl("libanyevent-perl"),
    perl("libhttp-server-simple-perl"), perl("libmojolicious-perl"), perl("libpoe-perl"),
    Suite("tcl", ["tcl8.6", "dpkg-dev"], tcl_units, lambda directory: fetch("tcl8.6", directory)),
    Suite("ruby", ["ruby", "dpkg-dev"], ruby_units, lambda directory: fetch("ruby3.1", directory)),
    Suite("php", ["php-cli", "php-curl", "dpkg-dev"], php_units,
          lambda directory: fetch("php8.2", directory)),
    Suite("node", ["nodejs", "dpkg-dev"], node_units, lambda directory: fetch("nodejs", directory)),
]
