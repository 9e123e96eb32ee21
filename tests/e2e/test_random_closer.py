# SPDX-License-Identifier: MIT
"""The randomised closer: each connection draws its way in, the side that closes first, unread data,
shutdowns, copies, children and its way out. The prediction made at its end is compared with the
kernel's table, socket by socket."""
import glob
import os
import random
import struct

from harness import ADDRESS, kernel_sockets, time_wait_cookies, wait_for

CONNECTIONS = 2000
LOCAL_FIN, NAMES = 2, ("none", "abandoned", "local_fin", "remote_fin", "fin_reset",
                       "reset_policy", "reset_app", "reset_unread", "reset_remote", "unseen",
                       "failed")
LIVE = (1, 2, 3, 4, 5, 8, 9, 11)

WAYS_IN = (("socket", "connect"), ("socket", "nonblock", "connect-poll", "block"),
           ("socket", "nonblock", "connect?", "block"), ("socket", "connect-syscall"),
           ("socket", "bind", "connect"), ("socket", "connect", "connect-again"),
           ("socket", "dup", "connect", "close-d"))
MIDDLES = ((), (), ("dup", "close-d"), ("fdupfd", "close-d"), ("fork-close",), ("vfork-close",),
           ("system",), ("reuseaddr",), ("linger:0",), ("linger:1",), ("linger2:10",))
WAYS_OUT = (("close",), ("close",), ("close-syscall",), ("fclose",), ("dup2-over",),
            ("dup3-over",), ("freopen", "close"), ("dup", "close", "close-d"),
            ("fork-hold", "close", "close-d", "wait-child"), ("closefrom",), ("close-range",),
            ())
TALKS = {"echo": (("send:1", "recv"), ("send:1", "recv", "shutdown:wr", "wait-hup"),
                  ("send:100", "wait-readable"), ("shutdown:rd",), ("shutdown:rdwr", "wait-hup"),
                  ("send:1", "recv", "shutdown:wr")),
         "first": (("send:1", "recv", "wait-hup"), ("send:9", "wait-hup"),
                   ("send:1", "recv", "wait-hup", "shutdown:wr")),
         "unread": (("wait-readable",), ("recv:1000",), ("wait-readable", "shutdown:wr")),
         "reset": (("send:1", "recv", "wait-hup"), ("send:1", "wait-hup")),
         "silent": ((), ("send:5",), ("shutdown:wr",), ("shutdown:wr", "wait-hup"))}


def draw(source, number, servers):
    """The steps of one connection."""
    mode = source.choice(sorted(TALKS))
    middle = source.choice(MIDDLES)
    talk = source.choice(TALKS[mode])
    out = source.choice(WAYS_OUT)
    if middle == ("linger:1",) and mode in ("unread", "silent"):
        middle = ()  # blocks for its second if the peer does not read
    if middle == ("linger:0",) and "shutdown:rdwr" in talk and "fork-hold" in out:
        middle = ()  # the child's close() and the peer's FIN: the first one decides, unseen by us
    # close-range would also close the one that stays open for the exit
    return (f"port:{servers[mode].port}", *source.choice(WAYS_IN), f"note:{number}.{mode}",
            *middle, *talk, *out)


def _section(data, number, expected_size):
    """The records of a section of a segment (shim/shared/segment.h)."""
    offset, size, count, used, _ = struct.unpack_from("<QIIII", data, 32 + number * 24)
    assert size == expected_size, "the layout has changed"
    return [data[offset + i * size:offset + (i + 1) * size] for i in range(min(used, count))]


def endings(directory):
    """{cookie: (ending, flags)} from the rings of ended connections, and the last known state of
    connections that were left to other processes."""
    found = {}
    for path in glob.glob(os.path.join(directory, "*.seg")):
        with open(path, "rb") as file:
            data = file.read()
        for record in _section(data, 1, 128):
            if record[0] == 3 and record[98]:
                found[struct.unpack_from("<Q", record, 8)[0]] = \
                    (record[97], struct.unpack_from("<I", record, 80)[0])
        for record in _section(data, 5, 128):
            if struct.unpack_from("<Q", record)[0]:
                found[struct.unpack_from("<Q", record, 8)[0]] = \
                    (record[113], struct.unpack_from("<I", record, 104)[0])
    return found


def hold_against_the_kernel(t):
    """The randomised closer."""
    servers = {mode: t.server(mode) for mode in TALKS}
    ports = {s.port for s in servers.values()}
    source = random.Random(t.seed)
    scripts = [draw(source, n, servers) for n in range(CONNECTIONS)]
    result = t.run(t.prog("client"), ADDRESS, "1", *[s for script in scripts for s in script])
    wait_for(lambda: not any(p in ports for state in LIVE if state != 1
                             for _, p in kernel_sockets(state)), "nothing is on its way")
    wait_for(lambda: not any(p in ports for _, p in kernel_sockets(1)), "all are closed")
    there = time_wait_cookies()
    predicted = endings(t.dir)
    wrong = []
    for line in result.stdout.decode().splitlines():
        tag, cookie, _ = line.split()
        number, mode = tag.split(".")
        kernel = int(cookie) in there
        ending, flags = predicted.get(int(cookie), (None, 0))
        if ending is None or (ending == LOCAL_FIN) != kernel:
            wrong.append(f"TIME_WAIT {kernel}, predicted "
                         f"{NAMES[ending] if ending is not None else None} flags {flags:#x}: "
                         f"{mode}: {' '.join(scripts[int(number)])}")
    assert not wrong, f"seed {t.seed}: {len(wrong)} of {CONNECTIONS} wrong:\n" + \
        "\n".join(wrong[:20])
    t.report()


def test_every_prediction_agrees_with_the_kernel(t):
    hold_against_the_kernel(t)


def test_every_prediction_by_tcp_info_agrees_with_the_kernel_too(t):
    conf = t.file("detail.conf", "detail = true;")
    t.run(t.twshim, "policy", "load", "--dir", t.dir, conf, shim=False)
    hold_against_the_kernel(t)


test_every_prediction_agrees_with_the_kernel.options = {"timeout": 300}
test_every_prediction_by_tcp_info_agrees_with_the_kernel_too.options = {"timeout": 300}
