/* SPDX-License-Identifier: MIT
 *
 * Turns an image back into text that compiles to the same policy, and into JSON; and
 * describes the settings for the manual. The image must have passed
 * tws_policy_validate().
 */
#ifndef TWS_CONFIG_DESCRIBE_H
#define TWS_CONFIG_DESCRIBE_H

#include <jansson.h>

#include "config/settings.h"

/* Texts are malloc()ed and end with a newline; NULL means out of memory. JSON objects
 * are new references. Settings that have their fallback are left out. */

char *tws_describe_text(const struct tws_policy_image *image);

/* Returns {"settings":{...},"rules":[...],"experiment":{...}}, with the names of the
 * language. */
json_t *tws_describe_json(const struct tws_policy_image *image);

/* Prints the settings of an action on one line: "close = "fin-reset"; late_bind =
 * true;". */
char *tws_describe_action(const struct tws_action *action);

/* Prints all settings: for reading on a terminal, as a Markdown table, or as a JSON
 * array. */
char *tws_describe_settings_text(void);
char *tws_describe_settings_markdown(void);
json_t *tws_describe_settings_json(void);

#endif
