/* SPDX-License-Identifier: MIT */
#include "tools/segments/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* O_PATH goes with few others. */
static int all_flags(int flags)
{
	return flags | O_NOFOLLOW | O_CLOEXEC |
	       (flags & O_PATH ? 0 : O_RDONLY | O_NONBLOCK);
}

/* A mount of the same file system is not recognised. */
int open_beneath_by_hand(int directory, const char *name, int flags)
{
	int fd = openat(directory, name, all_flags(flags)), result;
	struct stat above, here;

	if (fd < 0)
		return -errno;
	if (fstat(directory, &above) != 0 || fstat(fd, &here) != 0)
		result = -errno;
	else if (above.st_dev != here.st_dev)
		result = -EXDEV;
	else
		return fd;
	close(fd);
	return result;
}

int open_beneath(int directory, const char *name, int flags)
{
	const struct open_how how = {
	    .flags = (unsigned)all_flags(flags),
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	long fd = syscall(SYS_openat2, directory, name, &how, sizeof(how));

	if (fd >= 0)
		return (int)fd;
	/* Filters of system calls that do not know it answer EPERM, or what they answer
	 * to every call that they refuse. */
	if (errno == ENOSYS || errno == EPERM || errno == ENOPROTOOPT)
		return open_beneath_by_hand(directory, name, flags);
	return -errno;
}

const char *open_beneath_failure(int error)
{
	switch (-error) {
	case ENOENT:
		return "";
	case ELOOP:
		return "a symbolic link";
	case EACCES:
		return "no permission";
	case ENXIO:
		return "no regular file";
	case EXDEV:
		return "something is mounted over it";
	case EAGAIN:
		return "a process holds a lease on it";
	default:
		return "cannot be opened";
	}
}
