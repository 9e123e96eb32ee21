/* SPDX-License-Identifier: MIT
 *
 * Starts a command as if we were not there, and waits for it: descriptors, terminal,
 * process group, signal mask and dispositions reach it as they reached us. It stops, goes
 * on and dies by the terminal's signals like us, since it is in our process group; what
 * is sent to us alone is handed on to it; when it stops, so do we.
 */
#ifndef TWS_TOOLS_LAUNCH_H
#define TWS_TOOLS_LAUNCH_H

#include <sys/types.h>

struct launch {
	char *const *argv;	  /* argv[0] is looked up in PATH */
	char *const *environment; /* of the command */
	int watch;		  /* a descriptor to read from meanwhile; -1: none */
	/* Called when it is readable. Returns after how many milliseconds to call it
	 * again, at the latest; -1: when it is readable. */
	int (*watched)(void *data);
	void *data;
};

struct launch_result {
	int exec_error; /* errno of execvp(): it never started; 0: it did */
	int status;	/* as waitpid() gives it */
	pid_t pid;
	double elapsed_seconds;
};

/* Runs the command to its end. 0, or -errno where we could not even try. Afterwards our
 * signal mask is as before, save that SIGINT, SIGQUIT, SIGPIPE and SIGTTOU stay blocked,
 * so that a report can be printed. Call it once. */
int launch_run(const struct launch *launch, struct launch_result *ret_result);

/* The exit status that a shell would show: of the command, or 128 + N for signal N. */
int launch_exit_status(const struct launch_result *result);

/* Ends this process as the command ended: by its exit status or by its signal, and then
 * without a core dump of our own. */
void launch_end_like(const struct launch_result *result) __attribute__((noreturn));

/* A copy of the environment with the library last in LD_PRELOAD (`library` NULL: as it
 * is) and TWSHIM_DIR set. NULL: out of memory. */
char **launch_environment(char *const *environment, const char *library,
			  const char *directory);

/* May be NULL. */
void launch_environment_free(char **environment);

#endif
