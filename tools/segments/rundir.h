/* SPDX-License-Identifier: MIT
 *
 * The directories where segments and policies are found. shim/shared/rundir.h is the rule
 * by which programs choose theirs; a reader looks in all of them, and for one release in
 * those that former shims used. Nothing here follows a symbolic link in the last
 * component of a path.
 */
#ifndef TWS_TOOLS_RUNDIR_H
#define TWS_TOOLS_RUNDIR_H

#include <stdbool.h>
#include <stddef.h>

/* The path of the main directory, where the programs of this user publish first; see
 * shim/shared/rundir.h. It need not exist. 0, -ENAMETOOLONG, or -EINVAL where
 * $TWSHIM_DIR is not absolute. */
int tws_rundir_find(char *ret_path, size_t size);

/* Makes the directory (0700, its parent must exist) or accepts the one that is there, if
 * it is a directory of ours or of root's and nobody else may write in it.
 * 0, -ENOTDIR (also for a symbolic link), -EPERM (not to be trusted), or -errno. */
int tws_rundir_create(const char *path);

/* Whether programs can publish in the directory at `path`, which need not exist yet:
 * -EXDEV where it is not in memory, so that they will not, nor follow a policy there;
 * -ENOSPC where that tmpfs has no room for another segment; else 0, also where it can't
 * be looked at. */
int tws_rundir_check(const char *path);

/* Opens the directory at `path` for reading. A descriptor, or -errno. */
int tws_rundir_open(const char *path);

/* Says of a directory that could not be found or read why, and what to do; `path` NULL:
 * tws_rundir_find() failed. `by`: what names another. */
void tws_rundir_explain(char *ret_text, size_t size, const char *path, int error,
			const char *by);

/* Whether a name in a main directory is that of a directory with segments: of a run
 * ("run-..."), or of a systemd unit ("....service", which its RuntimeDirectory= made).
 * Pure. */
bool tws_rundir_is_below(const char *name);

/* A directory of the tree: `fd` stays the iterator's; `name` is "" for the main
 * directory, else that of one below it. A value other than 0 ends the iteration and
 * becomes its result. */
typedef int (*tws_rundir_visitor)(int fd, const char *name, void *data);

/* Visits the directory at `path`, then those below it, in no set order. What
 * vanishes or can't be opened meanwhile is passed over. 0, the visitor's value, or -errno
 * where `path` itself can't be opened. */
int tws_rundir_each(const char *path, tws_rundir_visitor visit, void *data);

/* Visits the other directories where programs publish: this user's second place, for
 * root the places of all users, what root's observers saw (seen.h), and the places of
 * former shims. Visits none where $TWSHIM_DIR
 * names the one directory. A value other than 0 ends the walk.
 */
int tws_rundir_others(int (*visit)(const char *path, void *data), void *data);

/* The same in any case: the processes of a run may become users whom $TWSHIM_DIR does not
 * belong to. */
int tws_rundir_others_always(int (*visit)(const char *path, void *data), void *data);

#endif
