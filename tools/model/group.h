/* SPDX-License-Identifier: MIT
 *
 * By which of its names a process is grouped with others: --by of the commands.
 */
#ifndef TWS_TOOLS_GROUP_H
#define TWS_TOOLS_GROUP_H

#include <stdbool.h>
#include <stddef.h>

#include "shim/shared/segment.h"

enum model_by {
	MODEL_BY_APP, /* the application's name, and the executable */
	MODEL_BY_EXE,
	MODEL_BY_UNIT,
	MODEL_BY_CONTAINER,
	MODEL_BY_USER,
};

extern const char *const model_by_words[]; /* in that order, then NULL */

/* The row of an option for a field of type int. */
#define MODEL_BY_OPTION(request, field)                                                  \
	{                                                                                \
		"by", 0, "NAME", "group by app (default), exe, unit, container or user", \
		    cli_take_choice, .offset = offsetof(request, field),                 \
				     .words = model_by_words                             \
	}

/* What the group of this process is called. Returns a pointer into the header or into
 * `buffer`. */
const char *group_name(enum model_by by, const struct tws_header *header, char *buffer,
		       size_t size);

/* Whether a word that a user typed means this process: one of its names, or the path of
 * its executable. A unit's suffix may be left out. */
bool group_is_called(const struct tws_header *header, const char *word);

/* The name of a user, or the number. Returns `buffer`. */
const char *group_user(uint32_t uid, char *buffer, size_t size);

#endif
