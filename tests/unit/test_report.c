/* SPDX-License-Identifier: MIT
 *
 * The report of saved segments and a saved kernel table. The text is compared with
 * tests/unit/golden/report.txt (TWSHIM_UPDATE_GOLDEN=1 rewrites it), JSON with its schema
 * and the identities.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/saved_segment.h"
#include "tools/model/join.h"
#include "tools/model/model.h"
#include "tools/report/report.h"

#define GOLDEN	   "tests/unit/golden/report.txt"
#define CHURN	   1000u
#define TABLE_NS   (300 * SAVED_SECOND)
#define FIRST_PORT 40000

static void must(int result)
{
	assert_int_equal(result, 0);
}

static void add_socket(struct kernel_table *table, uint64_t cookie, uint8_t state,
		       struct tws_address remote, uint32_t expires_ms)
{
	struct kernel_socket socket = {
	    .cookie = cookie,
	    .local = saved_ipv4(1, (uint16_t)(FIRST_PORT + table->count)),
	    .remote = remote,
	    .state = state,
	    .inode = state == TCP_ESTABLISHED,
	    .expires_ms = expires_ms,
	};

	must(kernel_table_add(table, &socket));
}

/* Ten of the first program, one still open, one that its peer removed, and two without an
 * owner. */
static struct kernel_table saved_table(void)
{
	struct kernel_table table = {0};

	for (uint32_t i = 0; i < 10; i++)
		add_socket(&table, 100 + i, TCP_TIME_WAIT, saved_ipv4(7, 6379),
			   31000 + 2000 * i);
	add_socket(&table, 200, TCP_ESTABLISHED, saved_ipv4(7, 6379), 0);
	add_socket(&table, 300, TCP_TIME_WAIT, saved_ipv4(99, 443), 5000);
	add_socket(&table, 301, TCP_TIME_WAIT, saved_ipv4(99, 443), 6000);
	return table;
}

/* A long-lived program with 1,000 connections, most of them long ago. Of the eleven in
 * the last minute, ten are in TIME_WAIT. */
static void take_worker(struct model *model)
{
	static struct saved saved;
	struct segment segment;
	uint64_t *value;

	saved_init(&saved, "/opt/bin/worker", NULL);
	value = saved_destination(&saved, saved_ipv4(7, 6379));
	value[TWS_attempts] = CHURN + 1;
	value[TWS_established] = CHURN + 1;
	value[TWS_ended_local_fin] = CHURN;
	value[TWS_via_close] = CHURN;
	value[TWS_short_lived] = CHURN - 2;
	value[TWS_peak_open] = 4;
	saved.process.value[TWS_peak_open] = 4;
	for (uint32_t i = 0; i < 10; i++)
		saved_time_wait(&saved, 100 + i);
	saved_ended(&saved, 55, TWS_END_LOCAL_FIN, TABLE_NS - 200 * SAVED_SECOND);
	saved_ended(&saved, 56, TWS_END_LOCAL_FIN, TABLE_NS - 10 * SAVED_SECOND);
	saved_ended(&saved, 109, TWS_END_LOCAL_FIN, TABLE_NS - 11 * SAVED_SECOND);
	saved_connection(&saved, TWS_CONN_OPEN, 200);
	segment = saved_segment(&saved, PROCESS_ALIVE);
	must(model_take(&segment, model));
}

/* A name with control characters; killed with one connection open and one refused. */
static void take_killed(struct model *model)
{
	static struct saved saved;
	struct segment segment;
	uint64_t *value;

	saved_init(&saved, "/opt/bin/\033[31mred\xff", NULL);
	value = saved_destination(&saved, saved_ipv4(8, 80));
	value[TWS_attempts] = 2;
	value[TWS_established] = 1;
	value[TWS_failed_refused] = 1;
	value[TWS_peak_open] = 1;
	saved.process.value[TWS_peak_open] = 1;
	saved_connection(&saved, TWS_CONN_OPEN, 999);
	segment = saved_segment(&saved, PROCESS_DEAD);
	must(model_take(&segment, model));
}

static struct model *saved_model(const char *app)
{
	struct model_options options = {.app = app};
	struct kernel_table table = saved_table();
	struct model *model = model_new(&options);

	assert_non_null(model);
	model->generated = 1764000000;
	kernel_ports_set(&model->ports, 32768, 60999, "");
	must(model_use_table(model, &table, TABLE_NS, 1));
	take_worker(model);
	take_killed(model);
	must(model_finish(model));
	return model;
}

static const struct report_run saved_run = {.command = "worker --all",
					    .exit_status = 3,
					    .began = 1763999995,
					    .elapsed_seconds = 4.2};

/* What a printer prints, in new memory. */
static char *print_with(int (*print)(FILE *, const struct model *,
				     const struct report_options *),
			const struct model *model, const struct report_options *options)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	must(print(out, model, options));
	fclose(out);
	return text;
}

static char *read_golden(void)
{
	char *text = calloc(1, 65536);
	FILE *file = fopen(GOLDEN, "re");

	assert_non_null(text);
	if (file) {
		assert_true(fread(text, 1, 65535, file) > 0);
		fclose(file);
	}
	return text;
}

static void the_text_is_the_golden_one(void **state)
{
	struct model *model = saved_model(NULL);
	struct report_options options = {.color = PRINT_COLOR_NEVER, .run = &saved_run};
	char *text = print_with(report_print_text, model, &options);
	char *golden = read_golden();
	FILE *file;

	(void)state;
	if (getenv("TWSHIM_UPDATE_GOLDEN")) {
		file = fopen(GOLDEN, "we");
		assert_non_null(file);
		fputs(text, file);
		fclose(file);
	} else if (strcmp(text, golden) != 0) {
		fail_msg("not as in " GOLDEN ":\n%s", text);
	}
	free(golden);
	free(text);
	model_free(model);
}

static void no_control_character_reaches_the_terminal(void **state)
{
	struct model *model = saved_model(NULL);
	struct report_options options = {.color = PRINT_COLOR_NEVER};
	char *text = print_with(report_print_text, model, &options);

	(void)state;
	for (const char *c = text; *c; c++)
		assert_true((unsigned char)*c >= ' ' || *c == '\n');
	assert_non_null(strstr(text, "\\x1b[31mred\\xff"));
	free(text);
	model_free(model);
}

static void colour_is_as_asked(void **state)
{
	struct model *model = saved_model(NULL);
	struct report_options options = {.color = PRINT_COLOR_ALWAYS};
	char *text = print_with(report_print_text, model, &options);

	(void)state;
	assert_non_null(strstr(text, "\033[1m"));
	free(text);
	model_free(model);
}

static json_t *json_of(const struct model *model, const struct report_options *options)
{
	char *text = print_with(report_print_json, model, options);
	json_error_t error;
	json_t *object = json_loads(text, 0, &error);

	if (!object)
		fail_msg("no JSON: %s", error.text);
	free(text);
	return object;
}

static json_int_t number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value))
		fail_msg("%s is no number", key);
	return json_integer_value(value);
}

static void assert_counters(const json_t *counters)
{
	json_int_t ended = 0, failed = 0;
	const json_t *histogram;
	const char *key;
	json_t *value;

	assert_int_equal(json_object_size(counters), TWS_COUNTERS + TWS_HISTOGRAMS);
	json_object_foreach((json_t *)counters, key, value)
	{
		ended += strncmp(key, "ended_", 6) == 0 ? json_integer_value(value) : 0;
		failed += strncmp(key, "failed_", 7) == 0 ? json_integer_value(value) : 0;
	}
	assert_int_equal(number(counters, "attempts"),
			 number(counters, "established") + failed +
			     number(counters, "abandoned") +
			     number(counters, "connecting"));
	assert_int_equal(number(counters, "established"),
			 number(counters, "open") + ended);
	histogram = json_object_get(counters, "lifetime_seconds");
	assert_int_equal(json_array_size(json_object_get(histogram, "count")),
			 json_array_size(json_object_get(histogram, "le")) + 1);
	assert_true(json_is_number(json_object_get(histogram, "sum")));
}

/* A short run was now. */
static void a_long_run_says_when_it_began(void **state)
{
	struct model *model = saved_model(NULL);
	struct report_run run = saved_run;
	struct report_options options = {.run = &run};
	char *text = print_with(report_print_text, model, &options);

	assert_null(strstr(text, "since"));
	free(text);
	run.elapsed_seconds = 200;
	text = print_with(report_print_text, model, &options);
	assert_non_null(strstr(text, " in 3 min 20 s since 15:59:55 UTC (run),"));
	free(text);
	run.watch = true;
	text = print_with(report_print_text, model, &options);
	assert_non_null(strstr(text, " in 3 min 20 s since 15:59:55 UTC,"));
	free(text);
	model_free(model);
}

static void json_keeps_the_schema_and_the_identities(void **state)
{
	struct model *model = saved_model(NULL);
	struct report_options options = {.run = &saved_run};
	json_t *report = json_of(model, &options);
	const json_t *apps = json_object_get(report, "apps");
	const json_t *worker = json_array_get(apps, 0), *destination;

	(void)state;
	assert_string_equal(json_string_value(json_object_get(report, "schema")),
			    "twshim.report/1");
	assert_string_equal(json_string_value(json_object_get(report, "generated")),
			    "2025-11-24T16:00:00Z");
	assert_string_equal(json_string_value(json_object_get(report, "since")),
			    "2025-11-24T15:59:55Z");
	assert_string_equal(json_string_value(json_object_get(report, "until")),
			    "2025-11-24T16:00:00Z");
	assert_int_equal(number(json_object_get(report, "run"), "exit_status"), 3);
	assert_counters(json_object_get(report, "total"));
	assert_int_equal(json_array_size(apps), 2);
	assert_string_equal(json_string_value(json_object_get(worker, "app")), "worker");
	assert_counters(json_object_get(worker, "counters"));
	destination = json_array_get(json_object_get(worker, "destinations"), 0);
	assert_counters(json_object_get(destination, "counters"));
	assert_string_equal(json_string_value(json_object_get(destination, "to")),
			    "10.0.0.7:6379");
	assert_int_equal(number(destination, "peak_open"), 4);
	assert_int_equal(number(json_object_get(destination, "ports"), "used"), 11);
	assert_int_equal(number(json_object_get(destination, "ports"), "range"), 28232);
	assert_int_equal(number(json_object_get(report, "kernel"), "time_wait"), 12);
	assert_int_equal(number(json_object_get(report, "kernel"), "owned"), 10);
	assert_int_equal(number(json_object_get(report, "kernel"), "unowned"), 2);
	assert_true(json_is_array(json_object_get(report, "arms")));
	assert_true(json_is_array(json_object_get(report, "advice")));
	assert_true(json_is_object(json_object_get(report, "unseen")));
	json_decref(report);
	model_free(model);
}

static void time_wait_is_confirmed_with_its_first_and_last_second(void **state)
{
	struct model *model = saved_model(NULL);
	struct report_options options = {0};
	json_t *report = json_of(model, &options);
	const json_t *worker = json_array_get(json_object_get(report, "apps"), 0);
	const json_t *time_wait = json_object_get(
	    json_array_get(json_object_get(worker, "destinations"), 0), "time_wait");

	(void)state;
	assert_int_equal(number(time_wait, "predicted"), 11);
	assert_int_equal(number(time_wait, "confirmed"), 10);
	assert_int_equal(number(time_wait, "gone_early"), 1);
	assert_float_equal(
	    json_number_value(json_object_get(time_wait, "oldest_leaves_s")), 31, 1e-9);
	assert_float_equal(
	    json_number_value(json_object_get(time_wait, "newest_leaves_s")), 49, 1e-9);
	json_decref(report);
	model_free(model);
}

static void strings_from_segments_become_valid_utf8(void **state)
{
	struct model *model = saved_model(NULL);
	struct report_options options = {0};
	json_t *report = json_of(model, &options);
	const json_t *killed = json_array_get(json_object_get(report, "apps"), 1);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(killed, "exe")),
			    "/opt/bin/\033[31mred\xef\xbf\xbd");
	json_decref(report);
	model_free(model);
}

static void a_killed_process_is_accounted_for(void **state)
{
	struct model *model = saved_model(NULL);
	const uint64_t *value = model->apps[1].counters.value;

	(void)state;
	assert_int_equal(value[TWS_ended_unseen], 1);
	assert_int_equal(value[TWS_via_kill], 1);
	assert_int_equal(value[TWS_open], 0);
	model_free(model);
}

static void one_application_leaves_the_others_out_of_the_totals(void **state)
{
	struct model *model = saved_model("worker");

	(void)state;
	assert_int_equal(model->order_count, 1);
	assert_int_equal(model->total.value[TWS_attempts], CHURN + 1);
	assert_int_equal(model->kernel.owned, 10);
	model_free(model);
}

static void without_a_kernel_table_nothing_is_confirmed_and_all_is_said(void **state)
{
	struct model_options wanted = {0};
	struct report_options options = {.color = PRINT_COLOR_NEVER};
	struct model *model = model_new(&wanted);
	json_t *report;
	char *text;

	(void)state;
	assert_non_null(model);
	model->table_ns = TABLE_NS;
	snprintf(model->table_error, sizeof(model->table_error), "no netlink here");
	take_worker(model);
	must(model_finish(model));
	text = print_with(report_print_text, model, &options);
	assert_non_null(strstr(text, "no netlink here"));
	free(text);
	report = json_of(model, &options);
	assert_true(json_is_null(
	    json_object_get(json_object_get(report, "kernel"), "time_wait")));
	json_decref(report);
	model_free(model);
}

static void nothing_known_is_a_report_too(void **state)
{
	struct model_options wanted = {0};
	struct report_options options = {.color = PRINT_COLOR_NEVER, .run = &saved_run};
	struct model *model = model_new(&wanted);
	char *text;

	(void)state;
	assert_non_null(model);
	must(model_finish(model));
	text = print_with(report_print_text, model, &options);
	assert_non_null(strstr(text, "No TCP connection was observed"));
	free(text);
	json_decref(json_of(model, &options));
	model_free(model);
}

static void numbers_are_written_for_people(void **state)
{
	char text[PRINT_NUMBER_SIZE];

	(void)state;
	assert_string_equal(print_number(text, 0), "0");
	assert_string_equal(print_number(text, 999), "999");
	assert_string_equal(print_number(text, 12408), "12,408");
	assert_string_equal(print_number(text, UINT64_MAX), "18,446,744,073,709,551,615");
	assert_string_equal(print_bytes(text, 840), "840 B");
	assert_string_equal(print_bytes(text, 12400), "12.4 kB");
	assert_string_equal(print_duration(text, 4.2), "4.2 s");
	assert_string_equal(print_duration(text, 200), "3 min 20 s");
	assert_string_equal(print_duration(text, 7500), "2 h 5 min");
}

static void escapes_are_cut_where_the_buffer_ends(void **state)
{
	char text[12];

	(void)state;
	assert_string_equal(print_escape(text, sizeof(text), "short"), "short");
	assert_string_equal(print_escape(text, sizeof(text), "a\nb"), "a\\x0ab");
	assert_string_equal(print_escape(text, sizeof(text),
					 "\xc2\x9b"
					 "31m"),
			    "\\xc2\\x9b...");
	assert_true(strlen(print_escape(text, sizeof(text), "much longer than that")) <
		    sizeof(text));
	assert_string_equal(print_utf8(text, sizeof(text), "\xed\xa0\x80"),
			    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
}

static void what_bypasses_the_shim_is_named_where_nothing_was_seen(void **state)
{
	static struct saved saved;
	struct model_options nothing = {0};
	struct model *model = model_new(&nothing);
	struct report_options options = {.color = PRINT_COLOR_NEVER, .run = &saved_run};
	struct segment segment;
	char *text;

	saved_init(&saved, "/usr/bin/php", NULL);
	saved.process.value[TWS_deepbind_loads] = 20;
	segment = saved_segment(&saved, PROCESS_DEAD);
	must(model_take(&segment, model));
	must(model_finish(model));
	text = print_with(report_print_text, model, &options);
	assert_non_null(strstr(text, "No TCP connection was observed."));
	assert_non_null(strstr(text, "TW112  1 process of php loaded libraries"));
	assert_null(strstr(text, "twshim doctor COMMAND"));
	free(text);
	model_free(model);
}

static void sockets_that_the_kernel_never_made_are_no_peers_doing(void **state)
{
	struct model *model = saved_model(NULL);
	struct report_options options = {.color = PRINT_COLOR_NEVER, .run = &saved_run};
	char *text;

	model->overflowed = 200;
	model->buckets = 100;
	text = print_with(report_print_text, model, &options);
	assert_non_null(strstr(text, "1 TIME_WAIT socket is missing: "
				     "tcp_max_tw_buckets, 100, was reached, and "));
	assert_null(strstr(text, "ended early"));
	free(text);
	model_free(model);
}

/* How many connections of the last minute, for a process of this age with this slot. */
static uint64_t no_port_lately(uint64_t age_s, uint32_t state, uint64_t ago_s,
			       uint8_t failure, bool established)
{
	static struct saved saved;
	struct model_options nothing = {0};
	struct model *model = model_new(&nothing);
	struct tws_connection *slot;
	struct segment segment;
	uint64_t found;

	model->table_ns = TABLE_NS;
	saved_init(&saved, "/opt/bin/worker", NULL);
	saved.header.created_monotonic_ns = TABLE_NS - age_s * SAVED_SECOND;
	saved_destination(&saved, saved_ipv4(7, 80))[TWS_failed_no_port] = 5;
	slot = saved_connection(&saved, state, 1);
	slot->began_ns = TABLE_NS - ago_s * SAVED_SECOND;
	slot->established_ns = established;
	slot->failure = failure;
	segment = saved_segment(&saved, PROCESS_ALIVE);
	must(model_take(&segment, model));
	found = model->apps[0].recent.no_port;
	assert_int_equal(model->apps[0].destinations[1].recent.no_port, found);
	model_free(model);
	return found;
}

static void a_connect_that_failed_at_once_is_of_the_last_minute(void **state)
{
	const uint8_t no_port = TWS_failed_no_port;

	assert_int_equal(no_port_lately(59, TWS_CONN_FREE, 50, no_port, false), 5);
	assert_int_equal(no_port_lately(300, TWS_CONN_FREE, 50, no_port, false), 1);
	assert_int_equal(no_port_lately(300, TWS_CONN_CLAIMED, 50, no_port, false), 1);
	assert_int_equal(no_port_lately(300, TWS_CONN_FREE, 70, no_port, false), 0);
	assert_int_equal(
	    no_port_lately(300, TWS_CONN_FREE, 50, TWS_failed_refused, false), 0);
	/* it connected again since, on the same socket */
	assert_int_equal(no_port_lately(300, TWS_CONN_CONNECTING, 50, no_port, false), 0);
	assert_int_equal(no_port_lately(300, TWS_CONN_OPEN, 50, no_port, true), 0);
	assert_int_equal(no_port_lately(300, TWS_CONN_FREE, 50, no_port, true), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_text_is_the_golden_one),
	    cmocka_unit_test(a_long_run_says_when_it_began),
	    cmocka_unit_test(what_bypasses_the_shim_is_named_where_nothing_was_seen),
	    cmocka_unit_test(sockets_that_the_kernel_never_made_are_no_peers_doing),
	    cmocka_unit_test(a_connect_that_failed_at_once_is_of_the_last_minute),
	    cmocka_unit_test(no_control_character_reaches_the_terminal),
	    cmocka_unit_test(colour_is_as_asked),
	    cmocka_unit_test(json_keeps_the_schema_and_the_identities),
	    cmocka_unit_test(time_wait_is_confirmed_with_its_first_and_last_second),
	    cmocka_unit_test(strings_from_segments_become_valid_utf8),
	    cmocka_unit_test(a_killed_process_is_accounted_for),
	    cmocka_unit_test(one_application_leaves_the_others_out_of_the_totals),
	    cmocka_unit_test(without_a_kernel_table_nothing_is_confirmed_and_all_is_said),
	    cmocka_unit_test(nothing_known_is_a_report_too),
	    cmocka_unit_test(numbers_are_written_for_people),
	    cmocka_unit_test(escapes_are_cut_where_the_buffer_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
