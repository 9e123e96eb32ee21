/* SPDX-License-Identifier: MIT
 *
 * The way out in one step, as nearly all connections take it: closed first, by this
 * process, with nothing unread, and no policy that concerns it. All else goes through
 * tws_conn_look() and tws_conn_detach(), whose rules hold here as well (conn_end.c).
 */
#include "shim/conn/conn.h"

#include "shim/book/self.h"
#include "shim/conn/conn_move.h"
#include "shim/conn/facts.h"
#include "shim/conn/records.h"
#include "shim/shared/clock.h"
#include "shim/shared/hot.h"

/* Flags with which an ending needs a closer look, or more counting. */
#define FLAGS_UNUSUAL                                                                    \
	(TWS_ENDING_UNUSUAL | TWS_CONN_BELIEVED | TWS_CONN_LOW_WATER | TWS_CONN_SHARED)

/* Whether nothing is special about it but what poll() says: it is open, this is its only
 * descriptor, nobody shares it, and no rule, arm or count of bytes concerns it. */
static inline bool is_plain(const struct tws_conn *conn, uint64_t cookie)
{
	const struct tws_connection *slot = conn->slot;

	return cookie == slot->cookie && tws_conn_state(slot) == TWS_CONN_OPEN &&
	       !(slot->flags & FLAGS_UNUSUAL) &&
	       __atomic_load_n(&slot->descriptors, __ATOMIC_ACQUIRE) == 1 &&
	       !(slot->rule | slot->arm) && tws_conn_owned(conn) &&
	       !conn->book->header->detail &&
	       !__atomic_load_n(&tws_self.tables_split, __ATOMIC_RELAXED) &&
	       slot->action[TWS_ACTION_SPAWNS] ==
		   __atomic_load_n(&tws_self.spawns, __ATOMIC_RELAXED);
}

/* Does what tws_conn_detach() does for it. The last descriptor has just left the table,
 * so nobody needs its count any more. */
static inline TWS_ALWAYS_INLINE void end_plain(bool single, const struct tws_conn *conn,
					       enum tws_via via)
{
	const struct tws_bytes none = {0, 0};
	struct tws_connection *slot = conn->slot;
	struct tws_destination *entry;
	struct tws_ended_counts ended = {.ending = TWS_ended_local_fin,
					 .via = tws_via_counter(via)};
	uint64_t now;

	if (tws_unlikely(!tws_conn_move_as(single, conn, TWS_CONN_OPEN, TWS_CONN_ENDING)))
		return;
	now = tws_now();
	ended.lifetime_ns = now - slot->established_ns;
	ended.short_lived = tws_conn_is_short_lived(conn, now);
	slot->ending = TWS_END_LOCAL_FIN;
	slot->via = (uint8_t)via;
	slot->failure = (uint8_t)TWS_COUNTERS;
	if (ended.short_lived)
		slot->flags |= TWS_CONN_SHORT_LIVED;
	__atomic_store_n(&conn->book->header->heartbeat_ns, now, __ATOMIC_RELAXED);
	entry = tws_conn_entry(conn);
	tws_record_time_wait(single, conn);
	tws_history_note(conn->book, entry, now);
	tws_count_ended(single, &entry->counters, &ended);
	tws_add_as(single, &conn->book->process->value[TWS_open], (uint64_t)-1);
	tws_record_ended(single, conn, &none, now);
	tws_conn_free(conn);
}

static __attribute__((noinline)) bool close_slowly(int fd, struct tws_conn conn,
						   enum tws_via via,
						   struct tws_asked asked,
						   struct tws_end *ret_end)
{
	bool ret = tws_conn_look_at(fd, &conn, via, asked, ret_end);

	if (ret)
		tws_conn_detach(ret_end);
	return ret;
}

static TWS_COLD bool close_unconnected(int fd, enum tws_via via, struct tws_end *ret_end)
{
	bool ret = tws_conn_look(fd, via, ret_end);

	if (ret)
		tws_conn_detach(ret_end);
	return ret;
}

TWS_HOT bool tws_conn_close(int fd, uint32_t word, enum tws_via via,
			    struct tws_end *ret_end)
{
	struct tws_book *book = tws_conn_book(word);
	struct tws_asked asked = {.events = -1};
	struct tws_conn conn;

	if (tws_unlikely(!book))
		return close_unconnected(fd, via, ret_end);
	asked.cookie =
	    tws_conn_cookie(fd, book); /* before the first look into the book */
	conn = tws_conn_in(book, word);
	if (tws_likely(is_plain(&conn, asked.cookie))) {
		tws_records_expect(book);
		asked.events = tws_facts_poll(fd);
		if (tws_likely(asked.events == POLLOUT)) {
			if (tws_unlikely(!tws_fd_replace(fd, word, 0)))
				return false; /* another thread or a signal handler */
			if (tws_is_single())
				end_plain(true, &conn, via);
			else
				end_plain(false, &conn, via);
			return false;
		}
	}
	/* If the book is lost, so is the word. */
	return tws_fd(fd) == word && close_slowly(fd, conn, via, asked, ret_end);
}
