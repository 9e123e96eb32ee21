/* SPDX-License-Identifier: MIT
 *
 * Processes: exit, exec and what is handed over at exec, children that share our memory.
 *
 * Connections that are close-on-exec end at exec, unless the exec fails. They are
 * therefore only marked with their ending, and the new image counts them (or the reader
 * does, if the new image does not have the shim). Connections that stay open are passed
 * to the new image in its environment:
 * TWSHIM_HANDOVER=SEGMENT=FD.SLOT,FD.SLOT;SEGMENT=...
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>

#include "shim/conn/conn_move.h"
#include "shim/conn/peek.h"
#include "shim/hooks.h"
#include "shim/own_book.h"
#include "shim/policy/policy.h"
#include "shim/coverage.h"
#include "shim/lifecycle.h"
#include "shim/book/self.h"
#include "shim/book/history.h"
#include "shim/book/publish.h"
#include "shim/shared/clock.h"
#include "shim/real.h"
#include "shim/shared/sys.h"
#include "shim/shared/text.h"

#ifndef RTLD_DEEPBIND /* in musl's headers */
#define RTLD_DEEPBIND 0x8
#endif

/* --------------------------------------------------------------------- exit */

static void end_at_exit(int fd)
{
	struct tws_end end;

	if (tws_hook_close(fd, TWS_VIA_EXIT, &end))
		tws_hook_went(&end);
}

static void set_state(enum tws_segment_state state)
{
	for (int i = 0; i < TWS_BOOKS; i++)
		if (tws_book_is_ours(&tws_books[i]))
			__atomic_store_n(&tws_books[i].header->state, (uint32_t)state,
					 __ATOMIC_RELEASE);
}

void tws_hook_exit(void)
{
	if (tws_fd_highest() < 0 || !tws_may_work())
		return;
	tws_book_check();
	for (int fd = 0; fd <= tws_fd_highest(); fd++)
		if (tws_fd(fd) & TWS_FD_SLOT)
			end_at_exit(fd);
	for (int i = 0; i < TWS_BOOKS; i++)
		if (tws_book_is_ours(&tws_books[i]))
			tws_conn_sweep(&tws_books[i]);
	set_state(TWS_SEGMENT_EXITED);
	tws_coverage_save();
}

/* --------------------------------------------------------------------- exec */

static bool closes_on_exec(int fd)
{
	return tws_sys2(SYS_fcntl, fd, F_GETFD) & FD_CLOEXEC;
}

/* Whether all descriptors of the connection are close-on-exec. */
static bool goes_at_exec(uint32_t word)
{
	for (int fd = 0; fd <= tws_fd_highest(); fd++)
		if (tws_fd(fd) == word && !closes_on_exec(fd))
			return false;
	return true;
}

/* Takes the last look at a connection that exec closes. Its other descriptors are
 * closed as well, so this one is treated as the last. */
static void mark(int fd)
{
	struct tws_conn conn = tws_conn_of(tws_fd(fd));
	struct tws_end end;

	if (!conn.book || !tws_conn_owned(&conn) || conn.slot->via ||
	    !goes_at_exec(conn.word))
		return;
	if (!tws_conn_look(fd, TWS_VIA_EXEC, &end) || !end.ends)
		return;
	tws_apply_close(&end);
	conn.slot->ending = (uint8_t)end.verdict.ending;
	conn.slot->failure = (uint8_t)end.verdict.failure;
	__atomic_store_n(&conn.slot->via, (uint8_t)TWS_VIA_EXEC, __ATOMIC_RELEASE);
}

static void name_book(struct tws_text *text, const struct tws_book *book)
{
	char name[96];

	tws_publish_name(book->header, name);
	tws_text_add(text, name);
	tws_text_add(text, "=");
}

static void hand_over_book(struct tws_text *text, const struct tws_book *book)
{
	bool named = false;

	for (int fd = 0; fd <= tws_fd_highest(); fd++) {
		struct tws_conn conn = tws_conn_of(tws_fd(fd));

		if (conn.book != book || text->end - text->at < 128)
			continue;
		if (!named)
			name_book(text, book);
		named = true;
		if (closes_on_exec(fd))
			continue;
		tws_text_number(text, (uint64_t)fd);
		tws_text_add(text, ".");
		tws_text_number(text, conn.word & 0xffffff);
		tws_text_add(text, ",");
	}
	if (named)
		tws_text_add(text, ";");
}

void tws_hook_exec(struct tws_exec *ret_exec)
{
	struct tws_text text =
	    tws_text_begin(ret_exec->handover, sizeof(ret_exec->handover));
	char *start;

	ret_exec->target[0] = '\0';
	if (tws_fd_highest() < 0 || !tws_may_work())
		return;
	tws_book_check();
	for (int fd = 0; fd <= tws_fd_highest(); fd++)
		if (tws_fd(fd) & TWS_FD_SLOT)
			mark(fd);
	tws_text_add(&text, TWS_HANDOVER "=");
	start = text.at;
	for (int i = 0; i < TWS_BOOKS; i++)
		if (tws_books[i].header)
			hand_over_book(&text, &tws_books[i]);
	if (text.at == start)
		ret_exec->handover[0] = '\0';
	set_state(TWS_SEGMENT_EXECED);
	tws_coverage_save();
}

/* The IDs may be the same as before, which the next connection finds out. A vfork
 * child changes only its own. */
void tws_hook_user_changed(void)
{
	if (__atomic_load_n(&tws_self.pid, __ATOMIC_RELAXED) && tws_may_work())
		tws_own_book_put_aside();
}

/* Where a process publishes cannot be reached from behind a chroot(), so a worker makes
 * its book before. Root's book may be kept by whatever user the worker becomes. A process
 * that was not forked, such as chroot(8), usually calls exec next. A vfork child must not
 * make a book, and cannot be told from its parent before there is one. */
void tws_hook_chroot(void)
{
	if (tws_process.is_fork && tws_may_work())
		tws_book_own();
}

void tws_hook_exec_failed(void)
{
	if (tws_fd_highest() < 0 || !tws_may_work())
		return;
	for (int fd = 0; fd <= tws_fd_highest(); fd++) {
		struct tws_conn conn = tws_conn_of(tws_fd(fd));

		if (conn.book && tws_conn_owned(&conn) && conn.slot->via == TWS_VIA_EXEC)
			conn.slot->via = TWS_VIA_NONE;
	}
	set_state(TWS_SEGMENT_LIVE);
}

/* ------------------------------------------------------------ the new image */

/* Counts the endings that the former image marked before its exec. */
static void count_marked(struct tws_book *book)
{
	uint32_t used = tws_book_used(book, TWS_SECTION_CONNECTIONS);

	for (uint32_t i = 0; i < used; i++) {
		struct tws_connection *slot = &book->connections[i];
		struct tws_end end = {.fd = -1, .via = TWS_VIA_EXEC};

		if (slot->via != TWS_VIA_EXEC || slot->flags & TWS_CONN_LEFT)
			continue;
		end.conn = (struct tws_conn){book, slot, 0, slot->generation};
		end.verdict.ending = tws_ending_held(slot->ending);
		end.verdict.failure = tws_failure_held(slot->failure);
		end.verdict.time_wait = end.verdict.ending == TWS_END_LOCAL_FIN;
		if (slot->flags & TWS_CONN_SHARED)
			continue; /* a child may hold it, so the reader settles it */
		tws_conn_end(&end);
	}
}

static void take_connection(int book, int fd, uint32_t index)
{
	struct tws_connection *slot = &tws_books[book].connections[index];
	struct tws_book *own;

	if (index >= tws_book_used(&tws_books[book], TWS_SECTION_CONNECTIONS) ||
	    !slot->cookie || tws_conn_cookie(fd, &tws_books[book]) != slot->cookie)
		return;
	tws_fd_set(fd, TWS_FD_SLOT | (uint32_t)book << 24 | index);
	own = tws_book_own();
	if (own)
		tws_history_adopted(own, &slot->remote, tws_now());
}

/* Parses FD.SLOT,FD.SLOT, and returns what follows. */
static char *take_connections(int book, char *at)
{
	while (*at >= '0' && *at <= '9') {
		int fd = (int)tws_text_parse(at);

		at += strspn(at, "0123456789");
		if (*at != '.')
			return at;
		take_connection(book, fd, (uint32_t)tws_text_parse(at + 1));
		at += 1 + strspn(at + 1, "0123456789");
		if (*at == ',')
			at++;
	}
	return at;
}

static void take_book(const char *name, char **at)
{
	struct tws_header layout;
	struct tws_header *header =
	    strchr(name, '/') ? NULL : tws_publish_open(name, &layout);
	int book = header ? tws_book_add(header, &layout) : -1;

	if (book < 0)
		return;
	/* A former image of this process wrote it, or of the process that forked this
	 * one. */
	if (layout.pid == (uint32_t)tws_self.pid && layout.state == TWS_SEGMENT_EXECED)
		count_marked(&tws_books[book]);
	*at = take_connections(book, *at);
}

void tws_hook_take_over(void)
{
	char *at = tws_process.handover;

	tws_process_own();
	for (int i = 0; i < TWS_BOOKS - 1 && *at; i++) {
		char *name = at;

		at += strcspn(at, "=");
		if (*at != '=')
			return;
		*at++ = '\0';
		take_book(name, &at);
		at += strcspn(at, ";");
		if (*at == ';')
			at++;
	}
}

/* ----------------------------------------------------------------- children */

/* A thread that libc did not make, and does not know. */
static void note_thread(uint64_t flags)
{
	tws_single_end();
	if (!(flags & CLONE_FILES))
		tws_process_note_split();
}

void tws_hook_clone(uint64_t flags)
{
	if (!(flags & CLONE_VM))
		tws_process_note_fork();
	else if (!(flags & CLONE_THREAD))
		tws_process_note_clone(flags & CLONE_FILES);
	else
		note_thread(flags);
}

/* Flags are the first word. If they cannot be read, the call fails. */
void tws_hook_clone3(const void *arguments)
{
	uint64_t flags = 0;

	if (tws_peek(&flags, arguments, sizeof(flags)))
		tws_hook_clone(flags);
}

/* ------------------------------------------- functions that must be jumped to
 *
 * vfork() returns twice, and dlopen() looks at its caller's address to find libraries:
 * both are left by a jump, so that the real function sees the client's own frame.
 */

__attribute__((visibility("hidden"))) void *tws_next_vfork;
__attribute__((visibility("hidden"))) void *tws_next_dlopen;
__attribute__((visibility("hidden"))) void tws_before_vfork(void);
__attribute__((visibility("hidden"))) int tws_before_dlopen(const char *file, int mode);

void tws_before_vfork(void)
{
	tws_real_resolve();
	__atomic_store_n(&tws_next_vfork, (void *)(uintptr_t)tws_real.vfork,
			 __ATOMIC_RELEASE);
	tws_process_note_vfork();
}

/* A process whose libraries open all of its connections must be visible, so it gets a
 * book. */
static void count_deepbind(void)
{
	if (tws_may_work() && tws_book_own())
		tws_count_process(TWS_deepbind_loads);
}

int tws_before_dlopen(const char *file, int mode)
{
	tws_real_resolve();
	__atomic_store_n(&tws_next_dlopen, (void *)(uintptr_t)tws_real.dlopen,
			 __ATOMIC_RELEASE);
	if (!file || !(mode & RTLD_DEEPBIND))
		return mode;
	if (tws_may_work())
		tws_policy_seek();
	if (tws_policy_settings().deepbind == TWS_DEEPBIND_STRIP)
		return mode & ~RTLD_DEEPBIND;
	count_deepbind();
	return mode;
}

#if defined(__x86_64__)
__asm__(".text\n"
	".globl vfork\n"
	".type vfork, @function\n"
	"vfork:\n"
	"	endbr64\n"
	"	sub $8, %rsp\n"
	"	call tws_before_vfork\n"
	"	add $8, %rsp\n"
	"	jmp *tws_next_vfork(%rip)\n"
	".size vfork, .-vfork\n"
	".globl dlopen\n"
	".type dlopen, @function\n"
	"dlopen:\n"
	"	endbr64\n"
	"	push %rdi\n"
	"	push %rsi\n"
	"	sub $8, %rsp\n"
	"	call tws_before_dlopen\n"
	"	add $8, %rsp\n"
	"	pop %rsi\n"
	"	pop %rdi\n"
	"	mov %eax, %esi\n"
	"	jmp *tws_next_dlopen(%rip)\n"
	".size dlopen, .-dlopen\n");
#elif defined(__aarch64__)
__asm__(".text\n"
	".globl vfork\n"
	".type vfork, %function\n"
	"vfork:\n"
	"	stp x29, x30, [sp, -16]!\n"
	"	bl tws_before_vfork\n"
	"	ldp x29, x30, [sp], 16\n"
	"	adrp x16, tws_next_vfork\n"
	"	ldr x16, [x16, :lo12:tws_next_vfork]\n"
	"	br x16\n"
	".size vfork, .-vfork\n"
	".globl dlopen\n"
	".type dlopen, %function\n"
	"dlopen:\n"
	"	stp x29, x30, [sp, -32]!\n"
	"	stp x0, x1, [sp, 16]\n"
	"	bl tws_before_dlopen\n"
	"	mov w9, w0\n"
	"	ldp x0, x1, [sp, 16]\n"
	"	ldp x29, x30, [sp], 32\n"
	"	mov w1, w9\n"
	"	adrp x16, tws_next_dlopen\n"
	"	ldr x16, [x16, :lo12:tws_next_dlopen]\n"
	"	br x16\n"
	".size dlopen, .-dlopen\n");
#elif defined(__i386__)
/* The caller's own arguments are on the stack, where the mode may be changed. */
__attribute__((visibility("hidden"))) void *tws_to_vfork(void);
__attribute__((visibility("hidden"))) void *tws_to_dlopen(const char *file, int *mode);

void *tws_to_vfork(void)
{
	tws_before_vfork();
	return tws_next_vfork;
}

void *tws_to_dlopen(const char *file, int *mode)
{
	*mode = tws_before_dlopen(file, *mode);
	return tws_next_dlopen;
}

__asm__(".text\n"
	".globl vfork\n"
	".type vfork, @function\n"
	"vfork:\n"
	"	subl $12, %esp\n"
	"	call tws_to_vfork\n"
	"	addl $12, %esp\n"
	"	jmp *%eax\n"
	".size vfork, .-vfork\n"
	".globl dlopen\n"
	".type dlopen, @function\n"
	"dlopen:\n"
	"	leal 8(%esp), %eax\n"
	"	movl 4(%esp), %edx\n"
	"	subl $4, %esp\n"
	"	pushl %eax\n"
	"	pushl %edx\n"
	"	call tws_to_dlopen\n"
	"	addl $12, %esp\n"
	"	jmp *%eax\n"
	".size dlopen, .-dlopen\n");
#endif
