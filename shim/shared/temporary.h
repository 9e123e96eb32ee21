/* SPDX-License-Identifier: MIT
 *
 * A file that comes whole or not at all: it is made under a name that no reader looks at,
 * filled, and then renamed. One that is left over is removed by a later fold.
 * Async-signal-safe.
 */
#ifndef TWS_TEMPORARY_H
#define TWS_TEMPORARY_H

#define TWS_TEMPORARY_SIZE 64 /* bytes of a name, with its NUL */

/* A new file in the open `directory`, of mode 0600, for reading and writing. Its
 * descriptor (close-on-exec) and, in `ret_name`, its name; or -errno. */
int tws_temporary_make(int directory, char ret_name[TWS_TEMPORARY_SIZE]);

/* Gives a file the access of its directory, whatever the umask: users who may list the
 * directory through its group may read the file (0640 and that group); otherwise 0600. */
void tws_share_as_directory(int directory, int fd);

#endif
