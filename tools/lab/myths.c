/* SPDX-License-Identifier: MIT
 *
 * The experiment `myths`: every popular claim about TIME_WAIT is tried on this kernel.
 */
#include "tools/lab/myths.h"

#include <errno.h>
#include <string.h>

#define A_MINUTE_MS  50000 /* what a fresh TIME_WAIT has left, at the very least */
#define TRIES	     60
#define APART_MS     1100
#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define SAY(...)     snprintf(note, MYTH_NOTE, __VA_ARGS__)
#define SMALL                                                                            \
	{                                                                                \
		"ip_local_port_range", LAB_TW_RANGE                                      \
	}
#define NUMBER(value) ((unsigned long long)(value))

/* ------------------------------------------------------------------- judges */

static enum myth_verdict judge_fin_timeout(const struct lab_case *cases, char *note)
{
	uint32_t left = cases->board->time_wait.leaves_ms;

	SAY("with tcp_fin_timeout = 5 a fresh TIME_WAIT socket has %.0f s to go",
	    left / 1e3);
	return left > A_MINUTE_MS ? MYTH_FALSE : MYTH_TRUE;
}

static enum myth_verdict judge_accept(const struct lab_case *cases, char *note)
{
	const uint64_t *figure = cases->board->figure;

	SAY("with %llu TIME_WAIT sockets on the listening port, %llu more connections "
	    "came "
	    "in",
	    NUMBER(figure[0]), NUMBER(figure[1]));
	return figure[1] > 0 ? MYTH_FALSE : MYTH_TRUE;
}

static enum myth_verdict judge_ss(const struct lab_case *cases, char *note)
{
	const uint64_t *figure = cases->board->figure;

	if (!figure[3]) {
		SAY("there is no ss here");
		return MYTH_NOT_TESTABLE;
	}
	SAY("column 3 shows %llu (Send-Q), column 4 the port, %llu", NUMBER(figure[1]),
	    NUMBER(figure[2]));
	return figure[1] == figure[0] ? MYTH_TRUE : MYTH_FALSE;
}

static enum myth_verdict judge_reuse_default(const struct lab_case *cases, char *note)
{
	const uint64_t *figure = cases->board->figure;

	if (!figure[1]) {
		SAY("this kernel has no tcp_tw_reuse");
		return MYTH_NOT_TESTABLE;
	}
	SAY("the default here is %llu%s", NUMBER(figure[0]),
	    figure[0] == 2 ? ": on, for loopback addresses only" : "");
	return figure[0] ? MYTH_FALSE : MYTH_TRUE;
}

static enum myth_verdict judge_reuse_at_once(const struct lab_case *cases, char *note)
{
	unsigned at_once = lab_count_established(&cases[0]);
	unsigned later = lab_count_established(&cases[1]);

	SAY("%u of %d at once on 20 ports, %u with a pause: it takes over what is a "
	    "second "
	    "old, and needs timestamps",
	    at_once, TRIES, later);
	return at_once == TRIES ? MYTH_TRUE : MYTH_FALSE;
}

static enum myth_verdict judge_reuse_bound(const struct lab_case *cases, char *note)
{
	unsigned bound = lab_count_established(cases);

	SAY("%u of %d: the port is taken at bind(), %u times EADDRINUSE", bound, TRIES,
	    lab_count_errors(cases, EADDRINUSE, 0, TRIES));
	return bound == TRIES ? MYTH_TRUE : MYTH_FALSE;
}

static enum myth_verdict judge_recycle(const struct lab_case *cases, char *note)
{
	bool is_there = cases->board->figure[1];

	SAY("%s", is_there ? "it is there, and breaks clients behind NAT"
			   : "there is no such file: removed in Linux 4.12");
	return is_there ? MYTH_TRUE : MYTH_FALSE;
}

static enum myth_verdict judge_linger(const struct lab_case *cases, char *note)
{
	uint32_t left = cases->board->time_wait.leaves_ms;

	SAY("TIME_WAIT has %.0f s to go; close() took up to %.0f ms instead", left / 1e3,
	    lab_close_us(cases, 1) / 1e3);
	return left > A_MINUTE_MS ? MYTH_FALSE : MYTH_TRUE;
}

static enum myth_verdict judge_succeeds(const struct lab_case *cases, char *note)
{
	unsigned succeeded = lab_count_established(cases);

	SAY("20 ports, %d connections: %u succeed", TRIES, succeeded);
	return succeeded == TRIES ? MYTH_TRUE : MYTH_FALSE;
}

static enum myth_verdict judge_reset(const struct lab_case *cases, char *note)
{
	uint64_t sent = lab_bytes_sent(cases), lost = sent - cases->board->seen.bytes;

	SAY("%.0f %% of the bytes in flight to a slow reader were lost, and %llu of %u "
	    "readers saw ECONNRESET",
	    100.0 * (double)lost / (double)(sent ? sent : 1),
	    NUMBER(cases->board->seen.reset), lab_count_established(cases));
	return lost ? MYTH_FALSE : MYTH_TRUE;
}

static enum myth_verdict judge_side(const struct lab_case *cases, char *note)
{
	SAY("we close first: %llu here, %llu at the server; the server does: %llu here, "
	    "%llu "
	    "there",
	    NUMBER(cases[0].board->time_wait.here),
	    NUMBER(cases[0].board->time_wait.there),
	    NUMBER(cases[1].board->time_wait.here),
	    NUMBER(cases[1].board->time_wait.there));
	return cases[0].board->time_wait.here ? MYTH_FALSE : MYTH_TRUE;
}

static enum myth_verdict judge_buckets(const struct lab_case *cases, char *note)
{
	uint64_t left = cases->board->time_wait.here;

	SAY("%llu of %u left with room for 10; the rest had no TIME_WAIT and no word of "
	    "it "
	    "but TCPTimeWaitOverflow (%llu)",
	    NUMBER(left), lab_count_established(cases),
	    NUMBER(cases->board->kernel.overflows));
	return cases->board->kernel.overflows ? MYTH_TRUE : MYTH_FALSE;
}

static enum myth_verdict judge_memory(const struct lab_case *cases, char *note)
{
	const uint64_t *figure = cases->board->figure;

	if (!figure[1]) {
		SAY("/proc/slabinfo can't be read, or has no row of its own for it");
		return MYTH_NOT_TESTABLE;
	}
	SAY("%llu bytes each: a full default range of 28,232 takes %.1f MB",
	    NUMBER(figure[0]), (double)figure[0] * 28232 / 1e6);
	return figure[0] > 1024 ? MYTH_TRUE : MYTH_FALSE;
}

static enum myth_verdict judge_widen(const struct lab_case *cases, char *note)
{
	unsigned succeeded = lab_count_established(cases);

	SAY("asked for 50000-50999 where the sysctl has 20 ports: %u of %d succeed; it "
	    "narrows only, and is ignored in silence",
	    succeeded, TRIES);
	return succeeded == TRIES ? MYTH_TRUE : MYTH_FALSE;
}

static enum myth_verdict judge_loopback(const struct lab_case *cases, char *note)
{
	unsigned here = lab_count_established(&cases[0]);
	unsigned there = lab_count_established(&cases[1]);

	SAY("default tcp_tw_reuse, 20 ports: %u of %d on 127.0.0.1, %u on another "
	    "address",
	    here, TRIES, there);
	return here == there ? MYTH_TRUE : MYTH_FALSE;
}

static enum myth_verdict judge_restart(const struct lab_case *cases, char *note)
{
	uint64_t could = cases->board->figure[0];

	SAY("bind() again with SO_REUSEADDR in neither: %s; the new alone: %s; both: %s",
	    could & 1 ? "yes" : "no", could & 2 ? "yes" : "no", could & 8 ? "yes" : "no");
	return could & 2 ? MYTH_TRUE : MYTH_FALSE;
}

/* -------------------------------------------------------------------- table */

static const struct myth MYTHS[] = {
    {"tcp_fin_timeout shortens TIME_WAIT",
     {{.name = "short",
       .world = {.sysctl = {{"tcp_fin_timeout", "5"}}},
       .client = {.count = 1}}},
     judge_fin_timeout},
    {"TIME_WAIT stops a server from accepting",
     {{.name = "accept", .body = myth_accept}},
     judge_accept},
    {"ss -ant, column 3, lists the source ports",
     {{.name = "ss", .body = myth_ss}},
     judge_ss},
    {"tcp_tw_reuse is off until you set it",
     {{.name = "tcp_tw_reuse", .body = myth_sysctl}},
     judge_reuse_default},
    {"tcp_tw_reuse = 1 makes ports free at once",
     {{.name = "at once",
       .world = {.sysctl = {SMALL, {"tcp_tw_reuse", "1"}}},
       .client = {.count = TRIES}},
      {.name = "later",
       .world = {.sysctl = {SMALL, {"tcp_tw_reuse", "1"}}},
       .client = {.count = TRIES, .per_pass = LAB_TW_PORTS, .pause_ms = APART_MS}}},
     judge_reuse_at_once},
    {"tcp_tw_reuse = 1 helps programs that bind first",
     {{.name = "bound",
       .world = {.sysctl = {SMALL, {"tcp_tw_reuse", "1"}}},
       .client = {.flags = LAB_CLIENT_BINDS,
		  .count = TRIES,
		  .per_pass = LAB_TW_PORTS,
		  .pause_ms = APART_MS}}},
     judge_reuse_bound},
    {"tcp_tw_recycle is to be switched off",
     {{.name = "tcp_tw_recycle", .body = myth_sysctl}},
     judge_recycle},
    {"SO_LINGER {1,n} shortens TIME_WAIT",
     {{.name = "linger",
       .server = {.window = 4096, .chunk = 8192, .tick_ms = 2, .start_ms = 20},
       .client = {.flags = LAB_CLIENT_LINGER,
		  .linger_seconds = 1,
		  .count = 5,
		  .bytes = 100000}}},
     judge_linger},
    {"SO_LINGER {1,0} does no harm",
     {{.name = "reset",
       .server = {.window = 4096, .chunk = 8192, .tick_ms = 2, .start_ms = 20},
       .client = {.flags = LAB_CLIENT_LINGER, .count = 20, .bytes = 100000}}},
     judge_reset},
    {"SO_REUSEADDR lets a client use its ports again",
     {{.name = "reuseaddr",
       .world = {.sysctl = {SMALL, {"tcp_tw_reuse", "0"}}},
       .client = {.flags = LAB_CLIENT_REUSEADDR, .count = TRIES}}},
     judge_succeeds},
    {"the side that is closed upon keeps the TIME_WAIT",
     {{.name = "we", .client = {.count = 20}},
      {.name = "the server",
       .server = {.flags = LAB_SERVER_CLOSES_FIRST},
       .client = {.flags = LAB_CLIENT_AWAITS_END, .count = 20}}},
     judge_side},
    {"a small tcp_max_tw_buckets keeps TIME_WAIT down",
     {{.name = "buckets",
       .world = {.sysctl = {{"tcp_max_tw_buckets", "10"}}},
       .client = {.count = 50, .per_pass = 10, .pause_ms = 20}}},
     judge_buckets},
    {"TIME_WAIT sockets eat memory",
     {{.name = "memory", .body = myth_memory}},
     judge_memory},
    {"IP_LOCAL_PORT_RANGE gives a socket more ports",
     {{.name = "wider",
       .world = {.sysctl = {SMALL, {"tcp_tw_reuse", "0"}}},
       .client = {.flags = LAB_CLIENT_PORT_RANGE,
		  .count = TRIES,
		  .low = 50000,
		  .high = 50999}}},
     judge_widen},
    {"what holds on 127.0.0.1 holds elsewhere",
     {{.name = "loopback",
       .world = {.loopback = true, .sysctl = {SMALL}},
       .client = {.count = TRIES, .per_pass = LAB_TW_PORTS, .pause_ms = APART_MS}},
      {.name = "elsewhere",
       .world = {.sysctl = {SMALL}},
       .client = {.count = TRIES, .per_pass = LAB_TW_PORTS, .pause_ms = APART_MS}}},
     judge_loopback},
    {"SO_REUSEADDR in the new server is enough to restart",
     {{.name = "restart", .body = myth_restart}},
     judge_restart},
};

static const struct lab_column COLUMNS[] = {
    {"claim", "CLAIM", 0, false},
    {"verdict", "HERE", 0, false},
    {"happened", "WHAT HAPPENED", 0, false},
};

static size_t count_cases(const struct myth *myth)
{
	size_t ret = 0;

	while (ret < MYTH_CASES && myth->cases[ret].name)
		ret++;
	return ret;
}

/* Adds the row and returns the verdict. */
static enum myth_verdict add_myth_row(struct lab_table *table, const struct myth *myth,
				      const struct lab_case *cases)
{
	static const char *const WORDS[] = {
	    [MYTH_FALSE] = "myth",
	    [MYTH_TRUE] = "true",
	    [MYTH_NOT_TESTABLE] = "not testable here",
	};
	enum myth_verdict verdict = MYTH_NOT_TESTABLE;
	char note[MYTH_NOTE] = "";
	json_t *row = lab_row_new(table, myth->claim);

	for (size_t i = 0; i < count_cases(myth); i++)
		if (!cases[i].board || *cases[i].board->failure)
			SAY("%s", cases[i].board ? cases[i].board->failure : "not run");
	if (!*note)
		verdict = myth->judge(cases, note);
	lab_put_text(row, "verdict", "%s", WORDS[verdict]);
	lab_put_text(row, "happened", "%s", note);
	return verdict;
}

static void add_table(struct lab_result *result, const struct lab_case *cases)
{
	struct lab_table *table = lab_table_new(result, "", COLUMNS, COUNT(COLUMNS));
	unsigned count[MYTH_NOT_TESTABLE + 1] = {0};

	for (size_t i = 0; i < COUNT(MYTHS); i++) {
		count[add_myth_row(table, &MYTHS[i], cases)]++;
		cases += count_cases(&MYTHS[i]);
	}
	lab_say(result,
		"of %zu claims %u are myths on this kernel, %u true, %u not testable "
		"here.",
		COUNT(MYTHS), count[MYTH_FALSE], count[MYTH_TRUE],
		count[MYTH_NOT_TESTABLE]);
}

int lab_myths(struct lab_bench *bench, struct lab_result *result)
{
	struct lab_case cases[COUNT(MYTHS) * MYTH_CASES];
	size_t count = 0;
	int ret;

	for (size_t i = 0; i < COUNT(MYTHS); i++)
		for (size_t k = 0; k < count_cases(&MYTHS[i]); k++)
			cases[count++] = MYTHS[i].cases[k];
	ret = lab_run(bench, cases, count, 4, "myths");
	if (ret == 0)
		add_table(result, cases);
	lab_cases_free(cases, count);
	return ret;
}
