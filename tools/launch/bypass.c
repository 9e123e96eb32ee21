/* SPDX-License-Identifier: MIT
 *
 * Why nothing was observed, as far as the words of a command or of its script show it.
 */
#include "tools/launch/bypass.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SCRIPT_SIZE (32 << 10) /* of a script, from its start */

static const struct {
	const char *words, *effect;
} BYPASSES[] = {
    {"torsocks", "its own library connects without asking the libraries after it"},
    {"torify", "its own library connects without asking the libraries after it"},
    {"env -i", "it removes LD_PRELOAD, which must be set again after it"},
    {"env -", "it removes LD_PRELOAD, which must be set again after it"},
    {"env --ignore-environment",
     "it removes LD_PRELOAD, which must be set again after it"},
    {"unset LD_PRELOAD", "the shim is not loaded in what follows"},
    {"sudo", "it removes LD_PRELOAD: start sudo twshim run instead"},
};

/* The words stand in the text as words of their own. */
static bool has_words(const char *text, const char *words)
{
	size_t length = strlen(words);

	for (const char *at = text; (at = strstr(at, words)) != NULL; at += length)
		if ((at == text || strchr(" \t\n;&|('\"/`", at[-1])) &&
		    strchr(" \t\n;&|)'\"`", at[length]))
			return true;
	return false;
}

static bool explain_bypass(const char *text, const char *where, char *ret_why,
			   size_t size)
{
	for (size_t i = 0; i < sizeof(BYPASSES) / sizeof(*BYPASSES); i++) {
		if (!has_words(text, BYPASSES[i].words))
			continue;
		snprintf(ret_why, size, "%s runs `%s`, and %s", where, BYPASSES[i].words,
			 BYPASSES[i].effect);
		return true;
	}
	return false;
}

/* The text of a script; "" if the file is not one. */
static void read_script(const char *path, char *ret_text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t length = fd < 0 ? -1 : read(fd, ret_text, size - 1);

	ret_text[length > 0 ? length : 0] = '\0';
	if (length < 2 || memcmp(ret_text, "#!", 2) != 0)
		*ret_text = '\0';
	if (fd >= 0)
		close(fd);
}

bool bypass_explain(const char *command, char *const *argv, char *ret_why, size_t size)
{
	static char text[SCRIPT_SIZE];

	if (explain_bypass(command, "the command", ret_why, size))
		return true;
	for (size_t i = 0; i < 2 && argv[i]; i++) {
		read_script(argv[i], text, sizeof(text));
		if (explain_bypass(text, argv[i], ret_why, size))
			return true;
	}
	return false;
}
