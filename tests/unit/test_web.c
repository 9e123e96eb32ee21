/* SPDX-License-Identifier: MIT
 *
 * Which Host headers our own page can send, and which paths can be requested.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "config/address.h"
#include "tools/web/web.h"

static struct tws_address address(const char *text)
{
	struct tws_address address;
	struct tws_problem problem;

	assert_true(tws_address_parse(text, &address, &problem));
	return address;
}

static void on_loopback_only_its_names_are_hosts(void **state)
{
	static const char *const good[] = {"localhost",	  "LOCALHOST:9464", "127.0.0.1",
					   "127.0.0.1:1", "[::1]",	    "[::1]:9464"};
	static const char *const bad[] = {"",
					  "evil.example",
					  "127.0.0.1.evil.example",
					  "localhost.evil",
					  "localhost:80@evil",
					  "127.0.0.2",
					  "[::1].evil",
					  "evil.example:9464",
					  "localhost:9464 x",
					  "::1",
					  "127.0.0.1:94a64",
					  "xlocalhost"};
	static const char *const listens[] = {"127.0.0.1:9464", "[::1]:9464"};

	for (size_t i = 0; i < 2; i++) {
		struct tws_address listen = address(listens[i]);

		for (size_t j = 0; j < sizeof(good) / sizeof(*good); j++)
			assert_true(web_host_is_ours(&listen, good[j]));
		for (size_t j = 0; j < sizeof(bad) / sizeof(*bad); j++)
			assert_false(web_host_is_ours(&listen, bad[j]));
		assert_true(web_host_is_ours(&listen, NULL));
	}
}

static void elsewhere_any_name_will_do(void **state)
{
	struct tws_address listen = address("10.0.0.7:9464");

	assert_true(web_host_is_ours(&listen, "metrics.example"));
	listen = address("127.0.0.9:80");
	assert_true(web_host_is_ours(&listen, "127.0.0.9:80"));
	assert_false(web_host_is_ours(&listen, "metrics.example"));
}

static void a_path_is_a_resource_or_none(void **state)
{
	assert_null(web_find("/nothing", NULL));
	assert_null(web_find("/page.css/", NULL));
	assert_string_equal(web_find("/", NULL)->type, "text/html; charset=utf-8");
	assert_string_equal(web_find("/metrics", NULL)->type, METRICS_TEXT_TYPE);
	assert_string_equal(web_find("/metrics", "application/openmetrics-text")->type,
			    METRICS_OPENMETRICS_TYPE);
	assert_string_equal(web_find("/api/report", "application/openmetrics-text")->type,
			    "application/json");
}

static void the_page_and_its_library_are_in_the_program(void **state)
{
	const struct web_resource *page = web_find("/", NULL);
	const struct web_resource *chart = web_find("/chart.js", NULL);

	assert_memory_equal(page->start, "<!doctype html>", 15);
	assert_memory_equal(page->end - 8, "</html>\n", 8);
	assert_true(chart->end - chart->start > 50000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(on_loopback_only_its_names_are_hosts),
	    cmocka_unit_test(elsewhere_any_name_will_do),
	    cmocka_unit_test(a_path_is_a_resource_or_none),
	    cmocka_unit_test(the_page_and_its_library_are_in_the_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
