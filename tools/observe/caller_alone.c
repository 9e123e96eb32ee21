/* SPDX-License-Identifier: MIT */
#include "tools/observe/caller_alone.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tools/kernel/proc_file.h"

#define MOST_DESCRIPTORS 4096 /* read for one reset */
#define STANDARD_STREAM	 2
#define LINK_SIZE	 64

/* ----------------------------------------------------------------------- children */

uint64_t caller_waited_for(const struct caller *caller)
{
	unsigned long long faults = 0, major = 0, user = 0, system = 0;
	char stat[1024];
	const char *at;

	if (proc_read_of(caller->process, "stat", stat, sizeof(stat)) != 0)
		return 0;
	at = strrchr(stat, ')');
	if (at)
		sscanf(at,
		       ") %*c %*d %*d %*d %*d %*d %*u %*u %llu %*u %llu %*u %*u %llu "
		       "%llu",
		       &faults, &major, &user, &system);
	return faults + major + user + system;
}

/* Also where the kernel does not say. */
static bool may_have_child_of(pid_t process, const char *thread)
{
	char path[64], children[64];
	ssize_t length = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/children", (int)process,
		 thread);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		length = read(fd, children, sizeof(children));
		close(fd);
	}
	return length != 0;
}

static bool may_have_child(pid_t process)
{
	char path[64];
	struct dirent *entry;
	bool ret = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)process);
	dir = opendir(path);
	if (!dir)
		return true;
	while (!ret && (entry = readdir(dir)) != NULL)
		ret = *entry->d_name != '.' && may_have_child_of(process, entry->d_name);
	closedir(dir);
	return ret;
}

/* ------------------------------------------------------------------- descriptors */

/* Whether this is a Unix socket through which another process could have received it. The
 * standard streams of a service are such sockets, and nobody sends descriptors there. */
static bool leads_out(const struct caller *caller, int number)
{
	struct ucred peer = {0};
	socklen_t length = sizeof(int);
	int domain = 0, fd;
	bool ret;

	if (number <= STANDARD_STREAM)
		return false;
	fd = caller_descriptor(caller, number);
	if (fd < 0)
		return false; /* it is closed */
	ret = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 &&
	      domain == AF_UNIX;
	length = sizeof(peer);
	ret = ret && (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 ||
		      peer.pid != caller->process);
	close(fd);
	return ret;
}

static bool read_link(int directory, const char *name, char ret_link[LINK_SIZE])
{
	ssize_t length = readlinkat(directory, name, ret_link, LINK_SIZE - 1);

	ret_link[length > 0 ? length : 0] = '\0';
	return length > 0;
}

static bool may_share(const struct caller *caller, int directory, const char *name,
		      const char *socket)
{
	char link[LINK_SIZE];

	if (!read_link(directory, name, link))
		return false;
	if (strncmp(link, "socket:", 7) != 0)
		return strcmp(link, "anon_inode:[io_uring]") == 0;
	return strcmp(link, socket) == 0 || leads_out(caller, atoi(name));
}

static bool is_only_descriptor(const struct caller *caller, int number)
{
	char path[64], own[16], socket[LINK_SIZE];
	struct dirent *entry;
	unsigned looked = 0;
	bool ret;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)caller->thread);
	snprintf(own, sizeof(own), "%d", number);
	dir = opendir(path);
	if (!dir)
		return false;
	ret = read_link(dirfd(dir), own, socket);
	while (ret && (entry = readdir(dir)) != NULL)
		ret = *entry->d_name == '.' || strcmp(entry->d_name, own) == 0 ||
		      (++looked < MOST_DESCRIPTORS &&
		       !may_share(caller, dirfd(dir), entry->d_name, socket));
	closedir(dir);
	return ret;
}

/* Whether the thread has a table of descriptors of its own. */
static bool has_own_table(const struct caller *caller)
{
	return caller->thread != caller->process &&
	       syscall(SYS_kcmp, caller->thread, caller->process, KCMP_FILES, 0, 0) != 0;
}

bool caller_is_alone(const struct caller *caller, int number, uint64_t waited_for)
{
	return !may_have_child(caller->process) &&
	       caller_waited_for(caller) == waited_for && !has_own_table(caller) &&
	       is_only_descriptor(caller, number);
}
