/* SPDX-License-Identifier: MIT
 *
 * The table of descriptors, the slots, and the way in. The way out is in conn_end.c.
 */
#include "shim/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "shim/conn_move.h"
#include "shim/process.h"
#include "shim/ring.h"
#include "shim/sys.h"

uint32_t tws_fds[TWS_FDS];

static int highest = -1;
static uint32_t hint; /* where a free slot was seen last */

void tws_fd_set(int fd, uint32_t word)
{
	int old = __atomic_load_n(&highest, __ATOMIC_RELAXED);

	if ((unsigned)fd >= TWS_FDS)
		return;
	__atomic_store_n(&tws_fds[fd], word, __ATOMIC_RELEASE);
	while (word && old < fd &&
	       !__atomic_compare_exchange_n(&highest, &old, fd, true, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED))
		;
}

int tws_fd_highest(void)
{
	return __atomic_load_n(&highest, __ATOMIC_RELAXED);
}

struct tws_book *tws_conn_book(uint32_t word)
{
	struct tws_book *book = &tws_books[word >> 24 & (TWS_BOOKS - 1)];

	return word & TWS_FD_SLOT && book->header ? book : NULL;
}

struct tws_conn tws_conn_of(uint32_t word)
{
	struct tws_conn ret = {.book = tws_conn_book(word), .word = word};

	if (!ret.book)
		return ret;
	ret.slot = &ret.book->connections[word & 0xffffff];
	ret.generation = __atomic_load_n(&ret.slot->generation, __ATOMIC_ACQUIRE);
	return ret;
}

uint32_t tws_conn_flags(int fd)
{
	uint32_t word = tws_fd(fd);
	struct tws_conn conn = tws_conn_of(word);

	if (conn.book)
		return __atomic_load_n(&conn.slot->flags, __ATOMIC_RELAXED);
	return word & TWS_FD_SOCKET ? word & 0xffffff : 0;
}

void tws_conn_flags_change(int fd, uint32_t set, uint32_t clear)
{
	uint32_t word = tws_fd(fd);
	struct tws_conn conn = tws_conn_of(word);

	if (conn.book) {
		__atomic_fetch_and(&conn.slot->flags, ~clear, __ATOMIC_RELAXED);
		__atomic_fetch_or(&conn.slot->flags, set, __ATOMIC_RELAXED);
	} else if (word & TWS_FD_SOCKET) {
		tws_fd_set(fd, (word & ~clear) | set);
	}
}

uint64_t tws_conn_cookie(int fd, struct tws_book *book)
{
	uint64_t cookie = 0;
	uint32_t length = sizeof(cookie);
	long ret = -EINVAL;

	if (book)
		ret = tws_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, book->probe);
	if (ret == -EFAULT)
		tws_book_lost(book);
	/* EINVAL: somebody wrote over the probe. */
	if (ret == -EFAULT || ret == -EINVAL)
		ret = tws_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length);
	return ret == 0 ? cookie : 0;
}

static void from_ipv4(const void *bytes, struct tws_address *ret_address)
{
	ret_address->family = TWS_IPV4;
	memcpy(ret_address->bytes, bytes, 4);
}

bool tws_conn_address(const struct sockaddr *address, socklen_t length,
		      struct tws_address *ret_address)
{
	const struct sockaddr_in6 *in6 = (const void *)address;
	const struct sockaddr_in *in = (const void *)address;

	memset(ret_address, 0, sizeof(*ret_address));
	if (!tws_conn_plausible(address) || length < sizeof(*in))
		return false;
	ret_address->port = ntohs(in->sin_port);
	if (in->sin_family == AF_INET) {
		from_ipv4(&in->sin_addr, ret_address);
		return true;
	}
	if (in->sin_family != AF_INET6 || length < 24)
		return false;
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		from_ipv4(&in6->sin6_addr.s6_addr[12], ret_address);
		return true;
	}
	ret_address->family = TWS_IPV6;
	memcpy(ret_address->bytes, &in6->sin6_addr, 16);
	return true;
}

/* ------------------------------------------------------------------- slots */

bool tws_conn_move(const struct tws_conn *conn, enum tws_conn_state from,
		   enum tws_conn_state to)
{
	uint64_t old = (uint64_t)conn->generation << 32 | from;
	uint64_t new = (uint64_t)conn->generation << 32 | to;

	return __atomic_compare_exchange_n((uint64_t *)(void *)&conn->slot->state, &old,
					   new, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

void tws_conn_free(const struct tws_conn *conn)
{
	uint32_t ring_port = conn->slot->action[TWS_ACTION_RING_PORT];

	tws_conn_move(conn, TWS_CONN_ENDING, TWS_CONN_FREE);
	tws_conn_move(conn, TWS_CONN_CLAIMED, TWS_CONN_FREE);
	if (ring_port)
		tws_ring_give(ring_port);
	if (conn->book == &tws_books[tws_own_book & (TWS_BOOKS - 1)])
		__atomic_store_n(&hint, (uint32_t)(conn->slot - conn->book->connections),
				 __ATOMIC_RELAXED);
}

static bool try_claim(struct tws_book *book, uint32_t index, struct tws_conn *ret_conn)
{
	struct tws_connection *slot = &book->connections[index];
	uint32_t generation;
	uint64_t old, new;

	if (!tws_book_reach(book, TWS_SECTION_CONNECTIONS, index))
		return false;
	if (__atomic_load_n(&slot->state, __ATOMIC_RELAXED) != TWS_CONN_FREE)
		return false;
	generation = __atomic_load_n(&slot->generation, __ATOMIC_RELAXED);
	old = (uint64_t)generation << 32 | TWS_CONN_FREE;
	new = (uint64_t)(generation + 1) << 32 | TWS_CONN_CLAIMED;
	if (!__atomic_compare_exchange_n((uint64_t *)(void *)&slot->state, &old, new,
					 false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return false;
	ret_conn->book = book;
	ret_conn->slot = slot;
	ret_conn->generation = generation + 1;
	ret_conn->word = TWS_FD_SLOT | (uint32_t)(book - tws_books) << 24 | index;
	return true;
}

/* From the hint on, then from the start, then slots never used before: a program that
 * opens one connection after another stays in one slot and one page. */
static bool find_slot(struct tws_book *book, struct tws_conn *ret_conn)
{
	const struct tws_section *section = &book->section[TWS_SECTION_CONNECTIONS];
	const uint32_t *ready = &book->header->section[TWS_SECTION_CONNECTIONS].ready;
	uint32_t used = tws_book_used(book, TWS_SECTION_CONNECTIONS);
	uint32_t start = __atomic_load_n(&hint, __ATOMIC_RELAXED);

	for (uint32_t i = start; i < used; i++)
		if (try_claim(book, i, ret_conn))
			goto found;
	for (uint32_t i = 0; i < start && i < used; i++)
		if (try_claim(book, i, ret_conn))
			goto found;
	for (uint32_t i = used; i < section->count; i++)
		if (try_claim(book, i, ret_conn))
			goto found;
		else if (i >= __atomic_load_n(ready, __ATOMIC_RELAXED))
			break; /* no memory */
	return false;
found:
	__atomic_store_n(&hint, (ret_conn->word & 0xffffff) + 1, __ATOMIC_RELAXED);
	return true;
}

bool tws_conn_claim(int fd, uint32_t flags, struct tws_conn *ret_conn)
{
	struct tws_book *book = (unsigned)fd < TWS_FDS ? tws_book_own() : NULL;
	uint64_t cookie = book ? tws_conn_cookie(fd, book) : 0;
	struct tws_connection *slot;

	book = cookie ? tws_book_own() : NULL; /* another one, if that was lost */
	if (!book)
		return false;
	if (!find_slot(book, ret_conn)) {
		tws_conn_sweep(book);
		if (!find_slot(book, ret_conn)) {
			tws_count_process(TWS_unobserved);
			return false;
		}
	}
	slot = ret_conn->slot;
	memset(&slot->cookie, 0, sizeof(*slot) - offsetof(struct tws_connection, cookie));
	slot->cookie = cookie;
	slot->flags = flags;
	slot->fd = fd;
	slot->descriptors = 1;
	slot->action[TWS_ACTION_SPAWNS] =
	    __atomic_load_n(&tws_process.spawns, __ATOMIC_RELAXED);
	tws_fd_set(fd, ret_conn->word);
	return true;
}

/* ---------------------------------------------------------------- counting */

void tws_conn_count(const struct tws_conn *conn, enum tws_counter counter,
		    uint64_t amount)
{
	struct tws_counters *arm = tws_conn_arm(conn);

	tws_add(&tws_conn_destination(conn)->value[counter], amount);
	if (arm)
		tws_add(&arm->value[counter], amount);
}

static void count_peak(struct tws_counters *counters)
{
	tws_raise(&counters->value[TWS_peak_open],
		  __atomic_add_fetch(&counters->value[TWS_open], 1, __ATOMIC_ACQ_REL));
}

void tws_conn_attempt(const struct tws_conn *conn)
{
	struct tws_connection *slot = conn->slot;

	slot->began_ns = tws_now();
	slot->established_ns = 0;
	__atomic_store_n(&conn->book->header->heartbeat_ns, slot->began_ns,
			 __ATOMIC_RELAXED);
	if (!tws_conn_move(conn, TWS_CONN_CLAIMED, TWS_CONN_CONNECTING))
		return;
	tws_conn_count(conn, TWS_attempts, 1);
	if (slot->flags & TWS_CONN_APP_BOUND_0 && !(slot->flags & TWS_CONN_LATE_BIND))
		tws_conn_count(conn, TWS_bound_before_connect, 1);
	if (slot->flags & TWS_CONN_LATE_BIND)
		tws_conn_count(conn, TWS_policy_applied, 1); /* at bind() */
	if (slot->flags & (TWS_CONN_APP_LINGER_0 | TWS_CONN_APP_LINGER_N))
		tws_conn_count(conn, TWS_setsockopt_linger, 1);
	if (slot->flags & TWS_CONN_APP_LINGER_0)
		tws_conn_count(conn, TWS_setsockopt_linger_zero, 1);
	if (slot->flags & TWS_CONN_APP_REUSEADDR)
		tws_conn_count(conn, TWS_setsockopt_reuseaddr, 1);
}

/* What it said of the program's options is true all the same, and stays. */
void tws_conn_unattempt(const struct tws_conn *conn)
{
	if (tws_conn_move(conn, TWS_CONN_CONNECTING, TWS_CONN_CLAIMED))
		tws_conn_count(conn, TWS_attempts, (uint64_t)-1);
}

/* Counted established, after the slot was moved. */
void tws_conn_count_established(const struct tws_conn *conn)
{
	struct tws_counters *arm = tws_conn_arm(conn);

	tws_conn_count(conn, TWS_established, 1);
	count_peak(tws_conn_destination(conn));
	count_peak(conn->book->process);
	if (arm)
		count_peak(arm);
}

void tws_conn_count_gone(const struct tws_conn *conn)
{
	tws_conn_count(conn, TWS_open, (uint64_t)-1);
	tws_add(&conn->book->process->value[TWS_open], (uint64_t)-1);
}

bool tws_conn_establish(const struct tws_conn *conn, bool believed)
{
	if (believed)
		__atomic_fetch_or(&conn->slot->flags, TWS_CONN_BELIEVED,
				  __ATOMIC_RELAXED);
	conn->slot->established_ns = tws_now();
	if (!tws_conn_move(conn, TWS_CONN_CONNECTING, TWS_CONN_OPEN))
		return false;
	tws_conn_count_established(conn);
	return true;
}

void tws_conn_fail(const struct tws_conn *conn, int error)
{
	if (!tws_conn_move(conn, TWS_CONN_CONNECTING, TWS_CONN_CLAIMED))
		return;
	tws_conn_count(conn, tws_failure_counter(error), 1);
	tws_rule_failed(conn);
}

/* A connect that failed has an error of its own; any other is the death of a connection
 * that came to be, which the end will find. */
void tws_conn_disbelieve(const struct tws_conn *conn, int error)
{
	if (error != ECONNREFUSED && error != EHOSTUNREACH && error != ENETUNREACH)
		return;
	if (!tws_conn_move(conn, TWS_CONN_OPEN, TWS_CONN_CLAIMED))
		return;
	__atomic_fetch_and(&conn->slot->flags, ~(uint32_t)TWS_CONN_BELIEVED,
			   __ATOMIC_RELAXED);
	tws_conn_count(conn, TWS_established, (uint64_t)-1);
	tws_conn_count_gone(conn);
	tws_conn_count(conn, tws_failure_counter(error), 1);
	tws_rule_failed(conn);
}

/* --------------------------------------------------------------- handed on */

/* A socket that gets a second descriptor before it is connected needs a slot now, so that
 * both lead to the same connection later. */
static struct tws_conn slot_of_socket(int fd, uint32_t word)
{
	struct tws_conn ret = tws_conn_of(word);

	if (!ret.book && word & TWS_FD_SOCKET && tws_may_work())
		tws_conn_claim(fd, word & 0xffffff, &ret);
	return ret;
}

void tws_conn_copied(int from, int to)
{
	uint32_t stale = tws_fd(to);
	uint32_t word = tws_fd(from);
	struct tws_conn conn;

	if ((!stale && !word) || from == to || !tws_may_work())
		return;
	if (stale)
		tws_conn_vanished(to, stale);
	if (!word)
		return;
	conn = slot_of_socket(from, word);
	if (!conn.book)
		return;
	if (tws_conn_owned(&conn))
		__atomic_add_fetch(&conn.slot->descriptors, 1, __ATOMIC_ACQ_REL);
	tws_fd_set(to, conn.word);
}

bool tws_conn_owned(const struct tws_conn *conn)
{
	return conn->book == &tws_books[tws_own_book & (TWS_BOOKS - 1)] &&
	       tws_own_book >= 0;
}

void tws_conn_share_all(void)
{
	int own = __atomic_load_n(&tws_own_book, __ATOMIC_ACQUIRE);
	struct tws_book *book = &tws_books[own < 0 ? 0 : own];
	uint32_t used = own < 0 ? 0 : tws_book_used(book, TWS_SECTION_CONNECTIONS);

	for (uint32_t i = 0; i < used; i++) {
		uint32_t state =
		    __atomic_load_n(&book->connections[i].state, __ATOMIC_RELAXED);

		if (state != TWS_CONN_FREE)
			__atomic_fetch_or(&book->connections[i].flags, TWS_CONN_SHARED,
					  __ATOMIC_RELAXED);
	}
}
