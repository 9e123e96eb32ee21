# SPDX-License-Identifier: MIT
"""The clients of `make chaos`: unmodified programs of several languages. Each opens a number of
connections, one after another, to our server and prints how many answers it got."""
import os
import shutil
import sys

COUNT = 30

PYTHON = """
import socket, sys, time
got = 0
for _ in range(int(sys.argv[3])):
    with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as c:
        c.sendall(b"x")
        got += len(c.recv(1))
    time.sleep(float(sys.argv[4]))
print(got)
"""
PERL = """
use IO::Socket::INET;
my ($address, $port, $count) = @ARGV;
my $got = 0;
for (1 .. $count) {
    my $c = IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port) or die "connect: $!";
    syswrite($c, "x");
    $got += sysread($c, my $answer, 1);
    close($c);
}
print "$got\\n";
"""
RUBY = """
require "socket"
got = 0
ARGV[2].to_i.times do
  c = TCPSocket.new(ARGV[0], ARGV[1].to_i)
  c.write("x")
  got += c.readpartial(1).size
  c.close
end
puts got
"""
PHP = """<?php
$got = 0;
for ($i = 0; $i < $argv[3]; $i++) {
    $c = stream_socket_client("tcp://$argv[1]:$argv[2]");
    fwrite($c, "x");
    $got += strlen(fread($c, 1));
    fclose($c);
}
echo "$got\\n";
"""
NODE = """
const net = require("net");
const [address, port, count] = process.argv.slice(2);
let got = 0;
function next(left) {
  if (!left) { console.log(got); return; }
  const c = net.connect(+port, address, () => c.write("x"));
  c.on("data", (d) => { got += d.length; c.end(); });
  c.on("close", () => next(left - 1));
}
next(+count);
"""
BASH = """
got=0
for ((i = 0; i < $3; i++)); do
    exec 5<>"/dev/tcp/$1/$2"
    printf 'x\\n' >&5
    read -r -u 5 answer && got=$((got + ${#answer}))
    exec 5>&-
done
echo "$got"
"""
# Threads, forks beside live connections, and an exit without close.
MIXED = """
import os, socket, subprocess, sys, threading
to, count, got = (sys.argv[1], int(sys.argv[2])), int(sys.argv[3]), []
def work():
    for _ in range(count // 3):
        with socket.create_connection(to) as c:
            c.sendall(b"x")
            got.append(len(c.recv(1)))
            subprocess.run(["true"])
threads = [threading.Thread(target=work) for _ in range(3)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sum(got), flush=True)
os._exit(0)
"""


class Client:
    """A program. `command(test, server)` starts it. `whole`: its output depends only on what
    it did, and is compared byte by byte. `paced`: it sleeps between its connections."""

    def __init__(self, name, program, command, mode="echo", whole=True, paced=False):
        self.name = name
        self.program = program
        self.command = command
        self.mode = mode
        self.whole = whole
        self.paced = paced

    def is_here(self):
        """Whether the program is installed."""
        return shutil.which(self.program) is not None


def _script(name, program, text, *more, **options):
    def command(test, server):
        path = os.path.join(test.scratch, "chaos-" + name)
        if not os.path.exists(path):  # others may be reading it
            test.file("chaos-" + name, text)
        return [program, path, server.address, str(server.port), str(COUNT), *more]
    return Client(name, program, command, **options)


def _c(test, server, *steps):
    return [test.prog("client"), server.address, str(server.port), "socket", "connect", "send:1",
            "recv", "close", *steps, f"repeat:{COUNT}"]


CLIENTS = (
    Client("c", "true", _c, whole=False),
    Client("c, paced", "true", lambda t, s: _c(t, s, "sleep:15"), whole=False, paced=True),
    _script("python", sys.executable, PYTHON, "0"),
    _script("python, paced", sys.executable, PYTHON, "0.015", paced=True),
    _script("python, threads and children", sys.executable, MIXED),
    _script("perl", "perl", PERL),
    _script("ruby", "ruby", RUBY),
    _script("php", "php", PHP),
    _script("node", "node", NODE),
    _script("bash", "bash", BASH),
    Client("curl", "curl", lambda t, s: ["curl", "-s", f"http://{s.to}/[1-{COUNT}]"], "http"),
    Client("ab", "ab", lambda t, s: ["ab", "-q", "-n", str(COUNT), "-c", "2", f"http://{s.to}/"],
           "http-close", whole=False),
    Client("redis-benchmark", "redis-benchmark",
           lambda t, s: ["redis-benchmark", "-h", s.address, "-p", str(s.port), "-n", str(COUNT),
                         "-c", "2", "-k", "0", "-t", "set", "-q"], "redis", whole=False),
)
