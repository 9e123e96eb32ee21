/* SPDX-License-Identifier: MIT
 *
 * Which programs a preload can reach: by facts, by ELF images made here, through scripts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/launch/reach.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define GLIBC	     "/lib64/ld-linux-x86-64.so.2"

static char directory[] = "/tmp/test-reach-XXXXXX";

/* ------------------------------------------------------------------ making files */

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static void make_file(const char *name, const void *bytes, size_t size)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	close(fd);
}

static void make_script(const char *name, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void make_script(const char *name, const char *format, ...)
{
	va_list arguments;
	char text[1024];

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	make_file(name, text, strlen(text));
}

struct image64 {
	Elf64_Ehdr header;
	Elf64_Phdr program[2];
	char loader[64];
	struct {
		Elf64_Nhdr header;
		char owner[4];
		char description[4];
	} note;
};

/* A program of 64 bits; `loader` "" for a static one. */
static void make_elf64(const char *name, uint16_t machine, const char *loader,
		       const char *note_owner)
{
	struct image64 image = {
	    .header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
				   ELFDATA2LSB, EV_CURRENT},
		       .e_type = ET_DYN,
		       .e_machine = machine,
		       .e_version = EV_CURRENT,
		       .e_phoff = offsetof(struct image64, program),
		       .e_ehsize = sizeof(Elf64_Ehdr),
		       .e_phentsize = sizeof(Elf64_Phdr),
		       .e_phnum = 2},
	    .program = {{.p_type = *loader ? PT_INTERP : PT_NULL,
			 .p_offset = offsetof(struct image64, loader),
			 .p_filesz = strlen(loader) + 1},
			{.p_type = PT_NOTE,
			 .p_offset = offsetof(struct image64, note),
			 .p_filesz = sizeof(image.note),
			 .p_align = 4}},
	    .note = {.header = {.n_namesz = 4, .n_descsz = 4, .n_type = 4}},
	};

	strcpy(image.loader, loader);
	memcpy(image.note.owner, note_owner, 4);
	make_file(name, &image, sizeof(image));
}

static void make_elf32(const char *name)
{
	Elf32_Ehdr header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32,
					 ELFDATA2LSB, EV_CURRENT},
			     .e_type = ET_EXEC,
			     .e_machine = EM_386,
			     .e_version = EV_CURRENT,
			     .e_ehsize = sizeof(Elf32_Ehdr),
			     .e_phentsize = sizeof(Elf32_Phdr)};

	make_file(name, &header, sizeof(header));
}

static int make_directory(void **state)
{
	char path[4096];

	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s:/usr/bin:/bin", directory);
	setenv("PATH", path, 1);
	unsetenv("TWSHIM_DISABLED");
	return 0;
}

static int remove_directory(void **state)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	return system(command);
}

static enum reach_verdict verdict_of(const char *command)
{
	struct reach reach = reach_command(command, NULL);

	assert_true(*reach.why);
	return reach.verdict;
}

static void expect_why(const char *command, const char *why)
{
	struct reach reach = reach_command(command, NULL);

	assert_string_equal(reach.why, why);
}

/* The machine of this test; made images are compared with it. */
static uint16_t own_machine(void)
{
	struct reach_elf elf;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	assert_true(reach_read_elf(fd, &elf));
	close(fd);
	return elf.machine;
}

/* --------------------------------------------------------------------- decisions */

static void the_facts_decide(void **state)
{
	static const struct {
		const char *name;
		struct reach_facts facts;
		enum reach_verdict verdict;
	} ROWS[] = {
#define PROGRAM .is_elf = true, .is_program = true, .class = 2, .machine = EM_X86_64
#define LIBRARY .class = 2, .machine = EM_X86_64
	    {"curl", {{PROGRAM, .loader = GLIBC}, LIBRARY}, REACH_YES},
	    {"node",
	     {{PROGRAM, .loader = "/nix/x/ld-linux-x86-64.so.2"}, LIBRARY},
	     REACH_YES},
	    {"php8.2", {{PROGRAM, .loader = GLIBC}, LIBRARY}, REACH_PARTLY},
	    {"tested",
	     {{PROGRAM, .loader = GLIBC, .needs_asan = true}, LIBRARY},
	     REACH_SANITIZER},
	    {"tested",
	     {{PROGRAM, .loader = GLIBC, .needs_asan = true},
	      LIBRARY,
	      .asan_is_first = true},
	     REACH_YES},
	    {"busybox", {{PROGRAM}, LIBRARY}, REACH_STATIC},
	    {"ld-linux-x86-64.so.2", {{PROGRAM}, LIBRARY}, REACH_YES},
	    {"kubectl", {{PROGRAM, .is_go = true}, LIBRARY}, REACH_GO},
	    {"docker", {{PROGRAM, .is_go = true, .loader = GLIBC}, LIBRARY}, REACH_GO},
	    {"apk",
	     {{PROGRAM, .loader = "/lib/ld-musl-x86_64.so.1"}, LIBRARY},
	     REACH_YES},
	    {"sh", {{PROGRAM, .loader = "/system/bin/linker64"}, LIBRARY}, REACH_LOADER},
	    {"old",
	     {{.is_elf = true,
	       .is_program = true,
	       .class = 1,
	       .machine = EM_386,
	       .loader = "/lib/ld-linux.so.2"},
	      LIBRARY},
	     REACH_MACHINE},
	    {"old",
	     {{.is_elf = true,
	       .is_program = true,
	       .class = 1,
	       .machine = EM_386,
	       .loader = "/lib/ld-linux.so.2"},
	      LIBRARY,
	      .has_i386 = true},
	     REACH_YES},
	    {"apk",
	     {{.is_elf = true,
	       .is_program = true,
	       .class = 1,
	       .machine = EM_386,
	       .loader = "/lib/ld-musl-i386.so.1"},
	      LIBRARY,
	      .has_i386 = true},
	     REACH_MACHINE},
	    {"arm",
	     {{.is_elf = true,
	       .is_program = true,
	       .class = 2,
	       .machine = EM_AARCH64,
	       .loader = "/lib/ld-linux-aarch64.so.1"},
	      LIBRARY},
	     REACH_MACHINE},
	    {"sudo",
	     {{PROGRAM, .loader = GLIBC}, LIBRARY, .changes_user = true},
	     REACH_SETID},
	    {"wall",
	     {{PROGRAM, .loader = GLIBC}, LIBRARY, .changes_group = true},
	     REACH_SETID},
	    {"hidden", {{0}, LIBRARY, .changes_user = true}, REACH_SETID},
	    {"ping",
	     {{PROGRAM, .loader = GLIBC}, LIBRARY, .gains_capability = true},
	     REACH_CAPABILITIES},
	    {"notes", {{0}, LIBRARY}, REACH_NOT_PROGRAM},
	    {"core",
	     {{.is_elf = true, .class = 2, .machine = EM_X86_64}, LIBRARY},
	     REACH_NOT_PROGRAM},
#undef PROGRAM
#undef LIBRARY
	};

	for (size_t i = 0; i < COUNT(ROWS); i++) {
		struct reach reach = {0};

		reach_decide(&ROWS[i].facts, ROWS[i].name, &reach);
		if (reach.verdict != ROWS[i].verdict)
			fail_msg("%s: %s", ROWS[i].name, reach.why);
		assert_non_null(strstr(reach.why, ROWS[i].name));
	}
}

static void every_verdict_has_a_name_and_a_cure_where_there_is_one(void **state)
{
	for (int i = 0; i < REACH_VERDICTS; i++) {
		struct reach reach;

		reach_set(&reach, (enum reach_verdict)i, "because %d", i);
		assert_true(*reach_name(reach.verdict));
		if (reach_is_reached(reach.verdict))
			assert_string_equal(reach.instead, "");
	}
}

/* ----------------------------------------------------------------------- scripts */

static void the_first_line_is_read_as_the_kernel_reads_it(void **state)
{
	static const struct {
		const char *text;
		bool is_script;
		const char *interpreter, *argument;
	} ROWS[] = {
	    {"#!/bin/sh\necho", true, "/bin/sh", ""},
	    {"#! \t/bin/sh -eu  \n", true, "/bin/sh", "-eu"},
	    {"#!/bin/sh", true, "/bin/sh", ""},
	    {"#!/usr/bin/env  python3 -u\n", true, "/usr/bin/env", "python3 -u"},
	    {"#!perl\r\n", true, "perl\r", ""},
	    {"#!\n/bin/sh", false, "", ""},
	    {"#!", false, "", ""},
	    {"#", false, "", ""},
	    {"", false, "", ""},
	    {"\n#!/bin/sh", false, "", ""},
	};

	for (size_t i = 0; i < COUNT(ROWS); i++) {
		struct reach_script script;
		bool is_script =
		    reach_parse_script(ROWS[i].text, strlen(ROWS[i].text), &script);

		assert_int_equal(is_script, ROWS[i].is_script);
		if (!is_script)
			continue;
		assert_string_equal(script.interpreter, ROWS[i].interpreter);
		assert_string_equal(script.argument, ROWS[i].argument);
	}
}

static void an_interpreter_that_does_not_fit_is_none_and_an_argument_is_cut(void **state)
{
	struct reach_script script;
	char text[400] = "#!/bin/sh ";

	memset(text + 10, 'a', sizeof(text) - 10);
	assert_true(reach_parse_script(text, sizeof(text), &script));
	assert_int_equal(strlen(script.argument), 255 - 10);
	memset(text + 2, 'a', sizeof(text) - 2);
	assert_false(reach_parse_script(text, sizeof(text), &script));
}

static void what_env_runs_is_known(void **state)
{
	static const struct {
		const char *argument, *program;
		bool keeps;
	} ROWS[] = {
	    {"python3", "python3", true},
	    {"-S node --no-warnings", "node", true},
	    {"-Snode", "node", true},
	    {"--split-string=node -x", "node", true},
	    {"-S A=1 B=2 perl -w", "perl", true},
	    {"-S -u HOME -C /tmp perl", "perl", true},
	    {"-S -i perl", "perl", false},
	    {"-S -u LD_PRELOAD perl", "perl", false},
	    {"-S LD_PRELOAD= perl", "perl", false},
	    {"-S", NULL, true},
	    {"", NULL, true},
	    {"-i", NULL, true},
	};

	for (size_t i = 0; i < COUNT(ROWS); i++) {
		char argument[256];
		bool keeps;
		const char *program;

		strcpy(argument, ROWS[i].argument);
		program = reach_parse_env(argument, &keeps);
		assert_int_equal(program != NULL, ROWS[i].program != NULL);
		if (program)
			assert_string_equal(program, ROWS[i].program);
		assert_int_equal(keeps, ROWS[i].keeps);
	}
}

/* -------------------------------------------------------------------- real files */

static void made_programs_are_judged_by_their_headers(void **state)
{
	uint16_t machine = own_machine();

	make_elf64("dynamic", machine, GLIBC, "GNU");
	make_elf64("static", machine, "", "GNU");
	make_elf64("go", machine, "", "Go\0");
	make_elf64("cgo", machine, GLIBC, "Go\0");
	make_elf64("musl", machine, "/lib/ld-musl-x86_64.so.1", "GNU");
	make_elf64("bionic", machine, "/system/bin/linker64", "GNU");
	make_elf64("foreign", EM_SPARCV9, GLIBC, "GNU");
	make_elf32("narrow");
	assert_int_equal(verdict_of("dynamic"), REACH_YES);
	assert_int_equal(verdict_of("static"), REACH_STATIC);
	assert_int_equal(verdict_of("go"), REACH_GO);
	assert_int_equal(verdict_of("cgo"), REACH_GO);
	assert_int_equal(verdict_of("musl"), REACH_YES);
	assert_int_equal(verdict_of("bionic"), REACH_LOADER);
	assert_int_equal(verdict_of("foreign"), REACH_MACHINE);
	assert_int_equal(verdict_of("narrow"), REACH_STATIC);
}

static void damaged_programs_do_no_harm(void **state)
{
	struct image64 image = {.header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3,
						       ELFCLASS64, ELFDATA2LSB, 1},
					   .e_type = ET_DYN,
					   .e_phoff = UINT64_MAX - 8,
					   .e_shoff = UINT64_MAX - 64,
					   .e_phentsize = sizeof(Elf64_Phdr),
					   .e_phnum = UINT16_MAX,
					   .e_shnum = UINT16_MAX - 1,
					   .e_shstrndx = UINT16_MAX}};

	make_file("damaged", &image, sizeof(image));
	assert_false(reach_is_reached(verdict_of("damaged")));
	make_file("short", ELFMAG, 4);
	assert_int_not_equal(verdict_of("short"), REACH_STATIC);
	make_file("binary", "\0\1\2\3", 4);
	assert_int_equal(verdict_of("binary"), REACH_NOT_PROGRAM);
}

static void this_test_and_the_shell_are_reached(void **state)
{
	assert_int_equal(verdict_of("/proc/self/exe"), REACH_YES);
	assert_int_equal(verdict_of("sh"), REACH_YES);
}

static void scripts_are_followed_to_their_interpreter(void **state)
{
	make_elf64("static", own_machine(), "", "GNU");
	make_script("direct", "#!%s/static\n", directory);
	make_script("by-env", "#!/usr/bin/env static\n");
	make_script("by-split", "#!/usr/bin/env -S A=1 static -x\n");
	make_script("bare", "#!/usr/bin/env -S -i sh\n");
	make_script("twice", "#!%s/by-env\n", directory);
	make_script("lost", "#!/no/such/interpreter\n");
	make_script("text", "echo hello\n");
	make_script("ring", "#!%s/ring\n", directory);
	make_script("shell", "#!/bin/sh\n");
	assert_int_equal(verdict_of("direct"), REACH_STATIC);
	assert_int_equal(verdict_of("by-env"), REACH_STATIC);
	assert_int_equal(verdict_of("by-split"), REACH_STATIC);
	assert_int_equal(verdict_of("bare"), REACH_ENVIRONMENT);
	assert_int_equal(verdict_of("twice"), REACH_STATIC);
	assert_int_equal(verdict_of("lost"), REACH_NOT_FOUND);
	assert_int_equal(verdict_of("text"), REACH_YES);
	assert_int_equal(verdict_of("ring"), REACH_NOT_PROGRAM);
	assert_int_equal(verdict_of("shell"), REACH_YES);
}

static void a_script_is_said_to_be_one(void **state)
{
	char long_name[201];

	make_elf64("static", own_machine(), "", "GNU");
	make_script("direct", "#!%s/static\n", directory);
	make_script("twice", "#!%s/direct\n", directory);
	make_script("shell", "#!/bin/sh\n");
	make_script("text", "echo hello\n");
	make_script("bare", "#!/usr/bin/env -S -i sh\n");
	expect_why("static",
		   "static is statically linked, and no loader reads LD_PRELOAD");
	expect_why("direct", "direct is a script for static, and static is statically "
			     "linked, and no loader reads LD_PRELOAD");
	expect_why("twice", "twice is a script for static, and static is statically "
			    "linked, and no loader reads LD_PRELOAD");
	expect_why("shell", "shell is a script for sh, and sh is a dynamically linked "
			    "program");
	expect_why("text",
		   "text is a script for sh, and sh is a dynamically linked program");
	expect_why("bare", "its first line has env take LD_PRELOAD away");
	memset(long_name, 'x', 200);
	long_name[200] = '\0';
	make_script(long_name, "#!%s/static\n", directory);
	assert_int_equal(verdict_of(long_name), REACH_STATIC);
}

static void set_user_id_counts_where_it_changes_the_user(void **state)
{
	make_elf64("own", own_machine(), GLIBC, "GNU");
	assert_int_equal(chmod(path_of("own"), 04755), 0);
	assert_int_equal(verdict_of("own"), REACH_YES);
	if (getuid() != 0)
		skip();
	make_elf64("setuid", own_machine(), GLIBC, "GNU");
	assert_int_equal(chown(path_of("setuid"), 65534, 0), 0);
	assert_int_equal(chmod(path_of("setuid"), 04755), 0);
	assert_int_equal(verdict_of("setuid"), REACH_SETID);
}

static void what_is_not_there_is_not_found(void **state)
{
	make_file("plain", "x", 1);
	chmod(path_of("plain"), 0644);
	assert_int_equal(verdict_of("no-such-command"), REACH_NOT_FOUND);
	assert_int_equal(verdict_of("plain"), REACH_NOT_FOUND);
	assert_int_equal(verdict_of(""), REACH_NOT_FOUND);
	assert_int_equal(verdict_of(directory), REACH_NOT_FOUND);
}

static void a_disabled_shim_is_said_to_be(void **state)
{
	setenv("TWSHIM_DISABLED", "1", 1);
	assert_int_equal(verdict_of("sh"), REACH_DISABLED);
	setenv("TWSHIM_DISABLED", "0", 1);
	assert_int_equal(verdict_of("sh"), REACH_YES);
	unsetenv("TWSHIM_DISABLED");
}

/* --------------------------------------------------------------------- processes */

/* A process, stopped, that was started with these variables. */
static pid_t start(char *const *environment)
{
	char shell[] = "/bin/sh", option[] = "-c", script[] = "kill -STOP $$; :";
	char *const argv[] = {shell, option, script, NULL};
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		/* The loader says that it could not. */
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		execve(shell, argv, environment);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void a_process_without_it_is_told_from_one_that_could_not_load_it(void **state)
{
	char preload[] = "LD_PRELOAD=/no/such/libtwshim.so";
	char *const none[] = {NULL}, *const asked[] = {preload, NULL};
	pid_t pid = start(none);
	struct reach reach = reach_pid(pid, NULL);

	end(pid);
	assert_int_equal(reach.verdict, REACH_NOT_LOADED);
	assert_non_null(strstr(reach.why, "without the shim"));
	pid = start(asked);
	reach = reach_pid(pid, NULL);
	end(pid);
	assert_int_equal(reach.verdict, REACH_NOT_LOADED);
	assert_non_null(strstr(reach.why, "could not load"));
}

static void a_process_that_is_gone_is_not_found(void **state)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(reach_pid(pid, NULL).verdict, REACH_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_facts_decide),
	    cmocka_unit_test(every_verdict_has_a_name_and_a_cure_where_there_is_one),
	    cmocka_unit_test(the_first_line_is_read_as_the_kernel_reads_it),
	    cmocka_unit_test(
		an_interpreter_that_does_not_fit_is_none_and_an_argument_is_cut),
	    cmocka_unit_test(what_env_runs_is_known),
	    cmocka_unit_test(made_programs_are_judged_by_their_headers),
	    cmocka_unit_test(damaged_programs_do_no_harm),
	    cmocka_unit_test(this_test_and_the_shell_are_reached),
	    cmocka_unit_test(scripts_are_followed_to_their_interpreter),
	    cmocka_unit_test(a_script_is_said_to_be_one),
	    cmocka_unit_test(set_user_id_counts_where_it_changes_the_user),
	    cmocka_unit_test(what_is_not_there_is_not_found),
	    cmocka_unit_test(a_disabled_shim_is_said_to_be),
	    cmocka_unit_test(
		a_process_without_it_is_told_from_one_that_could_not_load_it),
	    cmocka_unit_test(a_process_that_is_gone_is_not_found),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
