/* SPDX-License-Identifier: MIT
 *
 * twshim dump: every field of one segment, for a bug report.
 */
#include "tools/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/base/cli.h"
#include "tools/segments/dump.h"
#include "tools/segments/reader.h"

static const struct cli_option OPTIONS[] = {{0}};

static const struct cli_command COMMAND = {
    .name = "dump",
    .operands = "FILE",
    .summary =
	"Every field of a segment, as one JSON object, schema twshim.dump/1: for "
	"a bug report.\nFILE is a .seg or .totals file of a run-time directory, or "
	"a copy of one. It may be\ndamaged, or come from another host: \"problem\" "
	"then says why no command reads it.\n",
    .notes = "Segments are in /run/twshim/UID or /dev/shm/twshim-UID. `ls -t` shows the "
	     "newest first.\n",
    .options = OPTIONS,
    .most_operands = 1,
};

/* All of the file, or NULL with errno set. */
static char *read_bytes(int fd, size_t size)
{
	char *bytes = malloc(size + 1); /* an empty file is one too */
	size_t done = 0;
	ssize_t length = 1;

	while (bytes && done < size && length > 0) {
		length = pread(fd, bytes + done, size - done, (off_t)done);
		if (length > 0)
			done += (size_t)length;
		else if (length < 0 && errno == EINTR)
			length = 1;
	}
	if (bytes && length < 0) {
		free(bytes);
		return NULL;
	}
	if (bytes) /* it was truncated meanwhile: what is gone reads as 0 */
		memset(bytes + done, 0, size - done);
	return bytes;
}

static int dump_open_file(int fd, const char *path)
{
	struct stat st;
	char *bytes;

	if (fstat(fd, &st) != 0)
		return cli_fail(CLI_FAILURE, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return cli_fail(CLI_FAILURE, "%s: not a regular file: name a .seg file",
				path);
	if (st.st_size > READER_SIZE_MAX)
		return cli_fail(CLI_FAILURE,
				"%s: %lld bytes: no segment is larger than %u: name a "
				".seg file",
				path, (long long)st.st_size, READER_SIZE_MAX);
	bytes = read_bytes(fd, (size_t)st.st_size);
	if (!bytes)
		return cli_fail(CLI_FAILURE, "%s: %s", path, strerror(errno));
	segment_dump(stdout, path, bytes, (size_t)st.st_size);
	free(bytes);
	return cli_finish_output();
}

int cmd_dump(int argc, char **argv)
{
	int status = cli_read(&COMMAND, argc, argv, NULL), fd;
	const char *path;

	if (status >= 0)
		return status;
	if (optind == argc)
		return cli_fail(CLI_USAGE, "dump: name one file: see twshim dump --help");
	path = argv[optind];
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return cli_fail(CLI_FAILURE, "%s: %s", path, strerror(errno));
	status = dump_open_file(fd, path);
	close(fd);
	return status;
}
