/* SPDX-License-Identifier: MIT
 *
 * Checks the rules against the rows of advice_rows.h, and what all findings must satisfy.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/advice/advice.h"
#include "tools/advice/ways.h"
#include "tools/advice/doctor.h"
#include "tools/model/holders.h"
#include "tools/kernel/host.h"
#include "tools/model/traffic.h"
#include "tests/unit/advice_rows.h"

static const struct advice_finding *find_finding(const struct advice *advice,
						 const char *id)
{
	for (size_t i = 0; i < advice->count; i++)
		if (strcmp(advice->findings[i].id, id) == 0)
			return &advice->findings[i];
	return NULL;
}

/* Expects the finding to have this verdict and to contain this text. */
static void expect_finding(const struct advice *advice, const char *id,
			   enum advice_verdict verdict, const char *says, size_t row)
{
	const struct advice_finding *finding = find_finding(advice, id);
	enum advice_verdict found = finding ? finding->verdict : VERDICT_OK;

	if (found != verdict)
		fail_msg("row %zu: %s is %s, not %s: %s", row, id,
			 advice_verdict_name(found), advice_verdict_name(verdict),
			 finding ? finding->evidence : "");
	if (says && (!finding || (!strstr(finding->evidence, says) &&
				  !strstr(finding->advice, says))))
		fail_msg("row %zu: %s does not say \"%s\": %s: %s", row, id, says,
			 finding ? finding->evidence : "",
			 finding ? finding->advice : "");
}

static void examine_row(const struct counter_row *row, struct advice *advice,
			const struct model_recent *recent)
{
	struct tws_counters counters = {0};
	struct advice_facts facts = {
	    .client = {.app = "php-fpm",
		       .to = "10.0.0.7:6379",
		       .counters = &counters,
		       .processes = row->processes ? row->processes : 1,
		       .short_lived_ms = 1000,
		       .recent = recent,
		       .lately = recent ? recent : &row->lately},
	    .ports = {.fill = row->ports, .pool = row->pool.range ? &row->pool : NULL},
	};

	for (size_t i = 0; i < 6; i++)
		if (row->counts[i].value)
			counters.value[row->counts[i].counter] = row->counts[i].value;
	assert_int_equal(advice_examine(advice, ADVICE_DESTINATION, &facts), 0);
	facts.client.to = NULL;
	assert_int_equal(advice_examine(advice, ADVICE_APP, &facts), 0);
}

static void applications_are_judged_by_their_counters(void **state)
{
	for (size_t i = 0; i < sizeof(counter_rows) / sizeof(*counter_rows); i++) {
		struct advice advice = {0};

		examine_row(&counter_rows[i], &advice, NULL);
		expect_finding(&advice, counter_rows[i].id, counter_rows[i].verdict,
			       counter_rows[i].says, i);
		advice_free(&advice);
	}
}

/* Except for ports, which are judged as they are now, and for what the shim missed. */
static void what_is_over_for_a_minute_is_passed_over(void **state)
{
	static const struct model_recent nothing;
	const char *id;

	for (size_t i = 0; i < sizeof(counter_rows) / sizeof(*counter_rows); i++) {
		struct advice advice = {0};

		id = counter_rows[i].id;
		examine_row(&counter_rows[i], &advice, &nothing);
		if (strcmp(id, "TW103") != 0 && strcmp(id, "TW111") != 0)
			expect_finding(&advice, id, VERDICT_OK, NULL, i);
		advice_free(&advice);
	}
}

/* ----------------------------------------------------------------------- of the host */

static void examine_host_row(const struct host_row *row, struct advice *advice)
{
	struct host host = {.page_size = 4096};
	struct traffic traffic = row->traffic;
	struct traffic_pair pair = row->pair;
	struct advice_facts facts = {.host = {&host, &traffic}};

	for (size_t i = 0; i < 4; i++)
		if (row->facts[i].fact || row->facts[i].value || row->facts[i].error ||
		    i == 0)
			host.fact[row->facts[i].fact] = (struct host_value){
			    .known = row->facts[i].error ? HOST_UNKNOWN : HOST_KNOWN,
			    .error = row->facts[i].error,
			    .value = row->facts[i].value,
			};
	if (pair.used) {
		traffic.pairs = &pair;
		traffic.pair_count = 1;
	}
	advice->keep_ok = true;
	assert_int_equal(advice_examine(advice, ADVICE_HOST, &facts), 0);
}

static void the_host_is_judged_by_its_numbers(void **state)
{
	for (size_t i = 0; i < sizeof(host_rows) / sizeof(*host_rows); i++) {
		struct advice advice = {0};

		examine_host_row(&host_rows[i], &advice);
		expect_finding(&advice, host_rows[i].id, host_rows[i].verdict,
			       host_rows[i].says, i);
		advice_free(&advice);
	}
}

static void features_and_namespaces_are_judged_by_what_was_tried(void **state)
{
	static const struct host_value yes = {.known = HOST_KNOWN, .value = 1};
	static const struct host_value no = {.known = HOST_KNOWN, .value = 0};
	struct traffic_pair pair = {.to = FAR_AWAY, .used = 50, .range = 100};
	struct traffic traffic = {.time_wait = 20};
	struct host host = {.feature = {no, no, yes, yes}, .same_as_init = yes};
	struct advice_facts facts = {.host = {&host, &traffic}};
	struct advice advice = {.keep_ok = true};

	advice_examine(&advice, ADVICE_HOST, &facts);
	expect_finding(&advice, "TW216", VERDICT_OK, "missing: IP_LOCAL_PORT_RANGE", 0);
	expect_finding(&advice, "TW215", VERDICT_OK, "process 1", 0);
	advice_free(&advice);

	traffic.pairs = &pair;
	traffic.pair_count = 1;
	host.same_as_init = no;
	host.compared = (struct host_value){.known = HOST_KNOWN, .value = 2};
	strcpy(host.differences, "tw_reuse 2 (there 1)");
	advice.keep_ok = true;
	advice_examine(&advice, ADVICE_HOST, &facts);
	expect_finding(&advice, "TW216", VERDICT_NOTICE, "2 of 4", 1);
	expect_finding(&advice, "TW215", VERDICT_NOTICE, "tw_reuse 2 (there 1)", 1);
	advice_free(&advice);

	host.compared = (struct host_value){.error = EPERM};
	advice.keep_ok = true;
	advice_examine(&advice, ADVICE_HOST, &facts);
	expect_finding(&advice, "TW215", VERDICT_UNKNOWN, "not permitted", 2);
	advice_free(&advice);
}

static void who_forgets_to_close_is_named(void **state)
{
	struct holder holder = {
	    .pid = 812, .name = "php-fpm", .count = 20, .there = 18, .to = FAR_AWAY};
	struct holders holders = {.list = &holder, .count = 1, .hidden = 3};
	struct advice_facts facts = {.holding = {&holders, &holder}};
	struct advice advice = {0};

	advice_examine(&advice, ADVICE_HOLDER, &facts);
	expect_finding(&advice, "TW213", VERDICT_NOTICE, "php-fpm (812) holds 20", 0);
	expect_finding(&advice, "TW213", VERDICT_NOTICE, "to 10.0.0.7:6379", 0);
	advice_free(&advice);
	holder = (struct holder){.count = 1000};
	advice_examine(&advice, ADVICE_HOLDER, &facts);
	expect_finding(&advice, "TW213", VERDICT_WARNING, "as root", 1);
	advice_free(&advice);
	holder.count = 19;
	advice_examine(&advice, ADVICE_HOLDER, &facts);
	expect_finding(&advice, "TW213", VERDICT_OK, NULL, 2);
	advice_free(&advice);
}

static void what_is_asked_about_is_answered(void **state)
{
	struct reach reach = {.verdict = REACH_STATIC, .why = "it is static"};
	struct advice_coverage coverage = {.seen = 90, .opened = 100, .seconds = 1};
	struct advice_facts facts = {.subject = {.reach = &reach, .coverage = &coverage}};
	struct advice advice = {.keep_ok = true};
	const struct place_trouble trouble = {"/dev/shm/twshim-7", "taken", "prepare 7"};

	advice_examine(&advice, ADVICE_SUBJECT, &facts);
	expect_finding(&advice, "TW301", VERDICT_WARNING, "it is static", 0);
	expect_finding(&advice, "TW302", VERDICT_OK, "90 %", 0);
	advice_free(&advice);
	reach.verdict = REACH_NOT_LOADED;
	coverage.seen = 89;
	advice_examine(&advice, ADVICE_SUBJECT, &facts);
	expect_finding(&advice, "TW301", VERDICT_WARNING, "twshim enable --restart UNIT",
		       1);
	expect_finding(&advice, "TW302", VERDICT_NOTICE,
		       "shims counted 89 of them (89 %)", 1);
	advice_free(&advice);
	coverage.not_root = true;
	advice_examine(&advice, ADVICE_SUBJECT, &facts);
	expect_finding(&advice, "TW302", VERDICT_NOTICE,
		       "shims that this user may read counted 89 of them (89 %)", 1);
	expect_finding(&advice, "TW302", VERDICT_NOTICE, "other users, from programs", 1);
	expect_finding(&advice, "TW302", VERDICT_NOTICE,
		       "root can read the counts of all users", 1);
	advice_free(&advice);
	reach.verdict = REACH_LOADED;
	coverage = (struct advice_coverage){0};
	advice_examine(&advice, ADVICE_SUBJECT, &facts);
	expect_finding(&advice, "TW301", VERDICT_OK, NULL, 2);
	expect_finding(&advice, "TW302", VERDICT_OK, NULL, 2);
	advice_free(&advice);
	facts.subject.full = "/run/d";
	advice_examine(&advice, ADVICE_SUBJECT, &facts);
	expect_finding(&advice, "TW301", VERDICT_WARNING, "tmpfs of /run/d", 3);
	advice_free(&advice);
	facts.subject.places.has_fleeting = true;
	facts.subject.places.fleeting_user = 1000;
	advice_examine(&advice, ADVICE_SUBJECT, &facts);
	expect_finding(&advice, "TW303", VERDICT_NOTICE, "twshim prepare 1000", 3);
	advice_free(&advice);
	facts.subject.places.trouble = &trouble;
	facts.subject.places.trouble_count = 2;
	advice_examine(&advice, ADVICE_SUBJECT, &facts);
	expect_finding(&advice, "TW303", VERDICT_WARNING, "/dev/shm/twshim-7: taken", 3);
	advice_free(&advice);
}

/* ---------------------------------------------------------------------- of them all */

static bool holds_digit(const char *text)
{
	return strpbrk(text, "0123456789") != NULL;
}

static void check_words(const struct advice *advice)
{
	const struct advice_finding *finding;

	for (size_t i = 0; i < advice->count; i++) {
		finding = &advice->findings[i];
		if (finding->verdict == VERDICT_UNKNOWN)
			continue;
		if (!holds_digit(finding->evidence))
			fail_msg("%s: no number in: %s", finding->id, finding->evidence);
		if (finding->verdict > VERDICT_UNKNOWN && !*finding->advice)
			fail_msg("%s: no advice", finding->id);
		if (strlen(finding->evidence) > ADVICE_TEXT_SIZE - 8 ||
		    strlen(finding->advice) > ADVICE_TEXT_SIZE - 8)
			fail_msg("%s: is cut", finding->id);
	}
}

static void every_sentence_holds_a_number_and_every_finding_a_cure(void **state)
{
	for (size_t i = 0; i < sizeof(counter_rows) / sizeof(*counter_rows); i++) {
		struct advice advice = {0};

		examine_row(&counter_rows[i], &advice, NULL);
		check_words(&advice);
		advice_free(&advice);
	}
	for (size_t i = 0; i < sizeof(host_rows) / sizeof(*host_rows); i++) {
		struct advice advice = {0};

		examine_host_row(&host_rows[i], &advice);
		check_words(&advice);
		advice_free(&advice);
	}
}

static void a_host_of_which_nothing_is_known_has_nothing_wrong(void **state)
{
	struct host host = {0};
	struct advice_facts facts = {.host = {.settings = &host}};
	struct advice advice = {.keep_ok = true};

	advice_examine(&advice, ADVICE_HOST, &facts);
	for (size_t i = 0; i < advice.count; i++)
		assert_true(advice.findings[i].verdict <= VERDICT_UNKNOWN);
	advice_free(&advice);
}

static void every_finding_is_explained_and_tested(void **state)
{
	size_t rows;

	for (size_t i = 0; i < advice_explanation_count; i++) {
		const struct advice_explanation *about = &advice_explanations[i];

		assert_ptr_equal(advice_explain(about->id), about);
		if (strlen(about->background) < 60)
			fail_msg("%s: no background", about->id);
		rows = 0;
		for (size_t r = 0; r < sizeof(counter_rows) / sizeof(*counter_rows); r++)
			rows += strcmp(counter_rows[r].id, about->id) == 0;
		for (size_t r = 0; r < sizeof(host_rows) / sizeof(*host_rows); r++)
			rows += strcmp(host_rows[r].id, about->id) == 0;
		if (rows < 2 && about->scope != ADVICE_HOLDER &&
		    about->scope != ADVICE_SUBJECT && strcmp(about->id, "TW215") != 0 &&
		    strcmp(about->id, "TW216") != 0)
			fail_msg("%s: %zu rows", about->id, rows);
	}
	assert_null(advice_explain("TW999"));
	assert_non_null(advice_explain("tw101"));
}

static void more_important_findings_come_first(void **state)
{
	struct advice_finding findings[] = {
	    {.id = "TW2", .verdict = VERDICT_NOTICE, .weight = 9},
	    {.id = "TW3", .verdict = VERDICT_OK, .weight = 99},
	    {.id = "TW1", .verdict = VERDICT_PROBLEM, .weight = 1},
	    {.id = "TW4", .verdict = VERDICT_UNKNOWN},
	    {.id = "TW5", .verdict = VERDICT_PROBLEM, .weight = 2},
	    {.id = "TW6", .verdict = VERDICT_WARNING, .weight = 99, .aside = true},
	};
	struct advice advice = {.findings = findings, .count = 6};
	const char *const order[] = {"TW5", "TW1", "TW2", "TW6", "TW4", "TW3"};

	advice_sort(&advice);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(advice.findings[i].id, order[i]);
}

static char *markdown(void)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	assert_non_null(file);
	doctor_print_markdown(file);
	fclose(file);
	return text;
}

static const char *say(const struct advice *advice, const struct model *model,
		       const struct traffic *traffic)
{
	static char text[ADVICE_HEADLINE_SIZE];

	return advice_say_verdict(text, sizeof(text), advice, model, traffic, NULL);
}

static void the_verdict_says_why_time_wait_is_harmless(void **state)
{
	struct traffic_pair pair = {.to = FAR_AWAY, .used = 10, .range = 28232};
	struct model model = {.has_table = true};
	struct traffic traffic = {
	    .incoming = 13450, .incoming_at_port = 13450, .incoming_port = 3000};
	struct advice none = {0};

	assert_string_equal(say(&none, &model, &traffic),
			    "Nothing is wrong: 0 TIME_WAIT sockets");
	model.kernel.time_wait = 13450;
	assert_string_equal(say(&none, &model, &traffic),
			    "Harmless: 13,450 TIME_WAIT on port 3000 are incoming; they "
			    "cost 3.4 MB");
	traffic = (struct traffic){.pairs = &pair, .pair_count = 1};
	model.kernel.time_wait = 10;
	assert_string_equal(
	    say(&none, &model, &traffic),
	    "Harmless: 10 TIME_WAIT sockets; at most 1 % of the ports to "
	    "one destination, 10.0.0.7:6379, are in use; they cost 2.6 kB");
	model.has_table = false;
	assert_string_equal(say(&none, &model, NULL),
			    "Not known: the kernel's table cannot be read");
}

/* Whatever else there is more of. */
static void the_verdict_is_what_hurts_now(void **state)
{
	struct tws_counters counters = {0};
	struct traffic_pair pair = {.to = FAR_AWAY,
				    .used = 900,
				    .time_wait = 900,
				    .range = 1000,
				    .owned = 792,
				    .rate = 8,
				    .exhausted_in_s = 13};
	struct model_recent recent = {.short_lived = 90000,
				      .ending[TWS_END_LOCAL_FIN] = 90000};
	struct advice_facts facts = {.client = {.app = "cart-worker",
						.to = "10.0.0.7:6379",
						.counters = &counters,
						.processes = 1,
						.time_wait.confirmed = 792,
						.recent = &recent,
						.lately = &recent},
				     .ports = {.fill = {900, 1000},
					       .pair = &pair,
					       .there = &pair,
					       .pair_is_ours = true}};
	struct model model = {.has_table = true, .kernel.time_wait = 900};
	struct advice advice = {0};

	counters.value[TWS_short_lived] = counters.value[TWS_established] = 90000;
	counters.value[TWS_ended_local_fin] = 90000;
	assert_int_equal(advice_examine(&advice, ADVICE_DESTINATION, &facts), 0);
	advice_sort(&advice);
	assert_string_equal(say(&advice, &model, NULL),
			    "Ports to 10.0.0.7:6379 run out in 13 s; cart-worker holds "
			    "88 %");
	advice_free(&advice);
	pair.used = pair.time_wait = 600; /* no problem, but a warning that hurts */
	pair.owned = 600;
	pair.exhausted_in_s = 0;
	facts.ports.fill.used = 600;
	assert_int_equal(advice_examine(&advice, ADVICE_DESTINATION, &facts), 0);
	advice_sort(&advice);
	assert_string_equal(say(&advice, &model, NULL),
			    "60 % of the ports to 10.0.0.7:6379 are in use; cart-worker "
			    "holds 100 %");
	advice_free(&advice);
}

static void the_manual_is_that_of_the_table(void **state)
{
	char *table = markdown(), *manual = calloc(1, 1 << 20);
	FILE *file = fopen("docs/doctor.md", "re");

	assert_non_null(manual);
	assert_non_null(file);
	assert_true(fread(manual, 1, (1 << 20) - 1, file) > 0);
	fclose(file);
	if (!strstr(manual, table))
		fail_msg("docs/doctor.md is not what the table of findings says: run "
			 "make docs");
	free(table);
	free(manual);
}

static void who_can_see_a_program_depends_on_it_and_on_the_machine(void **state)
{
	struct reach reach = {.verdict = REACH_STATIC, .why = "it is static"};
	struct ways_facts facts = {.reach = &reach, .has_notify = true};
	struct way ways[TWS_OBSERVERS];

	ways_decide(&facts, ways);
	assert_false(ways[TWS_OBSERVER_SHIM].sees);
	assert_string_equal(ways[TWS_OBSERVER_SHIM].how, "it is static");
	assert_true(ways[TWS_OBSERVER_BPF].sees && ways[TWS_OBSERVER_SUPERVISOR].sees);
	facts.no_bpf = "no BTF";
	facts.has_notify = false;
	ways_decide(&facts, ways);
	assert_string_equal(ways[TWS_OBSERVER_BPF].how, "no BTF");
	assert_false(ways[TWS_OBSERVER_BPF].sees || ways[TWS_OBSERVER_SUPERVISOR].sees);
	facts.has_notify = true;
	reach.verdict = REACH_CAPABILITIES;
	ways_decide(&facts, ways);
	assert_false(ways[TWS_OBSERVER_SUPERVISOR].sees);
	reach.verdict = REACH_LOADED;
	facts.runs = true;
	ways_decide(&facts, ways);
	assert_true(ways[TWS_OBSERVER_SHIM].sees && ways[TWS_OBSERVER_SUPERVISOR].sees);
	facts.no_attach = "it is traced";
	ways_decide(&facts, ways);
	assert_string_equal(ways[TWS_OBSERVER_SUPERVISOR].how, "it is traced");
	assert_false(ways[TWS_OBSERVER_SUPERVISOR].sees);
	facts.now[TWS_OBSERVER_SUPERVISOR] = true;
	ways_decide(&facts, ways);
	assert_true(ways[TWS_OBSERVER_SUPERVISOR].sees);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(applications_are_judged_by_their_counters),
	    cmocka_unit_test(what_is_over_for_a_minute_is_passed_over),
	    cmocka_unit_test(the_host_is_judged_by_its_numbers),
	    cmocka_unit_test(features_and_namespaces_are_judged_by_what_was_tried),
	    cmocka_unit_test(who_forgets_to_close_is_named),
	    cmocka_unit_test(what_is_asked_about_is_answered),
	    cmocka_unit_test(who_can_see_a_program_depends_on_it_and_on_the_machine),
	    cmocka_unit_test(every_sentence_holds_a_number_and_every_finding_a_cure),
	    cmocka_unit_test(a_host_of_which_nothing_is_known_has_nothing_wrong),
	    cmocka_unit_test(every_finding_is_explained_and_tested),
	    cmocka_unit_test(more_important_findings_come_first),
	    cmocka_unit_test(the_verdict_says_why_time_wait_is_harmless),
	    cmocka_unit_test(the_verdict_is_what_hurts_now),
	    cmocka_unit_test(the_manual_is_that_of_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
