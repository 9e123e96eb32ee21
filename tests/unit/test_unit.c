/* SPDX-License-Identifier: MIT
 *
 * How we read systemd's unit files, and the drop-in that we write.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shim/shared/rundir.h"
#include "tools/systemd/dropin.h"
#include "tools/systemd/exec_line.h"
#include "tools/systemd/enable.h"
#include "tools/systemd/unit_processes.h"
#include "tools/segments/rundir.h"
#include "tools/systemd/unit.h"

static const struct unit_place SYSTEM = {.root = ""};

static struct unit parse(const char *name, const char *text)
{
	struct unit unit = {0};

	strcpy(unit.name, name);
	assert_int_equal(unit_parse(&unit, text), 0);
	return unit;
}

static void lines_go_on_and_comments_do_not_count(void **state)
{
	struct unit unit = parse("a.service", "[Unit]\nUser=no\n[Service]\n# x\n"
					      "ExecStart = /bin/a \\\n; y\n  b \n"
					      "User=one\nUser=two\n[Install]\nUser=no\n");
	size_t at = 0;

	assert_string_equal(unit_value(&unit, "User"), "two");
	assert_string_equal(unit_next(&unit, "ExecStart", &at), "/bin/a    b");
	assert_null(unit_next(&unit, "ExecStart", &at));
	unit_free(&unit);
}

static void nothing_empties_a_list(void **state)
{
	struct unit unit = parse("a.service", "[Service]\nEnvironment=A=1 B=2\n"
					      "Environment=\nEnvironment=\"B=3 4\"\n"
					      "User=x\nUser=\n");
	char value[16];

	assert_false(unit_environment(&unit, "A", value, sizeof(value)));
	assert_true(unit_environment(&unit, "B", value, sizeof(value)));
	assert_string_equal(value, "3 4");
	assert_null(unit_value(&unit, "User"));
	unit_free(&unit);
}

static void words_are_unquoted(void **state)
{
	const char *text = "a\"b c\"'d' \\x41\\s\\\\ ''", *open = "'x";
	char word[16];

	assert_int_equal(unit_word(&text, word, sizeof(word)), 1);
	assert_string_equal(word, "ab cd");
	assert_int_equal(unit_word(&text, word, sizeof(word)), 1);
	assert_string_equal(word, "A \\");
	assert_int_equal(unit_word(&text, word, sizeof(word)), 1);
	assert_string_equal(word, "");
	assert_int_equal(unit_word(&text, word, sizeof(word)), 0);
	assert_true(unit_word(&open, word, sizeof(word)) < 0);
	text = "abc defg";
	assert_true(unit_word(&text, word, 4) == 1 && unit_word(&text, word, 3) < 0);
}

static void specifiers_are_expanded(void **state)
{
	struct unit unit = parse("db-x@main.service", "");
	char text[128];

	assert_true(
	    unit_expand(&unit, &SYSTEM, "%n|%N|%p|%i|%j|%t|%%", text, sizeof(text)));
	assert_string_equal(text, "db-x@main.service|db-x@main|db-x|main|x|/run|%");
	assert_false(unit_expand(&unit, &SYSTEM, "%u", text, sizeof(text)));
	assert_false(unit_expand(&unit, &SYSTEM, "%n", text, 4));
}

static void names_are_completed(void **state)
{
	char name[UNIT_NAME_SIZE], template[UNIT_NAME_SIZE];

	assert_true(unit_complete_name("nginx", name));
	assert_string_equal(name, "nginx.service");
	assert_true(unit_complete_name("php8.2-fpm", name));
	assert_string_equal(name, "php8.2-fpm.service");
	assert_true(unit_complete_name("a@b.service", name));
	assert_true(unit_template_of(name, template));
	assert_string_equal(template, "a@.service");
	assert_false(unit_template_of("a@.service", name));
	assert_false(unit_complete_name("a.socket", name));
	assert_false(unit_complete_name("../a", name));
	assert_false(unit_complete_name("", name));
}

static void the_dropin_appends_and_quotes(void **state)
{
	struct dropin dropin = {
	    .unit = "a.service",
	    .preload = "/%i/\"x\".so",
	    .library = "/opt/50%/libtwshim.so",
	    .writable = "/run/twshim/1000",
	    .twshim = "/usr/bin/twshim",
	    .policy = "/etc/a $b",
	};
	char *text = dropin_text(&dropin), *again;
	const char *run;
	uint8_t tag[TWS_RUN_SIZE];

	assert_non_null(strstr(
	    text,
	    "Environment=\"LD_PRELOAD=/%i/\\\"x\\\".so:/opt/50%%/libtwshim.so\"\n"));
	assert_non_null(strstr(text, "ReadWritePaths=-/run/twshim/1000\n"));
	assert_non_null(strstr(text, "[Unit]\nWants=twshim-prepare.service\n"));
	assert_null(strstr(text, "RuntimeDirectory"));
	assert_null(strstr(text, "TWSHIM_DIR"));
	run = strstr(text, "TWSHIM_RUN=");
	assert_non_null(run);
	assert_true(tws_run_parse(strndupa(run + strlen("TWSHIM_RUN="), 32), tag));
	assert_non_null(
	    strstr(text, "ExecStartPre=-+\"/usr/bin/twshim\" policy load --run "));
	assert_non_null(strstr(text, " \"/etc/a $$b\"\n"));
	assert_true(dropin_is_ours(text) && dropin_is_untouched(text));
	text[strlen(text) - 2] = 'X';
	assert_true(dropin_is_ours(text) && !dropin_is_untouched(text));
	free(text);

	dropin.preload = "/opt/50%/libtwshim.so";
	dropin.is_users = true;
	dropin.writable = NULL;
	dropin.policy = NULL;
	text = dropin_text(&dropin);
	assert_non_null(strstr(text, "\"LD_PRELOAD=/opt/50%/libtwshim.so\"\n"));
	assert_null(strstr(text, "ReadWritePaths"));
	assert_null(strstr(text, "[Unit]"));
	assert_null(strstr(text, "TWSHIM_RUN"));
	assert_null(strstr(text, "ExecStartPre"));
	again = dropin_text(&dropin);
	assert_string_equal(text, again);
	free(again);
	free(text);
	assert_false(dropin_is_ours("[Service]\n"));
}

static void a_command_is_taken_apart(void **state)
{
	const char *text = "-@:'/a b' \"x y\" $C ; static ;", *begin;
	struct exec_line line;

	assert_int_equal(exec_line_next(&text, &line), 1);
	assert_string_equal(line.prefixes, "-:");
	assert_string_equal(line.path, "/a b");
	assert_true(line.renamed && line.name_length == 5);
	assert_memory_equal(line.name, "\"x y\"", 5);
	assert_int_equal(line.arguments_length, 3);
	assert_memory_equal(line.arguments, " $C", 3);
	assert_int_equal(exec_line_next(&text, &line), 1);
	assert_string_equal(line.path, "static");
	assert_true(!line.renamed && line.arguments_length == 0);
	assert_int_equal(exec_line_next(&text, &line), 0);
	static const char *const WRONG[] = {"-", "/a 'b", "@/a", "@/a ; /b",
					    "----------------/a"};
	for (size_t i = 0; i < sizeof(WRONG) / sizeof(*WRONG); i++) {
		begin = WRONG[i];
		assert_true(exec_line_next(&begin, &line) < 0);
	}
	begin = "/a\\x0ab";
	assert_int_equal(exec_line_next(&begin, &line), 1);
	assert_non_null(exec_line_refuses(&line));
}

static void settings_hide_the_library(void **state)
{
	static const struct {
		const char *setting, *path, *by;
	} rows[] = {
	    {"PrivateTmp=yes", "/tmp/l.so", "PrivateTmp="},
	    {"PrivateTmp=no", "/tmp/l.so", NULL},
	    {"PrivateTmp=yes", "/tmpx/l.so", NULL},
	    {"DynamicUser=yes", "/var/tmp/l.so", "PrivateTmp="},
	    {"ProtectHome=tmpfs", "/home/a/l.so", "ProtectHome="},
	    {"ProtectHome=read-only", "/home/a/l.so", NULL},
	    {"InaccessiblePaths=-/opt/", "/opt/l.so", "InaccessiblePaths="},
	    {"TemporaryFileSystem=/opt:ro", "/opt/l.so", "TemporaryFileSystem="},
	    {"TemporaryFileSystem=/opt\nBindReadOnlyPaths=/opt/l.so", "/opt/l.so", NULL},
	    {"RootDirectory=/srv", "/opt/l.so", "RootDirectory="},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char text[256];
		struct unit unit;
		const char *by;

		snprintf(text, sizeof(text), "[Service]\n%s\n", rows[i].setting);
		unit = parse("a.service", text);
		by = enable_hidden_by(&unit, rows[i].path);
		if (rows[i].by)
			assert_string_equal(by, rows[i].by);
		else
			assert_null(by);
		unit_free(&unit);
	}
}

static void a_control_group_names_its_unit(void **state)
{
	assert_true(
	    unit_processes_is_in_group("0::/system.slice/a.service\n", "a.service"));
	assert_true(
	    unit_processes_is_in_group("0::/system.slice/a.service/x\n", "a.service"));
	assert_false(
	    unit_processes_is_in_group("0::/system.slice/aa.service\n", "a.service"));
	assert_true(unit_processes_is_in_group("0::/s/a@b.service\n", "a@.service"));
	assert_false(unit_processes_is_in_group("0::/s/b@b.service\n", "a@.service"));
	assert_false(unit_processes_is_in_group("", "a.service"));
	assert_true(tws_rundir_is_below("a.service"));
	assert_true(tws_rundir_is_below("run-1-abc"));
	assert_false(tws_rundir_is_below(".service"));
	assert_false(tws_rundir_is_below("policy.ctl"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_go_on_and_comments_do_not_count),
	    cmocka_unit_test(nothing_empties_a_list),
	    cmocka_unit_test(words_are_unquoted),
	    cmocka_unit_test(specifiers_are_expanded),
	    cmocka_unit_test(names_are_completed),
	    cmocka_unit_test(the_dropin_appends_and_quotes),
	    cmocka_unit_test(a_command_is_taken_apart),
	    cmocka_unit_test(settings_hide_the_library),
	    cmocka_unit_test(a_control_group_names_its_unit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
