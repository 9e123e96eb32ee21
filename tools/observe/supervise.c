/* SPDX-License-Identifier: MIT
 *
 * One thread, which waits for whatever comes: calls that wait, programs at the door, the
 * end of the command. It blocks on nothing else; the kernel's messages are read by the
 * clock.
 */
#include "tools/observe/supervise.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "shim/shared/helper.h"
#include "tools/observe/descriptors_close.h"
#include "tools/observe/door.h"
#include "tools/observe/keeper.h"
#include "tools/observe/notify_filter.h"
#include "tools/observe/own_session.h"
#include "tools/observe/wake_here.h"

#define MS	      1000000ull
#define DRAIN_MS      20 /* while connections are open */
#define TURN_MS	      20 /* of a program that calls again and again */
#define TICK_MS	      500
#define GIVE_MS	      200  /* for the keeper, while others may wait */
#define FIRST_GIVE_MS 1500 /* while nobody else can */
#define SETTLE_MS     1000 /* at the end, for what was closed */
#define EVENTS	      64
#define CLIENTS	      64 /* at the door, at the same time */

enum source { AT_DOOR, CLIENT, LISTENER, CONTROL, KEEPER };

struct supervise {
	struct supervision work;
	struct keeper keeper;
	struct supervisor_setup setup;
	int door, control, events;
	int listeners[KEEPER_LISTENERS];
	struct wake_here wake;
	size_t listener_count, client_count;
	uint64_t drained_ns, ticked_ns;
	uint64_t finish_ns; /* when it is to be done at the latest; 0: not yet */
	uint64_t leave_ns;  /* the same, once it observes no program any more */
	bool finished;
};

/* What is known about a descriptor comes back with its events. `also`: enum notify_also,
 * what the filter of its program tells of. */
static uint64_t key_of(int fd, enum source source, uint32_t also)
{
	return (uint64_t)also << 40 | (uint64_t)source << 32 | (uint32_t)fd;
}

static enum source source_of(uint64_t key)
{
	return (enum source)(key >> 32 & 0xff);
}

static uint32_t also_of(uint64_t key)
{
	return (uint32_t)(key >> 40);
}

static void watch_descriptor(const struct supervise *supervise, int fd,
			     enum source source, uint32_t also)
{
	struct epoll_event event = {.events = EPOLLIN,
				    .data.u64 = key_of(fd, source, also)};

	epoll_ctl(supervise->events, EPOLL_CTL_ADD, fd, &event);
}

static void drop_descriptor(const struct supervise *supervise, int fd)
{
	epoll_ctl(supervise->events, EPOLL_CTL_DEL, fd, NULL);
	close(fd);
}

/* --------------------------------------------------------------------- listeners */

static void drop_listener(struct supervise *supervise, int listener)
{
	for (size_t i = 0; i < supervise->listener_count; i++)
		if (supervise->listeners[i] == listener)
			supervise->listeners[i] =
			    supervise->listeners[--supervise->listener_count];
	wake_here_drop(&supervise->wake, listener);
	drop_descriptor(supervise, listener);
}

/* The keeper sees from the page what is under way, and the kernel wants it empty. False:
 * nothing was received. */
static bool take_call(struct supervise *supervise, int listener, uint32_t also)
{
	struct keeper_page *page = supervise->keeper.page;
	struct seccomp_notif *call = (void *)page->notification;
	const struct received_call received = {listener, call, also & NOTIFY_CLOSE};

	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, call) != 0)
		return false;
	wake_here_note(&supervise->wake, listener, (pid_t)call->pid);
	supervision_take(&supervise->work, &received);
	__atomic_fetch_add(&page->beats, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&call->id, 0, __ATOMIC_RELEASE);
	memset(call, 0, sizeof(page->notification));
	return true;
}

/* While one program alone calls, its next call is waited for in the kernel, without
 * asking before each whether it is there. All else waits for a turn at most. */
static void take_calls(struct supervise *supervise, int listener, uint32_t also)
{
	const bool alone = supervise->listener_count == 1 && !supervise->client_count;
	const int interruptions = own_session_interruptions();

	if (!alone) {
		take_call(supervise, listener, also);
		return;
	}
	epoll_ctl(supervise->events, EPOLL_CTL_DEL, listener, NULL);
	keeper_set_timer(TURN_MS);
	while (take_call(supervise, listener, also) &&
	       own_session_interruptions() == interruptions)
		;
	keeper_set_timer(0);
	watch_descriptor(supervise, listener, LISTENER, also);
}

static void end_client(struct supervise *supervise, int client)
{
	drop_descriptor(supervise, client);
	supervise->client_count--;
}

static void take_listener(struct supervise *supervise, int client, uint32_t also)
{
	int listener = door_receive(client);
	int patience_ms = supervise->listener_count ? GIVE_MS : FIRST_GIVE_MS;
	bool taken;

	if (listener == -EAGAIN)
		return;
	supervise->work.counts->turned_away +=
	    listener >= 0 && supervise->listener_count == KEEPER_LISTENERS;
	taken = listener >= 0 && supervise->listener_count < KEEPER_LISTENERS &&
		last_words_listen(supervise->work.words) == 0 &&
		keeper_give(&supervise->keeper, listener, patience_ms);
	if (taken) {
		supervise->listeners[supervise->listener_count++] = listener;
		supervise->work.counts->handed_over++;
		watch_descriptor(supervise, listener, LISTENER, also);
	} else if (listener >= 0) {
		close(listener);
	}
	door_answer(client, taken);
	end_client(supervise, client);
}

static void hear_client(struct supervise *supervise, int client, uint32_t also)
{
	char text[DOOR_TEXT_SIZE];

	if (!door_receive_text(client, text)) {
		take_listener(supervise, client, also);
		return;
	}
	supervision_note_unreached(&supervise->work, text);
	end_client(supervise, client);
}

static void welcome(struct supervise *supervise, int client, uint32_t also)
{
	supervise->client_count++;
	watch_descriptor(supervise, client, CLIENT, also);
}

static void take_client(struct supervise *supervise)
{
	struct door_terms terms;
	int client;

	supervision_follow_policy(&supervise->work);
	terms.also = supervision_wants(&supervise->work);
	client = door_admit(supervise->door, &terms);
	if (client < 0)
		return;
	if (supervise->client_count == CLIENTS) {
		close(client);
		return;
	}
	welcome(supervise, client, terms.also);
}

static void start_keeper_again(struct supervise *supervise)
{
	drop_descriptor(supervise, supervise->keeper.pidfd);
	close(supervise->keeper.control);
	if (keeper_start(&supervise->keeper, supervise->listeners,
			 supervise->listener_count) == 0)
		watch_descriptor(supervise, supervise->keeper.pidfd, KEEPER, 0);
}

/* -------------------------------------------------------------------- the clock */

static bool has_open(const struct supervise *supervise)
{
	const struct publish_counts *counts = publish_counts(supervise->work.publisher);

	return counts->ended < counts->attempts;
}

static void copy_counts(struct supervise *supervise)
{
	const struct publish_counts *published =
	    publish_counts(supervise->work.publisher);
	struct supervisor_counts *counts = supervise->work.counts;

	counts->attempts = published->attempts;
	counts->processes = published->processes;
	counts->refused = published->refused;
}

static void tick(struct supervise *supervise)
{
	supervision_note_passed(&supervise->work, supervise->keeper.page);
	supervision_tick(&supervise->work);
}

static int look_at_clock(struct supervise *supervise)
{
	uint64_t now = tws_now();

	if (now - supervise->drained_ns >=
	    (has_open(supervise) ? DRAIN_MS : TICK_MS) * MS) {
		last_words_drain(supervise->work.words);
		supervise->drained_ns = now;
	}
	if (now - supervise->ticked_ns >= TICK_MS * MS) {
		supervision_follow_policy(&supervise->work);
		tick(supervise);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		copy_counts(supervise);
		supervise->ticked_ns = now;
	}
	return has_open(supervise) ? DRAIN_MS : TICK_MS;
}

static void drop_ended_listeners(struct supervise *supervise)
{
	struct pollfd polled = {.events = POLLIN};

	for (size_t i = supervise->listener_count; i-- > 0;) {
		polled.fd = supervise->listeners[i];
		if (poll(&polled, 1, 0) == 1 &&
		    (polled.revents & (POLLIN | POLLHUP)) == POLLHUP)
			drop_listener(supervise, polled.fd);
	}
}

/* The command, or who started it, has ended. */
static void begin_finish(struct supervise *supervise)
{
	char what;

	(void)!recv(supervise->control, &what, 1, MSG_DONTWAIT);
	if (!supervise->finish_ns)
		supervise->finish_ns = tws_now() + SETTLE_MS * MS;
}

static void close_door(struct supervise *supervise)
{
	drop_descriptor(supervise, supervise->door);
	unlinkat(supervise->setup.directory, TWS_HELPER_DOOR, 0);
}

/* The command has ended. What it left running is observed to its end. */
static void finish_supervising(struct supervise *supervise)
{
	char answer;

	last_words_drain(supervise->work.words);
	if (has_open(supervise) && tws_now() < supervise->finish_ns)
		return;
	supervise->work.finishing = true;
	tick(supervise);
	drop_ended_listeners(supervise);
	copy_counts(supervise);
	supervise->finished = true;
	answer = supervise->listener_count ? SUPERVISE_STAYS : SUPERVISE_ENDS;
	(void)!send(supervise->control, &answer, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	drop_descriptor(supervise, supervise->control);
	if (!supervise->listener_count)
		supervise->leave_ns = tws_now();
	else if (supervise->door >= 0)
		close_door(supervise);
}

/* What the last program closed ends soon after it. */
static bool is_done(struct supervise *supervise)
{
	if (!supervise->finished || supervise->listener_count)
		return false;
	if (!supervise->leave_ns) {
		tick(supervise);
		supervise->leave_ns = tws_now() + SETTLE_MS * MS;
	}
	return !has_open(supervise) || tws_now() >= supervise->leave_ns;
}

/* ---------------------------------------------------------------------- the loop */

static void take_event(struct supervise *supervise, const struct epoll_event *event)
{
	int fd = (int)(uint32_t)event->data.u64;
	uint32_t also = also_of(event->data.u64);

	switch (source_of(event->data.u64)) {
	case AT_DOOR:
		take_client(supervise);
		break;
	case CLIENT:
		hear_client(supervise, fd, also);
		break;
	case LISTENER:
		if (event->events & EPOLLIN)
			take_calls(supervise, fd, also);
		else
			drop_listener(supervise, fd);
		break;
	case CONTROL:
		begin_finish(supervise);
		break;
	case KEEPER:
		start_keeper_again(supervise);
		break;
	}
}

static void supervise_loop(struct supervise *supervise)
{
	struct epoll_event events[EVENTS];
	int count, wait_ms;

	while (!is_done(supervise)) {
		wait_ms = look_at_clock(supervise);
		if (supervise->finish_ns && !supervise->finished)
			wait_ms = 5;
		count = epoll_wait(supervise->events, events, EVENTS, wait_ms);
		for (int i = 0; i < count; i++)
			take_event(supervise, &events[i]);
		if (supervise->finish_ns && !supervise->finished)
			finish_supervising(supervise);
	}
}

/* ----------------------------------------------------------------------- opening */

static void leave_parent(const struct supervise *supervise)
{
	int wanted[] = {supervise->setup.directory, supervise->setup.client,
			supervise->setup.place, supervise->setup.netlink,
			supervise->control};

	own_session("twshim-observer", wanted, sizeof(wanted) / sizeof(*wanted));
}

static void prepare_folding(void *data)
{
	const struct supervise *supervise = data;
	int wanted[] = {supervise->setup.place};

	descriptors_close_others(wanted, 1);
}

/* Its door, or the program that is at it. */
static int open_door(struct supervise *supervise)
{
	const struct door_terms terms = {.also = supervision_wants(&supervise->work)};

	supervise->door = -1;
	if (supervise->setup.directory >= 0) {
		supervise->door = door_open(supervise->setup.directory, TWS_HELPER_DOOR);
		if (supervise->door < 0)
			return supervise->door;
		watch_descriptor(supervise, supervise->door, AT_DOOR, 0);
	}
	if (supervise->setup.client < 0)
		return 0;
	welcome(supervise, supervise->setup.client, terms.also);
	return door_tell(supervise->setup.client, &terms) ? 0 : -EPIPE;
}

static int open_supervise(struct supervise *supervise, struct supervisor_counts *counts,
			  char *ret_error, size_t size)
{
	const struct publish_place place = {.directory = publish_in_one,
					    .data = &supervise->setup.place,
					    .run = supervise->setup.run};
	int result = supervision_open(&supervise->work, &place, counts, ret_error, size);

	if (result != 0)
		return result;
	supervise->work.netlink = supervise->setup.netlink;
	supervision_set_policy(&supervise->work, supervise->setup.policy,
			       supervise->setup.policy_key, supervise->setup.place,
			       supervise->setup.run);
	publish_fold_beside(supervise->work.publisher, prepare_folding, supervise);
	supervise->events = epoll_create1(EPOLL_CLOEXEC);
	result = supervise->events < 0 ? -errno : open_door(supervise);
	if (result == 0)
		result = keeper_start(&supervise->keeper, NULL, 0);
	if (result != 0) {
		snprintf(ret_error, size, "%s", strerror(-result));
		return result;
	}
	watch_descriptor(supervise, supervise->control, CONTROL, 0);
	watch_descriptor(supervise, supervise->keeper.pidfd, KEEPER, 0);
	return 0;
}

void supervise(const struct supervise_setup *setup)
{
	static struct supervise supervise;
	struct supervise_ready ready = {.pid = getpid()};

	supervise.setup = setup->setup;
	supervise.control = setup->control;
	leave_parent(&supervise);
	if (open_supervise(&supervise, setup->counts, ready.why, sizeof(ready.why)) != 0)
		ready.pid = 0;
	(void)!send(supervise.control, &ready, sizeof(ready), MSG_NOSIGNAL);
	if (!ready.pid)
		_exit(EXIT_FAILURE);
	supervise_loop(&supervise);
	if (supervise.setup.directory >= 0)
		unlinkat(supervise.setup.directory, TWS_HELPER_DOOR, 0);
	supervision_close(&supervise.work);
	_exit(0);
}
