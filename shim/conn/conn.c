/* SPDX-License-Identifier: MIT
 *
 * The slots of connections, and the way in. The way out is in conn_end.c.
 */
#include "shim/conn/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/shared/clock.h"
#include "shim/conn/conn_move.h"
#include "shim/shared/hot.h"
#include "shim/book/memory.h"
#include "shim/book/self.h"
#include "shim/book/port_ring.h"
#include "shim/shared/pair.h"
#include "shim/shared/sys.h"

/* 1 + the slot that this thread last saw free, so that threads stay in slots, and so
 * in cache lines, of their own. 0: it has seen none yet, and begins where new threads
 * do. */
static __thread uint32_t hint __attribute__((tls_model("initial-exec")));
TWS_HOT_DATA static uint32_t seen_free; /* the lowest slot that any thread saw free */
#define NEAR 64				/* slots to look at from there on */
/* A program that holds more connections than there are slots must not pay for a look
 * through all of them each time. A book that was found full is searched again when a
 * slot has become free, or after a pause: LOOK_AGAIN_NS plus LOOK_AGAIN_TIMES the
 * duration of the search, at most a second. */
#define LOOK_AGAIN_NS	   10000000u
#define LOOK_AGAIN_TIMES   16
#define LOOK_AGAIN_MOST_NS 1000000000u

uint32_t tws_conn_flags(int fd)
{
	uint32_t word = tws_fd(fd);
	struct tws_conn conn = tws_conn_of(word);

	if (conn.book)
		return __atomic_load_n(&conn.slot->flags, __ATOMIC_RELAXED);
	return word & TWS_FD_SOCKET ? word & TWS_FD_FLAGS : 0;
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

/* No other socket has the same number while this one is open. */
static long ask_inode(int fd, uint64_t *ret_cookie)
{
	struct stat stat = {0};
	long ret = tws_sys2(SYS_fstat, fd, &stat);

	if (ret == 0 && !S_ISSOCK(stat.st_mode))
		ret = -ENOTSOCK;
	if (ret == 0)
		*ret_cookie = TWS_COOKIE_INODE | stat.st_ino;
	return ret;
}

long tws_conn_ask_cookie(int fd, uint64_t *ret_cookie)
{
	uint32_t length = sizeof(*ret_cookie);
	long ret = tws_getsockopt(fd, SOL_SOCKET, SO_COOKIE, ret_cookie, &length);

	return ret == 0 || ret == -EBADF || ret == -ENOTSOCK ? ret
							     : ask_inode(fd, ret_cookie);
}

/* EFAULT: the file was truncated. EINVAL from the probe: somebody wrote over it, and
 * may have written over anything else. */
uint64_t tws_conn_cookie_after(int fd, struct tws_book *book, long error)
{
	uint64_t cookie = 0;

	if (error == -EBADF || error == -ENOTSOCK)
		return 0;
	if (tws_conn_ask_cookie(fd, &cookie) != 0)
		cookie = 0;
	if (error == -EFAULT || (error == -EINVAL && cookie) ||
	    tws_memory_read((uintptr_t)book->probe) == -EFAULT)
		tws_book_lost(book);
	return cookie;
}

uint32_t tws_conn_ask_socket(int fd)
{
	int type = 0, protocol = 0, domain = 0;
	uint32_t length = sizeof(int);

	if (tws_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) != 0 ||
	    type != SOCK_STREAM)
		return 0;
	length = sizeof(int);
	if (tws_getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) != 0 ||
	    (protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP))
		return 0;
	length = sizeof(int);
	tws_getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
	return TWS_FD_SOCKET | (domain == AF_INET6 ? TWS_CONN_IPV6 : 0) |
	       (protocol == IPPROTO_MPTCP ? TWS_CONN_MPTCP : 0);
}

/* ------------------------------------------------------------------- slots */

static void note_free(struct tws_book *book, uint32_t index)
{
	if (__atomic_load_n(&book->full_until_ns, __ATOMIC_RELAXED))
		__atomic_store_n(&book->full_until_ns, 0, __ATOMIC_RELAXED);
	hint = index + 1;
	if (index < __atomic_load_n(&seen_free, __ATOMIC_RELAXED))
		__atomic_store_n(&seen_free, index, __ATOMIC_RELAXED);
}

static void note_taken(uint32_t index)
{
	if (!hint)
		__atomic_store_n(&seen_free, index + 1, __ATOMIC_RELAXED);
	hint = index + 2;
}

TWS_HOT void tws_conn_free(const struct tws_conn *conn)
{
	uint32_t ring_port = conn->slot->action[TWS_ACTION_RING_PORT];

	/* Nobody else moves a slot that is ending. */
	if (tws_likely(tws_conn_is(conn, TWS_CONN_ENDING)))
		__atomic_store_n(&conn->slot->state, TWS_CONN_FREE, __ATOMIC_RELEASE);
	else
		tws_conn_move(conn, TWS_CONN_CLAIMED, TWS_CONN_FREE);
	if (tws_unlikely(ring_port))
		tws_port_ring_give(ring_port);
	if (tws_likely(tws_conn_owned(conn)))
		note_free(conn->book, conn->word & 0xffffff);
}

static inline bool try_claim(struct tws_book *book, uint32_t index,
			     struct tws_conn *ret_conn)
{
	struct tws_connection *slot = &book->connections[index];
	uint64_t generation;

	if (!tws_book_ensure(book, TWS_SECTION_CONNECTIONS, index))
		return false;
	if (tws_unlikely(__atomic_load_n(&slot->state, __ATOMIC_RELAXED) !=
			 TWS_CONN_FREE))
		return false;
	generation = __atomic_load_n(&slot->generation, __ATOMIC_RELAXED);
	if (tws_unlikely(!tws_swap_u64(tws_is_single(), (uint64_t *)(void *)&slot->state,
				       generation << 32 | TWS_CONN_FREE,
				       (generation + 1) << 32 | TWS_CONN_CLAIMED)))
		return false;
	ret_conn->book = book;
	ret_conn->slot = slot;
	ret_conn->generation = (uint32_t)generation + 1;
	ret_conn->word = TWS_FD_SLOT | (uint32_t)(book - tws_books) << 24 | index;
	return true;
}

static bool claim_between(struct tws_book *book, uint32_t from, uint32_t to,
			  struct tws_conn *ret_conn)
{
	for (uint32_t i = from; i < to; i++) {
		if (try_claim(book, i, ret_conn)) {
			note_taken(i);
			return true;
		}
		if (i >= tws_book_ready(book, TWS_SECTION_CONNECTIONS))
			return false; /* no memory */
	}
	return false;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Tries the slots that were last seen free, then a new one, then any. So a program
 * that opens one connection after another stays in one slot and one page, and a
 * program that holds thousands does not search them all each time. */
static bool find_slot(struct tws_book *book, struct tws_conn *ret_conn)
{
	uint32_t count = book->section[TWS_SECTION_CONNECTIONS].count;
	uint32_t used = tws_book_used(book, TWS_SECTION_CONNECTIONS);
	uint32_t seen = __atomic_load_n(&seen_free, __ATOMIC_RELAXED);
	uint32_t start = hint ? hint - 1 : seen;

	return claim_between(book, start, least(start + NEAR, used), ret_conn) ||
	       claim_between(book, seen, least(seen + NEAR, used), ret_conn) ||
	       claim_between(book, used, count, ret_conn) ||
	       claim_between(book, 0, used, ret_conn);
}

/* All slots seem taken, but those that were left to other processes may be settled by
 * now. The time is stored before the search, so that a slot that becomes free
 * meanwhile is not missed. */
static __attribute__((noinline)) bool find_settled(struct tws_book *book,
						   struct tws_conn *ret_conn)
{
	uint64_t began = tws_now(), until = began + LOOK_AGAIN_NS, now, pause;

	__atomic_store_n(&book->full_until_ns, until, __ATOMIC_SEQ_CST);
	tws_conn_sweep(book);
	if (find_slot(book, ret_conn)) {
		__atomic_store_n(&book->full_until_ns, 0, __ATOMIC_RELAXED);
		return true;
	}
	now = tws_now();
	pause = LOOK_AGAIN_NS + LOOK_AGAIN_TIMES * (now - began);
	if (pause > LOOK_AGAIN_MOST_NS)
		pause = LOOK_AGAIN_MOST_NS;
	__atomic_compare_exchange_n(&book->full_until_ns, &until, now + pause, false,
				    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return false;
}

static bool is_full(const struct tws_book *book)
{
	uint64_t until = __atomic_load_n(&book->full_until_ns, __ATOMIC_RELAXED);

	return __builtin_expect(until != 0, 0) && tws_now() < until;
}

/* A slot that this process has used before, where it last saw one free. */
static inline bool claim_again(struct tws_book *book, struct tws_conn *ret_conn)
{
	uint32_t at = hint - 1;

	if (tws_unlikely(at >= __atomic_load_n(&book->reached[TWS_SECTION_CONNECTIONS],
					       __ATOMIC_RELAXED)) ||
	    !try_claim(book, at, ret_conn))
		return false;
	hint = at + 2;
	return true;
}

static __attribute__((noinline)) bool claim_any(struct tws_book *book,
						struct tws_conn *ret_conn)
{
	if (!is_full(book) && (find_slot(book, ret_conn) || find_settled(book, ret_conn)))
		return true;
	tws_count_process(TWS_unobserved);
	return false;
}

/* The limit of descriptors per process, fs.nr_open, is 1 << 20 unless raised. */
static inline bool is_followed(int fd)
{
	if (tws_likely((unsigned)fd < TWS_FDS))
		return true;
	tws_count_process(TWS_unobserved);
	return false;
}

TWS_HOT bool tws_conn_claim(int fd, uint32_t flags, uint64_t began_ns,
			    struct tws_book *book, struct tws_conn *ret_conn)
{
	uint32_t before = tws_fd(fd);
	uint64_t cookie = is_followed(fd) ? tws_conn_cookie(fd, book) : 0;
	struct tws_connection *slot;

	if (tws_unlikely(!cookie ||
			 book != __atomic_load_n(&tws_own_book, __ATOMIC_ACQUIRE)))
		return false; /* no socket, or the book's file was truncated */
	/* Another thread has connected it since the caller looked. */
	if (tws_unlikely(before & TWS_FD_SLOT) && tws_conn_book(before))
		return false;
	if (!claim_again(book, ret_conn) && !claim_any(book, ret_conn))
		return false;
	slot = ret_conn->slot;
	/* Cleared in two pieces, because compilers turn a single one into a string
	 * instruction, which is slow to start. */
	memset(&slot->cookie, 0, 64 - offsetof(struct tws_connection, cookie));
	memset((char *)slot + 64, 0, sizeof(*slot) - 64);
	slot->cookie = cookie;
	slot->flags = flags | TWS_CONN_UNNAMED;
	slot->fd = fd;
	slot->descriptors = 1;
	slot->began_ns = began_ns;
	if (began_ns) /* nobody else knows the slot yet */
		__atomic_store_n(&slot->state, TWS_CONN_CONNECTING, __ATOMIC_RELEASE);
	slot->action[TWS_ACTION_SPAWNS] =
	    __atomic_load_n(&tws_self.spawns, __ATOMIC_RELAXED);
	if (tws_likely(tws_fd_replace(fd, before, ret_conn->word)))
		return true;
	tws_conn_move(ret_conn, TWS_CONN_CONNECTING, TWS_CONN_CLAIMED);
	tws_conn_free(ret_conn);
	ret_conn->book = NULL;
	return false;
}

/* ---------------------------------------------------------------- counting */

/* Option counters already added are still true; keep them. */
void tws_conn_unattempt(const struct tws_conn *conn)
{
	if (!tws_conn_move(conn, TWS_CONN_CONNECTING, TWS_CONN_CLAIMED))
		return;
	tws_conn_count(conn, TWS_attempts, (uint64_t)-1);
	tws_conn_unname(conn->slot);
}

bool tws_conn_establish(const struct tws_conn *conn, struct tws_tally tally, uint64_t now)
{
	return tws_conn_establish_as(tws_is_single(), conn, tally, now);
}

bool tws_conn_believe(const struct tws_conn *conn, uint64_t now)
{
	__atomic_fetch_or(&conn->slot->flags, TWS_CONN_BELIEVED, __ATOMIC_RELAXED);
	tws_conn_note(conn, now);
	return tws_conn_establish(conn, tws_conn_tally(conn), now);
}

static void count_failure(const struct tws_conn *conn, int error)
{
	tws_conn_count(conn, tws_failure_counter(error), 1);
	tws_conn_rule_failed(conn);
	/* From here on the next attempt may begin. */
	__atomic_store_n(&conn->slot->failure, (uint8_t)tws_failure_counter(error),
			 __ATOMIC_RELEASE);
}

void tws_conn_fail(const struct tws_conn *conn, int error)
{
	if (!tws_conn_move(conn, TWS_CONN_CONNECTING, TWS_CONN_CLAIMED))
		return;
	tws_conn_note(conn, tws_now());
	count_failure(conn, error);
}

/* A failed connect has one of these errors. Any other error means that an established
 * connection died, which will be found when it ends. */
void tws_conn_disbelieve(const struct tws_conn *conn, int error)
{
	if (error != ECONNREFUSED && error != EHOSTUNREACH && error != ENETUNREACH)
		return;
	if (!tws_conn_move(conn, TWS_CONN_OPEN, TWS_CONN_CLAIMED))
		return;
	__atomic_fetch_and(&conn->slot->flags, ~(uint32_t)TWS_CONN_BELIEVED,
			   __ATOMIC_RELAXED);
	conn->slot->established_ns = 0;
	tws_conn_note(conn, tws_now());
	tws_conn_count(conn, TWS_established, (uint64_t)-1);
	tws_conn_count_gone(conn, tws_conn_tally(conn));
	count_failure(conn, error);
}

/* --------------------------------------------------------------- handed on */

static struct tws_conn slot_of_socket(int fd, uint32_t word, struct tws_book *own)
{
	struct tws_conn ret = tws_conn_of(word);

	if (!ret.book && word & TWS_FD_SOCKET && own &&
	    !tws_conn_claim(fd, word & TWS_FD_FLAGS, 0, own, &ret))
		ret = tws_conn_of(tws_fd(fd)); /* another thread's slot, or none */
	return ret;
}

void tws_conn_copied(int from, int to, struct tws_book *own)
{
	uint32_t stale = tws_fd(to);
	uint32_t word = tws_fd(from);
	struct tws_conn conn;

	if (stale)
		tws_conn_vanished(to, stale);
	if (!word)
		return;
	conn = slot_of_socket(from, word, own);
	if (!conn.book)
		return;
	if (tws_conn_owned(&conn))
		__atomic_add_fetch(&conn.slot->descriptors, 1, __ATOMIC_ACQ_REL);
	tws_fd_set(to, conn.word);
}

/* In our memory, but not in our process: a vfork child is about to exec. */
void tws_conn_handed_on(int fd)
{
	struct tws_conn conn = tws_conn_of(tws_fd(fd));

	if (conn.book)
		__atomic_fetch_or(&conn.slot->flags, TWS_CONN_SHARED, __ATOMIC_RELAXED);
}

void tws_conn_share_sockets(void)
{
	for (int fd = 0; fd <= tws_fd_highest(); fd++) {
		uint32_t word = tws_fd(fd);

		/* Else another thread has just connected or closed it. */
		if ((word & (TWS_FD_SOCKET | TWS_FD_SLOT)) == TWS_FD_SOCKET)
			tws_fd_replace(fd, word, word | TWS_CONN_SHARED);
	}
}

static void share_book(struct tws_book *book)
{
	uint32_t used = tws_book_used(book, TWS_SECTION_CONNECTIONS);

	for (uint32_t i = 0; i < used; i++) {
		uint32_t state =
		    __atomic_load_n(&book->connections[i].state, __ATOMIC_RELAXED);

		if (state != TWS_CONN_FREE)
			__atomic_fetch_or(&book->connections[i].flags, TWS_CONN_SHARED,
					  __ATOMIC_RELAXED);
	}
}

void tws_conn_share_all(void)
{
	tws_conn_share_sockets();
	for (int i = 0; i < TWS_BOOKS; i++)
		if (tws_book_is_ours(&tws_books[i]))
			share_book(&tws_books[i]);
}
