/* SPDX-License-Identifier: MIT
 *
 * Walks libconfig's tree and looks each setting up in the table of settings. Only
 * config/ uses libconfig: it must never get near the shim, because the host program may
 * contain functions of the same names.
 */
#include "config/compile.h"

#include <errno.h>
#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/draft.h"
#include "config/guard.h"
#include "config/experiment_text.h"
#include "config/rule_text.h"

#define TEXT_MAX (1024u * 1024)

static void read_group(struct tws_draft *draft, const config_setting_t *group,
		       unsigned place, struct tws_draft_part *part);

static unsigned line_of(const config_setting_t *node)
{
	return config_setting_source_line(node);
}

static void complain(struct tws_draft *draft, unsigned line, const char *name,
		     const char *what, const char *cure)
{
	struct tws_problem problem = {0};

	tws_problem_what(&problem, "%s %s", name, what);
	tws_problem_cure(&problem, "%s", cure);
	tws_draft_complain(draft, line, &problem);
}

/* ------------------------------------------------------------------- values */

static bool read_value(const config_setting_t *node, struct tws_value *ret)
{
	*ret = (struct tws_value){0};
	switch (config_setting_type(node)) {
	case CONFIG_TYPE_BOOL:
		ret->type = TWS_VALUE_BOOLEAN;
		ret->boolean = config_setting_get_bool(node);
		return true;
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		ret->type = TWS_VALUE_INTEGER;
		ret->integer = config_setting_type(node) == CONFIG_TYPE_INT
				   ? config_setting_get_int(node)
				   : config_setting_get_int64(node);
		return true;
	case CONFIG_TYPE_FLOAT:
		ret->type = TWS_VALUE_NUMBER;
		ret->number = config_setting_get_float(node);
		return true;
	case CONFIG_TYPE_STRING:
		ret->type = TWS_VALUE_TEXT;
		ret->text = config_setting_get_string(node);
		return true;
	default:
		return false;
	}
}

/* Reads the value of a setting that is not a group. */
static void read_scalar(struct tws_draft *draft, struct tws_draft_part *part,
			const struct tws_setting *setting, const config_setting_t *node)
{
	char range[160];
	struct tws_value value;

	if (read_value(node, &value)) {
		tws_draft_set(draft, part, setting, &value, line_of(node));
		return;
	}
	tws_setting_describe_range(setting, range, sizeof(range));
	complain(draft, line_of(node), setting->name,
		 "takes a single value, not a group or a list", range);
}

/* Reads exe, to or uid: one value, or a list or array of values. */
static void read_list(struct tws_draft *draft, struct tws_draft_part *part,
		      const struct tws_setting *setting, const config_setting_t *node)
{
	if (!config_setting_is_aggregate(node) || config_setting_is_group(node)) {
		read_scalar(draft, part, setting, node);
		return;
	}
	if (config_setting_length(node) == 0)
		complain(draft, line_of(node), setting->name, "is an empty list",
			 "leave it out to match any, or name what to match");
	for (int i = 0; i < config_setting_length(node); i++)
		read_scalar(draft, part, setting,
			    config_setting_get_elem(node, (unsigned)i));
}

/* -------------------------------------------------------- groups and their parts */

/* Returns the place in the draft for the next rule or arm, or NULL if none is left. */
static struct tws_draft_part *next_part(struct tws_draft *draft, unsigned place)
{
	if (place == TWS_IN_RULE)
		return draft->rule_count < TWS_RULES ? &draft->rules[draft->rule_count++]
						     : NULL;
	return draft->arm_count < TWS_ARMS ? &draft->arms[draft->arm_count++] : NULL;
}

static void read_parts(struct tws_draft *draft, const struct tws_setting *setting,
		       const config_setting_t *node)
{
	const char *cure = setting->inside == TWS_IN_RULE
			       ? "write rules = ( { ... }, { ... } );"
			       : "write arms = ( { ... }, { ... } );";

	if (!config_setting_is_list(node)) {
		complain(draft, line_of(node), setting->name, "is not a list of groups",
			 cure);
		return;
	}
	for (int i = 0; i < config_setting_length(node); i++) {
		const config_setting_t *element =
		    config_setting_get_elem(node, (unsigned)i);
		struct tws_draft_part *part;

		if (!config_setting_is_group(element)) {
			complain(draft, line_of(element), setting->name,
				 "contains an element that is not a group", cure);
			continue;
		}
		part = next_part(draft, setting->inside);
		if (!part) {
			char most[48];

			snprintf(most, sizeof(most), "join some: at most %d fit",
				 (int)setting->high);
			complain(draft, line_of(element), setting->name,
				 "has too many elements", most);
			return;
		}
		tws_draft_begin(draft, part, line_of(element));
		read_group(draft, element, setting->inside, part);
	}
}

static void read_experiment(struct tws_draft *draft, const config_setting_t *node)
{
	draft->has_experiment = true;
	tws_draft_begin(draft, &draft->experiment, line_of(node));
	read_group(draft, node, TWS_IN_EXPERIMENT, &draft->experiment);
}

static void read_inner(struct tws_draft *draft, struct tws_draft_part *part,
		       const struct tws_setting *setting, const config_setting_t *node)
{
	if (!config_setting_is_group(node)) {
		complain(draft, line_of(node), setting->name, "is not a group",
			 "write its settings inside { ... }");
		return;
	}
	if (setting->inside == TWS_IN_EXPERIMENT) {
		read_experiment(draft, node);
		return;
	}
	part->said[setting - tws_setting_table] = line_of(node);
	read_group(draft, node, setting->inside, part);
	if (setting->inside == TWS_IN_MATCH)
		tws_draft_flush_lists(draft, part);
}

static void read_setting(struct tws_draft *draft, struct tws_draft_part *part,
			 const struct tws_setting *setting, const config_setting_t *node)
{
	switch (setting->kind) {
	case TWS_KIND_PARTS:
		if (part)
			part->said[setting - tws_setting_table] = line_of(node);
		read_parts(draft, setting, node);
		break;
	case TWS_KIND_GROUP:
		read_inner(draft, part, setting, node);
		break;
	case TWS_KIND_GLOBS:
	case TWS_KIND_TARGETS:
	case TWS_KIND_USERS:
		read_list(draft, part, setting, node);
		break;
	default:
		read_scalar(draft, part, setting, node);
	}
}

static void read_group(struct tws_draft *draft, const config_setting_t *group,
		       unsigned place, struct tws_draft_part *part)
{
	for (int i = 0; i < config_setting_length(group); i++) {
		const config_setting_t *node =
		    config_setting_get_elem(group, (unsigned)i);
		const char *name = config_setting_name(node);
		const struct tws_setting *setting = tws_setting_find(name, place);
		struct tws_problem problem = {0};

		if (setting) {
			read_setting(draft, part, setting, node);
			continue;
		}
		tws_setting_explain_unknown(name, place, &problem);
		tws_draft_complain(draft, line_of(node), &problem);
	}
}

/* ------------------------------------------------------------------ the file */

/* Reads a regular file of at most TEXT_MAX bytes. The text ends with a NUL. On error,
 * returns NULL and stores the reason in *ret_why. */
static char *read_text(const char *path, const char **ret_why)
{
	FILE *file = fopen(path, "re");
	struct stat stat;
	size_t length;
	char *text;

	*ret_why = strerror(errno);
	if (!file)
		return NULL;
	text = calloc(1, TEXT_MAX + 2);
	length = text ? fread(text, 1, TEXT_MAX + 1, file) : 0;
	*ret_why = strerror(errno);
	if (fstat(fileno(file), &stat) == 0 && S_ISDIR(stat.st_mode))
		*ret_why = "is a directory";
	else if (length > TEXT_MAX)
		*ret_why = "is longer than 1 MiB";
	else if (text && strlen(text) != length)
		*ret_why = "has NUL bytes in it";
	else if (!ferror(file))
		*ret_why = NULL;
	fclose(file);
	if (*ret_why || !text) {
		free(text);
		return NULL;
	}
	return text;
}

/* Our words for those of libconfig. The last row is for all others. */
static const struct {
	const char *text, *what, *cure;
} SYNTAX[] = {
    {"duplicate", "this line sets something a second time in one group", "leave one out"},
    {"mismatched", "this line mixes types in [ ]", "write ( ) around them"},
    {"include", "@include is not supported", "write the policy in one file"},
    {"", "this line is not valid libconfig syntax",
     "look here and on the line before for a missing ';', ',', '\"' or bracket"},
};

static void complain_syntax(struct tws_draft *draft, const config_t *config)
{
	unsigned line = (unsigned)config_error_line(config);
	const char *text = config_error_text(config);
	struct tws_problem problem = {0};
	size_t i = 0;

	while (*SYNTAX[i].text && !(text && strstr(text, SYNTAX[i].text)))
		i++;
	tws_problem_what(&problem, "%s", SYNTAX[i].what);
	tws_problem_cure(&problem, "%s", SYNTAX[i].cure);
	tws_draft_complain(draft, line ? line : 1, &problem);
}

/* A policy is one file. Whatever else a text asks us to include, such as a FIFO or a
 * device, is never opened. */
#if LIBCONFIG_VER_MAJOR > 1 || (LIBCONFIG_VER_MAJOR == 1 && LIBCONFIG_VER_MINOR >= 7)
static const char **include_nothing(config_t *config, const char *include_dir,
				    const char *path, const char **ret_error)
{
	*ret_error = "include";
	return NULL;
}

static void refuse_includes(config_t *config)
{
	config_set_include_func(config, include_nothing);
}
#else
/* All names, absolute or not, are looked up below this directory, which does not
 * exist. */
static void refuse_includes(config_t *config)
{
	config_set_include_dir(config, "/dev/null");
}
#endif

static void read_file(struct tws_draft *draft, const char *path)
{
	const char *why;
	char *text = read_text(path, &why);
	config_t config;

	draft->file = path;
	if (!text) {
		complain(draft, 0, "can't be read:", why ? why : "no memory",
			 "name a readable policy file");
		return;
	}
	config_init(&config);
	refuse_includes(&config);
	if (config_read_string(&config, text) == CONFIG_TRUE)
		read_group(draft, config_root_setting(&config), TWS_IN_FILE, NULL);
	else
		complain_syntax(draft, &config);
	config_destroy(&config);
	free(text);
}

static void complain_size(struct tws_draft *draft)
{
	complain(draft, 0, "the policy", "does not fit into an image of 256 KiB",
		 "shorten its lists");
}

const char *tws_source_of_rule(const struct tws_source *source, unsigned index)
{
	return index < source->rule_count ? "-p" : source->file;
}

const char *tws_source_of_experiment(const struct tws_source *source)
{
	return source->experiment ? "--experiment" : source->file;
}

struct tws_policy_image *tws_compile(const struct tws_source *source,
				     struct tws_complaints *complaints)
{
	size_t errors_before = complaints->errors;
	const char *name = source->file		? source->file
			   : source->rule_count ? "-p"
			   : source->experiment ? "--experiment"
						: "nothing";
	struct tws_draft *draft = tws_draft_new(complaints, name);
	struct tws_policy_image *ret = NULL;

	if (!draft)
		return NULL;
	draft->file = tws_source_of_rule(source, 0);
	for (unsigned i = 0; i < source->rule_count; i++)
		tws_rule_text_read(draft, source->rules[i], i + 1);
	if (source->file)
		read_file(draft, source->file);
	if (source->experiment) {
		draft->file = tws_source_of_experiment(source);
		tws_experiment_text_read(draft, source->experiment);
	}
	if (complaints->errors == errors_before && !draft->full)
		tws_guard(draft);
	for (unsigned i = 0; i < draft->arm_count; i++)
		complaints->arm_line[i] = draft->arms[i].line;
	if (complaints->errors == errors_before) {
		ret = tws_draft_finish(draft);
		if (!ret)
			complain_size(draft);
	}
	free(draft);
	return ret;
}
