/* SPDX-License-Identifier: MIT
 *
 * Executables with any content: whatever the file, its machine and loader are described
 * by a sentence. Also scripts, and the arguments of env(1) in their first line.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tools/base/print.h"
#include "tools/launch/reach.h"

static void check_sentence(const struct reach *reach)
{
	char safe[4 * sizeof(reach->why)];

	FUZZ_CHECK(*reach->why && strlen(reach->why) < sizeof(reach->why));
	FUZZ_CHECK(strlen(reach->instead) < sizeof(reach->instead));
	print_escape(safe, sizeof(safe), reach->why);
	reach_name(reach->verdict);
}

static void read_elf(const uint8_t *data, size_t size)
{
	struct reach_facts facts = {.class = 2, .machine = 62};
	struct reach reach = {0};
	int fd = memfd_create("program", MFD_CLOEXEC);

	FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	if (reach_read_elf(fd, &facts.elf))
		FUZZ_CHECK(facts.elf.is_elf &&
			   strlen(facts.elf.loader) < sizeof(facts.elf.loader));
	reach_decide(&facts, "/usr/bin/program", &reach);
	check_sentence(&reach);
	close(fd);
}

static void read_script(const uint8_t *data, size_t size)
{
	struct reach_script script;
	const char *program;
	bool keeps;

	if (!reach_parse_script((const char *)data, size, &script))
		return;
	FUZZ_CHECK(*script.interpreter &&
		   strlen(script.interpreter) < sizeof(script.interpreter) &&
		   strlen(script.argument) < sizeof(script.argument));
	program = reach_parse_env(script.argument, &keeps);
	FUZZ_CHECK(!program || (program >= script.argument &&
				program < script.argument + sizeof(script.argument)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_script(data, size);
	read_elf(data, size);
	return 0;
}
