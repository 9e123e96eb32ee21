/* SPDX-License-Identifier: MIT
 *
 * The live view: rows of applications, processes or destinations, with what each did
 * since the last look and a minute of history. rows.c and lines.c make rows and lines;
 * cmd_top.c prints them as text, and screen.c draws them with ncurses.
 */
#ifndef TWS_TOOLS_TOP_H
#define TWS_TOOLS_TOP_H

#include <stdbool.h>
#include <stdio.h>

#include "tools/model/model.h"
#include "tools/base/print.h"

#define TOP_HISTORY 60 /* seconds of history per row */
#define TOP_SPARK   12 /* characters of a sparkline */

enum top_mode { TOP_APPS, TOP_PROCESSES, TOP_DESTINATIONS, TOP_MODES };

enum top_sort {
	TOP_BY_TIME_WAIT,
	TOP_BY_RATE,
	TOP_BY_OPEN,
	TOP_BY_OPENED,
	TOP_BY_PORTS,
	TOP_BY_NAME,
	TOP_SORTS
};

extern const char *const top_mode_names[TOP_MODES + 1]; /* "application", ..., NULL */
extern const char *const top_sort_names[TOP_SORTS + 1];

struct top_row {
	char app[48]; /* safe to print, like all text here */
	char exe[128];
	char to[56];	   /* in the view of destinations */
	double storm_rate; /* of short processes together; 0: no storm */
	long pid;	   /* in the view of processes */
	uint64_t start;	   /* of the process, in ticks since boot; pids are reused */
	uint64_t key;	   /* identifies the same row at the next look */
	bool dead;
	uint64_t opened, open, ended, short_lived, local_fin, time_wait;
	uint64_t closed_first; /* local_fin, and what a policy ended instead */
	uint64_t remote_fin, resets, failed;
	const struct tws_counters *counters; /* in the model of the last look */
	uint32_t ports_used, ports_range;
	double rate; /* opened per second since the last look; < 0: not known yet */
	float history[TOP_HISTORY]; /* the rate in each second, newest last */
};

struct top_view {
	enum top_mode mode;
	enum top_sort sort;
	char filter[64];  /* part of the application's name or of the destination; "": all
			   */
	char within[128]; /* name of the only application to show; "": all */
	uint64_t alone;	  /* key of the only row to show, with its counters; 0: all */
};

struct top {
	const char *dir;
	int by;		   /* enum model_by: what an application is */
	uint64_t since_ns; /* as in struct model_options */
	char storms[2048]; /* a line for each: see tools/model/storm.h */
	struct reader_cache *cache;
	struct model *model;  /* of the last look; NULL: there was none */
	struct top_row *rows; /* in the order of the view */
	size_t count;
	struct top_past *past; /* histories of the rows of all modes */
	size_t past_count, past_room;
	uint32_t *bucket; /* by key: an index of past + 1 */
	size_t bucket_count;
	double looked; /* when the last look was, seconds */
	uint64_t time_wait, owned, opened, open;
	bool has_table;
	char since[32];		       /* when what is counted began; "": nothing is */
	uint64_t older, perhaps_older; /* see model.window */
	char time[32];
	/* Why there is no table, or no reading; "": no error. */
	char error[PRINT_ERROR_SIZE];
};

/* Reads everything and makes the rows of the view. What could not be read is in `error`.
 * Returns 0 or -ENOMEM. */
int top_look(struct top *top, const struct top_view *view);

/* Makes the rows of another view from the last look. Returns 0 or -ENOMEM. */
int top_arrange(struct top *top, const struct top_view *view);

void top_free(struct top *top);

/* The lines of a screen, cut to `width` columns: a summary, the titles, and a row.
 * `ascii`: use ASCII only. Each function returns `buffer`. */
#define TOP_LINE_SIZE (PRINT_ERROR_SIZE + 64)
const char *top_summary(char *buffer, const struct top *top);
const char *top_titles(char *buffer, const struct top_view *view, int width);
const char *top_line(char *buffer, const struct top_row *row, const struct top_view *view,
		     int width, bool ascii);

/* Returns line number `line` of a row's details: its counters that are not 0. NULL: no
 * more lines. */
const char *top_detail(char *buffer, const struct top_row *row, unsigned line, int width);

/* Prints one object on one line, schema twshim.top/1. Returns 0 or -ENOMEM. */
int top_print_json(FILE *out, const struct top *top, const struct top_view *view);

/* Returns whether $TERM is known and can position text. ncurses would print to a dumb
 * terminal as well. */
bool top_can_place(void);

/* Runs the view on the terminal until the user leaves it. Returns the exit status. */
int top_screen(struct top *top, struct top_view *view, double delay,
	       enum print_color color);

#endif
