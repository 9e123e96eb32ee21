/* SPDX-License-Identifier: MIT
 *
 * Reads and judges the conditions of `run --fail-if`. A new counter or finding can be
 * used without a change here.
 */
#include "tools/report/fail_if.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tools/advice/advice.h"
#include "tools/model/model.h"
#include "tools/segments/names.h"

#define TIME_WAIT "time_wait"

/* Returns -1 if no counter has this name. */
static int find_counter(const char *name)
{
	for (int i = 0; i < TWS_COUNTERS; i++)
		if (strcmp(name, counter_texts[i].name) == 0)
			return i;
	return -1;
}

/* Only findings about applications are judged in a report. */
static bool is_finding(const char *name)
{
	const struct advice_explanation *about = advice_explain(name);

	return about &&
	       (about->scope == ADVICE_DESTINATION || about->scope == ADVICE_APP);
}

static int refuse_name(const struct cli_option *option, const char *name)
{
	const char *names[TWS_COUNTERS + 1] = {TIME_WAIT}, *meant;

	if (advice_explain(name))
		return cli_fail(CLI_USAGE,
				"--%s %s: this finding is not about an application: "
				"twshim doctor judges it",
				option->name, optarg);
	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		names[i + 1] = counter_texts[i].name;
	meant = cli_nearest(name, names, TWS_COUNTERS + 1);
	return cli_fail(CLI_USAGE, "--%s %s: no counter or finding has this name: %s%s%s",
			option->name, optarg,
			meant ? "did you mean "
			      : "name " TIME_WAIT
				", a counter of twshim-counters(7), or a finding "
				"such as TW103",
			meant ? meant : "", meant ? "?" : "");
}

/* Splits "NAME", "NAME>N" and so on. False: it has another form. */
static bool parse(const char *text, struct fail_condition *ret_condition)
{
	struct fail_condition condition = {
	    .text = text, .relation = ">", .unknown = true, .holds = true};
	size_t name = strcspn(text, "<>=!"), relation = strspn(text + name, "<>=!");
	const char *number = text + name + relation;
	char *end;

	if (!name || name >= sizeof(condition.name) ||
	    relation >= sizeof(condition.relation))
		return false;
	memcpy(condition.name, text, name);
	*ret_condition = condition;
	if (!relation)
		return true;
	memcpy(ret_condition->relation, text + name, relation);
	ret_condition->relation[relation] = '\0';
	errno = 0;
	ret_condition->limit = strtoull(number, &end, 10);
	return *number >= '0' && *number <= '9' && !*end && !errno &&
	       strstr(" < > = <= >= != ", ret_condition->relation);
}

int fail_if_take(const struct cli_option *option, void *field)
{
	struct fail_if *fail_if = field;
	struct fail_condition condition;

	if (fail_if->count == FAIL_IF_MOST)
		return cli_fail(CLI_USAGE, "--%s %s: at most %d conditions can be given",
				option->name, optarg, FAIL_IF_MOST);
	if (!parse(optarg, &condition))
		return cli_fail(CLI_USAGE,
				"--%s %s: must be a name, or a name, one of < <= > >= = "
				"!=, and a number without blanks, as in '" TIME_WAIT
				">100'",
				option->name, optarg);
	if (strcmp(condition.name, TIME_WAIT) != 0 && find_counter(condition.name) < 0 &&
	    !is_finding(condition.name))
		return refuse_name(option, condition.name);
	fail_if->conditions[fail_if->count++] = condition;
	return 0;
}

/* ------------------------------------------------------------------------ judging */

static bool holds(uint64_t value, const char *relation, uint64_t limit)
{
	bool or_equal = relation[1] == '=';

	switch (*relation) {
	case '<':
		return or_equal ? value <= limit : value < limit;
	case '>':
		return or_equal ? value >= limit : value > limit;
	case '!':
		return value != limit;
	default:
		return value == limit;
	}
}

static uint64_t count_findings(const struct advice *advice, const char *name)
{
	const char *id = advice_explain(name)->id;
	uint64_t ret = 0;

	for (size_t i = 0; i < advice->count; i++)
		ret += strcmp(advice->findings[i].id, id) == 0;
	return ret;
}

static void judge_condition(struct fail_condition *condition, const struct model *model,
			    const struct advice *advice)
{
	int counter = find_counter(condition->name);

	condition->unknown = false;
	if (counter >= 0) {
		condition->value = model->total.value[counter];
	} else if (strcmp(condition->name, TIME_WAIT) == 0) {
		condition->value = model->time_wait.confirmed;
		condition->unknown = !model->has_table;
	} else {
		condition->value = count_findings(advice, condition->name);
	}
	condition->holds = condition->unknown ||
			   holds(condition->value, condition->relation, condition->limit);
}

int fail_if_judge(struct fail_if *fail_if, const struct model *model)
{
	struct advice advice;
	int result = advice_of_model(&advice, model);

	if (result == 0)
		for (unsigned i = 0; i < fail_if->count; i++)
			judge_condition(&fail_if->conditions[i], model, &advice);
	advice_free(&advice);
	return result;
}

void fail_if_describe(const struct fail_condition *condition, char *text, size_t size)
{
	if (condition->unknown)
		snprintf(text, size,
			 "%s is not known, because the report or the kernel's table "
			 "could not be read",
			 condition->name);
	else
		snprintf(text, size, "%s is %" PRIu64, condition->name, condition->value);
}

bool fail_if_complain(const struct fail_if *fail_if)
{
	bool ret = false;
	char why[160];

	for (unsigned i = 0; i < fail_if->count; i++) {
		if (!fail_if->conditions[i].holds)
			continue;
		fail_if_describe(&fail_if->conditions[i], why, sizeof(why));
		cli_fail(0, "failed: --fail-if '%s': %s", fail_if->conditions[i].text,
			 why);
		ret = true;
	}
	return ret;
}
