# SPDX-License-Identifier: MIT
"""Suites of servers and command-line clients: their own tests, run against Debian's own programs,
or against a build of Debian's source where the tests are part of that build."""
import os
import re

from suites.sources import fetch, files, run
from suites.unit import (FAIL, PASS, SKIP, Outcomes, Suite, Unit, by_pattern, parse_tap,
                         parse_tap_of_names, steady)


def by_heading(heading, *outcomes):
    """A parser of tests that print what they like between one heading and the next. The heading
    has the group `name`; the first (pattern, outcome) that a test's output matches decides."""
    starts = re.compile(heading, re.M)

    def parse(output, scratch):
        found = Outcomes()
        heads = list(starts.finditer(output))
        for head, end in zip(heads, [h.start() for h in heads[1:]] + [len(output)]):
            text = output[head.end():end]
            found.add(head["name"], next((outcome for pattern, outcome in outcomes
                                          if re.search(pattern, text, re.M)), FAIL))
        return found
    return parse


def slices(what, size):
    """(number, part) of a list."""
    for at in range(0, len(what), size):
        yield at // size, what[at:at + size]


def build(directory, package, *targets, options=(), first=None):
    """Unpacks a source package and builds it, once; options: of ./configure, which the command
    `first` may make."""
    source, mark = fetch(package, directory), os.path.join(directory, "built")
    if not os.path.exists(mark):
        run(*(first or ["true"]), directory=source)
        run("./configure", "--disable-shared", "--disable-dependency-tracking", *options,
            directory=source)
        run("make", *targets, directory=source)
        with open(mark, "w", encoding="ascii"):
            pass
    return source


# ------------------------------------------------------------------- libevent

LIBEVENT_GROUPS = ("main", "heap", "et", "finalize", "evbuffer", "signal", "util", "bufferevent",
                   "http", "dns", "evtag", "rpc", "thread", "listener", "ssl")
LIBEVENT_WITHOUT = {"epoll": (), "poll": ("EPOLL",), "select": ("EPOLL", "POLL")}


def libevent_units(directory):
    """Each group of regress, on each of the three ways to wait for events."""
    parse = by_heading(r"^(?P<name>[\w-]+/[\w/-]+): ", (r"FAILED\]", FAIL),
                       (r"\b(SKIPPED|DISABLED)$", SKIP), (r"\bOK$", PASS))
    program = os.path.join(directory, "source/test/regress")
    for way, without in LIBEVENT_WITHOUT.items():
        for group in LIBEVENT_GROUPS:
            yield Unit(f"{way}-{group}",
                       [program, group + "/.."], parse, timeout=300,
                       environment={"EVENT_NO" + name: "1" for name in without},
                       narrow=lambda test: [program, test])


# ------------------------------------------------------------------ memcached

# They name files in /tmp by their pid, which is the same in each run.
MEMCACHED = 'mount -t tmpfs none /tmp && exec perl -It/lib "$1"'


def memcached_units(directory):
    """Perl tests, each of which starts the server that was built with debugging, and connects by
    TCP if it has no Unix sockets. One of them prints 170 MB."""
    for path, name in files(directory, "t/*.t"):
        if name != "t/binary-extstore.t":
            yield Unit(name, ["unshare", "-m", "sh", "-c", MEMCACHED, "sh", path], parse_tap,
                       directory=os.path.join(directory, "source"), timeout=120)


# ----------------------------------------------------------------------- wget

# Its Python tests start wget without what is in the environment.
EACH = r"""
printf '#!/bin/sh\nexport LD_PRELOAD=%s TWSHIM_DIR=%s\nexec wget "$@"\n' \
    "$LD_PRELOAD" "$TWSHIM_DIR" >wget && chmod +x wget && export WGET_PATH="$PWD/wget"
for f in "$@"; do
    timeout 60 $RUN "$f" </dev/null
    case $? in 0) echo "ok - ${f##*/}" ;; 77) echo "ok - ${f##*/} # SKIP" ;;
    *) echo "not ok - ${f##*/}" ;; esac
done 2>&1 | grep -aE '^(not )?ok - '"""


def wget_units(directory):
    """Perl and Python tests with servers of their own; each file is a test."""
    for kind, folder, command in (("px", "tests", "perl -I{}"), ("py", "testenv", "python3")):
        inside = os.path.join(directory, "source", folder)
        paths = [path for path, _ in files(directory, f"{folder}/Test-*.{kind}")]
        for number, part in slices(paths, 20):
            yield Unit(f"{folder}-{number}", ["sh", "-c", EACH, "sh", *part], parse_tap_of_names,
                       timeout=600,
                       environment={"RUN": command.format(inside), "WGETRC": "/dev/null",
                                    "SYSTEM_WGETRC": "/dev/null", "srcdir": inside,
                                    "PYTHONPATH": inside, "MAKE_CHECK": "True", "SSL_TESTS": "1"},
                       narrow=lambda test, inside=inside: ["sh", "-c", EACH, "sh",
                                                           os.path.join(inside, test)])


# ---------------------------------------------------------------------- socat

SOCAT = r"""cp -r "$1" here && cd here && shift && exec bash test.sh "$@" """


def fetch_socat(directory):
    """Its script makes one file of 2048 random bits in each run, which takes up to a minute."""
    certificate = os.path.join(fetch("socat", directory), "testcert.dh")
    if not os.path.exists(certificate):
        run("openssl", "dhparam", "-out", certificate, "2048", directory=directory)


def socat_units(directory):
    """test.sh, twenty of its numbers at a time. It leaves out those that its packager does."""
    parse = by_heading(r"^test +(?P<name>\d+ \w+): ", (r"\bFAILED\b(?!: +\d)", FAIL),
                       (r"\bOK *$", PASS), (r"", SKIP))
    with open(os.path.join(directory, "source/test.sh"), encoding="utf-8") as file:
        tests = len(re.findall(r"^NAME=", file.read(), re.M))
    command = ["sh", "-c", SOCAT, "sh", os.path.join(directory, "source")]
    for number, part in slices(list(range(1, tests + 150)), 20):
        yield Unit(f"{number:02}", [*command, *map(str, part)], parse, timeout=300,
                   environment={"SOCAT": "/usr/bin/socat", "FILAN": "/usr/bin/filan",
                                "PROCAN": "/usr/bin/procan", "USER": "root"},
                   narrow=lambda test: [*command, test.split()[0]])


# -------------------------------------------------------------------- openssh

OPENSSH = r"""
mount -t tmpfs -o mode=755 none /run && mkdir -m 755 /run/sshd
cp -a /usr/lib/openssh/regress here && cd here || exit 99
exec make -s .OBJDIR="$PWD" .CURDIR="$PWD" BUILDDIR="$PWD" OBJ="$PWD" SUDO=sudo TEST_SHELL=sh \
    TEST_SSH_SSH=ssh TEST_SSH_SFTPSERVER=/usr/lib/openssh/sftp-server TEST_SSH_IPV6=yes \
    TEST_SSH_ECC=yes TEST_SSH_UNSAFE_PERMISSIONS=1 "$@" </dev/zero"""


OPENSSH_SLOW = ("rekey",)  # a quarter of an hour of ciphers


def openssh_units(_):
    """Each script with servers and clients of its own, and the unit tests."""
    with open("/usr/lib/openssh/regress/Makefile", encoding="utf-8") as file:
        names = re.search(r"^LTESTS=((?:.*\\\n)*.*)", file.read(), re.M)[1].split()
    parse = by_pattern(r"^(?P<outcome>ok|failed|FAIL:|SKIPPED:) (?P<name>.*)",
                       {"ok": PASS, "failed": FAIL, "FAIL:": FAIL, "SKIPPED:": SKIP}, steady)
    for name in names:
        if name not in ("\\", *OPENSSH_SLOW):
            yield Unit(name, ["sh", "-c", OPENSSH, "sh", f"LTESTS={name}", "t-exec"], parse,
                       timeout=300)
    yield Unit("unit", ["sh", "-c", OPENSSH, "sh", "unit"],
               by_heading(r"^(?P<name>test_\w+): ", (r"\d+ tests ok", PASS)))


# ----------------------------------------------------------------------- curl

# Its tests make their servers, pid files and logs in the folder that they run in.
CURL = r"""
mkdir here && cd here && ln -s "$1"/* . && rm tests && cp -rs "$1/tests" tests && cd tests &&
    shift && exec perl -I"$srcdir" runtests.pl -n -a '!flaky' "$@" """


def prepare_curl(directory):
    """Builds it, then its servers and the programs that use its library."""
    source = build(directory, "curl", "-j2", options=["--with-openssl", "--without-libpsl"])
    run("make", "-j2", "-C", "tests", directory=source)


def curl_units(directory):
    """runtests.pl, fifty of its numbers at a time, with the servers that it starts itself."""
    parse = by_heading(r"^test (?P<name>\d{4,5})\b", (r"^ ?SKIPPED: ", SKIP), (r"^\S+ OK \(", PASS))
    source = os.path.join(directory, "source")
    numbers = sorted(int(re.search(r"\d+$", name)[0])
                     for _, name in files(directory, "tests/data/test*[0-9]"))
    for number, part in slices(numbers, 50):
        yield Unit(f"{number:02}", ["sh", "-c", CURL, "sh", source, *map(str, part)], parse,
                   environment={"srcdir": os.path.join(source, "tests"), "USER": "root"},
                   narrow=lambda test: ["sh", "-c", CURL, "sh", source, str(int(test))])


# ---------------------------------------------------------------------- libuv

LIBUV = r"""for test in "$@"; do "$PROGRAM" "$test"; done"""


def libuv_units(directory):
    """Each test by its name; forty are a unit."""
    program = os.path.join(directory, "source/test/run-tests")
    with open(os.path.join(directory, "source/test/test-list.h"), encoding="utf-8") as file:
        names = re.findall(r"^ *TEST_ENTRY(?:_CUSTOM)? +\((\w+)", file.read(), re.M)
    for number, part in slices(sorted({*names}), 40):
        yield Unit(f"{number:02}", ["sh", "-c", LIBUV, "sh", *part], parse_tap_of_names,
                   environment={"PROGRAM": program, "UV_RUN_AS_ROOT": "1"},
                   narrow=lambda test: [program, test])


# ------------------------------------------------------------------ mosquitto

# The server gives up root's rights, and reads and writes its files all the same.
MOSQUITTO = r"""
mount -t tmpfs -o mode=1777 none /tmp && cp -r "$1/test" /tmp && chmod -R a+rwX /tmp/test &&
    cd "/tmp/test/$2" && shift 2 || exit 99
while [ $# -gt 0 ]; do
    if timeout 60 python3 $1 </dev/null; then echo "ok - $1"; else echo "not ok - $1"; fi
    shift
done 2>&1 | grep -aE '^(not )?ok - '"""


def prepare_mosquitto(directory):
    """Its certificates, the server's plug-ins and the clients of its library."""
    source = fetch("mosquitto", directory)
    run("make", "ssl", directory=os.path.join(source, "test"))
    for folder in ("broker/c", "lib/c", "lib/cpp"):
        run("make", "-C", folder, directory=os.path.join(source, "test"))


def mosquitto_units(directory):
    """Python scripts that play the client of the server, or the server of a client; each is a test,
    and twenty are a unit. Only their names begin with a digit: test.py runs all of them at once."""
    source = os.path.join(directory, "source")
    for folder in ("broker", "lib"):
        with open(os.path.join(source, "test", folder, "Makefile"), encoding="utf-8") as file:
            tests = re.findall(r"^\t\./(\d\S+\.py(?: \S+)?)$", file.read(), re.M)
        clients = [t.replace("$@", way) for way in ("c", "cpp") for t in tests if "$@" in t]
        tests = [t for t in clients or tests  # not each client is there in C++
                 if os.path.exists(os.path.join(source, "test", folder, t.split()[-1]))]
        command = ["unshare", "-m", "sh", "-c", MOSQUITTO, "sh", source, folder]
        for number, part in slices(tests, 20):
            yield Unit(f"{folder}-{number:02}", [*command, *part], parse_tap_of_names,
                       narrow=lambda test, command=command: [*command, test])


# ---------------------------------------------------------------------- redis

REDIS = r"""
cp -r "$1/tests" . && mkdir src && ln -s /usr/bin/redis-* src &&
    exec tclsh8.6 tests/test_helper.tcl --clients 1 --durable --single "$2" """
# Minutes of processor time and hundreds of megabytes, and next to no connections.
REDIS_SLOW = re.compile(r"corrupt-dump|convert-|geo|bitops|maxmemory|hyperloglog|dismiss-mem")


def redis_units(directory):
    """Each file, with servers, replicas and clients in Tcl."""
    source = os.path.join(directory, "source")
    parse = by_pattern(r"^\[\S*?(?P<outcome>ok|err|exception|skip|ignore)\S*?\]: (?P<name>.*?)"
                       r"(?: in tests/\S+| \(\d+ ms\))?$",
                       {"ok": PASS, "err": FAIL, "exception": FAIL, "skip": SKIP, "ignore": SKIP},
                       steady)
    for _, name in files(directory, "tests/unit/*.tcl", "tests/unit/cluster/*.tcl",
                         "tests/integration/*.tcl"):
        name = re.sub(r"^tests/|\.tcl$", "", name)
        if not REDIS_SLOW.search(name):
            yield Unit(name, ["sh", "-c", REDIS, "sh", source, name], parse, timeout=300)


# ------------------------------------------- what varnish's own test program runs

def vtc_units(pattern):
    """A unit for each folder of .vtc files."""
    parse = by_pattern(r"^#\s+top\s+TEST (?P<name>\S+) (?P<outcome>passed|FAILED|skipped|TIMED OUT)",
                       {"passed": PASS, "FAILED": FAIL, "skipped": SKIP, "TIMED OUT": FAIL})

    command = ["varnishtest", "-k", "-t", "30", "-b", "2M"]

    def units(directory):
        folders = {}
        for path, name in files(directory, pattern):
            folders.setdefault(os.path.dirname(name), []).append(name)
        for folder, names in folders.items():
            yield Unit(folder, [*command, *names], parse, timeout=600,
                       directory=os.path.join(directory, "source"),
                       environment={"HAPROXY_PROGRAM": "/usr/sbin/haproxy"},
                       narrow=lambda test: [*command, test])
    return units


SUITES = [
    Suite("libevent", ["dpkg-dev", "gcc", "make", "automake", "libtool", "libssl-dev", "zlib1g-dev",
                       "python3"], libevent_units,
          lambda directory: build(directory, "libevent", "all", "test/regress",
                                  first=["autoreconf", "-fi"])),
    Suite("memcached", ["dpkg-dev", "gcc", "make", "libevent-dev", "perl"], memcached_units,
          lambda directory: build(directory, "memcached", options=["--disable-unix-socket"])),
    Suite("wget", ["wget", "dpkg-dev", "libhttp-daemon-perl", "libio-socket-ssl-perl"], wget_units,
          lambda directory: fetch("wget", directory)),
    Suite("haproxy", ["haproxy", "varnish", "dpkg-dev"], vtc_units("reg-tests/*/*.vtc"),
          lambda directory: fetch("haproxy", directory)),
    Suite("socat", ["socat", "dpkg-dev", "openssl", "iputils-ping", "net-tools"], socat_units,
          fetch_socat),
    Suite("openssh", ["openssh-tests", "sudo"], openssh_units),
    Suite("curl", ["dpkg-dev", "gcc", "make", "libssl-dev", "zlib1g-dev", "perl", "stunnel4"],
          curl_units, prepare_curl),
    Suite("libuv", ["dpkg-dev", "gcc", "make", "automake", "libtool"], libuv_units,
          lambda directory: build(directory, "libuv1", "-j2", "all", "test/run-tests",
                                  first=["sh", "autogen.sh"])),
    Suite("mosquitto", ["mosquitto", "mosquitto-clients", "libmosquitto-dev", "libmosquittopp-dev",
                        "libcjson-dev", "dpkg-dev", "g++", "make", "openssl", "python3-psutil"],
          mosquitto_units,
          prepare_mosquitto),
    Suite("redis", ["redis-server", "redis-tools", "tcl8.6", "dpkg-dev"], redis_units,
          lambda directory: fetch("redis", directory)),
]
