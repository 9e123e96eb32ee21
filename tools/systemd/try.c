/* SPDX-License-Identifier: MIT
 *
 * What the loader of a unit's program says when it is asked to load the shim too.
 */
#include "tools/systemd/enable.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/launch/library.h"

#define TRY_SECONDS 10

static void become(const char *loader, const char *program, const char *library,
		   const struct reach_user *user, int output)
{
	char preload[PATH_MAX + 16];
	char *const environment[] = {preload, NULL};
	int null = open("/dev/null", O_RDWR);

	snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", library);
	dup2(null, STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	close_range(STDERR_FILENO + 1, ~0u, 0);
	alarm(TRY_SECONDS);
	if (geteuid() == 0 &&
	    (setgroups(0, NULL) != 0 || setresgid(user->gid, user->gid, user->gid) != 0 ||
	     setresuid(user->uid, user->uid, user->uid) != 0))
		_exit(126);
	execle(loader, loader, "--list", program, (char *)NULL, environment);
	_exit(127);
}

/* All of it, cut to `size`. */
static void read_output(int fd, char *ret_text, size_t size)
{
	size_t length = 0;
	char rest[512];
	ssize_t got;

	do {
		bool full = length + 1 >= size;

		got = full ? read(fd, rest, sizeof(rest))
			   : read(fd, ret_text + length, size - 1 - length);
		if (got > 0 && !full)
			length += (size_t)got;
	} while (got > 0 || (got < 0 && errno == EINTR));
	ret_text[length] = '\0';
}

static bool find_loader(const char *program, struct reach_elf *ret_elf)
{
	int fd = open(program, O_RDONLY | O_CLOEXEC);
	bool ret = fd >= 0 && reach_read_elf(fd, ret_elf) && *ret_elf->loader;

	if (fd >= 0)
		close(fd);
	return ret;
}

bool enable_try(const char *program, const char *library, const struct reach_user *user,
		char *ret_why, size_t size)
{
	char text[8192];
	struct reach_elf elf = {0};
	int pipes[2], status = 0;
	pid_t child;

	if (!find_loader(program, &elf) || pipe2(pipes, O_CLOEXEC) != 0)
		return true; /* not to be tried; what was looked at stands */
	child = fork();
	if (child == 0)
		become(elf.loader, program, library, user, pipes[1]);
	close(pipes[1]);
	text[0] = '\0';
	if (child > 0)
		read_output(pipes[0], text, sizeof(text));
	close(pipes[0]);
	if (child < 0 || waitpid(child, &status, 0) != child)
		return true;
	if (status == 0 && strstr(text, "/" LIBRARY_NAME) &&
	    !strstr(text, "cannot be preloaded"))
		return true;
	text[strcspn(text, "\n")] = '\0';
	snprintf(ret_why, size, "its loader, as user %u, says: %s", (unsigned)user->uid,
		 *text ? text : "nothing");
	return false;
}
