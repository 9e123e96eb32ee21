/* SPDX-License-Identifier: MIT
 *
 * The first word of the first line decides what is listed: with "~" it is calls to be
 * refused, without it calls to be allowed. Later lines add to the list, or take from it.
 */
#include "tools/systemd/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/launch/calls.h"

#define SETS_SIZE (256 * 1024)
#define DEEPEST	  8 /* sets within sets */

/* The lines of a set: after the one that is its name, up to an empty one. */
static const char *find_set(const char *sets, const char *name)
{
	size_t length = strlen(name);

	while (*sets) {
		if (strncmp(sets, name, length) == 0 && sets[length] == '\n')
			return sets + length + 1;
		sets += strcspn(sets, "\n");
		sets += *sets == '\n';
	}
	return NULL;
}

static bool has_call(const char *sets, const char *word, const char *call, unsigned depth)
{
	const char *line;
	char item[64];

	if (*word != '@')
		return strcmp(word, call) == 0;
	if (!*sets)
		return strcmp(word, "@system-service") == 0 &&
		       strcmp(call, "seccomp") != 0 && strcmp(call, "pidfd_getfd") != 0;
	line = depth < DEEPEST ? find_set(sets, word) : NULL;
	for (; line && *line == ' '; line += strcspn(line, "\n"), line += *line == '\n') {
		if (sscanf(line, " %63[@a-zA-Z0-9_-]", item) == 1 &&
		    has_call(sets, item, call, depth + 1))
			return true;
	}
	return false;
}

/* Where the list stands with one call. */
struct listing {
	bool begun;
	bool allows; /* what is listed, else what is listed is refused */
	bool listed;
	bool harmless; /* its own error number, "name:EPERM" */
};

static void take_line(struct listing *listing, const char *value, const char *sets,
		      const char *call)
{
	char word[UNIT_VALUE_SIZE];
	bool inverted = *value == '~';

	value += inverted;
	if (!listing->begun) {
		listing->begun = true;
		listing->allows = !inverted;
		listing->listed = !inverted && has_call(sets, "@default", call, 0);
	}
	while (unit_word(&value, word, sizeof(word)) == 1) {
		char *error = strchr(word, ':');

		if (error)
			*error++ = '\0';
		if (!has_call(sets, word, call, 0))
			continue;
		listing->listed = listing->allows != inverted;
		listing->harmless = error && strcmp(error, "kill") != 0;
	}
}

static bool is_killed_at(const struct unit *unit, const char *sets, const char *call)
{
	struct listing listing = {false, false, false, false};
	const char *value;
	size_t at = 0;

	while ((value = unit_next(unit, "SystemCallFilter", &at)) != NULL)
		take_line(&listing, value, sets, call);
	return listing.begun && listing.listed != listing.allows && !listing.harmless;
}

/* Of twshim exec and its supervisor: a test traces them. */
/* clang-format off */
static const char *const EXEC_CALLS[] = {
    "access", "arch_prctl", "bind", "brk", "clone", "clone3", "close", "close_range",
    "dup2", "epoll_create1", "epoll_ctl", "epoll_wait", "execve", "exit_group",
    "fallocate", "fchmod", "fcntl", "flock", "fstat", "ftruncate", "futex",
    "getdents64", "geteuid", "getgid", "getpid", "getrandom", "getsockname", "getsockopt", "gettid",
    "getuid", "ioctl", "kill", "lseek", "madvise", "mkdir", "mmap", "mprotect",
    "munmap", "newfstatat", "openat", "pidfd_getfd", "pidfd_open", "pidfd_send_signal",
    "pipe2", "poll", "prctl", "pread64", "prlimit64", "read", "readlink", "recvfrom",
    "recvmmsg", "recvmsg", "renameat2", "rseq", "rt_sigaction", "rt_sigpending",
    "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "seccomp", "sendmsg",
    "sendto", "set_robust_list",
    "set_tid_address", "setitimer", "setsid", "setsockopt", "socket", "socketpair",
    "statfs", "unlinkat", "wait4", "write",
};
/* clang-format on */

static bool kills_harmlessly(const struct unit *unit)
{
	const char *error = unit_value(unit, "SystemCallErrorNumber");

	return error && *error && strcmp(error, "kill") != 0;
}

/* The next call that is looked for; NULL: there are no more. */
static const char *call_of(enum filter_who who, size_t index)
{
	if (who == FILTER_SHIM)
		return index < shim_call_count ? shim_calls[index].name : NULL;
	return index < sizeof(EXEC_CALLS) / sizeof(*EXEC_CALLS) ? EXEC_CALLS[index]
								: NULL;
}

unsigned filter_kills(const struct unit *unit, const char *sets, enum filter_who who,
		      char *ret_calls, size_t size)
{
	unsigned count = 0;
	const char *call;

	*ret_calls = '\0';
	if (kills_harmlessly(unit))
		return 0;
	for (size_t i = 0; (call = call_of(who, i)) != NULL; i++) {
		size_t length = strlen(ret_calls);

		if ((who == FILTER_SHIM && shim_calls[i].rare) ||
		    !is_killed_at(unit, sets, call))
			continue;
		snprintf(ret_calls + length, size - length, " %s", call);
		count++;
	}
	return count;
}

char *filter_read_sets(void)
{
	FILE *pipe = popen("systemd-analyze --no-pager syscall-filter 2>/dev/null", "re");
	char *ret = calloc(1, SETS_SIZE);
	size_t length = 0;

	if (pipe && ret)
		length = fread(ret, 1, SETS_SIZE - 1, pipe);
	if ((!pipe || pclose(pipe) != 0 || length == SETS_SIZE - 1) && ret)
		*ret = '\0';
	return ret;
}
