/* SPDX-License-Identifier: MIT
 *
 * What `twshim doctor` looks at and finds: facts are gathered here, judged by the rules
 * of advice.h, and printed by one printer each for text, JSON and the manual.
 */
#ifndef TWS_TOOLS_DOCTOR_H
#define TWS_TOOLS_DOCTOR_H

#include <stdio.h>

#include "tools/advice/advice.h"
#include "tools/model/holders.h"
#include "tools/kernel/host.h"
#include "tools/base/print.h"
#include "tools/launch/reach.h"
#include "tools/model/traffic.h"

struct doctor_request {
	const char *subject; /* a command, or a pid; NULL: the host */
	pid_t pid;	     /* of the subject; 0: it is a command */
	const char *only;    /* id of a finding; NULL: all */
	const char *dir;     /* NULL: the main run-time directory */
	bool coverage;	     /* takes a second */
	bool all;	     /* also what is fine */
	bool json;
	bool watch;
	enum print_color color;
	struct reader_cache *cache; /* of who asks again and again; NULL */
};

struct doctor {
	struct doctor_request request;
	struct host host;
	struct model *model;
	struct owners owners;
	struct traffic traffic;
	struct holders holders;
	struct reach reach;
	struct advice_coverage coverage;
	struct advice advice; /* with what is fine */
};

/* Gathers and judges. 0, or -errno with a one-line reason. Free it in any case. */
int doctor_examine(struct doctor *ret_doctor, const struct doctor_request *request,
		   char *ret_error, size_t size);

void doctor_free(struct doctor *doctor);

/* The worst verdict of what is shown. */
enum advice_verdict doctor_worst(const struct doctor *doctor);

/* Whether there is no such command or process, nor was there one that we know of. */
bool doctor_knows_nothing(const struct doctor *doctor);

/* Whether a finding is to be shown: asked for, and not fine unless that is wanted. */
bool doctor_shows(const struct doctor *doctor, const struct advice_finding *finding);

/* Connections that the shims of our network namespace counted and whose SYN was sent,
 * below the directory (NULL: the main one, and those of others that root may read). 0 or
 * -errno. */
int doctor_count_seen(const char *dir, uint64_t *ret_seen);

/* -------- the printers */

void doctor_print_text(FILE *out, const struct doctor *doctor);

/* One object, schema twshim.doctor/1; one line of it with `watch`. 0 or -ENOMEM. */
int doctor_print_json(FILE *out, const struct doctor *doctor);

/* Background and sources of one finding. */
void doctor_print_explanation(FILE *out, const struct advice_explanation *about,
			      bool color);

/* All findings, as the manual's chapters. */
void doctor_print_markdown(FILE *out);

/* The explanation of one finding, of all where it is NULL: one object, schema
 * twshim.doctor-explain/1. 0 or -ENOMEM. */
int doctor_print_explanations_json(FILE *out, const struct advice_explanation *only);

#endif
