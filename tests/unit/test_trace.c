/* SPDX-License-Identifier: MIT
 *
 * Which endings `trace` shows, and how it prints them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/address.h"
#include "tools/segments/names.h"
#include "tools/trace/trace.h"

static const struct follow_process process = {
    .pid = 42, .detail = true, .exe = "/opt/x/php-fpm8.2", .name = "php-fpm8.2"};

static struct follow_event an_event(void)
{
	struct tws_problem problem;
	struct follow_event event = {
	    .process = &process,
	    .ended = {.cookie = 7,
		      .began_ns = 1000000000,
		      .established_ns = 2000000000,
		      .ended_ns = 2500000000,
		      .bytes_sent = 100,
		      .ending = TWS_END_LOCAL_FIN,
		      .via = TWS_VIA_CLOSE},
	    .rule = "a \"rule\"",
	};

	assert_true(tws_address_parse("10.0.0.7:6379", &event.ended.remote, &problem));
	return event;
}

static void durations_have_units(void **state)
{
	uint64_t ns = 0;

	assert_int_equal(trace_parse_duration("1.5", &ns), 0);
	assert_int_equal(ns, 1500000000);
	assert_int_equal(trace_parse_duration("20ms", &ns), 0);
	assert_int_equal(ns, 20000000);
	assert_int_equal(trace_parse_duration("3s", &ns), 0);
	assert_int_equal(ns, 3000000000);
	assert_int_not_equal(trace_parse_duration("", &ns), 0);
	assert_int_not_equal(trace_parse_duration("-1", &ns), 0);
	assert_int_not_equal(trace_parse_duration("nan", &ns), 0);
	assert_int_not_equal(trace_parse_duration("1 day", &ns), 0);
}

static void each_ending_has_a_name_that_finds_it(void **state)
{
	for (unsigned i = TWS_END_ABANDONED; i <= TWS_END_FAILED; i++)
		assert_int_equal(trace_ending_of(ending_name(i)), i);
	assert_string_equal(ending_name(TWS_END_LOCAL_FIN), "local_fin");
	assert_int_equal(trace_ending_of("happily"), TWS_END_NONE);
	assert_int_equal(trace_ending_of("unknown"), TWS_END_NONE);
	assert_string_equal(ending_name(200), "unknown");
}

static void an_application_is_a_name_a_path_or_a_pattern(void **state)
{
	static const char *const good[] = {"php-fpm8.2", "php-fpm*", "/opt/x/php-fpm8.2"};
	static const char *const bad[] = {"php", "/opt/php-fpm8.2"};
	struct follow_event event = an_event();
	struct trace_filter filter = {0};

	assert_true(trace_wants(&filter, &event));
	for (size_t i = 0; i < 3; i++) {
		filter.app = good[i];
		assert_true(trace_wants(&filter, &event));
	}
	for (size_t i = 0; i < 2; i++) {
		filter.app = bad[i];
		assert_false(trace_wants(&filter, &event));
	}
	filter = (struct trace_filter){.pid = 43};
	assert_false(trace_wants(&filter, &event));
}

static void endings_targets_and_lifetimes_choose(void **state)
{
	struct follow_event event = an_event();
	struct trace_filter filter = {.endings = 1u << TWS_END_LOCAL_FIN,
				      .min_lifetime_ns = 500000000};
	struct tws_problem problem;

	assert_true(tws_target_parse("10.0.0.0/8:6379", &filter.targets[0], &problem));
	filter.target_count = 1;
	assert_true(trace_wants(&filter, &event));
	event.ended.ended_ns--;
	assert_false(trace_wants(&filter, &event));
	event = an_event();
	event.ended.remote.port++;
	assert_false(trace_wants(&filter, &event));
	event = an_event();
	event.ended.ending = TWS_END_REMOTE_FIN;
	assert_false(trace_wants(&filter, &event));
	event.ended.ending = 255; /* a damaged segment */
	assert_false(trace_wants(&filter, &event));
	event.missed = 3;
	assert_true(trace_wants(&filter, &event));
}

static json_t *as_json(const struct follow_event *event)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	json_t *object;

	assert_int_equal(trace_print_json(out, event), 0);
	fclose(out);
	assert_ptr_equal(strchr(text, '\n'), text + size - 1);
	object = json_loads(text, 0, NULL);
	assert_non_null(object);
	free(text);
	return object;
}

static const char *word(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void json_says_what_is_known(void **state)
{
	struct follow_event event = an_event();
	json_t *object = as_json(&event);

	assert_string_equal(word(object, "schema"), "twshim.trace/1");
	assert_string_equal(word(object, "to"), "10.0.0.7:6379");
	assert_string_equal(word(object, "rule"), "a \"rule\"");
	assert_string_equal(word(object, "via"), "close");
	assert_true(json_is_null(json_object_get(object, "from")));
	assert_true(json_is_null(json_object_get(object, "arm")));
	assert_int_equal(json_integer_value(json_object_get(object, "bytes_sent")), 100);
	assert_true(json_real_value(json_object_get(object, "lifetime_s")) == 0.5);
	json_decref(object);
}

static void what_was_not_counted_is_null(void **state)
{
	struct follow_process undetailed = process;
	struct follow_event event = an_event();
	json_t *object;

	undetailed.detail = false;
	event.process = &undetailed;
	event.ended.established_ns = 0;
	event.ended.ending = TWS_END_FAILED;
	event.ended.failure = TWS_failed_refused;
	object = as_json(&event);
	assert_true(json_is_null(json_object_get(object, "bytes_sent")));
	assert_true(json_is_null(json_object_get(object, "lifetime_s")));
	assert_string_equal(word(object, "ending"), "failed");
	assert_string_equal(word(object, "failure"), "refused");
	json_decref(object);
}

static void damaged_records_and_names_are_harmless(void **state)
{
	static const struct follow_process evil = {
	    .pid = 1, .detail = true, .exe = "/x/\xff\x1b[2J", .name = "\xff\x1b[2J"};
	struct follow_event event;
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	memset(&event, 0xee, sizeof(event));
	memset(event.rule, 0, sizeof(event.rule));
	memset(event.arm, 0, sizeof(event.arm));
	event.missed = 0;
	event.process = &evil;
	trace_print_text(out, &event, false);
	fclose(out);
	assert_null(strchr(text, '\x1b'));
	assert_ptr_equal(strchr(text, '\n'), text + size - 1);
	free(text);
	json_decref(as_json(&event));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(durations_have_units),
	    cmocka_unit_test(each_ending_has_a_name_that_finds_it),
	    cmocka_unit_test(an_application_is_a_name_a_path_or_a_pattern),
	    cmocka_unit_test(endings_targets_and_lifetimes_choose),
	    cmocka_unit_test(json_says_what_is_known),
	    cmocka_unit_test(what_was_not_counted_is_null),
	    cmocka_unit_test(damaged_records_and_names_are_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
