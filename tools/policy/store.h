/* SPDX-License-Identifier: MIT
 *
 * The policies of one layer: a directory with a policy.ctl, which `policy load`, `run`
 * and `env` write and the shim follows. Layout and order of writing are those of
 * shim/shared/policy_image.h. Writers are serialised by a lock file; a reader needs none.
 */
#ifndef TWS_TOOLS_POLICY_STORE_H
#define TWS_TOOLS_POLICY_STORE_H

#include <stdio.h>

#include "config/compile.h"
#include "shim/shared/policy_image.h"
#include "tools/base/cli.h"

/* The policy that a command line gives, with -c or as FILE and with -p. */
struct policy_given {
	struct tws_source source;
	const char *rules[TWS_RULES];
};

/* For cli_option.take: adds a rule of one line to a struct policy_given. */
int policy_take_rule(const struct cli_option *option, void *field);

#define POLICY_RULE_OPTION(request, field)                                               \
	{                                                                                \
		"policy", 'p', "RULE",                                                   \
		    "a rule of one line, as close=fin-reset,to=*:443; takes\n"           \
		    "precedence over FILE's; may be repeated",                           \
		    policy_take_rule, .offset = offsetof(request, field)                 \
	}

/* Whether there is a file or a rule. */
bool policy_is_given(const struct policy_given *given);

/* Puts an image in force in the layer that is open as `directory`, under a generation
 * higher than any before; NULL: takes the policy of this layer out of force. Sets the
 * image's generation and checksum. `mode`: of a policy.ctl that is made. 0; -EPERM where
 * the directory or its policy.ctl is not ours (or root's) alone; -EBUSY where another
 * writer holds the lock for 5 s; or -errno. On failure what was in force stays so. */
int tws_policy_store(int directory, struct tws_policy_image *image, mode_t mode);

/* The same by path; the directory exists or is made. */
int tws_policy_store_at(const char *path, struct tws_policy_image *image, mode_t mode);

/* Lets a group into a place, where its image says so. 0: no group, or done. */
int tws_policy_open_to_group(int directory, uint32_t group);

/* The image in force, malloc()ed, and the state of the layer. 0 with *ret_image, NULL
 * where none is in force; -EBADMSG where the image is damaged; or -errno. */
int tws_policy_fetch(int directory, struct tws_policy_image **ret_image,
		     struct tws_policy_control *ret_control);

/* Compiles a policy and puts it in force in the layer at `path`, which exists or is made.
 * 0; -EINVAL where `complaints` has errors; or as tws_policy_store(). */
int tws_policy_install(const struct tws_source *source, const char *path, mode_t mode,
		       struct tws_complaints *complaints);

/* Says why a policy could not be put into the directory at `path`, and what to do; `by`:
 * what names another directory. Returns `status`. */
int tws_policy_fail_store(int status, const char *path, int error, const char *by);

/* Prints FILE:LINE: what: cure, one line each, warnings marked so; FILE alone where the
 * complaint is about all of it, or the line is not known. */
void tws_policy_print_complaints(FILE *out, const struct tws_complaints *complaints);

#endif
