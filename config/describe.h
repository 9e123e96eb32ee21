/* SPDX-License-Identifier: MIT
 *
 * Out of an image again: the effective policy as text that would compile to the same
 * policy, and as JSON; and the settings themselves, for the manual. The image must have
 * passed tws_policy_validate().
 */
#ifndef TWS_CONFIG_DESCRIBE_H
#define TWS_CONFIG_DESCRIBE_H

#include <jansson.h>

#include "config/settings.h"

/* Texts are malloc()ed and end with a newline; NULL without memory. JSON objects are new
 * references. What holds its fallback is left out. */

char *tws_describe_text(const struct tws_policy_image *image);

/* {"settings":{...},"rules":[...],"experiment":{...}}: named as in the language. */
json_t *tws_describe_json(const struct tws_policy_image *image);

/* What an action asks for, on one line: "close = "fin-reset"; late_bind = true;". */
char *tws_describe_action(const struct tws_action *action);

/* All settings: to read on a terminal, as a Markdown table, as a JSON array. */
char *tws_describe_settings_text(void);
char *tws_describe_settings_markdown(void);
json_t *tws_describe_settings_json(void);

#endif
