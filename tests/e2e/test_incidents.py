# SPDX-License-Identifier: MIT
"""Seven incidents, from the first look to the cure: at most three commands each, and each but the first is
copied from what twshim printed."""
import os
import re
import subprocess
import sys

from harness import ADDRESS, Skip, settle, sysctl, time_wait, time_wait_left, wait_for
from test_cold import NOBODY, need_bpf
from test_cures import STAYS, shell
from test_own_words import nginx

STEPS = ("socket", "connect", "send:1", "recv", "close")


class Incident:
    """What somebody on call types; no more than three commands."""

    def __init__(self, t):
        self.test = t
        self.typed = []

    def types(self, command, **options):
        """Types it into a shell: all that it prints, its wrapped lines as they are."""
        self.typed.append(command)
        assert len(self.typed) <= 3, self.typed
        result = shell(self.test, "dash", command, **options)
        return result.stdout.decode() + result.stderr.decode()

    @staticmethod
    def printed(text, part):
        """The command that was printed below a line that contains `part`."""
        found = re.findall(rf"^[^\n]*{part}[^\n]*(?:\n {{12}}\S[^\n]*)*\n {{4,14}}((?:twshim|eval|sysctl) [^\n]*)$",
                           text, re.M)
        assert found, (part, text)
        return found[0]


def verdict(text):
    """The first paragraph, its lines joined."""
    return " ".join(text.split("\n\n")[0].split())


def left(server):
    """TIME_WAIT sockets to the server, once all connections are closed."""
    return time_wait_left(server.port)


def drop_time_wait():
    """As if a minute had passed."""
    subprocess.run(["ss", "-K", "state", "time-wait"], check=False, capture_output=True)
    if time_wait():
        raise Skip("the kernel cannot drop TIME_WAIT sockets (ss -K)")


def test_a_storm_of_cron_is_found_and_cured(t):
    need_bpf(t)
    t.need("curl")
    server, call = t.server("http"), Incident(t)
    loop = t.file("cron.sh", f'for i in $(seq "${{1:-100000}}"); do curl -s -o /dev/null http://{server.to}/; done\n')
    storm = t.start("bash", loop, shim=False)
    wait_for(lambda: time_wait(server.port) > 25, "it storms")
    text = call.types("twshim doctor")
    assert "a new process each time, started by" in " ".join(text.split()), text
    start = call.printed(text, "To last, start it by")
    assert start.startswith("twshim run ") and start.endswith(f"-- bash {loop}"), start
    storm.kill()
    storm.wait()
    settle(server.port)
    drop_time_wait()
    text = call.types(start + " 30")  # the job, of which there is an end
    if " -p '" not in start:  # it was not counted yet, so the finding had no rule
        again = call.printed(text, "the same under the rule")
        drop_time_wait()
        text = call.types(again)
    assert left(server) == 0, text


def test_node_and_java_behind_nginx(t):
    """nginx opens a connection for each request; the cure is in its own words."""
    t.need("nginx", "node", "java", "curl")
    call = Incident(t)
    node = t.start("node", "-e", "require('http').createServer((q, a) => a.end('hi')).listen(17081, '" + ADDRESS +
                   "', () => console.log('listens'))", shim=False, stdout=subprocess.PIPE)
    assert node.stdout.readline()
    java = t.start("java", t.file("Serve.java", """
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
public class Serve {
    public static void main(String[] argv) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress(argv[0], 17082), 0);
        server.createContext("/", x -> { x.sendResponseHeaders(200, 2); x.getResponseBody().write("hi".getBytes()); x.close(); });
        server.start();
        System.out.println("listens");
    }
}
"""), ADDRESS, shim=False, stdout=subprocess.PIPE)
    assert java.stdout.readline()

    def proxy(name, before, inside):
        path = t.file(name, nginx(t, before, inside).replace(
            "location /", f"location /java {{ proxy_pass http://{ADDRESS}:17082; }} location /"))
        process = t.start("nginx", "-c", path, cwd=t.scratch, stderr=subprocess.DEVNULL)
        wait_for(lambda: t.run("curl", "-sf", "http://127.0.0.1:16080/", shim=False, status=None).returncode == 0,
                 "nginx answers")
        for _ in range(30):
            for target in ("", "java"):
                t.run("curl", "-sf", f"http://127.0.0.1:16080/{target}", shim=False)
        return process

    process = proxy("bad.conf", "", f"proxy_pass http://{ADDRESS}:17081;")
    text = call.types("twshim doctor --sample 0")
    assert f"nginx to {ADDRESS}:17081" in text and f"nginx to {ADDRESS}:17082" in text, text
    assert "upstream kept {" in text and "in the nginx configuration" in text, text
    lines = re.search(r"\n {14}(upstream kept \{(?:\n {14}[^\n]*)*)", text)[1].replace("\n" + 14 * " ", "\n")
    upstream, _, inside = lines.partition("\n# in each location that passes requests there:\n")
    process.terminate()
    process.wait()
    drop_time_wait()
    for name in os.listdir(t.dir):
        if name.endswith(".seg"):
            os.unlink(os.path.join(t.dir, name))
    proxy("good.conf", re.sub(r"server [^;]*;", f"server {ADDRESS}:17081;", upstream), inside)
    text = call.types("twshim doctor --sample 0")
    assert f"client closes first: nginx to {ADDRESS}:17081" not in text, text
    assert time_wait(17081) == 0, time_wait(17081)


def test_sockets_of_other_programs_fill_the_ports(t):
    """A tenth of the ports and of the 25,000 sockets of the incident, so that a busy machine makes them
    within their minute."""
    sysctl("net.ipv4.ip_local_port_range", "32768 35591")
    server, call = t.server(), Incident(t)
    command = f"{t.prog('client')} {ADDRESS} {server.port} {' '.join(STEPS)}"
    t.run("sh", "-c", f"{command} repeat:2500", shim=False)
    text = call.types("twshim doctor --sample 0")
    assert re.match(rf"(Ports to {server.to} run out in|8[89] % of the ports to {server.to} are in use)", verdict(text)), text
    assert "programs not running under twshim hold 100 %" in verdict(text), text
    start = call.printed(text, "in the script or shell that starts it")
    before = left(server)
    call.types(f"{start}; {command} repeat:200")
    assert left(server) <= before, "the cure leaves no more"


GO = """package main
import ("io"; "net/http"; "os")
func main() {
	%s
	for i := 0; i < 40; i++ {
		answer, err := client.Get(os.Args[1])
		if err == nil { io.Copy(io.Discard, answer.Body); answer.Body.Close() }
	}
}
"""


def test_a_go_client(t):
    need_bpf(t)
    t.need("go")
    server, call = t.server("http11"), Incident(t)

    def built(name, lines):
        program = os.path.join(t.scratch, name)
        t.run("go", "build", "-o", program, t.file(name + ".go", GO % lines), shim=False, timeout=200,
              env={"GOCACHE": os.path.join(t.scratch, "gocache"), "GOFLAGS": "-mod=mod", "GO111MODULE": "off"})
        return program
    bad = built("shop", "client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}")
    text = call.types(f"twshim run -- {bad} http://{server.to}/")
    assert server.counts["accepted"] == 40 and call.printed(text, "the cure of each finding") == "twshim doctor", text
    # A look through the kernel would also count the programs of other tests, in their namespaces.
    text = call.types("twshim doctor --sample 0")
    assert "MaxIdleConnsPerHost" in text, text
    lines = re.search(r"\n {14}(transport := (?:[^\n]*\n {14})*[^\n]*)", text)[1].replace("\n" + 14 * " ", "\n")
    good = built("shop2", lines)
    call.types(f"twshim run -- {good} http://{server.to}/")
    assert server.counts["accepted"] == 41


def test_from_an_experiment_to_a_sentence(t):
    server, call = t.server(), Incident(t)
    script = t.file("job.sh", f"for i in $(seq 60); do {t.prog('client')} {ADDRESS} {server.port} {' '.join(STEPS)}; done\n")
    text = call.types(f"twshim run -- sh {script}")
    experiment = call.printed(text, "half with the rule and half without")
    text = call.types(experiment)
    assert re.search(r'Of 60 connections, \d+ were "treated": TIME_WAIT left by 100 % -> 0 % ',
                     " ".join(text.split())), text


def test_a_container_with_a_network_namespace_of_its_own(t):
    """The host's doctor looks into it by the pid."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    call = Incident(t)
    echo = t.file("echo.py", """
import socket, threading
listener = socket.create_server(("10.77.0.9", 16379))
def serve(c):
    while c.recv(9):
        c.sendall(b"k")
    c.close()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
""")
    stays = t.file("stays.py", STAYS)
    process = t.start("unshare", "-n", "sh", "-c",
                      "ip link set lo up; ip address add 10.77.0.9/32 dev lo; "
                      f"{sys.executable} {echo} & sleep 1; exec {sys.executable} {stays} 10.77.0.9 16379 40",
                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline()
    text = call.types(f"twshim doctor {process.pid}")
    assert "client closes first" in text and "10.77.0.9:16379" in text, text
    call.types(call.printed(text, "Now, in running processes"))
    subprocess.run(["nsenter", "-t", str(process.pid), "-n", "ss", "-K", "state", "time-wait"], check=False,
                   capture_output=True)
    process.stdin.write(b"\n")
    process.stdin.flush()
    assert process.stdout.readline()
    text = call.types(f"twshim doctor {process.pid}")
    assert "client closes first" not in text and "nothing is wrong with it" in verdict(text), text


def test_an_ordinary_user_on_a_shared_host(t):
    """Sees what is theirs, learns what is not, and cures their own without root."""
    if os.geteuid() != 0:
        raise Skip("needs root, to become another user")
    server, others, call = t.server(), t.server(), Incident(t)
    t.run(t.prog("client"), ADDRESS, str(others.port), *STEPS, "repeat:40", shim=False)
    os.chmod(t.scratch, 0o755)
    mine = os.path.join(t.scratch, "mine")
    os.mkdir(mine)
    os.chown(mine, 65534, 65534)

    def as_nobody(command):
        call.typed.append(command)
        assert len(call.typed) <= 3
        path = f"{os.path.dirname(t.twshim)}:{os.environ['PATH']}"
        result = t.run(*NOBODY, "dash", "-c", command, shim=False, status=None,
                       env={"PATH": path, "TWSHIM_DIR": ""}, cwd=mine)
        return result.stdout.decode() + result.stderr.decode()
    text = as_nobody(f"twshim run -- {t.prog('client')} {ADDRESS} {server.port} {' '.join(STEPS)} repeat:40")
    again = call.printed(text, "the same under the rule")
    assert call.printed(text, "the programs behind the other") == "twshim owners", text
    drop_time_wait()
    as_nobody(again)
    assert left(server) == 0
    text = as_nobody("twshim owners --sample 0")
    assert "from programs not running under twshim (or of users that you can't read)" in " ".join(text.split()), text


# BPF sees what all programs of the host do, so also other tests, which use the same addresses.
for alone in (test_a_storm_of_cron_is_found_and_cured, test_sockets_of_other_programs_fill_the_ports,
              test_a_go_client):
    alone.options = {"alone": True}
