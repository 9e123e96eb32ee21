/* SPDX-License-Identifier: MIT
 *
 * The lines of `top` are never wider than the terminal, whatever they contain.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tools/top/top.h"

static int width_of(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static struct top_row a_row(void)
{
	struct top_row row = {
	    .app = "php-fpm8.2-with-a-long-name",
	    .to = "[fd00:1234:5678:9abc:def0:1234:5678:9abc]:65535",
	    .pid = 4194304,
	    .opened = UINT64_MAX,
	    .open = 123456789,
	    .ended = 4,
	    .short_lived = 2,
	    .local_fin = 1,
	    .closed_first = 1,
	    .time_wait = 28000,
	    .ports_used = 28232,
	    .ports_range = 28232,
	    .rate = 123456789,
	};

	for (int i = 0; i < TOP_HISTORY; i++)
		row.history[i] = (float)i;
	return row;
}

static void lines_fit_every_width(void **state)
{
	struct top_row row = a_row();
	char line[TOP_LINE_SIZE];

	for (enum top_mode mode = 0; mode < TOP_MODES; mode++) {
		struct top_view view = {.mode = mode};

		for (int width = 0; width < 300; width++) {
			assert_true(width_of(top_titles(line, &view, width)) <=
				    width + 1);
			assert_true(width_of(top_line(line, &row, &view, width, false)) <=
				    width + 1);
			assert_true(width_of(top_line(line, &row, &view, width, true)) <=
				    width + 1);
		}
	}
}

static void in_eighty_columns_all_that_matters_is_there(void **state)
{
	struct top_view view = {.mode = TOP_APPS};
	struct top_row row = {.app = "a-long-name-of-worker-7"};
	char line[TOP_LINE_SIZE];

	top_titles(line, &view, 80);
	assert_non_null(strstr(line, "TIME_WAIT"));
	assert_non_null(strstr(line, "PORTS"));
	assert_non_null(strstr(line, "LAST MINUTE"));
	view.mode = TOP_DESTINATIONS;
	top_titles(line, &view, 80);
	assert_non_null(strstr(line, "PORTS"));
	top_line(line, &row, &view, 80, true);
	assert_int_equal(strncmp(line, "a-long-", 7), 0);
	assert_non_null(strstr(line, "...rker-7 "));
}

static void a_line_shows_shares_bars_and_history(void **state)
{
	struct top_row row = a_row();
	struct top_view view = {.mode = TOP_APPS};
	char line[TOP_LINE_SIZE];

	top_line(line, &row, &view, 120, true);
	assert_non_null(strstr(line, "50%"));
	assert_non_null(strstr(line, "25%"));
	assert_non_null(strstr(line, "##### 100%"));
	assert_non_null(strstr(line, "28,000"));
	for (const char *at = line; *at; at++)
		assert_in_range(*at, ' ', '~');
	assert_non_null(strstr(top_line(line, &row, &view, 120, false), "█"));
	row.rate = -1;
	memset(row.history, 0, sizeof(row.history));
	row.dead = true;
	assert_non_null(strstr(top_line(line, &row, &view, 120, true), "exited"));
}

static void ports_are_full_when_none_is_left(void **state)
{
	struct top_view view = {.mode = TOP_APPS};
	struct top_row row = {.app = "curl", .ports_used = 999, .ports_range = 1000};
	char line[TOP_LINE_SIZE];

	assert_non_null(strstr(top_line(line, &row, &view, 80, true), "#####  99%"));
	row.ports_used = 1000;
	assert_non_null(strstr(top_line(line, &row, &view, 80, true), "##### 100%"));
}

static void one_that_is_gone_keeps_its_name(void **state)
{
	struct top_view view = {.mode = TOP_APPS};
	struct top_row row = {.app = "curl", .dead = true};
	char line[TOP_LINE_SIZE];

	assert_int_equal(
	    strncmp(top_line(line, &row, &view, 80, true), "curl (gone)      ", 17), 0);
	strcpy(row.app, "python3.11");
	top_line(line, &row, &view, 80, true);
	assert_int_equal(strncmp(line, "python3.11       ", 17), 0);
	assert_non_null(strstr(line, "exited"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_fit_every_width),
	    cmocka_unit_test(in_eighty_columns_all_that_matters_is_there),
	    cmocka_unit_test(a_line_shows_shares_bars_and_history),
	    cmocka_unit_test(ports_are_full_when_none_is_left),
	    cmocka_unit_test(one_that_is_gone_keeps_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
