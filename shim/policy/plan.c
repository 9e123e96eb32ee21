/* SPDX-License-Identifier: MIT
 *
 * The table of plans, in anonymous memory: only the parts that are used take up memory.
 */
#include "shim/policy/plan.h"

#include <sys/mman.h>

#include "shim/shared/policy_image.h"
#include "shim/shared/sys.h"

#define SIZE (TWS_MAX_CONNECTIONS * sizeof(struct tws_plan))

TWS_HOT_DATA struct tws_plan *tws_plans;

static struct tws_plan *plan_at(const struct tws_conn *conn)
{
	struct tws_plan *plans = __atomic_load_n(&tws_plans, __ATOMIC_ACQUIRE);
	uint32_t index = conn->word & 0xffffff;

	return plans && index < TWS_MAX_CONNECTIONS ? &plans[index] : NULL;
}

const struct tws_plan *tws_plan_of(const struct tws_conn *conn)
{
	const struct tws_plan *plan = plan_at(conn);
	uint64_t cookie = plan ? __atomic_load_n(&plan->cookie, __ATOMIC_ACQUIRE) : 0;

	return cookie && cookie == conn->slot->cookie ? plan : NULL;
}

void tws_plan_clear(const struct tws_conn *conn)
{
	struct tws_plan *plan = plan_at(conn);

	if (plan)
		__atomic_store_n(&plan->cookie, 0, __ATOMIC_RELAXED);
}

/* Two threads may both make one; the slower one removes its own. */
static void make_plans(void)
{
	struct tws_plan *none = NULL;
	struct tws_plan *made =
	    tws_mapping(tws_sys6(SYS_mmap, 0, SIZE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));

	if (made && !__atomic_compare_exchange_n(&tws_plans, &none, made, false,
						 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		tws_sys2(SYS_munmap, made, SIZE);
}

void tws_plan_set(const struct tws_conn *conn, uint32_t close, uint32_t drain_ms)
{
	struct tws_plan *plan;

	if (!__atomic_load_n(&tws_plans, __ATOMIC_ACQUIRE))
		make_plans();
	plan = plan_at(conn);
	if (!plan)
		return;
	plan->close = close;
	plan->drain_ms = drain_ms;
	__atomic_store_n(&plan->cookie, conn->slot->cookie, __ATOMIC_RELEASE);
}
