/* SPDX-License-Identifier: MIT */
#include "tools/policy/actions.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/address.h"
#include "config/describe.h"
#include "shim/shared/names.h"
#include "tools/base/json.h"
#include "tools/base/risk.h"
#include "tools/policy/explain.h"
#include "tools/policy/host_exe.h"
#include "tools/policy/host_ports.h"
#include "tools/base/print.h"

int policy_print_json(json_t *object)
{
	if (print_json(stdout, object, JSON_COMPACT | JSON_REAL_PRECISION(12)) == 0)
		return 0;
	return cli_fail(CLI_FAILURE, "policy: %s", strerror(ENOMEM));
}

/* ------------------------------------------------------------------ compiling */

static const char *source_name(const struct policy_options *options)
{
	return options->given.source.file ? options->given.source.file : "-p";
}

json_t *policy_json_complaints(const struct tws_complaints *complaints, bool warnings)
{
	json_t *ret = json_array();

	for (size_t i = 0; i < complaints->count; i++) {
		const struct tws_complaint *complaint = &complaints->list[i];

		if (complaint->warning == warnings)
			json_array_append_new(
			    ret,
			    json_pack("{s:o, s:i, s:o, s:o}", "file",
				      print_json_text(complaint->file), "line",
				      (int)complaint->line, "what",
				      print_json_text(complaint->problem.what), "cure",
				      print_json_text(complaint->problem.cure)));
	}
	return ret;
}

/* With what is to be warned of on this host. */
static struct tws_policy_image *compile(const struct policy_options *options,
					struct tws_complaints *complaints)
{
	const struct tws_source *source = &options->given.source;
	struct tws_policy_image *ret = tws_compile(source, complaints);

	if (ret)
		tws_policy_warn_of_host(ret, source, complaints);
	return ret;
}

/* The image, its warnings printed to stderr; NULL: its errors are. */
struct tws_policy_image *policy_compile(const struct policy_options *options)
{
	struct tws_complaints complaints = {0};
	struct tws_policy_image *ret = compile(options, &complaints);

	tws_policy_print_complaints(stderr, &complaints);
	if (!ret)
		cli_fail(CLI_FAILURE, "%s: %zu error%s in the policy: nothing was done",
			 source_name(options), complaints.errors,
			 complaints.errors == 1 ? "" : "s");
	tws_complaints_free(&complaints);
	return ret;
}

/* ------------------------------------------------------------------ check */

static int print_check_json(const struct tws_policy_image *image,
			    const struct tws_complaints *complaints)
{
	json_t *object =
	    json_pack("{s:s, s:b, s:o, s:o}", "schema", "twshim.policy-check/1", "ok",
		      image != NULL, "errors", policy_json_complaints(complaints, false),
		      "warnings", policy_json_complaints(complaints, true));

	if (image)
		json_object_set_new(object, "policy", tws_describe_json(image));
	return policy_print_json(object);
}

void policy_print(const struct tws_policy_image *image)
{
	char *text = tws_describe_text(image);

	if (text)
		fputs(*text == '\n' ? "# nothing: all connections are observed only\n"
				    : text,
		      stdout);
	free(text);
}

/* As a comment, so that the output is still a policy. */
static void print_risk(uint32_t close_mode, const char *what)
{
	if (risk_of_close(close_mode))
		printf("# %s: %s\n", what, risk_of_close(close_mode));
}

static void print_risks(const struct tws_policy_image *image)
{
	const struct tws_rule *rules = tws_policy_at(image, image->rules.offset);
	const struct tws_list *list = &image->experiment.arms;
	const struct tws_policy_arm *arms = tws_policy_at(image, list->offset);
	char what[64];

	for (unsigned i = 0; i < image->rules.count; i++) {
		snprintf(what, sizeof(what), "risk of rule %u", i + 1);
		print_risk(rules[i].action.close, what);
	}
	for (unsigned i = 0; i < list->count; i++) {
		snprintf(what, sizeof(what), "risk of arm %u", i + 1);
		print_risk(arms[i].action.close, what);
	}
}

int policy_check(const struct policy_options *options)
{
	struct tws_complaints complaints = {0};
	struct tws_policy_image *image = compile(options, &complaints);
	int status = image ? 0 : CLI_FAILURE;

	if (options->json) {
		status |= print_check_json(image, &complaints);
	} else {
		tws_policy_print_complaints(stderr, &complaints);
		if (image) {
			policy_print(image);
			print_risks(image);
		} else
			cli_fail(CLI_FAILURE, "%s: %zu error%s", source_name(options),
				 complaints.errors, complaints.errors == 1 ? "" : "s");
	}
	tws_complaints_free(&complaints);
	free(image);
	return status;
}

/* ---------------------------------------------------------------- explain */

static bool parse_uid(const char *text, uint32_t *ret_uid)
{
	const struct passwd *user = getpwnam(text);
	char *end;
	unsigned long number;

	if (user) {
		*ret_uid = user->pw_uid;
		return true;
	}
	number = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || number >= UINT32_MAX)
		return false;
	*ret_uid = (uint32_t)number;
	return true;
}

/* `path`: of an image that is in force; NULL: it is of FILE and -p. */
static int explain_image(const struct policy_options *options,
			 const struct tws_policy_image *image, const char *path,
			 const struct tws_subject *subject,
			 const struct tws_address *address)
{
	json_t *object;

	if (!options->json) {
		if (path)
			printf("# generation %llu in %s\n",
			       (unsigned long long)image->generation, path);
		printf("%s, uid %u, to %s:\n", subject->exe, subject->uid, options->to);
		tws_policy_explain_text(stdout, image, subject, address);
		return 0;
	}
	object = tws_policy_explain_json(image, subject, address);
	json_object_set_new(object, "schema", json_string("twshim.policy-explain/1"));
	if (path) {
		json_object_set_new(object, "directory", print_json_text(path));
		json_object_set_new(object, "generation",
				    json_integer((json_int_t)image->generation));
	}
	return policy_print_json(object);
}

static int explain_none(const struct policy_options *options, const char *path)
{
	if (options->json)
		return policy_print_json(
		    json_pack("{s:s, s:s, s:[], s:o, s:i}", "schema",
			      "twshim.policy-explain/1", "decides", "none", "considered",
			      "directory", print_json_text(path), "generation", 0));
	policy_print_none(path);
	return 0;
}

/* Of FILE and -p, else of what is in force. */
static int explain_policy(const struct policy_options *options,
			  const struct tws_subject *subject,
			  const struct tws_address *address)
{
	bool is_given = policy_is_given(&options->given);
	struct tws_policy_image *image = NULL;
	char path[4096];
	int status = 0;

	if (is_given) {
		image = policy_compile(options);
		status = image ? 0 : CLI_FAILURE;
	} else {
		status = policy_in_force(options, path, sizeof(path), &image);
	}
	if (status == 0)
		status = image ? explain_image(options, image, is_given ? NULL : path,
					       subject, address)
			       : explain_none(options, path);
	free(image);
	return status;
}

/* Returns the name under which the kernel runs the program. */
static const char *follow_links(const char *exe, struct host_exe *ret_exe)
{
	if (!host_exe_misses(exe, ret_exe))
		return exe;
	fprintf(stderr, "twshim: --exe: %s %s: it runs as %s\n", ret_exe->name,
		ret_exe->what, ret_exe->runs_as);
	return ret_exe->runs_as;
}

static void take_name(char *name, size_t size, const char *given)
{
	if (given)
		tws_names_set(name, size, given, strlen(given));
}

int policy_explain(const struct policy_options *options)
{
	struct host_exe exe;
	struct tws_names names = {.parent = 0};
	struct tws_subject subject = {
	    .exe = options->exe, .uid = geteuid(), .names = &names};
	struct tws_problem problem = {0};
	struct tws_address address;

	if (!options->exe || !options->to)
		return cli_fail(CLI_USAGE,
				"policy explain: --exe and --to are needed: say which "
				"program connects where, as --exe /usr/bin/curl --to "
				"10.0.0.7:6379");
	if (!tws_address_parse(options->to, &address, &problem))
		return cli_fail(CLI_USAGE, "--to: %s: %s", problem.what, problem.cure);
	if (options->uid && !parse_uid(options->uid, &subject.uid))
		return cli_fail(CLI_USAGE,
				"--uid: \"%s\" is not a user: write a number or a name "
				"that exists here",
				options->uid);
	subject.exe = follow_links(options->exe, &exe);
	take_name(names.given, sizeof(names.given), options->app);
	take_name(names.unit, sizeof(names.unit), options->unit);
	take_name(names.container, sizeof(names.container), options->container);
	return explain_policy(options, &subject, &address);
}

int policy_settings(const struct policy_options *options)
{
	char *text;

	if (options->json)
		return policy_print_json(json_pack("{s:s, s:o}", "schema",
						   "twshim.policy-settings/1", "settings",
						   tws_describe_settings_json()));
	text = options->markdown ? tws_describe_settings_markdown()
				 : tws_describe_settings_text();
	if (!text)
		return cli_fail(CLI_FAILURE, "policy settings: out of memory");
	fputs(text, stdout);
	free(text);
	return 0;
}
