# SPDX-License-Identifier: MIT
"""Text fits the terminal: 60 to 250 columns."""
import os
import re
import shutil

from harness import ADDRESS
from test_doctor import doctor

NAME = "a-very-long-name-of-a-program-has-no-room-for"
STEPS = ("socket", "connect", "send:1", "recv", "close", "repeat:30")
VIEWS = (("report",), ("owners",), ("owners", "--by", "app"), ("ps", "--all"), ("doctor", "--sample", "0"))


def views(t, columns):
    """The lines of each view that are no commands to copy."""
    for view in VIEWS:
        result = t.run(t.twshim, *view, shim=False, status=None, env={"COLUMNS": str(columns)})
        if result.returncode == 2 and b"unknown option" in result.stderr:
            continue
        for line in result.stdout.decode().splitlines():
            if not re.match(r"( {4}| {14})\S", line):
                yield view[0], line


def test_every_view_fits_sixty_to_two_hundred_and_fifty_columns(t):
    server = t.server()
    name = os.path.join(t.scratch, NAME)
    shutil.copy(t.prog("client"), name)
    for program in (name, t.prog("client")):
        t.run(program, ADDRESS, str(server.port), *STEPS)
    assert doctor(t)["findings"]
    for columns in (60, 80, 132, 250):
        wide = [(view, line) for view, line in views(t, columns) if len(line) > columns]
        assert not wide, (columns, wide)
    narrow = "\n".join(line for view, line in views(t, 60) if view == "report")
    assert re.search(r"^  a-very-\S*\.\.\.\S*room-for ", narrow, re.M), narrow
    assert " PORTS" in narrow and "No room for: PEAK, LEAVE IN" in narrow, narrow
    assert NAME in "\n".join(line for _, line in views(t, 250))
    assert "No room for" not in "\n".join(line for _, line in views(t, 250))
