# SPDX-License-Identifier: MIT
"""What a conformance suite is made of, and how the output of its tests is read.

Unit      one command of another project's suite; its tests are compared by name
parse_*   output -> {test: outcome}; a test that appears twice gets a number
"""
import collections
import dataclasses
import os
import re
import xml.etree.ElementTree

PASS, FAIL, SKIP = "pass", "fail", "skip"


@dataclasses.dataclass
class Unit:
    """One command. In it and in `environment`, {scratch} is an empty directory of its own."""
    name: str
    command: list
    parse: object
    directory: str = "{scratch}"
    environment: dict = dataclasses.field(default_factory=dict)
    timeout: int = 600
    # narrow(test) -> the command that runs this test alone; None: it cannot be
    narrow: object = None
    quick: bool = False  # in `make check`


@dataclasses.dataclass
class Suite:
    """Units of one origin."""
    name: str
    packages: list  # Debian packages that hold it
    # (directory) -> [Unit], once the packages are there; directory: what prepare() was given
    units: object
    # (directory) -> None: fetches and builds what it is run from; raises where it can't
    prepare: object = None


class Outcomes(dict):
    """{test: outcome}; tests with the same name get a number."""

    def __init__(self):
        super().__init__()
        self.times = collections.Counter()

    def add(self, name, outcome):
        """Adds one result."""
        self.times[name] += 1
        self[name if self.times[name] == 1 else f"{name} #{self.times[name]}"] = outcome


def steady(text):
    """A test's name made from text that its author wrote as they liked, without the ports, times, keys,
    random text and temporary files that vary from run to run. Tests that a suite calls by their name
    need it as it is, or tests with numbers for names would all have the same one."""
    text = re.sub(r"[A-Z]{40,}", "RANDOM", text)[:200]
    text = re.sub(r"\S*twshim-conformance-[^\s']*", "PATH", text)
    text = re.sub(r"[\w+/]{43}=", "DIGEST", text)
    return re.sub(r"\b0x[0-9a-f]+\b|\b\d{4,}\b|\b\d+(\.\d+)?( ?m?s| ?secs?)\b", "N", text)


def parse_junit(output, scratch):
    """The JUnit file that regrtest and pytest write, as {scratch}/junit.xml."""
    found = Outcomes()
    path = os.path.join(scratch, "junit.xml")
    if not os.path.exists(path):
        return found
    try:
        root = xml.etree.ElementTree.parse(path).getroot()
    except xml.etree.ElementTree.ParseError:
        return found
    for case in root.iter("testcase"):
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcome = PASS if not kinds else SKIP if kinds == {"skipped"} else FAIL
        found.add(steady(".".join(filter(None, (case.get("classname"), case.get("name"))))), outcome)
    return found


def by_tap(naming):
    """A parser of the Test Anything Protocol; subtests by their indented lines. naming: what makes the
    test's name from what stands there."""
    def parse(output, scratch):
        found = Outcomes()
        for line in output.splitlines():
            match = re.match(r"(?:(?!not\s)[\w/.-]+\s)?\s*(not )?ok\b *(\d*) *-? *(.*)$", line)
            if match:
                name, _, directive = match[3].partition(" # ")
                skipped = re.match(r"(?i)(skip|todo)", directive or match[3].lstrip("# "))
                outcome = SKIP if skipped else FAIL if match[1] else PASS
                found.add(naming(name.strip()) or match[2] or "unnamed", outcome)
        return found
    return parse


parse_tap = by_tap(steady)
parse_tap_of_names = by_tap(str)  # each test has a name of its own


def by_pattern(pattern, outcomes, naming=str):
    """A parser of one line per test, with the pattern's groups `name` and `outcome`; naming: what
    makes the test's name from the former."""
    compiled = re.compile(pattern, re.M)

    def parse(output, scratch):
        found = Outcomes()
        for match in compiled.finditer(output):
            found.add(naming(match["name"].strip()), outcomes[match["outcome"]])
        return found
    return parse


def parse_trial(output, scratch):
    """Twisted's trial: a tree of module, class and test, by indentation of two."""
    found, path = Outcomes(), []
    for line in output.splitlines():
        match = re.match(r"( *)(\S.*?)(?: \.\.\. +\[(\w+(?: \w+)?)\])?$", line)
        if re.match(r"-{20}|={20}", line):
            break
        if not match:
            continue
        path = path[:len(match[1]) // 2] + [match[2]]
        if match[3]:
            outcome = {"OK": PASS, "SKIPPED": SKIP, "TODO": SKIP}.get(match[3], FAIL)
            found.add(steady(".".join(path)), outcome)
    return found
