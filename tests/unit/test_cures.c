/* SPDX-License-Identifier: MIT
 *
 * The steps of a cure: complete commands for a program, a destination and the way in
 * which the program runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tools/advice/rule.h"
#include "tools/advice/steps.h"

#define RULE "close=fin-reset,to=10.0.0.7:6379"

static const struct advice_finding finding = {
    .id = "TW102",
    .verdict = VERDICT_WARNING,
    .to = "10.0.0.7:6379",
    .advice = "keep connections open; otherwise -p '" RULE "' leaves no TIME_WAIT",
};

static void expect_typed(const struct advice_way *way, const struct advice_finding *about,
			 const char *const *typed)
{
	struct advice_step steps[ADVICE_STEPS];
	size_t count = advice_steps(steps, about, way), i;

	for (i = 0; typed[i]; i++) {
		assert_true(i < count);
		assert_string_equal(steps[i].typed, typed[i]);
	}
	assert_int_equal(count, i);
}

#define EXPECT(way, about, ...)                                                          \
	expect_typed(way, about, (const char *const[]){__VA_ARGS__, NULL})

static void a_name_that_many_programs_may_share_is_not_all_of_the_rule(void **state)
{
	static const char *const rows[][3] = {
	    {"/usr/bin/python3.11", "shop.py", "app=shop.py,exe=python3.11"},
	    {"/usr/bin/curl", "curl", "exe=curl"},
	    {"/usr/bin/curl", NULL, "exe=curl"},
	    {"/usr/sbin/php-fpm8.2", "php-fpm pool www",
	     "app=php-fpm?pool?www,exe=php-fpm8.2"},
	    {"/opt/it's", "a,b*", "app=a?b?,exe=it?s"},
	    {"/bin/x", "a23456789 123456789 123456789 123456789 123456789 123456789 123",
	     "app=a23456789?123456789?123456789?123456789?123456789?123456789?12*,"
	     "exe=x"},
	};
	char text[ADVICE_WHO_SIZE];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_string_equal(advice_who(text, rows[i][0], rows[i][1]), rows[i][2]);
}

static void a_service_is_cured_now_and_for_good(void **state)
{
	struct advice_way way = {
	    .exe = "/opt/cart-worker",
	    .by_shim = true,
	    .origin = {.kind = ORIGIN_UNIT, .name = "cart.service"},
	};

	EXPECT(&way, &finding, "twshim policy load -p '" RULE ",exe=cart-worker'",
	       "twshim policy clear",
	       "twshim enable -p '" RULE ",exe=cart-worker' --restart cart.service",
	       "twshim disable --restart cart.service");
	way.origin.kind = ORIGIN_USER_UNIT;
	way.by_shim = false;
	EXPECT(&way, &finding,
	       "twshim enable --user -p '" RULE
	       ",exe=cart-worker' --restart cart.service",
	       "twshim disable --user --restart cart.service");
}

static void a_policy_in_force_is_kept(void **state)
{
	const struct advice_way way = {
	    .exe = "/opt/cart-worker", .by_shim = true, .has_policy = true};

	EXPECT(&way, &finding, "twshim policy show >twshim-before.conf",
	       "twshim policy load -p '" RULE ",exe=cart-worker' twshim-before.conf",
	       "twshim policy load twshim-before.conf",
	       "eval \"$(twshim env -p '" RULE ",exe=cart-worker')\"");
}

static void cron_gets_a_line_for_its_crontab(void **state)
{
	const struct advice_way way = {
	    .exe = "/opt/a b",
	    .origin = {.kind = ORIGIN_CRON, .command = "/bin/sh -c 'date +%s'"}};
	struct advice_way discreet = way;

	EXPECT(&way, &finding,
	       "twshim run -q -p '" RULE ",exe=a?b' -- /bin/sh -c 'date +\\%s'");
	discreet.discreet = true;
	EXPECT(&discreet, &finding, "eval \"$(twshim env -p '" RULE ",exe=a?b')\"");
}

static void where_no_port_is_left_it_says_when_and_what_frees_some(void **state)
{
	const struct advice_way way = {
	    .exe = "/opt/cart-worker", .by_shim = true, .ring = "61000-65535"};
	struct advice_finding exhausted = finding;
	struct advice_step steps[ADVICE_STEPS];

	exhausted.range = 1000;
	exhausted.returns_first_s = 12;
	exhausted.returns_last_s = 58;
	EXPECT(&way, &exhausted, "twshim wait --to '10.0.0.7:6379' --below 501",
	       "twshim policy load -p 'port_ring=61000-65535," RULE ",exe=cart-worker'",
	       "twshim policy clear",
	       "eval \"$(twshim env -p '" RULE ",exe=cart-worker')\"");
	advice_steps(steps, &exhausted, &way);
	assert_non_null(strstr(steps[0].text, "first in 12 s and the last in 58 s"));
}

static void a_program_is_cured_in_its_own_words(void **state)
{
	const struct advice_way nginx = {.exe = "/usr/sbin/nginx"};
	const struct advice_way go = {.exe = "/opt/shop", .is_go = true};
	const struct advice_way hey = {.exe = "/usr/bin/hey", .is_go = true};
	struct advice_step steps[ADVICE_STEPS];
	struct advice_finding churn = {.id = "TW101",
				       .verdict = VERDICT_NOTICE,
				       .to = "10.0.0.7:80",
				       .advice = "keep connections open"};

	assert_int_equal(advice_steps(steps, &churn, &nginx), 1);
	assert_int_equal(steps[0].kind, STEP_CHANGE);
	assert_non_null(strstr(steps[0].typed, "server 10.0.0.7:80;"));
	assert_int_equal(advice_steps(steps, &churn, &go), 1);
	assert_non_null(strstr(steps[0].typed, "MaxIdleConnsPerHost"));
	assert_int_equal(advice_steps(steps, &churn, &hey), 1);
	assert_non_null(strstr(steps[0].typed, "hey -c 10"));
	/* Also where the advice has a rule, which cannot reach it. */
	assert_int_equal(advice_steps(steps, &finding, &go), 1);
}

static void sysctls_are_commands(void **state)
{
	const struct advice_way none = {0};
	struct advice_finding reuse = {.id = "TW201",
				       .verdict = VERDICT_NOTICE,
				       .advice = "last, set net.ipv4.tcp_tw_reuse=1"};

	EXPECT(&none, &reuse, "sysctl net.ipv4.tcp_tw_reuse",
	       "sysctl -w net.ipv4.tcp_tw_reuse=1");
}

/* ------------------------------------------------------------------------ origins */

static void control_groups_tell_how_a_process_runs(void **state)
{
#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	static const struct {
		const char *text;
		enum origin_kind kind;
		const char *name;
	} rows[] = {
	    {"0::/system.slice/nginx.service\n", ORIGIN_UNIT, "nginx.service"},
	    {"0::/system.slice/cron.service\n", ORIGIN_CRON, ""},
	    {"0::/user.slice/user-1000.slice/session-2.scope\n", ORIGIN_COMMAND, ""},
	    {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.service\n",
	     ORIGIN_USER_UNIT, "a.service"},
	    {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope\n",
	     ORIGIN_COMMAND, ""},
	    {"0::/system.slice/docker-" ID ".scope\n", ORIGIN_CONTAINER, "0123456789ab"},
	    {"0::/kubepods.slice/pod1/cri-containerd-" ID ".scope\n", ORIGIN_CONTAINER,
	     "0123456789ab"},
	    {"5:cpu:/docker/" ID "\n", ORIGIN_CONTAINER, "0123456789ab"},
	    {"0::/\n", ORIGIN_COMMAND, ""},
	};
	struct origin origin;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		origin_of_cgroup(&origin, rows[i].text);
		assert_int_equal(origin.kind, rows[i].kind);
		assert_string_equal(origin.name, rows[i].name);
	}
}

static void a_command_line_is_quoted_for_a_shell(void **state)
{
	static const char words[] = "sh\0-c\0echo 'a'  $b\0";
	static const char control[] = "sh\0a\nb";
	char line[64];

	assert_true(origin_quote(line, sizeof(line), words, sizeof(words) - 1));
	assert_string_equal(line, "sh -c 'echo '\\''a'\\''  $b'");
	assert_false(origin_quote(line, sizeof(line), control, sizeof(control)));
	assert_string_equal(line, "");
	assert_false(origin_quote(line, 16, words, sizeof(words) - 1));
	assert_false(origin_quote(line, sizeof(line), words, 2)); /* it was cut */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_name_that_many_programs_may_share_is_not_all_of_the_rule),
	    cmocka_unit_test(a_service_is_cured_now_and_for_good),
	    cmocka_unit_test(a_policy_in_force_is_kept),
	    cmocka_unit_test(cron_gets_a_line_for_its_crontab),
	    cmocka_unit_test(where_no_port_is_left_it_says_when_and_what_frees_some),
	    cmocka_unit_test(a_program_is_cured_in_its_own_words),
	    cmocka_unit_test(sysctls_are_commands),
	    cmocka_unit_test(control_groups_tell_how_a_process_runs),
	    cmocka_unit_test(a_command_line_is_quoted_for_a_shell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
