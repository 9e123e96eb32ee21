/* SPDX-License-Identifier: MIT
 *
 * The names of an application as members of a JSON object, the same in all commands.
 */
#ifndef TWS_TOOLS_NAME_FIELDS_H
#define TWS_TOOLS_NAME_FIELDS_H

#include <jansson.h>

#include "tools/model/model.h"

/* Sets app, exe, unit, container, script, user and parent; null where there is none, or
 * where its processes differ. With `command`, also the command line of `process`, read
 * from /proc while it lives; it may hold secrets, so nothing that others can read may
 * contain it. `process` is NULL for all of them: the latest one stands for the parent and
 * the command. Returns 0 or -ENOMEM. */
int name_fields_set(json_t *object, const struct model *model,
		    const struct model_app *app, const struct model_process *process,
		    bool command);

#endif
