/* SPDX-License-Identifier: MIT
 *
 * Runs a command as on a kernel that lacks a feature: a seccomp filter answers one system
 * call with an error. The shim leaves a process alone that puts a filter upon itself, so
 * this program is started without the shim, and the command inherits the filter.
 *
 * refuse CALL ERROR COMMAND...                the call of that number
 * refuse CALL:LEVEL:OPTION ERROR COMMAND...   only with this second and third argument
 * refuse CALL:*:OPTION ERROR COMMAND...       only with this third argument
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define LOAD(member)                                                                     \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
#define ANSWER(value)	    BPF_STMT(BPF_RET | BPF_K, value)

static int install(struct sock_filter *code, unsigned short length)
{
	struct sock_fprog program = {.len = length, .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int refuse_call(unsigned call, unsigned error)
{
	struct sock_filter code[] = {
	    LOAD(nr),
	    UNLESS(call, 1),
	    ANSWER(SECCOMP_RET_ERRNO | error),
	    ANSWER(SECCOMP_RET_ALLOW),
	};

	return install(code, sizeof(code) / sizeof(*code));
}

static int refuse_option(unsigned call, const char *level, unsigned option,
			 unsigned error)
{
	struct sock_filter code[] = {
	    LOAD(nr),
	    UNLESS(call, 5),
	    LOAD(args[2]),
	    UNLESS(option, 3),
	    LOAD(args[1]),
	    UNLESS((unsigned)strtoul(level, NULL, 10), 1),
	    ANSWER(SECCOMP_RET_ERRNO | error),
	    ANSWER(SECCOMP_RET_ALLOW),
	};

	if (*level == '*') /* any level: the comparison always goes to the answer */
		code[5].jf = 0;
	return install(code, sizeof(code) / sizeof(*code));
}

int main(int argc, char **argv)
{
	const char *level, *option;
	unsigned call, error;
	int failed;

	if (argc < 4)
		return 2;
	call = (unsigned)strtoul(argv[1], NULL, 10);
	error = (unsigned)strtoul(argv[2], NULL, 10);
	level = strchr(argv[1], ':');
	option = level ? strchr(level + 1, ':') : NULL;
	failed = option ? refuse_option(call, level + 1,
					(unsigned)strtoul(option + 1, NULL, 10), error)
			: refuse_call(call, error);
	if (failed) {
		perror("refuse");
		return 126;
	}
	execvp(argv[3], argv + 3);
	perror(argv[3]);
	return 127;
}
