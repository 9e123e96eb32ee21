# SPDX-License-Identifier: MIT
"""tests/conformance, which compares other projects' tests by their names."""
import os

from suites import programs
from suites.unit import FAIL, PASS, SKIP, parse_tap

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


def test_a_tests_name_in_free_text_is_the_same_whatever_its_port_and_time(t):
    first, second = (parse_tap(f"ok 1 - port {port} answers in {time} ms\n", t.scratch)
                     for port, time in ((40001, 3), (40002, 12)))
    assert first == second and len(first) == 1, (first, second)
