/* SPDX-License-Identifier: MIT
 *
 * Whose process is this, and may we keep books in it? One static state, no lock.
 *
 * A forked child finds out by itself (a page that the kernel wipes at fork, whatever the
 * way of forking). A child that shares our memory (vfork, clone with CLONE_VM) cannot be
 * told by looking at memory: once such a child may exist, each step asks getpid().
 */
#ifndef TWS_SHIM_PROCESS_H
#define TWS_SHIM_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/shared/hot.h"

enum tws_stage {
	TWS_STAGE_NONE = 0, /* not begun */
	TWS_STAGE_BEGUN = 1,
	TWS_STAGE_AT_WORK = 2,
	TWS_STAGE_DISABLED = 3, /* by TWSHIM_DISABLED, or retired */
};

struct tws_process {
	int stage;		/* atomic; enum tws_stage */
	uint32_t memory_shared; /* atomic; children that may share our memory now */
	uint32_t *alive;	/* 1 in the process that set it, 0 after a fork */
	int32_t vforking[8];	/* atomic; threads inside vfork(), counted above */
	uint32_t files_shared;	/* atomic; a clone(CLONE_VM | CLONE_FILES) was seen */
	char handover[1024];	/* TWSHIM_HANDOVER, or empty */
};

TWS_OURS extern struct tws_process tws_process;

/* Slow half of tws_may_work(). */
TWS_COLD bool tws_process_check(void);

/* Whether this call may keep books: at work, and the books are this process's own. To be
 * asked before each step on the way of a connection; not for other descriptors. */
static inline bool tws_may_work(void)
{
	uint32_t *alive = __atomic_load_n(&tws_process.alive, __ATOMIC_ACQUIRE);

	if (tws_likely(__atomic_load_n(&tws_process.stage, __ATOMIC_ACQUIRE) ==
			   TWS_STAGE_AT_WORK &&
		       !__atomic_load_n(&tws_process.memory_shared, __ATOMIC_RELAXED) &&
		       __atomic_load_n(alive, __ATOMIC_RELAXED)))
		return true;
	return tws_process_check();
}

/* Begins: reads the environment, once. Called by the constructor and by whatever comes
 * before it. */
void tws_process_begin(void);

/* Before the first book is made, and in a child that makes its own. */
void tws_process_own(void);

/* We are a fork's child: the memory is our own copy, and the books are not ours. */
void tws_process_become_child(int32_t pid);

/* Before a child that gets copies of our descriptors: open connections may be shared from
 * now on. */
void tws_process_note_spawn(void);

/* Before a child that may exec with other descriptors than its flags say: libc duplicates
 * some for it, past our wrappers. */
void tws_process_note_actions(void);

/* Before a call by which a thread gets a descriptor table of its own. */
void tws_process_note_split(void);

/* Before a fork: the child gets every descriptor, close-on-exec or not. */
void tws_process_note_fork(void);

/* Before vfork(). */
void tws_process_note_vfork(void);

/* Before a clone() that shares our memory; `files`: our descriptors too. */
void tws_process_note_clone(bool files);

/* The program has put a seccomp filter upon itself: from here on nothing is done. To be
 * called if tws_may_work() before it did; a vfork child's filter is none of ours. */
TWS_COLD void tws_process_retire(void);

#endif
