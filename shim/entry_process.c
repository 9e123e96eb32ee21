/* SPDX-License-Identifier: MIT
 *
 * The exported wrappers of calls that make processes, replace their image and end them.
 */
#include <alloca.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "shim/entry.h"
#include "shim/conn/peek.h"
#include "shim/lifecycle.h"
#include "shim/supervised.h"

int tws_wrap_clone(int (*function)(void *), void *stack, int flags, void *argument,
		   void *parent, void *tls, void *child)
{
	tws_hook_clone((uint64_t)(unsigned)flags);
	return tws_real.clone(function, stack, flags, argument, parent, tls, child);
}

pid_t tws_wrap__Fork(void)
{
	tws_process_note_fork();
	return tws_real._Fork();
}

int tws_wrap_unshare(int flags)
{
	if (flags & CLONE_FILES)
		tws_process_note_split();
	return tws_real.unshare(flags);
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

/* The environment of the new image with TWSHIM_HANDOVER, and TWSHIM_EXEC for the helper,
 * added. It is `envp` itself if there is nothing to add, or if `envp` cannot be read,
 * which the kernel will then report. It is built on the stack, because an exec may happen
 * in a vfork child or a signal handler. */
#define ENVIRONMENT(envp, exec)                                                          \
	(((exec).handover[0] || (exec).target[0]) &&                                     \
		 count_strings((envp), &(exec).strings)                                  \
	     ? add_strings(alloca(((exec).strings + 3) * sizeof(char *)), (envp),        \
			   &(exec))                                                      \
	     : (envp))
#define MOST_STRINGS 65536 /* half a megabyte of stack */

/* False: the list cannot be read, or it is too long for the stack. */
static bool count_strings(char *const *list, size_t *ret_count)
{
	uintptr_t page = 0;
	size_t count = 0;

	for (; list; count++) {
		if (count > MOST_STRINGS || !tws_peek_next(&page, &list[count]) ||
		    !tws_peek_next(&page, (const char *)&list[count + 1] - 1))
			return false;
		if (!list[count])
			break;
	}
	*ret_count = count;
	return true;
}

static bool is_handover(const char *string, uintptr_t *page)
{
	for (const char *name = TWS_HANDOVER "="; *name; name++, string++)
		if (!tws_peek_next(page, string) || *string != *name)
			return false;
	return true;
}

static char *const *add_strings(char **list, char *const *envp, struct tws_exec *exec)
{
	uintptr_t page = 0;
	size_t count = 0;

	for (size_t i = 0; envp && envp[i]; i++)
		if (!exec->handover[0] || !is_handover(envp[i], &page))
			list[count++] = envp[i];
	if (exec->handover[0])
		list[count++] = exec->handover;
	if (exec->target[0])
		list[count++] = exec->target;
	list[count] = NULL;
	return list;
}

static void note_spawn(const void *actions)
{
	if (actions)
		tws_process_note_actions();
	else
		tws_process_note_spawn();
}

int tws_wrap_posix_spawn(pid_t *pid, const char *path, const void *actions,
			 const void *attributes, char *const argv[], char *const envp[])
{
	struct tws_exec exec = {.handover = ""};

	note_spawn(actions);
	if (tws_supervised(path, &exec))
		return tws_real.posix_spawn(pid, tws_self.helper, actions, attributes,
					    argv, ENVIRONMENT(envp, exec));
	return tws_real.posix_spawn(pid, path, actions, attributes, argv, envp);
}

int tws_wrap_posix_spawnp(pid_t *pid, const char *path, const void *actions,
			  const void *attributes, char *const argv[], char *const envp[])
{
	struct tws_exec exec = {.handover = ""};

	note_spawn(actions);
	if (tws_supervised_file(path, &exec))
		return tws_real.posix_spawn(pid, tws_self.helper, actions, attributes,
					    argv, ENVIRONMENT(envp, exec));
	return tws_real.posix_spawnp(pid, path, actions, attributes, argv, envp);
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
	if (tws_supervised(path, &exec)) {
		tws_real.execve(tws_self.helper, argv, ENVIRONMENT(envp, exec));
		exec.target[0] = '\0';
	}
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
	if (tws_supervised_file(file, &exec)) {
		tws_real.execve(tws_self.helper, argv, ENVIRONMENT(envp, exec));
		exec.target[0] = '\0';
	}
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

/* Collects the arguments of the execl family into a list on the stack. */
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
	char **argv, **envp;

	COLLECT(argument, argv, envp, true);
	return tws_wrap_execve(path, argv, envp);
}

static int user_changed(int ret)
{
	if (ret == 0)
		tws_hook_user_changed();
	return ret;
}

int tws_wrap_setuid(uid_t user)
{
	return user_changed(tws_real.setuid(user));
}

int tws_wrap_seteuid(uid_t user)
{
	return user_changed(tws_real.seteuid(user));
}

int tws_wrap_setreuid(uid_t real, uid_t effective)
{
	return user_changed(tws_real.setreuid(real, effective));
}

int tws_wrap_setresuid(uid_t real, uid_t effective, uid_t saved)
{
	return user_changed(tws_real.setresuid(real, effective, saved));
}

/* These return the former ID, whether they succeed or not. */
int tws_wrap_setfsuid(uid_t user)
{
	int ret = tws_real.setfsuid(user);

	tws_hook_user_changed();
	return ret;
}

int tws_wrap_chroot(const char *path)
{
	tws_hook_chroot();
	return tws_real.chroot(path);
}

int tws_wrap_prctl(int option, unsigned long a, unsigned long b, unsigned long c,
		   unsigned long d)
{
	bool retires = option == PR_SET_SECCOMP && tws_may_work();
	int ret = tws_real.prctl(option, a, b, c, d);

	if (retires && ret == 0)
		tws_process_retire();
	return ret;
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
