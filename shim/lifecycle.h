/* SPDX-License-Identifier: MIT
 *
 * Whose process is this, and may the shim write to its books? One static state, no lock.
 *
 * A forked child finds out by itself: the kernel wipes one page at every kind of fork. A
 * child that shares our memory (vfork, or clone with CLONE_VM) cannot be recognized by
 * looking at memory. Once such a child may exist, each step asks getpid().
 */
#ifndef TWS_SHIM_LIFECYCLE_H
#define TWS_SHIM_LIFECYCLE_H

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
	bool is_fork; /* made by a fork() that the shim saw, with memory of its own */
	char handover[1024]; /* TWSHIM_HANDOVER, or empty */
};

TWS_OURS extern struct tws_process tws_process;

/* Slow half of tws_may_work(). */
TWS_COLD bool tws_process_check(void);

/* Whether this call may write to the books: the shim is at work, and the books belong
 * to this process. To be asked by hooks before each step for a connection, and not for
 * other descriptors. */
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

/* Reads the environment, once. Called by the constructor, and by any call that comes
 * before it. */
void tws_process_begin(void);

/* To be called before the first book is made, also in a forked child. */
void tws_process_own(void);

/* This process is a forked child: the memory is our own copy, and the books belong to
 * the parent. */
void tws_process_become_child(int32_t pid);

/* To be called before a child gets copies of our descriptors: open connections may be
 * shared from now on. */
void tws_process_note_spawn(void);

/* To be called before a child that may exec with other descriptors than its flags say:
 * libc duplicates some for it without our wrappers. */
void tws_process_note_actions(void);

/* To be called before a call by which a thread gets a descriptor table of its own. */
void tws_process_note_split(void);

/* To be called before a fork, which copies every descriptor, close-on-exec or not. */
void tws_process_note_fork(void);

/* To be called before vfork(). */
void tws_process_note_vfork(void);

/* To be called before a clone() that shares our memory; `files`: and our descriptors. */
void tws_process_note_clone(bool files);

/* The program has installed a seccomp filter: the shim makes no more system calls. To
 * be called only if tws_may_work() was true before, because a vfork child's filter
 * does not concern us. */
TWS_COLD void tws_process_retire(void);

#endif
