/* SPDX-License-Identifier: MIT
 *
 * Joins what is needed to make the own book: process, policy and segment.
 */
#include "shim/own_book.h"

#include "shim/book/identity.h"
#include "shim/book/publish.h"
#include "shim/conn/alone.h"
#include "shim/policy/policy.h"
#include "shim/lifecycle.h"
#include "shim/shared/clock.h"
#include "shim/shared/sys.h"

#define RETRY_NS 1000000000u

static uint64_t next_try_ns; /* atomic */
static bool changed_user;    /* atomic; at least once */

static bool become_own(struct tws_book *book, struct tws_book **ret_other)
{
	*ret_other = NULL;
	return __atomic_compare_exchange_n(&tws_own_book, ret_other, book, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* The book that this process made as that user. */
static struct tws_book *find_made(uint32_t user)
{
	struct tws_book *other;

	if (!__atomic_load_n(&changed_user, __ATOMIC_ACQUIRE))
		return NULL;
	for (int i = 0; user != TWS_NO_USER && i < TWS_BOOKS; i++) {
		if (__atomic_load_n(&tws_books[i].made_by, __ATOMIC_ACQUIRE) !=
		    (uint64_t)user + 1)
			continue;
		tws_book_take_early(&tws_books[i]);
		return become_own(&tws_books[i], &other) ? &tws_books[i] : other;
	}
	return NULL;
}

/* False: another one is in its place, or there is no room for it. */
static bool is_taken_up(struct tws_book *book, uint32_t user, struct tws_book **ret_other)
{
	*ret_other = NULL;
	if (!tws_book_ensure(book, TWS_SECTION_DESTINATIONS, 0))
		return false;
	__atomic_store_n(&book->made_by, (uint64_t)user + 1, __ATOMIC_RELEASE);
	if (become_own(book, ret_other) || *ret_other == book)
		return true;
	__atomic_store_n(&book->made_by, 0, __ATOMIC_RELEASE);
	return false;
}

/* Two threads may both make one; the loser's file is taken back. */
static struct tws_book *make_own(void)
{
	struct tws_header layout = {0};
	struct tws_settings settings;
	struct tws_header *header;
	struct tws_book *other = find_made(tws_identity_user_again());
	int index;

	if (other)
		return other;
	tws_alone_begin();
	tws_layers_complete();
	settings = tws_policy_settings();
	header = tws_publish(&settings, &layout);
	/* The new user's place may be out of reach, behind a chroot(). */
	if (!header)
		return find_made(0);
	header->policy_layers = tws_layers_followed();
	index = tws_book_add(header, &layout);
	if (index >= 0 && is_taken_up(&tws_books[index], layout.uid, &other)) {
		tws_book_take_early(&tws_books[index]);
		tws_single_begin();
		return &tws_books[index];
	}
	tws_publish_withdraw(&layout);
	if (index >= 0)
		__atomic_store_n(&tws_books[index].header, NULL, __ATOMIC_RELEASE);
	tws_sys2(SYS_munmap, header, layout.size);
	return other;
}

struct tws_book *tws_book_make(void)
{
	struct tws_book *ret;
	uint64_t now = tws_now();

	if (now < __atomic_load_n(&next_try_ns, __ATOMIC_RELAXED))
		return NULL;
	tws_process_own();
	/* The IDs may be changed back by a call that we do not see: look again at the
	 * next connection. */
	if (tws_identity_user() == TWS_NO_USER)
		return NULL;
	ret = make_own();
	if (!ret)
		__atomic_store_n(&next_try_ns, now + RETRY_NS, __ATOMIC_RELAXED);
	return ret;
}

void tws_policy_seek(void)
{
	if (__atomic_load_n(&tws_own_book, __ATOMIC_ACQUIRE))
		return;
	tws_process_own();
	tws_layers_seek();
}

void tws_own_book_put_aside(void)
{
	__atomic_store_n(&changed_user, true, __ATOMIC_RELEASE);
	__atomic_store_n(&next_try_ns, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&tws_own_book, NULL, __ATOMIC_RELEASE);
}

void tws_own_book_forked(void)
{
	next_try_ns = 0;
}
