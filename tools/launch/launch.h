/* SPDX-License-Identifier: MIT
 *
 * Starts a command as if we were not there, and waits for it. Descriptors, terminal,
 * process group, signal mask and dispositions reach it as they reached us. Being in our
 * process group, it stops, continues and dies by the terminal's signals as we do. A
 * signal that is sent to us alone is passed on to it, and when it stops, so do we.
 */
#ifndef TWS_TOOLS_LAUNCH_H
#define TWS_TOOLS_LAUNCH_H

#include <sys/types.h>

struct launch {
	char *const *argv;	  /* argv[0] is looked up in PATH */
	char *const *environment; /* the status of the command */
	int watch;		  /* a descriptor to watch meanwhile; -1: none */
	/* Called when it is readable. Returns the time in milliseconds after which to
	 * call it again, and not before; -1: when it is readable. */
	int (*watched)(void *data);
	/* Called in the child to become the command; returns the errno of execvpe() if it
	 * can't. NULL: execvpe(). */
	int (*execute)(const struct launch *launch);
	void *data;
};

struct launch_result {
	int exec_error; /* errno of execvp(): it never started; 0: it did */
	int status;	/* as waitpid() gives it */
	pid_t pid;
	time_t began;
	double elapsed_seconds;
};

/* Runs the command to its end. Returns 0, or -errno if it could not even be tried.
 * Afterwards our signal mask is as before, except that SIGINT, SIGQUIT, SIGPIPE and
 * SIGTTOU stay blocked so that a report can be printed. Call it only once. */
int launch_run(const struct launch *launch, struct launch_result *ret_result);

/* The exit status that a shell would show: the command's own, or 128 + N for signal N. */
int launch_exit_status(const struct launch_result *result);

/* Ends this process as the command ended, by its exit status or its signal, and
 * without a core dump of our own. */
void launch_end_like(const struct launch_result *result) __attribute__((noreturn));

/* A copy of the environment with the library last in LD_PRELOAD (`library` NULL: as it
 * is) and TWSHIM_RUN set, and TWSHIM_SUPERVISOR where there is a helper (NULL: none).
 * NULL: out of memory. */
char **launch_environment(char *const *environment, const char *library, const char *tag,
			  const char *helper);

/* May be NULL. */
void launch_environment_free(char **environment);

#endif
