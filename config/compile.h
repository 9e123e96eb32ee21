/* SPDX-License-Identifier: MIT
 *
 * Compiles policy text to an image. This is the only entrance to the configuration
 * language. It prints nothing. It finds all errors of a text in one pass, except that a
 * syntax error ends the pass.
 */
#ifndef TWS_CONFIG_COMPILE_H
#define TWS_CONFIG_COMPILE_H

#include "config/complaint.h"
#include "shim/shared/policy_image.h"

/* The sources of a policy. Either may be missing. One-line rules come before those of
 * the file, because they are more specific. */
struct tws_source {
	const char *file;	  /* libconfig text, or NULL */
	const char *const *rules; /* "close=reset,to=10.0.0.7:6379" */
	unsigned rule_count;
	const char
	    *experiment; /* of one line, like a rule; NULL means that the file decides */
};

/* What complaints call the source of the image's rule with this index, and of its
 * experiment. */
const char *tws_source_of_rule(const struct tws_source *source, unsigned index);
const char *tws_source_of_experiment(const struct tws_source *source);

/* Compiles the sources. Returns the image (free with free(), generation 0), or NULL if
 * there are errors. Warnings are appended in both cases, and the line numbers of the
 * arms are set. */
struct tws_policy_image *tws_compile(const struct tws_source *source,
				     struct tws_complaints *complaints);

#endif
