/* SPDX-License-Identifier: MIT
 *
 * The exported wrappers of calls that make, change and close descriptors. Each consists
 * of guard, hook and real call; nothing is decided here.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio_ext.h>

#include "shim/entry.h"
#include "shim/conn/peek.h"
#include "shim/shared/clock.h"
#include "shim/shared/hot.h"
#include "shim/policy/policy.h"
#include "shim/lifecycle.h"
#include "shim/shared/sys.h"

/* --------------------------------------------------------------------- born */

TWS_HOT int tws_wrap_socket(int domain, int type, int protocol)
{
	int ret = tws_real.socket(domain, type, protocol);

	tws_hook_socket(ret, domain, type, protocol);
	return ret;
}

int tws_wrap_bind(int fd, const struct sockaddr *address, socklen_t length)
{
	int ret;

	tws_hook_bind(fd, address, length);
	ret = tws_real.bind(fd, address, length);
	if (ret != 0 && tws_hook_bind_again(fd, errno))
		ret = tws_real.bind(fd, address, length);
	if (ret == 0)
		tws_hook_bound(fd, address, length);
	else
		tws_hook_bind_failed(fd, errno);
	return ret;
}

int tws_wrap_listen(int fd, int backlog)
{
	int ret = tws_real.listen(fd, backlog);

	if (ret == 0)
		tws_hook_listening(fd);
	return ret;
}

TWS_HOT int tws_wrap_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	struct tws_connecting connecting;
	int ret;

	pthread_testcancel(); /* connect() does this first; we must before we count */
	tws_hook_connect(fd, address, length, &connecting);
	ret = tws_real.connect(fd, address, length);
	tws_hook_connected(fd, address, length, &connecting, error_of(ret), false);
	return ret;
}

ssize_t tws_wrap_sendto(int fd, const void *data, size_t size, int flags,
			const struct sockaddr *address, socklen_t length)
{
	struct tws_connecting connecting;
	ssize_t ret;

	if (!opens_connection(fd, flags) || !address)
		return tws_real.sendto(fd, data, size, flags, address, length);
	tws_hook_connect(fd, address, length, &connecting);
	ret = tws_real.sendto(fd, data, size, flags, address, length);
	tws_hook_connected(fd, address, length, &connecting, error_of(ret), true);
	return ret;
}

ssize_t tws_wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct tws_connecting connecting;
	struct msghdr opening;
	ssize_t ret;

	if (!opens_connection(fd, flags) ||
	    !tws_peek(&opening, message, sizeof(opening)) || !opening.msg_name) {
		ret = tws_real.sendmsg(fd, message, flags);
		if (ret >= 0)
			tws_hook_rights_sent(fd, message);
		return ret;
	}
	tws_hook_connect(fd, opening.msg_name, opening.msg_namelen, &connecting);
	ret = tws_real.sendmsg(fd, message, flags);
	tws_hook_connected(fd, opening.msg_name, opening.msg_namelen, &connecting,
			   error_of(ret), true);
	return ret;
}

int tws_wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
	struct tws_connecting connecting;
	struct msghdr opening;
	int ret;

	if (!count || !opens_connection(fd, flags) ||
	    !tws_peek(&opening, messages, sizeof(opening)) || !opening.msg_name) {
		ret = tws_real.sendmmsg(fd, messages, count, flags);
		for (int i = 0; i < ret;
		     i++) /* only the messages that the kernel has sent */
			tws_hook_rights_sent(fd, &messages[i].msg_hdr);
		return ret;
	}
	tws_hook_connect(fd, opening.msg_name, opening.msg_namelen, &connecting);
	ret = tws_real.sendmmsg(fd, messages, count, flags);
	tws_hook_connected(fd, opening.msg_name, opening.msg_namelen, &connecting,
			   error_of(ret), true);
	return ret;
}

ssize_t tws_wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
	ssize_t ret = tws_real.recvmsg(fd, message, flags);

	if (ret >= 0)
		tws_hook_rights_received(message);
	return ret;
}

int tws_wrap_accept(int fd, struct sockaddr *address, socklen_t *length)
{
	int ret = tws_real.accept(fd, address, length);

	tws_hook_made(ret, 0);
	return ret;
}

int tws_wrap_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
	int ret = tws_real.accept4(fd, address, length, flags);

	tws_hook_made(ret, 0);
	return ret;
}

/* ---------------------------------------------------------------- handed on */

int tws_wrap_dup(int fd)
{
	int ret = tws_real.dup(fd);

	if (ret >= 0)
		tws_hook_copied(fd, ret);
	return ret;
}

int tws_wrap_dup2(int from, int to)
{
	struct tws_end end;
	int ret;

	tws_hook_overwrite(from, to, 0, &end);
	ret = tws_real.dup2(from, to);
	tws_hook_overwritten(from, to, ret, &end);
	return ret;
}

int tws_wrap_dup3(int from, int to, int flags)
{
	struct tws_end end;
	int ret;

	tws_hook_overwrite(from, to, flags, &end);
	ret = tws_real.dup3(from, to, flags);
	tws_hook_overwritten(from, to, ret, &end);
	return ret;
}

FILE *tws_wrap_fdopen(int fd, const char *mode)
{
	FILE *ret = tws_real.fdopen(fd, mode);

	if (ret)
		tws_hook_streamed(fd);
	return ret;
}

int tws_wrap_fcntl(int fd, int command, void *argument)
{
	int ret = tws_real.fcntl(fd, command, argument);

	note_fcntl(fd, command, (long)argument, ret);
	return ret;
}

int tws_wrap_fcntl64(int fd, int command, void *argument)
{
	int ret = tws_real.fcntl64(fd, command, argument);

	note_fcntl(fd, command, (long)argument, ret);
	return ret;
}

/* ------------------------------------------------------------------ changed */

int tws_wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	int ret = tws_real.setsockopt(fd, level, name, value, length);

	if (ret == 0)
		tws_hook_setsockopt(fd, level, name, value, length);
	return ret;
}

int tws_wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
	int ret = tws_real.getsockopt(fd, level, name, value, length);

	if (ret == 0)
		tws_hook_getsockopt(fd, level, name, value, length);
	return ret;
}

int tws_wrap_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
	tws_hook_getsockname(fd);
	return tws_real.getsockname(fd, address, length);
}

int tws_wrap_shutdown(int fd, int how)
{
	struct tws_conn conn;
	bool peer_first;
	int ret;

	tws_hook_shutdown(fd, how, &conn, &peer_first);
	ret = tws_real.shutdown(fd, how);
	if (ret == 0)
		tws_hook_shut(fd, &conn, how, peer_first);
	return ret;
}

/* --------------------------------------------------------------------- dies */

static int close_uncancelled(int fd)
{
	int state, ret;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	ret = tws_real.close(fd);
	pthread_setcancelstate(state, NULL);
	return ret;
}

/* Does what libc's close() does, without its cancellation point. */
static int close_bare(int fd)
{
	long ret = tws_sys1(SYS_close, fd);

	if (tws_likely(ret >= 0))
		return (int)ret;
	errno = (int)-ret;
	return -1;
}

/* close() is a cancellation point. A thread that is cancelled at its entry leaves the
 * descriptor open, so cancellation must happen before the record is detached, and not
 * between detaching and closing. */
TWS_HOT static __attribute__((noinline)) int close_connection(int fd)
{
	struct tws_end end;
	bool known;
	int ret;

	pthread_testcancel();
	known = tws_hook_close(fd, TWS_VIA_CLOSE, &end);
	ret = tws_likely(tws_real_close_is_libc) ? close_bare(fd) : close_uncancelled(fd);
	if (known)
		tws_hook_closed(&end);
	return ret;
}

TWS_HOT int tws_wrap_close(int fd)
{
	if (__builtin_expect(tws_fd(fd) == 0, 1))
		return tws_real.close(fd);
	return close_connection(fd);
}

int tws_wrap_close_range(unsigned int first, unsigned int last, int flags)
{
	tws_hook_close_range(first, last, flags);
	return tws_real.close_range(first, last, flags);
}

void tws_wrap_closefrom(int first)
{
	tws_hook_close_from(first < 0 ? 0 : (unsigned)first);
	tws_real.closefrom(first);
}

/* Flushes buffered output before a policy resets the connection, or it would be lost.
 * Returns 0, or the error of the flush, which the stream's own close has to return. */
static int flush_beforehand(FILE *stream)
{
	return __fpending(stream) && fflush(stream) != 0 ? errno : 0;
}

static bool close_stream(FILE *stream, struct tws_end *ret_end, int *ret_error)
{
	int saved = errno;
	int fd = stream ? fileno_unlocked(stream) : -1;

	errno = saved; /* a memory stream has no descriptor, and fileno() says so */
	*ret_error = 0;
	if (fd < 0 || !tws_fd(fd))
		return false;
	if (tws_may_work() && tws_policy_resets(fd))
		*ret_error = flush_beforehand(stream);
	return tws_hook_close(fd, TWS_VIA_FCLOSE, ret_end);
}

int tws_wrap_fclose(FILE *stream)
{
	struct tws_end end;
	int error;
	bool ours = close_stream(stream, &end, &error);
	int ret;

	if (error)
		__fpurge(stream); /* a flush that failed is not tried again */
	ret = tws_real.fclose(stream);
	if (ours)
		tws_hook_closed(&end);
	if (ret != 0 || !error)
		return ret;
	errno = error;
	return EOF;
}

/* freopen() ignores the error of its flush but leaves it in errno. */
FILE *tws_wrap_freopen(const char *path, const char *mode, FILE *stream)
{
	struct tws_end end;
	int error;
	bool ours = close_stream(stream, &end, &error);
	FILE *ret = tws_real.freopen(path, mode, stream);

	if (ours)
		tws_hook_closed(&end);
	return ret;
}

FILE *tws_wrap_freopen64(const char *path, const char *mode, FILE *stream)
{
	struct tws_end end;
	int error;
	bool ours = close_stream(stream, &end, &error);
	FILE *ret = tws_real.freopen64(path, mode, stream);

	if (ours)
		tws_hook_closed(&end);
	return ret;
}
