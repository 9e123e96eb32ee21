/* SPDX-License-Identifier: MIT
 *
 * systemd's unit files, read as systemd reads them: found in its search path, with or
 * without a root directory, with all drop-ins, aliases, templates and instances. Nothing
 * here asks systemd, so images and machines without it can be examined.
 */
#ifndef TWS_TOOLS_UNIT_H
#define TWS_TOOLS_UNIT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#define UNIT_NAME_SIZE	 256
#define UNIT_VALUE_SIZE	 4096
#define UNIT_DROPIN_NAME "50-twshim.conf" /* ours, in UNIT.d */

/* Where units are looked for and drop-ins are put. */
struct unit_place {
	const char
	    *root; /* "": this system; else a directory, without a slash at the end */
	bool user; /* the units of a user's own manager */
};

struct unit_setting {
	char *name;
	char *value; /* "": earlier values are cancelled */
};

/* A service: the settings of its section [Service], in the order in which they count,
 * without those of our own drop-in. */
struct unit {
	char
	    name[UNIT_NAME_SIZE]; /* the name by which drop-ins are found; not an alias */
	char fragment[PATH_MAX];  /* its file, with the root */
	struct unit_setting *settings;
	size_t count;
};

/* ------------------------------------------------------------------------- on disk */

/* The next directory of the search path, beginning with the first, with its root.
 * `index` counts up from 0. False: there are no more. */
bool unit_search_path(const struct unit_place *place, size_t index, char *ret_path,
		      size_t size);

/* The directory of an administrator's drop-ins or, if `runtime`, of those that last
 * until the next boot. False: the place does not exist (no home, or no run-time
 * directory). */
bool unit_dropin_root(const struct unit_place *place, bool runtime, char *ret_path,
		      size_t size);

/* Completes the name of a service: "nginx" is "nginx.service". False: it is not a
 * service's name. */
bool unit_complete_name(const char *word, char ret_name[UNIT_NAME_SIZE]);

/* "foo@.service" of "foo@bar.service"; false where it is no instance. */
bool unit_template_of(const char *name, char ret_template[UNIT_NAME_SIZE]);

/* Reads a service with its drop-ins. Returns 0, or -errno with a one-line reason and
 * its cure. */
int unit_load(struct unit *ret_unit, const struct unit_place *place, const char *name,
	      char *ret_error, size_t size);

void unit_free(struct unit *unit);

/* The text of a regular file of at most 1 MiB, malloc()ed; NULL with errno. */
char *unit_read_text(const char *path);

/* --------------------------------------------------------------------- the language */

/* Adds the settings of a unit file's [Service]. 0 or -ENOMEM. Pure. */
int unit_parse(struct unit *unit, const char *text);

/* The last value of a setting; NULL: it is not set, or was set to nothing. Pure. */
const char *unit_value(const struct unit *unit, const char *name);

/* The values of a setting that is a list, from the last one that empties it on. `*at`
 * begins at 0. NULL: there are no more. Pure. */
const char *unit_next(const struct unit *unit, const char *name, size_t *at);

/* A boolean setting; false if it is not set. Pure. */
bool unit_is_on(const struct unit *unit, const char *name);

/* Takes the next word from a value, with quotes and C escapes. Returns 1, 0 at the
 * end, -EINVAL for an open quote, or -ENAMETOOLONG. Pure. */
int unit_word(const char **at, char *ret_word, size_t size);

/* Writes text with the escapes that it needs in double quotes. `doubled`: letters that
 * stand for themselves when doubled, as "%$". */
void unit_write_escaped(FILE *out, const char *text, const char *doubled);

/* The same in double quotes: one word. */
void unit_write_quoted(FILE *out, const char *text, const char *doubled);

/* Expands the specifiers that only the unit's name and manager decide (%n %N %p %P %i %j
 * %t %%). False: it has others, or does not fit. */
bool unit_expand(const struct unit *unit, const struct unit_place *place,
		 const char *text, char *ret_text, size_t size);

/* The raw value (specifiers unexpanded) that Environment= gives a variable, the last one;
 * false: none. Pure. */
bool unit_environment(const struct unit *unit, const char *variable, char *ret_value,
		      size_t size);

/* Whether a list of variables (UnsetEnvironment=, PassEnvironment=) contains this one.
 * Pure. */
bool unit_lists(const struct unit *unit, const char *name, const char *word);

#endif
