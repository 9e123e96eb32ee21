/* SPDX-License-Identifier: MIT
 *
 * What became of each rule's connections, the cap on its resets, and the
 * breaker that turns a rule off when it does harm. The numbers live in the segment, so
 * that the report can say why a rule stopped.
 */
#include "shim/shared/breaker.h"

#include "shim/shared/clock.h"

#define ENOUGH 20 /* connections before a share means something */

static struct tws_action limits[TWS_RULES];

static void add(uint64_t *value, uint64_t amount)
{
	__atomic_fetch_add(value, amount, __ATOMIC_RELEASE);
}

void tws_breaker_set_limits(uint32_t index, const struct tws_action *action)
{
	limits[index] = *action;
}

bool tws_breaker_matched(struct tws_rule_status *status)
{
	add(&status->matched, 1);
	return !__atomic_load_n(&status->stopped, __ATOMIC_RELAXED);
}

static void stop(struct tws_rule_status *status, enum tws_stop_reason reason)
{
	__atomic_store_n(&status->stopped, (uint32_t)reason, __ATOMIC_RELAXED);
}

static bool over(uint64_t part, uint64_t whole, uint32_t ppm)
{
	return ppm && whole >= ENOUGH && part * 1000000 > whole * ppm;
}

void tws_breaker_failed(struct tws_rule_status *status, uint32_t index)
{
	add(&status->failed, 1);
	if (over(status->failed, status->matched, limits[index].stop_failed_ppm))
		stop(status, TWS_STOP_FAILED_SHARE);
}

void tws_breaker_peer_reset(struct tws_rule_status *status, uint32_t index)
{
	add(&status->peer_resets, 1);
	if (over(status->peer_resets, status->matched - status->failed,
		 limits[index].stop_peer_reset_ppm))
		stop(status, TWS_STOP_PEER_RESET_SHARE);
}

void tws_breaker_discarded(struct tws_rule_status *status, uint32_t index, uint64_t bytes)
{
	uint64_t bound = limits[index].stop_bytes_discarded;

	add(&status->bytes_discarded, bytes);
	if (bound && status->bytes_discarded > bound)
		stop(status, TWS_STOP_BYTES_DISCARDED);
}

/* The window is one word: the second in the upper half, its count in the lower. */
bool tws_breaker_may_reset(struct tws_rule_status *status, uint32_t index)
{
	uint64_t second = tws_now() / 1000000000u;
	uint64_t old, new;
	uint32_t cap;

	if (status->stopped)
		return false;
	add(&status->resets, 1);
	cap = limits[index].max_resets_per_second;
	if (!cap)
		return true;
	old = __atomic_load_n(&status->window, __ATOMIC_RELAXED);
	do {
		new = old >> 32 == (second & 0xffffffff) ? old + 1 : second << 32 | 1;
		if ((new & 0xffffffff) > cap)
			return false;
	} while (!__atomic_compare_exchange_n(&status->window, &old, new, true,
					      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return true;
}
