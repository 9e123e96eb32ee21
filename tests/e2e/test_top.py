# SPDX-License-Identifier: MIT
"""twshim top in batch mode and on a real terminal (tmux): modes, order, filter, drilling down,
resizing, no colour, and its cost."""
import json
import os
import re
import subprocess
import tempfile
import time

from harness import ADDRESS, skip_under_thread_sanitizer, sysctl, time_wait, wait_for

STEPS = ("socket", "connect", "send:1", "recv:1", "close")


class Screen:
    """top in a tmux of its own."""

    def __init__(self, t, *options, columns=80, lines=24, term="screen"):
        t.need("tmux")
        self.t, self.socket = t, tempfile.mktemp(dir=t.scratch)
        command = f"TERM={term} {t.twshim} top {' '.join(options)}; echo status $?; sleep 60"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(lines),
                  command)

    def tmux(self, *arguments):
        """Sends a command to tmux."""
        return self.t.run("tmux", "-u", "-S", self.socket, *arguments, shim=False,
                          env={"LC_ALL": "C.UTF-8"}).stdout.decode()

    def text(self):
        """The text on the screen."""
        return self.tmux("capture-pane", "-p")

    def styled(self):
        """The same, with escape sequences."""
        return self.tmux("capture-pane", "-p", "-e")

    def press(self, *keys):
        """Types."""
        self.tmux("send-keys", *keys)

    def shows(self, *what, seconds=10):
        """Waits until all of it is on the screen."""
        try:
            wait_for(lambda: all(w in self.text() for w in what), what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()}") from None
        return self.text()

    def close(self):
        """Ends it."""
        self.tmux("kill-server")


def traffic(t):
    """Two applications, two destinations; the servers."""
    server, first = t.server(), t.server("first")
    t.run("cp", t.prog("client"), t.scratch + "/alpha", shim=False)
    t.run("cp", t.prog("client"), t.scratch + "/beta", shim=False)
    t.run(t.scratch + "/alpha", ADDRESS, str(server.port), *STEPS, "repeat:30")
    t.run(t.scratch + "/beta", ADDRESS, str(first.port), *STEPS[:4], "wait-hup", "close",
          "repeat:50")
    wait_for(lambda: time_wait(server.port) == 30, "TIME_WAIT")
    return server, first


def test_a_batch_is_what_is_known(t):
    server, first = traffic(t)
    text = t.run(t.twshim, "top", "--batch", "-n", "1", shim=False).stdout.decode()
    lines = text.splitlines()
    assert "30 owned" in lines[0] and lines[1].split()[0] == "APPLICATION"
    assert lines[2].startswith("alpha (gone)") and lines[3].startswith("beta (gone)")
    said = [json.loads(l) for l in t.run(
        t.twshim, "top", "--batch", "--json", "-n", "3", "-d", "0.2", "--by", "destination",
        "--sort", "opened", shim=False).stdout.splitlines()]
    assert len(said) == 3 and said[0]["schema"] == "twshim.top/1"
    rows = said[2]["rows"]
    assert [(r["to"], r["opened"], r["time_wait"]) for r in rows] == \
        [(first.to, 50, 0), (server.to, 30, 30)]
    assert said[0]["rows"][0]["rate"] is None and rows[0]["rate"] == 0


def test_rates_are_of_what_happened_since(t):
    server = t.server()
    t.start(t.prog("client"), ADDRESS, str(server.port), *STEPS, "sleep:10", "repeat:100000")
    wait_for(lambda: server.counts["accepted"] > 5, "it runs")
    before, began = server.counts["accepted"], time.monotonic()
    said = [json.loads(l) for l in t.run(t.twshim, "top", "--batch", "--json", "-n", "3", "--by",
                                         "process", shim=False).stdout.splitlines()]
    rate = (server.counts["accepted"] - before) / (time.monotonic() - began)
    assert abs(said[2]["rows"][0]["rate"] - rate) < 0.5 * rate, (said[2], rate)


def test_keys_change_the_view(t):
    server, first = traffic(t)
    screen = Screen(t)
    text = screen.shows("alpha", "beta", "by application", "30 owned")
    assert text.index("alpha") < text.index("beta")
    screen.press("s", "s", "s")
    text = screen.shows("order opened")
    assert text.index("beta") < text.index("alpha")
    screen.press("d")
    screen.shows(server.to, first.to, "by destination")
    screen.press("/", "a", "l", "p", "Enter")
    text = screen.shows("only /alp")
    assert first.to not in text and server.to in text
    screen.press("/", "Escape")
    screen.shows(first.to)
    screen.press("a")
    screen.shows("by application")
    screen.press("Enter")
    text = screen.shows("beta by destination", first.to)
    assert server.to not in text
    screen.press("Escape")
    screen.shows("all by application")
    screen.press("p")
    screen.shows("PID", "by process")
    screen.press("h")
    screen.shows("next order")
    screen.press("x", "Space")
    screen.shows("[paused]")
    screen.press("q")
    screen.shows("status 0")
    screen.close()


def test_enter_shows_all_of_a_process_or_destination(t):
    _, first = traffic(t)
    screen = Screen(t, "--by", "process", "--sort", "opened")
    screen.shows("alpha", "beta", "PID")
    screen.press("Enter")
    text = screen.shows("ended_remote_fin", "via_close", t.scratch + "/beta")
    assert re.search(r"ended_remote_fin +50 +the peer closed first", text), text
    assert "alpha" not in text and "ended_local_fin" not in text, text
    screen.press("Escape")
    text = screen.shows("alpha", "beta")
    assert "via_close" not in text
    screen.press("Down", "Enter")
    text = screen.shows("ended_local_fin", t.scratch + "/alpha")
    assert re.search(r"ended_local_fin +30 ", text), text
    screen.press("d")
    screen.shows("alpha", "beta", "TO")
    screen.press("Enter")
    assert "alpha" not in screen.shows("ended_remote_fin", first.to)
    screen.press("q")
    screen.shows("status 0")


def test_full_ports_are_yellow_and_red_where_colour_is_wanted(t):
    sysctl("net.ipv4.ip_local_port_range", "20000 20099")
    half, full = t.server(), t.server()
    for server, number in ((half, 60), (full, 90)):
        t.run(t.prog("client"), ADDRESS, str(server.port), *STEPS, f"repeat:{number}")
    t.run(t.prog("client"), ADDRESS, str(t.server("first").port), *STEPS[:4], "wait-hup", "close",
          "repeat:100")

    def colours(*options, **more):
        screen = Screen(t, "--by", "destination", "--sort", "opened", *options, **more)
        screen.shows(half.to, full.to)
        found = [color for server in (half, full) for color in ("33", "31")
                 if re.search(rf"\x1b\[[0-9;]*{color}m[^\n]*{server.to}", screen.styled())]
        screen.close()
        return found

    assert colours() == ["33", "31"]
    assert colours("--color=never") == [] and colours(term="vt100") == []
    assert b"auto, always or never" in t.run(t.twshim, "top", "--color=red", shim=False,
                                             status=2).stderr


def test_a_batch_has_every_kind_of_ending(t):
    server, _ = traffic(t)
    client = (t.prog("client"), ADDRESS)
    t.run(*client, str(server.port), "socket", "connect", "linger:0", "close", "repeat:3")
    t.run(*client, "9", "socket", "connect?", "close", "repeat:2")
    command = (t.twshim, "top", "--batch", "-n", "1")
    lines = t.run(*command, shim=False).stdout.decode().splitlines()
    assert lines[1].split()[-3:] == ["PEER", "RESET", "FAILED"], lines[1]
    row = next(line for line in lines if line.startswith("client"))
    assert row.split()[-3:] == ["0%", "100%", "2"], row
    row = next(line for line in lines if line.startswith("beta"))
    assert row.split()[-3:] == ["100%", "0%", "0"], row
    rows = json.loads(t.run(*command, "--json", shim=False).stdout)["rows"]
    told = {r["app"]: (r["ended_remote_fin"], r["ended_reset"], r["failed"]) for r in rows}
    assert told == {"alpha": (0, 0, 0), "beta": (50, 0, 0), "client": (0, 3, 2)}, told


def test_it_follows_a_client_and_keeps_the_dead(t):
    server = t.server()
    screen = Screen(t, "--by", "process")
    screen.shows("nothing yet")
    client = t.start(t.prog("client"), ADDRESS, str(server.port), *STEPS, "sleep:10",
                     "repeat:100000")
    screen.shows(str(client.pid))
    wait_for(lambda: re.search("[▁█]", screen.text()), "a rate in its minute")
    client.kill()
    client.wait()
    screen.shows("exited", f"{client.pid}-")
    screen.close()


def test_small_wide_and_plain_terminals_will_do(t):
    traffic(t)
    for columns, lines, term in ((40, 6, "vt100"), (20, 3, "screen"), (200, 50, "screen")):
        screen = Screen(t, columns=columns, lines=lines, term=term)
        if lines > 4:
            screen.shows("alpha")
        if columns == 200:
            screen.shows("OPENED", "LAST MINUTE")
            screen.tmux("resize-window", "-x", "60", "-y", "10")
            wait_for(lambda: "OPENED" not in screen.text(), "it is drawn anew")
            screen.shows("alpha", "30 owned")
        screen.press("q")
        screen.shows("status 0")
        screen.close()


def marked(screen):
    """The chosen line, in reverse video."""
    text = screen.tmux("capture-pane", "-p", "-e")
    found = re.findall(r"\x1b\[(?:0;)?7m(.*)", text)
    return re.sub(r"\x1b\[[0-9;]*m|\x1b\(.", "", found[0]) if found else ""


def test_what_is_chosen_stays_chosen_wherever_it_goes(t):
    """Rows change places; Enter still opens the chosen one, and Escape returns to it."""
    server, first = traffic(t)
    screen = Screen(t)
    screen.shows("alpha", "beta")
    screen.press("Down")
    wait_for(lambda: marked(screen).startswith("beta"), "beta is chosen")
    screen.press("s", "s", "s")
    screen.shows("order opened")
    wait_for(lambda: marked(screen).startswith("beta"), "it is first now, and chosen")
    # Another overtakes it.
    t.run(t.scratch + "/alpha", ADDRESS, str(server.port), *STEPS, "repeat:40")
    wait_for(lambda: screen.text().index("alpha") < screen.text().index("beta"), "alpha is first")
    assert marked(screen).startswith("beta"), marked(screen)
    screen.press("Enter")
    screen.shows("beta by destination", first.to)
    screen.press("Escape")
    screen.shows("all by application")
    wait_for(lambda: marked(screen).startswith("beta"), "back at it")
    screen.press("Home")
    wait_for(lambda: marked(screen).startswith("alpha"), "the first")
    screen.press("End")
    wait_for(lambda: marked(screen).startswith("beta"), "the last")
    screen.press("q")
    screen.shows("status 0")
    screen.close()


def test_a_pause_holds_what_was_seen(t):
    """While paused: filter, order, drilling down and resizing use the held rows."""
    server, first = traffic(t)
    screen = Screen(t)
    screen.shows("alpha", "beta", "opened 80")
    screen.press("Space")
    screen.shows("[paused]")
    t.run(t.scratch + "/alpha", ADDRESS, str(server.port), *STEPS, "repeat:7")
    screen.press("/", "b", "e", "t", "Enter")
    text = screen.shows("only /bet")
    assert "alpha" not in text and "opened 80" in text, text
    screen.press("Enter")
    text = screen.shows("beta by destination", first.to)
    screen.tmux("resize-window", "-x", "60", "-y", "8")
    wait_for(lambda: len(screen.text().splitlines()) == 8, "it is smaller")
    screen.shows("[paused]", "80, 30 owned", "beta")
    screen.press("Escape")
    screen.shows("all by application")
    screen.press("/", "Escape")
    screen.shows("alpha", "80, 30 owned")
    screen.press("Space")
    screen.shows("87, 37 owned")
    screen.press("C-c")
    screen.shows("status 0")
    screen.close()


def test_another_view_has_its_minute_too(t):
    """History is kept for the rows of all views, and pressing keys does not speed it up."""
    server = t.server()
    t.start(t.prog("client"), ADDRESS, str(server.port), *STEPS, "sleep:10", "repeat:100000")
    screen = Screen(t)
    screen.shows("client")
    wait_for(lambda: screen.text().count("█") or screen.text().count("▇"), "a history")
    screen.press(*"pdpdpdpd")
    screen.press("p")
    text = screen.shows("by process")
    assert re.search("[▁▂▃▄▅▆▇█]", text), text
    screen.press("q")
    screen.shows("status 0")
    screen.close()


def test_a_terminal_that_cannot_place_text_is_told(t):
    for term in ("dumb", "no-such-terminal"):
        screen = Screen(t, term=term)
        screen.shows("use --batch", "status 1")
        screen.close()


def test_three_hundred_processes_and_names_with_escapes(t):
    """Names with control characters are escaped; one can page through many rows."""
    server = t.server()
    name = t.scratch + "/a\x1b[31mred\n\x07"
    t.run("cp", t.prog("client"), name, shim=False)
    # One after another: dead ones are rows as well.
    t.run("sh", "-c", f'for i in $(seq 299); do {t.prog("client")} {ADDRESS} {server.port} '
          f'{" ".join(STEPS)} || exit 1; done')
    t.run(name, ADDRESS, str(server.port), *STEPS)
    screen = Screen(t, "--by", "process", "--sort", "name", columns=80, lines=24)
    text = screen.shows("a\\x1b[3...0a\\x07")
    assert "\x07" not in text
    screen.press("End")
    wait_for(lambda: "a\\x1b[3...0a\\x07" not in screen.text(), "the end")
    for _ in range(20):
        screen.press("PPage")
    screen.shows("a\\x1b[3...0a\\x07")
    screen.tmux("resize-window", "-x", "20", "-y", "5")
    wait_for(lambda: len(screen.text().splitlines()) <= 5, "it is tiny")
    screen.press("NPage", "Enter", "Escape", "q")
    screen.shows("status 0")
    screen.close()


def cpu_s(pid):
    """CPU seconds of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_hundred_processes_cost_under_two_per_cent(t):
    skip_under_thread_sanitizer(t, "all costs several times as much")
    server = t.server()
    for _ in range(100):
        t.start(t.prog("client"), ADDRESS, str(server.port), *STEPS, "sleep:100", "repeat:1000")
    wait_for(lambda: server.counts["accepted"] > 100, "they run")
    top = t.start(t.twshim, "top", "--batch", "--by", "process", shim=False,
                  stdout=subprocess.DEVNULL)
    time.sleep(1.5)
    before, began = cpu_s(top.pid), time.monotonic()
    time.sleep(5)
    share = (cpu_s(top.pid) - before) / (time.monotonic() - began)
    print(share)
    assert share < 0.02, share


def test_wrong_options_of_top_are_told(t):
    for arguments in ((), ("--batch", "-n", "0"), ("--batch", "-d", "x"), ("--by", "colour"),
                      ("--sort", "size"), ("--json",), ("operand",)):
        result = t.run(t.twshim, "top", *arguments, shim=False, status=2)
        assert result.stderr.startswith(b"twshim: ") and result.stderr.count(b"\n") == 1
