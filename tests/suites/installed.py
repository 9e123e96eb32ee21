# SPDX-License-Identifier: MIT
"""Suites that Debian ships as "installed tests": a key file with a command for each, mostly TAP.
GLib's sockets, D-Bus and subprocesses, the TLS of glib-networking, libsoup's HTTP, D-Bus."""
import configparser
import os
import re
import shlex
import shutil

from suites.unit import Suite, Unit, parse_tap

FOLDER = "/usr/share/installed-tests"
PROGRAMS = "/usr/libexec/installed-tests"
NO_TEST = re.compile("performance")  # GLib's benchmarks of minutes
# libsoup's tests start an Apache with a configuration line that newer versions refuse.
MENDED_APACHE = r"""
cp -r "$1" "$2" && sed -i '/AuthDigestQop none/d' "$2/httpd.conf" || exit 99
export G_TEST_SRCDIR="$2" G_TEST_BUILDDIR="$2"
shift 2
exec "$@" """


def unit(path, folder, before=()):
    """One key file; `before`: words before its command."""
    keys = configparser.ConfigParser(interpolation=None)
    keys.read(path)
    test = keys["Test"]
    bus = ["dbus-run-session", "--"] if shutil.which("dbus-run-session") \
        and test.get("Type", "").startswith("session") else []
    return Unit(os.path.relpath(path, folder)[:-len(".test")],
                [*bus, *before, *shlex.split(test["Exec"])], parse_tap, timeout=60)


def suite(name, *packages, before=()):
    """All key files below a folder."""
    folder = os.path.join(FOLDER, name)

    def units(_):
        paths = [os.path.join(at, file) for at, _, files in os.walk(folder)
                 for file in files if file.endswith(".test") and not NO_TEST.match(file)]
        return [unit(path, folder, before) for path in sorted(paths)]
    return Suite(name, ["dbus", *packages], units)


def soup(version):
    """libsoup's."""
    name = "libsoup-" + version
    return suite(name, f"libsoup{'' if version == '2.4' else '-'}{version}-tests", "apache2-bin",
                 before=["sh", "-c", MENDED_APACHE, "sh", os.path.join(PROGRAMS, name),
                         "{scratch}/built"])


SUITES = [suite("glib", "libglib2.0-tests"), suite("glib-networking", "glib-networking-tests"),
          soup("2.4"), soup("3.0"), suite("dbus", "dbus-tests")]
