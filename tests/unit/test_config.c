/* SPDX-License-Identifier: MIT
 *
 * The policy language: what it accepts, what it says about the rest, and that the text of
 * an image compiles to the same image. Run it from the root of the tree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/compile.h"
#include "config/describe.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static char policy_file[] = "/tmp/twshim-policy-XXXXXX";

static struct tws_policy_image *compile_text(const char *text,
					     struct tws_complaints *complaints)
{
	const struct tws_source source = {.file = policy_file};
	FILE *file = fopen(policy_file, "we");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	*complaints = (struct tws_complaints){0};
	return tws_compile(&source, complaints);
}

/* Compiles a policy that must have no errors. */
static struct tws_policy_image *accept(const char *text)
{
	struct tws_complaints complaints;
	struct tws_policy_image *image = compile_text(text, &complaints);

	for (size_t i = 0; i < complaints.count; i++)
		if (!complaints.list[i].warning)
			print_message("%s: %s\n", complaints.list[i].problem.what,
				      complaints.list[i].problem.cure);
	tws_complaints_free(&complaints);
	assert_non_null(image);
	assert_null(tws_policy_validate(image, image->size));
	return image;
}

static const struct tws_rule *rule_of(const struct tws_policy_image *image,
				      unsigned index)
{
	const struct tws_rule *rules = tws_policy_at(image, image->rules.offset);

	assert_true(index < image->rules.count);
	return &rules[index];
}

/* ------------------------------------------------------------------- errors */

struct row {
	const char *text;
	unsigned line;
	const char *what, *cure;
};

/* One rule, of which the interesting part is at line 2. */
#define RULE(text)  "rules = ( {\n" text " } );"
#define MATCH(text) RULE("match = { " text " };")
#define RESET(text) RULE("match = { " text " };\nclose = \"reset\";")
#define FIFTY	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct row ERRORS[] = {
    /* syntax */
    {"rules = (\n{ close = reset; } );", 2, "is not valid libconfig syntax",
     "missing ';'"},
    {"detail = true\nx", 2, "is not valid libconfig syntax", "missing"},
    {"detail = true;\ndetail = false;", 2, "a second time", "leave one out"},
    {"\n@include \"/nonexistent\"\n", 2, "@include is not supported", "one file"},
    {MATCH("uid = [1, \"x\"];"), 2, "mixes types", "( )"},
    /* names and places */
    {"\nshortlived_ms = 1;", 2, "shortlived_ms is not a setting", "short_lived_ms?"},
    {"\nqqqqqqqq = 1;", 2, "qqqqqqqq is not a setting", "policy settings"},
    {"\nclose = \"reset\";", 2, "close is not allowed in the file itself", "a rule"},
    {RULE("to = \"*\";"), 2, "to is not allowed in a rule", "match = {"},
    {RULE("weight = 1;"), 2, "weight is not allowed in a rule", "an arm"},
    {"experiment = { arms = (\n{ stop_if = { }; } ); };", 2, "is not allowed in an arm",
     "a rule"},
    {RULE("failed_percent = 1;"), 2, "is not allowed in a rule", "stop_if = {"},
    {"experiment = { arms = (\n{ sample = 1; } ); };", 2, "is not allowed in an arm",
     "a rule"},
    {MATCH("seed = 1;"), 2, "is not allowed in match", "the experiment"},
    {RULE("stop_if = { rules = 1; };"), 2, "is not allowed in stop_if",
     "the file itself"},
    /* types and ranges */
    {"\nshort_lived_ms = 0;", 2, "= 0 is out of range", "1 to 3600000"},
    {"\nshort_lived_ms = 1.5;", 2, "of another type", "1 to 3600000"},
    {"\ndetail = 1;", 2, "of another type", "true or false"},
    {"\nretention_seconds = 86401;", 2, "out of range", "1 to 86400"},
    {"\nmax_segments = -1;", 2, "= -1 is out of range", "1 to 65536"},
    {"\ndestination_slots = 1;", 2, "out of range", "2 to 65535"},
    {"\nconnection_slots = [1];", 2, "single value", "16 to"},
    {"\ndeepbind = \"stripp\";", 2, "\"stripp\" is not one of its values", "\"strip\"?"},
    {"\nreadable_by_group = \"no such group\";", 2, "no group \"no such group\"",
     "number"},
    {"\nreadable_by_group = 0;", 2, "out of range", "group's name or number"},
    {RULE("close = \"rst\";"), 2, "\"rst\" is not one of its values", "\"reset\"?"},
    {RULE("close = \"qqqqqqqq\";"), 2, "is not one of its values", "\"fin-reset\""},
    {RULE("close = true;"), 2, "close is of another type", "\"graceful\""},
    {RULE("sample = 101;"), 2, "= 101 is out of range", "0 to 100"},
    {RULE("drain_ms = 60001;"), 2, "out of range", "0 to 60000"},
    {RULE("fin_timeout = 0;"), 2, "out of range", "1 to 120"},
    {RULE("port_range = \"9-3\";"), 2, "\"9-3\" runs backwards", "\"3-9\""},
    {RULE("port_ring = \"all\";"), 2, "\"all\" is not a port", "LOW-HIGH"},
    {RULE("port_ring = 5;"), 2, "of another type", "\"full\""},
    {RULE("stop_if = { failed_percent = 0; };"), 2, "out of range", "over 0, to 100"},
    {RULE("stop_if = { failed_percent = 100.5; };"), 2, "out of range", "over 0"},
    {RULE("stop_if = { bytes_discarded = 0; };"), 2, "out of range", "1 or more"},
    {RULE("name = 5;"), 2, "name is of another type", "in quotes"},
    {RULE("name = \"\";"), 2, "name is empty", "leave it out"},
    {RULE("name = \"a\\x1b[31m\";"), 2, "no printable UTF-8", "leave them out"},
    {RULE("name = \"\\xff\";"), 2, "no printable UTF-8", "leave them out"},
    {RULE("name = \"" FIFTY "\";"), 2, "name is too long", "47 bytes"},
    /* match */
    {MATCH("to = \"10.0.0.1/8\";"), 2, "beyond its prefix", "\"10.0.0.0/8\""},
    {MATCH("to = 5;"), 2, "to is of another type", "in quotes"},
    {MATCH("to = [];"), 2, "to is an empty list", "leave it out"},
    {MATCH("to = { };"), 2, "single value", "destination"},
    {MATCH("exe = \"bin/curl\";"), 2, "neither a name nor a full path", "\"curl\""},
    {MATCH("exe = [1];"), 2, "exe is of another type", "in quotes"},
    {MATCH("uid = \"no such user\";"), 2, "no user \"no such user\"", "number"},
    {MATCH("uid = -1;"), 2, "uid is out of range", "0 to"},
    {MATCH("uid = true;"), 2, "uid is of another type", "number or name"},
    {MATCH("short_lived = 1;"), 2, "of another type", "true or false"},
    /* shapes */
    {"\nrules = { };", 2, "rules is not a list", "rules = ("},
    {"rules = (\n5 );", 2, "contains an element that is not a group", "rules = ("},
    {"\nexperiment = 5;", 2, "experiment is not a group", "{ ... }"},
    {RULE("match = ( );"), 2, "match is not a group", "{ ... }"},
    {"experiment = {\narms = 5; };", 2, "arms is not a list", "arms = ("},
    {"experiment = { arms = ( {}, {}, {}, {}, {}, {}, {}, {},\n{} ); };", 2,
     "too many elements", "at most 8"},
    /* together */
    {RULE("close = \"linger\";"), 2, "has no linger_seconds", "linger_seconds = 1"},
    {RULE("linger_seconds = 5;"), 2, "linger_seconds without", "close = \"linger\""},
    {RULE("drain_ms = 5;"), 2, "drain_ms without", "close = \"reset-drained\""},
    {RULE("port_ring = \"full\";\nport_range = \"full\";"), 3, "contradict",
     "leave port_range out"},
    {RULE("port_ring = \"full\";\nreuseaddr = false;"), 3, "contradict",
     "leave reuseaddr out"},
    {RULE("ring_age_ms = 5;"), 2, "ring_age_ms without", "set port_ring"},
    {RULE("close = \"fin-reset\";\nfin_timeout = 5;"), 3, "contradict",
     "leave fin_timeout out"},
    {RULE("max_resets_per_second = 5;"), 2, "without a reset", "close = \"reset\""},
    {RULE("stop_if = { bytes_discarded = 5; };"), 2, "without a reset",
     "close = \"reset\""},
    {RULE("close = \"reset\";"), 2, "every program and destination",
     "allow_everything = true"},
    {RULE("match = { uid = 0; };\nclose = \"reset\";"), 3,
     "every program and destination", "`to` or `exe`"},
    {RULE("match = { short_lived = true; };\nclose = \"graceful\";"), 2,
     "short_lived contradicts", "fin-reset"},
    {"\nexperiment = { };", 2, "the experiment has no arms", "arms = ("},
    {"experiment = { arms = ( { name = \"a\"; },\n{ name = \"a\"; } ); };", 2,
     "two arms have this name", "rename one"},
    {"experiment = { arms = ( { },\n{ close = \"reset\"; } ); };", 2,
     "every program and destination", "allow_everything"},
};

static const struct row WARNINGS[] = {
    {RULE("reuseaddr = true;"), 2, "placebo", "port_ring"},
    {RULE("close = \"linger\"; linger_seconds = 1;"), 2, "60 s of TIME_WAIT",
     "fin-reset"},
    {RULE("fin_timeout = 5;"), 2, "FIN_WAIT_2 alone", "fin-reset"},
    {RESET("to = \"*\";"), 3, "every program and destination", "allow_everything"},
    {RESET("to = \"*:1-65535\";"), 3, "every program and destination", "`exe`"},
    {RESET("exe = \"*\";"), 3, "every program and destination", "`to`"},
    {RESET("exe = [\"php\", \"?*\"];"), 3, "every program and destination", "`to`"},
    {RESET("exe = \"/*\"; to = [\"10.0.0.7\", \"*\"];"), 3,
     "every program and destination", "narrow"},
    {RESET("to = [\"0.0.0.0/0\", \"[::/0]\"];"), 3, "every program and destination",
     "narrow"},
    {RESET("to = [\"0.0.0.0/0\"];"), 3, "every program and IPv4 destination", "narrow"},
    {RESET("to = [\"[::/1]\", \"[8000::/1]\"];"), 3, "every program and IPv6 destination",
     "narrow"},
    {RESET("to = [\"0.0.0.0/1\", \"10.0.0.0/8\", \"128.0.0.0/2\", \"128.0.0.0/2\", "
	   "\"192.0.0.0/2\"];"),
     3, "every program and IPv4 destination", "narrow"},
    {RESET("to = \"*:80\";"), 3, "throws unsent data away", "fin-reset"},
    {RESET("to = [\"*:1-40000\", \"0.0.0.0/0:5-65535\"];"), 3, "throws unsent data away",
     "fin-reset"},
    {RESET("to = [\"0.0.0.0/1\", \"0.0.0.0/1\", \"128.0.0.0/2\", \"10.0.0.0/8\"];"), 3,
     "throws unsent data away", "fin-reset"},
    {RESET("exe = [\"[!a]*\", \"*/\", \"/*/*\", \"??*\"];"), 3, "throws unsent data away",
     "fin-reset"},
    {RESET("exe = \"wrk\"; to = \"*\";"), 3, "throws unsent data away", "fin-reset"},
    {RESET("exe = \"*\"; to = \"10.0.0.7\";"), 3, "throws unsent data away", "fin-reset"},
    {RULE("close = \"reset-drained\";\ndrain_ms = 5;"), 3, "makes close() wait",
     "event loop"},
    {RULE("sample = 0; close = \"fin-reset\";"), 2, "sample = 0", "raise it"},
    {RULE("dry_run = true;"), 2, "dry_run has nothing to try", "fin-reset"},
    {RULE("stop_if = { failed_percent = 5; };"), 2, "stop_if has nothing to stop",
     "leave stop_if out"},
    {MATCH("short_lived = true;"), 2, "short_lived concerns close alone", "set close"},
    {RULE("match = { short_lived = true; };\nclose = \"fin-reset\";"), 2,
     "does not hold at exit", "leave short_lived out"},
    {"rules = ( { close = \"keep\"; },\n{ close = \"fin-reset\"; } );", 2,
     "never reached: rule 1", "move it"},
    {"rules = ( { match = { to = \"10.0.0.0/8\"; }; },\n"
     "{ match = { to = [\"10.1.0.0/16:80\", \"10.0.0.1\"]; exe = \"x\"; }; } );",
     2, "never reached: rule 1", "narrow"},
    {"experiment = { arms = ( { name = \"a\"; }, { name = \"b\"; } ); };\n"
     "rules = (\n{ close = \"fin-reset\"; } );",
     3, "the experiment takes all", "narrow the experiment's match"},
    {"rules = ( { name = \"a\"; match = { to = \"*:1\"; }; },\n"
     "{ name = \"a\"; match = { to = \"*:2\"; }; } );",
     2, "two rules have this name", "rename one"},
    {"experiment = {\narms = ( { } ); };", 2, "nothing to be compared with",
     "add a second"},
};

/* The complaint of this kind; there must be one alone. Warnings may stand beside an
 * error. */
static const struct tws_complaint *only_one(const struct tws_complaints *complaints,
					    bool warning, const char *text)
{
	const struct tws_complaint *ret = NULL;

	for (size_t i = 0; i < complaints->count; i++) {
		const struct tws_complaint *complaint = &complaints->list[i];

		if (complaint->warning != warning && !warning)
			continue;
		if (ret || complaint->warning != warning)
			fail_msg("also: %s, about: %s", complaint->problem.what, text);
		ret = complaint;
	}
	if (!ret)
		fail_msg("no complaint about: %s", text);
	return ret;
}

static void expect_one(const struct row *row, bool warning)
{
	struct tws_complaints complaints;
	struct tws_policy_image *image = compile_text(row->text, &complaints);
	const struct tws_complaint *one = only_one(&complaints, warning, row->text);

	if (one->line != row->line || !strstr(one->problem.what, row->what) ||
	    !strstr(one->problem.cure, row->cure))
		fail_msg("%s\n: %u: %s: %s", row->text, one->line, one->problem.what,
			 one->problem.cure);
	assert_string_equal(one->file, policy_file);
	assert_int_equal(image != NULL, warning);
	tws_complaints_free(&complaints);
	free(image);
}

static void every_error_names_its_line_and_a_cure(void **state)
{
	for (size_t i = 0; i < COUNT(ERRORS); i++)
		expect_one(&ERRORS[i], false);
}

static void every_warning_names_its_line_and_a_cure(void **state)
{
	for (size_t i = 0; i < COUNT(WARNINGS); i++)
		expect_one(&WARNINGS[i], true);
}

static void all_errors_are_told_at_once(void **state)
{
	struct tws_complaints complaints;

	assert_null(compile_text("a = 1;\nb = 2;\ndetail = 3;\nrules = 4;", &complaints));
	assert_int_equal(complaints.count, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(complaints.list[i].line, i + 1);
	tws_complaints_free(&complaints);
}

static void an_unreadable_file_is_an_error(void **state)
{
	static const char *const PATHS[] = {"/proc/nonexistent", "/", "/dev/zero"};
	static const char *const WHY[] = {"No such file", "is a directory",
					  "longer than 1 MiB"};

	for (size_t i = 0; i < COUNT(PATHS); i++) {
		const struct tws_source source = {.file = PATHS[i]};
		struct tws_complaints complaints = {0};

		assert_null(tws_compile(&source, &complaints));
		assert_int_equal(complaints.count, 1);
		assert_non_null(strstr(complaints.list[0].problem.what, WHY[i]));
		tws_complaints_free(&complaints);
	}
}

/* `root` leads to / from the directory of the policy, or from one that does not exist. */
static void refuse_include(const char *root, const char *path)
{
	struct tws_complaints complaints;
	char text[128];

	snprintf(text, sizeof(text), "\n@include \"%s%s\"\n", root, path);
	assert_null(compile_text(text, &complaints));
	assert_int_equal(complaints.count, 1);
	assert_int_equal(complaints.list[0].line, 2);
	assert_non_null(strstr(complaints.list[0].problem.what, "@include"));
	tws_complaints_free(&complaints);
}

/* Opening a FIFO would block for ever. */
static void an_include_is_refused_and_not_opened(void **state)
{
	char path[] = "/tmp/twshim-include-XXXXXX";
	int fd = mkstemp(path);

	assert_int_equal(write(fd, "detail = true;\n", 15), 15);
	close(fd);
	refuse_include("", path + strlen("/tmp/"));
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	alarm(20);
	refuse_include("", path);
	refuse_include("", path + strlen("/tmp/"));
	refuse_include("../", path);
	refuse_include("../../..", path);
	alarm(0);
	unlink(path);
}

static void what_finds_no_room_is_an_error(void **state)
{
	size_t size = 4u * 1024 * 1024, used;
	struct tws_complaints complaints;
	char *text = malloc(size);

	used = (size_t)sprintf(text, "rules = (");
	for (unsigned i = 0; i < 64; i++) {
		used += (size_t)sprintf(text + used, "%s{ match = { exe = [\"x%u\"",
					i ? "," : "", i);
		for (unsigned j = 0; j < 600; j++)
			used += (size_t)sprintf(text + used, ",\"%u-%ux\"", i, j);
		used += (size_t)sprintf(text + used, "]; }; }");
	}
	sprintf(text + used, ");");
	assert_null(compile_text(text, &complaints));
	assert_int_equal(complaints.count, 1);
	assert_non_null(strstr(complaints.list[0].problem.what, "256 KiB"));
	tws_complaints_free(&complaints);
	free(text);
}

/* --------------------------------------------------------------- what it means */

static void fallbacks_hold_where_nothing_is_said(void **state)
{
	struct tws_policy_image *image = accept("rules = ( { } );");
	const struct tws_rule *rule = rule_of(image, 0);

	assert_int_equal(rule->action.close, TWS_CLOSE_KEEP);
	assert_int_equal(rule->action.flags, 0);
	assert_int_equal(rule->action.sample_percent, 100);
	assert_int_equal(rule->action.ring_age_ms, 1000);
	assert_string_equal(tws_policy_at(image, rule->name), "rule 1");
	assert_int_equal(image->settings.short_lived_ms, 0);
	assert_int_equal(image->settings.detail, 0);
	free(image);
}

static void every_setting_reaches_its_field(void **state)
{
	struct tws_policy_image *image = accept(
	    "short_lived_ms = 5; detail = false; deepbind = \"strip\";\n"
	    "readable_by_group = 7; retention_seconds = 8; max_segments = 9;\n"
	    "connection_slots = 16; destination_slots = 17; ended_slots = 18;\n"
	    "time_wait_slots = 19; allow_everything = true;\n"
	    "rules = ( { name = \"r\"; match = { uid = (\"root\", 5); };\n"
	    "close = \"reset\"; late_bind = true; reuseaddr = true;\n"
	    "port_ring = \"100-200\"; ring_age_ms = 0; app_options = \"override\";\n"
	    "dry_run = true; sample = 3; max_resets_per_second = 4;\n"
	    "stop_if = { failed_percent = 0.5; peer_reset_percent = 100;\n"
	    "bytes_discarded = 5000000000L; }; },\n"
	    "{ close = \"reset-drained\"; drain_ms = 6; port_range = \"full\";\n"
	    "fin_timeout = 7; reuseaddr = false; } );");
	const struct tws_action *first = &rule_of(image, 0)->action;
	const struct tws_action *second = &rule_of(image, 1)->action;
	const uint32_t *uids = tws_policy_at(image, rule_of(image, 0)->match.uid.offset);

	assert_int_equal(image->settings.short_lived_ms, 5);
	assert_int_equal(image->settings.detail, 2);
	assert_int_equal(image->settings.deepbind, TWS_DEEPBIND_STRIP);
	assert_int_equal(image->settings.group, 7);
	assert_int_equal(image->settings.retention_s, 8);
	assert_int_equal(image->settings.max_segments, 9);
	assert_int_equal(image->settings.connections, 16);
	assert_int_equal(image->settings.destinations, 17);
	assert_int_equal(image->settings.ended, 18);
	assert_int_equal(image->settings.time_wait, 19);
	assert_int_equal(uids[0], 0);
	assert_int_equal(uids[1], 5);
	assert_int_equal(first->close, TWS_CLOSE_RESET);
	assert_int_equal(first->flags, TWS_ACTION_LATE_BIND | TWS_ACTION_REUSEADDR_ON |
					   TWS_ACTION_PORT_RING | TWS_ACTION_OVERRIDE |
					   TWS_ACTION_DRY_RUN);
	assert_int_equal(first->ring_low, 100);
	assert_int_equal(first->ring_high, 200);
	assert_int_equal(first->ring_age_ms, 0);
	assert_int_equal(first->sample_percent, 3);
	assert_int_equal(first->max_resets_per_second, 4);
	assert_int_equal(first->stop_failed_ppm, 5000);
	assert_int_equal(first->stop_peer_reset_ppm, 1000000);
	assert_true(first->stop_bytes_discarded == 5000000000ull);
	assert_int_equal(second->close, TWS_CLOSE_RESET_DRAINED);
	assert_int_equal(second->drain_ms, 6);
	assert_int_equal(second->fin_timeout_seconds, 7);
	assert_int_equal(second->flags, TWS_ACTION_PORT_RANGE | TWS_ACTION_FIN_TIMEOUT |
					    TWS_ACTION_REUSEADDR_OFF);
	assert_int_equal(second->port_low, 0);
	assert_int_equal(second->port_high, 0);
	free(image);
}

static void an_experiment_has_its_arms(void **state)
{
	struct tws_policy_image *image = accept(
	    "experiment = { name = \"e\"; seed = 4000000000L;\n"
	    "arms = ( { }, { name = \"b\"; weight = 3; close = \"fin-reset\"; } );\n"
	    "match = { to = [\"*:80\", \"10.0.0.1\"]; }; };");
	const struct tws_experiment *experiment = &image->experiment;
	const struct tws_policy_arm *arms = tws_policy_at(image, experiment->arms.offset);

	assert_string_equal(tws_policy_at(image, experiment->name), "e");
	assert_int_equal(experiment->seed, 4000000000u);
	assert_int_equal(experiment->match.to.count, 2);
	assert_int_equal(experiment->arms.count, 2);
	assert_string_equal(tws_policy_at(image, arms[0].name), "arm 1");
	assert_int_equal(arms[0].weight, 1);
	assert_int_equal(arms[1].weight, 3);
	assert_int_equal(arms[1].action.close, TWS_CLOSE_FIN_RESET);
	free(image);
}

/* Describes, compiles that, describes again. */
static void expect_round_trip(struct tws_policy_image *image)
{
	char *first = tws_describe_text(image), *second;
	struct tws_policy_image *again = accept(first);

	second = tws_describe_text(again);
	assert_string_equal(first, second);
	assert_int_equal(image->rules.count, again->rules.count);
	for (unsigned i = 0; i < image->rules.count; i++)
		assert_memory_equal(&rule_of(image, i)->action,
				    &rule_of(again, i)->action,
				    sizeof(struct tws_action));
	free(first);
	free(second);
	free(again);
	free(image);
}

static void what_is_described_compiles_to_the_same(void **state)
{
	expect_round_trip(accept(""));
	expect_round_trip(accept(
	    "detail = false; deepbind = \"strip\"; short_lived_ms = 20;\n"
	    "rules = ( { name = \"a \\\"quoted\\\" \\\\ name\";\n"
	    "match = { exe = [\"a\\\\*b\", \"c\"]; to = [\"[::1]:5-6\", "
	    "\"10.0.0.0/8\"];\n"
	    "uid = (1, 4294967294L); short_lived = true; }; close = \"reset-drained\";\n"
	    "drain_ms = 5; reuseaddr = true; sample = 0; ring_age_ms = 0;\n"
	    "port_ring = \"5-6\"; stop_if = { failed_percent = 2.5;\n"
	    "bytes_discarded = 99999999999L; }; },\n"
	    "{ port_range = \"full\"; late_bind = true; dry_run = true; } );\n"
	    "experiment = { name = \"x\"; seed = 9; match = { uid = 3; };\n"
	    "arms = ( { name = \"p\"; }, { name = \"q\"; weight = 7; } ); };"));
}

/* ------------------------------------------------------- what is shipped with it */

static void every_example_is_accepted_without_a_warning(void **state)
{
	glob_t found;

	assert_int_equal(glob("config/examples/*.conf", 0, NULL, &found), 0);
	assert_true(found.gl_pathc >= 7);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const struct tws_source source = {.file = found.gl_pathv[i]};
		struct tws_complaints complaints = {0};
		struct tws_policy_image *image = tws_compile(&source, &complaints);

		if (complaints.count)
			fail_msg("%s: %s", found.gl_pathv[i],
				 complaints.list[0].problem.what);
		assert_non_null(image);
		expect_round_trip(image);
	}
	globfree(&found);
}

static void the_manual_has_the_table_of_settings(void **state)
{
	char *table = tws_describe_settings_markdown(), *manual = calloc(1, 1 << 20);
	FILE *file = fopen("docs/policy.md", "re");

	assert_non_null(file);
	assert_true(fread(manual, 1, (1 << 20) - 1, file) > 0);
	fclose(file);
	if (!strstr(manual, table))
		fail_msg("docs/policy.md is not what the table of settings says: run "
			 "make docs");
	free(table);
	free(manual);
}

static int make_file(void **state)
{
	int fd = mkstemp(policy_file);

	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	return unlink(policy_file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_error_names_its_line_and_a_cure),
	    cmocka_unit_test(every_warning_names_its_line_and_a_cure),
	    cmocka_unit_test(all_errors_are_told_at_once),
	    cmocka_unit_test(an_unreadable_file_is_an_error),
	    cmocka_unit_test(an_include_is_refused_and_not_opened),
	    cmocka_unit_test(what_finds_no_room_is_an_error),
	    cmocka_unit_test(fallbacks_hold_where_nothing_is_said),
	    cmocka_unit_test(every_setting_reaches_its_field),
	    cmocka_unit_test(an_experiment_has_its_arms),
	    cmocka_unit_test(what_is_described_compiles_to_the_same),
	    cmocka_unit_test(every_example_is_accepted_without_a_warning),
	    cmocka_unit_test(the_manual_has_the_table_of_settings),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
