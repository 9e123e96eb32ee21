/* SPDX-License-Identifier: MIT
 *
 * How the shim begins, what it does at fork, and whose memory this is.
 */
#include "shim/lifecycle.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim/book/books.h"
#include "shim/book/self.h"
#include "shim/shared/helper.h"
#include "shim/shared/clock.h"
#include "shim/conn/alone.h"
#include "shim/conn/conn.h"
#include "shim/hooks.h"
#include "shim/own_book.h"
#include "shim/policy/policy.h"
#include "shim/real.h"
#include "shim/shared/rundir.h"
#include "shim/shared/sys.h"
#include "shim/shared/text.h"

#define VFORKING ((int)(sizeof(tws_process.vforking) / sizeof(tws_process.vforking[0])))

static uint32_t assumed_alive = 1;

struct tws_process tws_process __attribute__((aligned(64))) = {.alive = &assumed_alive};

static const char *environment(const char *name)
{
	size_t length = strlen(name);

	for (char **at = environ; at && *at; at++)
		if (**at == *name && !strncmp(*at, name, length) && (*at)[length] == '=')
			return *at + length + 1;
	return NULL;
}

static void copy_environment(const char *name, char *to, size_t size)
{
	const char *value = environment(name);
	struct tws_text text = tws_text_begin(to, size);

	/* A truncated path would be a different path. */
	if (value && strlen(value) < size)
		tws_text_add(&text, value);
}

/* The value was meant for this process alone. It is emptied in place, so that children
 * do not get it. */
static void forget_environment(const char *name)
{
	char *value = (char *)(uintptr_t)environment(name);

	if (value)
		*value = '\0';
}

/* A page that the kernel fills with zeros in a forked child (madvise(2), Linux 4.14).
 * If that fails, every step asks getpid() instead. */
static uint32_t *make_alive(void)
{
	static uint32_t never;
	long page = tws_sys6(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page < 0 && page > -4096)
		return &never;
	if (tws_sys3(SYS_madvise, page, 4096, MADV_WIPEONFORK) != 0) {
		tws_sys2(SYS_munmap, page, 4096);
		return &never;
	}
	__atomic_store_n((uint32_t *)page, 1, __ATOMIC_RELAXED);
	return (uint32_t *)page;
}

/* If LD_PRELOAD lists the library twice by different paths, two copies are loaded and
 * would count everything twice. The copy that is called first finds the other one
 * behind it and goes quiet. */
static bool is_outer_copy(void)
{
	return tws_real.syscall(TWS_ARE_YOU_THERE, 0, 0, 0, 0, 0, 0) == TWS_I_AM;
}

static bool listed_twice(void)
{
	const char *list = environment("LD_PRELOAD");
	const char *first = list ? strstr(list, "libtwshim") : NULL;

	return first && strstr(first + 1, "libtwshim");
}

static int first_stage(void)
{
	if (environment("TWSHIM_DISABLED"))
		return strcmp(environment("TWSHIM_DISABLED"), "0") == 0
			   ? TWS_STAGE_AT_WORK
			   : TWS_STAGE_DISABLED;
	return listed_twice() && is_outer_copy() ? TWS_STAGE_DISABLED : TWS_STAGE_AT_WORK;
}

void tws_process_begin(void)
{
	int none = TWS_STAGE_NONE;
	int stage;

	if (!environ ||
	    !__atomic_compare_exchange_n(&tws_process.stage, &none, TWS_STAGE_BEGUN,
					 false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return;
	stage = first_stage();
	if (stage == TWS_STAGE_AT_WORK) {
		tws_clock_begin();
		copy_environment("TWSHIM_DIR", tws_self.directory,
				 sizeof(tws_self.directory));
		copy_environment("TWSHIM_APP", tws_self.app, sizeof(tws_self.app));
		copy_environment("TWSHIM_RUN", tws_self.tag, sizeof(tws_self.tag));
		if (!tws_run_parse(tws_self.tag, tws_self.run))
			tws_self.tag[0] = '\0';
		/* The helper itself executes the program as it is. */
		if (!environment(TWS_HELPER_TARGET))
			copy_environment(TWS_HELPER, tws_self.helper,
					 sizeof(tws_self.helper));
		copy_environment(TWS_HANDOVER, tws_process.handover,
				 sizeof(tws_process.handover));
		forget_environment(TWS_HANDOVER);
	}
	__atomic_store_n(&tws_process.stage, stage, __ATOMIC_RELEASE);
}

/* Until there are books, it does not matter whose memory this is. */
void tws_process_own(void)
{
	tws_self_know_pid();
	if (__atomic_load_n(&tws_process.alive, __ATOMIC_ACQUIRE) == &assumed_alive)
		__atomic_store_n(&tws_process.alive, make_alive(), __ATOMIC_RELEASE);
}

/* ---------------------------------------------------------------- children */

void tws_process_note_fork(void)
{
	if (tws_process.stage != TWS_STAGE_AT_WORK)
		return;
	__atomic_fetch_add(&tws_self.forks, 1, __ATOMIC_RELAXED);
	tws_single_end();
	tws_book_check();
	tws_conn_share_all();
}

void tws_process_become_child(int32_t pid)
{
	tws_self.pid = pid;
	tws_process.memory_shared = 0;
	memset(tws_process.vforking, 0, sizeof(tws_process.vforking));
	tws_process.files_shared = 0;
	tws_self.tables_split = 0;
	tws_process.handover[0] = '\0';
	tws_books_forked();
	tws_single_forked();
	tws_own_book_forked();
	tws_policy_forked();
	tws_alone_forked();
	__atomic_store_n(tws_process.alive, 1, __ATOMIC_RELEASE);
}

void tws_process_note_spawn(void)
{
	__atomic_fetch_add(&tws_self.spawns, 1, __ATOMIC_RELAXED);
	if (tws_process.stage == TWS_STAGE_AT_WORK)
		tws_conn_share_sockets();
}

void tws_process_note_actions(void)
{
	tws_process_note_spawn();
	if (tws_process.stage != TWS_STAGE_AT_WORK || !tws_alone_armed)
		return;
	tws_book_check();
	tws_conn_share_all();
}

void tws_process_note_split(void)
{
	__atomic_store_n(&tws_self.tables_split, 1, __ATOMIC_RELEASE);
}

static bool is_swapped(int32_t *place, int32_t from, int32_t to)
{
	return __atomic_compare_exchange_n(place, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

static bool is_disabled(void)
{
	return __atomic_load_n(&tws_process.stage, __ATOMIC_RELAXED) ==
	       TWS_STAGE_DISABLED;
}

/* A thread returns from vfork() only when its child has left our memory, so the next
 * step of that thread shows that the child has gone. A thread that finds no free place
 * here stays counted. */
void tws_process_note_vfork(void)
{
	int32_t thread;

	if (is_disabled())
		return;
	thread = (int32_t)tws_sys1(SYS_gettid, 0);
	tws_self_know_pid();
	__atomic_fetch_add(&tws_process.memory_shared, 1, __ATOMIC_ACQ_REL);
	for (int i = 0; i < VFORKING; i++)
		if (is_swapped(&tws_process.vforking[i], 0, thread))
			break;
	tws_process_note_spawn();
}

static void forget_vfork(void)
{
	int32_t thread = (int32_t)tws_sys1(SYS_gettid, 0);

	for (int i = 0; i < VFORKING; i++)
		if (is_swapped(&tws_process.vforking[i], thread, 0))
			__atomic_fetch_sub(&tws_process.memory_shared, 1,
					   __ATOMIC_ACQ_REL);
}

static bool someone_vforks(void)
{
	for (int i = 0; i < VFORKING; i++)
		if (__atomic_load_n(&tws_process.vforking[i], __ATOMIC_RELAXED))
			return true;
	return false;
}

/* Nothing signals that child's exit, so the count never drops. */
void tws_process_note_clone(bool files)
{
	if (is_disabled())
		return;
	tws_self_know_pid();
	if (files)
		__atomic_store_n(&tws_process.files_shared, 1, __ATOMIC_RELEASE);
	__atomic_fetch_add(&tws_process.memory_shared, 1, __ATOMIC_ACQ_REL);
	tws_single_end();
	tws_process_note_spawn();
}

bool tws_process_check(void)
{
	int32_t pid;

	if (tws_process.stage == TWS_STAGE_NONE)
		tws_process_begin();
	if (tws_process.stage != TWS_STAGE_AT_WORK)
		return false;
	pid = (int32_t)tws_sys1(SYS_getpid, 0);
	if (pid == tws_self.pid) {
		if (someone_vforks())
			forget_vfork();
		return true;
	}
	if (!*tws_process.alive) {
		tws_process_become_child(pid); /* a fork that ran no atfork handler */
		return true;
	}
	/* This is a child in our memory. If it shares our descriptors too, it counts
	 * as a thread. */
	if (tws_process.files_shared)
		return true;
	tws_count_process(TWS_stood_aside);
	return false;
}

/* A filter may kill the process for a system call that the program itself never makes,
 * so the shim makes no more of them. Connections that are open are let go; they are
 * counted, as after SIGKILL, when the process has ended. */
void tws_process_retire(void)
{
	__atomic_store_n(&tws_process.stage, TWS_STAGE_DISABLED, __ATOMIC_RELEASE);
	tws_count_process(TWS_stood_aside);
	for (int fd = 0; fd <= tws_fd_highest(); fd++)
		tws_fd_set(fd, 0);
}
