/* SPDX-License-Identifier: MIT
 *
 * The threads whose calls a supervisor receives: who each is, and how to look at its
 * descriptors and memory. A number may be another thread's by the time it is used, so a
 * thread is known by a pidfd and by the start of its process, and what is learnt about a
 * new one counts only if its call still waits after that.
 */
#ifndef TWS_TOOLS_OBSERVE_CALLER_H
#define TWS_TOOLS_OBSERVE_CALLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tools/observe/observed.h"

#define CALLERS 256

enum caller_left {
	CALLER_OURS,   /* to be observed */
	CALLER_HIDDEN, /* another user's, or may not be looked into */
};

struct caller {
	pid_t thread; /* 0: a free place */
	pid_t process;
	int pidfd;	/* of the thread */
	int memory;	/* its process's, as long as it runs the same program */
	bool by_thread; /* the pidfd is the thread's own, not its process's */
	enum caller_left left;
	/* It has loaded the shim, which counts what is called through the C library. What
	 * its executable calls itself, as one in Go does, the shim does not see. */
	bool has_shim;
	uint64_t code_start, code_end; /* of the executable; with has_shim */
	struct observed *observed;     /* NULL: left, or not known yet */
};

struct callers {
	struct caller place[CALLERS];
	struct observed_table observed;
	uint64_t images; /* programs that were met */
	bool root;
};

void callers_init(struct callers *callers);
void callers_free(struct callers *callers);

/* Whether a call still waits for its answer. */
struct pending_call {
	int listener;
	uint64_t id;
};

bool caller_waits(const struct pending_call *call);

/* The thread, known anew (`again`) or as before. NULL: it can't be known, or its call
 * does not wait any more. */
struct caller *caller_find(struct callers *callers, pid_t thread,
			   const struct pending_call *call, bool again);

/* A copy of a descriptor of its, or -errno: -ESRCH: this number is another thread's now.
 */
int caller_descriptor(const struct caller *caller, int fd);

/* Reads its memory. False: there is none there, or its program has been replaced. */
bool caller_read(const struct caller *caller, uint64_t address, void *ret_bytes,
		 size_t size);

/* Whether the shim counts a call that was made there. */
bool caller_is_counted(const struct caller *caller, uint64_t instruction);

/* Whether a program that had the shim is not there any more: another one is in its
 * process, which may not have it. */
bool caller_is_replaced(const struct caller *caller);

/* Its process is forgotten. */
void callers_forget(struct callers *callers, const struct observed *observed);

#endif
