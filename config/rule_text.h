/* SPDX-License-Identifier: MIT
 *
 * A one-line rule: "close=reset,to=10.0.0.7:6379". The settings of rule, match and
 * stop_if are written side by side, separated by commas; exe, to and uid may be
 * repeated. The values go through the same table and setters as those of a file.
 */
#ifndef TWS_CONFIG_RULE_TEXT_H
#define TWS_CONFIG_RULE_TEXT_H

#include "config/draft.h"

/* Reads the text into the next rule of the draft. `number`, counted from 1, is used as
 * the line number. */
void tws_rule_text_read(struct tws_draft *draft, const char *text, unsigned number);

#endif
