/* SPDX-License-Identifier: MIT
 *
 * A rule of one line: "close=reset,to=10.0.0.7:6379". The settings of rule, match and
 * stop_if stand side by side, parted by commas; exe, to and uid may be repeated. Its
 * values go through the same table and setters as a file's.
 */
#ifndef TWS_CONFIG_RULE_TEXT_H
#define TWS_CONFIG_RULE_TEXT_H

#include "config/draft.h"

/* Reads the text into the draft's next rule. `number`, from 1, stands for the line. */
void tws_rule_text_read(struct tws_draft *draft, const char *text, unsigned number);

#endif
