/* SPDX-License-Identifier: MIT */
#include "tools/base/version.h"

#include <stdio.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

#include "shim/shared/policy_image.h"
#include "shim/shared/segment.h"

#define PAIR_OF(major, minor) #major "." #minor
#define PAIR(major, minor)    PAIR_OF(major, minor)

const char *version_commit = "unknown";
const char version_segment_abi[] = PAIR(TWS_ABI_MAJOR, TWS_ABI_MINOR);
const char version_policy_abi[] = PAIR(TWS_POLICY_ABI_MAJOR, TWS_POLICY_ABI_MINOR);

#ifdef TWSHIM_STATIC
#define HOW_LINKED ", linked statically"
#else
#define HOW_LINKED ""
#endif

const char *version_libc(char *buffer, size_t size)
{
#ifdef __GLIBC__
	snprintf(buffer, size, "glibc %s%s", gnu_get_libc_version(), HOW_LINKED);
#else
	snprintf(buffer, size, "not glibc" HOW_LINKED);
#endif
	return buffer;
}
