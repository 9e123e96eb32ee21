/* SPDX-License-Identifier: MIT
 *
 * Whether the process of a segment still lives: by pid and start time in our own pid
 * namespace, by NSpid in the namespaces below it. A process that we can't see is unknown,
 * not dead.
 */
#ifndef TWS_TOOLS_PROCESS_H
#define TWS_TOOLS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum process_life { PROCESS_ALIVE, PROCESS_DEAD, PROCESS_UNKNOWN };

/* What is kept between questions of one reading, because processes come and go. */
struct process_view {
	uint64_t pid_namespace; /* ours; 0: not known */
	bool scanned;
	struct process_below *below; /* processes of namespaces below ours */
	size_t below_count;
};

void process_view_init(struct process_view *view);
void process_view_free(struct process_view *view);

/* `start_time` in clock ticks since boot. A zombie is dead: its descriptors are closed.
 */
enum process_life process_life(struct process_view *view, uint64_t pid_namespace,
			       pid_t pid, uint64_t start_time);

/* Whether a file of user `uid` may speak for that process: not if it is alive and none of
 * its user ids (real, effective, saved, file system) is `uid`. */
bool process_may_be_of(struct process_view *view, uint64_t pid_namespace, pid_t pid,
		       uint64_t start_time, uint32_t uid);

/* In clock ticks since boot; 0: there is no such process, or only its remains. */
uint64_t process_start_time(pid_t pid);

/* Whether it has loaded the shim: 1 or 0, or -errno if that can't be read. */
int process_has_shim(pid_t pid);

/* Of /proc/PID/stat's text: start time, and whether it is a zombie without threads. Pure.
 * False: not such a text. */
bool process_parse_stat(const char *text, uint64_t *ret_start_time, bool *ret_zombie);

#endif
