/* SPDX-License-Identifier: MIT */
#include "tools/kernel/command_name.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Their versions are digits and dots: python3.11. */
static bool is_interpreter(const char *program)
{
	static const char *const names[] = {"bash", "dash", "ksh",   "lua",
					    "node", "perl", "php",   "python",
					    "ruby", "sh",   "tclsh", "zsh"};
	const char *slash = strrchr(program, '/');
	size_t length;

	program = slash ? slash + 1 : program;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		length = strlen(names[i]);
		if (strncmp(program, names[i], length) == 0 &&
		    !program[length + strspn(program + length, "0123456789.")])
			return true;
	}
	return false;
}

void command_name(char *ret_name, size_t size, const char *words, size_t length)
{
	char program[256];
	size_t first = strnlen(words, length);
	const char *script = words + first + 1;
	size_t rest = first + 1 < length ? strnlen(script, length - first - 1) : 0;

	snprintf(program, sizeof(program), "%.*s", (int)first, words);
	/* A title that a process has written over its command line is one word. */
	program[strcspn(program, " ")] = '\0';
	if (rest && *script != '-' && is_interpreter(program))
		snprintf(ret_name, size, "%s %.*s", program, (int)rest, script);
	else
		snprintf(ret_name, size, "%s", program);
}

const char *command_name_of(char *const *argv, char *buffer, size_t size)
{
	char words[1024];
	int length = snprintf(words, sizeof(words), "%s%c%s", argv[0], '\0',
			      argv[1] ? argv[1] : "");

	if (length < 0 || (size_t)length >= sizeof(words))
		return argv[0];
	command_name(buffer, size, words, (size_t)length);
	return buffer;
}
