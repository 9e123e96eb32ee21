/* SPDX-License-Identifier: MIT */
#include "tools/kernel/process_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/shared/names.h"
#include "tools/kernel/proc_file.h"
#include "tools/kernel/process.h"

#define COMMAND_MAX (128u << 10)
#define VARIABLE    "TWSHIM_APP="

/* Unlike proc_read(), which is for text, this says how long it is: it holds NULs. */
static size_t read_command(pid_t pid, char *ret_command)
{
	char path[64];
	size_t length;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	length = fread(ret_command, 1, COMMAND_MAX, file);
	fclose(file);
	return length;
}

static bool take_variable(const char *variable, const void *data)
{
	struct tws_names *names = *(struct tws_names *const *)data;
	const char *value = variable + strlen(VARIABLE);

	if (strncmp(variable, VARIABLE, strlen(VARIABLE)) != 0)
		return false;
	tws_names_set(names->given, sizeof(names->given), value, strlen(value));
	return true;
}

void process_names(pid_t pid, const char *exe, struct tws_names *ret_names)
{
	char *command = malloc(COMMAND_MAX), cgroup[8192];

	ret_names->given[0] = ret_names->script[0] = '\0';
	proc_any_line(pid, "environ", '\0', take_variable, &ret_names);
	proc_read_of(pid, "cgroup", cgroup, sizeof(cgroup));
	tws_names_cgroup(ret_names, cgroup);
	if (command)
		tws_names_script(ret_names, exe, command, read_command(pid, command));
	free(command);
}

const char *process_app(pid_t pid, char *buffer, size_t size)
{
	char path[64], exe[TWS_EXE_SIZE];
	struct tws_names names;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	length = readlink(path, exe, sizeof(exe) - 1);
	if (length > 0) {
		exe[length] = '\0';
		memset(&names, 0, sizeof(names));
		process_names(pid, exe, &names);
		snprintf(buffer, size, "%s", tws_names_app(&names, exe));
		return buffer;
	}
	/* Another user's: /proc shows its short name to everybody. */
	if (proc_read_of(pid, "comm", buffer, size) != 0)
		return NULL;
	buffer[strcspn(buffer, "\n")] = '\0';
	return buffer;
}

char *process_command(pid_t pid, uint64_t start_time)
{
	char *command = malloc(COMMAND_MAX + 1);
	size_t length = command ? read_command(pid, command) : 0;

	while (length > 0 && !command[length - 1])
		length--;
	if (length == 0 || process_start_time(pid) != start_time) {
		free(command);
		return NULL;
	}
	for (size_t i = 0; i < length; i++)
		if (!command[i])
			command[i] = ' ';
	command[length] = '\0';
	return command;
}
