/* SPDX-License-Identifier: MIT
 *
 * The report: what is known of the connections of one application or of all, as text for
 * a person or as one JSON object (schema twshim.report/1). `twshim report` prints it of
 * the whole run-time directory, `twshim run` of its own.
 */
#ifndef TWS_TOOLS_REPORT_H
#define TWS_TOOLS_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "tools/base/print.h"

struct kernel_listener;
struct model;

/* What `run` knows of the command that it ran. */
struct report_run {
	const char *command; /* as typed, for a person */
	int exit_status;     /* of the command; 128 + N: died of signal N */
	double elapsed_seconds;
	bool policy; /* it had one of its own */
};

struct report_options {
	const char *dir; /* NULL: the main run-time directory */
	bool only_dir;	 /* this directory alone, not its "run-*" below */
	const char *app; /* only this application, by name or path; NULL: all */
	pid_t pid;	 /* only this process; 0: all */
	bool json;
	FILE *page;			  /* as a page as well; NULL: not */
	enum print_color color;		  /* text only */
	struct kernel_listener *listener; /* drained already; NULL: nobody listened */
	const struct report_run *run;	  /* NULL: not of a run */
	struct reader_cache *cache;	  /* of who asks again and again; NULL */
};

/* Reads, joins with the kernel and prints to `out` (NULL: only the page). A directory
 * that does not exist is an empty report; an application or a process that nobody knows
 * is -ENOENT. 0, or -errno with a one-line reason in `ret_error`, nothing printed. */
int report_print(FILE *out, const struct report_options *options, char *ret_error,
		 size_t size);

/* The printers behind it; `model` is whole. Of `options`, they look at app, pid (for
 * wording), color and run. 0, or -ENOMEM. */
int report_print_text(FILE *out, const struct model *model,
		      const struct report_options *options);
int report_print_json(FILE *out, const struct model *model,
		      const struct report_options *options);
int report_print_html(FILE *out, const struct model *model,
		      const struct report_options *options);

/* `twshim report [APP|PID]`; argv[0] is "report". The exit status. */
int cmd_report(int argc, char **argv);

#endif
