/* SPDX-License-Identifier: MIT
 *
 * Rules of one line (-p): what they mean, and what is said about wrong ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "config/compile.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static void a_rule_of_one_line_is_a_rule(void **state)
{
	static const char *const RULES[] = {
	    "close=reset,to=10.0.0.7:6379,to=[::1]:80,exe=curl,uid=root,"
	    "failed_percent=2.5,dry_run=true,name=mine",
	};
	const struct tws_source source = {.rules = RULES, .rule_count = 1};
	struct tws_complaints complaints = {0};
	struct tws_policy_image *image = tws_compile(&source, &complaints);
	const struct tws_rule *rule;

	assert_non_null(image);
	rule = tws_policy_at(image, image->rules.offset);
	assert_string_equal(tws_policy_at(image, rule->name), "mine");
	assert_string_equal(tws_policy_at(image, image->source), "-p");
	assert_int_equal(rule->match.to.count, 2);
	assert_int_equal(rule->match.exe.count, 1);
	assert_int_equal(rule->match.uid.count, 1);
	assert_int_equal(rule->action.close, TWS_CLOSE_RESET);
	assert_int_equal(rule->action.stop_failed_ppm, 25000);
	assert_int_equal(rule->action.flags, TWS_ACTION_DRY_RUN);
	tws_complaints_free(&complaints);
	free(image);
}

static void errors_of_one_line_name_the_rule(void **state)
{
	static const struct {
		const char *rule, *what, *cure;
	} ROWS[] = {
	    {"clse=reset", "clse is not a setting", "did you mean close?"},
	    {"close", "close has no value", "close=VALUE"},
	    {"match=x", "match is a group", "to=10.0.0.7:6379"},
	    {"stop_if=x", "stop_if is a group", "failed_percent=5"},
	    {"close=keep,close=keep", "close is set twice", "leave one out"},
	    {"close=keep,", " is not a setting", ""},
	    {"close=rst", "\"rst\" is not one of its values", "\"reset\"?"},
	    {"late_bind=yes", "of another type", "true or false"},
	    {"sample=ten", "of another type", "0 to 100"},
	    {"sample=1e3", "of another type", "0 to 100"},
	    {"sample=99999999999999999999", "of another type", "0 to 100"},
	    {"failed_percent=x", "of another type", "over 0"},
	    {"failed_percent=nan", "out of range", "over 0"},
	    {"to=redis", "is not an IPv4 or IPv6", "not looked up"},
	    {"detail=true", "is not allowed in a rule", "the file itself"},
	    {"fin-reset", "fin-reset is not a setting", "did you mean close=fin-reset?"},
	    {"to=6379", "\"6379\" is not an IPv4 or IPv6", "did you mean *:6379?"},
	    {"close=reset;to=*:1", "contains two settings", "separate them with commas"},
	    {"close=reset to=*:1", "contains two settings", "separate them with commas"},
	    {"close=reset", "every program", "allow_everything = true"},
	};

	for (size_t i = 0; i < COUNT(ROWS); i++) {
		const char *const rules[] = {"close=keep,to=*:1", ROWS[i].rule};
		const struct tws_source source = {.rules = rules, .rule_count = 2};
		struct tws_complaints complaints = {0};

		assert_null(tws_compile(&source, &complaints));
		assert_string_equal(complaints.list[0].file, "-p");
		assert_int_equal(complaints.list[0].line, 2);
		if (!strstr(complaints.list[0].problem.what, ROWS[i].what) ||
		    !strstr(complaints.list[0].problem.cure, ROWS[i].cure))
			fail_msg("%s: %s: %s", ROWS[i].rule,
				 complaints.list[0].problem.what,
				 complaints.list[0].problem.cure);
		tws_complaints_free(&complaints);
	}
}

static void a_rule_of_one_line_may_allow_everything(void **state)
{
	static const char *const RULES[] = {"close=reset,allow_everything=true"};
	const struct tws_source source = {.rules = RULES, .rule_count = 1};
	struct tws_complaints complaints = {0};
	struct tws_policy_image *image = tws_compile(&source, &complaints);

	assert_non_null(image);
	tws_complaints_free(&complaints);
	free(image);
}

static void a_line_with_only_deepbind_adds_no_rule_before_the_others(void **state)
{
	static const char *const RULES[] = {"deepbind=strip", "close=fin-reset,to=*:1"};
	const struct tws_source source = {.rules = RULES, .rule_count = 2};
	struct tws_complaints complaints = {0};
	struct tws_policy_image *image = tws_compile(&source, &complaints);
	const struct tws_rule *rule;

	assert_non_null(image);
	assert_int_equal(complaints.count, 0);
	assert_int_equal(image->settings.deepbind, TWS_DEEPBIND_STRIP);
	assert_int_equal(image->rules.count, 1);
	rule = tws_policy_at(image, image->rules.offset);
	assert_int_equal(rule->action.close, TWS_CLOSE_FIN_RESET);
	tws_complaints_free(&complaints);
	free(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_rule_of_one_line_is_a_rule),
	    cmocka_unit_test(errors_of_one_line_name_the_rule),
	    cmocka_unit_test(a_rule_of_one_line_may_allow_everything),
	    cmocka_unit_test(a_line_with_only_deepbind_adds_no_rule_before_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
