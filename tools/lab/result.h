/* SPDX-License-Identifier: MIT
 *
 * The results of an experiment: tables and a verdict of one line, from which both text
 * and JSON are printed; and the measures of a case from which the tables are made.
 */
#ifndef TWS_TOOLS_LAB_RESULT_H
#define TWS_TOOLS_LAB_RESULT_H

#include <jansson.h>
#include <stdio.h>

#include "tools/lab/lab.h"

#define LAB_TABLES  16
#define LAB_VERDICT 1200

struct lab_column {
	const char *key;   /* in JSON */
	const char *title; /* in text; NULL: not there */
	unsigned decimals; /* of real numbers */
	bool optional;	   /* not shown in the text if all its cells are 0 or missing */
};

struct lab_table {
	char title[120];
	const struct lab_column *columns; /* the first is the row's name */
	size_t column_count;
	json_t *rows; /* array of objects */
};

struct lab_result {
	const char *name;
	struct lab_table table[LAB_TABLES];
	size_t table_count;
	char verdict[LAB_VERDICT];
	bool failed; /* a case could not be run */
	double seconds;
};

/* Adds a table. If there are too many, it returns the last one again. */
struct lab_table *lab_table_new(struct lab_result *result, const char *title,
				const struct lab_column *columns, size_t count);

/* Adds a row, whose first column holds `name`. The reference is borrowed. */
json_t *lab_row_new(struct lab_table *table, const char *name);

/* Sets a cell; a null is shown as "-". */
void lab_put_count(json_t *row, const char *key, uint64_t value);
void lab_put_real(json_t *row, const char *key, double value);
void lab_put_text(json_t *row, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void lab_put_null(json_t *row, const char *key);

/* Appends to the verdict. */
void lab_say(struct lab_result *result, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Notes why a case could not be run, as a line of the verdict. True: it could not. */
bool lab_say_failure(struct lab_result *result, const struct lab_case *what);

void lab_result_write(const struct lab_result *result, FILE *out, bool color);
json_t *lab_result_json(const struct lab_result *result);
void lab_result_free(struct lab_result *result);

/* ------------------------------------------------------ measures of one case */

/* How many connects ended with this errno (0: succeeded), counted from `first` on, for
 * at most `count` connections. */
unsigned lab_count_errors(const struct lab_case *what, int error, unsigned first,
			  unsigned count);
unsigned lab_count_established(const struct lab_case *what);
uint64_t lab_bytes_sent(const struct lab_case *what);

/* Quantiles, 0 to 1, in microseconds, of the connections that were established; 0:
 * there are none. */
double lab_connect_us(const struct lab_case *what, double quantile, unsigned first,
		      unsigned count);
double lab_close_us(const struct lab_case *what, double quantile);

/* "20 EOF, 1 reset, 1 hung". Returns `buffer`. */
const char *lab_describe_reader(char *buffer, size_t size, const struct lab_case *what);

/* What the shim counted of the rule: "20 applied, 2 skipped: unsent data". */
const char *lab_describe_policy(char *buffer, size_t size, const struct lab_case *what);

/* The case with this name (and group, unless NULL). It must exist. */
const struct lab_case *lab_find(const struct lab_case *cases, size_t count,
				const char *group, const char *name);

/* -------------------------------------------------------------- experiments */

/* Each fills in a result. Returns 0, -EINTR, or another -errno. */
int lab_close(struct lab_bench *bench, struct lab_result *result);
int lab_ports(struct lab_bench *bench, struct lab_result *result);
int lab_brownout(struct lab_bench *bench, struct lab_result *result);
int lab_timewait(struct lab_bench *bench, struct lab_result *result);
int lab_link(struct lab_bench *bench, struct lab_result *result);
int lab_myths(struct lab_bench *bench, struct lab_result *result);

#endif
