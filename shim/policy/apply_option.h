/* SPDX-License-Identifier: MIT
 *
 * Sets one option and records the outcome, for apply.c and apply_close.c.
 */
#ifndef TWS_SHIM_APPLY_OPTION_H
#define TWS_SHIM_APPLY_OPTION_H

#include <sys/socket.h>

#include "shim/conn/conn_move.h"
#include "shim/policy/policy.h"
#include "shim/shared/sys.h"

/* The part of the decision that a plan keeps for the close. */
#define CLOSE_MODE(word) ((enum tws_close_mode)((word)&0xff))
#define RING_TRIES	 8

#define CLOSE_DRY_RUN	  (1u << 8)
#define CLOSE_SHORT_LIVED (1u << 9)
#define CLOSE_OVERRIDE	  (1u << 10)
#define CLOSE_COUNTED	  (1u << 11) /* dry run: would_apply was counted at connect() */

/* How the settings of a rule fared at connect. */
struct outcome {
	bool set;
	bool kept_app_option;
	bool unsupported;
};

static inline void set_option(int fd, int level, int name, const void *value,
			      uint32_t size, struct outcome *outcome)
{
	if (tws_setsockopt(fd, level, name, value, size) == 0)
		outcome->set = true;
	else
		outcome->unsupported = true;
}

static inline void set_int(int fd, int level, int name, int value,
			   struct outcome *outcome)
{
	set_option(fd, level, name, &value, sizeof(value), outcome);
}

static inline void set_linger(int fd, int on, int seconds, struct outcome *outcome)
{
	struct linger linger = {on, seconds};

	set_option(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger), outcome);
}

/* Counts the outcome for the connection and its rule. */
void tws_apply_count(const struct tws_conn *conn, const struct outcome *outcome);

#endif
