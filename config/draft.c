/* SPDX-License-Identifier: MIT */
#include "config/draft.h"

#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/address.h"

/* Appends to the image's bytes. Returns the offset, or 0 if there is no room. */
static uint32_t put_bytes(struct tws_draft *draft, const void *data, size_t size,
			  size_t alignment)
{
	size_t start = (draft->used + alignment - 1) / alignment * alignment;

	if (size > sizeof(draft->bytes) - start) {
		draft->full = true;
		return 0;
	}
	memcpy(draft->bytes + start, data, size);
	draft->used = (uint32_t)(start + size);
	return (uint32_t)start;
}

static uint32_t put_text(struct tws_draft *draft, const char *text)
{
	return put_bytes(draft, text, strlen(text) + 1, 1);
}

struct tws_draft *tws_draft_new(struct tws_complaints *complaints, const char *source)
{
	struct tws_draft *draft = calloc(1, sizeof(*draft));
	size_t length = strlen(source);

	if (!draft)
		return NULL;
	draft->complaints = complaints;
	draft->file = source;
	draft->used = sizeof(struct tws_policy_image);
	if (length >= TWS_POLICY_STRING_SIZE)
		source += length - TWS_POLICY_STRING_SIZE + 1;
	((struct tws_policy_image *)draft->bytes)->source = put_text(draft, source);
	return draft;
}

static void empty_lists(struct tws_draft_lists *lists)
{
	for (size_t i = 0; i < TWS_DRAFT_GLOBS; i++)
		lists->globs[i].count = 0;
	lists->to_count = lists->uid_count = 0;
}

void tws_draft_begin(struct tws_draft *draft, struct tws_draft_part *part, unsigned line)
{
	memset(part, 0, sizeof(*part));
	part->file = draft->file;
	part->line = line;
	tws_part_init(&part->part);
	empty_lists(&draft->lists);
}

void tws_draft_complain(struct tws_draft *draft, unsigned line,
			const struct tws_problem *problem)
{
	tws_complain(draft->complaints, draft->file, line, false, problem);
}

/* ---------------------------------------------------------- names and lists */

static bool refuse_setting(struct tws_problem *problem, const struct tws_setting *setting,
			   const char *what, const char *cure)
{
	tws_problem_what(problem, "%s %s", setting->name, what);
	tws_problem_cure(problem, "%s", cure);
	return false;
}

/* Whether a terminal can show it and JSON can hold it: it must be UTF-8 without
 * control characters. */
static bool is_printable(const char *text)
{
	json_t *string = json_string(text); /* accepts only UTF-8 */
	bool ret = string != NULL;

	json_decref(string);
	for (; *text; text++)
		ret &= (unsigned char)*text >= ' ' && *text != 0x7f;
	return ret;
}

/* Checks a text of 1 to `size` - 1 bytes that may be printed anywhere. */
static bool check_text(const struct tws_setting *setting, const struct tws_value *value,
		       size_t size, struct tws_problem *problem)
{
	if (value->type != TWS_VALUE_TEXT)
		return refuse_setting(problem, setting, "is of another type",
				      "write text in quotes");
	if (!*value->text)
		return refuse_setting(problem, setting, "is empty",
				      "write a text, or leave it out");
	if (!is_printable(value->text))
		return refuse_setting(problem, setting,
				      "has bytes that are no printable UTF-8",
				      "leave them out; in a glob, write '?' for each");
	if (strlen(value->text) < size)
		return true;
	tws_problem_what(problem, "%s is too long", setting->name);
	tws_problem_cure(problem, "shorten it to %zu bytes", size - 1);
	return false;
}

static bool store_name(struct tws_draft *draft, struct tws_part *part,
		       const struct tws_setting *setting, const struct tws_value *value,
		       struct tws_problem *problem)
{
	if (!part || !check_text(setting, value, TWS_NAME_SIZE, problem))
		return false;
	part->name = put_text(draft, value->text);
	return true;
}

static bool list_has_room(const struct tws_setting *setting, uint32_t count,
			  struct tws_problem *problem)
{
	if (count < TWS_POLICY_LIST_MAX)
		return true;
	tws_problem_what(problem, "%s has too many elements", setting->name);
	tws_problem_cure(problem, "split the rule: at most %d fit", TWS_POLICY_LIST_MAX);
	return false;
}

/* The globs of a match lie one after another, in the order of the lists. */
TWS_ASSERT(offsetof(struct tws_match, container) ==
	   offsetof(struct tws_match, exe) +
	       (TWS_DRAFT_GLOBS - 1) * sizeof(struct tws_list));

static size_t globs_index(const struct tws_setting *setting)
{
	return (setting->offset - offsetof(struct tws_part, match.exe)) /
	       sizeof(struct tws_list);
}

static bool add_glob(struct tws_draft *draft, const struct tws_setting *setting,
		     const struct tws_value *value, struct tws_problem *problem)
{
	struct tws_draft_globs *globs = &draft->lists.globs[globs_index(setting)];

	if (!check_text(setting, value, TWS_POLICY_STRING_SIZE, problem) ||
	    !list_has_room(setting, globs->count, problem))
		return false;
	if (setting == &tws_setting_table[TWS_SETTING_exe] && strchr(value->text, '/') &&
	    !strchr("/*?[", *value->text)) {
		tws_problem_what(problem, "exe \"%s\" is neither a name nor a full path",
				 value->text);
		tws_problem_cure(problem, "write \"%s\" or \"*/%s\"",
				 strrchr(value->text, '/') + 1, value->text);
		return false;
	}
	globs->list[globs->count++] = put_text(draft, value->text);
	return true;
}

static bool add_target(struct tws_draft *draft, const struct tws_setting *setting,
		       const struct tws_value *value, struct tws_problem *problem)
{
	struct tws_draft_lists *lists = &draft->lists;

	if (!check_text(setting, value, TWS_POLICY_STRING_SIZE, problem) ||
	    !list_has_room(setting, lists->to_count, problem) ||
	    !tws_target_parse(value->text, &lists->to[lists->to_count], problem))
		return false;
	lists->to_count++;
	return true;
}

/* Finds a user by number (which may be written as text) or by name. */
static bool find_user(const struct tws_setting *setting, const struct tws_value *value,
		      uint32_t *ret_uid, struct tws_problem *problem)
{
	int64_t uid = value->integer;
	const struct passwd *user;

	if (value->type == TWS_VALUE_TEXT) {
		user = getpwnam(value->text);
		if (!user) {
			tws_problem_what(problem, "there is no user \"%s\" here",
					 value->text);
			tws_problem_cure(problem, "write the number, or create it first");
			return false;
		}
		uid = user->pw_uid;
	} else if (value->type != TWS_VALUE_INTEGER) {
		return refuse_setting(problem, setting, "is of another type",
				      "write a user's number or name");
	}
	if (uid < 0 || uid >= UINT32_MAX)
		return refuse_setting(problem, setting, "is out of range",
				      "write 0 to 4294967294");
	*ret_uid = (uint32_t)uid;
	return true;
}

static bool add_user(struct tws_draft *draft, const struct tws_setting *setting,
		     const struct tws_value *value, struct tws_problem *problem)
{
	struct tws_draft_lists *lists = &draft->lists;

	if (!list_has_room(setting, lists->uid_count, problem) ||
	    !find_user(setting, value, &lists->uid[lists->uid_count], problem))
		return false;
	lists->uid_count++;
	return true;
}

static bool store(struct tws_draft *draft, struct tws_part *part,
		  const struct tws_setting *setting, const struct tws_value *value,
		  struct tws_problem *problem)
{
	switch (setting->kind) {
	case TWS_KIND_NAME:
		return store_name(draft, part, setting, value, problem);
	case TWS_KIND_GLOBS:
		return add_glob(draft, setting, value, problem);
	case TWS_KIND_TARGETS:
		return add_target(draft, setting, value, problem);
	case TWS_KIND_USERS:
		return add_user(draft, setting, value, problem);
	default:
		return tws_setting_store(setting, value, &draft->top, part, problem);
	}
}

void tws_draft_set(struct tws_draft *draft, struct tws_draft_part *part,
		   const struct tws_setting *setting, const struct tws_value *value,
		   unsigned line)
{
	unsigned *said = part ? part->said : draft->said;
	struct tws_problem problem = {0};

	said[setting - tws_setting_table] = line ? line : 1;
	if (!store(draft, part ? &part->part : NULL, setting, value, &problem))
		tws_draft_complain(draft, line, &problem);
}

static struct tws_list put_list(struct tws_draft *draft, const void *elements,
				size_t size, uint32_t count)
{
	uint32_t offset = count ? put_bytes(draft, elements, size * count, 4) : 0;

	return (struct tws_list){.offset = offset, .count = count};
}

void tws_draft_flush_lists(struct tws_draft *draft, struct tws_draft_part *part)
{
	struct tws_draft_lists *lists = &draft->lists;
	struct tws_match *match = &part->part.match;

	for (size_t i = 0; i < TWS_DRAFT_GLOBS; i++)
		(&match->exe)[i] = put_list(draft, lists->globs[i].list, sizeof(uint32_t),
					    lists->globs[i].count);
	match->to = put_list(draft, lists->to, sizeof(*lists->to), lists->to_count);
	match->uid = put_list(draft, lists->uid, sizeof(*lists->uid), lists->uid_count);
	empty_lists(lists);
}

/* ------------------------------------------------------------------ the image */

const char *tws_draft_name(const struct tws_draft *draft,
			   const struct tws_draft_part *part)
{
	return part->part.name ? draft->bytes + part->part.name : "";
}

/* Makes a name for a part that the text did not name: "rule 3". */
static uint32_t name_or_number(struct tws_draft *draft, const struct tws_draft_part *part,
			       const char *what, unsigned number)
{
	char name[TWS_NAME_SIZE];

	if (part->part.name)
		return part->part.name;
	snprintf(name, sizeof(name), "%s %u", what, number);
	return put_text(draft, name);
}

/* Copies an action including its padding, so that no bytes of our stack get into an
 * image. */
static void copy_action(struct tws_action *to, const struct tws_draft_part *part)
{
	memcpy(to, &part->part.action, sizeof(*to));
}

static void put_rules(struct tws_draft *draft, struct tws_policy_image *image)
{
	struct tws_rule rules[TWS_RULES];

	memset(rules, 0, sizeof(rules));
	for (unsigned i = 0; i < draft->rule_count; i++) {
		const struct tws_draft_part *part = &draft->rules[i];

		rules[i].name = name_or_number(draft, part, "rule", i + 1);
		rules[i].line = part->line;
		rules[i].match = part->part.match;
		copy_action(&rules[i].action, part);
	}
	image->rules.count = draft->rule_count;
	image->rules.offset =
	    put_bytes(draft, rules, sizeof(*rules) * draft->rule_count, 8);
}

static struct tws_list put_arms(struct tws_draft *draft)
{
	struct tws_policy_arm arms[TWS_ARMS];

	memset(arms, 0, sizeof(arms));
	for (unsigned i = 0; i < draft->arm_count; i++) {
		const struct tws_draft_part *part = &draft->arms[i];

		arms[i].name = name_or_number(draft, part, "arm", i + 1);
		arms[i].weight = part->part.weight;
		copy_action(&arms[i].action, part);
	}
	return (struct tws_list){
	    .offset = put_bytes(draft, arms, sizeof(*arms) * draft->arm_count, 8),
	    .count = draft->arm_count};
}

static void put_experiment(struct tws_draft *draft, struct tws_policy_image *image)
{
	struct tws_experiment *experiment = &image->experiment;

	if (!draft->has_experiment)
		return;
	experiment->name = name_or_number(draft, &draft->experiment, "experiment", 1);
	experiment->seed = draft->experiment.part.seed;
	experiment->match = draft->experiment.part.match;
	experiment->arms = put_arms(draft);
}

static uint64_t realtime_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct tws_policy_image *tws_draft_finish(const struct tws_draft *draft)
{
	/* Makes a copy, so that a draft can still be inspected after it was written
	 * out. */
	struct tws_draft *copy = malloc(sizeof(*copy));
	struct tws_policy_image *image, *ret = NULL;

	if (!copy)
		return NULL;
	*copy = *draft;
	image = (struct tws_policy_image *)copy->bytes;
	put_rules(copy, image);
	put_experiment(copy, image);
	put_bytes(copy, "", 0, 8);
	image->magic = TWS_POLICY_MAGIC;
	image->byte_order = TWS_BYTE_ORDER;
	image->abi_major = TWS_POLICY_ABI_MAJOR;
	image->abi_minor = TWS_POLICY_ABI_MINOR;
	image->compiled_realtime_ns = realtime_ns();
	image->settings = copy->top.settings;
	image->size = copy->used;
	image->checksum = tws_policy_checksum(image);
	if (!copy->full)
		ret = malloc(image->size);
	if (ret)
		memcpy(ret, image, image->size);
	free(copy);
	return ret;
}
