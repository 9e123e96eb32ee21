/* SPDX-License-Identifier: MIT */
#include "tools/kernel/origin.h"

#include <stdio.h>
#include <string.h>

#include "tools/kernel/lineage.h"
#include "tools/kernel/proc_file.h"

#define SHORT_ID    12
#define GENERATIONS 16 /* between a job and its cron */

/* ------------------------------------------------------------- control groups */

static bool ends_with(const char *text, size_t length, const char *end)
{
	size_t size = strlen(end);

	return length > size && strncmp(text + length - size, end, size) == 0;
}

/* How many characters of a container's id begin here; 0: none does. */
static size_t id_length(const char *text)
{
	size_t length = strspn(text, "0123456789abcdef");

	return length == 64 ? SHORT_ID : 0;
}

/* "docker-ID.scope", "cri-containerd-ID.scope", "libpod-ID.scope", or ID alone. */
static bool take_container(struct origin *origin, const char *part, size_t length)
{
	const char *id = part;

	if (ends_with(part, length, ".scope"))
		for (size_t i = 0; i < length; i++)
			if (part[i] == '-')
				id = part + i + 1;
	if (!id_length(id))
		return false;
	origin->kind = ORIGIN_CONTAINER;
	snprintf(origin->name, sizeof(origin->name), "%.*s", SHORT_ID, id);
	return true;
}

bool origin_is_cron(const char *name)
{
	static const char *const names[] = {"cron",    "crond",	       "CRON",
					    "anacron", "cron.service", "crond.service"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static void take_unit(struct origin *origin, const char *part, size_t length)
{
	if (!ends_with(part, length, ".service") || length >= sizeof(origin->name))
		return;
	snprintf(origin->name, sizeof(origin->name), "%.*s", (int)length, part);
	if (strncmp(origin->name, "user@", 5) == 0) {
		origin->kind = ORIGIN_USER_UNIT; /* if a unit follows */
		*origin->name = '\0';
	} else if (origin->kind != ORIGIN_USER_UNIT) {
		origin->kind = origin_is_cron(origin->name) ? ORIGIN_CRON : ORIGIN_UNIT;
	}
}

void origin_of_cgroup(struct origin *ret_origin, const char *text)
{
	struct origin origin = {.kind = ORIGIN_COMMAND};
	const char *part = text;

	while ((part = strchr(part, '/'))) {
		size_t length = strcspn(++part, "/\n");

		if (take_container(&origin, part, length))
			break;
		take_unit(&origin, part, length);
	}
	if (origin.kind == ORIGIN_USER_UNIT && !*origin.name)
		origin.kind = ORIGIN_COMMAND;
	if (origin.kind == ORIGIN_CRON)
		*origin.name = '\0';
	*ret_origin = origin;
}

/* ------------------------------------------------------------------- commands */

static bool is_plain(const char *word)
{
	return *word && word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST"
					  "UVWXYZ0123456789_-+=./:,@%")] == '\0';
}

/* At most, with a blank, quotes and the NUL. */
static size_t quoted_size(const char *word)
{
	size_t size = strlen(word) + 4;

	for (; *word; word++)
		size += *word == '\'' ? 3 : 0;
	return size;
}

/* Puts one word behind what is there. False: it does not fit. */
static bool add_word(char *line, size_t size, const char *word)
{
	size_t used = strlen(line);
	bool plain = is_plain(word);

	if (used + quoted_size(word) > size)
		return false;
	if (used)
		line[used++] = ' ';
	if (!plain)
		line[used++] = '\'';
	for (; *word; word++) {
		if (*word == '\'')
			used += (size_t)sprintf(line + used, "'\\''");
		else
			line[used++] = *word;
	}
	if (!plain)
		line[used++] = '\'';
	line[used] = '\0';
	return true;
}

bool origin_quote(char *ret_line, size_t size, const char *words, size_t length)
{
	bool fits = length > 0 && words[length - 1] == '\0';

	*ret_line = '\0';
	for (size_t i = 0; fits && i < length; i++)
		fits = words[i] == '\0' ||
		       ((unsigned char)words[i] >= ' ' && words[i] != 0x7f);
	for (size_t at = 0; fits && at < length; at += strlen(words + at) + 1)
		fits = add_word(ret_line, size, words + at);
	if (!fits)
		*ret_line = '\0';
	return fits;
}

bool origin_quote_arguments(char *ret_line, size_t size, char *const *argv)
{
	char words[1024];
	size_t length = 0;

	for (; *argv && length + strlen(*argv) < sizeof(words); argv++) {
		strcpy(words + length, *argv);
		length += strlen(*argv) + 1;
	}
	*ret_line = '\0';
	return !*argv && origin_quote(ret_line, size, words, length);
}

/* A command line of more than `size` is cut, and then not shown. */
static size_t read_words(pid_t pid, char *words, size_t size)
{
	char path[64];
	size_t length = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	length = fread(words, 1, size, file);
	fclose(file);
	return length;
}

/* False: the process has written a title over its command line, as nginx does. */
static bool read_command(pid_t pid, char *words, size_t size, size_t *ret_length)
{
	*ret_length = read_words(pid, words, size);
	return *ret_length && !memchr(words, ' ', strnlen(words, *ret_length));
}

/* cron runs each job as `sh -c COMMAND`; some shells then become COMMAND. */
static void take_job(struct origin *origin, pid_t job)
{
	char words[1024];
	size_t length = read_words(job, words, sizeof(words));

	origin->kind = ORIGIN_CRON;
	origin_quote(origin->command, sizeof(origin->command), words, length);
}

/* The ancestor, or the process itself, that cron started; 0: none. */
static pid_t find_job(pid_t pid)
{
	char name[64];

	for (int i = 0; i < GENERATIONS && pid > 1; i++) {
		pid_t parent = lineage_parent(pid);

		if (parent > 0 &&
		    origin_is_cron(lineage_name(parent, name, sizeof(name))))
			return pid;
		pid = parent;
	}
	return 0;
}

void origin_of_process(struct origin *ret_origin, pid_t pid)
{
	char text[4096], words[1024];
	size_t length;
	pid_t job;

	*ret_origin = (struct origin){0};
	if (pid <= 0 || proc_read_of(pid, "cgroup", text, sizeof(text)) != 0)
		return;
	origin_of_cgroup(ret_origin, text);
	job = ret_origin->kind == ORIGIN_COMMAND || ret_origin->kind == ORIGIN_CRON
		  ? find_job(pid)
		  : 0;
	if (job)
		take_job(ret_origin, job);
	else if (read_command(pid, words, sizeof(words), &length))
		origin_quote(ret_origin->command, sizeof(ret_origin->command), words,
			     length);
}
