# SPDX-License-Identifier: MIT
"""twshim dump: every field of a segment as JSON, whatever is in the file."""
import glob
import json
import os
import random
import re
import struct

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SPARE = "reserved"  # shown only where it is not 0


def golden():
    """{structure: {field: (offset, size)}} and {enumeration: {name: value}} of the layout."""
    structures, enumerations, into = {}, {}, None
    with open(os.path.join(TOP, "tests", "abi.golden"), encoding="ascii") as file:
        for line in file:
            words = line.split()
            if words[0] == "struct":
                into = structures.setdefault(words[1], {})
            elif words[0] == "enum":
                into = enumerations.setdefault(words[1], {})
            elif line.startswith("  "):
                into[words[0]] = tuple(map(int, words[1:])) if len(words) > 2 else int(words[1])
    return structures, enumerations


def segment(t, *steps):
    """The path and the bytes of the segment of a client that was killed with one connection
    open, and the server."""
    server = t.server()
    t.run(t.prog("client"), server.address, str(server.port), *steps, "socket", "connect",
          "kill", status=-9)
    [path] = glob.glob(os.path.join(t.dir, "*.seg"))
    with open(path, "rb") as file:
        return path, file.read(), server


def dump(t, path):
    """What `twshim dump` prints of a file, which must be one JSON object."""
    return json.loads(t.run(t.twshim, "dump", path, shim=False).stdout)


def test_every_field_of_every_structure_is_printed(t):
    structures, _ = golden()
    path, data, server = segment(t, "socket", "connect", "close", "repeat:3")
    shown = dump(t, path)
    assert shown["schema"] == "twshim.dump/1" and shown["problem"] is None, shown["problem"]
    assert shown["size"] == len(data) and shown["file"] == path
    for name, where in (("tws_header", shown["header"]),
                        ("tws_names", shown["header"]["names"]),
                        ("tws_section", shown["header"]["section"]["process"]),
                        ("tws_connection", shown["connections"][0]),
                        ("tws_destination", shown["destinations"][0]),
                        ("tws_ended", shown["ended"][0])):
        assert set(where) - {SPARE} == set(structures[name]) - {SPARE}, name
    opened = [c for c in shown["connections"] if c["state"] == "OPEN"]
    assert [c["remote"] for c in opened] == [server.to], shown["connections"]
    whole = [e for e in shown["ended"] if e["sequence"]]
    assert [(e["ending"], e["via"]) for e in whole] == [("local_fin", "close")] * 3, whole
    total = sum(d["counters"]["ended_local_fin"] for d in shown["destinations"])
    assert total == 3 == len([w for w in shown["time_wait"] if w["cookie"]]), shown


def test_arms_rules_and_folded_names_are_printed_in_full(t):
    """A plain client uses none of these sections, so the test makes up one element of each."""
    structures, _ = golden()
    path, data, _ = segment(t)
    data = bytearray(data)
    sections = list(dump(t, path)["header"]["section"])
    start, _ = structures["tws_header"]["section"]
    for number, name in enumerate(sections):
        if name in ("arms", "rules", "folded"):
            struct.pack_into("<QIIII", data, start + number * 24, 4096 * 16, {
                "arms": 1296, "rules": 120, "folded": 96}[name], 1, 1, 0)
    shown = dump(t, write(t, "made-up.seg", data))
    for name, structure in (("arms", "tws_arm"), ("rules", "tws_rule_status"),
                            ("folded", "tws_folded")):
        [element] = shown[name]
        assert set(element) - {SPARE} == set(structures[structure]) - {SPARE}, element


def write(t, name, data):
    """A file in the scratch directory."""
    path = os.path.join(t.scratch, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def test_every_flag_and_state_has_its_name_of_the_header(t):
    structures, enumerations = golden()
    path, data, _ = segment(t)
    data = bytearray(data)
    start = dump(t, path)["header"]["section"]["connections"]["offset"]
    at, _ = structures["tws_connection"]["flags"]
    struct.pack_into("<I", data, start + at, 0xffffffff)
    names = enumerations["tws_conn_flag"]
    shown = dump(t, write(t, "flags.seg", data))["connections"][0]["flags"]
    assert {f for f in shown if isinstance(f, str)} == \
        {n.removeprefix("TWS_CONN_") for n in names}, shown
    assert sorted(f for f in shown if isinstance(f, int)) == \
        [b for b in range(32) if 1 << b not in names.values()], shown
    observer, _ = structures["tws_header"]["observer"]
    for name, value in enumerations["tws_observer"].items():
        if name != "TWS_OBSERVERS":
            struct.pack_into("<I", data, observer, value)
            assert dump(t, write(t, "observer.seg", data))["header"]["observer"] == \
                name.removeprefix("TWS_OBSERVER_")
    for name, value in enumerations["tws_conn_state"].items():
        struct.pack_into("<I", data, start, value)
        assert dump(t, write(t, "state.seg", data))["connections"][0]["state"] == \
            name.removeprefix("TWS_CONN_")


def test_a_damaged_file_is_printed_as_far_as_it_goes_and_the_damage_is_named(t):
    path, data, _ = segment(t, "socket", "connect", "close")
    for name, damaged, problem in (
            ("empty.seg", b"", "truncated header"),
            ("short.seg", data[:100], "truncated header"),
            ("magic.seg", b"?" + data[1:], "no segment: wrong magic"),
            ("cut.seg", data[:-100], "truncated"),
            ("longer.seg", data + b"\0", "larger than its header says"),
            ("noise.seg", random.Random(t.seed).randbytes(100000), "no segment: wrong magic")):
        shown = dump(t, write(t, name, damaged))
        assert shown["problem"] == problem and shown["size"] == len(damaged), (name, shown)
    cut = dump(t, os.path.join(t.scratch, "cut.seg"))
    assert cut["header"] == dump(t, path)["header"]
    assert cut["process"] == dump(t, path)["process"]


def test_bytes_at_random_never_end_the_command(t):
    """Random bytes in the header, in the section table and in the sections."""
    draw = random.Random(t.seed)
    _, data, _ = segment(t, "socket", "connect", "close")
    for _ in range(100):
        damaged = bytearray(data)
        for _ in range(draw.randrange(1, 20)):
            limit = draw.choice((340, 1900, len(data)))
            damaged[draw.randrange(limit)] = draw.randrange(256)
        dump(t, write(t, "damaged.seg", damaged))


def test_what_is_no_segment_at_all_is_refused_with_the_reason(t):
    t.file("fine.seg", "")
    os.mkfifo(os.path.join(t.scratch, "fifo.seg"))
    for arguments, status, words in (
            ((), 2, "name one file"), (("a", "b"), 2, "unexpected argument b"),
            ((f"{t.scratch}/none.seg",), 1, "No such file"),
            ((t.scratch,), 1, "not a regular file"),
            ((f"{t.scratch}/fifo.seg",), 1, "not a regular file")):
        result = t.run(t.twshim, "dump", *arguments, shim=False, status=status)
        said = result.stderr.decode()
        assert re.fullmatch(rf"twshim: [^\n]*{words}[^\n]*\n", said), said
        assert result.stdout == b"", result.stdout
