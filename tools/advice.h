/* SPDX-License-Identifier: MIT
 *
 * What the numbers mean and what to do about it. Pure: facts in, findings out; report and
 * doctor use the same rules. Every sentence holds a number of the facts; the remedy for
 * the application comes first, the host's last.
 */
#ifndef TWS_TOOLS_ADVICE_H
#define TWS_TOOLS_ADVICE_H

#include "tools/model.h"

enum advice_verdict {
	VERDICT_OK,
	VERDICT_UNKNOWN,
	VERDICT_NOTICE,
	VERDICT_WARNING,
	VERDICT_PROBLEM,
};

/* What one application did, or did to one destination. */
struct advice_facts {
	const char *app; /* name, safe to print */
	const char *to;	 /* "10.0.0.7:6379"; NULL: all destinations */
	const struct tws_counters *counters;
	struct model_time_wait time_wait;
	struct model_ports ports;
	uint64_t processes;
	uint32_t short_lived_ms;
};

#define ADVICE_TEXT_SIZE 320

struct advice_finding {
	const char *id;
	const char *title;
	enum advice_verdict verdict;
	uint64_t weight; /* connections or events concerned; more is more important */
	char app[64];
	char to[64]; /* "" for all */
	char evidence[ADVICE_TEXT_SIZE];
	char advice[ADVICE_TEXT_SIZE];
};

struct advice {
	struct advice_finding *findings; /* most important first */
	size_t count;
	size_t room;
};

enum advice_scope { ADVICE_DESTINATION, ADVICE_APP };

/* Adds what the rules of a scope find in the facts (verdicts above OK). 0 or -ENOMEM. */
int advice_examine(struct advice *advice, enum advice_scope scope,
		   const struct advice_facts *facts);

/* Examines all applications that are not hidden, and sorts. 0 or -ENOMEM. */
int advice_of_model(struct advice *ret_advice, const struct model *model);

/* By verdict, then weight. */
void advice_sort(struct advice *advice);

void advice_free(struct advice *advice);

/* "ok", "unknown", "notice", "warning", "problem". */
const char *advice_verdict_name(enum advice_verdict verdict);

/* -------- the rules; for advice.c */

typedef void (*advice_rule)(const struct advice_facts *facts,
			    struct advice_finding *ret_finding);

#define FINDING(id, rule, scope, title)                                                  \
	void rule_##rule(const struct advice_facts *facts,                               \
			 struct advice_finding *ret_finding);
#include "tools/findings.def"

#endif
