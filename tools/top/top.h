/* SPDX-License-Identifier: MIT
 *
 * The live view: rows of applications, processes or destinations with what each did since
 * the last look, and a minute of history. Rows and lines are made here and drawn by
 * cmd_top.c as text and by top_screen.c with ncurses.
 */
#ifndef TWS_TOOLS_TOP_H
#define TWS_TOOLS_TOP_H

#include <stdbool.h>
#include <stdio.h>

#include "tools/model/model.h"
#include "tools/base/print.h"

#define TOP_HISTORY 60 /* seconds that are kept of each row */
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

extern const char *const top_mode_names[TOP_MODES]; /* "application", ... */
extern const char *const top_sort_names[TOP_SORTS];

struct top_row {
	char app[48]; /* safe to print, as all of it */
	char exe[128];
	char to[56];	/* destinations */
	long pid;	/* processes */
	uint64_t start; /* of the process, in ticks since boot: pids come again */
	uint64_t key;	/* the same row at the next look */
	bool dead;
	uint64_t opened, open, ended, short_lived, local_fin, time_wait;
	uint64_t remote_fin, resets, failed;
	const struct tws_counters *counters; /* of the model of the last look */
	uint32_t ports_used, ports_range;
	double rate; /* opened a second since the last look; < 0: not known yet */
	float history[TOP_HISTORY]; /* the rate in each second, newest last */
};

struct top_view {
	enum top_mode mode;
	enum top_sort sort;
	char filter[64];  /* part of the application or destination; "": all */
	char within[128]; /* exe of the one application that is shown; "": all */
	uint64_t alone;	  /* key of the one row that is shown, in full; 0: all */
};

struct top {
	const char *dir;
	struct reader_cache *cache;
	struct model *model;  /* of the last look; NULL: there was none */
	struct top_row *rows; /* as the view wants them */
	size_t count;
	struct top_past *past; /* of the rows of all modes */
	size_t past_count, past_room;
	uint32_t *bucket; /* by key: an index of past + 1 */
	size_t bucket_count;
	double looked; /* when, seconds */
	uint64_t time_wait, owned, opened, open;
	bool has_table;
	char time[32];
	/* Why there is no table, or no reading; "": all is well. */
	char error[PRINT_ERROR_SIZE];
};

/* Looks, and makes the rows of the view. What could not be read is said in `error`. 0 or
 * -ENOMEM. */
int top_look(struct top *top, const struct top_view *view);

/* Makes the rows of another view out of the last look. 0 or -ENOMEM. */
int top_arrange(struct top *top, const struct top_view *view);

void top_free(struct top *top);

/* The lines of a screen, cut to `width` columns: a summary of the whole, the titles, a
 * row. `ascii`: nothing beyond it. Each returns `buffer`. */
#define TOP_LINE_SIZE (PRINT_ERROR_SIZE + 64)
const char *top_summary(char *buffer, const struct top *top);
const char *top_titles(char *buffer, const struct top_view *view, int width);
const char *top_line(char *buffer, const struct top_row *row, const struct top_view *view,
		     int width, bool ascii);

/* What is known of one row, line by line: the counters that are not 0. NULL: no more. */
const char *top_detail(char *buffer, const struct top_row *row, unsigned line, int width);

/* One object on one line, schema twshim.top/1. 0 or -ENOMEM. */
int top_print_json(FILE *out, const struct top *top, const struct top_view *view);

/* Whether $TERM is known and can place text: a dumb one can't, and ncurses would print to
 * it all the same. */
bool top_can_place(void);

/* Runs the view on the terminal until it is left. The exit status. */
int top_screen(struct top *top, struct top_view *view, double delay,
	       enum print_color color);

#endif
