/* SPDX-License-Identifier: MIT
 *
 * What happens to segments of dead processes. After their retention (by default
 * as long as TIME_WAIT lasts) they are added to one totals file per application, each
 * exactly once, even if a process is killed in the middle. The shim (a process that makes
 * a segment folds some others now and then) and the tools share this code: system calls
 * only, no allocation, no errno.
 *
 * How each segment counts exactly once: under a lock, a new totals file is written beside
 * the old one, with the names of the segments that it includes. rename() publishes both
 * at once. Then the segments are unlinked. If a process dies in between, the next one
 * finds the names in the totals and unlinks those segments without counting them; readers
 * ignore a segment that is named there. A name stays in the totals until its segment has
 * gone. The directory's lock only saves work: if it is removed and two processes fold at
 * once, each totals file can still be replaced only by a process that holds a lock on
 * that file itself.
 */
#ifndef TWS_SHIM_FOLD_H
#define TWS_SHIM_FOLD_H

#include "shim/shared/segment.h"

#define TWS_FOLD_RETENTION_S  60 /* the default: as long as TIME_WAIT lasts */
#define TWS_FOLD_LOCK	      "fold.lock"
#define TWS_ASIDE_SUFFIX      ".aside" /* a totals file that nobody can read */
#define TWS_FOLD_BATCH	      64  /* segments that are added to one totals file at once */
#define TWS_FOLD_NAMES	      128 /* kept names: these, and older ones still there */
#define TWS_FOLD_ASIDE	      4 /* unreadable totals files that are kept per application */
#define TWS_FOLD_TOTALS	      1000 /* then new names share the totals of their executable */
#define TWS_FOLD_DESTINATIONS 1024u /* in a totals file */

struct tws_fold_limits {
	uint32_t retention_s;  /* how long a dead segment stays; 0: the default */
	uint32_t max_segments; /* dead ones beyond this are folded early; 0: 512 */
	uint32_t most;	       /* most segments to fold in this call; 0: all */
};

/* Folds segments of dead processes in the directory open as `directory`. Returns how
 * many; 0 also if another process is folding; negative errno on error. */
int tws_fold(int directory, const struct tws_fold_limits *limits);

/* Returns how an open connection of a dead process ended if nothing more can be learnt:
 * the ending noted at exit or exec, otherwise unseen. */
void tws_fold_settle(const struct tws_header *header, const struct tws_connection *slot,
		     enum tws_ending *ret_ending, enum tws_via *ret_via);

#endif
