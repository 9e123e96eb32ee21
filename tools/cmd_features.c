/* SPDX-License-Identifier: MIT
 *
 * twshim features: what this kernel and this machine provide, and what each is for.
 */
#include "tools/commands.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "tools/base/cli.h"
#include "tools/base/json.h"
#include "tools/base/version.h"
#include "tools/features/features.h"
#include "tools/launch/calls.h"

#define WIDTH	   80
#define NAME_WIDTH 25
#define INDENT	   (2 + 4 + NAME_WIDTH + 1)
#define LINE_SIZE  1024

struct request {
	bool json;
	bool calls;
	enum print_color color;
};

static const struct cli_option OPTIONS[] = {
    CLI_JSON(struct request, json, "features/1"),
    CLI_COLOR(struct request, color),
    {"calls", 0, NULL,
     "only the system calls that the shim makes itself, as a\n"
     "filter of system calls must allow them",
     cli_take_flag, .offset = offsetof(struct request, calls)},
    {0},
};

static const struct cli_command COMMAND = {
    .name = "features",
    .operands = "",
    .summary =
	"Shows what this kernel and this machine provide, and what each is for. Each "
	"is tried,\nnot concluded from a version: distributions add features to old "
	"kernels, and containers\ntake them away. Root is not needed, but what "
	"only root may do is \"no\" for others.\n",
    .options = OPTIONS,
};

static const struct {
	const char *word;
	enum print_style style;
} VERDICTS[] = {
    [FEATURE_UNKNOWN] = {"?", PRINT_YELLOW},
    [FEATURE_NO] = {"no", PRINT_YELLOW},
    [FEATURE_YES] = {"yes", PRINT_GREEN},
};

/* "purpose (detail)"; where it is missing also which kernel has it. */
static void describe(char *line, const struct feature_row *row,
		     const struct feature *feature)
{
	char safe[LINE_SIZE / 2];
	const char *detail = print_escape(safe, sizeof(safe), feature->detail);
	bool names_kernel = feature->verdict != FEATURE_YES && *row->since;

	snprintf(line, LINE_SIZE, "%s%s%s%s%s%s", row->purpose,
		 *detail || names_kernel ? " (" : "", detail,
		 *detail && names_kernel ? "; " : "", names_kernel ? "Linux " : "",
		 names_kernel ? row->since : "");
	if (*detail || names_kernel)
		strncat(line, ")", LINE_SIZE - strlen(line) - 1);
}

static void print_feature(const struct feature_row *row, const struct feature *feature,
			  bool color)
{
	char line[LINE_SIZE];

	describe(line, row, feature);
	printf("  %s%-4s%s%-*s ", print_style(VERDICTS[feature->verdict].style, color),
	       VERDICTS[feature->verdict].word, print_style(PRINT_PLAIN, color),
	       NAME_WIDTH, row->name);
	print_wrapped(stdout, line, INDENT, WIDTH);
}

static int print_features(const struct feature *features, bool color)
{
	struct utsname kernel = {.release = "?", .machine = "?"};
	char libc[32];

	uname(&kernel);
	printf("twshim %s, commit %s, %s, Linux %s on %s\n", TWSHIM_VERSION,
	       version_commit, version_libc(libc, sizeof(libc)), kernel.release,
	       kernel.machine);
	for (size_t i = 0; i < feature_row_count; i++) {
		const struct feature_row *row = &feature_rows[i];

		if (row->title)
			printf("\n%s%s%s\n", print_style(PRINT_BOLD, color), row->title,
			       print_style(PRINT_PLAIN, color));
		else
			print_feature(row, &features[row->feature], color);
	}
	return cli_finish_output();
}

/* Those that are rare come last. */
static int print_calls(void)
{
	char line[LINE_SIZE] = "";
	size_t length = 0;

	for (int rare = 0; rare < 2; rare++) {
		const char *between =
		    rare ? "; only for some settings and under a supervisor: " : "";

		for (size_t i = 0; i < shim_call_count; i++) {
			if (shim_calls[i].rare != (rare == 1))
				continue;
			length += (size_t)snprintf(line + length, sizeof(line) - length,
						   "%s%s", between, shim_calls[i].name);
			between = ", ";
		}
	}
	print_wrapped(stdout, line, 0, WIDTH);
	return cli_finish_output();
}

static json_t *call_names(void)
{
	json_t *array = json_array();

	for (size_t i = 0; i < shim_call_count; i++)
		json_array_append_new(array, json_string(shim_calls[i].name));
	return array;
}

static json_t *feature_object(const struct feature_row *row,
			      const struct feature *feature)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:s}", "id", row->id, "name",
			 row->name, "available",
			 feature->verdict == FEATURE_UNKNOWN
			     ? json_null()
			     : json_boolean(feature->verdict == FEATURE_YES),
			 "detail", print_json_text_or_null(feature->detail), "since",
			 print_json_text_or_null(row->since), "purpose", row->purpose);
}

static int print_features_json(const struct feature *features)
{
	struct utsname kernel = {.release = "?", .machine = "?"};
	json_t *array = json_array();
	char libc[32];

	uname(&kernel);
	for (size_t i = 0; i < feature_row_count; i++) {
		const struct feature_row *row = &feature_rows[i];

		if (!row->title)
			json_array_append_new(
			    array, feature_object(row, &features[row->feature]));
	}
	if (print_json(stdout,
		       json_pack("{s:s, s:s, s:s, s:{s:s, s:s}, s:s, s:s, s:s, s:o, s:o}",
				 "schema", "twshim.features/1", "version", TWSHIM_VERSION,
				 "commit", version_commit, "abi", "segment",
				 version_segment_abi, "policy", version_policy_abi,
				 "libc", version_libc(libc, sizeof(libc)), "kernel",
				 kernel.release, "machine", kernel.machine, "features",
				 array, "system_calls", call_names()),
		       JSON_INDENT(1)) != 0)
		return cli_fail(CLI_FAILURE, "features: out of memory");
	return cli_finish_output();
}

int cmd_features(int argc, char **argv)
{
	struct request request = {.color = PRINT_COLOR_AUTO};
	struct feature features[FEATURES];
	int status = cli_read(&COMMAND, argc, argv, &request);

	if (status != CLI_GO_ON)
		return status;
	if (request.calls && !request.json)
		return print_calls();
	features_probe(features);
	if (request.json)
		return print_features_json(features);
	return print_features(features, print_color_wanted(request.color, stdout));
}
