/* SPDX-License-Identifier: MIT
 *
 * Receiving from a listener can block although poll() said that there is a call: the
 * call may have been given up, or the other process was faster. So it is interrupted by a
 * timer here, and by a signal of the keeper's in the supervisor.
 */
#include "tools/observe/keeper.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/kernel/proc_file.h"
#include "tools/observe/descriptors_close.h"
#include "tools/observe/door.h"
#include "tools/observe/notify_filter.h"

#define MS	   1000000ull
#define TICK_MS	   20
#define STOPPED_NS (10 * MS)
#define HUNG_NS	   (70 * MS)
#define IDLE_TICKS 50 /* without a call, then it sleeps until the next one */
#define OWN	   2  /* descriptors before the listeners in `polled` */

struct keeping {
	struct keeper_page *page;
	pid_t supervisor;
	struct pollfd polled[OWN + KEEPER_LISTENERS]; /* control, supervisor, listeners */
	nfds_t count;
	uint64_t beats, beats_ns; /* as last seen to change, and when */
	unsigned idle;
};

/* ------------------------------------------------------------------ letting pass */

int keeper_pass(int listener, uint64_t id)
{
	union {
		struct seccomp_notif_resp response;
		uint64_t room[KEEPER_NOTIFICATION / 8];
	} answer = {.response = {.id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE}};

	while (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) != 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

void keeper_set_timer(long milliseconds)
{
	const struct itimerval timer = {{0, milliseconds * 1000},
					{0, milliseconds * 1000}};

	setitimer(ITIMER_REAL, &timer, NULL);
}

static const struct seccomp_notif *received_call(const struct keeping *keeping)
{
	return (const void *)keeping->page->notification;
}

static void note_passed(struct keeping *keeping, const struct seccomp_notif *call)
{
	struct keeper_page *page = keeping->page;

	__atomic_fetch_add(notify_filter_may_connect(&call->data) ? &page->passed
								  : &page->passed_closes,
			   1, __ATOMIC_RELAXED);
}

static void pass_one(struct keeping *keeping, int listener)
{
	union {
		struct seccomp_notif notification;
		uint64_t room[KEEPER_NOTIFICATION / 8];
	} call;
	int result;

	memset(&call, 0, sizeof(call));
	keeper_set_timer(TICK_MS);
	result = ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call);
	keeper_set_timer(0);
	if (result != 0)
		return;
	if (keeper_pass(listener, call.notification.id) == 0)
		note_passed(keeping, &call.notification);
}

static bool has_received(const struct keeping *keeping)
{
	return __atomic_load_n(&received_call(keeping)->id, __ATOMIC_ACQUIRE) != 0;
}

/* The one that the supervisor has received, whichever listener it is of; a call that it
 * has answered is not there any more. */
static void pass_received(struct keeping *keeping)
{
	const struct seccomp_notif *received = received_call(keeping);

	if (!has_received(keeping))
		return;
	for (nfds_t i = OWN; i < keeping->count; i++)
		if (keeper_pass(keeping->polled[i].fd, received->id) == 0)
			note_passed(keeping, received);
}

static void pass_waiting(struct keeping *keeping)
{
	for (nfds_t i = OWN; i < keeping->count; i++)
		if (keeping->polled[i].revents & POLLIN)
			pass_one(keeping, keeping->polled[i].fd);
}

/* Those whose programs are all gone. */
static void drop_ended(struct keeping *keeping)
{
	for (nfds_t i = OWN; i < keeping->count;) {
		if ((keeping->polled[i].revents & (POLLIN | POLLHUP)) != POLLHUP) {
			i++;
			continue;
		}
		close(keeping->polled[i].fd);
		keeping->polled[i] = keeping->polled[--keeping->count];
	}
}

/* The supervisor is dead. */
static void keep_for_ever(struct keeping *keeping)
{
	keeping->polled[0].fd = keeping->polled[1].fd = -1;
	pass_received(keeping);
	while (keeping->count > OWN) {
		if (poll(keeping->polled, keeping->count, -1) <= 0)
			continue;
		pass_waiting(keeping);
		drop_ended(keeping);
	}
	_exit(0);
}

/* -------------------------------------------------------------------- the watch */

static bool is_stopped(pid_t pid)
{
	char text[1024];
	const char *at;

	if (proc_read_of(pid, "stat", text, sizeof(text)) != 0)
		return false;
	at = strrchr(text, ')');
	return at && at[1] == ' ' && (at[2] == 'T' || at[2] == 't');
}

static bool has_waiting(const struct keeping *keeping)
{
	for (nfds_t i = OWN; i < keeping->count; i++)
		if (keeping->polled[i].revents & POLLIN)
			return true;
	return false;
}

/* Since when calls wait; 0: none does. Looks at the beats last: what the supervisor has
 * answered meanwhile is no delay of it. */
static uint64_t waiting_since(struct keeping *keeping)
{
	bool waiting = has_received(keeping) || has_waiting(keeping);
	uint64_t beats = __atomic_load_n(&keeping->page->beats, __ATOMIC_ACQUIRE);

	if (beats != keeping->beats || !waiting) {
		keeping->beats = beats;
		keeping->beats_ns = tws_now();
	}
	keeping->idle = waiting || keeping->beats_ns + TICK_MS * MS > tws_now()
			    ? 0
			    : keeping->idle + 1;
	return waiting ? keeping->beats_ns : 0;
}

static bool is_late(struct keeping *keeping)
{
	uint64_t since = waiting_since(keeping), late = since ? tws_now() - since : 0;

	return late > HUNG_NS || (late > STOPPED_NS && is_stopped(keeping->supervisor));
}

static void look_at_listeners(struct keeping *keeping)
{
	poll(keeping->polled + OWN, keeping->count - OWN, 0);
	drop_ended(keeping);
}

/* Until the supervisor goes on, or dies. While it is stopped, each call passes at once.
 * If it only waits for a core, it is given a tick to answer what comes. */
static void stand_in(struct keeping *keeping)
{
	uint64_t beats = keeping->beats;

	while (__atomic_load_n(&keeping->page->beats, __ATOMIC_ACQUIRE) == beats &&
	       waiting_since(keeping) && !(keeping->polled[1].revents & POLLIN)) {
		pass_received(keeping);
		pass_waiting(keeping);
		syscall(SYS_pidfd_send_signal, keeping->polled[1].fd, KEEPER_SIGNAL, NULL,
			0);
		poll(keeping->polled,
		     is_stopped(keeping->supervisor) ? keeping->count : OWN, TICK_MS);
		look_at_listeners(keeping);
	}
}

static void take_listener(struct keeping *keeping)
{
	const char ready = 'y';
	int fd = door_receive_descriptor(keeping->polled[0].fd);

	if (fd < 0)
		return;
	if (keeping->count == OWN + KEEPER_LISTENERS) {
		close(fd);
		return;
	}
	keeping->polled[keeping->count++] = (struct pollfd){.fd = fd, .events = POLLIN};
	(void)!send(keeping->polled[0].fd, &ready, 1, MSG_NOSIGNAL);
}

/* While calls come, it looks every few milliseconds, and is not woken by each. */
static void keep(struct keeping *keeping)
{
	bool sleeps;

	for (;;) {
		sleeps = keeping->idle > IDLE_TICKS;
		poll(keeping->polled, sleeps ? keeping->count : OWN,
		     sleeps ? -1 : TICK_MS);
		if (sleeps)
			keeping->beats_ns = tws_now();
		if (keeping->polled[1].revents & POLLIN)
			keep_for_ever(keeping);
		if (keeping->polled[0].revents & POLLIN)
			take_listener(keeping);
		if (keeping->polled[0].revents & POLLHUP)
			keeping->polled[0].fd = -1;
		look_at_listeners(keeping);
		if (is_late(keeping))
			stand_in(keeping);
	}
}

/* --------------------------------------------------------------------- starting */

static void on_timer(int signal)
{
}

static void prepare_keeper(void)
{
	const struct sigaction timer = {.sa_handler = on_timer};
	sigset_t all;

	sigaction(SIGALRM, &timer, NULL);
	sigfillset(&all);
	sigdelset(&all, SIGALRM);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, "twshim-keeper");
}

static void become_keeper(const struct keeper *keeper, int control, int supervisor_fd,
			  pid_t supervisor, const int *listeners, size_t count)
{
	static struct keeping keeping;
	int wanted[OWN + KEEPER_LISTENERS] = {control, supervisor_fd};

	prepare_keeper();
	keeping.page = keeper->page;
	keeping.supervisor = supervisor;
	keeping.polled[0] = (struct pollfd){.fd = control, .events = POLLIN};
	keeping.polled[1] = (struct pollfd){.fd = supervisor_fd, .events = POLLIN};
	keeping.count = OWN;
	for (size_t i = 0; i < count; i++) {
		wanted[keeping.count] = listeners[i];
		keeping.polled[keeping.count++] =
		    (struct pollfd){.fd = listeners[i], .events = POLLIN};
	}
	descriptors_close_others(wanted, keeping.count);
	keep(&keeping);
}

static int make_page(struct keeper *keeper)
{
	if (keeper->page)
		return 0;
	keeper->page = mmap(NULL, sizeof(*keeper->page), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (keeper->page != MAP_FAILED)
		return 0;
	keeper->page = NULL;
	return -errno;
}

int keeper_start(struct keeper *keeper, const int *listeners, size_t count)
{
	pid_t supervisor = getpid();
	int control[2], supervisor_fd, result = make_page(keeper);

	if (result != 0)
		return result;
	supervisor_fd = (int)syscall(SYS_pidfd_open, supervisor, 0);
	if (supervisor_fd < 0)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0) {
		result = -errno;
		close(supervisor_fd);
		return result;
	}
	keeper->pid = fork();
	if (keeper->pid == 0)
		become_keeper(keeper, control[1], supervisor_fd, supervisor, listeners,
			      count);
	close(supervisor_fd);
	close(control[1]);
	keeper->control = control[0];
	keeper->pidfd =
	    keeper->pid > 0 ? (int)syscall(SYS_pidfd_open, keeper->pid, 0) : -1;
	return keeper->pidfd < 0 ? -errno : 0;
}

bool keeper_give(const struct keeper *keeper, int listener, int patience_ms)
{
	struct pollfd polled = {.fd = keeper->control, .events = POLLIN};
	char answer;

	return door_send_descriptor(keeper->control, listener) == 0 &&
	       poll(&polled, 1, patience_ms) == 1 &&
	       recv(keeper->control, &answer, 1, MSG_DONTWAIT) == 1;
}
