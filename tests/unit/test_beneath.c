/* SPDX-License-Identifier: MIT
 *
 * What another user may have put into a directory, opened by openat2() and without it.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tools/segments/beneath.h"

static int (*const ways[])(int directory, const char *name,
			   int flags) = {open_beneath, open_beneath_by_hand};

#define EACH_WAY(way) for (size_t way = 0; way < sizeof(ways) / sizeof(*ways); way++)

static int open_as(size_t way, const char *above, const char *name, int flags)
{
	int directory = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = ways[way](directory, name, flags);

	assert_true(directory >= 0);
	close(directory);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static void links_and_mounts_are_not_followed(void **state)
{
	char path[] = "/tmp/twshim-beneath.XXXXXX", link[64], fifo[64];

	assert_non_null(mkdtemp(path));
	snprintf(link, sizeof(link), "%s/link", path);
	snprintf(fifo, sizeof(fifo), "%s/fifo", path);
	assert_int_equal(symlink("fifo", link), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	EACH_WAY(way)
	{
		assert_int_equal(open_as(way, path, "link", 0), -ELOOP);
		assert_int_equal(open_as(way, path, "none", 0), -ENOENT);
		/* Without waiting for a writer. */
		assert_int_equal(open_as(way, path, "fifo", 0), 0);
		assert_int_equal(open_as(way, path, "fifo", O_PATH), 0);
		assert_int_equal(open_as(way, path, "fifo", O_DIRECTORY), -ENOTDIR);
		assert_int_equal(open_as(way, "/", "proc", O_DIRECTORY), -EXDEV);
		assert_int_equal(open_as(way, "/", "proc", O_PATH), -EXDEV);
	}
	unlink(link);
	unlink(fifo);
	rmdir(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(links_and_mounts_are_not_followed),
	};

	return cmocka_run_group_tests_name("beneath", tests, NULL, NULL);
}
