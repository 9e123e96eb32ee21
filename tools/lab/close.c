/* SPDX-License-Identifier: MIT
 *
 * The experiments `close` and `link`: all ways to close, tried in every situation (who
 * closes first, what is in flight), on one host and across a link with delay and loss.
 */
#include "tools/lab/close.h"

#include <stdlib.h>
#include <string.h>

#define TO                                                                               \
	",to=" LAB_ADDRESS ","                                                           \
	"to=" LAB_LINK_SERVER

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
     {.flags = LAB_SERVER_GIVES_UP, .start_ms = 60, .tick_ms = 5},
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

static void add_tables(struct lab_result *result, const struct lab_case *cases,
		       size_t count)
{
	struct lab_table *table = NULL;

	for (size_t i = 0; i < count; i++) {
		if (i == 0 || strcmp(cases[i].group, cases[i - 1].group) != 0)
			table = lab_table_new(result, cases[i].group, COLUMNS,
					      COUNT(COLUMNS));
		if (!lab_say_failure(result, &cases[i]))
			add_close_row(table, &cases[i]);
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

int lab_close(struct lab_bench *bench, struct lab_result *result)
{
	struct lab_case cases[COUNT(WAYS) * COUNT(SITUATIONS)];
	size_t count = make_cases(cases, false, 20);
	int ret = lab_run(bench, cases, count, 2, "close");

	if (ret == 0)
		add_tables(result, cases, count);
	if (ret == 0 && !result->failed)
		judge_close(result, cases, count, CLOSE_IDLE, CLOSE_IN_FLIGHT);
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
