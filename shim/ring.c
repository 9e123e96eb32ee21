/* SPDX-License-Identifier: MIT
 *
 * One word a port: who has it, or since when nobody has. A port of a process that was
 * killed is free again as soon as somebody looks.
 */
#include "shim/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>

#include "shim/process.h"
#include "shim/publish.h"
#include "shim/sys.h"
#include "shim/text.h"

#define RINGS 8
#define MAGIC 0x474e495250534157ULL
#define IN_USE                                                                           \
	0x8000000000000000ULL /* the rest is a pid; else milliseconds of the clock */

struct ring {
	uint64_t magic;
	uint16_t low, high;
	uint32_t reserved;
	uint64_t next; /* atomic; ticket of the port to be handed out next */
	uint64_t unused[5];
	uint64_t port[]; /* atomic; 0: never used */
};

static struct ring *rings[RINGS];

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
	if (ret >= 0 && tws_sys4(SYS_fallocate, ret, 0, 0, size_of(low, high)) != 0) {
		tws_sys1(SYS_close, ret);
		return -ENOSPC;
	}
	return ret;
}

/* Whoever is first stores the same words as any other: no lock. */
static struct ring *map_ring(uint16_t low, uint16_t high)
{
	struct ring *ring;
	int fd = open_file(low, high);

	if (fd < 0)
		return NULL;
	ring = tws_mapping(tws_sys6(SYS_mmap, 0, (long)size_of(low, high),
				    PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	tws_sys1(SYS_close, fd);
	if (!ring)
		return NULL;
	ring->low = low;
	ring->high = high;
	__atomic_store_n(&ring->magic, MAGIC, __ATOMIC_RELEASE);
	return ring;
}

/* Index of the ring, or -1. */
static int open_ring(uint16_t low, uint16_t high)
{
	struct ring *made = NULL;

	for (int i = 0; i < RINGS; i++) {
		struct ring *at = __atomic_load_n(&rings[i], __ATOMIC_ACQUIRE);

		if (!at) {
			if (!made)
				made = map_ring(low, high);
			if (!made)
				return -1;
			if (__atomic_compare_exchange_n(&rings[i], &at, made, false,
							__ATOMIC_ACQ_REL,
							__ATOMIC_ACQUIRE))
				return i;
		}
		if (at->low == low && at->high == high)
			return i;
	}
	return -1;
}

/* How many milliseconds this port has to wait; UINT32_MAX: it is in use. */
static uint32_t wait_of(uint64_t word, uint32_t age_ms)
{
	uint64_t age;

	if (!word)
		return 0;
	if (word & IN_USE)
		return tws_sys2(SYS_kill, word & 0x7fffffff, 0) == -ESRCH ? age_ms
									  : UINT32_MAX;
	age = now_ms() - word;
	return age >= age_ms ? 0 : (uint32_t)(age_ms - age);
}

/* A port of a dead process is given back in its name, and comes of age from now. */
static void bury(uint64_t *port, uint64_t word)
{
	if (word & IN_USE)
		__atomic_compare_exchange_n(port, &word, now_ms(), false,
					    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* One port in turn. 0: taken; 1: this one has to wait *ret_wait_ms; 2: it is in use. */
static int try_next(struct ring *ring, uint32_t age_ms, uint16_t *ret_port,
		    uint32_t *ret_wait_ms)
{
	uint32_t count = (uint32_t)(ring->high - ring->low + 1);
	uint64_t ticket = __atomic_fetch_add(&ring->next, 1, __ATOMIC_RELAXED);
	uint64_t *port = &ring->port[ticket % count];
	uint64_t word = __atomic_load_n(port, __ATOMIC_ACQUIRE);
	uint32_t wait = wait_of(word, age_ms);

	if (!wait &&
	    __atomic_compare_exchange_n(port, &word, IN_USE | (uint32_t)tws_process.pid,
					false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
		*ret_port = (uint16_t)(ring->low + ticket % count);
		return 0;
	}
	if (!wait || wait == UINT32_MAX)
		return 2;
	*ret_wait_ms = wait;
	bury(port, word);
	return 1;
}

int tws_ring_take(uint16_t low, uint16_t high, uint32_t age_ms, uint16_t *ret_port,
		  uint32_t *ret_word, uint32_t *ret_wait_ms)
{
	int index = low && low <= high ? open_ring(low, high) : -1;
	struct ring *ring = index < 0 ? NULL : rings[index];

	*ret_wait_ms = 0;
	if (!ring)
		return -ENOSPC;
	for (uint32_t tries = 0; tries <= (uint32_t)(high - low); tries++) {
		switch (try_next(ring, age_ms, ret_port, ret_wait_ms)) {
		case 0:
			*ret_word = (uint32_t)(index + 1) << 16 | *ret_port;
			return 0;
		case 1:
			/* The ring runs in order of age: who follows is younger still. */
			__atomic_fetch_sub(&ring->next, 1, __ATOMIC_RELAXED);
			return -EAGAIN;
		}
	}
	return -EAGAIN;
}

void tws_ring_give(uint32_t word)
{
	uint32_t index = word >> 16;
	uint16_t port = (uint16_t)word;
	struct ring *ring = index && index <= RINGS ? rings[index - 1] : NULL;

	if (ring && port >= ring->low && port <= ring->high)
		__atomic_store_n(&ring->port[port - ring->low], now_ms(),
				 __ATOMIC_RELEASE);
}

bool tws_ring_supported(void)
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
