/* SPDX-License-Identifier: MIT
 *
 * Which part of a policy decides about a connection, and why each part before it did
 * not. Uses the functions of shim/shared/match.h in the order of the shim: the
 * experiment, then the rules.
 */
#ifndef TWS_TOOLS_POLICY_EXPLAIN_H
#define TWS_TOOLS_POLICY_EXPLAIN_H

#include <jansson.h>
#include <stdio.h>

#include "shim/shared/match.h"

/* Prints the explanation as text. The image must be valid. */
void tws_policy_explain_text(FILE *out, const struct tws_policy_image *image,
			     const struct tws_subject *subject,
			     const struct tws_address *address);

/* {"decides":"experiment"|"rule"|"none","rule":N,"name":...,"arms":[...],"at_bind":N,
 * "considered":[{"rule":N,"name","line","matches":bool,"why":"exe"|"app"|"unit"|
 * "container"|"to"|"uid"}]}. A new
 * reference. */
json_t *tws_policy_explain_json(const struct tws_policy_image *image,
				const struct tws_subject *subject,
				const struct tws_address *address);

#endif
