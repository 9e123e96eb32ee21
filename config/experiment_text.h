/* SPDX-License-Identifier: MIT
 *
 * An experiment of one line: "close=fin-reset,to=10.0.0.7:6379". It is a one-line rule
 * whose match becomes the match of the experiment. Half of the connections get its
 * action; the other half are left alone.
 */
#ifndef TWS_CONFIG_EXPERIMENT_TEXT_H
#define TWS_CONFIG_EXPERIMENT_TEXT_H

#include "config/draft.h"

/* Reads the text as the experiment of the draft. Complains if there is one already. */
void tws_experiment_text_read(struct tws_draft *draft, const char *text);

#endif
