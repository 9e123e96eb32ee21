/* SPDX-License-Identifier: MIT */
#include "tools/segments/allowance.h"

#include <stdlib.h>
#include <unistd.h>

#include "tools/base/array.h"

bool allowance_is_trusted(uint32_t user)
{
	return user == 0 || user == geteuid();
}

/* NULL: out of memory. */
static struct allowance *find(struct allowances *allowances, uint32_t user)
{
	struct allowance *grown;

	if (allowances->last < allowances->count &&
	    allowances->list[allowances->last].user == user)
		return &allowances->list[allowances->last];
	for (size_t i = 0; i < allowances->count; i++)
		if (allowances->list[i].user == user) {
			allowances->last = i;
			return &allowances->list[i];
		}
	grown = array_grow(allowances->list, allowances->count, sizeof(*grown));
	if (!grown)
		return NULL;
	allowances->list = grown;
	allowances->last = allowances->count++;
	grown[allowances->last] =
	    (struct allowance){user, ALLOWANCE_FILES, ALLOWANCE_BYTES};
	return &grown[allowances->last];
}

bool allowance_take(struct allowances *allowances, uint32_t user, uint32_t files,
		    uint64_t bytes)
{
	struct allowance *left;

	if (allowance_is_trusted(user))
		return true;
	left = find(allowances, user);
	if (!left || !left->files || left->files < files || left->bytes < bytes)
		return false;
	left->files -= files;
	left->bytes -= bytes;
	return true;
}

void allowance_renew(struct allowances *allowances)
{
	allowances->count = 0;
}

void allowance_free(struct allowances *allowances)
{
	free(allowances->list);
	*allowances = (struct allowances){0};
}
