# SPDX-License-Identifier: MIT
"""Every way in which a program drops a connection: the ending and what remains."""
import signal

from harness import ADDRESS, time_wait, time_wait_left, wait_for

OPEN = ("socket", "connect", "send:1", "recv")


def _client(t, *steps, mode="echo", status=0):
    server = t.server(mode)
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *steps, status=status)
    return server, report


def test_closing_a_stream_returns_what_it_returns_bare(t):
    bare = t.run(t.prog("streams"), shim=False).stdout.decode().splitlines()
    assert len(bare) == 97 and sum(line.startswith("fclose, reset") and ": -1 " in line
                                   for line in bare) > 5, bare
    t.same_under_every_policy(bare, t.prog("streams"))


def test_a_policy_that_resets_lets_a_stream_write_first(t):
    server = t.server("silent")
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect",
                          "fclose:1000", "repeat:20",
                          options=("-p", f"to={ADDRESS},close=reset-drained,drain_ms=1000"))
    t.counters(report, attempts=20, established=20, ended_reset_policy=20, via_fclose=20)
    server.wait("bytes", 20 * 1000)


def test_reset_drained_leaves_a_stream_to_the_flush_of_exit(t):
    server = t.server("silent")
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), "socket", "connect",
                          "stream:1000", "exit:0",
                          options=("-p", f"to={ADDRESS},close=reset-drained"))
    t.counters(report, attempts=1, established=1, ended_local_fin=1, via_exit=1,
               policy_skipped_unsent=1)
    server.wait("eofs", 1)
    assert server.counts["bytes"] == 1000, server.counts


def _row(name, steps, via, number=20, status=0, ending="ended_local_fin", tw=True):
    def test(t):
        server, report = _client(t, *OPEN, *steps, status=status)
        t.counters(report, attempts=number, established=number, open=0,
                   **{ending: number, via: number})
        t.time_wait_agrees(report, server, number if tw else 0)
    test.__name__ = f"test_{name}"
    test.__module__ = __name__
    globals()[test.__name__] = test


TWENTY = "repeat:20"
for _name, _steps, _via, _more in (
        ("close", ("close", TWENTY), "via_close", {}),
        ("close_of_both_dups_ends_once", ("dup", "close", "close-d", TWENTY), "via_close", {}),
        ("dup2_and_the_other_way_round", ("dup2", "close-d", "close", TWENTY), "via_close", {}),
        ("dup3", ("dup3", "close", "close-d", TWENTY), "via_close", {}),
        ("fcntl_f_dupfd_cloexec", ("fdupfd", "close", "close-d", TWENTY), "via_close", {}),
        ("close_by_syscall_number", ("close-syscall", TWENTY), "via_syscall", {}),
        ("connect_by_syscall_number", ("close", "socket", "connect-syscall", "send:1", "recv",
                                       "close", "repeat:10"), "via_close", {}),
        ("close_range", ("close-range", TWENTY), "via_close_range", {}),
        ("closefrom", ("closefrom", TWENTY), "via_close_range", {}),
        ("fclose", ("fclose", TWENTY), "via_fclose", {}),
        ("freopen_over_a_stream", ("freopen", "close", TWENTY), "via_fclose", {}),
        ("dup2_over_the_connection", ("dup2-over", TWENTY), "via_dup", {}),
        ("dup3_over_the_connection", ("dup3-over", TWENTY), "via_dup", {}),
        ("shutdown_first_then_close", ("shutdown:wr", "recv", "close", TWENTY), "via_close", {}),
        ("shutdown_of_both_then_close", ("shutdown:rdwr", "close", TWENTY), "via_close", {}),
        ("exit_with_connections_open", (TWENTY, "exit:0"), "via_exit", {}),
        ("falling_off_main", (TWENTY,), "via_exit", {}),
        ("_exit", (TWENTY, "_exit:0"), "via_exit", {}),
        ("quick_exit", (TWENTY, "quick_exit"), "via_exit", {}),
        ("exit_group_by_number", (TWENTY, "exit-syscall"), "via_exit", {}),
        ("abort", (TWENTY, "abort"), "via_kill", {"status": -signal.SIGABRT}),
        ("a_fatal_signal", (TWENTY, "segv"), "via_kill", {"status": -signal.SIGSEGV}),
        ("sigkill", (TWENTY, "kill"), "via_kill", {"status": -signal.SIGKILL}),
        ("exec_with_close_on_exec", ("cloexec", TWENTY, "exec:/bin/true"), "via_exec", {}),
        ("the_programs_own_reset", ("linger:0", "close", TWENTY), "via_close",
         {"ending": "ended_reset_app", "tw": False}),
        ("the_programs_own_reset_at_exit", ("linger:0", TWENTY), "via_exit",
         {"ending": "ended_reset_app", "tw": False}),
        ("the_programs_own_linger_keeps_time_wait", ("linger:1", "close", TWENTY), "via_close",
         {})):
    _row(_name, _steps, _via, **_more)


def test_exec_hands_on_what_stays_open(t):
    server = t.server()
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *OPEN, "repeat:5",
                          "exec:/bin/true")
    t.counters(report, attempts=5, established=5, ended_local_fin=5, adopted=5, open=0)
    wait_for(lambda: time_wait(server.port) == 5, "5 TIME_WAIT sockets")


def test_exec_that_fails_changes_nothing(t):
    server, report = _client(t, *OPEN, "cloexec", "exec:/nonexistent", "send:1", "recv", "close",
                             TWENTY)
    t.counters(report, attempts=20, established=20, ended_local_fin=20, via_close=20, via_exec=0)
    t.time_wait_agrees(report, server, 20)


def test_close_of_one_of_two_dups_ends_nothing(t):
    server, report = _client(t, *OPEN, "dup", "close-d", "send:1", "recv", "close", TWENTY)
    t.counters(report, attempts=20, established=20, ended_local_fin=20, via_close=20)
    t.time_wait_agrees(report, server, 20)


def test_a_dup_made_before_connect_is_the_same_connection(t):
    server, report = _client(t, "socket", "dup", "connect", "close-d", "send:1", "recv", "close",
                             TWENTY)
    t.counters(report, attempts=20, established=20, ended_local_fin=20, via_close=20)
    t.time_wait_agrees(report, server, 20)


def test_unread_data_at_sigkill_is_a_reset(t):
    server, report = _client(t, "socket", "connect", "wait-readable", "repeat:20", "kill",
                             mode="unread", status=-signal.SIGKILL)
    t.counters(report, attempts=20, established=20, ended_reset_unread=20, via_kill=20)
    t.time_wait_agrees(report, server, 0)


def test_unread_data_at_exit_is_a_reset(t):
    server, report = _client(t, "socket", "connect", "wait-readable", "repeat:20", mode="unread")
    t.counters(report, attempts=20, established=20, ended_reset_unread=20, via_exit=20)
    t.time_wait_agrees(report, server, 0)


def test_a_reset_by_the_peer_is_told(t):
    server, report = _client(t, *OPEN, "wait-hup", "close", TWENTY, mode="reset")
    t.counters(report, attempts=20, established=20, ended_reset_remote=20)
    t.time_wait_agrees(report, server, 0)


def test_peer_first_then_our_shutdown_leaves_nothing(t):
    server, report = _client(t, *OPEN, "wait-hup", "shutdown:wr", "close", TWENTY, mode="first")
    t.counters(report, attempts=20, established=20, ended_remote_fin=20)
    t.time_wait_agrees(report, server, 0)


def test_what_the_peer_takes_away_after_our_close_is_not_confirmed(t):
    # The server writes after our close, the kernel answers with RST, and no TIME_WAIT socket remains.
    # Nobody can know that at the close, but the reader looks again.
    server = t.server("late")
    report = t.twshim_run(t.prog("client"), ADDRESS, str(server.port), *OPEN, "close", TWENTY)
    assert time_wait_left(server.port) == 0 and server.counts["eofs"] == 20
    [said] = [d["time_wait"] for d in report["apps"][0]["destinations"]]
    assert said["confirmed"] == 0, said
    t.counters(report, attempts=20, established=20, ended_local_fin=20, via_close=20)
