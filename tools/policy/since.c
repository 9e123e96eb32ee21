/* SPDX-License-Identifier: MIT */
#include "tools/policy/since.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shim/shared/clock.h"
#include "tools/base/print.h"
#include "tools/policy/layer.h"

#define SECOND_NS 1000000000.0
#define DAY_S	  86400
#define USUAL	  "1h"

static const struct {
	const char *name;
	double seconds;
} units[] = {{"s", 1}, {"m", 60}, {"min", 60}, {"h", 3600}, {"d", DAY_S}};

static bool parse_ago(const char *text, double *ret_seconds)
{
	char *end;
	double number = strtod(text, &end);

	if (*text < '0' || *text > '9' || !(number >= 0 && number < 1e9))
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (strcmp(end, units[i].name) == 0) {
			*ret_seconds = number * units[i].seconds;
			return true;
		}
	return false;
}

/* The whole text has this form; seconds and a Z may be left out. */
static bool has_form(const char *text, const char *form, struct tm *tm)
{
	const char *end = strptime(text, form, tm);

	if (end && *end == ':')
		end = strptime(end, ":%S", tm);
	return end && (!*end || strcmp(end, "Z") == 0);
}

static bool parse_date(const char *text, time_t *ret_time)
{
	static const char *const forms[] = {"%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M",
					    "%Y-%m-%d"};

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		struct tm tm = {0};

		if (!has_form(text, forms[i], &tm))
			continue;
		*ret_time = timegm(&tm);
		return true;
	}
	return false;
}

/* The last time that the clock showed this. */
static bool parse_clock(const char *text, time_t now, time_t *ret_time)
{
	struct tm tm;

	if (!gmtime_r(&now, &tm))
		return false;
	tm.tm_sec = 0;
	if (!has_form(text, "%H:%M", &tm))
		return false;
	*ret_time = timegm(&tm);
	if (*ret_time > now)
		*ret_time -= DAY_S;
	return true;
}

static bool parse_epoch(const char *text, time_t *ret_time)
{
	char *end;
	long long seconds;

	errno = 0;
	seconds = strtoll(text + 1, &end, 10);
	*ret_time = (time_t)seconds;
	return text[0] == '@' && text[1] >= '0' && text[1] <= '9' && !*end && !errno;
}

/* How long ago the policy in force changed; negative: there is none. */
static double policy_ago(const char *dir, double now)
{
	struct layer layers[2] = {0};
	const struct layer *nearest = NULL;
	double ago = -1;

	if (layers_find(dir, layers) == 0)
		nearest = layers_nearest(layers);
	if (nearest)
		ago = now - (double)nearest->control.since_realtime_ns / SECOND_NS;
	layers_free(layers);
	return ago;
}

static int fail(char *ret_error, size_t size, const char *text, const char *why)
{
	char escaped[64];

	snprintf(ret_error, size, "--since %s: %s",
		 print_escape(escaped, sizeof(escaped), text), why);
	return -EINVAL;
}

/* How many seconds ago. */
static int find_ago(const char *text, const char *dir, double now, double *ret_ago,
		    char *ret_error, size_t size)
{
	time_t time;

	if (strcmp(text, "policy") == 0) {
		*ret_ago = policy_ago(dir, now);
		return *ret_ago >= 0 ? 0
				     : fail(ret_error, size, text,
					    "no policy is in force: give a time");
	}
	if (parse_ago(text, ret_ago))
		return 0;
	if (!parse_date(text, &time) && !parse_clock(text, (time_t)now, &time) &&
	    !parse_epoch(text, &time))
		return fail(ret_error, size, text,
			    "not a time: give 90s, 10m, 2h, 1d, 09:12 or "
			    "2026-11-30T09:12 (UTC), @1796029920, policy or all");
	*ret_ago = now - (double)time;
	return *ret_ago >= 0
		   ? 0
		   : fail(ret_error, size, text,
			  "is in the future: give a time that has passed, in UTC");
}

int since_find(const char *text, const char *dir, uint64_t *ret_ns, char *ret_error,
	       size_t size)
{
	struct timespec now;
	double ago, up = tws_now_s();
	int result;

	*ret_ns = 0;
	if (text && strcmp(text, "all") == 0)
		return 0;
	clock_gettime(CLOCK_REALTIME, &now);
	result = find_ago(text ? text : USUAL, dir,
			  (double)now.tv_sec + (double)now.tv_nsec / SECOND_NS, &ago,
			  ret_error, size);
	if (result == 0 && ago < up)
		*ret_ns = (uint64_t)((up - ago) * SECOND_NS);
	return result;
}
