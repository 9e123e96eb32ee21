# SPDX-License-Identifier: MIT
"""Endings that poll() alone would get wrong, each compared with what the peer and the kernel's table
saw: fewer bytes than SO_RCVLOWAT, an urgent byte, an error queue, CLOSING, LAST_ACK. Each also runs
with `detail`, which asks the kernel for more."""
from harness import ADDRESS, kernel_sockets, settle

# Both ends; the program did not open the accepted one. Prints the client's port and how its close
# reached the peer: fin, reset, or "gone" if the peer had closed before.
SCRIPT = """
import select, socket, struct, sys

def wait(sock, events):
    poll = select.poll()
    poll.register(sock, events)
    assert poll.poll(10000), "nothing came"

def fill(sock):
    sock.setblocking(False)
    try:
        while sock.send(b"x" * 65536):
            pass
    except BlockingIOError:
        pass

def low_water(client, peer):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 100)
    peer.send(b"x" * 10)
    while len(client.recv(10, socket.MSG_PEEK | socket.MSG_DONTWAIT)) < 10:
        pass

def urgent(client, peer):
    peer.send(b"!", socket.MSG_OOB)
    wait(client, select.POLLPRI)

def urgent_then_fin(client, peer):
    urgent(client, peer)
    peer.shutdown(socket.SHUT_WR)
    wait(client, 0x2000)

def stamps(client, peer):  # SO_TIMESTAMPING of what is sent: into the error queue
    client.setsockopt(socket.SOL_SOCKET, 37, 1 << 1 | 1 << 4 | 1 << 8 | 1 << 9 | 1 << 11)
    client.send(b"x")
    peer.recv(1)
    wait(client, 0)

def stamps_half_close(client, peer):
    stamps(client, peer)
    client.shutdown(socket.SHUT_WR)
    assert not peer.recv(1)
    peer.close()
    wait(client, 0x2000)

def stamps_peer_first(client, peer):
    stamps(client, peer)
    peer.close()
    wait(client, 0x2000)
    client.shutdown(socket.SHUT_WR)

def last_ack_and_linger_0(client, peer):  # bytes and FIN wait for the peer to read
    fill(client)
    peer.shutdown(socket.SHUT_WR)
    wait(client, 0x2000)
    client.shutdown(socket.SHUT_WR)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

def closing(client, peer):  # our FIN waits behind what the peer does not read
    fill(client)
    client.shutdown(socket.SHUT_WR)
    peer.shutdown(socket.SHUT_WR)
    wait(client, 0x2000)

def closing_and_linger_0(client, peer):
    closing(client, peer)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

def what_came(peer):
    if peer.fileno() < 0:
        return "gone"
    try:
        while peer.recv(1 << 20):
            pass
        return "fin"
    except ConnectionResetError:
        return "reset"

listener = socket.create_server((sys.argv[1], 0))
client = socket.create_connection(listener.getsockname())
peer, _ = listener.accept()
peer.settimeout(10)
globals()[sys.argv[2]](client, peer)
print(client.getsockname()[1], end=" ")
client.close()
print(what_came(peer))
"""


def _row(case, ending, came, time_wait, detail):
    def test(t):
        options = ("-c", t.file("detail.conf", "detail = true;")) if detail else ()
        report = t.twshim_run("python3", "-c", SCRIPT, ADDRESS, case, options=options)
        port, seen = t.result.stdout.decode().split()
        settle(int(port))
        there = len(kernel_sockets(6, int(port), local=True))
        assert (seen, there) == (came, time_wait), (seen, there)
        t.counters(report, attempts=1, established=1, open=0, **{ending: 1})
    test.__name__ = f"test_{case}" + ("_in_detail" if detail else "")
    test.__module__ = __name__
    globals()[test.__name__] = test


for _case in (("low_water", "ended_reset_unread", "reset", 0),
              ("urgent", "ended_reset_unread", "reset", 0),
              ("urgent_then_fin", "ended_reset_unread", "reset", 0),
              ("stamps", "ended_local_fin", "fin", 1),
              ("stamps_half_close", "ended_local_fin", "gone", 1),
              ("stamps_peer_first", "ended_remote_fin", "gone", 0),
              ("closing", "ended_local_fin", "fin", 1),
              ("last_ack_and_linger_0", "ended_reset_app", "reset", 0),
              ("closing_and_linger_0", "ended_reset_app", "reset", 0)):
    _row(*_case, False)
    _row(*_case, True)
