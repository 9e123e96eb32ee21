/* SPDX-License-Identifier: MIT */
#include "tools/base/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static mode_t usual_mode(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return 0666 & ~mask;
}

static int use_descriptor(struct output *output, int fd)
{
	if (fd < 0)
		return -errno;
	output->file = fdopen(fd, "w");
	if (output->file)
		return 0;
	close(fd);
	return -ENOMEM;
}

/* In the same directory, so that rename() works. */
static int open_temporary(struct output *output, mode_t mode)
{
	int fd, result;

	if (asprintf(&output->temporary, "%s.XXXXXX", output->path) < 0) {
		output->temporary = NULL;
		return -ENOMEM;
	}
	fd = mkostemp(output->temporary, O_CLOEXEC);
	if (fd < 0) {
		result = -errno;
		free(output->temporary);
		output->temporary = NULL;
		return result;
	}
	fchmod(fd, mode);
	return use_descriptor(output, fd);
}

int output_open(struct output *ret_output, const char *path)
{
	struct stat st;
	bool exists;
	int result;

	*ret_output = (struct output){0};
	if (strcmp(path, "-") == 0)
		return use_descriptor(ret_output,
				      fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3));
	exists = stat(path, &st) == 0;
	if (exists && !S_ISREG(st.st_mode))
		return use_descriptor(ret_output, open(path, O_WRONLY | O_CLOEXEC));
	/* Follows a symbolic link, so that it stays a link. */
	ret_output->path = exists ? realpath(path, NULL) : strdup(path);
	if (!ret_output->path)
		return -errno;
	result = open_temporary(ret_output, exists ? st.st_mode & 07777 : usual_mode());
	if (result != 0)
		output_abandon(ret_output);
	return result;
}

int output_commit(struct output *output)
{
	bool failed = ferror(output->file) != 0;
	int result = fclose(output->file) != 0 ? -errno : failed ? -EIO : 0;

	output->file = NULL;
	if (result == 0 && output->temporary &&
	    rename(output->temporary, output->path) != 0)
		result = -errno;
	if (result == 0) {
		free(output->temporary);
		output->temporary = NULL;
	}
	output_abandon(output);
	return result;
}

void output_abandon(struct output *output)
{
	if (output->file)
		fclose(output->file);
	if (output->temporary)
		unlink(output->temporary);
	free(output->temporary);
	free(output->path);
	*output = (struct output){0};
}
