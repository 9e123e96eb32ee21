/* SPDX-License-Identifier: MIT
 *
 * One word per port: the process that holds it, or the time since when it is free. A
 * port of a killed process becomes free as soon as somebody looks.
 */
#include "shim/book/port_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>

#include "shim/shared/clock.h"
#include "shim/book/memory.h"
#include "shim/book/self.h"
#include "shim/book/publish.h"
#include "shim/shared/sys.h"
#include "shim/shared/text.h"

#define RINGS 8
#define MAGIC 0x474e495250534157ULL
#define IN_USE                                                                           \
	0x8000000000000000ULL /* the rest is a pid; without this bit, the word is a time \
				 in milliseconds */

struct ring {
	uint64_t magic;
	uint16_t low, high; /* for readers of the file; the shim does not rely on them */
	uint32_t reserved;
	uint64_t next; /* atomic; ticket of the port to be handed out next */
	uint64_t unused[5];
	uint64_t port[]; /* atomic; 0: never used */
};

/* A ring that is mapped here, and what this process knows about it. */
static struct place {
	struct ring *ring;   /* atomic */
	uint32_t range;	     /* atomic; low << 16 | high, 0: not known yet */
	uint64_t checked_ns; /* atomic; when its file was last seen to be whole */
} places[RINGS];

static uint64_t now_ms(void)
{
	return tws_now() / 1000000;
}

static size_t size_of(uint16_t low, uint16_t high)
{
	return sizeof(struct ring) + (size_t)(high - low + 1) * sizeof(uint64_t);
}

static int open_file(uint16_t low, uint16_t high)
{
	char name[48];
	struct tws_text text = tws_text_begin(name, sizeof(name));
	int directory = tws_publish_directory(true);
	int ret;

	if (directory < 0)
		return directory;
	if (!tws_may_write(size_of(low, high))) {
		tws_sys1(SYS_close, directory);
		return -EFBIG;
	}
	tws_text_add(&text, "ring-");
	tws_text_number(&text, low);
	tws_text_add(&text, "-");
	tws_text_number(&text, high);
	tws_text_add(&text, ".map");
	ret = (int)tws_sys4(SYS_openat, directory, name,
			    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	tws_sys1(SYS_close, directory);
	if (ret >= 0 && tws_fallocate((int)ret, size_of(low, high)) != 0) {
		tws_sys1(SYS_close, ret);
		return -ENOSPC;
	}
	return ret;
}

/* Every process stores the same words, so the first needs no lock. `at`: the mapping
 * to replace; NULL: make a new one. */
static struct ring *map_ring(struct ring *at, uint16_t low, uint16_t high)
{
	struct ring *ring;
	int fd = open_file(low, high);

	if (fd < 0)
		return NULL;
	ring = tws_mapping(tws_sys6(SYS_mmap, (long)(uintptr_t)at,
				    (long)size_of(low, high), PROT_READ | PROT_WRITE,
				    MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0));
	tws_sys1(SYS_close, fd);
	if (!ring)
		return NULL;
	ring->low = low;
	ring->high = high;
	__atomic_store_n(&ring->magic, MAGIC, __ATOMIC_RELEASE);
	return ring;
}

static int find_ring(uint32_t range)
{
	for (int i = 0; i < RINGS; i++)
		if (__atomic_load_n(&places[i].range, __ATOMIC_ACQUIRE) == range)
			return i;
	return -1;
}

/* Enters a mapping into a free place. Returns its index, or -1. */
static int keep_ring(struct ring *made, uint32_t range)
{
	for (int i = 0; i < RINGS; i++) {
		struct ring *none = NULL;

		if (!__atomic_compare_exchange_n(&places[i].ring, &none, made, false,
						 __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			continue;
		__atomic_store_n(&places[i].checked_ns, tws_now(), __ATOMIC_RELAXED);
		__atomic_store_n(&places[i].range, range, __ATOMIC_RELEASE);
		return i;
	}
	return -1;
}

/* Returns the index of the ring, or -1. Two threads may both open it: then the file
 * has two places, or the second thread finds the first one's place and removes its
 * own. */
static int open_ring(uint16_t low, uint16_t high)
{
	const uint32_t range = (uint32_t)low << 16 | high;
	int ret = find_ring(range);
	struct ring *made;

	if (ret >= 0 || __atomic_load_n(&places[RINGS - 1].ring, __ATOMIC_ACQUIRE))
		return ret;
	made = map_ring(NULL, low, high);
	if (!made)
		return -1;
	ret = find_ring(range);
	if (ret < 0)
		ret = keep_ring(made, range);
	if (ret < 0 || places[ret].ring != made)
		tws_sys2(SYS_munmap, made, size_of(low, high));
	return ret;
}

/* Returns the ring if its words may be touched: its file was seen whole within the
 * last ten milliseconds, or is checked now. A truncated file is made whole again; if
 * that fails, private memory takes its place. NULL: there is no such ring. */
static struct ring *whole_ring(uint32_t index)
{
	struct place *place = &places[index];
	uint32_t range = __atomic_load_n(&place->range, __ATOMIC_ACQUIRE);
	struct ring *ring = place->ring;
	size_t size = size_of((uint16_t)(range >> 16), (uint16_t)range);

	if (!range || tws_now() - __atomic_load_n(&place->checked_ns, __ATOMIC_RELAXED) <=
			  TWS_FRESH_NS)
		return range ? ring : NULL;
	if (tws_memory_read((uintptr_t)ring + size - 1) == -EFAULT &&
	    !map_ring(ring, (uint16_t)(range >> 16), (uint16_t)range))
		tws_sys6(SYS_mmap, (long)(uintptr_t)ring, (long)size,
			 PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			 -1, 0);
	__atomic_store_n(&place->checked_ns, tws_now(), __ATOMIC_RELAXED);
	return ring;
}

/* Whether the process that holds a port has ended. In a full ring most ports belong to
 * the same process, so a pid known to be alive (*alive) is not asked about again. */
static bool is_gone(uint32_t pid, uint32_t *alive)
{
	if (pid == *alive)
		return false;
	if (tws_sys2(SYS_kill, pid, 0) == -ESRCH)
		return true;
	*alive = pid;
	return false;
}

/* How many milliseconds this port still has to wait; UINT32_MAX: it is in use. */
static uint32_t wait_of(uint64_t word, uint32_t age_ms, uint32_t *alive)
{
	uint64_t age;

	if (!word)
		return 0;
	if (word & IN_USE)
		return is_gone(word & 0x7fffffff, alive) ? age_ms : UINT32_MAX;
	age = now_ms() - word;
	return age >= age_ms ? 0 : (uint32_t)(age_ms - age);
}

/* Gives back the port of a dead process: its age counts from now. */
static void bury(uint64_t *port, uint64_t word)
{
	if (word & IN_USE)
		__atomic_compare_exchange_n(port, &word, now_ms(), false,
					    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* Tries the next port. 0: taken; 1: it has to wait *ret_wait_ms; 2: it is in use. */
static int try_next(struct ring *ring, uint32_t range, uint32_t age_ms, uint32_t *alive,
		    uint16_t *ret_port, uint32_t *ret_wait_ms)
{
	uint32_t low = range >> 16;
	uint32_t count = (uint16_t)range - low + 1;
	uint64_t ticket = __atomic_fetch_add(&ring->next, 1, __ATOMIC_RELAXED);
	uint64_t *port = &ring->port[ticket % count];
	uint64_t word = __atomic_load_n(port, __ATOMIC_ACQUIRE);
	uint32_t wait = wait_of(word, age_ms, alive);

	if (!wait &&
	    __atomic_compare_exchange_n(port, &word, IN_USE | (uint32_t)tws_self.pid,
					false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
		*ret_port = (uint16_t)(low + ticket % count);
		return 0;
	}
	if (!wait || wait == UINT32_MAX)
		return 2;
	*ret_wait_ms = wait;
	bury(port, word);
	return 1;
}

int tws_port_ring_take(uint16_t low, uint16_t high, uint32_t age_ms, uint16_t *ret_port,
		       uint32_t *ret_word, uint32_t *ret_wait_ms)
{
	int index = low && low <= high ? open_ring(low, high) : -1;
	struct ring *ring = index < 0 ? NULL : whole_ring((uint32_t)index);
	uint32_t alive = (uint32_t)tws_self.pid;

	*ret_wait_ms = 0;
	if (!ring)
		return -ENOSPC;
	for (uint32_t tries = 0; tries <= (uint32_t)(high - low); tries++) {
		switch (try_next(ring, (uint32_t)low << 16 | high, age_ms, &alive,
				 ret_port, ret_wait_ms)) {
		case 0:
			*ret_word = (uint32_t)(index + 1) << 16 | *ret_port;
			return 0;
		case 1:
			/* The ring is in order of age, so all that follow are younger
			 * still. */
			__atomic_fetch_sub(&ring->next, 1, __ATOMIC_RELAXED);
			return -EAGAIN;
		}
	}
	return -EAGAIN;
}

void tws_port_ring_give(uint32_t word)
{
	uint32_t index = word >> 16;
	uint16_t port = (uint16_t)word;
	struct ring *ring = index && index <= RINGS ? whole_ring(index - 1) : NULL;
	uint32_t low;

	if (!ring)
		return;
	low = places[index - 1].range >> 16;
	if (port >= low && port <= (uint16_t)places[index - 1].range)
		__atomic_store_n(&ring->port[port - low], now_ms(), __ATOMIC_RELEASE);
}

bool tws_port_ring_supported(void)
{
	static int known; /* 1: yes, 2: no */
	char digit = '1';
	long fd;

	if (!known) {
		fd = tws_sys4(SYS_openat, AT_FDCWD, "/proc/sys/net/ipv4/tcp_timestamps",
			      O_RDONLY | O_CLOEXEC, 0);
		if (fd >= 0) {
			tws_sys3(SYS_read, fd, &digit, 1);
			tws_sys1(SYS_close, fd);
		}
		known = digit == '0' ? 2 : 1;
	}
	return known == 1;
}
