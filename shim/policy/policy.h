/* SPDX-License-Identifier: MIT
 *
 * The policy in force in this process: finds the image, picks the rule for a connection,
 * and counts the outcome. A new image is noticed by one load from memory at each
 * connection. Images are copied into private memory, so that nobody can change one while
 * it is in use.
 */
#ifndef TWS_SHIM_POLICY_H
#define TWS_SHIM_POLICY_H

#include "shim/conn/conn_move.h"
#include "shim/policy/plan.h"
#include "shim/shared/policy_image.h"
#include "shim/policy/layers.h"
#include "shim/shared/sys.h"

/* In a forked child: what the parent read still holds. */
void tws_policy_forked(void);

struct tws_settings tws_policy_settings(void);

/* What a connection to `remote` is to get. `rule` and `arm` are 1 + index, 0: none. */
struct tws_decision {
	struct tws_action action;
	struct tws_rule_status *status; /* NULL: none */
	uint16_t rule;
	uint8_t arm;
	bool short_lived_only;
	bool matched;
};

/* Whether the policy in force has a rule or an experiment for this process's executable
 * and user. If not, it holds at most settings, which are noted in the book (NULL: none),
 * and no address needs to be read before the call. */
bool tws_policy_concerns(struct tws_book *book);

/* `remote` is NULL before bind(), where no destination is known. Then the first rule
 * decides that matches this process's executable and user and asks for something at
 * bind(). */
struct tws_decision tws_policy_decide(struct tws_book *book,
				      const struct tws_address *remote);

/* shim/policy/apply.c: sets what the rule asks for. */

/* To be called before bind() and before connect() of a socket that is not connected
 * yet. */
void tws_apply_bind(int fd, bool to_port_0);

/* After bind() failed with EADDRINUSE. Whether a rule has set SO_REUSEADDR now. */
TWS_COLD bool tws_apply_bind_again(int fd);

/* Takes a port for a socket that late_bind left without one. */
TWS_COLD bool tws_apply_bind_now(int fd);
void tws_apply_connect(int fd, const struct tws_conn *conn);

/* The connection is about to end as `end` says: does what the rule decides at close,
 * which may change the verdict. */
void tws_carry_out_close(struct tws_end *end);

/* The socket may connect again, perhaps without this rule: takes away what fin-reset set.
 */
TWS_COLD void tws_apply_undo_close(int fd, const struct tws_conn *conn);

static inline void tws_apply_close(struct tws_end *end)
{
	if (tws_unlikely(__atomic_load_n(&tws_plans, __ATOMIC_RELAXED)))
		tws_carry_out_close(end);
}

/* Whether a rule wants to reset the connection of `fd` when it closes. */
TWS_COLD bool tws_policy_plans_reset(int fd);

static inline bool tws_policy_resets(int fd)
{
	return tws_unlikely(__atomic_load_n(&tws_plans, __ATOMIC_RELAXED)) &&
	       tws_policy_plans_reset(fd);
}

/* The program has just set SO_LINGER {1,0} on a connection: `graceful`, and `fin-
 * reset` that overrides, remove it. */
void tws_apply_app_linger(int fd, const struct tws_conn *conn);

#endif
