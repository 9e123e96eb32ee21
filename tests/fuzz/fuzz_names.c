/* SPDX-License-Identifier: MIT
 *
 * Command lines, control groups and given names with any content: names are terminated,
 * there is always one, and what an advice makes of it means nothing to a shell.
 *
 * The input is the executable, the given name and the control group, each ended by a
 * newline, and then the command line.
 */
#include <string.h>

#include "shim/shared/names.h"
#include "tests/fuzz/fuzz.h"
#include "tools/advice/rule.h"
#include "tools/base/print.h"

static void check_name(const char *name, size_t size)
{
	FUZZ_CHECK(memchr(name, '\0', size));
}

static void check_rule(const char *exe, const char *app)
{
	char who[ADVICE_WHO_SIZE];

	advice_who(who, exe, app);
	FUZZ_CHECK(strlen(who) < sizeof(who));
	FUZZ_CHECK(strncmp(who, "exe=", 4) == 0 || strncmp(who, "app=", 4) == 0);
	FUZZ_CHECK(!strpbrk(who, " \t\n'\"\\$`;&|<>(){}[]!#~"));
}

static void take_names(const char *exe, const char *given, const char *cgroup,
		       const uint8_t *command, size_t length)
{
	struct tws_names names = {0};
	const char *app;
	char safe[4 * sizeof(names.unit)];

	tws_names_set(names.given, sizeof(names.given), given, strlen(given));
	tws_names_cgroup(&names, cgroup);
	tws_names_script(&names, exe, (const char *)command, length);
	check_name(names.given, sizeof(names.given));
	check_name(names.unit, sizeof(names.unit));
	check_name(names.container, sizeof(names.container));
	check_name(names.script, sizeof(names.script));
	/* A path is cut to its base name; a pool of php-fpm is called as its owner likes.
	 */
	FUZZ_CHECK(!strchr(names.script, '/') ||
		   strncmp(names.script, "php-fpm pool ", 13) == 0);
	app = tws_names_app(&names, exe);
	FUZZ_CHECK(app);
	print_escape(safe, sizeof(safe), app);
	check_rule(exe, app);
	check_rule(exe, safe);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), *rest = text, *lines[3];
	size_t used;

	for (unsigned i = 0; i < 3; i++) {
		lines[i] = strsep(&rest, "\n");
		if (!lines[i] || !rest) {
			free(text);
			return 0;
		}
	}
	used = (size_t)(rest - text);
	take_names(lines[0], lines[1], lines[2], data + used, size - used);
	free(text);
	return 0;
}
