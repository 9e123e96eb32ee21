/* SPDX-License-Identifier: MIT
 *
 * `twshim doctor`: gathers the facts and has the rules of advice.h judge them. Text, JSON
 * and the manual have one printer each.
 */
#ifndef TWS_TOOLS_DOCTOR_H
#define TWS_TOOLS_DOCTOR_H

#include <stdio.h>

#include "tools/advice/advice.h"
#include "tools/advice/steps.h"
#include "tools/advice/ways.h"
#include "tools/model/holders.h"
#include "tools/kernel/host.h"
#include "tools/base/print.h"
#include "tools/launch/reach.h"
#include "tools/model/traffic.h"

struct sightings;

struct doctor_request {
	const char *subject; /* a command, or a pid; NULL: the host */
	pid_t pid;	     /* of the subject; 0: it is a command */
	const char *only;    /* id of a finding; NULL: all */
	const char *dir;     /* NULL: the main run-time directory */
	bool coverage;	     /* measure it, which takes a second */
	bool all;	     /* show also what is fine */
	bool json;
	bool watch;
	bool discreet; /* no command lines, which may contain secrets */
	enum print_color color;
	struct reader_cache *cache;   /* for repeated calls; NULL: none */
	const struct sightings *seen; /* behind unowned sockets; NULL: nobody looked */
};

struct doctor {
	struct doctor_request request;
	struct host host;
	struct model *model;
	struct owners owners;
	struct traffic traffic;
	struct holders holders;
	struct reach reach;
	struct way ways[TWS_OBSERVERS]; /* of the subject, if there is one */
	struct advice_coverage coverage;
	struct advice advice; /* including what is fine */
};

/* Gathers and judges. Returns 0, or -errno with a one-line reason. Free the doctor in
 * either case. */
int doctor_examine(struct doctor *ret_doctor, const struct doctor_request *request,
		   char *ret_error, size_t size);

void doctor_free(struct doctor *doctor);

/* The worst verdict among the findings that are shown. */
enum advice_verdict doctor_worst(const struct doctor *doctor);

/* Writes the verdict in one sentence, without a full stop; ADVICE_HEADLINE_SIZE suffices.
 * Returns `text`. */
const char *doctor_verdict(const struct doctor *doctor, char *text, size_t size);

/* Writes the steps of a finding's cure, ADVICE_STEPS at most; returns how many. */
size_t doctor_steps(const struct doctor *doctor, const struct advice_finding *finding,
		    struct advice_step *ret_steps);

/* Whether a policy is in force that `policy load` would replace. `dir`: as in the
 * request.
 */
bool doctor_find_policy(const char *dir);

/* Whether `ways` says who can see the subject. */
bool doctor_has_ways(const struct doctor *doctor);

/* Whether the subject does not exist, and nothing was ever counted for it. */
bool doctor_knows_nothing(const struct doctor *doctor);

/* Whether to show a finding, as the request says. */
bool doctor_shows(const struct doctor *doctor, const struct advice_finding *finding);

/* Counts the connections, as far as a SYN was sent, that the shims of our network
 * namespace published below the directory (NULL: in all directories that this user may
 * read). Returns 0 or -errno. */
int doctor_count_seen(const char *dir, uint64_t *ret_seen);

/* -------- the printers */

void doctor_print_text(FILE *out, const struct doctor *doctor);

/* Prints the numbered steps of a finding's cure, without those that an earlier finding
 * that is shown has too. */
void doctor_print_steps(FILE *out, const struct doctor *doctor,
			const struct advice_finding *finding, bool color);

/* The first line of the text: the verdict, in the colour of the worst finding. */
void doctor_print_verdict(FILE *out, const struct doctor *doctor, bool color);

/* Prints one object, schema twshim.doctor/1; with `watch`, in one line. Returns 0 or
 * -ENOMEM. */
int doctor_print_json(FILE *out, const struct doctor *doctor);

/* Prints background and sources of one finding. */
void doctor_print_explanation(FILE *out, const struct advice_explanation *about,
			      bool color);

/* Prints all findings as chapters of the manual. */
void doctor_print_markdown(FILE *out);

/* Prints the explanation of one finding (NULL: of all) as one object, schema
 * twshim.doctor-explain/1. Returns 0 or -ENOMEM. */
int doctor_print_explanations_json(FILE *out, const struct advice_explanation *only);

#endif
