/* SPDX-License-Identifier: MIT
 *
 * Says what the numbers mean and what to do about them. Pure: facts in, findings out.
 * `report` and `doctor` use the same rules. Each sentence contains a number from the
 * facts. Cures in the application come first, settings of the host last.
 */
#ifndef TWS_TOOLS_ADVICE_H
#define TWS_TOOLS_ADVICE_H

#include "tools/model/model.h"
#include "tools/segments/trouble.h"

struct host;
struct traffic;
struct traffic_pair;
struct traffic_pool;
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
	CERTAINTY_COUNTED,  /* the shim counted each connection */
	CERTAINTY_READ,	    /* the kernel's tables and settings say so */
	CERTAINTY_INFERRED, /* it follows from what they show */
};

/* The period that a finding covers. */
enum advice_period {
	PERIOD_ALL,    /* since counting began */
	PERIOD_GOING,  /* since counting began, and still in the last minute */
	PERIOD_MINUTE, /* the last minute */
	PERIOD_NOW,    /* this moment */
};

/* -------- the facts that a rule judges, one struct per subject. NULL: not known. */

/* One application, or its connections to one destination. */
struct advice_client {
	const char *app;	    /* name, safe to print */
	const struct model_app *of; /* NULL: no known application */
	const char *to;		    /* "10.0.0.7:6379"; NULL: all destinations */
	const struct tws_counters *counters;
	struct model_time_wait time_wait;
	uint64_t processes;
	uint32_t short_lived_ms;
	/* The last minute. `recent` is NULL where the report covers a finished run: a
	 * finding then needs no event in the last minute. `lately` is always set. */
	const struct model_recent *recent;
	const struct model_recent *lately;
};

/* The local ports that are in use to one destination. */
struct advice_ports {
	struct model_ports fill;
	/* The fullest pair to this destination; NULL: there is none, or another
	 * application reports it. */
	const struct traffic_pair *pair;
	const struct traffic_pair *there; /* the same, whoever reports it */
	/* The fullest pool of a source address that this application uses most. */
	const struct traffic_pool *pool;
	bool pair_is_ours; /* no other application holds more ports of the pair */
	/* Connects failed although most ports to this destination were free. */
	bool is_starved;
};

/* Other users of the same ports, in the last minute. */
struct advice_rivals {
	/* The application that holds most ports that no other connect() can have,
	 * because it bound them before connect() or by a port_ring. */
	const char *binder;
	const char *binder_who; /* what a rule calls it, as advice_who() writes it */
	bool binder_rings;
	uint64_t starved; /* connects that found no port where most were free */
};

/* The host, or rather its network namespace. */
struct advice_host {
	const struct host *settings;
	const struct traffic *traffic;
};

/* Processes with connections that the peer has closed and they have not. */
struct advice_holding {
	const struct holders *holders;
	const struct holder *holder; /* the one to judge */
};

/* Connections of a network namespace over some time: how many the shims counted, and how
 * many the kernel did. */
struct advice_coverage {
	uint64_t seen;
	uint64_t opened;
	double seconds; /* 0: since the namespace was made */
	bool not_root;	/* `seen` leaves out what the shims of other users counted */
};

/* What is wrong with the places where programs publish. */
struct advice_places {
	const struct place_trouble *trouble; /* the first one; NULL: there is none */
	size_t trouble_count;
	bool has_fleeting; /* a user's, whose counts go at logout: */
	uint32_t fleeting_user;
};

/* The command or process that `doctor` was asked about. */
struct advice_subject {
	const struct reach *reach;
	const char *full; /* the run-time directory, if it has no room left */
	const struct advice_coverage *coverage;
	struct advice_places places;
};

struct advice_facts {
	struct advice_client client;
	struct advice_ports ports;
	struct advice_rivals rivals;
	struct advice_host host;
	struct advice_holding holding;
	struct advice_subject subject;
};

/* -------- findings */

#define ADVICE_TEXT_SIZE     640
#define ADVICE_HEADLINE_SIZE 256

struct advice_finding {
	const char *id;
	const char *title;
	enum advice_verdict verdict;
	uint64_t weight; /* how many connections or events it is about; orders findings */
	char app[64];
	char to[64];			     /* "": all destinations */
	char headline[ADVICE_HEADLINE_SIZE]; /* the finding in one sentence, no stop */
	char evidence[ADVICE_TEXT_SIZE];
	char advice[ADVICE_TEXT_SIZE];
	enum advice_certainty certainty;
	enum advice_period period;
	bool aside; /* it is not about TIME_WAIT: about what the shim can see, or pressure
		     */
	bool hurts; /* connections fail now, or soon, or cost more */
	const struct model_app *of; /* NULL: of no known application */
	/* If no port is left: their number, and when the first and the last that
	 * TIME_WAIT holds return. 0: not known, or ports are left. */
	uint32_t range, returns_first_s, returns_last_s;
};

struct advice {
	bool keep_ok; /* keep also what was found to be fine, with its evidence */
	struct advice_finding *findings; /* most important first */
	size_t count;
};

enum advice_scope {
	ADVICE_DESTINATION,
	ADVICE_APP,
	ADVICE_HOST,
	ADVICE_HOLDER,
	ADVICE_SUBJECT
};

/* Judges the facts by all rules of the scope and adds the findings whose verdict is not
 * OK. Returns 0 or -ENOMEM. */
int advice_examine(struct advice *advice, enum advice_scope scope,
		   const struct advice_facts *facts);

/* Judges all applications that are not hidden, and sorts the findings. Returns 0 or
 * -ENOMEM. */
int advice_of_model(struct advice *ret_advice, const struct model *model);

/* Judges the applications as they are now, the host, and the processes that hold
 * connections. Arguments that are NULL are not judged. The findings are not sorted.
 * Returns 0 or -ENOMEM. */
int advice_of_host(struct advice *advice, const struct model *model,
		   const struct host *host, const struct traffic *traffic,
		   const struct holders *holders);

/* The most serious verdict first, then what hurts now, then the greatest weight. */
void advice_sort(struct advice *advice);

void advice_free(struct advice *advice);

/* Writes the verdict in one sentence: the headline of the finding that matters most, or
 * why the TIME_WAIT sockets are harmless. The findings are sorted. `traffic` and `host`
 * may be NULL. Returns `text`. */
const char *advice_say_verdict(char *text, size_t size, const struct advice *advice,
			       const struct model *model, const struct traffic *traffic,
			       const struct host *host);

/* "ok", "unknown", "notice", "warning", "problem". */
const char *advice_verdict_name(enum advice_verdict verdict);

/* "all", "all, still going on", "last minute", "now". */
const char *advice_period_name(enum advice_period period);

/* "counted", "read", "inferred". */
const char *advice_certainty_name(enum advice_certainty certainty);

/* What a finding means, whatever the facts are. */
struct advice_explanation {
	const char *id;
	const char *title;
	enum advice_scope scope;
	const char *background;
	const char *sources; /* separated by "; " */
};

extern const struct advice_explanation advice_explanations[];
extern const size_t advice_explanation_count;

/* Finds an explanation by id, in upper or lower case. NULL: there is no such finding. */
const struct advice_explanation *advice_explain(const char *id);

/* -------- the rules; for advice.c */

typedef void (*advice_rule)(const struct advice_facts *facts,
			    struct advice_finding *ret_finding);

#define FINDING(id, rule, scope, title, background, sources)                             \
	void rule_##rule(const struct advice_facts *facts,                               \
			 struct advice_finding *ret_finding);
#include "tools/advice/findings.def"

#endif
