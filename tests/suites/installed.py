# SPDX-License-Identifier: MIT
"""Suites that Debian ships as "installed tests": a key file with a command each, TAP mostly.
GLib's sockets, D-Bus and subprocesses, the TLS of glib-networking, libsoup's HTTP, D-Bus."""
import configparser
import os
import shlex
import shutil

from suites.unit import Suite, Unit, parse_tap

FOLDER = "/usr/share/installed-tests"


def unit(path, folder):
    """One key file."""
    keys = configparser.ConfigParser(interpolation=None)
    keys.read(path)
    test = keys["Test"]
    bus = ["dbus-run-session", "--"] if shutil.which("dbus-run-session") \
        and test.get("Type", "").startswith("session") else []
    return Unit(os.path.relpath(path, folder)[:-len(".test")], bus + shlex.split(test["Exec"]),
                parse_tap, timeout=60)


def suite(name, *packages):
    """All key files below a folder."""
    folder = os.path.join(FOLDER, name)

    def units(_):
        paths = [os.path.join(at, file) for at, _, files in os.walk(folder)
                 for file in files if file.endswith(".test")]
        return [unit(path, folder) for path in sorted(paths)]
    return Suite(name, ["dbus", *packages], units)


SUITES = [suite("glib", "libglib2.0-tests"), suite("glib-networking", "glib-networking-tests"),
          suite("libsoup-2.4", "libsoup2.4-tests"), suite("libsoup-3.0", "libsoup-3.0-tests"),
          suite("dbus", "dbus-tests")]
