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
#include "tools/systemd/unit.h"

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

/* The former value is written as it was, with its specifiers; the library is added at
 * the end. */
static int write_preload(FILE *out, const struct dropin *dropin)
{
	char *value = library_append(dropin->preload, dropin->library);
	size_t before = strlen(dropin->preload);

	if (!value)
		return -1;
	fputs("Environment=\"LD_PRELOAD=", out);
	unit_write_escaped(out, strlen(value) > before ? dropin->preload : value, "");
	unit_write_escaped(out, strlen(value) > before ? value + before : "", "%");
	fputs("\"\n", out);
	free(value);
	return 0;
}

/* The tag of the unit's policy: the same at each start, and for all instances. Only root,
 * or the user whose manager it is, can make the directory of that name. */
static void write_tag(FILE *out, const char *unit)
{
	char turned[256];
	size_t length = strlen(unit);

	for (size_t i = 0; i < length && i < sizeof(turned) - 1; i++)
		turned[i] = unit[length - 1 - i];
	turned[length < sizeof(turned) ? length : sizeof(turned) - 1] = '\0';
	fprintf(out, "%016" PRIx64 "%016" PRIx64, hash(unit), hash(turned));
}

/* Root puts the policy in force, because a process that began as root obeys nobody else.
 * A policy that cannot be loaded does not keep the service from starting. */
static void write_policy(FILE *out, const struct dropin *dropin)
{
	if (!dropin->policy)
		return;
	fputs("Environment=\"TWSHIM_RUN=", out);
	write_tag(out, dropin->unit);
	fprintf(out, "\"\nExecStartPre=-%s", dropin->is_users ? "" : "+");
	unit_write_quoted(out, dropin->twshim, "%$");
	fputs(" policy load --run ", out);
	write_tag(out, dropin->unit);
	fputc(' ', out);
	unit_write_quoted(out, dropin->policy, "%$");
	fputc('\n', out);
}

/* The places of users, before the unit's processes look for theirs. */
static void write_prepare(FILE *out, const struct dropin *dropin)
{
	if (!dropin->is_users)
		fputs("[Unit]\nWants=twshim-prepare.service\n"
		      "After=twshim-prepare.service\n\n",
		      out);
}

static void write_service(FILE *out, const struct dropin *dropin)
{
	if (dropin->writable)
		fprintf(out, "ReadWritePaths=-%s\n", dropin->writable);
	if (dropin->needs_exec_path) {
		fputs("ExecPaths=", out);
		unit_write_quoted(
		    out, dropin->exec_lines ? dropin->twshim : dropin->library, "%");
		fputc('\n', out);
	}
	if (dropin->needs_netlink)
		fputs("RestrictAddressFamilies=AF_NETLINK\n", out);
	if (dropin->exec_lines)
		fputs(dropin->exec_lines, out);
	else
		write_policy(out, dropin);
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
	write_prepare(out, dropin);
	fputs("[Service]\n", out);
	result = dropin->exec_lines ? 0 : write_preload(out, dropin);
	write_service(out, dropin);
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
