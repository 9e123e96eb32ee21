/* SPDX-License-Identifier: MIT
 *
 * What the numbers mean and what to do about it. Pure: facts in, findings out; report and
 * doctor use the same rules. Every sentence holds a number of the facts; the remedy for
 * the application comes first, the host's last.
 */
#ifndef TWS_TOOLS_ADVICE_H
#define TWS_TOOLS_ADVICE_H

#include "tools/model/model.h"

struct host;
struct traffic;
struct traffic_pair;
struct holders;
struct holder;
struct reach;

enum advice_verdict {
	VERDICT_OK,
	VERDICT_UNKNOWN,
	VERDICT_NOTICE,
	VERDICT_WARNING,
	VERDICT_PROBLEM,
};

/* How a finding is known. */
enum advice_certainty {
	CERTAINTY_COUNTED,  /* by the shim, connection by connection */
	CERTAINTY_READ,	    /* from the kernel's tables and settings */
	CERTAINTY_INFERRED, /* from what they show */
};

/* Connections of a network namespace over some time: those that we counted, and the
 * kernel. */
struct advice_coverage {
	uint64_t seen;
	uint64_t opened;
	double seconds; /* 0: since the namespace was made */
	bool not_root;	/* `seen` leaves out what other users' shims counted */
};

/* What one application did, or did to one destination; or, by scope, what is known of the
 * host, of a process that holds connections, or of what `doctor` was asked about. */
struct advice_facts {
	const char *app; /* name, safe to print */
	const char *to;	 /* "10.0.0.7:6379"; NULL: all destinations */
	const struct tws_counters *counters;
	struct model_time_wait time_wait;
	struct model_ports ports;
	uint64_t processes;
	uint32_t short_lived_ms;
	/* NULL: not known. */
	const struct model_recent *recent; /* then what is over is passed over */
	const struct model_recent *lately; /* the same, where that is not */
	const struct host *host;
	const struct traffic *traffic;
	/* The fullest to this destination; NULL: another hears of it, or there is none.
	 */
	const struct traffic_pair *pair;
	bool pair_is_ours; /* no other application holds more of it */
	/* The fullest to this destination, whoever hears of it. */
	const struct traffic_pair *there;
	/* Who holds most ports that no other connect() can have, by bind() before
	 * connect() or by a port_ring, in the last minute; NULL: nobody known. */
	const char *binder;
	bool binder_rings;
	/* Connects of the last minute that found no port where most were free. */
	uint64_t starved;
	bool is_starved; /* of these, some are this application's to this destination */
	bool crowded;	 /* half of the ports to this destination are gone, by whomever */
	const struct holders *holders;
	const struct holder *holder;
	const struct reach *reach;
	const char *full; /* the run-time directory, where it has no room left */
	const struct advice_coverage *coverage;
};

#define ADVICE_TEXT_SIZE 640

struct advice_finding {
	const char *id;
	const char *title;
	enum advice_verdict verdict;
	uint64_t weight; /* connections or events concerned; more is more important */
	char app[64];
	char to[64]; /* "" for all */
	char evidence[ADVICE_TEXT_SIZE];
	char advice[ADVICE_TEXT_SIZE];
	enum advice_certainty certainty;
};

struct advice {
	bool keep_ok; /* also what was looked at and found well, with its evidence */
	struct advice_finding *findings; /* most important first */
	size_t count;
	size_t room;
};

enum advice_scope {
	ADVICE_DESTINATION,
	ADVICE_APP,
	ADVICE_HOST,
	ADVICE_HOLDER,
	ADVICE_SUBJECT
};

/* Adds what the rules of a scope find in the facts (verdicts other than OK). 0 or
 * -ENOMEM. */
int advice_examine(struct advice *advice, enum advice_scope scope,
		   const struct advice_facts *facts);

/* Examines all applications that are not hidden, and sorts. 0 or -ENOMEM. */
int advice_of_model(struct advice *ret_advice, const struct model *model);

/* Adds what is found in the applications (destinations with `traffic` in view), on the
 * host, and in the processes that hold connections; does not sort. Facts that are NULL
 * are not asked for. 0 or -ENOMEM. */
int advice_of_host(struct advice *advice, const struct model *model,
		   const struct host *host, const struct traffic *traffic,
		   const struct holders *holders);

/* By verdict, then weight. */
void advice_sort(struct advice *advice);

void advice_free(struct advice *advice);

/* "ok", "unknown", "notice", "warning", "problem". */
const char *advice_verdict_name(enum advice_verdict verdict);

/* "counted", "read", "inferred". */
const char *advice_certainty_name(enum advice_certainty certainty);

/* What is known of a finding whatever the facts are. */
struct advice_explanation {
	const char *id;
	const char *title;
	enum advice_scope scope;
	const char *background;
	const char *sources; /* separated by "; " */
};

extern const struct advice_explanation advice_explanations[];
extern const size_t advice_explanation_count;

/* By id, whatever the case of its letters; NULL: there is no such finding. */
const struct advice_explanation *advice_explain(const char *id);

/* -------- the rules; for advice.c */

typedef void (*advice_rule)(const struct advice_facts *facts,
			    struct advice_finding *ret_finding);

#define FINDING(id, rule, scope, title, background, sources)                             \
	void rule_##rule(const struct advice_facts *facts,                               \
			 struct advice_finding *ret_finding);
#include "tools/advice/findings.def"

#endif
