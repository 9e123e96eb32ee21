/* SPDX-License-Identifier: MIT
 *
 * The experiments `close` and `link`: all ways to close, tried in every situation (who
 * closes first, what is in flight), on one host and across a link with delay and loss.
 */
#include "tools/lab/close.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/risk.h"

#define TO                                                                               \
	",to=" LAB_ADDRESS ","                                                           \
	"to=" LAB_LINK_SERVER

#define LOOK_BYTES 7

/* How a client may close: by its own options or by a policy. */
static const struct way {
	const char *name, *rule;
	unsigned flags, linger_seconds;
} WAYS[] = {
    {"normal", NULL, 0, 0},
    {"SO_LINGER {1,1}", NULL, LAB_CLIENT_LINGER, 1},
    {"SO_LINGER {1,0}", NULL, LAB_CLIENT_LINGER, 0},
    {"same, graceful", "close=graceful" TO, LAB_CLIENT_LINGER, 0},
    {"fin-reset", "close=fin-reset" TO, 0, 0},
    {"reset-drained", "close=reset-drained" TO, 0, 0},
    {"same, 1 s drain", "close=reset-drained,drain_ms=1000" TO, 0, 0},
    {"reset", "close=reset" TO, 0, 0},
};

static const struct situation {
	const char *name;
	struct lab_server server;
	unsigned flags, bytes;
	bool on_link;
} SITUATIONS[] = {
    {CLOSE_IDLE, {.flags = 0}, 0, 0, true},
    {CLOSE_IN_FLIGHT,
     {.window = 4096, .chunk = 8192, .tick_ms = 2, .start_ms = 20},
     0,
     100000,
     false},
    {CLOSE_ACKNOWLEDGED,
     /* later than any FIN is acknowledged, also where that is delayed */
     {.flags = LAB_SERVER_GIVES_UP, .start_ms = 300, .tick_ms = 5},
     LAB_CLIENT_AWAITS_ACK,
     20000,
     false},
    {CLOSE_PEER_FIRST,
     {.flags = LAB_SERVER_CLOSES_FIRST},
     LAB_CLIENT_AWAITS_END,
     0,
     false},
    {CLOSE_PEER_SHUT,
     {.flags = LAB_SERVER_SHUTS_FIRST,
      .window = 4096,
      .chunk = 8192,
      .tick_ms = 2,
      .start_ms = 20},
     LAB_CLIENT_AWAITS_END,
     100000,
     false},
    {CLOSE_SHUT_FIRST, {.flags = 0}, LAB_CLIENT_SHUTS_WRITE, 0, false},
    {CLOSE_UNREAD, {.flags = LAB_SERVER_SENDS}, LAB_CLIENT_AWAITS_DATA, 0, false},
    {CLOSE_LOOK, {.flags = LAB_SERVER_LOOKS}, LAB_CLIENT_AWAITS_ACK, LOOK_BYTES, false},
    {CLOSE_ACROSS, {.flags = 0}, 0, 50000, true},
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const struct lab_column COLUMNS[] = {
    {"way", "WAY TO CLOSE", 0, false},
    {"connections", "OPENED", 0, false},
    {"time_wait", "TIME_WAIT", 0, false},
    {"bytes_sent", "SENT", 0, true},
    {"bytes_received", "RECEIVED", 0, true},
    {"lost_percent", "LOST %", 1, true},
    {"reader", "READER SAW", 0, false},
    {"eof", NULL, 0, true},
    {"reset", NULL, 0, true},
    {"hung", NULL, 0, true},
    {"close_p50_ms", "CLOSE p50 ms", 2, false},
    {"close_max_ms", "max", 1, false},
    {"policy", "POLICY", 0, true},
};

static const struct lab_column LOOK_COLUMNS[] = {
    {"way", "WAY TO CLOSE", 0, false},	{"connections", "OPENED", 0, false},
    {"pollhup", "POLLHUP", 0, false},	{"pollerr", "POLLERR", 0, false},
    {"so_error", "SO_ERROR", 0, false}, {"getpeername", "getpeername()", 0, false},
    {"reader", "recv()", 0, false},	{"send", "FIRST send()", 0, false},
};

double lab_lost_percent(const struct lab_case *what)
{
	uint64_t sent = lab_bytes_sent(what);

	return sent ? 100.0 * (1 - (double)what->board->seen.bytes / (double)sent) : 0;
}

static void add_close_row(struct lab_table *table, const struct lab_case *what)
{
	const struct lab_seen *seen = &what->board->seen;
	json_t *row = lab_row_new(table, what->name);
	char text[200];

	lab_put_count(row, "connections", lab_count_established(what));
	lab_put_count(row, "time_wait", what->board->time_wait.here);
	lab_put_count(row, "bytes_sent", lab_bytes_sent(what));
	lab_put_count(row, "bytes_received", seen->bytes);
	lab_put_real(row, "lost_percent", lab_lost_percent(what));
	lab_put_text(row, "reader", "%s", lab_describe_reader(text, sizeof(text), what));
	lab_put_count(row, "eof", seen->ended);
	lab_put_count(row, "reset", seen->reset);
	lab_put_count(row, "hung", seen->hung);
	lab_put_real(row, "close_p50_ms", lab_close_us(what, 0.5) / 1000);
	lab_put_real(row, "close_max_ms", lab_close_us(what, 1) / 1000);
	lab_put_text(row, "policy", "%s", lab_describe_policy(text, sizeof(text), what));
}

/* "EPIPE" where all calls failed so, `fine` where none did, else "3 of 10 EPIPE". */
static void put_failures(json_t *row, const char *key,
			 const struct lab_failures *failures, const char *fine)
{
	if (!failures->failed)
		lab_put_text(row, key, "%s", fine);
	else if (failures->failed == failures->calls)
		lab_put_text(row, key, "%s", strerrorname_np(failures->error));
	else
		lab_put_text(row, key, "%u of %u %s", failures->failed, failures->calls,
			     strerrorname_np(failures->error));
}

static void add_look_row(struct lab_table *table, const struct lab_case *what)
{
	const struct lab_look *look = &what->board->look;
	json_t *row = lab_row_new(table, what->name);
	char fine[40];

	lab_put_count(row, "connections", look->sockets);
	lab_put_count(row, "pollhup", look->hup);
	lab_put_count(row, "pollerr", look->err);
	put_failures(row, "so_error", &look->so_error, "0");
	put_failures(row, "getpeername", &look->name, "works");
	snprintf(fine, sizeof(fine), "%u of %u bytes, ", look->bytes,
		 look->reader.calls * LOOK_BYTES);
	lab_put_text(row, "reader", "%s%s", fine,
		     look->reader.failed ? strerrorname_np(look->reader.error) : "EOF");
	put_failures(row, "send", &look->writer, "works");
}

static bool is_look(const struct lab_case *what)
{
	return (what->server.flags & LAB_SERVER_LOOKS) != 0;
}

static struct lab_table *add_table(struct lab_result *result, const struct lab_case *what)
{
	if (is_look(what))
		return lab_table_new(result, what->group, LOOK_COLUMNS,
				     COUNT(LOOK_COLUMNS));
	return lab_table_new(result, what->group, COLUMNS, COUNT(COLUMNS));
}

static void add_tables(struct lab_result *result, const struct lab_case *cases,
		       size_t count)
{
	struct lab_table *table = NULL;

	for (size_t i = 0; i < count; i++) {
		if (i == 0 || strcmp(cases[i].group, cases[i - 1].group) != 0)
			table = add_table(result, &cases[i]);
		if (!lab_say_failure(result, &cases[i]))
			(is_look(&cases[i]) ? add_look_row : add_close_row)(table,
									    &cases[i]);
	}
}

static struct lab_case make_case(const struct situation *situation, const struct way *way,
				 unsigned connections)
{
	return (struct lab_case){
	    .name = way->name,
	    .group = situation->name,
	    .server = situation->server,
	    .client = {.flags = situation->flags | way->flags,
		       .count = connections,
		       .bytes = situation->bytes,
		       .linger_seconds = way->linger_seconds},
	    .rule = way->rule,
	};
}

/* Tries every way to close in every situation that belongs to the experiment. */
static size_t make_cases(struct lab_case *cases, bool on_link, unsigned connections)
{
	size_t count = 0;

	for (size_t s = 0; s < COUNT(SITUATIONS); s++) {
		if (on_link ? !SITUATIONS[s].on_link
			    : strcmp(SITUATIONS[s].name, CLOSE_ACROSS) == 0)
			continue;
		for (size_t w = 0; w < COUNT(WAYS); w++) {
			cases[count] = make_case(&SITUATIONS[s], &WAYS[w], connections);
			count++;
		}
	}
	return count;
}

/* ------------------------------------------------------------------ verdicts */

static const struct lab_case *in(const struct lab_case *cases, size_t count,
				 const char *group, const char *name)
{
	return lab_find(cases, count, group, name);
}

/* A RST is sent only once, and may be lost. */
static void judge_hung(struct lab_result *result, const struct lab_case *cases,
		       size_t count)
{
	unsigned hung = 0, resets = 0;

	for (size_t i = 0; i < count; i++) {
		const struct lab_seen *seen = &cases[i].board->seen;

		if (!seen->reset)
			continue;
		resets += lab_count_established(&cases[i]);
		hung += lab_count_established(&cases[i]) -
			(unsigned)(seen->ended + seen->reset);
	}
	if (hung)
		lab_say(result,
			" Of %u connections closed by reset, %u peers never learnt "
			"of it: the one RST was lost.",
			resets, hung);
}

static void judge_close(struct lab_result *result, const struct lab_case *cases,
			size_t count, const char *idle, const char *loaded)
{
	const struct lab_case *fin = in(cases, count, loaded, "fin-reset");
	const struct lab_case *linger = in(cases, count, loaded, "SO_LINGER {1,1}");
	const struct lab_case *reset = in(cases, count, loaded, "SO_LINGER {1,0}");
	const struct lab_case *drained = in(cases, count, loaded, "reset-drained");
	unsigned opened = lab_count_established(in(cases, count, idle, "fin-reset"));
	uint64_t left = in(cases, count, idle, "fin-reset")->board->time_wait.here;

	lab_say(result,
		"fin-reset leaves %llu of %u TIME_WAIT and loses %.1f %% of what is in "
		"flight; ",
		(unsigned long long)left, opened, lab_lost_percent(fin));
	lab_say(result,
		"SO_LINGER {1,0} loses %.0f %%; reset-drained loses %.1f %%, and keeps "
		"%llu TIME_WAIT where data was under way; ",
		lab_lost_percent(reset), lab_lost_percent(drained),
		(unsigned long long)drained->board->time_wait.here);
	lab_say(result,
		"SO_LINGER {1,1} leaves TIME_WAIT as it is and blocks close() for up to "
		"%.0f ms.",
		lab_close_us(linger, 1) / 1000);
	judge_hung(result, cases, count);
}

/* Which ways left how much TIME_WAIT to clients that called shutdown() first. */
static void judge_shut_first(struct lab_result *result, const struct lab_case *cases,
			     size_t count)
{
	unsigned opened = 0, left = 0;

	for (size_t i = 0; i < count; i++) {
		if (strcmp(cases[i].group, CLOSE_SHUT_FIRST) != 0 || !cases[i].rule)
			continue;
		opened += lab_count_established(&cases[i]);
		left += (unsigned)cases[i].board->time_wait.here;
	}
	lab_say(
	    result,
	    " Clients that call shutdown() first and wait for the server's end (node's "
	    "end(), socat, nc -N, Java's shutdownOutput()) kept %u of %u TIME_WAIT "
	    "under all rules, fin-reset among them: %s.",
	    left, opened,
	    left == opened ? "no way to close helps them; keep connections open, let "
			     "the server close first, or use a port_ring"
			   : "see the table");
}

/* What every other place says about the server under fin-reset, held against what was
 * seen here. */
static bool is_as_advised(const struct lab_look *look)
{
	return look->sockets && look->hup == look->sockets &&
	       look->err == look->sockets && look->name.failed == look->sockets &&
	       look->so_error.failed == look->so_error.calls &&
	       look->so_error.error == EPIPE && !look->reader.failed &&
	       look->bytes == look->reader.calls * LOOK_BYTES &&
	       look->writer.failed == look->writer.calls;
}

static void judge_look(struct lab_result *result, const struct lab_case *cases,
		       size_t count)
{
	const struct lab_case *fin = in(cases, count, CLOSE_LOOK, "fin-reset");

	if (is_as_advised(&fin->board->look))
		lab_say(result, " Under fin-reset " RISK_FIN_RESET "; " RISK_TRIAL ".");
	else
		lab_say(result, " Under fin-reset this kernel shows the server something "
				"else than twshim's advice says: see the last table.");
}

int lab_close(struct lab_bench *bench, struct lab_result *result)
{
	struct lab_case cases[COUNT(WAYS) * COUNT(SITUATIONS)];
	size_t count = make_cases(cases, false, 20);
	int ret = lab_run(bench, cases, count, 2, "close");

	if (ret == 0)
		add_tables(result, cases, count);
	if (ret == 0 && !result->failed) {
		judge_close(result, cases, count, CLOSE_IDLE, CLOSE_IN_FLIGHT);
		judge_shut_first(result, cases, count);
		judge_look(result, cases, count);
	}
	lab_cases_free(cases, count);
	return ret;
}

int lab_link(struct lab_bench *bench, struct lab_result *result)
{
	struct lab_case cases[COUNT(WAYS) * COUNT(SITUATIONS)];
	size_t count = make_cases(cases, true, 40);
	int ret;

	for (size_t i = 0; i < count; i++) {
		cases[i].world.delay_ms = 20;
		cases[i].world.loss_percent = 2;
		cases[i].world.seed = 1;
		cases[i].client.threads = 20;
		cases[i].patience_ms = 40000;
	}
	ret = lab_run(bench, cases, count, 8, "link");
	if (ret == 0)
		add_tables(result, cases, count);
	if (ret == 0 && !result->failed)
		judge_close(result, cases, count, CLOSE_IDLE, CLOSE_ACROSS);
	lab_cases_free(cases, count);
	return ret;
}
