/* SPDX-License-Identifier: MIT
 *
 * The exported wrappers: guard, hook, real call. Nothing is decided here.
 *
 * Each is named tws_wrap_NAME in C and NAME to the linker, so that libc's headers, with
 * their macros, redirections and attributes, do not interfere. The prototypes come from
 * wrapped.def; vfork and dlopen are in hook_process.c.
 */
#include <alloca.h>
#include <errno.h>
#include <pthread.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim/hooks.h"
#include "shim/policy.h"
#include "shim/process.h"
#include "shim/real.h"
#include "shim/sys.h"

#define WRAP_required(ret, name, params, args)                                           \
	ret tws_wrap_##name params __asm__(#name) __attribute__((visibility("defaul"     \
									    "t")));
#define WRAP_optional(ret, name, params, args) WRAP_required(ret, name, params, args)
#define WRAP_variadic(ret, name, params, args) WRAP_required(ret, name, params, args)
#include "shim/wrapped.def"

/* The error of a call that answers -1 in errno; 0: it succeeded. */
static int error_of(long result)
{
	return result == -1 ? errno : 0;
}

/* --------------------------------------------------------------------- born */

int tws_wrap_socket(int domain, int type, int protocol)
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
	if (ret == 0)
		tws_hook_bound(fd, address, length);
	return ret;
}

int tws_wrap_connect(int fd, const struct sockaddr *address, socklen_t length)
{
	struct tws_connecting connecting;
	int ret;

	tws_hook_connect(fd, address, length, &connecting);
	ret = tws_real.connect(fd, address, length);
	tws_hook_connected(fd, &connecting, error_of(ret), false);
	return ret;
}

/* TCP Fast Open: a send that connects. */
static bool opens(int fd, int flags)
{
	return flags & MSG_FASTOPEN && tws_fd(fd);
}

ssize_t tws_wrap_sendto(int fd, const void *data, size_t size, int flags,
			const struct sockaddr *address, socklen_t length)
{
	struct tws_connecting connecting;
	ssize_t ret;

	if (!opens(fd, flags))
		return tws_real.sendto(fd, data, size, flags, address, length);
	tws_hook_connect(fd, address, length, &connecting);
	ret = tws_real.sendto(fd, data, size, flags, address, length);
	tws_hook_connected(fd, &connecting, error_of(ret), true);
	return ret;
}

ssize_t tws_wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct tws_connecting connecting;
	ssize_t ret;

	if (message && message->msg_control)
		tws_hook_rights_sent(message);
	if (!message || !opens(fd, flags))
		return tws_real.sendmsg(fd, message, flags);
	tws_hook_connect(fd, message->msg_name, message->msg_namelen, &connecting);
	ret = tws_real.sendmsg(fd, message, flags);
	tws_hook_connected(fd, &connecting, error_of(ret), true);
	return ret;
}

int tws_wrap_sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
	struct tws_connecting connecting;
	int ret;

	for (unsigned i = 0; messages && i < count; i++)
		if (messages[i].msg_hdr.msg_control)
			tws_hook_rights_sent(&messages[i].msg_hdr);
	if (!count || !messages || !opens(fd, flags))
		return tws_real.sendmmsg(fd, messages, count, flags);
	tws_hook_connect(fd, messages->msg_hdr.msg_name, messages->msg_hdr.msg_namelen,
			 &connecting);
	ret = tws_real.sendmmsg(fd, messages, count, flags);
	tws_hook_connected(fd, &connecting, error_of(ret), true);
	return ret;
}

ssize_t tws_wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
	ssize_t ret = tws_real.recvmsg(fd, message, flags);

	if (ret >= 0 && message && message->msg_controllen)
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
		tws_conn_copied(fd, ret);
	return ret;
}

int tws_wrap_dup2(int from, int to)
{
	struct tws_end end;
	int ret;

	tws_hook_overwrite(from, to, &end);
	ret = tws_real.dup2(from, to);
	tws_hook_overwritten(from, to, ret, &end);
	return ret;
}

int tws_wrap_dup3(int from, int to, int flags)
{
	struct tws_end end;
	int ret;

	tws_hook_overwrite(from, to, &end);
	ret = tws_real.dup3(from, to, flags);
	tws_hook_overwritten(from, to, ret, &end);
	return ret;
}

static bool copies(int command)
{
	return command == F_DUPFD || command == F_DUPFD_CLOEXEC;
}

int tws_wrap_fcntl(int fd, int command, void *argument)
{
	int ret = tws_real.fcntl(fd, command, argument);

	if (ret >= 0 && copies(command))
		tws_conn_copied(fd, ret);
	return ret;
}

int tws_wrap_fcntl64(int fd, int command, void *argument)
{
	int ret = tws_real.fcntl64(fd, command, argument);

	if (ret >= 0 && copies(command))
		tws_conn_copied(fd, ret);
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

	if (ret == 0 && length && *length >= sizeof(int))
		tws_hook_getsockopt(fd, level, name, value);
	return ret;
}

int tws_wrap_shutdown(int fd, int how)
{
	struct tws_conn conn;
	bool peer_first;
	int ret;

	tws_hook_shutdown(fd, how, &conn, &peer_first);
	ret = tws_real.shutdown(fd, how);
	if (ret == 0)
		tws_hook_shut(&conn, how, peer_first);
	return ret;
}

/* --------------------------------------------------------------------- dies */

/* close() is a cancellation point. A thread that is cancelled at its entry leaves the
 * descriptor open, so we let that happen before the record is detached, and not between.
 */
static int close_connection(int fd)
{
	struct tws_end end;
	int state, ret;

	pthread_testcancel();
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	if (tws_hook_close(fd, TWS_VIA_CLOSE, &end)) {
		ret = tws_real.close(fd);
		tws_hook_closed(&end);
	} else {
		ret = tws_real.close(fd);
	}
	pthread_setcancelstate(state, NULL);
	return ret;
}

int tws_wrap_close(int fd)
{
	if (__builtin_expect(tws_fd(fd) == 0, 1))
		return tws_real.close(fd);
	return close_connection(fd);
}

int tws_wrap_close_range(unsigned int first, unsigned int last, int flags)
{
	if (!(flags & CLOSE_RANGE_CLOEXEC) && first <= last)
		tws_hook_close_range(first, last);
	return tws_real.close_range(first, last, flags);
}

void tws_wrap_closefrom(int first)
{
	tws_hook_close_range(first < 0 ? 0 : (unsigned)first, ~0u);
	tws_real.closefrom(first);
}

/* Buffered output goes out before the descriptor; a policy that resets must come after.
 */
static bool close_stream(FILE *stream, struct tws_end *ret_end)
{
	int fd = stream ? fileno_unlocked(stream) : -1;

	if (fd < 0 || !tws_fd(fd))
		return false;
	if (tws_policy_active())
		fflush(stream);
	return tws_hook_close(fd, TWS_VIA_FCLOSE, ret_end);
}

int tws_wrap_fclose(FILE *stream)
{
	struct tws_end end;
	bool ours = close_stream(stream, &end);
	int ret = tws_real.fclose(stream);

	if (ours)
		tws_hook_closed(&end);
	return ret;
}

FILE *tws_wrap_freopen(const char *path, const char *mode, FILE *stream)
{
	struct tws_end end;
	bool ours = close_stream(stream, &end);
	FILE *ret = tws_real.freopen(path, mode, stream);

	if (ours)
		tws_hook_closed(&end);
	return ret;
}

FILE *tws_wrap_freopen64(const char *path, const char *mode, FILE *stream)
{
	struct tws_end end;
	bool ours = close_stream(stream, &end);
	FILE *ret = tws_real.freopen64(path, mode, stream);

	if (ours)
		tws_hook_closed(&end);
	return ret;
}

/* --------------------------------------------------------- any, by number */

static long call(long number, const long *a)
{
	return tws_real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static long call_connect(long number, const long *a, int address, bool sent)
{
	struct tws_connecting connecting;
	long ret;

	tws_hook_connect((int)a[0], (const struct sockaddr *)a[address],
			 (socklen_t)a[address + 1], &connecting);
	ret = call(number, a);
	tws_hook_connected((int)a[0], &connecting, error_of(ret), sent);
	return ret;
}

static long call_close(long number, const long *a)
{
	struct tws_end end;
	bool ours = tws_hook_close((int)a[0], TWS_VIA_SYSCALL, &end);
	long ret = call(number, a);

	if (ours)
		tws_hook_closed(&end);
	return ret;
}

static long call_dup_over(long number, const long *a)
{
	struct tws_end end;
	long ret;

	tws_hook_overwrite((int)a[0], (int)a[1], &end);
	ret = call(number, a);
	tws_hook_overwritten((int)a[0], (int)a[1], (int)ret, &end);
	return ret;
}

static long call_shutdown(long number, const long *a)
{
	struct tws_conn conn;
	bool peer_first;
	long ret;

	tws_hook_shutdown((int)a[0], (int)a[1], &conn, &peer_first);
	ret = call(number, a);
	if (ret == 0)
		tws_hook_shut(&conn, (int)a[1], peer_first);
	return ret;
}

/* Those that need a look before the real call. */
static bool call_around(long number, const long *a, long *ret_result)
{
	switch (number) {
	case SYS_close:
		*ret_result = call_close(number, a);
		return true;
	case SYS_connect:
		*ret_result = call_connect(number, a, 1, false);
		return true;
	case SYS_shutdown:
		*ret_result = call_shutdown(number, a);
		return true;
#ifdef SYS_dup2
	case SYS_dup2:
#endif
	case SYS_dup3:
		*ret_result = call_dup_over(number, a);
		return true;
	case SYS_sendto:
		if (!opens((int)a[0], (int)a[3]))
			return false;
		*ret_result = call_connect(number, a, 4, true);
		return true;
	default:
		return false;
	}
}

static void note_before(long number, const long *a)
{
	switch (number) {
	case SYS_close_range:
		if (!(a[2] & CLOSE_RANGE_CLOEXEC) && (unsigned)a[0] <= (unsigned)a[1])
			tws_hook_close_range((unsigned)a[0], (unsigned)a[1]);
		break;
	case SYS_exit_group:
		tws_hook_exit();
		break;
	case SYS_bind:
		tws_hook_bind((int)a[0], (const struct sockaddr *)a[1], (socklen_t)a[2]);
		break;
	case SYS_sendmsg:
		tws_hook_rights_sent((const struct msghdr *)a[1]);
		break;
	case SYS_clone:
		if (a[0] & CLONE_VM)
			tws_process_note_vfork(a[0] & CLONE_FILES);
		else
			tws_process_note_fork();
		break;
	}
}

static void note_after(long number, const long *a, long ret)
{
	switch (number) {
	case SYS_socket:
		tws_hook_socket((int)ret, (int)a[0], (int)a[1], (int)a[2]);
		break;
	case SYS_accept4:
#ifdef SYS_accept
	case SYS_accept:
#endif
		tws_hook_made((int)ret, 0);
		break;
	case SYS_dup:
		tws_conn_copied((int)a[0], (int)ret);
		break;
	case SYS_fcntl:
		if (copies((int)a[1]))
			tws_conn_copied((int)a[0], (int)ret);
		break;
	case SYS_bind:
		tws_hook_bound((int)a[0], (const struct sockaddr *)a[1], (socklen_t)a[2]);
		break;
	case SYS_setsockopt:
		tws_hook_setsockopt((int)a[0], (int)a[1], (int)a[2], (const void *)a[3],
				    (socklen_t)a[4]);
		break;
	case SYS_getsockopt:
		tws_hook_getsockopt((int)a[0], (int)a[1], (int)a[2], (const void *)a[3]);
		break;
	case SYS_recvmsg:
		tws_hook_rights_received((struct msghdr *)a[1]);
		break;
	}
}

long tws_wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	const long arguments[6] = {a, b, c, d, e, f};
	long ret;

	if (number == TWS_ARE_YOU_THERE)
		return TWS_I_AM;
	if (call_around(number, arguments, &ret))
		return ret;
	note_before(number, arguments);
	ret = call(number, arguments);
	if (ret >= 0)
		note_after(number, arguments, ret);
	return ret;
}

/* ---------------------------------------------------------------- processes */

int tws_wrap_clone(int (*function)(void *), void *stack, int flags, void *argument,
		   void *parent, void *tls, void *child)
{
	if (flags & CLONE_VM && !(flags & CLONE_THREAD))
		tws_process_note_vfork(flags & CLONE_FILES);
	else if (!(flags & CLONE_VM))
		tws_process_note_fork();
	return tws_real.clone(function, stack, flags, argument, parent, tls, child);
}

int tws_wrap_posix_spawn(pid_t *pid, const char *path, const void *actions,
			 const void *attributes, char *const argv[], char *const envp[])
{
	tws_process_note_spawn();
	return tws_real.posix_spawn(pid, path, actions, attributes, argv, envp);
}

int tws_wrap_posix_spawnp(pid_t *pid, const char *path, const void *actions,
			  const void *attributes, char *const argv[], char *const envp[])
{
	tws_process_note_spawn();
	return tws_real.posix_spawnp(pid, path, actions, attributes, argv, envp);
}

int tws_wrap_system(const char *command)
{
	tws_process_note_spawn();
	return tws_real.system(command);
}

FILE *tws_wrap_popen(const char *command, const char *mode)
{
	tws_process_note_spawn();
	return tws_real.popen(command, mode);
}

/* The environment of the new image, with our word in it; `envp` itself where there is
 * none. On the stack: an exec may stand in a vfork child or a signal handler. */
#define ENVIRONMENT(envp, exec)                                                          \
	((exec).handover[0]                                                              \
	     ? add_handover(alloca((count_strings(envp) + 2) * sizeof(char *)), (envp),  \
			    (exec).handover)                                             \
	     : (envp))

static size_t count_strings(char *const *list)
{
	size_t ret = 0;

	while (list && list[ret])
		ret++;
	return ret;
}

static bool is_handover(const char *string)
{
	const char *name = TWS_HANDOVER "=";

	while (*name && *name == *string)
		name++, string++;
	return !*name;
}

static char *const *add_handover(char **list, char *const *envp, char *handover)
{
	size_t count = 0;

	for (size_t i = 0; envp && envp[i]; i++)
		if (!is_handover(envp[i]))
			list[count++] = envp[i];
	list[count++] = handover;
	list[count] = NULL;
	return list;
}

static int exec_failed(int ret)
{
	tws_hook_exec_failed();
	return ret;
}

int tws_wrap_execve(const char *path, char *const argv[], char *const envp[])
{
	struct tws_exec exec;

	tws_hook_exec(&exec);
	return exec_failed(tws_real.execve(path, argv, ENVIRONMENT(envp, exec)));
}

int tws_wrap_execv(const char *path, char *const argv[])
{
	return tws_wrap_execve(path, argv, environ);
}

int tws_wrap_execvpe(const char *file, char *const argv[], char *const envp[])
{
	struct tws_exec exec;

	tws_hook_exec(&exec);
	return exec_failed(tws_real.execvpe(file, argv, ENVIRONMENT(envp, exec)));
}

int tws_wrap_execvp(const char *file, char *const argv[])
{
	return tws_wrap_execvpe(file, argv, environ);
}

int tws_wrap_fexecve(int fd, char *const argv[], char *const envp[])
{
	struct tws_exec exec;

	tws_hook_exec(&exec);
	return exec_failed(tws_real.fexecve(fd, argv, ENVIRONMENT(envp, exec)));
}

int tws_wrap_execveat(int directory, const char *path, char *const argv[],
		      char *const envp[], int flags)
{
	struct tws_exec exec;

	tws_hook_exec(&exec);
	return exec_failed(
	    tws_real.execveat(directory, path, argv, ENVIRONMENT(envp, exec), flags));
}

/* The arguments of the execl family as a list on the stack. */
#define COLLECT(argument, ret_argv, ret_envp, has_envp)                                  \
	do {                                                                             \
		va_list list;                                                            \
		size_t count = 1;                                                        \
		va_start(list, argument);                                                \
		while ((argument) && va_arg(list, char *))                               \
			count++;                                                         \
		va_end(list);                                                            \
		(ret_argv) = alloca((count + 1) * sizeof(char *));                       \
		va_start(list, argument);                                                \
		(ret_argv)[0] = (char *)(uintptr_t)(argument);                           \
		for (size_t i = 1; (argument) && i <= count; i++)                        \
			(ret_argv)[i] = va_arg(list, char *);                            \
		if (has_envp)                                                            \
			(ret_envp) = va_arg(list, char **);                              \
		va_end(list);                                                            \
	} while (0)

int tws_wrap_execl(const char *path, const char *argument, ...)
{
	char **argv, **envp = environ;

	COLLECT(argument, argv, envp, false);
	return tws_wrap_execve(path, argv, envp);
}

int tws_wrap_execlp(const char *file, const char *argument, ...)
{
	char **argv, **envp = environ;

	COLLECT(argument, argv, envp, false);
	return tws_wrap_execvpe(file, argv, envp);
}

int tws_wrap_execle(const char *path, const char *argument, ...)
{
	char **argv, **envp = environ;

	COLLECT(argument, argv, envp, true);
	return tws_wrap_execve(path, argv, envp);
}

void tws_wrap__exit(int status)
{
	tws_hook_exit();
	tws_real._exit(status);
	__builtin_unreachable();
}

void tws_wrap__Exit(int status)
{
	tws_hook_exit();
	tws_real._Exit(status);
	__builtin_unreachable();
}

void tws_wrap_quick_exit(int status)
{
	tws_hook_exit();
	tws_real.quick_exit(status);
	__builtin_unreachable();
}
