/* SPDX-License-Identifier: MIT
 *
 * Endings as lines: which ones are wanted, and how they are printed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shim/shared/clock.h"
#include "tools/base/json.h"
#include "tools/base/print.h"
#include "tools/segments/names.h"
#include "tools/trace/trace.h"

#define SECOND_NS 1000000000ull

/* ---------------------------------------------------------------------- names */

enum tws_ending trace_ending_of(const char *name)
{
	for (unsigned ending = TWS_END_ABANDONED; ending <= TWS_END_FAILED; ending++)
		if (strcmp(ending_name(ending), name) == 0)
			return (enum tws_ending)ending;
	return TWS_END_NONE;
}

/* ------------------------------------------------------------------- choosing */

int trace_parse_duration(const char *text, uint64_t *ret_ns)
{
	double value, unit = 1e9;
	char *end;

	errno = 0;
	value = strtod(text, &end);
	if (end == text || errno || !(value >= 0 && value <= 1e9))
		return -EINVAL;
	if (strcmp(end, "ms") == 0)
		unit = 1e6;
	else if (*end && strcmp(end, "s") != 0)
		return -EINVAL;
	*ret_ns = (uint64_t)(value * unit);
	return 0;
}

uint64_t trace_lifetime_ns(const struct tws_ended *ended)
{
	if (!ended->established_ns || ended->ended_ns < ended->established_ns)
		return 0;
	return ended->ended_ns - ended->established_ns;
}

static bool is_process(const struct trace_filter *filter,
		       const struct follow_process *process)
{
	if (filter->pid && (uint32_t)filter->pid != process->pid)
		return false;
	return !filter->app || tws_match_exe(filter->app, process->exe) ||
	       tws_match_glob(filter->app, process->name);
}

static bool is_target(const struct trace_filter *filter,
		      const struct tws_address *address)
{
	for (unsigned i = 0; i < filter->target_count; i++)
		if (tws_match_target(&filter->targets[i], address))
			return true;
	return !filter->target_count;
}

bool trace_wants(const struct trace_filter *filter, const struct follow_event *event)
{
	if (!is_process(filter, event->process))
		return false;
	if (event->missed)
		return true;
	if (filter->endings && (event->ended.ending > TWS_END_FAILED ||
				!(filter->endings & 1u << event->ended.ending)))
		return false;
	return is_target(filter, &event->ended.remote) &&
	       trace_lifetime_ns(&event->ended) >= filter->min_lifetime_ns;
}

/* ----------------------------------------------------------------------- time */

/* Returns how far CLOCK_REALTIME is ahead of CLOCK_MONOTONIC. We may be suspended between
 * reading the two clocks, so the quickest of a few readings counts. Small changes come
 * from the readings, not the clocks, and are ignored: they would put lines out of order.
 */
static uint64_t ahead_ns(void)
{
	static uint64_t kept;
	uint64_t least = UINT64_MAX, found = 0;

	for (int i = 0; i < 8 && least > 5000; i++) {
		struct timespec real;
		uint64_t before = tws_now(), took;

		tws_clock(CLOCK_REALTIME, &real);
		took = tws_now() - before;
		if (took >= least)
			continue;
		least = took;
		found =
		    (uint64_t)real.tv_sec * SECOND_NS + (uint64_t)real.tv_nsec - before;
	}
	if (found - kept + 50000 > 100000)
		kept = found;
	return kept;
}

/* 2025-11-23T21:23:00.123456Z */
static const char *print_when(char *buffer, size_t size, uint64_t monotonic_ns)
{
	uint64_t ns = ahead_ns() + monotonic_ns;
	struct tm utc;
	time_t seconds;
	size_t length;

	seconds = (time_t)(ns / SECOND_NS);
	if (!gmtime_r(&seconds, &utc))
		memset(&utc, 0, sizeof(utc));
	length = strftime(buffer, size, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(buffer + length, size - length, ".%06uZ",
		 (unsigned)(ns % SECOND_NS / 1000));
	return buffer;
}

/* ----------------------------------------------------------------------- text */

#define TITLE  "%-15s  %7s  %-15s  %-21s  %-21s  %9s  %8s  %8s  %-12s  %-9s  %s"
#define LINE   "%.15s  %7u  %-15s  %-21s  %-21s  %9s  %8s  %8s  %s%-12s%s  %-9s  %s%s%s\n"
#define MISSED "%.15s  %7u  %-15s  %smissed %llu: overwritten before they were read%s\n"

void trace_print_title(FILE *out, bool color)
{
	fputs(print_style(PRINT_DIM, color), out);
	fprintf(out, TITLE, "TIME (UTC)", "PID", "APPLICATION", "FROM", "TO", "LIFETIME",
		"SENT", "RECEIVED", "ENDING", "BY", "POLICY");
	fprintf(out, "%s\n", print_style(PRINT_PLAIN, color));
}

static enum print_style ending_style(unsigned ending)
{
	if (ending == TWS_END_LOCAL_FIN)
		return PRINT_YELLOW;
	if (ending == TWS_END_REMOTE_FIN || ending == TWS_END_FIN_RESET)
		return PRINT_GREEN;
	return PRINT_RED;
}

static void print_missed(FILE *out, const struct follow_event *event, const char *when,
			 const char *app, bool color)
{
	fprintf(out, MISSED, when + 11, event->process->pid, app,
		print_style(PRINT_RED, color), (unsigned long long)event->missed,
		print_style(PRINT_PLAIN, color));
}

/* Bytes that were not counted are shown as "-", not 0. */
static const char *bytes(char *buffer, const struct follow_event *event, uint64_t count)
{
	return event->process->detail && event->ended.via != TWS_VIA_KILL
		   ? print_bytes(buffer, count)
		   : "-";
}

void trace_print_text(FILE *out, const struct follow_event *event, bool color)
{
	const struct tws_ended *ended = &event->ended;
	char when[40], app[64], from[PRINT_ADDRESS_SIZE] = "-", to[PRINT_ADDRESS_SIZE];
	char lifetime[PRINT_NUMBER_SIZE] = "-", sent[PRINT_NUMBER_SIZE];
	char received[PRINT_NUMBER_SIZE], rule[4 * TWS_NAME_SIZE], arm[4 * TWS_NAME_SIZE];

	print_when(when, sizeof(when), ended->ended_ns);
	print_escape(app, sizeof(app), event->process->name);
	if (event->missed) {
		print_missed(out, event, when, app, color);
		return;
	}
	if (ended->local.family)
		print_address(from, &ended->local);
	if (ended->established_ns)
		print_duration(lifetime, (double)trace_lifetime_ns(ended) / 1e9);
	fprintf(out, LINE, when + 11, event->process->pid, app, from,
		print_address(to, &ended->remote), lifetime,
		bytes(sent, event, ended->bytes_sent),
		bytes(received, event, ended->bytes_received),
		print_style(ending_style(ended->ending), color),
		ending_name(ended->ending), print_style(PRINT_PLAIN, color),
		via_name(ended->via), print_escape(rule, sizeof(rule), event->rule),
		*event->arm ? (*event->rule ? ", arm " : "arm ") : "",
		print_escape(arm, sizeof(arm), event->arm));
}

/* ----------------------------------------------------------------------- JSON */

static json_t *address(const struct tws_address *address)
{
	char text[PRINT_ADDRESS_SIZE];

	return address->family ? json_string(print_address(text, address)) : json_null();
}

static json_t *counted(const struct follow_event *event, uint64_t number)
{
	if (!event->process->detail || event->ended.via == TWS_VIA_KILL)
		return json_null();
	return json_integer((json_int_t)number);
}

static void add_ended(json_t *object, const struct follow_event *event)
{
	const struct tws_ended *ended = &event->ended;
	bool came = ended->established_ns != 0;
	bool failed = ended->ending == TWS_END_FAILED;

	json_object_set_new(object, "from", address(&ended->local));
	json_object_set_new(object, "to", address(&ended->remote));
	json_object_set_new(object, "lifetime_s",
			    came ? json_real((double)trace_lifetime_ns(ended) / 1e9)
				 : json_null());
	json_object_set_new(object, "bytes_sent", counted(event, ended->bytes_sent));
	json_object_set_new(object, "bytes_received",
			    counted(event, ended->bytes_received));
	json_object_set_new(object, "ending", json_string(ending_name(ended->ending)));
	json_object_set_new(object, "failure",
			    failed ? json_string(counter_name(
					 (enum tws_counter)ended->failure, "failed_"))
				   : json_null());
	json_object_set_new(object, "via",
			    ended->via ? json_string(via_name(ended->via)) : json_null());
	json_object_set_new(object, "short_lived",
			    json_boolean(ended->flags & TWS_CONN_SHORT_LIVED));
	json_object_set_new(object, "rule", print_json_text_or_null(event->rule));
	json_object_set_new(object, "arm", print_json_text_or_null(event->arm));
	json_object_set_new(object, "cookie", json_integer((json_int_t)ended->cookie));
}

int trace_print_json(FILE *out, const struct follow_event *event)
{
	char when[40];
	json_t *object =
	    json_pack("{s:s, s:s, s:I, s:o, s:o}", "schema", "twshim.trace/1", "time",
		      print_when(when, sizeof(when), event->ended.ended_ns), "pid",
		      (json_int_t)event->process->pid, "app",
		      print_json_text_or_null(event->process->name), "exe",
		      print_json_text_or_null(event->process->exe));

	if (!object)
		return -ENOMEM;
	if (event->missed)
		json_object_set_new(object, "missed",
				    json_integer((json_int_t)event->missed));
	else
		add_ended(object, event);
	return print_json(out, object, JSON_COMPACT | JSON_REAL_PRECISION(10));
}
