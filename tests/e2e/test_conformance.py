# SPDX-License-Identifier: MIT
"""tests/conformance, which compares other projects' tests by their names."""
import itertools
import os

from suites import compare, programs
from suites.python_packages import parse_unittest
from suites.unit import FAIL, PASS, SKIP, Unit, parse_tap, parse_tap_of_names, parse_trial

# As curl's runtests.pl prints them.
CURL = """test 0001...[HTTP GET]
--pd---e-v- OK (1   out of 4, remaining: 00:01, took 0.1s, duration: 00:00)
test 0002...[HTTP GET with user and password]
 data FAILED:
test 1234...[HTTP GET over IPv6]
--pd---e-v- OK (3   out of 4, remaining: 00:01, took 0.1s, duration: 00:00)
test 1235 SKIPPED: no IPv6
"""


def curl_unit(t):
    """The unit of curl that has these tests."""
    os.makedirs(os.path.join(t.scratch, "source/tests/data"))
    for number in (1, 2, 1234, 1235):
        t.file(f"source/tests/data/test{number}", "")
    unit, = programs.curl_units(t.scratch)
    return unit


def test_a_test_of_curl_is_known_by_its_number_and_can_be_run_alone(t):
    unit = curl_unit(t)
    found = unit.parse(CURL, t.scratch)
    assert list(found.values()) == [PASS, FAIL, PASS, SKIP], found
    alone = [unit.narrow(name)[-1] for name in found]
    assert alone == ["1", "2", "1234", "1235"], alone


def test_a_script_of_mosquitto_keeps_its_number_and_can_be_run_alone(t):
    script = "01-connect-575314.py"
    for folder in ("broker", "lib"):
        os.makedirs(os.path.join(t.scratch, "source/test", folder))
        t.file(f"source/test/{folder}/{script}", "")
        t.file(f"source/test/{folder}/Makefile", f"test:\n\t./test.py\n01:\n\t./{script}\n")
    for unit in programs.mosquitto_units(t.scratch):
        found = unit.parse(f"ok - {script}\n", t.scratch)
        assert found == {script: PASS}, found
        assert unit.narrow(script) == unit.command, unit.narrow(script)


def test_a_tests_name_in_free_text_is_the_same_whatever_its_port_and_time(t):
    first, second = (parse_tap(f"ok 1 - port {port} answers in {time} ms\n", t.scratch)
                     for port, time in ((40001, 3), (40002, 12)))
    assert first == second and len(first) == 1, (first, second)


def run_of(**outcomes):
    """What one run gives, as the frame has it."""
    return {"outcomes": {**outcomes, compare.STATUS: "0"}, "seconds": 1, "ends": ["yes"]}


def test_a_test_that_fails_is_not_taken_for_one_that_passes(t):
    """In the ways in which the suites' programs print it."""
    tap = {"ok 1 - a": PASS, "ok - a": PASS, "not ok 1 - a": FAIL, "not ok - a": FAIL,
           "    not ok 1 - a": FAIL, "t/a.t not ok 1 - a": FAIL, "t/a.t ok 1 - a": PASS,
           "ok 1 - a # SKIP no": SKIP, "not ok 1 - a # TODO later": SKIP}
    for parse in (parse_tap, parse_tap_of_names):
        found = {line: parse(line + "\n", t.scratch) for line in tap}
        assert found == {line: {"a": outcome} for line, outcome in tap.items()}, found
    unittest = {"ok": PASS, "FAIL": FAIL, "ERROR": FAIL, "skipped 'no'": SKIP}
    for word, outcome in unittest.items():
        found = parse_unittest(f"test_a (b.C.test_a) ... {word}\n", t.scratch)
        assert list(found.values()) == [outcome], (word, found)
    trial = {"OK": PASS, "FAIL": FAIL, "ERROR": FAIL, "SKIPPED": SKIP}
    for word, outcome in trial.items():
        found = parse_trial(f"a\n  B\n    test_c ...     [{word}]\n", t.scratch)
        assert found == {"a.B.test_c": outcome}, (word, found)


def verdict(bare, shimmed, alone):
    """The lists in which there is something, of a unit that gives these outcomes of one test whole and,
    in turn, alone."""
    unit = Unit("unit", [], parse_tap, narrow=lambda test: [test])
    bare, shimmed, *alone = (run_of(**how) for how in (bare, shimmed, *alone))
    turns = itertools.cycle(alone)
    found = compare.verdicts(
        {"bare": bare, "observe": shimmed}, unit,
        lambda which, command: next(turns) if command else bare if which == "bare" else shimmed)
    return [kind for kind, tests in found.items() if tests]


def test_a_test_that_differs_among_others_differs_even_if_it_cannot_be_run_alone(t):
    good, bad, gone = {"test": PASS}, {"test": FAIL}, {}
    assert verdict(good, good, alone=[gone]) == []
    assert verdict(good, bad, alone=[good]) == ["differs"]
    assert verdict(good, gone, alone=[gone]) == ["differs"]
    # It needs those before it: alone, it fails in both ways.
    assert verdict(good, bad, alone=[bad]) == ["differs"]
    # Alone, it is not steady without the shim either.
    assert verdict(good, bad, alone=[good, good, bad, good]) == ["flaky"]
