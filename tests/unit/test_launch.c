/* SPDX-License-Identifier: MIT
 *
 * A command is started as if without twshim; the library is appended to LD_PRELOAD.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/launch/launch.h"
#include "tools/launch/library.h"
#include "tools/kernel/lineage.h"
#include "tools/base/output.h"
#include "tools/launch/run_directory.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static char directory[] = "/dev/shm/test-launch-XXXXXX";

static int make_directory(void **state)
{
	if (!mkdtemp(directory))
		return -1;
	return setenv("TWSHIM_DIR", directory, 1);
}

static int remove_directory(void **state)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	return system(command);
}

static struct launch_result run_words(const char *const *words)
{
	struct launch_result result;
	struct launch launch = {
	    .argv = (char *const *)(uintptr_t)words, .environment = environ, .watch = -1};

	assert_int_equal(launch_run(&launch, &result), 0);
	return result;
}

static struct launch_result run_shell(const char *script)
{
	const char *const words[] = {"sh", "-c", script, NULL};

	return run_words(words);
}

/* ----------------------------------------------------------------------- endings */

static void the_exit_status_is_the_commands(void **state)
{
	struct launch_result result = run_shell("exit 7");

	assert_int_equal(result.exec_error, 0);
	assert_int_equal(launch_exit_status(&result), 7);
	result = run_shell("kill -KILL $$");
	assert_true(WIFSIGNALED(result.status));
	assert_int_equal(launch_exit_status(&result), 128 + SIGKILL);
}

static void what_cannot_be_run_is_told_from_what_is_not_there(void **state)
{
	const char *const missing[] = {"no-such-command", NULL};
	const char *const plain[] = {"/etc/passwd", NULL};

	assert_int_equal(run_words(missing).exec_error, ENOENT);
	assert_int_equal(run_words(plain).exec_error, EACCES);
}

/* Ends as twshim ends after the command. */
static int end_like(const char *script)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct launch_result result = run_shell(script);

		launch_end_like(&result);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void we_end_as_the_command_ended(void **state)
{
	int status = end_like("exit 3");

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
	status = end_like("kill -TERM $$");
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
	status = end_like("cd \"$TWSHIM_DIR\"; ulimit -c unlimited; kill -SEGV $$");
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
	assert_false(WCOREDUMP(status));
}

/* ------------------------------------------------------------------- transparency */

/* The signal lines of /proc/self/status, as `grep` sees its own. */
static void signal_state(char *ret_text, size_t size, bool by_launch)
{
	const char *const words[] = {"sh", "-c",
				     "exec grep -E 'SigBlk|SigIgn' /proc/self/status "
				     ">\"$TWSHIM_DIR/status\"",
				     NULL};
	char path[256];
	FILE *file;
	pid_t pid;

	if (by_launch) {
		run_words(words);
	} else {
		pid = fork();
		if (pid == 0) {
			execvp("sh", (char *const *)(uintptr_t)words);
			_exit(127);
		}
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
	snprintf(path, sizeof(path), "%s/status", directory);
	file = fopen(path, "r");
	assert_non_null(file);
	ret_text[fread(ret_text, 1, size - 1, file)] = '\0';
	fclose(file);
	unlink(path);
}

static void masks_and_ignored_signals_reach_the_command(void **state)
{
	char bare[256], launched[256];
	sigset_t some, old;

	sigemptyset(&some);
	sigaddset(&some, SIGUSR2);
	sigaddset(&some, SIGTERM);
	sigprocmask(SIG_BLOCK, &some, &old);
	signal(SIGTSTP, SIG_IGN);
	signal_state(bare, sizeof(bare), false);
	signal_state(launched, sizeof(launched), true);
	sigprocmask(SIG_SETMASK, &old, NULL);
	signal(SIGTSTP, SIG_DFL);
	assert_string_equal(launched, bare);
	assert_non_null(strstr(bare, "SigBlk"));
}

static void an_ignored_sigchld_is_no_obstacle(void **state)
{
	struct launch_result result;

	signal(SIGCHLD, SIG_IGN);
	result = run_shell("exit 4");
	signal(SIGCHLD, SIG_DFL);
	assert_int_equal(launch_exit_status(&result), 4);
}

static void no_descriptor_leaks_into_the_command(void **state)
{
	const char *script = "ls /proc/self/fd | while read f; do "
			     "[ \"$f\" -gt 2 ] && [ -e /proc/$$/fd/$f ] && "
			     "case $(readlink /proc/$$/fd/$f) in *signalfd*|pipe:*) "
			     "exit 1;; esac; done; exit 0";
	struct launch_result result = run_shell(script);

	assert_int_equal(launch_exit_status(&result), 0);
}

static void a_timer_that_was_set_for_the_command_reaches_it(void **state)
{
	struct launch_result result;

	alarm(1);
	result = run_shell("exec sleep 20");
	assert_true(WIFSIGNALED(result.status));
	assert_int_equal(WTERMSIG(result.status), SIGALRM);
	assert_true(result.elapsed_seconds < 15);
}

static int count_bytes(void *data)
{
	int *pipe_and_count = data;
	char byte;

	if (read(pipe_and_count[0], &byte, 1) == 1)
		pipe_and_count[1]++;
	return -1;
}

static void what_is_watched_is_read_meanwhile(void **state)
{
	const char *const words[] = {"sh", "-c", "printf abc >&9; sleep 0.3", NULL};
	int ends[2], read_end_and_count[2];
	struct launch_result result;
	struct launch launch = {.argv = (char *const *)(uintptr_t)words,
				.environment = environ,
				.watched = count_bytes,
				.data = read_end_and_count};

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(dup2(ends[1], 9), 9);
	launch.watch = read_end_and_count[0] = ends[0];
	read_end_and_count[1] = 0;
	assert_int_equal(launch_run(&launch, &result), 0);
	assert_int_equal(read_end_and_count[1], 3);
	close(ends[0]);
	close(ends[1]);
	close(9);
}

/* -------------------------------------------------------------------- environment */

static void the_library_is_appended_once(void **state)
{
	static const struct {
		const char *before, *after;
	} ROWS[] = {
	    {NULL, "/x/libtwshim.so"},
	    {"", "/x/libtwshim.so"},
	    {"liba.so", "liba.so:/x/libtwshim.so"},
	    {"liba.so libb.so", "liba.so libb.so:/x/libtwshim.so"},
	    {"/x/libtwshim.so", "/x/libtwshim.so"},
	    {"liba.so /x/libtwshim.so:libb.so", "liba.so /x/libtwshim.so:libb.so"},
	    {"/y/libtwshim.so", "/y/libtwshim.so:/x/libtwshim.so"},
	    {"/x/libtwshim.so.1", "/x/libtwshim.so.1:/x/libtwshim.so"},
	};

	for (size_t i = 0; i < COUNT(ROWS); i++) {
		char *after = library_append(ROWS[i].before, "/x/libtwshim.so");

		assert_string_equal(after, ROWS[i].after);
		free(after);
	}
	assert_true(library_is_listed("a:/y/libtwshim.so b", NULL));
	assert_false(library_is_listed("a:/y/notlibtwshim.so", NULL));
	assert_false(library_is_listed(NULL, NULL));
}

static void paths_that_cannot_be_said_are_known(void **state)
{
	assert_true(library_is_expressible("/usr/lib/libtwshim.so"));
	assert_false(library_is_expressible("/my dir/libtwshim.so"));
	assert_false(library_is_expressible("/a:b/libtwshim.so"));
	assert_false(library_is_expressible("/$LIB/libtwshim.so"));
}

static void the_environment_keeps_its_order_and_gains_two(void **state)
{
	char a[] = "A=1", preload[] = "LD_PRELOAD=liba.so", b[] = "B=2";
	char *const before[] = {a, preload, b, NULL};
	char **after = launch_environment(before, "/x/libtwshim.so", "0123", NULL);

	assert_non_null(after);
	assert_string_equal(after[0], a);
	assert_string_equal(after[1], "LD_PRELOAD=liba.so:/x/libtwshim.so");
	assert_string_equal(after[2], b);
	assert_string_equal(after[3], "TWSHIM_RUN=0123");
	assert_null(after[4]);
	launch_environment_free(after);

	after = launch_environment(before, NULL, "0123", "/x/twshim");
	assert_string_equal(after[4], "TWSHIM_SUPERVISOR=/x/twshim");
	assert_string_equal(after[1], preload);
	assert_string_equal(after[3], "TWSHIM_RUN=0123");
	launch_environment_free(after);
}

/* ------------------------------------------------------------------------ output */

static void contents(const char *path, char *ret_text, size_t size)
{
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	ret_text[fread(ret_text, 1, size - 1, file)] = '\0';
	fclose(file);
}

static void a_file_is_replaced_whole_or_not_at_all(void **state)
{
	char path[256], link[256], text[64];
	struct output output;
	struct stat st;

	snprintf(path, sizeof(path), "%s/report", directory);
	snprintf(link, sizeof(link), "%s/link", directory);
	assert_int_equal(output_open(&output, path), 0);
	fputs("first", output.file);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(output_commit(&output), 0);
	contents(path, text, sizeof(text));
	assert_string_equal(text, "first");

	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(symlink(path, link), 0);
	assert_int_equal(output_open(&output, link), 0);
	fputs("second", output.file);
	output_abandon(&output);
	contents(path, text, sizeof(text));
	assert_string_equal(text, "first");

	assert_int_equal(output_open(&output, link), 0);
	fputs("third", output.file);
	assert_int_equal(output_commit(&output), 0);
	contents(path, text, sizeof(text));
	assert_string_equal(text, "third");
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
}

static void a_bad_path_is_known_before(void **state)
{
	struct output output;

	assert_int_equal(output_open(&output, "/no/such/directory/file"), -ENOENT);
	assert_int_equal(output_open(&output, directory), -EISDIR);
	assert_int_equal(output_open(&output, "/dev/null"), 0);
	assert_int_equal(output_commit(&output), 0);
	assert_int_equal(access("/dev/null", W_OK), 0);
}

/* ------------------------------------------------------------------ run directories */

static void put(const char *path, const char *name)
{
	char file[PATH_MAX + 64];
	int fd;

	snprintf(file, sizeof(file), "%s/%s", path, name);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
}

static bool is_there(const char *path, const char *name)
{
	char file[PATH_MAX + 64];

	snprintf(file, sizeof(file), "%s/%s", path, name);
	return access(file, F_OK) == 0;
}

static void the_directory_of_a_run_goes_with_it(void **state)
{
	struct run_directory run;
	char error[512], name[64];

	assert_int_equal(run_directory_create(&run, error, sizeof(error)), 0);
	assert_string_equal(run.main, directory);
	snprintf(name, sizeof(name), TWS_RUN_PREFIX "%s", run.tag);
	assert_true(is_there(directory, name));
	put(run.path, "policy.ctl");
	put(directory, "1-2-3-0.seg");
	run_directory_finish(&run, false);
	assert_false(is_there(run.path, ""));
	assert_true(is_there(directory, "1-2-3-0.seg"));
}

static void a_directory_that_is_used_or_kept_stays(void **state)
{
	struct run_directory run, other;
	char error[512], variable[PATH_MAX + 16];
	char shell[] = "/bin/sleep", seconds[] = "20";
	char *const argv[] = {shell, seconds, NULL}, *const env[] = {variable, NULL};
	int ready[2];
	pid_t pid;

	assert_int_equal(run_directory_create(&run, error, sizeof(error)), 0);
	snprintf(variable, sizeof(variable), "TWSHIM_RUN=%s", run.tag);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		execve(shell, argv, env);
		_exit(127);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], error, 1), 0);
	close(ready[0]);
	assert_true(run_directory_is_used(&run));
	run_directory_finish(&run, false);
	assert_true(is_there(run.path, ""));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);

	assert_int_equal(run_directory_create(&other, error, sizeof(error)), 0);
	run_directory_sweep(directory);
	assert_false(is_there(run.path, ""));
	assert_true(is_there(other.path, ""));
	run_directory_finish(&other, true);
	run_directory_sweep(directory);
	assert_true(is_there(other.path, ""));
}

static void a_line_of_descent_is_followed(void **state)
{
	assert_true(lineage_descends(getpid(), getppid()));
	assert_false(lineage_descends(getppid(), getpid()));
	assert_false(lineage_descends(0, getpid()));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_exit_status_is_the_commands),
	    cmocka_unit_test(what_cannot_be_run_is_told_from_what_is_not_there),
	    cmocka_unit_test(we_end_as_the_command_ended),
	    cmocka_unit_test(masks_and_ignored_signals_reach_the_command),
	    cmocka_unit_test(an_ignored_sigchld_is_no_obstacle),
	    cmocka_unit_test(no_descriptor_leaks_into_the_command),
	    cmocka_unit_test(a_timer_that_was_set_for_the_command_reaches_it),
	    cmocka_unit_test(what_is_watched_is_read_meanwhile),
	    cmocka_unit_test(the_library_is_appended_once),
	    cmocka_unit_test(paths_that_cannot_be_said_are_known),
	    cmocka_unit_test(the_environment_keeps_its_order_and_gains_two),
	    cmocka_unit_test(a_file_is_replaced_whole_or_not_at_all),
	    cmocka_unit_test(a_bad_path_is_known_before),
	    cmocka_unit_test(the_directory_of_a_run_goes_with_it),
	    cmocka_unit_test(a_directory_that_is_used_or_kept_stays),
	    cmocka_unit_test(a_line_of_descent_is_followed),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
