/* SPDX-License-Identifier: MIT
 *
 * An experiment of one line: "close=fin-reset,to=10.0.0.7:6379". It is a rule of one line
 * whose match becomes the experiment's; half of the connections get its action, and the
 * other half are left alone.
 */
#ifndef TWS_CONFIG_EXPERIMENT_TEXT_H
#define TWS_CONFIG_EXPERIMENT_TEXT_H

#include "config/draft.h"

/* Reads the text as the draft's experiment. Complains if there is one already. */
void tws_experiment_text_read(struct tws_draft *draft, const char *text);

#endif
