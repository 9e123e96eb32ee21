/* SPDX-License-Identifier: MIT
 *
 * What a supervisor does for a policy while a call of a program waits: sets the options
 * of its socket that the rule asks for. Close modes that may lose data are left to the
 * shim, which knows who else holds a socket: reset and reset-drained count as
 * unsupported, and so does a port_ring.
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

/* A socket is about to connect: decides, and sets. `ret_flags`: enum tws_conn_flag. */
void policy_at_connect(struct policy_at_call *policy, int fd,
		       const struct tws_subject *subject, const struct tws_address *to,
		       struct publish_decision *ret_decision, uint32_t *ret_flags);

/* A socket is about to be bound. */
void policy_at_bind(const struct policy_at_call *policy, int fd,
		    const struct tws_subject *subject, bool to_port_0);

/* A connection with these flags is about to be closed: as it looks, how it will end if
 * no TIME_WAIT is left; TWS_END_NONE: that is not known. */
enum tws_ending policy_at_close(int fd, uint32_t flags);

#endif
