/* SPDX-License-Identifier: MIT
 *
 * A file of its own, because <term.h> defines words as common as `columns`.
 */
#include <stdbool.h>
#include <unistd.h>

#include <ncurses.h>
#include <term.h>

bool top_can_place(void);

bool top_can_place(void)
{
	char name[] = "cup";
	const char *sequence;
	int known;

	if (setupterm(NULL, STDOUT_FILENO, &known) != OK)
		return false;
	sequence = tigetstr(name);
	return sequence && sequence != (const char *)-1;
}
