/* SPDX-License-Identifier: MIT
 *
 * The measures of a case: counts, quantiles, and words for what the reader and the shim
 * saw.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/lab/result.h"

static unsigned end_of(const struct lab_case *what, unsigned first, unsigned count)
{
	return count > what->client.count - first ? what->client.count : first + count;
}

unsigned lab_count_errors(const struct lab_case *what, int error, unsigned first,
			  unsigned count)
{
	unsigned ret = 0;

	for (unsigned i = first; i < end_of(what, first, count); i++)
		ret += what->board->connection[i].error == error;
	return ret;
}

unsigned lab_count_established(const struct lab_case *what)
{
	return lab_count_errors(what, 0, 0, what->client.count);
}

uint64_t lab_bytes_sent(const struct lab_case *what)
{
	uint64_t ret = 0;

	for (unsigned i = 0; i < what->client.count; i++)
		ret += what->board->connection[i].sent;
	return ret;
}

static int compare_latencies(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double quantile_us(const struct lab_case *what, bool of_connect, double quantile,
			  unsigned first, unsigned count)
{
	const struct lab_connection *all = what->board->connection;
	uint64_t *values = calloc(what->client.count + 1, sizeof(*values));
	double ret = 0;
	size_t taken = 0;

	for (unsigned i = first; values && i < end_of(what, first, count); i++)
		if (all[i].error == 0)
			values[taken++] =
			    of_connect ? all[i].connect_ns : all[i].close_ns;
	if (taken) {
		qsort(values, taken, sizeof(*values), compare_latencies);
		ret = (double)values[(size_t)(quantile * (double)(taken - 1))] / 1000;
	}
	free(values);
	return ret;
}

double lab_connect_us(const struct lab_case *what, double quantile, unsigned first,
		      unsigned count)
{
	return quantile_us(what, true, quantile, first, count);
}

double lab_close_us(const struct lab_case *what, double quantile)
{
	return quantile_us(what, false, quantile, 0, what->client.count);
}

/* Appends "N word", after a comma if there is something before it. */
static void append_count(char *buffer, size_t size, uint64_t count, const char *word)
{
	size_t length = strlen(buffer);

	if (count)
		snprintf(buffer + length, size - length, "%s%llu %s", length ? ", " : "",
			 (unsigned long long)count, word);
}

const char *lab_describe_reader(char *buffer, size_t size, const struct lab_case *what)
{
	const struct lab_seen *seen = &what->board->seen;
	unsigned opened = lab_count_established(what);

	*buffer = '\0';
	append_count(buffer, size, seen->ended, "EOF");
	append_count(buffer, size, seen->reset, "reset");
	append_count(buffer, size, seen->hung, "hung");
	if (opened > seen->accepted)
		append_count(buffer, size, opened - seen->accepted, "never knew");
	return buffer;
}

const char *lab_describe_policy(char *buffer, size_t size, const struct lab_case *what)
{
	static const struct {
		enum tws_counter counter;
		const char *word;
	} ROWS[] = {
	    {TWS_policy_applied, "applied"},
	    {TWS_policy_skipped_unsent, "left: unsent data"},
	    {TWS_policy_skipped_app_option, "left: the program's own option"},
	    {TWS_policy_too_late, "too late"},
	    {TWS_policy_skipped_busy, "ring busy"},
	    {TWS_policy_waited, "waited"},
	    {TWS_policy_unsupported, "unsupported"},
	};

	*buffer = '\0';
	for (size_t i = 0; i < sizeof(ROWS) / sizeof(*ROWS); i++)
		append_count(buffer, size, what->board->shim.value[ROWS[i].counter],
			     ROWS[i].word);
	return buffer;
}

const struct lab_case *lab_find(const struct lab_case *cases, size_t count,
				const char *group, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(cases[i].name, name) == 0 &&
		    (!group || strcmp(cases[i].group, group) == 0))
			return &cases[i];
	return NULL;
}
