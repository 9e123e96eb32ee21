/* SPDX-License-Identifier: MIT
 *
 * What becomes of segments whose process is dead: after their retention (60 s, as long as
 * their TIME_WAIT sockets live) they are added to one totals file an application, exactly
 * once, whoever is killed in the middle. Shared by the shim (a process that makes a
 * segment now and then folds some others) and the tools; system calls only, no
 * allocation, no errno.
 *
 * How exactly once is had: under a lock, a new totals file is written whole beside the
 * old one, with the names of the segments it took in; rename() publishes both at once;
 * then the segments are unlinked. Whoever comes after a death in between finds the names
 * in the totals and unlinks them without counting; readers pass over a segment so named.
 * A name stays in the totals until its segment is gone. The lock only saves work: should
 * somebody take it away and two fold at once, each totals file is still replaced only by
 * who holds a lock on that very file.
 */
#ifndef TWS_SHIM_FOLD_H
#define TWS_SHIM_FOLD_H

#include "shim/shared/segment.h"

#define TWS_FOLD_LOCK	      "fold.lock"
#define TWS_ASIDE_SUFFIX      ".aside" /* of totals that nobody can read */
#define TWS_FOLD_BATCH	      64    /* segments that one totals file takes in at once */
#define TWS_FOLD_NAMES	      128   /* that it keeps: these, and older ones still there */
#define TWS_FOLD_ASIDE	      4	    /* unreadable totals kept, of one application */
#define TWS_FOLD_DESTINATIONS 1024u /* of a totals file */

struct tws_fold_limits {
	uint32_t retention_s;  /* a dead segment stays as long; 0: 60 */
	uint32_t max_segments; /* dead ones beyond it go early; 0: 512 */
	uint32_t most;	       /* to fold in this call; 0: all */
};

/* Folds in the directory open as `directory`. The number of segments folded; 0 also when
 * another process is at it; negative errno. */
int tws_fold(int directory, const struct tws_fold_limits *limits);

/* Who may read the directory's listing may read the file, and nobody else but its owner:
 * 0640 and the directory's group, or 0600. Whatever the umask. */
void tws_share_as_directory(int directory, int fd);

/* The endings that a dead process's open connection gets when nothing more can be learnt:
 * what it was marked with at exit or exec, else unseen. */
void tws_fold_settle(const struct tws_header *header, const struct tws_connection *slot,
		     enum tws_ending *ret_ending, enum tws_via *ret_via);

#endif
