/* SPDX-License-Identifier: MIT
 *
 * The breaker of a rule, in the process itself and in an observer that carries out a
 * policy. `status` is the rule's entry in the book's section of rules, and
 * `index` is its place there, from 0.
 */
#ifndef TWS_SHIM_BREAKER_H
#define TWS_SHIM_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/shared/policy_image.h"
#include "shim/shared/segment.h"

/* Remembers the limits of a rule (max_resets_per_second, stop_if). */
void tws_breaker_set_limits(uint32_t index, const struct tws_action *action);

/* A connection falls to the rule. False: its breaker has tripped, and the rule is off. */
bool tws_breaker_matched(struct tws_rule_status *status);

/* A connection of the rule failed, was reset by its peer, or lost `bytes` by our reset.
 */
void tws_breaker_failed(struct tws_rule_status *status, uint32_t index);
void tws_breaker_peer_reset(struct tws_rule_status *status, uint32_t index);
void tws_breaker_discarded(struct tws_rule_status *status, uint32_t index,
			   uint64_t bytes);

/* A reset is about to happen. False: the rule is off, or the cap for this second is
 * reached. */
bool tws_breaker_may_reset(struct tws_rule_status *status, uint32_t index);

#endif
