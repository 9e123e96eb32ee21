/* SPDX-License-Identifier: MIT
 *
 * The parts are what the commands print, which escape all names. None shows a command
 * line or an environment, where secrets may be: `doctor` is discreet, and nothing looks
 * for programs without the shim, which would be named by their command lines.
 */
#include "tools/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/base/cli.h"
#include "tools/base/output.h"
#include "tools/report/report.h"

#define ARGUMENTS 5

static const char *const parts[][ARGUMENTS] = {
    {"--version"},
    {"report", "--color=never"},
    {"owners", "--sample", "0", "--color=never"},
    {"ps", "--all", "--color=never"},
    {"policy", "show"},
    {"enabled", "--color=never"},
    {"features", "--color=never"},
};

#define COUNT (sizeof(parts) / sizeof(*parts))

/* Runs ourselves, with the file as output. A part that fails says why there. */
static int run_part(const char *const *arguments, int fd)
{
	char *argv[ARGUMENTS + 2] = {(char[]){"twshim"}};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int result;

	for (int i = 0; i < ARGUMENTS && arguments[i]; i++)
		argv[i + 1] = (char *)(uintptr_t)arguments[i];
	result = posix_spawn_file_actions_init(&actions);
	if (result != 0)
		return -result;
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY,
					 0);
	posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, fd, STDERR_FILENO);
	result = posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (result == 0 && waitpid(pid, NULL, 0) < 0)
		result = errno;
	return -result;
}

static void write_title(FILE *file, const char *const *arguments)
{
	fputs("\n======== twshim", file);
	for (int i = 0; i < ARGUMENTS && arguments[i]; i++)
		fprintf(file, " %s", arguments[i]);
	fputs("\n\n", file);
}

static void write_head(FILE *file)
{
	char now[PRINT_TIME_SIZE], host[PRINT_ERROR_SIZE];
	struct utsname name = {0};

	uname(&name);
	fprintf(file,
		"twshim bundle of %s, %s (UTC), %s %s, %s\n"
		"Names are escaped. Command lines and environments are left out.\n",
		print_escape(host, sizeof(host), name.nodename),
		print_time(now, time(NULL)), name.sysname, name.release,
		geteuid() == 0 ? "by root" : "not by root");
}

/* The report in JSON, without the command lines that the command shows. */
static int write_report(const struct doctor *doctor, FILE *file)
{
	static const char *const json[ARGUMENTS] = {"report", "--json"};
	const struct report_options options = {.dir = doctor->request.dir, .json = true};
	char error[PRINT_ERROR_SIZE];

	write_title(file, json);
	if (report_print(file, &options, error, sizeof(error)) != 0)
		fprintf(file, "%s\n", error);
	return 0;
}

static int write_parts(const struct doctor *doctor, FILE *file)
{
	static const char *const text[ARGUMENTS] = {"doctor"};
	static const char *const json[ARGUMENTS] = {"doctor", "--json"};
	int result = 0;

	write_head(file);
	write_title(file, text);
	doctor_print_text(file, doctor);
	for (size_t i = 0; result == 0 && i < COUNT; i++) {
		write_title(file, parts[i]);
		result = fflush(file) == 0 ? run_part(parts[i], fileno(file)) : -errno;
	}
	write_title(file, json);
	if (result == 0)
		result = doctor_print_json(file, doctor);
	if (result == 0)
		result = write_report(doctor, file);
	return result == 0 && fflush(file) != 0 ? -errno : result;
}

int bundle_write(const struct doctor *doctor, const char *path)
{
	struct output output;
	int result = output_open(&output, path);

	if (result == 0) {
		if (doctor->request.dir)
			setenv("TWSHIM_DIR", doctor->request.dir, 1);
		result = write_parts(doctor, output.file);
		if (result == 0)
			result = output_commit(&output);
		output_abandon(&output);
	}
	if (result != 0)
		return cli_fail(
		    CLI_FAILURE,
		    "doctor: --bundle %s: %s: name a file that you may write, "
		    "in a directory that exists",
		    path, strerror(-result));
	if (strcmp(path, "-") != 0)
		fprintf(stderr, "twshim: the bundle is in %s\n", path);
	return 0;
}
