/* SPDX-License-Identifier: MIT
 *
 * The guard rails: settings that are each in order and together are not. They look at a
 * whole draft and complain: errors where it must not run, warnings where it runs and
 * does not do what its writer may hope.
 */
#ifndef TWS_CONFIG_GUARD_H
#define TWS_CONFIG_GUARD_H

#include "config/draft.h"

void tws_guard(struct tws_draft *draft);

#endif
