/* SPDX-License-Identifier: MIT
 *
 * Whether another party counts the connections of a process, so that nothing is counted
 * twice.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "shim/shared/rundir.h"
#include "tools/base/print.h"
#include "tools/kernel/proc_file.h"
#include "tools/observe/observed.h"
#include "tools/segments/beneath.h"
#include "tools/segments/rundir.h"

#define IMAGES_LOOKED_AT 64
#define MISSING_IN_A_ROW 8	   /* numbers of segments */
#define SEGMENT_NS	 50000000u /* the shim makes its segment so late at most */
#define VARIABLE	 "TWSHIM_RUN="

/* A process of another run by root, which observes its own processes. Root's places,
 * which no user can write, say whether a run goes on. */
static bool names_other_run(const char *line, const void *data)
{
	uint8_t run[TWS_RUN_SIZE];
	char path[4096];
	int place;
	bool ret;

	if (strncmp(line, VARIABLE, strlen(VARIABLE)) != 0 ||
	    !tws_run_parse(line + strlen(VARIABLE), run) ||
	    memcmp(run, data, TWS_RUN_SIZE) == 0 ||
	    tws_rundir_find(path, sizeof(path)) != 0)
		return false;
	place = tws_rundir_open(path);
	ret = tws_run_goes_on(place, run);
	if (place >= 0)
		close(place);
	return ret;
}

/* Whether a segment of the process is another writer's, of the program that runs in it
 * now. The kernel knows only the names of a dead one's path. */
static bool is_of_others(int directory, const char *file,
			 const struct publish_subject *subject)
{
	struct tws_header header;
	int fd = open_beneath(directory, file, 0);
	bool others;

	if (fd < 0)
		return false;
	others = read(fd, &header, sizeof(header)) == sizeof(header) &&
		 (header.observer == TWS_OBSERVER_SHIM ||
		  header.observer_pid != (uint32_t)getpid());
	close(fd);
	if (!others)
		return false;
	header.exe[sizeof(header.exe) - 1] = '\0';
	return strncmp(print_base_name(header.exe), print_base_name(subject->exe),
		       BPF_PART_SIZE - 1) == 0;
}

/* The shim makes a segment with the first connect() of its process, so a process that
 * has loaded it and has none calls the kernel past it, as a program in Go does. If two
 * threads connected first at once, one of two segments was taken back, and its number is
 * missing. */
static int has_segment(int directory, const char *name, void *data)
{
	const struct publish_subject *subject = data;
	unsigned missing = 0;
	char file[96];
	int result = 0;

	for (unsigned image = 0; image < IMAGES_LOOKED_AT && result == 0; image++) {
		snprintf(file, sizeof(file), "%llu-%u-%llu-%u" TWS_SEGMENT_SUFFIX,
			 (unsigned long long)subject->pid_namespace, subject->pid,
			 (unsigned long long)subject->start_time, image);
		if (faccessat(directory, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
			result = is_of_others(directory, file, subject);
			missing = 0;
		} else if (++missing == MISSING_IN_A_ROW) {
			break;
		}
	}
	return result;
}

static int look_below(const char *path, void *data)
{
	return tws_rundir_each(path, has_segment, data) > 0;
}

static bool left_segment(const struct publish_subject *subject)
{
	struct publish_subject copy = *subject;
	char path[4096];

	if (tws_rundir_find(path, sizeof(path)) == 0 && look_below(path, &copy) > 0)
		return true;
	return tws_rundir_others(look_below, &copy) > 0;
}

/* The process may end at any step here, so what it left behind is looked for last. */
bool observed_is_others(const struct observed *observed, const uint8_t run[TWS_RUN_SIZE])
{
	pid_t pid = observed->subject.host_pid;

	if (observed_is_there(observed) &&
	    proc_any_line(pid, "environ", '\0', names_other_run, run) > 0)
		return true;
	return left_segment(&observed->subject);
}

/* Where the shim did not see how the socket came here (by SCM_RIGHTS), it looks at it
 * after the call, and makes its segment then. */
bool observed_becomes_others(const struct observed *observed)
{
	const struct timespec pause = {0, SEGMENT_NS / 50};
	const uint64_t until = tws_now() + SEGMENT_NS;
	bool there;

	do {
		there = observed_is_there(observed);
		if (left_segment(&observed->subject))
			return true;
		nanosleep(&pause, NULL);
	} while (there && tws_now() < until);
	return false;
}

/* ------------------------------------------------------------- calls that go on */

/* Of a line of maps: whether it is libc's, and the address lies in it. */
static bool is_libc_at(const char *line, const void *data)
{
	static const char *const names[] = {"/libc.", "/libc-", "/libpthread",
					    "/ld-musl"};
	const unsigned long long *at = data;
	unsigned long long from, until;

	if (sscanf(line, "%llx-%llx", &from, &until) != 2 || *at < from || *at >= until)
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strstr(line, names[i]))
			return true;
	return false;
}

static bool is_connecting_call(int number)
{
	return number == SYS_connect || number == SYS_sendto || number == SYS_sendmsg ||
	       number == SYS_sendmmsg;
}

/* /proc/PID/task/TID/syscall: its number, six arguments, the stack, and where it was
 * made. */
static bool waits_in_libc(pid_t pid, const char *thread)
{
	char name[64], text[256];
	unsigned long long at;
	int number;

	snprintf(name, sizeof(name), "task/%s/syscall", thread);
	if (proc_read_of(pid, name, text, sizeof(text)) != 0 ||
	    sscanf(text, "%d %*s %*s %*s %*s %*s %*s %*s %llx", &number, &at) != 2 ||
	    !is_connecting_call(number))
		return false;
	return proc_any_line(pid, "maps", '\n', is_libc_at, &at) > 0;
}

bool observed_connects_by_libc(const struct observed *observed)
{
	const struct dirent *entry;
	bool found = false;
	char path[32];
	DIR *threads;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)observed->subject.host_pid);
	threads = opendir(path);
	while (threads && !found && (entry = readdir(threads)))
		if (entry->d_name[0] != '.')
			found = waits_in_libc(observed->subject.host_pid, entry->d_name);
	if (threads)
		closedir(threads);
	return found;
}
