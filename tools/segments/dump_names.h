/* SPDX-License-Identifier: MIT
 *
 * For dump.c alone: the names of enumerators and flags, as in segment.h.
 */
#ifndef TWS_TOOLS_DUMP_NAMES_H
#define TWS_TOOLS_DUMP_NAMES_H

#include "shim/shared/segment.h"

/* clang-format off */
struct name {
	unsigned value;
	const char *name;
};

#define NAME(prefix, name) {TWS_##prefix##name, #name}
static const struct name connection_states[] = {
	NAME(CONN_, FREE), NAME(CONN_, CLAIMED), NAME(CONN_, CONNECTING), NAME(CONN_, OPEN),
	NAME(CONN_, ENDING), {0}};
static const struct name destination_states[] = {
	NAME(DESTINATION_, FREE), NAME(DESTINATION_, CLAIMED), NAME(DESTINATION_, READY), {0}};
static const struct name segment_states[] = {
	NAME(SEGMENT_, LIVE), NAME(SEGMENT_, EXITED), NAME(SEGMENT_, EXECED),
	NAME(SEGMENT_, TOTALS), {0}};
static const struct name observers[] = {
	NAME(OBSERVER_, SHIM), NAME(OBSERVER_, BPF), NAME(OBSERVER_, SUPERVISOR), {0}};
static const struct name stop_reasons[] = {
	NAME(STOP_, NONE), NAME(STOP_, FAILED_SHARE), NAME(STOP_, PEER_RESET_SHARE),
	NAME(STOP_, BYTES_DISCARDED), {0}};
static const struct name flag_names[] = {
	NAME(CONN_, NONBLOCKING), NAME(CONN_, SHUT_WRITE), NAME(CONN_, PEER_FIRST),
	NAME(CONN_, APP_LINGER_0), NAME(CONN_, APP_LINGER_N), NAME(CONN_, APP_REUSEADDR),
	NAME(CONN_, APP_BOUND), NAME(CONN_, APP_LINGER2), NAME(CONN_, SHARED),
	NAME(CONN_, LEFT), NAME(CONN_, POLICY_RESET), NAME(CONN_, POLICY_LINGER2),
	NAME(CONN_, POLICY_LINGER_N), NAME(CONN_, FASTOPEN), NAME(CONN_, SHORT_LIVED),
	NAME(CONN_, DOUBTFUL), NAME(CONN_, BELIEVED), NAME(CONN_, APP_BOUND_0),
	NAME(CONN_, LATE_BIND), NAME(CONN_, IPV6), NAME(CONN_, MPTCP),
	NAME(CONN_, FASTOPEN_CONNECT), NAME(CONN_, SHUT_READ), NAME(CONN_, ADOPTED),
	NAME(CONN_, PORT_RING), NAME(CONN_, POLICY_COUNTED),
	NAME(CONN_, PORT_RANGE), {0}};
/* clang-format on */

#endif
