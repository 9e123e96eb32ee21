/* SPDX-License-Identifier: MIT
 *
 * The report: what is known about the connections of one or all applications, as text, as
 * one JSON object (schema twshim.report/1), or as a page. `twshim report` covers the
 * whole run-time directory, `twshim run` its own.
 */
#ifndef TWS_TOOLS_REPORT_H
#define TWS_TOOLS_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <jansson.h>
#include <sys/types.h>

#include "tools/base/print.h"

#include "shim/shared/segment.h"

struct fail_if;
struct kernel_listener;
struct model;

/* What `run` knows about the command that it ran. */
struct report_run {
	const char *command; /* as typed, for a person */
	const char *typed;   /* the same for a shell; NULL or "": it cannot be */
	int exit_status;     /* of the command; 128 + N: killed by signal N */
	time_t began;
	double elapsed_seconds;
	bool watch;	    /* `twshim watch`: no command was run */
	bool policy;	    /* the run obeyed a policy */
	const char *bypass; /* why nothing may have been observed; NULL: not known */
};

struct report_options {
	const char *dir;	/* NULL: the main run-time directory */
	const uint8_t *run_tag; /* only processes of this run; NULL: of all */
	const char *app;	/* only this application, by name or path; NULL: all */
	pid_t pid;		/* only this process; 0: all */
	int by;			/* enum model_by */
	uint64_t since_ns;	/* as in struct model_options */
	bool whole;		/* also what a reset has left out */
	struct baseline *keep;	/* as in struct model_options */
	bool json;
	bool commands; /* JSON shows command lines: only for who asks on this machine */
	bool markdown; /* instead: an experiment's result */
	FILE *page;    /* where to write a page too; NULL: nowhere */
	enum print_color color;		  /* text only */
	struct kernel_listener *listener; /* already drained; NULL: nobody listened */
	const struct report_run *run;	  /* NULL: not the report of a run */
	struct reader_cache *cache;	  /* for repeated calls; NULL: none */
	struct fail_if *fail_if;	  /* judged by the same numbers; NULL: none */
};

/* Reads the segments, joins them with the kernel's table and prints to `out` (NULL: only
 * the page). If the directory does not exist, the report is empty. If the application or
 * process is unknown, -ENOENT is returned. On error, returns -errno with a one-line
 * reason in `ret_error`, and nothing is printed. */
int report_print(FILE *out, const struct report_options *options, char *ret_error,
		 size_t size);

/* Since when the numbers count: since a run began, or since the first process that they
 * cover; 0: not known. `run` may be NULL. */
time_t report_since(const struct model *model, const struct report_run *run);

/* The living processes, those with the most TIME_WAIT sockets first, at most 200. A new
 * reference; NULL: out of memory. */
json_t *report_processes_json(const struct model *model);

/* The printers for a finished model. From `options` they use app and pid (for wording),
 * color and run. Return 0 or -ENOMEM. */
int report_print_text(FILE *out, const struct model *model,
		      const struct report_options *options);
int report_print_json(FILE *out, const struct model *model,
		      const struct report_options *options);
int report_print_html(FILE *out, const struct model *model,
		      const struct report_options *options);

/* `twshim report [APP|PID]`; argv[0] is "report". Returns the exit status. */
int cmd_report(int argc, char **argv);

#endif
