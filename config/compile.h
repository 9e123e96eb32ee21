/* SPDX-License-Identifier: MIT
 *
 * Policy text in, image out: the one entrance to the configuration language. Prints
 * nothing; all errors of a text are found in one go, save that a syntax error ends it.
 */
#ifndef TWS_CONFIG_COMPILE_H
#define TWS_CONFIG_COMPILE_H

#include "config/complaint.h"
#include "shim/shared/policy_image.h"

/* What a policy is made of: either may be missing. Rules of one line stand before those
 * of the file, since they are the more particular. */
struct tws_source {
	const char *file;	  /* libconfig text; NULL: none */
	const char *const *rules; /* "close=reset,to=10.0.0.7:6379" */
	unsigned rule_count;
	const char *experiment; /* of one line, as a rule; NULL: the file's */
};

/* The image (free with free(), generation 0), or NULL where there are errors. Warnings
 * are appended either way, and the lines of its arms are set. */
struct tws_policy_image *tws_compile(const struct tws_source *source,
				     struct tws_complaints *complaints);

#endif
