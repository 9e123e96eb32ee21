/* SPDX-License-Identifier: MIT
 *
 * Destinations and addresses of a policy: what is read, and what is said about the rest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "config/address.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static void destinations_are_read_and_written(void **state)
{
	static const struct {
		const char *text, *again;
	} ROWS[] = {
	    {"10.0.0.0/8:6379", "10.0.0.0/8:6379"},
	    {"[fd00::/8]:6379", "[fd00::/8]:6379"},
	    {"*:443", "*:443"},
	    {":443", "*:443"},
	    {"*", "*"},
	    {"*:*", "*"},
	    {"10.0.0.7", "10.0.0.7"},
	    {"10.0.0.7/32", "10.0.0.7"},
	    {"10.0.0.7:*", "10.0.0.7"},
	    {"[::1]:80-90", "[::1]:80-90"},
	    {"[::1]", "[::1]"},
	    {"::1", "[::1]"},
	    {"::", "[::]"},
	    {"::/0", "[::/0]"},
	    {"fd00::/8", "[fd00::/8]"},
	    {"fd00::6379", "[fd00::6379]"},
	    {"fd00::1:a", "[fd00::1:a]"},
	    {"[fd00::1:6379]", "[fd00::1:6379]"},
	    {"fd00:1:2:3:4:5:6:7", "[fd00:1:2:3:4:5:6:7]"},
	    {"0.0.0.0/0:1-65535", "0.0.0.0/0:1-65535"},
	    {"[::ffff:10.0.0.7]:80", "10.0.0.7:80"},
	    {"[::ffff:10.0.0.0/104]:80", "10.0.0.0/8:80"},
	};
	char text[TWS_TARGET_TEXT_SIZE];
	struct tws_problem problem;
	struct tws_target target;

	for (size_t i = 0; i < COUNT(ROWS); i++) {
		if (!tws_target_parse(ROWS[i].text, &target, &problem))
			fail_msg("%s: %s", problem.what, problem.cure);
		assert_string_equal(tws_target_format(&target, text), ROWS[i].again);
	}
}

static void wrong_destinations_come_with_a_cure(void **state)
{
	static const struct {
		const char *text, *what, *cure;
	} ROWS[] = {
	    {"", "names no destination", "\"*\""},
	    {"redis", "is not an IPv4 or IPv6 address", "not looked up"},
	    {"redis:6379", "is not an IPv4 or IPv6 address", "not looked up"},
	    {"10.0.0", "is not an IPv4 or IPv6 address", "not looked up"},
	    {"10.0.0.1/8", "beyond its prefix", "write \"10.0.0.0/8\""},
	    {"[fd00::1/8]:80", "beyond its prefix", "write \"[fd00::/8]:80\""},
	    {"10.0.0.0/33", "malformed prefix", "/0 to /32"},
	    {"10.0.0.0/", "malformed prefix", "/0 to /32"},
	    {"10.0.0.0/-1", "malformed prefix", "/0 to /32"},
	    {"[::/129]", "malformed prefix", "/0 to /128"},
	    {"10.0.0.1:0", "is not a port", "1 to 65535"},
	    {"10.0.0.1:65536", "is not a port", "1 to 65535"},
	    {"10.0.0.1:", "is not a port", "1 to 65535"},
	    {"10.0.0.1:http", "is not a port", "1 to 65535"},
	    {"10.0.0.1:80-", "is not a port", "1 to 65535"},
	    {"10.0.0.1:90-80", "runs backwards", "write \"80-90\""},
	    {"[::1", "'[' without its ']'", "[fd00::1]:6379"},
	    {"[fd00::]/8:80", "after the ']'", "inside"},
	    {"fd00::1:6379", "may end in a port", "write \"[fd00::1]:6379\""},
	    {"::1:80", "may end in a port", "or \"[::1:80]\" for the address"},
	    {"*/8", "prefix without an address", "before the '/'"},
	    {"[]:80", "prefix without an address", "before the '/'"},
	    {"fe80::1%eth0", "is not an IPv4 or IPv6 address", "zone"},
	    {"1111111111111111111111111111111111111111111111111111111111111111111111",
	     "too long", "IPv4 or IPv6"},
	};
	struct tws_problem problem;
	struct tws_target target;

	for (size_t i = 0; i < COUNT(ROWS); i++) {
		if (tws_target_parse(ROWS[i].text, &target, &problem))
			fail_msg("\"%s\" was taken", ROWS[i].text);
		if (!strstr(problem.what, ROWS[i].what) ||
		    !strstr(problem.cure, ROWS[i].cure))
			fail_msg("\"%s\": %s: %s", ROWS[i].text, problem.what,
				 problem.cure);
	}
}

static void an_address_is_one_address_and_port(void **state)
{
	struct tws_problem problem;
	struct tws_address address;

	assert_true(tws_address_parse("[fd00::1]:80", &address, &problem));
	assert_int_equal(address.family, TWS_IPV6);
	assert_int_equal(address.port, 80);
	assert_false(tws_address_parse("10.0.0.1", &address, &problem));
	assert_false(tws_address_parse("*:80", &address, &problem));
	assert_false(tws_address_parse("10.0.0.0/8:80", &address, &problem));
	assert_false(tws_address_parse("10.0.0.1:80-81", &address, &problem));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(destinations_are_read_and_written),
	    cmocka_unit_test(wrong_destinations_come_with_a_cure),
	    cmocka_unit_test(an_address_is_one_address_and_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
