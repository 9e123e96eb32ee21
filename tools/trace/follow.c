/* SPDX-License-Identifier: MIT
 *
 * The steps of one reading, and when each process is looked at.
 */
#include "tools/trace/follow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/kernel/kernel.h"
#include "tools/model/settler.h"
#include "tools/trace/follow_parts.h"

#define SECOND_NS 1000000000ull

/* A process that reports its exit, or is less than a second old, is checked at every
 * reading, because most of them die soon; any other process is checked once per second.
 */
static bool is_due(struct followed *segment, uint64_t now)
{
	uint32_t state = TWS_SEGMENT_LIVE;

	if (pread(segment->fd, &state, sizeof(state),
		  offsetof(struct tws_header, state)) != sizeof(state))
		return true;
	if (state == TWS_SEGMENT_LIVE && now < segment->next_look_ns &&
	    now > segment->header.created_monotonic_ns + SECOND_NS)
		return false;
	segment->next_look_ns = now + SECOND_NS;
	return true;
}

/* The check for death comes before the last reading of the ring, so that nothing is
 * missed. */
static void read_segment(struct follow *follow, struct followed *segment, uint64_t now)
{
	bool dead = is_due(segment, now) && follow_is_dead(follow, segment);

	follow_read_ring(follow, segment, now);
	if (!dead || segment->stuck_ns)
		return;
	if (!follow_read_open(follow, segment)) {
		segment->next_look_ns = now;
		return;
	}
	close(segment->fd);
	segment->fd = -1;
}

/* ------------------------------------------------------------------- the whole */

static void drop_finished(struct follow *follow)
{
	size_t kept = 0;

	for (size_t i = 0; i < follow->segment_count; i++) {
		if (follow->segments[i]->fd < 0 && !*follow->segments[i]->name)
			free(follow->segments[i]);
		else
			follow->segments[kept++] = follow->segments[i];
	}
	follow->segment_count = kept;
}

static int compare_events(const void *a, const void *b)
{
	const struct follow_event *x = a, *y = b;

	return x->ended.ended_ns < y->ended.ended_ns
		   ? -1
		   : x->ended.ended_ns > y->ended.ended_ns;
}

/* A process view caches processes of other namespaces, which is valid for one reading
 * only. */
static void renew_view(struct follow *follow)
{
	process_view_free(&follow->reader.processes);
	process_view_init(&follow->reader.processes);
	allowance_renew(&follow->reader.allowances);
}

int follow_read(struct follow *follow, const struct follow_event **ret_events,
		size_t *ret_count)
{
	uint64_t now = tws_now();

	follow->event_count = 0;
	if (follow->settler)
		settler_look(follow->settler);
	drop_finished(follow);
	renew_view(follow);
	follow_take_news(follow);
	if (now >= follow->scan_ns) {
		follow_scan(follow);
		follow->scan_ns = now + SECOND_NS;
	}
	for (size_t i = 0; i < follow->segment_count && !follow->failed; i++)
		if (follow->segments[i]->fd >= 0)
			read_segment(follow, follow->segments[i], now);
	follow_hear(follow);
	if (follow->event_count)
		qsort(follow->events, follow->event_count, sizeof(*follow->events),
		      compare_events);
	*ret_events = follow->events;
	*ret_count = follow->event_count;
	return follow->failed ? -ENOMEM : 0;
}

/* One descriptor per process is needed, so raise the limit as far as we may. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int follow_open(struct follow **ret_follow, const char *dir,
		const struct kernel_source *better, char *ret_error, size_t size)
{
	struct follow *follow = calloc(1, sizeof(*follow));
	int result = follow ? reader_init(&follow->reader) : -ENOMEM;

	if (result == 0) {
		follow->dir = dir;
		follow->net_namespace = kernel_namespace("net");
		follow->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		result = follow->inotify < 0 ? -errno : 0;
	}
	if (result != 0) {
		snprintf(ret_error, size, "inotify: %s", strerror(-result));
		if (follow)
			reader_free(&follow->reader);
		free(follow);
		return result;
	}
	raise_limit();
	if (settler_open(&follow->settler, dir, false, better, ret_error, size) == 0)
		follow->listener = settler_listener(follow->settler);
	follow_scan(follow);
	follow->begun = true;
	follow->unread = 0;
	*ret_follow = follow;
	return 0;
}

int follow_fd(const struct follow *follow)
{
	return follow->inotify;
}

uint64_t follow_unread(const struct follow *follow)
{
	return follow->unread;
}

void follow_close(struct follow *follow)
{
	for (size_t i = 0; i < follow->segment_count; i++) {
		if (follow->segments[i]->fd >= 0)
			close(follow->segments[i]->fd);
		free(follow->segments[i]);
	}
	for (size_t i = 0; i < follow->directory_count; i++)
		close(follow->directories[i].fd);
	close(follow->inotify);
	settler_close(follow->settler);
	free(follow->segments);
	free(follow->directories);
	free(follow->events);
	reader_free(&follow->reader);
	free(follow);
}
