/* SPDX-License-Identifier: MIT
 *
 * The ways in which a descriptor dies. Each goes through tws_conn_look(), the policy,
 * tws_conn_detach() and, after the real call, tws_conn_settle().
 */
#include <fcntl.h>
#include <linux/close_range.h>

#include "shim/conn/fresh.h"
#include "shim/hooks.h"
#include "shim/own_book.h"
#include "shim/shared/hot.h"
#include "shim/policy/policy.h"
#include "shim/lifecycle.h"
#include "shim/shared/sys.h"

static TWS_COLD bool close_by_plan(int fd, enum tws_via via, struct tws_end *ret_end)
{
	if (!tws_conn_look(fd, via, ret_end))
		return false;
	tws_apply_close(ret_end);
	tws_conn_detach(ret_end);
	return true;
}

TWS_HOT bool tws_hook_close(int fd, enum tws_via via, struct tws_end *ret_end)
{
	uint32_t word = tws_fd(fd);

	if (tws_unlikely(!word || !tws_may_work()))
		return false;
	if (tws_unlikely(__atomic_load_n(&tws_plans, __ATOMIC_RELAXED)))
		return close_by_plan(fd, via, ret_end);
	return tws_conn_close(fd, word, via, ret_end);
}

/* A close that lingers takes time, and the file may have been truncated meanwhile. */
void tws_hook_settle(struct tws_end *end)
{
	tws_freshen_book(end->conn.book);
	tws_conn_settle(end);
}

void tws_hook_went(struct tws_end *end)
{
	if (end->ends && end->shared)
		tws_conn_leave(end);
	else if (end->ends && end->recheck)
		tws_conn_end(end);
}

/* Each of our connections is closed on its own just before the real call, so that the
 * kernel can be asked about it afterwards. This is not done with CLOSE_RANGE_UNSHARE:
 * until the real call, the descriptors still belong to other threads too. */
static void close_each(unsigned first, unsigned last, bool unshare)
{
	int highest = tws_fd_highest();
	struct tws_end end;
	bool unsettled;

	for (unsigned fd = first; fd <= last && fd <= (unsigned)highest; fd++) {
		if (!tws_fd((int)fd))
			continue;
		unsettled = tws_hook_close((int)fd, TWS_VIA_CLOSE_RANGE, &end);
		if (!unshare)
			tws_sys1(SYS_close, fd);
		if (unsettled && unshare)
			tws_hook_went(&end);
		else if (unsettled)
			tws_hook_closed(&end);
	}
}

static bool has_to_close(unsigned first)
{
	int highest = tws_fd_highest();

	return highest >= 0 && first <= (unsigned)highest && tws_may_work();
}

void tws_hook_close_from(unsigned first)
{
	if (has_to_close(first))
		close_each(first, ~0u, false);
}

/* A call that must fail closes nothing. It fails with flags that the kernel does not
 * know, on a kernel that lacks the call, and behind a filter that refuses it, as in
 * some containers. */
static bool kernel_closes(int flags)
{
	return flags ? flags == CLOSE_RANGE_UNSHARE
		     : tws_sys3(SYS_close_range, ~0u, ~0u, 0) == 0;
}

void tws_hook_close_range(unsigned first, unsigned last, int flags)
{
	if (flags & CLOSE_RANGE_UNSHARE)
		tws_process_note_split();
	if (first <= last && has_to_close(first) && kernel_closes(flags))
		close_each(first, last, flags);
}

void tws_hook_overwrite(int from, int to, int flags, struct tws_end *ret_end)
{
	ret_end->conn.book = NULL;
	ret_end->word = 0;
	/* A call that must fail changes nothing, so no policy may act either. */
	if (from == to || flags & ~O_CLOEXEC || !tws_fd(to) || !tws_may_work() ||
	    tws_sys2(SYS_fcntl, from, F_GETFD) < 0)
		return;
	if (tws_conn_look(to, TWS_VIA_DUP, ret_end))
		tws_apply_close(ret_end);
	else
		ret_end->word = 0;
}

void tws_hook_overwritten(int from, int to, int result, struct tws_end *end)
{
	if (result != to || from == to)
		return;
	if (end->word) {
		tws_conn_detach(end);
		tws_hook_closed(end);
	}
	tws_hook_copied(from, to);
}

/* A socket that gets a second descriptor before it is connected needs a slot now, so that
 * both lead to the same connection later. */
static struct tws_book *book_for_socket(uint32_t word)
{
	return !(word & TWS_FD_SLOT) && word & TWS_FD_SOCKET ? tws_book_own() : NULL;
}

void tws_hook_copied(int from, int to)
{
	if ((!tws_fd(from) && !tws_fd(to)) || from == to)
		return;
	if (!tws_may_work()) {
		tws_conn_handed_on(from);
		return;
	}
	tws_freshen(from);
	tws_freshen(to);
	tws_conn_copied(from, to, book_for_socket(tws_fd(from)));
}

/* In a vfork child: it keeps the connection over its exec, whatever our own flag says. */
void tws_hook_kept_over_exec(int fd)
{
	if (tws_fd(fd) && !tws_may_work())
		tws_conn_handed_on(fd);
}
