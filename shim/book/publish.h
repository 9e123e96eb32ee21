/* SPDX-License-Identifier: MIT
 *
 * Makes this process's segment and gives it a name that others can see; opens those that
 * were handed over. Raw system calls only; about thirty of them, once a process.
 */
#ifndef TWS_SHIM_PUBLISH_H
#define TWS_SHIM_PUBLISH_H

#include "shim/shared/policy_image.h"
#include "shim/shared/rundir.h"
#include "shim/shared/segment.h"

/* A new mapped segment, published, and a private copy of its header, which nobody else
 * can change; ret_layout is all zero before. NULL: no tmpfs, no room, no permission: stay
 * unseen. `settings`: sizes, retention and readers, as the policy in force says. */
struct tws_header *tws_publish(const struct tws_settings *settings,
			       struct tws_header *ret_layout);

/* Maps a segment of the run-time directory by file name, for writing, and copies its
 * header; NULL if it is none, not this user's, or of another ABI. */
struct tws_header *tws_publish_open(const char *name, struct tws_header *ret_layout);

/* The file name of a segment, into ret_name (at least 96 bytes). */
void tws_publish_name(const struct tws_header *header, char *ret_name);

/* Removes a segment that was just made. */
void tws_publish_withdraw(const struct tws_header *layout);

/* Opens the first place where this process may publish; with `make`, makes it if it does
 * not exist. Returns a descriptor; -EPERM while the user IDs differ; -errno. */
int tws_publish_directory(bool make);

/* The same from `*place` on, which is set to the place that was opened. */
int tws_publish_directory_from(enum tws_place *place, bool make);

#endif
