/* SPDX-License-Identifier: MIT
 *
 * A book of this test's own, published for real in a directory of its own in /dev/shm.
 */
#ifndef TWS_TESTS_OWN_BOOK_H
#define TWS_TESTS_OWN_BOOK_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/book/books.h"
#include "shim/book/publish.h"
#include "shim/book/self.h"

/* Names the directory; the code under test makes what it needs in it. */
static int make_directory(void **state)
{
	(void)state;
	strcpy(tws_self.directory, "/dev/shm/twshim-unit-XXXXXX");
	tws_self_know_pid();
	return mkdtemp(tws_self.directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	DIR *directory = opendir(tws_self.directory);
	struct dirent *entry;
	char path[1024];

	(void)state;
	while (directory && (entry = readdir(directory))) {
		snprintf(path, sizeof(path), "%s/%s", tws_self.directory, entry->d_name);
		if (entry->d_name[0] != '.')
			unlink(path);
	}
	if (directory)
		closedir(directory);
	return rmdir(tws_self.directory);
}

/* Makes the own book and puts the path of its file into `ret_path`. */
static inline struct tws_book *make_book(const struct tws_settings *settings,
					 char *ret_path)
{
	struct tws_header layout = {0};
	struct tws_header *header = tws_publish(settings, &layout);
	int index = header ? tws_book_add(header, &layout) : -1;
	char name[96];

	if (index < 0 || !tws_book_ensure(&tws_books[index], TWS_SECTION_DESTINATIONS, 0))
		return NULL;
	tws_publish_name(&layout, name);
	sprintf(ret_path, "%s/%s", tws_self.directory, name);
	tws_books[index].made_by = (uint64_t)layout.uid + 1; /* as own_book.c does */
	tws_own_book = &tws_books[index];
	return tws_own_book;
}

#endif
