/* SPDX-License-Identifier: MIT
 *
 * The program's path becomes an argument. In one, systemd replaces variables, and it does
 * not in the path: so its dollar signs are doubled, unless a ":" turns that off.
 */
#include "tools/systemd/exec_line.h"

#include <errno.h>
#include <string.h>

#include "tools/systemd/unit.h"

#define BLANKS	 " \t\r"
#define PREFIXES "@-:+!|"

static bool ends_command(const char *at)
{
	return *at == ';' && (!at[1] || strchr(BLANKS, at[1]));
}

/* A word as it is written. 1, 0 at the end of the command, or -errno. */
static int raw_word(const char **at, const char **ret_word, size_t *ret_length)
{
	char word[UNIT_VALUE_SIZE];
	int result;

	*at += strspn(*at, BLANKS);
	if (ends_command(*at))
		return 0;
	*ret_word = *at;
	result = unit_word(at, word, sizeof(word));
	*ret_length = (size_t)(*at - *ret_word);
	return result;
}

static int take_program(const char **at, struct exec_line *line)
{
	char word[PATH_MAX + sizeof(line->prefixes)];
	int result = unit_word(at, word, sizeof(word));
	size_t length = strspn(word, PREFIXES), kept = 0;

	if (result != 1)
		return result;
	if (length >= sizeof(line->prefixes) || strlen(word + length) >= PATH_MAX ||
	    !word[length])
		return -EINVAL;
	for (size_t i = 0; i < length; i++)
		if (word[i] == '@')
			line->renamed = true;
		else
			line->prefixes[kept++] = word[i];
	strcpy(line->path, word + length);
	return 1;
}

static int take_arguments(const char **at, struct exec_line *line)
{
	const char *word = NULL;
	size_t length = 0;
	int result;

	line->arguments = *at;
	while ((result = raw_word(at, &word, &length)) == 1)
		line->arguments_length = (size_t)(*at - line->arguments);
	if (ends_command(*at))
		(*at)++;
	return result;
}

int exec_line_next(const char **at, struct exec_line *ret_line)
{
	int result;

	*ret_line = (struct exec_line){.renamed = false};
	*at += strspn(*at, BLANKS);
	while (ends_command(*at)) {
		(*at)++;
		*at += strspn(*at, BLANKS);
	}
	result = take_program(at, ret_line);
	if (result != 1)
		return result;
	if (ret_line->renamed) {
		result = raw_word(at, &ret_line->name, &ret_line->name_length);
		if (result != 1)
			return result ? result : -EINVAL;
	}
	result = take_arguments(at, ret_line);
	return result ? result : 1;
}

const char *exec_line_refuses(const struct exec_line *line)
{
	if (strchr(line->prefixes, '|'))
		return "its prefix | has a shell start it";
	for (const char *at = line->path; *at; at++)
		if ((unsigned char)*at < ' ')
			return "there is a control character in the program's name";
	if (line->renamed && memchr(line->name, '$', line->name_length) &&
	    !strchr(line->prefixes, ':'))
		return "a variable is the name that the program gets";
	return NULL;
}

void exec_line_write(FILE *out, const struct exec_line *line,
		     const struct exec_line_front *front)
{
	bool replaces = !strchr(line->prefixes, ':');
	const char *all = replaces ? "%$" : "%", *expanded = replaces ? "$" : "";

	fprintf(out, "ExecStart=%s", line->prefixes);
	unit_write_quoted(out, front->twshim, "%");
	fputs(" exec", out);
	if (front->policy) {
		fputs(" -c ", out);
		unit_write_quoted(out, front->policy, all);
	}
	if (line->renamed) {
		fprintf(out, " --argv0 %.*s", (int)line->name_length, line->name);
	} else if (front->found) {
		fputs(" --argv0 ", out);
		unit_write_quoted(out, line->path, expanded);
	}
	fputs(" -- ", out);
	if (front->found)
		unit_write_quoted(out, front->found, all);
	else
		unit_write_quoted(out, line->path, expanded);
	fprintf(out, "%.*s\n", (int)line->arguments_length, line->arguments);
}
