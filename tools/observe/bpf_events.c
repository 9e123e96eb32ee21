/* SPDX-License-Identifier: MIT
 *
 * Passes events from the ring and from the maps to the publisher.
 */
#include "shim/shared/clock.h"
#include "shim/shared/ending.h"
#include "tools/kernel/process.h"
#include "tools/observe/bpf.h"
#include "tools/observe/libbpf.h"
#include "tools/observe/namespace_table.h"

#define LOOK_NS 1000000000ull /* between two looks for a process in a namespace */

/* A process in the network namespace of a connection: its own, or, if that has ended,
 * another. 0: none is known. To look for one reads all of /proc. */
static pid_t resident_of(struct bpf_source *source, const struct bpf_connection *event)
{
	const pid_t own = (pid_t)event->process.tgid;
	const uint64_t wanted = event->net_namespace, now = tws_now();

	if (namespace_of(own) == wanted)
		return own;
	if (source->other_namespace == wanted && source->other_resident &&
	    namespace_of(source->other_resident) == wanted)
		return source->other_resident;
	if (source->other_namespace == wanted && now - source->other_looked_ns < LOOK_NS)
		return 0;
	source->other_namespace = wanted;
	source->other_looked_ns = now;
	source->other_resident = namespace_resident(wanted);
	return source->other_resident;
}

struct route {
	const struct tws_address *to;
	int error; /* 0: none that is known */
};

static void ask_route(void *data)
{
	struct route *route = data;

	route->error = bpf_map_route_error(route->to);
}

static int route_error(struct bpf_source *source, const struct bpf_connection *event)
{
	struct route route = {&event->remote, 0};
	pid_t resident;

	if (event->net_namespace == source->net_namespace) {
		ask_route(&route);
		return route.error;
	}
	resident = resident_of(source, event);
	if (resident)
		namespace_work(resident, ask_route, &route);
	return route.error;
}

/* The error of a failed attempt. If it sent nothing, its socket holds no error. */
static enum tws_counter failure_of(struct bpf_source *source,
				   const struct bpf_connection *event)
{
	return tws_failure_counter(event->error == BPF_ERROR_UNKNOWN
				       ? route_error(source, event)
				       : event->error);
}

static struct publish_connection describe(struct bpf_source *source,
					  const struct bpf_connection *event)
{
	return (struct publish_connection){
	    .cookie = event->cookie,
	    .began_ns = event->began_ns,
	    .established_ns = event->established_ns,
	    .closed_ns = event->closed_ns,
	    .ended_ns = event->ended_ns,
	    .bytes_sent = event->bytes_sent,
	    .bytes_received = event->bytes_received,
	    .remote = event->remote,
	    .local = event->local,
	    .flags = event->flags,
	    .ending = (enum tws_ending)event->ending,
	    .failure = failure_of(source, event),
	    .time_wait = event->time_wait,
	};
}

/* Tells the kernel that it need not report this process any more. */
static void skip(struct bpf_source *source, struct observed *observed)
{
	struct bpf_process process = observed->process;

	observed->left = true;
	process.skip = 1;
	libbpf.bpf_map_update_elem(source->processes, &process.tgid, &process, 0);
}

/* Whether it is left to the shim. A program that calls the kernel past the shim may call
 * the shim later. */
static bool is_others(const struct bpf_source *source, struct observed *observed)
{
	if (observed_is_others(observed, publish_run(source->publisher)))
		return true;
	return observed->has_library && !observed->published &&
	       observed_becomes_others(observed);
}

/* Whether the shim may be in this call, which goes on, and may make its segment after it.
 * The attempt is told again at each look. */
static bool may_become_others(const struct bpf_source *source,
			      const struct observed *observed,
			      const struct bpf_connection *event)
{
	if (!observed->has_library || observed->published || source->last_look ||
	    event->kind != BPF_EVENT_BEGUN)
		return false;
	return tws_now() - event->began_ns < BPF_CONNECTING_NS ||
	       observed_connects_by_libc(observed);
}

/* Returns where its connections are published, made with the first one; NULL if they
 * are not published here, or not yet. */
static struct published *published_of(struct bpf_source *source,
				      const struct bpf_connection *event)
{
	struct observed *observed = observed_find(&source->observed, &event->process);

	if (!observed)
		observed = observed_meet(&source->observed, &event->process,
					 event->net_namespace);
	if (!observed || observed->left)
		return NULL;
	if (!observed->looked)
		observed->has_library = process_has_shim(observed->subject.host_pid) > 0;
	observed->looked = true;
	if (observed->published && !observed->has_library)
		return observed->published;
	if (may_become_others(source, observed, event))
		return NULL;
	if (is_others(source, observed)) {
		skip(source, observed);
		return NULL;
	}
	if (observed->published)
		return observed->published;
	observed->subject.net_namespace = event->net_namespace;
	observed->published = publish_process(source->publisher, &observed->subject);
	if (!observed->published)
		skip(source, observed);
	return observed->published;
}

static void adopt(struct bpf_source *source, const struct bpf_connection *event,
		  struct published *published,
		  const struct publish_connection *connection)
{
	struct observed *observed = observed_find(&source->observed, &event->process);

	publish_adopted(published, connection);
	if (observed && observed->adopted)
		observed->adopted--;
}

void bpf_source_take(struct bpf_source *source, const struct bpf_connection *event)
{
	struct publish_connection connection = describe(source, event);
	struct published *published = publish_find(source->publisher, event->cookie);

	if (bpf_repair_has(source, event->cookie) || bpf_repair_hold(source, event))
		return;
	if (event->kind == BPF_EVENT_CLOSED) {
		publish_closed(source->publisher, event->cookie, event->closed_ns);
		return;
	}
	if (!published)
		published = published_of(source, event);
	if (!published)
		return;
	if (event->flags & TWS_CONN_ADOPTED) {
		if (event->kind == BPF_EVENT_ENDED)
			adopt(source, event, published, &connection);
	} else if (event->kind == BPF_EVENT_BEGUN) {
		publish_begun(published, &connection);
	} else if (event->kind == BPF_EVENT_ESTABLISHED) {
		publish_established(published, &connection);
	} else if (event->kind == BPF_EVENT_ENDED) {
		publish_ended(published, &connection);
	}
}

int bpf_source_record(void *data, void *record, size_t size)
{
	struct bpf_source *source = data;
	const uint32_t *kind = record;

	if (*kind == BPF_EVENT_PROCESS && size >= sizeof(struct bpf_subject))
		observed_tell(&source->observed, record);
	else if (size >= sizeof(struct bpf_connection))
		bpf_changes_note(source, record);
	return 0;
}
