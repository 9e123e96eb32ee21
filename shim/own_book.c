/* SPDX-License-Identifier: MIT
 *
 * Joins what is needed to make the own book: process, policy and segment.
 */
#include "shim/own_book.h"

#include "shim/book/publish.h"
#include "shim/policy/policy.h"
#include "shim/process.h"
#include "shim/shared/clock.h"
#include "shim/shared/sys.h"

#define RETRY_NS 1000000000u

static uint64_t next_try_ns;

/* Two threads may both make one; the loser's file is taken back. */
static struct tws_book *make_own(void)
{
	struct tws_header layout = {0};
	struct tws_settings settings;
	struct tws_header *header;
	char name[96];
	struct tws_book *none = NULL;
	int index, directory;

	tws_process_own();
	tws_policy_begin(true);
	settings = tws_policy_settings();
	header = tws_publish(&settings, &layout);
	if (!header)
		return NULL;
	index = tws_book_add(header, &layout);
	if (index >= 0 &&
	    tws_book_reach(&tws_books[index], TWS_SECTION_DESTINATIONS, 0) &&
	    __atomic_compare_exchange_n(&tws_own_book, &none, &tws_books[index], false,
					__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		tws_book_take_early(&tws_books[index]);
		return &tws_books[index];
	}
	directory = tws_publish_directory(false);
	if (directory >= 0) {
		tws_publish_name(&layout, name);
		tws_sys3(SYS_unlinkat, directory, name, 0);
		tws_sys1(SYS_close, directory);
	}
	if (index >= 0)
		__atomic_store_n(&tws_books[index].header, NULL, __ATOMIC_RELEASE);
	tws_sys2(SYS_munmap, header, layout.size);
	return none;
}

struct tws_book *tws_book_make(void)
{
	struct tws_book *ret;
	uint64_t now = tws_now();

	if (now < __atomic_load_n(&next_try_ns, __ATOMIC_RELAXED))
		return NULL;
	ret = make_own();
	if (!ret)
		__atomic_store_n(&next_try_ns, now + RETRY_NS, __ATOMIC_RELAXED);
	return ret;
}

void tws_own_book_forked(void)
{
	next_try_ns = 0;
}
