# SPDX-License-Identifier: MIT
"""The rows of the bench: compares them with their limits, prints them, keeps them as JSON."""
import json
import math
import os
import re
import statistics

FILE = "bench.json"


def machine():
    """What this was measured on."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    kernel = re.match(r"[\d.]+\d", os.uname().release)[0]
    return f"{model[1] if model else os.uname().machine}, {os.cpu_count()} cores, Linux {kernel}"


def median(values):
    """(median, low, high): the middle of the values and the bounds within which it lies with
    95 % confidence, by their ranks alone."""
    values = sorted(values)
    number = len(values)
    reach = 0.98 * math.sqrt(number)
    low = max(0, math.floor((number - 1) / 2 - reach))
    high = min(number - 1, math.ceil((number - 1) / 2 + reach))
    return statistics.median(values), values[low], values[high]


class Rows:
    """The rows of one section."""

    def __init__(self, section):
        self.section = section
        self.rows = []

    def add(self, what, value, unit, limit=None, group=None):
        """One line. `value`: a number, or (median, low, high); `limit`: what the project sets
        itself; `group`: rows that belong into one picture."""
        value, low, high = value if isinstance(value, tuple) else (value, value, value)
        row = {"section": self.section, "what": what, "unit": unit, "value": round(value, 4),
               "low": round(low, 4), "high": round(high, 4)}
        if limit is not None:
            row["limit"] = round(limit, 4)
        if group:
            row["group"] = group
        self.rows.append(row)
        print(line(row), flush=True)
        return row


def number(value, unit):
    """The number with a sensible number of digits."""
    digits = {"x": 3, "ms": 1, "us": 1, "calls": 2}.get(unit, 0)
    return f"{value:,.{digits}f}"


def line(row):
    """One row as text."""
    text = f"  {row['what']:58} {number(row['value'], row['unit']):>9} {row['unit']:7}"
    if row["low"] != row["high"]:
        text += f" {number(row['low'], row['unit'])} to {number(row['high'], row['unit'])}"
    if "limit" in row:
        verdict = "ok" if row["value"] <= row["limit"] else "OVER"
        text = f"{text:98} limit {number(row['limit'], row['unit'])}: {verdict}"
    return text.rstrip()


def load(build):
    """What earlier sections measured."""
    try:
        with open(os.path.join(build, FILE), encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {"schema": "twshim.bench/1", "rows": []}


def save(build, rows, sections):
    """Puts the rows of a section in the place of its earlier ones."""
    known = load(build)
    kept = [r for r in known["rows"] if r["section"] not in {row["section"] for row in rows}]
    order = {name: i for i, name in enumerate(sections)}
    known["machine"] = machine()
    known["rows"] = sorted(kept + rows, key=lambda r: order.get(r["section"], len(order)))
    with open(os.path.join(build, FILE), "w", encoding="utf-8") as file:
        json.dump(known, file, indent=1)
        file.write("\n")


def show(known):
    """The whole table."""
    text, section = [known["machine"]], None
    for row in known["rows"]:
        if row["section"] != section:
            section = row["section"]
            text.append(section)
        text.append(line(row))
    return "\n".join(text)
