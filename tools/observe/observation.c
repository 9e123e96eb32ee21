/* SPDX-License-Identifier: MIT */
#include "tools/observe/observation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/kernel/kernel.h"

/* Its inode, fixed in the kernel. */
#define INITIAL_PID_NAMESPACE 0xeffffffcu

#define LOCK	 "/observe.lock"
#define EVERY_NS 50000000
#define TICK_NS	 1000000000ull

/* For one command and its children: uses less memory and loads faster. */
#define BESIDE_RING	   (1u << 20)
#define BESIDE_CONNECTIONS 32768u

#define SETTLE_NS    200000000
#define SETTLE_LOOKS 20

static int add_event(const struct observation *observation, int fd)
{
	struct epoll_event event = {.events = EPOLLIN};

	return epoll_ctl(observation->events, EPOLL_CTL_ADD, fd, &event) == 0 ? 0
									      : -errno;
}

static int start_clock(struct observation *observation)
{
	const struct itimerspec every = {.it_interval = {0, EVERY_NS},
					 .it_value = {0, EVERY_NS}};

	observation->clock = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	observation->events = epoll_create1(EPOLL_CLOEXEC);
	if (observation->clock < 0 || observation->events < 0 ||
	    timerfd_settime(observation->clock, 0, &every, NULL) != 0)
		return -errno;
	return add_event(observation, observation->clock);
}

int observation_begin(struct observation *ret_observation,
		      const struct observe_scope *scope,
		      const struct publish_place *place, char *ret_error, size_t size)
{
	struct observation *observation = ret_observation;
	int result;

	*observation = (struct observation){.events = -1, .clock = -1};
	*ret_error = '\0';
	result = publisher_open(&observation->publisher, TWS_OBSERVER_BPF, place);
	if (result == 0)
		result = bpf_source_open(&observation->source, scope,
					 observation->publisher, ret_error, size);
	if (result == 0)
		result = start_clock(observation);
	if (result == 0)
		result = add_event(observation, bpf_source_fd(observation->source));
	if (result != 0) {
		if (!*ret_error)
			snprintf(ret_error, size, "BPF: %s", strerror(-result));
		observation_end(observation);
	}
	return result;
}

int observation_begin_beside(struct observation *ret_observation,
			     const struct publish_place *place, int also)
{
	const pid_t self = getpid();
	const struct observe_scope scope = {.kind = BPF_SCOPE_PROCESSES,
					    .pids = &self,
					    .pid_count = 1,
					    .ring_bytes = BESIDE_RING,
					    .connections = BESIDE_CONNECTIONS};
	char error[256];
	int result = -ENOTSUP;

	/* The program in the kernel knows processes by their numbers in the first. */
	if (kernel_namespace("pid") == INITIAL_PID_NAMESPACE)
		result = observation_begin(ret_observation, &scope, place, error,
					   sizeof(error));
	if (result == 0 && also >= 0)
		result = add_event(ret_observation, also);
	return result;
}

/* The peer's FIN may still come, or may never come. */
void observation_settle(struct observation *observation)
{
	const struct publish_counts *counts = publish_counts(observation->publisher);
	const struct timespec pause = {0, SETTLE_NS / SETTLE_LOOKS};

	bpf_source_read_all(observation->source);
	for (int i = 0; i < SETTLE_LOOKS && counts->ended < counts->attempts; i++) {
		nanosleep(&pause, NULL);
		bpf_source_read(observation->source);
	}
	bpf_source_tick(observation->source);
}

int observation_lock(const char *main_directory, bool alone)
{
	char path[4096 + sizeof(LOCK)];
	int fd, result;

	snprintf(path, sizeof(path), "%s" LOCK, main_directory);
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0)
		return fd;
	result = -errno;
	close(fd);
	return result;
}

int observation_fd(const struct observation *observation)
{
	return observation->events;
}

void observation_take(struct observation *observation)
{
	uint64_t expired;

	(void)!read(observation->clock, &expired, sizeof(expired));
	bpf_source_read(observation->source);
}

void observation_step(struct observation *observation)
{
	uint64_t now = tws_now();

	observation_take(observation);
	if (now - observation->ticked_ns < TICK_NS)
		return;
	observation->ticked_ns = now;
	bpf_source_tick(observation->source);
}

void observation_end(struct observation *observation)
{
	if (observation->source)
		bpf_source_read_all(observation->source);
	bpf_source_close(observation->source);
	publisher_close(observation->publisher);
	if (observation->clock >= 0)
		close(observation->clock);
	if (observation->events >= 0)
		close(observation->events);
	*observation = (struct observation){.events = -1, .clock = -1};
}
