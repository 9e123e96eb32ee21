/* SPDX-License-Identifier: MIT */
#include "tools/base/array.h"

#include <stdbool.h>
#include <stdlib.h>

#define LEAST 8 /* a power of two */

void *array_grow(void *array, size_t count, size_t element_size)
{
	bool is_full = count >= LEAST && (count & (count - 1)) == 0;

	if (array && !is_full)
		return array;
	return reallocarray(array, count < LEAST ? LEAST : 2 * count, element_size);
}
