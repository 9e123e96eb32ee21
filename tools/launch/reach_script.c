/* SPDX-License-Identifier: MIT
 *
 * The first line of a script, as Linux and env(1) read it.
 */
#include "tools/launch/reach.h"

#include <string.h>

#define LINE_MAX_BYTES 255 /* BINPRM_BUF_SIZE - 1 */
#define BLANKS	       " \t"

bool reach_parse_script(const char *bytes, size_t length, struct reach_script *ret_script)
{
	char line[LINE_MAX_BYTES + 1], *at, *end;
	bool is_whole;

	if (length < 2 || bytes[0] != '#' || bytes[1] != '!')
		return false;
	if (length > LINE_MAX_BYTES)
		length = LINE_MAX_BYTES;
	memcpy(line, bytes, length);
	line[length] = '\0';
	end = line + strcspn(line, "\n");
	/* A file that ends here is a whole line too. */
	is_whole = *end || length < LINE_MAX_BYTES;
	while (end > line + 2 && strchr(BLANKS, end[-1]))
		end--;
	*end = '\0';

	at = line + 2 + strspn(line + 2, BLANKS);
	end = at + strcspn(at, BLANKS);
	if (end == at || (!*end && !is_whole))
		return false;
	memcpy(ret_script->interpreter, at, (size_t)(end - at));
	ret_script->interpreter[end - at] = '\0';
	strcpy(ret_script->argument, end + strspn(end, BLANKS));
	return true;
}

struct env_words {
	bool keeps;
	const char *program;
};

/* Options of env whose value is the next word. */
static bool takes_value(const char *word)
{
	return strcmp(word, "-u") == 0 || strcmp(word, "--unset") == 0 ||
	       strcmp(word, "-C") == 0 || strcmp(word, "--chdir") == 0;
}

static bool clears_environment(const char *word)
{
	return strcmp(word, "-") == 0 || strcmp(word, "-i") == 0 ||
	       strcmp(word, "--ignore-environment") == 0;
}

static bool names_preload(const char *word)
{
	return strncmp(word, "LD_PRELOAD", strlen("LD_PRELOAD")) == 0;
}

/* The words of `env -S`, until the program's name. */
static void read_words(char *words, struct env_words *ret)
{
	char *save = NULL, *word = strtok_r(words, BLANKS, &save);

	for (; word; word = strtok_r(NULL, BLANKS, &save)) {
		if (clears_environment(word)) {
			ret->keeps = false;
		} else if (takes_value(word)) {
			char *value = strtok_r(NULL, BLANKS, &save);

			if (value && word[1] != 'C' && names_preload(value))
				ret->keeps = false;
		} else if (strchr(word, '=') && *word != '-') {
			if (names_preload(word))
				ret->keeps = false;
		} else if (*word != '-') {
			ret->program = word;
			return;
		}
	}
}

const char *reach_parse_env(char *argument, bool *ret_keeps)
{
	static const char *const split[] = {"-S", "--split-string=", "--split-string"};
	struct env_words words = {.keeps = true};

	*ret_keeps = true;
	for (size_t i = 0; i < sizeof(split) / sizeof(*split); i++) {
		if (strncmp(argument, split[i], strlen(split[i])) != 0)
			continue;
		read_words(argument + strlen(split[i]), &words);
		*ret_keeps = words.keeps;
		return words.program;
	}
	/* Without -S the kernel hands over one word, whatever blanks are in it. */
	return *argument && *argument != '-' ? argument : NULL;
}
