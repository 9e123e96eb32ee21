/* SPDX-License-Identifier: MIT
 *
 * What of a command line may be kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tools/kernel/command_name.h"

static void only_the_program_and_its_script_are_kept(void **state)
{
	static const struct {
		const char *words;
		size_t length;
		const char *name;
	} rows[] = {
#define ROW(words, name) {words, sizeof(words), name}
	    ROW("curl\0-u\0me:secret", "curl"),
	    ROW("curl\0http://me:secret@host/", "curl"),
	    ROW("/usr/bin/python3.11\0storm.py\0secret", "/usr/bin/python3.11 storm.py"),
	    ROW("python3\0-c\0secret", "python3"),
	    ROW("bash\0/etc/cron.sh\0secret", "bash /etc/cron.sh"),
	    ROW("sh", "sh"),
	    ROW("shred\0secret", "shred"),
	    ROW("nginx: master secret", "nginx:"),
	    ROW("", ""),
	};
	char name[64];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		command_name(name, sizeof(name), rows[i].words, rows[i].length);
		assert_string_equal(name, rows[i].name);
	}
	/* As it was cut: without the last NUL. */
	command_name(name, sizeof(name), "sh\0x.sh", 7);
	assert_string_equal(name, "sh x.sh");
	command_name(name, sizeof(name), "sh", 0);
	assert_string_equal(name, "");
	command_name(name, 4, "python3", 8);
	assert_string_equal(name, "pyt");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_the_program_and_its_script_are_kept),
	};

	return cmocka_run_group_tests_name("command name", tests, NULL, NULL);
}
