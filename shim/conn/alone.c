/* SPDX-License-Identifier: MIT
 *
 * The ways in which a socket becomes shared, and how each is ruled out:
 *
 * - fork, by any call. The kernel write-protects a page of ours when it copies it. So a
 *   write that causes no fault shows that there was no fork since the last write. It does
 *   not matter what became of the child. (A fault may have other causes; then a reset is
 *   left out.)
 * - vfork and clone(CLONE_VM) copy no page. The process must have no child, dead or
 * alive, and must have waited for none since.
 * - A second descriptor. Every descriptor of the process is examined. None may lead to
 * the same socket, none may be an io_uring (it may hold the socket as a registered file),
 * and none may be a Unix socket to another process, which could have received the socket
 * by SCM_RIGHTS.
 *
 * The wrappers note a thread that has its own descriptor table. A process that may trace
 * this one can take a descriptor by pidfd_getfd() and leave no trace; only children are
 * ruled out.
 */
#include "shim/conn/alone.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "shim/book/self.h"
#include "shim/shared/sys.h"
#include "shim/shared/text.h"

#define PAGES		4     /* how many threads can look at the same time */
#define PAGE_STEP	65536 /* the largest page of any machine */
#define MOST_PARTS	100   /* room for about 30 descriptors, read for one reset */
#define STANDARD_STREAM 2
#define UNKNOWN		UINT64_MAX

uint32_t tws_alone_armed;

static char *pages;			       /* atomic; NULL: none could be had */
static uint32_t taken[PAGES];		       /* atomic; being written by a thread */
static uint64_t children_waited_for = UNKNOWN; /* atomic; see waited_for() */

/* ---------------------------------------------------------------- witnesses */

static uint64_t faults(void)
{
	struct rusage usage = {0};

	if (tws_sys2(SYS_getrusage, RUSAGE_THREAD, &usage) != 0)
		return 0;
	return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

static void touch(char *at, unsigned page)
{
	__atomic_store_n((uint32_t *)(void *)(at + (size_t)page * PAGE_STEP), 1,
			 __ATOMIC_SEQ_CST);
}

static bool take(unsigned page)
{
	return !__atomic_exchange_n(&taken[page], 1, __ATOMIC_ACQUIRE);
}

static void give(unsigned page)
{
	__atomic_store_n(&taken[page], 0, __ATOMIC_RELEASE);
}

static bool take_any(unsigned *ret_page)
{
	for (unsigned i = 0; i < PAGES; i++)
		if (take(i)) {
			*ret_page = i;
			return true;
		}
	return false;
}

/* Huge pages are disabled, because a huge page in its place would be writable. */
static char *make_pages(void)
{
	long size = (long)PAGES * PAGE_STEP;
	char *ret =
	    tws_mapping(tws_sys6(SYS_mmap, 0, size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));

	if (!ret)
		return NULL;
	tws_sys3(SYS_madvise, ret, size, MADV_NOHUGEPAGE);
	for (unsigned i = 0; i < PAGES; i++)
		touch(ret, i);
	return ret;
}

/* Page `mine` showed a fork. The other pages show it too, and would make connections
 * that are opened from now on suspect. They are written before the marks are set and
 * released after it, so that a thread that finds one clean also finds the marks. */
static void mark_all(char *at, unsigned mine)
{
	uint32_t others = 0;

	for (unsigned i = 0; i < PAGES; i++)
		if (i != mine && take(i)) {
			others |= 1u << i;
			touch(at, i);
		}
	tws_conn_share_all();
	for (unsigned i = 0; i < PAGES; i++)
		if (others >> i & 1)
			give(i);
}

static bool forked(char *at, unsigned page)
{
	uint64_t before = faults();

	touch(at, page);
	return !before || faults() != before;
}

/* ----------------------------------------------------------------- children */

/* Grows with each child that was waited for. A program's exec keeps it. */
static uint64_t waited_for(void)
{
	struct rusage usage = {0};

	if (tws_sys2(SYS_getrusage, RUSAGE_CHILDREN, &usage) != 0)
		return 0;
	return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt +
	       (uint64_t)usage.ru_nvcsw + (uint64_t)usage.ru_nivcsw;
}

static bool saw_child(void)
{
	return __atomic_load_n(&tws_self.spawns, __ATOMIC_RELAXED) ||
	       __atomic_load_n(&tws_self.forks, __ATOMIC_RELAXED);
}

/* Whether there is a child that no wrapper saw being made. If wrappers saw some, this
 * cannot be known. */
static bool had_child(void)
{
	uint64_t before = __atomic_load_n(&children_waited_for, __ATOMIC_ACQUIRE);
	uint64_t now = waited_for();
	bool ret = before != UNKNOWN && now != before && !saw_child();

	if (ret)
		tws_conn_share_all();
	__atomic_store_n(&children_waited_for, now, __ATOMIC_RELEASE);
	return ret;
}

static bool has_child(void)
{
	return tws_sys5(SYS_waitid, P_ALL, 0, 0, WEXITED | WNOHANG | WNOWAIT | __WALL,
			0) != -ECHILD;
}

/* -------------------------------------------------------------- descriptors */

static bool is_ring(long directory, const char *number)
{
	static const char name[] = "anon_inode:[io_uring]";
	const long length = sizeof(name) - 1;
	char target[sizeof(name)];

	return tws_sys4(SYS_readlinkat, directory, number, target, sizeof(target)) ==
		   length &&
	       !memcmp(target, name, (size_t)length);
}

/* Whether this is a Unix socket that leads to another process. The standard streams of
 * a service are such sockets (to the journal), and nobody sends descriptors through
 * them. */
static bool leads_out(int fd)
{
	struct ucred peer = {0, 0, 0};
	uint32_t length = sizeof(int);
	int domain = 0;

	if (fd <= STANDARD_STREAM ||
	    tws_getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 ||
	    domain != AF_UNIX)
		return false;
	length = sizeof(peer);
	return tws_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 ||
	       peer.pid != tws_self.pid;
}

static bool may_share(const struct tws_end *end, long directory, const char *number)
{
	int fd = (int)tws_text_parse(number);
	uint64_t cookie = 0;
	long ret;

	if (*number == '.' || fd == end->fd || fd == directory)
		return false;
	ret = tws_conn_ask_cookie(fd, &cookie);
	if (ret == 0)
		return cookie == end->conn.slot->cookie ||
		       (!(tws_fd(fd) & TWS_FD_SLOT) && leads_out(fd));
	return ret != -EBADF && (ret != -ENOTSOCK || is_ring(directory, number));
}

/* Looks at the next entries of the directory. Returns 0 if none leads to a holder; 1
 * if there are no more; a negative number if one may lead to a holder or this cannot
 * be known. */
static int look_at_some(const struct tws_end *end, long directory)
{
	char room[1024] __attribute__((aligned(8))) = {0};
	long size = tws_sys3(SYS_getdents64, directory, room, sizeof(room));

	for (long at = 0; at < size;) {
		const struct dirent64 *entry = (const void *)(room + at);

		if (may_share(end, directory, entry->d_name))
			return -1;
		at += entry->d_reclen;
	}
	return size < 0 ? -1 : !size;
}

/* Returns false also if there are too many to look at. */
static bool is_only_descriptor(const struct tws_end *end)
{
	long directory = tws_sys4(SYS_openat, AT_FDCWD, "/proc/self/fd",
				  O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	int ret = directory < 0 ? -1 : 0;

	for (int i = 0; ret == 0 && i < MOST_PARTS; i++)
		ret = look_at_some(end, directory);
	if (directory >= 0)
		tws_sys1(SYS_close, directory);
	return ret == 1;
}

/* ------------------------------------------------------------------ outside */

void tws_alone_begin(void)
{
	uint64_t unknown = UNKNOWN;

	if (__atomic_load_n(&children_waited_for, __ATOMIC_ACQUIRE) == UNKNOWN)
		__atomic_compare_exchange_n(&children_waited_for, &unknown, waited_for(),
					    false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

void tws_alone_arm(void)
{
	char *none = NULL, *made;

	if (__atomic_load_n(&tws_alone_armed, __ATOMIC_ACQUIRE))
		return;
	had_child();
	made = make_pages();
	if (!made || !__atomic_compare_exchange_n(&pages, &none, made, false,
						  __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
		if (made)
			tws_sys2(SYS_munmap, made, (long)PAGES * PAGE_STEP);
		return;
	}
	__atomic_store_n(&tws_alone_armed, 1, __ATOMIC_RELEASE);
}

bool tws_alone_look(void)
{
	char *at = __atomic_load_n(&pages, __ATOMIC_ACQUIRE);
	unsigned mine = 0;
	bool ret;

	if (!at || !take_any(&mine))
		return false;
	ret = !forked(at, mine);
	if (!ret)
		mark_all(at, mine);
	give(mine);
	return !had_child() && ret;
}

bool tws_alone(const struct tws_end *end)
{
	return !tws_self.tables_split && tws_alone_look() && !has_child() &&
	       !(__atomic_load_n(&end->conn.slot->flags, __ATOMIC_ACQUIRE) &
		 TWS_CONN_SHARED) &&
	       is_only_descriptor(end);
}

/* The child's pages were copied, and it has no children yet. */
void tws_alone_forked(void)
{
	memset(taken, 0, sizeof(taken));
	children_waited_for = 0;
	for (unsigned i = 0; pages && i < PAGES; i++)
		touch(pages, i);
	tws_conn_share_sockets();
}
