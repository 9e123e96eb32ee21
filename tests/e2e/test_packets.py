# SPDX-License-Identifier: MIT
"""What goes over the wire, captured on both ends of the link: observing changes no packet, and each
way to close sends what docs/policy.md says."""
import os
import re
import select
import socket
import struct

from harness import ADDRESS, SOURCE, Skip, settle

FIN, SYN, RST, PUSH, ACK = 1, 2, 4, 8, 16
OUTGOING = 4  # sll_pkttype: the other copy of a packet on lo is the one that arrives
OPEN = ("socket", "connect", "send:1", "recv")
ECHOED = ["> S", "< S.", "> .1", "< .1"]  # connect(), and one byte each way; without "> ."
ROUNDS, BARE_ROUNDS = 5, 500


class Capture:
    """The TCP packets of a server's port in this namespace, in the order of the wire."""

    def __init__(self, port):
        if os.geteuid() != 0:
            raise Skip("AF_PACKET needs root")
        self.port = port
        # Of all protocols: only such a socket is given what goes out.
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind(("lo", 3))

    def packets(self):
        """(sent, arrived): lists of (to the server, flags, bytes of data), since the last time."""
        sides = [], []
        while select.select([self.socket], [], [], 0)[0]:
            data, where = self.socket.recvfrom(65536)
            if where[1] != 0x0800 or data[9] != socket.IPPROTO_TCP:
                continue
            head = (data[0] & 15) * 4
            source, to = struct.unpack_from("!HH", data, head)
            if self.port in (source, to):
                length = struct.unpack_from("!H", data, 2)[0] - head - (data[head + 12] >> 4) * 4
                sides[where[2] != OUTGOING].append((to == self.port, data[head + 13], length))
        return sides


def words(packets, acks=True):
    """"> S", "< S.", "> .1", "> F.", "> R": direction, flags, bytes. Without `acks`, what only
    acknowledges is left out: whether it goes along with other packets is a matter of time."""
    said = []
    for outward, flags, length in packets:
        marks = "".join(m for bit, m in ((SYN, "S"), (FIN, "F"), (RST, "R"), (ACK, ".")) if flags & bit)
        if acks or marks != "." or length:
            said.append(f"{'>' if outward else '<'} {marks}{length or ''}")
    return said


def merged(said):
    """The same without each acknowledgement that the next packet repeats: whether it travels alone or
    with that packet depends on when its sender gets a core."""
    return tuple(w for w, after in zip(said, (*said[1:], "")) if w not in ("> .", "< .") or after[:1] != w[0])


def exchange(t, capture, server, steps, shim=True, rule=None):
    """The packets of one client: bare, observed, or under a policy."""
    before = (t.twshim, "run", "-q", "-p", f"{rule},to={server.to}", "--") if rule else ()
    capture.packets()
    t.run(*before, t.prog("client"), ADDRESS, str(server.port), *steps, shim=shim and not rule,
          status=None)
    settle(server.port)
    sent, arrived = capture.packets()
    assert sent == arrived, (sent, arrived)
    return sent


# How clients open and close: name, mode of the server, steps.
WAYS = (
    ("close", "echo", (*OPEN, "close")),
    ("close, nothing sent", "echo", ("socket", "connect", "close")),
    ("exit", "echo", (*OPEN, "exit:0")),
    ("killed", "echo", (*OPEN, "kill")),
    ("shutdown, then close", "echo", (*OPEN, "shutdown:wr", "wait-hup", "close")),
    ("the server first", "first", (*OPEN, "wait-hup", "close")),
    ("the server resets", "reset", (*OPEN, "wait-hup", "close")),
    ("unread data", "unread", ("socket", "connect", "wait-readable", "close")),
    ("its own reset", "echo", (*OPEN, "linger:0", "close")),
    ("its own linger", "echo", (*OPEN, "linger:2", "close")),
    ("two descriptors", "echo", (*OPEN, "dup", "close", "close-d")),
    ("beside a child", "echo", (*OPEN, "fork-close", "close")),
    ("dup2 over it", "echo", (*OPEN, "dup2-over")),
    ("close_range", "echo", (*OPEN, "close-range")),
    ("by number", "echo", ("socket", "connect-syscall", "send:1", "recv", "close-syscall")),
    ("non-blocking", "echo", ("socket", "nonblock", "connect-poll", "send:1", "wait-readable", "recv",
                              "close")),
    ("bound before", "echo", ("socket", "bind", "connect", "send:1", "recv", "close")),
    ("dissolved", "echo", (*OPEN, "unspec", "close")),
)


def test_observing_changes_no_packet(t):
    """Direction, flags, lengths and order: each sequence that the shim leaves must be seen without it
    too, which for a rare one takes a while."""
    for name, mode, steps in WAYS:
        server = t.server(mode)
        capture = Capture(server.port)
        observed = {merged(words(exchange(t, capture, server, steps))) for _ in range(ROUNDS)}
        bare = set()
        for _ in range(BARE_ROUNDS):
            bare.add(merged(words(exchange(t, capture, server, steps, shim=False))))
            if observed <= bare:
                break
        assert observed <= bare, (name, observed, bare)


def documented():
    """{close: the packets that end the connection}, from the table "On the wire" in docs/policy.md;
    acknowledgements are left out there."""
    with open(os.path.join(SOURCE, "docs/policy.md"), encoding="utf-8") as file:
        table = file.read().split("### On the wire\n")[1].split("\n\n")[1]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    return {close: re.findall(r"`([<>] \w+)`", packets)
            for closes, packets in rows for close in re.findall(r"`([\w-]+)`", closes)}


def endings(packets):
    """"> FIN", "> RST": the packets that close, in the order of the wire."""
    said = words(packets, acks=False)
    assert said[:4] == ECHOED, said
    return [w[:2] + {"F": "FIN", "R": "RST"}[w[2]] for w in said[4:]]


def test_each_way_to_close_sends_what_its_document_says(t):
    server = t.server()
    capture = Capture(server.port)
    table = documented()
    assert set(table) == {"keep", "graceful", "linger", "fin-reset", "reset-drained", "reset"}
    for close, expected in table.items():
        rule = f"close={close}" + (",linger_seconds=1" if close == "linger" else "")
        steps = (*OPEN, "linger:0", "close") if close == "graceful" else (*OPEN, "close")
        found = endings(exchange(t, capture, server, steps, rule=rule))
        if close == "fin-reset" and "< FIN" in found:
            found.remove("< FIN")  # of a server that was quick
        assert found == expected, (close, found)
        dry = endings(exchange(t, capture, server, steps, rule=rule + ",dry_run=true"))
        bare = endings(exchange(t, capture, server, steps, shim=False))
        assert dry == bare, (close, dry, bare)


def test_no_way_to_close_sends_another_packet_where_the_peer_closed_first(t):
    server = t.server("first")
    capture = Capture(server.port)
    for close in documented():
        rule = f"close={close}" + (",linger_seconds=1" if close == "linger" else "")
        found = endings(exchange(t, capture, server, (*OPEN, "wait-hup", "close"), rule=rule))
        assert found == ["< FIN", "> FIN"], (close, found)


def test_only_a_reset_without_condition_is_sent_before_data_in_flight(t):
    """The peer's window is full; what it was not sent comes before a FIN, and never after a reset."""
    for close, last in (("reset-drained", "FIN"), ("reset", "RST")):
        server = t.server("slow")
        capture = Capture(server.port)
        client = t.start(t.twshim, "run", "-q", "-p", f"close={close},to={server.to}", "--",
                         t.prog("client"), ADDRESS, str(server.port), "socket", "nonblock", "connect-poll",
                         "send:200000", "close", shim=False)
        assert client.wait(30) == 0
        server.drain()
        settle(server.port)
        sent, _ = capture.packets()
        said = [w for w in words(sent, acks=False) if w[0] == ">"]
        data = sum(length for outward, _, length in sent if outward)
        assert ("F" if last == "FIN" else "R") in said[-1], said[-3:]
        assert (data >= server.counts["bytes"] > 0) and (close == "reset" or data > 4096), (data, server.counts)
