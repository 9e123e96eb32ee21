# SPDX-License-Identifier: MIT
"""Networking frameworks for Python whose Debian packages hold their own tests."""
import os
import re

from suites.unit import (FAIL, PASS, SKIP, Suite, Unit, by_pattern, parse_junit, parse_trial)

PYTHON = "/usr/bin/python3"
PACKAGES = "/usr/lib/python3/dist-packages"
# Python's unittest -v. What a test itself prints stands between its name and its outcome.
parse_unittest = by_pattern(r"^(?P<name>\w+ \([\w.]+\))(?:\n[^\n]+)? \.\.\. (?:.*\n)*?.*?"
                            r"(?P<outcome>ok|FAIL|ERROR|skipped|expected failure)\b",
                            {"ok": PASS, "FAIL": FAIL, "ERROR": FAIL, "skipped": SKIP,
                             "expected failure": SKIP})


def test_files(folder, below=True):
    """Test modules in a package's folder, as paths."""
    for at, _, files in os.walk(os.path.join(PACKAGES, folder)):
        if below or at.endswith(folder):
            yield from (os.path.join(at, f) for f in sorted(files)
                        if re.fullmatch(r"test_.*\.py|.*_test\.py", f))


def module(path):
    """A path's module."""
    return os.path.relpath(path, PACKAGES)[:-3].replace(os.sep, ".")


def pytest_units(*folders, timeout=300, options=()):
    """A unit for each test file. pytest must not write a cache or load plug-ins by itself."""
    def units(_):
        return [Unit(module(path),
                     [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir",
                      "{scratch}", "--basetemp", "{scratch}/pytest",
                      "--junit-xml={scratch}/junit.xml", *options, path],
                     parse_junit, timeout=timeout)
                for folder in folders for path in test_files(folder)]
    return units


# trial with a time limit of 10 s per test instead of 120.
TRIAL = ("from twisted.trial import util; util.DEFAULT_TIMEOUT_DURATION = 10; "
         "from twisted.scripts.trial import run; run()")


def trial_units(*folders):
    """Twisted's own runner, a unit for each test file."""
    def units(_):
        return [Unit(module(path), [PYTHON, "-c", TRIAL, "--reporter=verbose",
                                    "--temp-directory={scratch}/trial", module(path)],
                     parse_trial, timeout=300)
                for folder in folders for path in test_files(folder)]
    return units


def tornado_units(_):
    """Tornado's tests: unittest, each module."""
    def command(what):
        return [PYTHON, "-m", "tornado.test", "--verbose", what]
    return [Unit(module(path), command(module(path)), parse_unittest, timeout=300,
                 narrow=lambda test: command(re.search(r"\(([\w.]+)\)", test)[1]))
            for path in test_files("tornado/test")]


TWISTED = ("twisted/internet/test", "twisted/test", "twisted/web/test", "twisted/protocols/test",
           "twisted/protocols/haproxy/test", "twisted/names/test", "twisted/mail/test",
           "twisted/words/test", "twisted/conch/test", "twisted/runner/test",
           "twisted/application", "twisted/_threads/test")
SUITES = [
    Suite("twisted", ["python3-twisted", "openssh-client"], trial_units(*TWISTED)),
    Suite("tornado", ["python3-tornado"], tornado_units),
    Suite("trio", ["python3-trio", "python3-pytest", "python3-trustme"],
          pytest_units("trio/tests", "trio/_core/tests")),
    Suite("zmq", ["python3-zmq", "python3-pytest"], pytest_units("zmq/tests")),
    Suite("cheroot", ["python3-cheroot", "python3-pytest", "python3-jaraco.text"],
          pytest_units("cheroot/test")),
    Suite("cherrypy", ["python3-cherrypy3", "python3-pytest"], pytest_units("cherrypy/test")),
]
