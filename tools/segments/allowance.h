/* SPDX-License-Identifier: MIT
 *
 * What a reading takes at most from each user who is not trusted: files of holes cost
 * their user nothing, and must cost us little. It is kept by the user, so that it makes
 * no difference in how many directories the files are.
 */
#ifndef TWS_TOOLS_ALLOWANCE_H
#define TWS_TOOLS_ALLOWANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ALLOWANCE_FILES 10000u
#define ALLOWANCE_BYTES (1ull << 30)

struct allowance {
	uint32_t user;
	uint32_t files; /* what is left */
	uint64_t bytes;
};

struct allowances {
	struct allowance *list;
	size_t count;
	size_t last; /* the one that was used last */
};

/* Whether files of this user are trusted: root's and our own are. */
bool allowance_is_trusted(uint32_t user);

/* Takes that many files and bytes of a user. False: there are not so many left, or
 * no files at all. A trusted user may have any number. */
bool allowance_take(struct allowances *allowances, uint32_t user, uint32_t files,
		    uint64_t bytes);

/* Begins again. */
void allowance_renew(struct allowances *allowances);

void allowance_free(struct allowances *allowances);

#endif
