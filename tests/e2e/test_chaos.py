# SPDX-License-Identifier: MIT
"""A short round of chaos; `make chaos` is the long one."""
import os
import sys

CHAOS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "chaos", "run")


def test_chaos_for_a_quarter_of_a_minute(t):
    result = t.run(sys.executable, CHAOS, "--build", t.build, "--seconds", "12", "--seed",
                   str(t.seed), shim=False, status=None)
    print(result.stdout.decode(), result.stderr.decode())
    assert result.returncode == 0
