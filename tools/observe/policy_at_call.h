/* SPDX-License-Identifier: MIT
 *
 * What a supervisor does for a policy while a connect() or bind() of a program waits:
 * sets the options of its socket that the rule asks for, and plans what the close is to
 * do (policy_at_close.h). A port_ring counts as unsupported, and so does what a close is
 * to do where the program's filter does not tell of closes.
 */
#ifndef TWS_TOOLS_OBSERVE_POLICY_AT_CALL_H
#define TWS_TOOLS_OBSERVE_POLICY_AT_CALL_H

#include "shim/shared/match.h"
#include "tools/observe/publish.h"

struct policy_at_call {
	const struct tws_policy_image *image; /* NULL: none */
	uint64_t draws;
	int usual_linger2; /* what TCP_LINGER2 says of a socket where nobody set it */
};

void policy_at_call_init(struct policy_at_call *policy,
			 const struct tws_policy_image *image);

/* Whether close() or bind() must wait as well. Pure. */
bool policy_wants_closes(const struct tws_policy_image *image);
bool policy_wants_binds(const struct tws_policy_image *image);

/* A socket is about to connect: decides. What to carry out; NULL: nothing. */
const struct tws_action *policy_decide(struct policy_at_call *policy,
				       const struct tws_subject *subject,
				       const struct tws_address *to,
				       struct publish_decision *ret_decision);

/* Carries it out, or plans it for the close. `sees_close`: the close will be seen.
 * `flags`: enum tws_conn_flag. */
void policy_carry_out(const struct policy_at_call *policy, int fd,
		      const struct tws_action *action, bool sees_close,
		      struct publish_decision *decision, uint32_t *flags);

/* A socket is about to be bound. True: late_bind had it take no port. */
bool policy_at_bind(const struct policy_at_call *policy, int fd,
		    const struct tws_subject *subject, bool to_port_0);

#endif
