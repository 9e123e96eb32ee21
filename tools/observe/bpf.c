/* SPDX-License-Identifier: MIT
 *
 * Loads and attaches the program, and looks for its events.
 */
#include "tools/observe/bpf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/base/version.h"
#include "tools/kernel/kernel.h"
#include "tools/observe/bpf_object.h"
#include "tools/observe/cgroup.h"
#include "tools/observe/libbpf.h"

#define USUAL_RING (8u << 20)
#define SECOND_NS  1000000000ull

static void forget(void *data, struct published *published)
{
	struct bpf_source *source = data;

	observed_forget(&source->observed, published,
			publish_subject_of(published)->host_pid);
}

/* Whatever happened before the look is in the maps when these are read, or in the queue
 * after that. What comes later is only seen in part, and is left to the next look. The
 * ring comes before the queue, because it tells whose connections those are. */
void bpf_source_look(struct bpf_source *source, uint64_t age_ns)
{
	uint64_t now = tws_now(), filled;

	bpf_map_look(source, age_ns);
	filled = bpf_queue_filled(source);
	libbpf.ring_buffer__consume(source->ring);
	bpf_queue_read(source, filled);
	bpf_changes_count(source, now);
}

void bpf_source_read(struct bpf_source *source)
{
	bpf_source_look(source, BPF_CONNECTING_NS);
}

/* Those that have failed and were not followed by another. */
static void read_last_calls(struct bpf_source *source)
{
	const struct timespec pause = {0, BPF_CALL_NS};

	if (bpf_map_calls(source, BPF_CALL_NS) == 0)
		return;
	nanosleep(&pause, NULL);
	bpf_map_calls(source, BPF_CALL_NS);
}

void bpf_source_read_all(struct bpf_source *source)
{
	source->last_look = true;
	bpf_source_look(source, 0);
	read_last_calls(source);
	bpf_changes_count(source, UINT64_MAX);
	source->last_look = false;
	bpf_repair_all(source);
}

void bpf_source_tick(struct bpf_source *source)
{
	bpf_map_calls(source, SECOND_NS); /* before its process is forgotten */
	publish_note_dead(source->publisher);
	bpf_source_read(source);
	bpf_repair(source);
	publish_tick(source->publisher);
	observed_sweep(&source->observed);
}

int bpf_source_fd(const struct bpf_source *source)
{
	return libbpf.ring_buffer__epoll_fd(source->ring);
}

struct bpf_source_losses bpf_source_losses(const struct bpf_source *source)
{
	struct bpf_source_losses ret = {.no_early = source->no_early};
	struct bpf_losses losses = {0};
	uint32_t zero = 0;

	libbpf.bpf_map_lookup_elem(source->losses, &zero, &losses);
	ret.deferred = losses.deferred;
	ret.lost = losses.lost;
	ret.found = source->found;
	return ret;
}

void bpf_source_each(const struct bpf_source *source,
		     void (*take)(const struct observed *observed, void *data),
		     void *data)
{
	for (size_t i = 0; i < OBSERVED_BUCKETS; i++)
		for (const struct observed *at = source->observed.buckets[i]; at;
		     at = at->next)
			take(at, data);
}

/* ------------------------------------------------------------------------- loading */

/* Half of it is the ring, in whole pages, and half is the queue. */
static uint32_t half_of(const struct observe_scope *scope)
{
	return (scope->ring_bytes ? scope->ring_bytes : USUAL_RING) / 2;
}

static uint32_t ring_bytes(const struct observe_scope *scope)
{
	uint32_t page = (uint32_t)getpagesize();

	return half_of(scope) > page ? half_of(scope) : page;
}

static uint32_t ended_count(const struct observe_scope *scope)
{
	uint32_t ret = BPF_ENDED_LEAST;

	while (ret * 2 * sizeof(struct bpf_ended) <= half_of(scope))
		ret *= 2;
	return ret;
}

static int describe_scope(const struct observe_scope *wanted, struct bpf_scope *ret_scope)
{
	*ret_scope = (struct bpf_scope){.kind = wanted->kind,
					.wake_bytes = ring_bytes(wanted) / 4,
					.wake_ended = ended_count(wanted) / 4,
					.ended_mask = ended_count(wanted) - 1};
	if (wanted->kind != BPF_SCOPE_CGROUP)
		return 0;
	return cgroup_identify(wanted->cgroup, &ret_scope->cgroup,
			       &ret_scope->cgroup_level);
}

static void set_size(const struct bpf_source *source, const char *name, uint32_t most)
{
	libbpf.bpf_map__set_max_entries(
	    libbpf.bpf_object__find_map_by_name(source->object, name), most);
}

static void set_sizes(struct bpf_source *source, const struct observe_scope *scope)
{
	source->ended_count = ended_count(scope);
	set_size(source, "ring", ring_bytes(scope));
	set_size(source, "queued", source->ended_count);
	if (scope->connections)
		set_size(source, "connections", scope->connections);
}

static void leave_out(const struct bpf_source *source, const char *name)
{
	struct bpf_program *program =
	    libbpf.bpf_object__find_program_by_name(source->object, name);

	if (program)
		libbpf.bpf_program__set_autoload(program, false);
}

/* `early`: also load the part that sees attempts which fail before a SYN is sent.
 * Older kernels refuse it. */
static int load(struct bpf_source *source, const struct observe_scope *wanted, bool early)
{
	struct bpf_scope scope;
	int result = describe_scope(wanted, &scope);

	if (result != 0)
		return result;
	source->object = libbpf_open(twshim_bpf, twshim_bpf_end);
	if (!source->object)
		return -errno;
	set_sizes(source, wanted);
	if (wanted->kind != BPF_SCOPE_PROCESSES) {
		leave_out(source, "on_fork");
		leave_out(source, "on_exit");
	}
	if (!early) {
		leave_out(source, "on_connect4");
		leave_out(source, "on_connect6");
	}
	result = libbpf_set_constants(source->object, &scope, sizeof(scope));
	if (result == 0)
		result = libbpf.bpf_object__load(source->object);
	if (result != 0) {
		libbpf.bpf_object__close(source->object);
		source->object = NULL;
	}
	return result;
}

/* ----------------------------------------------------------------------- attaching */

static int keep(struct bpf_source *source, struct bpf_link *link)
{
	if (!link)
		return -errno;
	source->links[source->link_count++] = link;
	return 0;
}

static struct bpf_program *program(const struct bpf_source *source, const char *name)
{
	return libbpf.bpf_object__find_program_by_name(source->object, name);
}

static int attach_early(struct bpf_source *source, const struct observe_scope *scope)
{
	char path[4096];
	int result = -ENOENT, cgroup = -1;

	if (scope->kind == BPF_SCOPE_CGROUP)
		cgroup = open(scope->cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	else if (cgroup_root(path, sizeof(path)) == 0)
		cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cgroup < 0)
		return result;
	result = keep(source, libbpf.bpf_program__attach_cgroup(
				  program(source, "on_connect4"), cgroup));
	if (result == 0)
		result = keep(source, libbpf.bpf_program__attach_cgroup(
					  program(source, "on_connect6"), cgroup));
	close(cgroup);
	return result;
}

static int attach(struct bpf_source *source, const struct observe_scope *scope)
{
	int result = 0;

	if (scope->kind == BPF_SCOPE_PROCESSES) {
		result =
		    keep(source, libbpf.bpf_program__attach(program(source, "on_fork")));
		if (result == 0)
			result =
			    keep(source,
				 libbpf.bpf_program__attach(program(source, "on_exit")));
	}
	if (result == 0)
		result =
		    keep(source, libbpf.bpf_program__attach(program(source, "on_state")));
	if (result == 0)
		result = keep(source,
			      libbpf.bpf_program__attach(program(source, "on_destroy")));
	return result;
}

static void scope_in(const struct bpf_source *source, const struct observe_scope *scope)
{
	const uint8_t one = 1;
	uint32_t tgid;

	for (size_t i = 0; i < scope->pid_count; i++) {
		tgid = (uint32_t)scope->pids[i];
		libbpf.bpf_map_update_elem(source->scoped, &tgid, &one, 0);
	}
}

/* NULL: no memory. */
static void *share(const struct bpf_source *source, const char *name, size_t size)
{
	void *ret = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			 libbpf_map(source->object, name), 0);

	return ret == MAP_FAILED ? NULL : ret;
}

static int share_all(struct bpf_source *source)
{
	source->places = share(source, "places", BPF_PLACES * sizeof(struct bpf_place));
	source->ended =
	    share(source, "queued", source->ended_count * sizeof(struct bpf_ended));
	source->queue = share(source, "queue", sizeof(struct bpf_queue));
	return source->places && source->ended && source->queue ? 0 : -ENOMEM;
}

static void unshare_all(const struct bpf_source *source)
{
	if (source->places)
		munmap(source->places, BPF_PLACES * sizeof(struct bpf_place));
	if (source->ended)
		munmap(source->ended, source->ended_count * sizeof(struct bpf_ended));
	if (source->queue)
		munmap(source->queue, sizeof(struct bpf_queue));
}

static int start(struct bpf_source *source, const struct observe_scope *scope)
{
	int result;

	source->connections = libbpf_map(source->object, "connections");
	source->processes = libbpf_map(source->object, "processes");
	source->scoped = libbpf_map(source->object, "scoped");
	source->calls = libbpf_map(source->object, "calls");
	source->losses = libbpf_map(source->object, "losses");
	result = share_all(source);
	if (result != 0)
		return result;
	source->ring = libbpf.ring_buffer__new(libbpf_map(source->object, "ring"),
					       bpf_source_record, source, NULL);
	if (!source->ring)
		return -errno;
	scope_in(source, scope);
	result = attach(source, scope);
	if (result == 0 && !source->no_early && attach_early(source, scope) != 0)
		source->no_early = true;
	return result;
}

static int open_all(struct bpf_source *source, const struct observe_scope *scope)
{
	int result = load(source, scope, true);

	if (result != 0 && result != -EPERM) {
		source->no_early = true;
		result = load(source, scope, false);
	}
	return result == 0 ? start(source, scope) : result;
}

int bpf_source_open(struct bpf_source **ret_source, const struct observe_scope *scope,
		    struct publisher *publisher, char *ret_error, size_t size)
{
	struct bpf_source *source;
	int result;

	if (!bpf_object_is_built()) {
		snprintf(ret_error, size, "BPF: %s",
			 VERSION_CURE("this twshim was built without it: install clang "
				      "and libbpf-dev, then make"));
		return -ENOTSUP;
	}
	result = libbpf_load(ret_error, size);
	source = result == 0 ? calloc(1, sizeof(*source)) : NULL;
	if (!source)
		return result ? result : -ENOMEM;
	source->publisher = publisher;
	source->net_namespace = kernel_namespace("net");
	observed_init(&source->observed);
	publish_on_forgotten(publisher, forget, source);
	result = open_all(source, scope);
	if (result != 0) {
		libbpf_explain(ret_error, size, result);
		bpf_source_close(source);
		return result;
	}
	*ret_source = source;
	return 0;
}

void bpf_source_close(struct bpf_source *source)
{
	if (!source)
		return;
	for (size_t i = 0; i < source->link_count; i++)
		libbpf.bpf_link__destroy(source->links[i]);
	if (source->ring)
		libbpf.ring_buffer__free(source->ring);
	unshare_all(source);
	if (source->object)
		libbpf.bpf_object__close(source->object);
	free(source->changes);
	free(source->suspects);
	cookie_map_free(&source->repaired);
	publish_on_forgotten(source->publisher, NULL, NULL);
	observed_free(&source->observed);
	free(source);
}
