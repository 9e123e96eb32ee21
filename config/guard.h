/* SPDX-License-Identifier: MIT
 *
 * Checks combinations: settings that are valid alone but wrong together. The checks read
 * a whole draft. They report errors where the policy must not run, and warnings where it
 * runs but may not do what its writer hopes.
 */
#ifndef TWS_CONFIG_GUARD_H
#define TWS_CONFIG_GUARD_H

#include "config/draft.h"

void tws_guard(struct tws_draft *draft);

#endif
