/* SPDX-License-Identifier: MIT */
#include "shim/shared/trust.h"

#include <fcntl.h>

#include "shim/shared/policy_image.h"
#include "shim/shared/sys.h"

#define ABOVE_MAX	32 /* directories above a file */
#define DIRECTORY_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static bool may_be_written_by_others(const struct stat *stat, tws_obeys obeys)
{
	return (stat->st_mode & (S_IWGRP | S_IWOTH)) || !obeys(stat->st_uid);
}

/* What is in a directory with the sticky bit only its owner can replace. */
static bool may_be_replaced_by_others(const struct stat *stat, tws_obeys obeys)
{
	return (stat->st_mode & (S_IWGRP | S_IWOTH) && !(stat->st_mode & S_ISVTX)) ||
	       !obeys(stat->st_uid);
}

bool tws_is_chain_trusted(int directory, tws_obeys obeys)
{
	struct stat stat = {0}, above = {0};
	int fd = directory;
	bool ret = tws_sys2(SYS_fstat, fd, &stat) == 0 &&
		   !may_be_written_by_others(&stat, obeys);

	for (int i = 0; ret && i < ABOVE_MAX; i++) {
		int next = (int)tws_sys4(SYS_openat, fd, "..", DIRECTORY_FLAGS, 0);

		if (fd != directory)
			tws_sys1(SYS_close, fd);
		fd = next;
		if (fd < 0 || tws_sys2(SYS_fstat, fd, &above) != 0)
			ret = false;
		else if (above.st_dev != stat.st_dev || above.st_ino == stat.st_ino)
			break;
		else
			ret = !may_be_replaced_by_others(&above, obeys);
		stat = above;
	}
	if (fd >= 0 && fd != directory)
		tws_sys1(SYS_close, fd);
	return ret;
}

bool tws_is_file_trusted(int fd, tws_obeys obeys, struct stat *ret_stat)
{
	return tws_sys2(SYS_fstat, fd, ret_stat) == 0 && S_ISREG(ret_stat->st_mode) &&
	       ret_stat->st_nlink == 1 &&
	       ret_stat->st_size >= (long)TWS_POLICY_FILE_SIZE &&
	       !may_be_written_by_others(ret_stat, obeys);
}
