/* SPDX-License-Identifier: MIT
 *
 * The table of endings: each row is a case measured on Linux 6.18 (tcp(7), RFC 9293
 * section 3.6), compared with the verdict from TCP_INFO and, if poll() suffices, with the
 * verdict from poll().
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/tcp.h>

#include "shim/shared/ending.h"

struct row {
	const char *name;
	uint8_t state; /* TCP_INFO's */
	uint32_t flags;
	uint32_t unread;
	int error;
	bool acknowledged;
	bool unborn; /* never seen to be established */
	enum tws_ending ending;
	bool time_wait;
	bool doubtful;
};

#define SHUT	   TWS_CONN_SHUT_WRITE
#define FIRST	   (TWS_CONN_SHUT_WRITE | TWS_CONN_PEER_FIRST)
#define APP0	   TWS_CONN_APP_LINGER_0
#define APPN	   TWS_CONN_APP_LINGER_N
#define RESET	   TWS_CONN_POLICY_RESET
#define NEVER_SENT TWS_CONN_FASTOPEN_CONNECT
#define LINGER2	   TWS_CONN_POLICY_LINGER2
#define UNSENT	   (1u << 31) /* not a flag of a connection: bytes that never left */

/* clang-format off */
static const struct row rows[] = {
	{"we close first", TCP_ESTABLISHED, 0, 0, 0, true, false, TWS_END_LOCAL_FIN, true, false},
	{"peer closed first", TCP_CLOSE_WAIT, 0, 0, 0, true, false, TWS_END_REMOTE_FIN, false, false},
	{"unread bytes", TCP_ESTABLISHED, 0, 7, 0, true, false, TWS_END_RESET_UNREAD, false, false},
	{"unread bytes, peer closed first", TCP_CLOSE_WAIT, 0, 7, 0, true, false, TWS_END_RESET_UNREAD, false, false},
	{"unread bytes win over SO_LINGER {1,0}", TCP_ESTABLISHED, APP0, 7, 0, true, false, TWS_END_RESET_UNREAD, false, false},
	{"SO_LINGER {1,0} of the program", TCP_ESTABLISHED, APP0, 0, 0, true, false, TWS_END_RESET_APP, false, false},
	{"SO_LINGER {1,0}, peer closed first", TCP_CLOSE_WAIT, APP0, 0, 0, true, false, TWS_END_RESET_APP, false, false},
	{"SO_LINGER {1,n} changes nothing", TCP_ESTABLISHED, APPN, 0, 0, true, false, TWS_END_LOCAL_FIN, true, false},
	{"SO_LINGER {1,0} of a policy", TCP_ESTABLISHED, RESET, 0, 0, true, false, TWS_END_RESET_POLICY, false, false},
	{"TCP_LINGER2 = -1 of a policy", TCP_ESTABLISHED, LINGER2, 0, 0, true, false, TWS_END_FIN_RESET, false, false},
	{"TCP_LINGER2 = -1, peer closed first", TCP_CLOSE_WAIT, LINGER2, 0, 0, true, false, TWS_END_REMOTE_FIN, false, false},
	{"shutdown first, no FIN yet", TCP_FIN_WAIT1, SHUT, 0, 0, true, false, TWS_END_LOCAL_FIN, true, false},
	{"shutdown first, FIN acknowledged", TCP_FIN_WAIT2, SHUT, 0, 0, true, false, TWS_END_LOCAL_FIN, true, false},
	{"shutdown first, then unread bytes", TCP_FIN_WAIT2, SHUT, 7, 0, true, false, TWS_END_RESET_UNREAD, false, false},
	{"shutdown first, SO_LINGER {1,0}, no FIN yet", TCP_FIN_WAIT2, SHUT | APP0, 0, 0, true, false, TWS_END_RESET_APP, false, false},
	{"shutdown first, TCP_LINGER2 = -1", TCP_FIN_WAIT2, SHUT | LINGER2, 0, 0, true, false, TWS_END_FIN_RESET, false, false},
	{"shutdown first, peer's FIN came: TIME_WAIT stands", TCP_CLOSE, SHUT, 0, 0, true, false, TWS_END_LOCAL_FIN, true, true},
	{"the same, too late for SO_LINGER {1,0}", TCP_CLOSE, SHUT | APP0, 0, 0, true, false, TWS_END_LOCAL_FIN, true, true},
	{"the same, too late for TCP_LINGER2", TCP_CLOSE, SHUT | LINGER2, 0, 0, true, false, TWS_END_LOCAL_FIN, true, true},
	{"shutdown first, then reset by the peer", TCP_CLOSE, SHUT, 0, ECONNRESET, true, false, TWS_END_RESET_REMOTE, false, false},
	{"peer first, then our shutdown, all acknowledged", TCP_CLOSE, FIRST, 0, 0, true, false, TWS_END_REMOTE_FIN, false, false},
	{"peer first, then our shutdown, not acknowledged", TCP_LAST_ACK, FIRST, 0, 0, true, false, TWS_END_REMOTE_FIN, false, false},
	{"the same, SO_LINGER {1,0}: the kernel sends nothing", TCP_LAST_ACK, FIRST | APP0, 0, 0, true, false, TWS_END_REMOTE_FIN, false, false},
	{"the same, with bytes that never left", TCP_LAST_ACK, FIRST | APP0 | UNSENT, 0, 0, true, false, TWS_END_RESET_APP, false, false},
	{"peer first, then our shutdown, with bytes that never left", TCP_LAST_ACK, FIRST | UNSENT, 0, 0, true, false, TWS_END_REMOTE_FIN, false, false},
	{"both at once", TCP_CLOSING, SHUT, 0, 0, true, false, TWS_END_LOCAL_FIN, true, false},
	{"both at once, TCP_LINGER2 = -1 is in vain", TCP_CLOSING, SHUT | LINGER2, 0, 0, true, false, TWS_END_LOCAL_FIN, true, false},
	{"both at once, with unread bytes", TCP_CLOSING, SHUT, 7, 0, true, false, TWS_END_RESET_UNREAD, false, false},
	{"both at once, SO_LINGER {1,0}", TCP_CLOSING, SHUT | APP0, 0, 0, true, false, TWS_END_RESET_APP, false, false},
	{"shutdown first, then nobody answered", TCP_CLOSE, SHUT, 0, ETIMEDOUT, true, false, TWS_END_RESET_REMOTE, false, false},
	{"peer first, then our shutdown, with unread bytes", TCP_LAST_ACK, FIRST, 7, 0, true, false, TWS_END_RESET_UNREAD, false, false},
	{"TIME_WAIT stands, with unread bytes", TCP_CLOSE, SHUT, 7, 0, true, false, TWS_END_LOCAL_FIN, true, true},
	{"reset by the peer", TCP_CLOSE, 0, 0, ECONNRESET, true, false, TWS_END_RESET_REMOTE, false, false},
	{"reset by the peer, the program has read the error", TCP_CLOSE, 0, 0, 0, true, false, TWS_END_RESET_REMOTE, false, false},
	{"closed while connecting", TCP_SYN_SENT, 0, 0, 0, false, true, TWS_END_ABANDONED, false, false},
	{"closed while the SYN crossed another", TCP_SYN_RECV, 0, 0, 0, false, true, TWS_END_ABANDONED, false, false},
	{"no SYN ever left", TCP_CLOSE, NEVER_SENT, 0, 0, false, true, TWS_END_ABANDONED, false, false},
	{"refused, nobody asked", TCP_CLOSE, 0, 0, ECONNREFUSED, false, true, TWS_END_FAILED, false, false},
	{"failed, the error is lost", TCP_CLOSE, 0, 0, 0, false, true, TWS_END_FAILED, false, false},
	{"established unnoticed, we close first", TCP_ESTABLISHED, 0, 0, 0, true, true, TWS_END_LOCAL_FIN, true, false},
	{"established unnoticed, then reset", TCP_CLOSE, 0, 0, ECONNRESET, true, true, TWS_END_RESET_REMOTE, false, false},
};
/* clang-format on */

static struct tws_facts from_info(const struct row *row)
{
	return (struct tws_facts){.flags = row->flags,
				  .established = !row->unborn,
				  .has_info = true,
				  .tcp_state = row->state,
				  .acknowledged = row->acknowledged,
				  .syn_sent = !(row->flags & NEVER_SENT),
				  .unread = row->unread,
				  .unsent = row->flags & UNSENT,
				  .socket_error = row->error};
}

/* What poll() shows in that state (tcp_poll() of the kernel). */
static struct tws_facts from_poll(const struct row *row)
{
	bool peer_closed = row->state == TCP_CLOSE_WAIT || row->state == TCP_CLOSE ||
			   row->state == TCP_CLOSING || row->state == TCP_LAST_ACK;

	return (struct tws_facts){
	    .flags = row->flags,
	    .established = !row->unborn,
	    .writable = row->state != TCP_SYN_SENT && row->state != TCP_SYN_RECV,
	    .readable = row->unread || peer_closed,
	    .peer_closed = peer_closed,
	    .hung_up = row->state == TCP_CLOSE || (peer_closed && row->flags & SHUT),
	    .error = row->error != 0,
	    .unread = row->unread};
}

static void check(const struct row *row, const struct tws_facts *facts, const char *how)
{
	struct tws_verdict verdict = tws_ending_decide(facts);

	if (verdict.ending != row->ending || verdict.time_wait != row->time_wait)
		fail_msg("%s, by %s: ending %d time_wait %d", row->name, how,
			 verdict.ending, verdict.time_wait);
}

static void tcp_info_decides_every_row(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tws_facts facts = from_info(&rows[i]);

		check(&rows[i], &facts, "TCP_INFO");
		assert_int_equal(tws_ending_decide(&facts).doubtful, rows[i].doubtful);
	}
}

static void poll_decides_every_row_or_asks_for_more(void **state)
{
	int decided = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tws_facts facts = from_poll(&rows[i]);

		if (tws_ending_needs_info(&facts))
			continue;
		check(&rows[i], &facts, "poll");
		decided++;
	}
	assert_in_range(decided, 15, sizeof(rows) / sizeof(rows[0]));
}

static void an_error_queue_is_not_taken_for_a_dead_connection(void **state)
{
	struct tws_facts facts = {.established = true, .writable = true, .error = true};

	(void)state;
	assert_true(tws_ending_needs_info(&facts));
	facts.has_info = true;
	facts.tcp_state = TCP_ESTABLISHED;
	assert_int_equal(tws_ending_decide(&facts).ending, TWS_END_LOCAL_FIN);
}

static void our_own_shutdown_of_reading_is_not_taken_for_the_peers_close(void **state)
{
	struct tws_facts facts = {.established = true,
				  .writable = true,
				  .readable = true,
				  .peer_closed = true,
				  .flags = TWS_CONN_SHUT_READ};

	(void)state;
	assert_true(tws_ending_needs_info(&facts));
}

/* tws_ending_usual() is a short cut. For any two flags at once, the table gives the same
 * answer for a socket that is only writable. */
static void the_usual_end_is_the_tables(void **state)
{
	const struct tws_verdict usual = tws_ending_usual();
	unsigned unusual = 0;

	(void)state;
	for (unsigned i = 0; i < 32 * 32; i++) {
		struct tws_facts facts = {.established = true,
					  .writable = true,
					  .flags = 1u << i / 32 | 1u << i % 32};
		struct tws_verdict verdict = tws_ending_decide(&facts);

		assert_false(tws_ending_needs_info(&facts));
		if (facts.flags & TWS_ENDING_UNUSUAL)
			unusual += verdict.ending != usual.ending;
		else
			assert_memory_equal(&verdict, &usual, sizeof(usual));
	}
	/* Of 1,024 pairs those with one of the three at least; each makes a difference.
	 */
	assert_int_equal(unusual, 1024 - 29 * 29);
}

static void failures_have_their_counters(void **state)
{
	(void)state;
	assert_int_equal(tws_failure_counter(ECONNREFUSED), TWS_failed_refused);
	assert_int_equal(tws_failure_counter(ETIMEDOUT), TWS_failed_timed_out);
	assert_int_equal(tws_failure_counter(ENETUNREACH), TWS_failed_unreachable);
	assert_int_equal(tws_failure_counter(EHOSTUNREACH), TWS_failed_unreachable);
	assert_int_equal(tws_failure_counter(EADDRNOTAVAIL), TWS_failed_no_port);
	assert_int_equal(tws_failure_counter(EADDRINUSE), TWS_failed_address_in_use);
	assert_int_equal(tws_failure_counter(EPERM), TWS_failed_other);
}

static void what_others_wrote_is_held_to_what_can_be(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 256; i++) {
		enum tws_ending ending = tws_ending_held((uint8_t)i);
		enum tws_counter failure = tws_failure_held((uint8_t)i);

		assert_true(ending == TWS_END_FAILED ||
			    tws_ending_counter(ending) != TWS_COUNTERS);
		assert_in_range(failure, TWS_failed_refused, TWS_failed_other);
	}
	assert_int_equal(tws_ending_held(TWS_END_LOCAL_FIN), TWS_END_LOCAL_FIN);
	assert_int_equal(tws_failure_held(TWS_failed_no_port), TWS_failed_no_port);
}

static void fin_reset_is_applied_only_where_no_time_wait_is_left(void **state)
{
	const uint32_t set = TWS_CONN_POLICY_LINGER2;

	(void)state;
	for (int i = TWS_END_ABANDONED; i <= TWS_END_FAILED; i++)
		assert_int_equal(tws_ending_fin_reset_outcome((enum tws_ending)i, 0),
				 TWS_COUNTERS);
	assert_int_equal(tws_ending_fin_reset_outcome(TWS_END_FIN_RESET, set),
			 TWS_policy_applied);
	assert_int_equal(tws_ending_fin_reset_outcome(TWS_END_LOCAL_FIN, set),
			 TWS_policy_too_late);
	assert_int_equal(
	    tws_ending_fin_reset_outcome(TWS_END_LOCAL_FIN, set | TWS_CONN_APP_LINGER_N),
	    TWS_policy_skipped_app_option);
	assert_int_equal(tws_ending_fin_reset_outcome(TWS_END_RESET_APP, set),
			 TWS_policy_skipped_app_option);
	assert_int_equal(tws_ending_fin_reset_outcome(TWS_END_REMOTE_FIN, set),
			 TWS_COUNTERS);
	assert_int_equal(tws_ending_fin_reset_outcome(TWS_END_FIN_RESET,
						      set | TWS_CONN_POLICY_COUNTED),
			 TWS_COUNTERS);
}

static void a_reset_is_applied_only_where_it_came_before_time_wait(void **state)
{
	const uint32_t set = TWS_CONN_POLICY_RESET;

	(void)state;
	assert_int_equal(tws_ending_reset_outcome(TWS_END_RESET_POLICY, set),
			 TWS_policy_applied);
	assert_int_equal(tws_ending_reset_outcome(TWS_END_LOCAL_FIN, set),
			 TWS_policy_too_late);
	assert_int_equal(tws_ending_reset_outcome(TWS_END_REMOTE_FIN, set), TWS_COUNTERS);
	assert_int_equal(tws_ending_reset_outcome(TWS_END_LOCAL_FIN, 0), TWS_COUNTERS);
	assert_int_equal(
	    tws_ending_reset_outcome(TWS_END_RESET_POLICY, set | TWS_CONN_POLICY_COUNTED),
	    TWS_COUNTERS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tcp_info_decides_every_row),
	    cmocka_unit_test(poll_decides_every_row_or_asks_for_more),
	    cmocka_unit_test(an_error_queue_is_not_taken_for_a_dead_connection),
	    cmocka_unit_test(
		our_own_shutdown_of_reading_is_not_taken_for_the_peers_close),
	    cmocka_unit_test(the_usual_end_is_the_tables),
	    cmocka_unit_test(failures_have_their_counters),
	    cmocka_unit_test(fin_reset_is_applied_only_where_no_time_wait_is_left),
	    cmocka_unit_test(a_reset_is_applied_only_where_it_came_before_time_wait),
	    cmocka_unit_test(what_others_wrote_is_held_to_what_can_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
