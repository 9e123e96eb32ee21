/* SPDX-License-Identifier: MIT
 *
 * A run-time directory for one test, with a reader for it and a segment to save there.
 * Include it after cmocka.h.
 */
#ifndef TWS_TESTS_SAVED_DIRECTORY_H
#define TWS_TESTS_SAVED_DIRECTORY_H

#include <stdlib.h>

#include "tests/unit/saved_segment.h"
#include "tools/segments/rundir.h"

#define SAVED_PATH 64

/* `path`: a template of mkdtemp(3). The segment has a destination 1, without counts. */
static inline int saved_directory(char *path, struct reader *ret_reader,
				  struct saved *ret_saved)
{
	int fd;

	assert_non_null(mkdtemp(path));
	fd = tws_rundir_open(path);
	assert_true(fd >= 0);
	assert_int_equal(reader_init(ret_reader), 0);
	saved_init(ret_saved, "/usr/bin/x", ret_reader);
	saved_destination(ret_saved, saved_ipv4(7, 6379));
	return fd;
}

static inline void saved_directory_remove(const char *path, int fd, struct reader *reader)
{
	char command[SAVED_PATH + 16];

	close(fd);
	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	assert_int_equal(system(command), 0);
	reader_free(reader);
}

#endif
