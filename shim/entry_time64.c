/* SPDX-License-Identifier: MIT
 *
 * The exported wrappers of wrapped_time64.def, on 32-bit machines. In glibc all of them
 * are other names of the plain ones, except for __recvmsg64(), which gives times another
 * form.
 */
#ifndef __LP64__
#include "shim/entry.h"

int tws_wrap___fcntl_time64(int fd, int command, void *argument)
{
	return tws_wrap_fcntl64(fd, command, argument);
}

int tws_wrap___prctl_time64(int option, unsigned long a, unsigned long b, unsigned long c,
			    unsigned long d)
{
	return tws_wrap_prctl(option, a, b, c, d);
}

int tws_wrap___setsockopt64(int fd, int level, int name, const void *value,
			    socklen_t length)
{
	return tws_wrap_setsockopt(fd, level, name, value, length);
}

int tws_wrap___getsockopt64(int fd, int level, int name, void *value, socklen_t *length)
{
	return tws_wrap_getsockopt(fd, level, name, value, length);
}

ssize_t tws_wrap___sendmsg64(int fd, const struct msghdr *message, int flags)
{
	return tws_wrap_sendmsg(fd, message, flags);
}

int tws_wrap___sendmmsg64(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
	return tws_wrap_sendmmsg(fd, messages, count, flags);
}

ssize_t tws_wrap___recvmsg64(int fd, struct msghdr *message, int flags)
{
	ssize_t ret = tws_real.__recvmsg64(fd, message, flags);

	if (ret >= 0)
		tws_hook_rights_received(message);
	return ret;
}
#endif
