/* SPDX-License-Identifier: MIT
 *
 * Which rule decides: globs, executables, destinations, draws.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "config/address.h"
#include "shim/shared/match.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static void a_glob_matches_all_of_the_text(void **state)
{
	static const struct {
		const char *glob, *text;
		bool matches;
	} ROWS[] = {
	    {"", "", true},
	    {"", "a", false},
	    {"*", "", true},
	    {"*", "anything/at all", true},
	    {"php-fpm*", "php-fpm8.2", true},
	    {"php-fpm*", "php-fp", false},
	    {"*.so", "lib.so.1", false},
	    {"*.so", "a.so.so", true},
	    {"a*b*c", "a--b--bc", true},
	    {"a*b*c", "a--b--b", false},
	    {"a**c", "ac", true},
	    {"?", "", false},
	    {"?", "x", true},
	    {"[a-c]x", "bx", true},
	    {"[a-c]x", "dx", false},
	    {"[!a-c]x", "dx", true},
	    {"[!a-c]x", "ax", false},
	    {"[^a]", "b", true},
	    {"[]]", "]", true},
	    {"[!]]", "]", false},
	    {"[a-]", "-", true},
	    {"[a\\]b]", "]", true},
	    {"[c-a]", "b", false},
	    {"[abc", "[abc", true},
	    {"[", "[", true},
	    {"\\*", "*", true},
	    {"\\*", "x", false},
	    {"a\\", "a\\", true},
	    {"*[0-9]", "php7", true},
	    {"\xff*", "\xffz", true},
	};

	for (size_t i = 0; i < COUNT(ROWS); i++)
		if (tws_match_glob(ROWS[i].glob, ROWS[i].text) != ROWS[i].matches)
			fail_msg("glob %s, text %s", ROWS[i].glob, ROWS[i].text);
}

static void many_stars_do_not_take_for_ever(void **state)
{
	char text[1001];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_false(tws_match_glob("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text));
}

static void a_glob_with_a_slash_is_held_against_the_path(void **state)
{
	assert_true(tws_match_exe("curl", "/usr/bin/curl"));
	assert_false(tws_match_exe("bin", "/usr/bin/curl"));
	assert_true(tws_match_exe("/usr/*/curl", "/usr/bin/curl"));
	assert_false(tws_match_exe("/curl", "/usr/bin/curl"));
	assert_true(tws_match_exe("*/curl", "/usr/bin/curl"));
	assert_true(tws_match_exe("curl", "curl"));
	assert_false(tws_match_exe("curl", ""));
}

static bool reaches(const char *pattern, const char *destination)
{
	struct tws_problem problem;
	struct tws_target target;
	struct tws_address address;

	assert_true(tws_target_parse(pattern, &target, &problem));
	assert_true(tws_address_parse(destination, &address, &problem));
	return tws_match_target(&target, &address);
}

static void a_destination_matches_by_prefix_and_port(void **state)
{
	assert_true(reaches("10.0.0.0/8:6379", "10.255.0.1:6379"));
	assert_false(reaches("10.0.0.0/8:6379", "11.0.0.1:6379"));
	assert_false(reaches("10.0.0.0/8:6379", "10.0.0.1:6380"));
	assert_true(reaches("10.0.0.0/9", "10.127.0.1:1"));
	assert_false(reaches("10.0.0.0/9", "10.128.0.1:1"));
	assert_true(reaches("0.0.0.0/0", "192.0.2.1:80"));
	assert_false(reaches("0.0.0.0/0", "[::1]:80"));
	assert_true(reaches("*:443", "[fd00::1]:443"));
	assert_true(reaches("*", "10.0.0.1:65535"));
	assert_true(reaches("[fd00::/8]:80-90", "[fdff::1]:90"));
	assert_false(reaches("[fd00::/8]:80-90", "[fdff::1]:91"));
	assert_true(reaches("10.0.0.1", "[::ffff:10.0.0.1]:80"));
	assert_true(reaches("[::ffff:10.0.0.0/104]", "10.9.9.9:80"));
}

static void empty_lists_match_anything(void **state)
{
	const struct tws_policy_image image = {0};
	const struct tws_match match = {0};
	const struct tws_subject subject = {.exe = "/bin/x", .uid = 7};
	const struct tws_address address = {.family = TWS_IPV4, .port = 1};

	assert_true(tws_match_subject(&image, &match, &subject));
	assert_true(tws_match_address(&image, &match, &address));
}

static void the_same_seed_draws_the_same(void **state)
{
	unsigned differing = 0;

	for (uint64_t n = 0; n < 1000; n++) {
		assert_int_equal(tws_draw(1, n), tws_draw(1, n));
		differing += tws_draw(1, n) != tws_draw(2, n);
	}
	assert_true(differing > 990);
}

static void draws_are_spread_evenly(void **state)
{
	unsigned buckets[16] = {0};

	for (uint64_t n = 0; n < 160000; n++)
		buckets[tws_draw(42, n) >> 28]++;
	for (unsigned i = 0; i < 16; i++)
		assert_in_range(buckets[i], 9600, 10400);
}

static void arms_are_picked_by_weight(void **state)
{
	const struct tws_policy_arm arms[] = {{.weight = 1}, {.weight = 3}};
	unsigned second = 0;

	for (uint64_t n = 0; n < 40000; n++)
		second += tws_pick_arm(arms, 2, tws_draw(9, n));
	assert_in_range(second, 29600, 30400);
	assert_int_equal(tws_pick_arm(arms, 2, 0), 0);
	assert_int_equal(tws_pick_arm(arms, 2, UINT32_MAX), 1);
	assert_int_equal(tws_pick_arm(arms, 1, UINT32_MAX), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_glob_matches_all_of_the_text),
	    cmocka_unit_test(many_stars_do_not_take_for_ever),
	    cmocka_unit_test(a_glob_with_a_slash_is_held_against_the_path),
	    cmocka_unit_test(a_destination_matches_by_prefix_and_port),
	    cmocka_unit_test(empty_lists_match_anything),
	    cmocka_unit_test(the_same_seed_draws_the_same),
	    cmocka_unit_test(draws_are_spread_evenly),
	    cmocka_unit_test(arms_are_picked_by_weight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
