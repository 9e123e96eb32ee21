/* SPDX-License-Identifier: MIT
 *
 * The argument strings stay where the kernel put them, on the stack of the first thread,
 * which is never unmapped. Programs that show a title in ps(1) write it there, so they
 * are read when they are needed. The array of pointers to them is not used later, because
 * a program may change it.
 */
#include "shim/book/own_names.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim/book/self.h"
#include "shim/shared/names.h"
#include "shim/shared/sys.h"

#define BUFFER_SIZE 4096

static struct {
	const char *text;
	size_t length;
} arguments;

/* The kernel puts the arguments right before the environment. Where that does not hold,
 * argv may be anything and is not touched. */
void tws_own_names_begin(int argc, char **argv)
{
	const char *last;

	if (argc <= 0 || argc > INT32_MAX / 16 || argv + argc + 1 != environ)
		return;
	last = argv[argc - 1];
	if (!argv[0] || last < argv[0])
		return;
	arguments.text = argv[0];
	arguments.length = (size_t)(last - argv[0]) + strlen(last) + 1;
}

static void name_script(struct tws_names *names, const char *exe, char *buffer)
{
	long length;

	if (arguments.text) {
		tws_names_script(names, exe, arguments.text, arguments.length);
		return;
	}
	/* Not /proc/self: the first thread may have ended before the others. */
	length = tws_read_file("/proc/thread-self/cmdline", buffer, BUFFER_SIZE);
	tws_names_script(names, exe, buffer, length > 0 ? (size_t)length : 0);
}

static void name_cgroup(struct tws_names *names, char *buffer)
{
	tws_read_file("/proc/self/cgroup", buffer, BUFFER_SIZE);
	tws_names_cgroup(names, buffer);
}

void tws_own_names(struct tws_names *ret_names, const char *exe)
{
	char *buffer;

	tws_names_set(ret_names->given, sizeof(ret_names->given), tws_self.app,
		      strlen(tws_self.app));
	/* Not on the stack, which may be that of a signal. */
	buffer = tws_mapping(tws_sys6(SYS_mmap, 0, BUFFER_SIZE, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (!buffer)
		return;
	name_script(ret_names, exe, buffer);
	name_cgroup(ret_names, buffer);
	tws_sys2(SYS_munmap, buffer, BUFFER_SIZE);
}
