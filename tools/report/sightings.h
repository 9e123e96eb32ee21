/* SPDX-License-Identifier: MIT
 *
 * Prints which programs were seen behind unowned sockets.
 */
#ifndef TWS_TOOLS_REPORT_SIGHTINGS_H
#define TWS_TOOLS_REPORT_SIGHTINGS_H

#include <jansson.h>
#include <stdio.h>

#include "tools/model/owners.h"
#include "tools/observe/sightings.h"

/* `owners` is the state after the look; `color` is for the titles. */
void sightings_print_text(FILE *out, const struct sightings *sightings,
			  const struct owners *owners, bool color);

/* Returns an array of objects, or NULL. */
json_t *sightings_json(const struct sightings *sightings, const struct owners *owners);

#endif
