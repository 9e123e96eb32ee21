/* SPDX-License-Identifier: MIT
 *
 * The first line of a file that twshim made says so, and gives a hash of the rest.
 */
#include "tools/systemd/dropin.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/launch/library.h"

#define MARK	   "# Made by `twshim enable` ("
#define FIRST_LINE MARK "%016" PRIx64 "); `twshim disable %s` takes it away.\n"

/* FNV-1a, which protects against accidental edits, not against malice. */
static uint64_t hash(const char *text)
{
	uint64_t ret = 0xcbf29ce484222325ULL;

	for (; *text; text++)
		ret = (ret ^ (uint8_t)*text) * 0x100000001b3ULL;
	return ret;
}

bool dropin_is_ours(const char *text)
{
	return strncmp(text, MARK, strlen(MARK)) == 0;
}

bool dropin_is_untouched(const char *text)
{
	const char *rest = strchr(text, '\n');

	return dropin_is_ours(text) && rest &&
	       strtoull(text + strlen(MARK), NULL, 16) == hash(rest + 1);
}

/* Takes the rest; NULL stays NULL. */
static char *put_first_line(const char *unit, char *rest)
{
	char *ret = NULL;

	if (rest && asprintf(&ret, FIRST_LINE "%s", hash(rest), unit, rest) < 0)
		ret = NULL;
	free(rest);
	return ret;
}

/* Inside double quotes; `doubled`: letters that stand for themselves when doubled. */
static void write_quoted(FILE *out, const char *text, const char *doubled)
{
	for (; *text; text++) {
		if (strchr("\"\\", *text))
			fputc('\\', out);
		else if (strchr(doubled, *text))
			fputc(*text, out);
		fputc(*text, out);
	}
}

/* The former value is written as it was, with its specifiers; the library is added at
 * the end. */
static int write_preload(FILE *out, const struct dropin *dropin)
{
	char *value = library_append(dropin->preload, dropin->library);
	size_t before = strlen(dropin->preload);

	if (!value)
		return -1;
	fputs("Environment=\"LD_PRELOAD=", out);
	write_quoted(out, strlen(value) > before ? dropin->preload : value, "");
	write_quoted(out, strlen(value) > before ? value + before : "", "%");
	fputs("\"\n", out);
	free(value);
	return 0;
}

/* A directory on a tmpfs that belongs to the unit's user, whoever that is.
 * ProtectSystem= and PrivateTmp= do not affect it, and root finds it by its name. */
static void write_directory(FILE *out, const struct dropin *dropin)
{
	if (!dropin->has_directory)
		return;
	fputs("Environment=\"TWSHIM_DIR=%t/twshim/%n\"\nRuntimeDirectory=twshim/%n\n",
	      out);
	if (!dropin->directory_is_alone)
		return;
	fputs("RuntimeDirectoryMode=0700\n", out);
	/* Its counters are kept after the unit has stopped. */
	if (!dropin->is_dynamic)
		fputs("RuntimeDirectoryPreserve=yes\n", out);
}

/* Runs as the unit's own user, because its processes would not trust another user's
 * files. A policy that cannot be loaded does not keep the service from starting. */
static void write_policy(FILE *out, const struct dropin *dropin)
{
	if (!dropin->policy)
		return;
	fputs("ExecStartPre=-\"", out);
	write_quoted(out, dropin->twshim, "%$");
	fputs("\" policy load ", out);
	if (dropin->has_directory)
		fputs("--dir \"%t/twshim/%n\" ", out);
	fputs("\"", out);
	write_quoted(out, dropin->policy, "%$");
	fputs("\"\n", out);
}

char *dropin_text(const struct dropin *dropin)
{
	char *rest = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&rest, &size);
	int result;

	if (!out)
		return NULL;
	if (dropin->observed) {
		fputs("[Unit]\nWants=twshim-watch@%n\n", out);
		result = 0;
		goto out;
	}
	fputs("[Service]\n", out);
	result = write_preload(out, dropin);
	write_directory(out, dropin);
	if (dropin->needs_exec_path) {
		fputs("ExecPaths=\"", out);
		write_quoted(out, dropin->library, "%");
		fputs("\"\n", out);
	}
	write_policy(out, dropin);
out:
	if (fclose(out) != 0 || result != 0) {
		free(rest);
		return NULL;
	}
	return put_first_line(dropin->unit, rest);
}

char *dropin_policy_text(const char *unit, const char *policy)
{
	return put_first_line(unit, strdup(policy));
}
