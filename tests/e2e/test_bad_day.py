# SPDX-License-Identifier: MIT
"""What happens to a program under the shim when its package is removed or replaced, and when old and
new versions meet: the program lives on."""
import json
import os
import shutil
import struct
import subprocess

from harness import ADDRESS

CLIENT = """
import socket, subprocess, sys
for _ in sys.stdin:
    one = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    one.close()
    child = subprocess.run(["/bin/echo", "child"], capture_output=True, check=True)
    print(child.stdout.decode().strip(), flush=True)
"""
ABI_MAJOR, ABI_MINOR = 12, 14  # places in the header


class Client:
    """A program that connects, and starts a child, whenever it is asked to."""

    def __init__(self, t):
        self.library = shutil.copy(t.library, os.path.join(t.scratch, "libtwshim.so"))
        self.t, self.server = t, t.server()
        script = t.file("client.py", CLIENT)
        self.process = t.start("/usr/bin/python3", script, ADDRESS, str(self.server.port), shim=False,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={"LD_PRELOAD": self.library})
        self.connected = 0

    def connect(self):
        """One connection and one child, which work as ever."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == b"child\n"
        self.connected += 1

    def end(self):
        """It ends as it does without the shim."""
        self.process.stdin.close()
        assert self.process.wait() == 0, self.process.stderr.read()

    def is_counted(self):
        """By the command of now."""
        report = self.t.run(self.t.twshim, "report", "--json", shim=False).stdout
        return json.loads(report)["total"]["established"] == self.connected


def test_a_program_whose_library_is_removed_lives_on_and_so_do_its_children(t):
    """As in the purge of the package: the loader of each new child leaves out what is gone."""
    client = Client(t)
    client.connect()
    os.unlink(client.library)
    client.connect()
    assert client.is_counted()
    client.end()


def test_a_program_whose_library_is_replaced_keeps_the_one_it_has(t):
    """As package managers do it: by a new file in the place of the old one."""
    client = Client(t)
    client.connect()
    new = shutil.copy(t.library, client.library + ".new")
    os.rename(new, client.library)
    client.connect()
    assert client.is_counted()
    client.end()


def test_a_segment_of_a_newer_minor_version_is_read_and_one_of_another_major_is_named(t):
    """A program that was started before a downgrade, or before an upgrade to another ABI."""
    client = Client(t)
    client.connect()
    segment, = [os.path.join(t.dir, name) for name in os.listdir(t.dir) if name.endswith(".seg")]
    with open(segment, "r+b") as file:
        file.seek(ABI_MAJOR)
        major, minor = struct.unpack("HH", file.read(4))
        for at, value in ((ABI_MINOR, minor + 1), (ABI_MINOR, 0)):
            file.seek(at)
            file.write(struct.pack("H", value))
            file.flush()
            client.connect()
            assert client.is_counted()
        file.seek(ABI_MAJOR)
        file.write(struct.pack("HH", major + 1, minor))
    client.connect()
    result = t.run(t.twshim, "report", shim=False)
    text = (result.stdout + result.stderr).decode()
    assert os.path.basename(segment) in text and "version" in text, text
    client.end()
