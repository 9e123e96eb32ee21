# SPDX-License-Identifier: MIT
"""twshim serve: what it answers, refuses and survives. test_page.py tests its page."""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

from harness import ADDRESS, SERVE_PORT as PORT, settle, time_wait, wait_for

STEPS = ("socket", "connect", "send:1", "recv:1", "close")


def serve(t, *options, port=PORT, address="127.0.0.1"):
    """A server that answers."""
    process = t.start(t.twshim, "serve", *options, shim=False, stdout=subprocess.PIPE,
                      stderr=subprocess.PIPE)
    line = process.stdout.readline().decode()
    assert line.startswith("http://"), (line, process.stderr.read())
    return process


def ask(path, method="GET", headers=None, body=None, address="127.0.0.1"):
    """(status, headers, text)."""
    connection = http.client.HTTPConnection(address, PORT, timeout=30)
    connection.request(method, path, body=body, headers=headers or {})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, dict(response.getheaders()), text


def raw(data, wait=2):
    """The answer to these bytes."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=wait) as conn:
        got = b""
        try:
            conn.sendall(data)
            while True:
                more = conn.recv(65536)
                if not more:
                    return got
                got += more
        except OSError:
            return got


def test_each_resource_is_what_the_command_prints(t):
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:30")
    wait_for(lambda: time_wait(server.port) == 30, "TIME_WAIT")
    process = serve(t)
    report = json.loads(ask("/api/report")[2])
    assert report["schema"] == "twshim.report/1" and report["total"]["established"] == 30
    owners = json.loads(ask("/api/owners")[2])
    assert owners["schema"] == "twshim.owners/1" and owners["owned"] == 30
    assert json.loads(ask("/api/doctor")[2])["schema"] == "twshim.doctor/1"
    status, headers, text = ask("/metrics")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert re.search(r'twshim_connections_opened_total\{app="client",to="[^"]*"\} 30\n', text)
    status, headers, text = ask("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")
    status, headers, text = ask("/healthz")
    assert (status, text) == (200, "ok\n")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0 and process.stderr.read() == b""


# A killed process's connection ended when the kernel's timer says, to a millisecond or so.
PASSING = {"generated", "kernel", "oldest_leaves_s", "newest_leaves_s", "time_wait_leaving",
           "lifetime_seconds", "short_lived", "advice", "verdict",  # it counts our own requests too
           "command"}  # arguments are not served


def lasting(value):
    """The report without what changes from moment to moment."""
    if isinstance(value, dict):
        return {k: lasting(v) for k, v in value.items() if k not in PASSING}
    return [lasting(v) for v in value] if isinstance(value, list) else value


def ask_anew(path):
    """The text of a new answer: serve reuses an answer for half a second."""
    time.sleep(0.55)
    return ask(path)[2]


def same(t):
    """The answer of serve, which must be that of a command, which has read nothing before."""
    for _ in range(80):  # for a minute, rates may change with each second
        before = lasting(t.report())
        answer = t.read_report(ask_anew("/api/report"))
        if lasting(t.report()) == before:  # nothing has happened meanwhile
            assert lasting(answer) == before
            return answer["total"]
    raise AssertionError("it never stood still")


HEIR = """
import os, signal, socket, sys
c = socket.create_connection(("{}", {}))
c.send(b"x"), c.recv(1)
if os.fork():
    os.kill(os.getpid(), signal.SIGKILL)
sys.stdin.read()
c.close()
"""


def test_what_it_keeps_of_dead_processes_is_what_is_there(t):
    """It reads segments of dead processes once, and still notices every change of them."""
    server = t.server()
    client = (t.prog("client"), ADDRESS, str(server.port))
    serve(t)
    files = []  # in the order of their processes, which is not always that of the names

    def segments():
        return {entry.path for entry in os.scandir(t.dir) if entry.name.endswith(".seg")}

    def settled():
        """Waits until the connections are closed on both sides and the new file is known. Returns the
        answer."""
        settle(server.port)
        files.extend(segments().difference(files))
        return same(t)

    for number in (1, 2, 3):
        t.run(*client, *STEPS, f"repeat:{number}")
        assert settled()["ended_local_fin"] == number * (number + 1) // 2
        assert len(files) == number
    alive = t.start(*client, "socket", "connect", "send:1", "recv:1", "wait-hup")
    wait_for(lambda: t.report()["total"]["open"] == 1, "the connection")
    assert same(t)["open"] == 1
    alive.kill()
    alive.wait()
    total = settled()
    assert total["open"] == 0 and total["via_kill"] == 1
    heir = t.start(sys.executable, t.file("heir.py", HEIR.format(ADDRESS, server.port)),
                   stdin=subprocess.PIPE)
    heir.wait()
    assert same(t)["open"] == 1
    heir.stdin.close()
    wait_for(lambda: t.report()["total"]["open"] == 0, "the end of the inherited connection")
    assert settled()["established"] == 8 and len(files) == 5

    def copy(path):
        with open(path, "rb") as file, open(t.dir + "/copy", "wb") as to:
            to.write(file.read())
        return t.dir + "/copy"

    os.replace(copy(files[1]), files[0])
    assert same(t)["established"] == 8 - 1 + 2
    os.truncate(files[2], 5000)
    same(t)
    os.unlink(files[1])
    before = same(t)
    t.run(t.twshim, "policy", "load", "--dir", t.dir,
          t.file("one.conf", "max_segments = 1; retention_seconds = 1;"), shim=False)
    for number in range(1, 400):
        t.run(*client, *STEPS)
        if len(segments()) < number:
            break  # folded: one process in 64 does
    assert same(t)["established"] == before["established"] + number


def opened(text):
    """Connections that the metrics say were opened."""
    return sum(map(int, re.findall(r"^twshim_connections_opened_total{.*} (\d+)$", text, re.M)))


def test_what_it_has_shown_stands_when_its_file_is_lost(t):
    server = t.server()
    client = (t.prog("client"), ADDRESS, str(server.port), *STEPS)
    serve(t)
    t.run(*client, "repeat:500")
    assert opened(ask("/metrics")[2]) == 500
    for entry in list(os.scandir(t.dir)):
        if entry.name.endswith((".seg", ".state")):
            os.unlink(entry.path)
    t.run(*client, "repeat:5")
    assert opened(ask_anew("/metrics")) == 500
    t.run(*client, "repeat:7")
    assert opened(ask_anew("/metrics")) == 507


def test_what_it_cannot_save_is_told(t):
    process = serve(t, "--all-names")  # has the same state as export
    said = []
    for made in (False, True, True, False):
        path = os.path.join(t.dir, "metrics.state")
        if made and not os.path.isdir(path):
            os.unlink(path)
            os.mkdir(path)
        elif not made and os.path.isdir(path):
            os.rmdir(path)
        said.append(re.search(r"^twshim_metrics_state_saved (\d)$", ask_anew("/metrics"), re.M)[1])
        if made:
            warned = t.run(t.twshim, "export", shim=False).stderr
            assert b"metrics.state" in warned and b"may go back" in warned
    assert said == ["1", "0", "0", "1"]
    process.send_signal(signal.SIGTERM)
    assert process.stderr.read().count(b"may go back") == 1 and process.wait() == 0


def test_the_http_library_is_loaded_when_it_is_needed(t):
    """And with it the libraries that it needs; no other command loads them."""
    found = t.run(t.twshim, shim=False, env={"LD_TRACE_LOADED_OBJECTS": "1"}).stdout
    assert b"libmnl" in found and b"microhttpd" not in found
    process = serve(t)
    with open(f"/proc/{process.pid}/maps", encoding="utf-8") as file:
        library = re.search(r"/\S*/libmicrohttpd\.so\S*", file.read())[0]
    result = t.run("unshare", "-m", "sh", "-c",
                   f"mount --bind /dev/null {library} && exec {t.twshim} serve",
                   shim=False, status=1)
    assert b"install it" in result.stderr, result.stderr


def test_it_refuses_what_it_should(t):
    serve(t)
    assert ask("/nothing")[0] == 404 and ask("/../etc/passwd")[0] == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        status, headers, _ = ask("/api/report", method=method, body="x" * 1000)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert ask("/", headers={"Host": "evil.example"})[0] == 403
    assert ask("/metrics", headers={"Host": f"127.0.0.1.evil.example:{PORT}"})[0] == 403
    assert ask("/", headers={"Host": f"localhost:{PORT}"})[0] == 200
    status, _, text = ask("/", method="HEAD")
    assert (status, text) == (200, "")
    _, headers, _ = ask("/")
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff" and "Server" not in headers
    assert ask("/x" * 20000)[0] in (413, 414, 431)


def test_it_listens_where_it_is_told_and_says_where_it_cannot(t):
    serve(t, "--listen", f"{ADDRESS}:{PORT}")
    assert ask("/healthz", headers={"Host": "any.example"}, address=ADDRESS)[0] == 200
    result = t.run(t.twshim, "serve", "--listen", f"{ADDRESS}:{PORT}", shim=False, status=1)
    assert b"Address already in use" in result.stderr
    t.run(t.twshim, "serve", "--listen", "nowhere", shim=False, status=2)
    t.run(t.twshim, "serve", "operand", shim=False, status=2)


def test_hostile_and_slow_clients_do_not_keep_others_out(t):
    process = serve(t)
    for data in (b"\0" * 5000, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 100000,
                 b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                 b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10000 + b"\r\n",
                 b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n",
                 b"GET /%00%ff HTTP/1.1\r\nHost: localhost\r\n\r\n",
                 b"\xff\xfe GET / HTTP/1.1\r\n\r\n"):
        raw(data, 1)
    slow = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(40)]
    for one in slow:
        one.sendall(b"GET / HT")
    for _ in range(10):
        assert ask("/healthz")[0] == 200
    unread = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(10)]
    for one in unread:
        one.sendall(b"GET /chart.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
    assert ask("/metrics")[0] == 200
    for one in slow + unread:
        one.close()
    assert process.poll() is None


def test_a_thousand_connections_keep_nobody_out(t):
    """Some clients send nothing, some half a request, some never read. The server's descriptors and
    memory stay bounded, and other clients get their answers."""
    process = serve(t)
    assert ask("/metrics")[0] == 200
    before = resident_kb(process.pid)
    says = (b"", b"GET / HT", b"GET /chart.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
    crowd = []
    for i in range(1000):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", PORT))
        crowd.append(one)
        try:
            one.send(says[i % 3])
        except OSError:
            pass  # not connected yet, so there is no answer
        if i % 100 == 99:
            wait_for(lambda: answers("/healthz"), f"an answer beside {i + 1} connections")
            assert len(os.listdir(f"/proc/{process.pid}/fd")) < 100
    assert resident_kb(process.pid) < before + 8192
    for one in crowd:
        one.close()
    wait_for(lambda: answers("/metrics"), "an answer when all are gone")
    assert process.poll() is None


def answers(path):
    """Whether a request gets an answer now."""
    try:
        return ask(path)[0] == 200
    except OSError:
        return False
    except http.client.HTTPException:
        return False


def test_a_half_closed_client_is_answered_and_requests_in_a_row_are_too(t):
    serve(t)
    with socket.create_connection(("127.0.0.1", PORT), timeout=30) as conn:
        conn.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3 + b"\0garbage\r\n\r\n")
        conn.shutdown(socket.SHUT_WR)
        got = b""
        while more := conn.recv(65536):
            got += more
    assert got.count(b"HTTP/1.1 200 OK") == got.count(b"\r\n\r\nok\n") == 3, got


def test_who_drips_is_shut_out(t):
    """A byte now and then does not keep a connection for ever."""
    serve(t)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", PORT)) as conn:
        conn.settimeout(1)
        conn.sendall(b"GET / HTTP/1.1\r\nX: ")
        while time.monotonic() - began < 60:
            try:
                conn.sendall(b"y")
                if conn.recv(1000) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    assert 25 < time.monotonic() - began < 50


test_who_drips_is_shut_out.options = {"slow": True}


def cpu_ms(pid):
    """CPU time of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kb(pid):
    """Its resident memory."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])


def idles(pid):
    """Whether it used one clock tick of the processor at most during three seconds."""
    before = cpu_ms(pid)
    time.sleep(3)
    return cpu_ms(pid) - before <= 10


def test_it_does_nothing_while_nobody_asks_and_does_not_grow(t):
    server = t.server()
    t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, "repeat:30")
    process = serve(t)
    for _ in range(20):
        ask("/metrics")
        ask("/api/report")
    memory = resident_kb(process.pid)
    wait_for(lambda: idles(process.pid), "it has done what it was asked")
    for _ in range(8):
        ask_anew("/metrics")
        ask("/api/doctor")
    assert resident_kb(process.pid) < memory + 4096


