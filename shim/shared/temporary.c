/* SPDX-License-Identifier: MIT */
#include "shim/shared/temporary.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "shim/shared/clock.h"
#include "shim/shared/segment.h"
#include "shim/shared/sys.h"
#include "shim/shared/text.h"

int tws_temporary_make(int directory, char ret_name[TWS_TEMPORARY_SIZE])
{
	struct tws_text text = tws_text_begin(ret_name, TWS_TEMPORARY_SIZE);

	tws_text_number(&text, (uint64_t)tws_sys1(SYS_gettid, 0));
	tws_text_add(&text, "-");
	tws_text_number(&text, tws_now());
	tws_text_add(&text, TWS_TEMPORARY_SUFFIX);
	return (int)tws_sys4(SYS_openat, directory, ret_name,
			     O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

void tws_share_as_directory(int directory, int fd)
{
	struct stat stat = {0};
	bool shared = tws_sys2(SYS_fstat, directory, &stat) == 0 &&
		      stat.st_mode & S_IRGRP &&
		      tws_sys3(TWS_RARELY(SYS_fchown), fd, -1, stat.st_gid) == 0;

	tws_sys2(SYS_fchmod, fd, shared ? 0640 : 0600);
}
