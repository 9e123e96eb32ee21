/* SPDX-License-Identifier: MIT
 *
 * The drop-in that `twshim enable` makes for a unit: what it contains, how a drop-in of
 * ours is recognized, and how to see that nobody has edited it. Pure.
 */
#ifndef TWS_TOOLS_DROPIN_H
#define TWS_TOOLS_DROPIN_H

#include <stdbool.h>

struct dropin {
	const char *unit;
	const char
	    *preload; /* what Environment= gives LD_PRELOAD now, raw; "": nothing */
	const char *library;
	bool is_users;	      /* a unit of a user's own manager */
	const char *writable; /* what ProtectSystem=strict would keep it from; NULL */
	bool needs_exec_path; /* NoExecPaths= would keep the library out */
	const char *twshim;   /* loads `policy` before each start; NULL: no policy */
	const char *policy;   /* path of its file */
	const char
	    *exec_lines;    /* ExecStart= by twshim exec, instead of the preload; NULL */
	bool needs_netlink; /* RestrictAddressFamilies= would keep it from netlink */
	bool observed;	    /* only that: the rest does not count */
};

/* The drop-in's text, malloc()ed. NULL: out of memory. */
char *dropin_text(const struct dropin *dropin);

/* The copy of a policy file that stands beside the drop-in. Likewise. */
char *dropin_policy_text(const char *unit, const char *policy);

/* Whether a file's text is of our making, edited since or not. */
bool dropin_is_ours(const char *text);

/* ... and was not edited. */
bool dropin_is_untouched(const char *text);

#endif
