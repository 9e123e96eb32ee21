/* SPDX-License-Identifier: MIT
 *
 * What each subcommand of `twshim policy` does, once its options are read. Results go to
 * stdout, errors to stderr.
 */
#ifndef TWS_TOOLS_POLICY_ACTIONS_H
#define TWS_TOOLS_POLICY_ACTIONS_H

#include <jansson.h>
#include <stdbool.h>

#include "config/complaint.h"
#include "shim/shared/policy_image.h"
#include "tools/policy/store.h"

/* What the options of all subcommands say. */
struct policy_options {
	const char *directory;
	const char *run; /* the tag of a run, whose policy it is */
	const char *exe;
	const char *to;
	const char *uid;
	const char *app, *unit, *container;
	struct policy_given given;
	bool json, markdown, system;
};

/* Each returns the exit status. */
int policy_check(const struct policy_options *options);
int policy_explain(const struct policy_options *options);
int policy_load(const struct policy_options *options);
int policy_show(const struct policy_options *options);
int policy_clear(const struct policy_options *options);
int policy_settings(const struct policy_options *options);

/* Prints the object on one line and drops the reference. The exit status. */
int policy_print_json(json_t *object);

/* The errors, or the warnings, as an array. A new reference. */
json_t *policy_json_complaints(const struct tws_complaints *complaints, bool warnings);

/* The image of FILE and -p, its warnings printed; NULL: its errors are. */
struct tws_policy_image *policy_compile(const struct policy_options *options);

/* The image in force, malloc()ed, and its directory; NULL: none was ever loaded there.
 * Returns the exit status, its failure printed. */
int policy_in_force(const struct policy_options *options, char *ret_path, size_t size,
		    struct tws_policy_image **ret_image);

/* Prints that there is none. */
void policy_print_none(const char *path);

/* Prints the policy as text of the language. */
void policy_print(const struct tws_policy_image *image);

#endif
