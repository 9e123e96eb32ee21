/* SPDX-License-Identifier: MIT
 *
 * A preload that makes the shim's three system calls per connection, reads the time as
 * often, and writes what a segment keeps of a connection, without a single check: one
 * thread, IPv4, every connection succeeds and is closed first by this side, none is
 * inherited, shared or handed on. It shows the least that the counts can cost on this
 * machine. The bench times it beside the shim.
 */
#include <dlfcn.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "shim/conn/records.h"

#define FDS   4096
#define ENDED 1024
#define WAITS 4096

/* As in a segment, each part begins on a page of its own. */
struct kept {
	_Alignas(4096) struct tws_header header;
	_Alignas(4096) struct tws_connection slot;
	_Alignas(4096) struct tws_counters process;
	_Alignas(4096) struct tws_destination destination;
	_Alignas(4096) struct tws_ended ended[ENDED];
	_Alignas(4096) uint64_t time_wait[WAITS];
};

static int (*next_connect)(int fd, const struct sockaddr *address, socklen_t length);
static int (*next_close)(int fd);

static struct kept *kept;
static unsigned char connected[FDS];

__attribute__((constructor)) static void begin(void)
{
	*(void **)&next_connect = dlsym(RTLD_NEXT, "connect");
	*(void **)&next_close = dlsym(RTLD_NEXT, "close");
	kept = mmap(NULL, sizeof(*kept), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void ask_cookie(int fd, uint64_t *ret_cookie)
{
	socklen_t length = sizeof(*ret_cookie);

	getsockopt(fd, SOL_SOCKET, SO_COOKIE, ret_cookie, &length);
}

static void count_time(enum tws_histogram_id id, uint64_t nanoseconds)
{
	struct tws_histogram *histogram = &kept->destination.counters.histogram[id];

	histogram->count[tws_histogram_bucket(id, nanoseconds / 1000)]++;
	histogram->sum += nanoseconds / 1000;
}

static void count_open(struct tws_counters *counters)
{
	uint64_t open = ++counters->value[TWS_open];

	if (open > counters->value[TWS_peak_open])
		counters->value[TWS_peak_open] = open;
}

static void attempt(int fd)
{
	struct tws_connection *slot = &kept->slot;

	memset(slot, 0, sizeof(*slot));
	ask_cookie(fd, &slot->cookie);
	connected[fd] = 1;
	slot->began_ns = kept->header.heartbeat_ns = now_ns();
	slot->state = TWS_CONN_CONNECTING;
	kept->destination.counters.value[TWS_attempts]++;
}

static void establish(const struct sockaddr *address)
{
	const struct sockaddr_in *remote = (const void *)address;
	struct tws_connection *slot = &kept->slot;

	memcpy(slot->remote.bytes, &remote->sin_addr, sizeof(remote->sin_addr));
	slot->remote.port = ntohs(remote->sin_port);
	slot->remote.family = TWS_IPV4;
	slot->established_ns = now_ns();
	slot->state = TWS_CONN_OPEN;
	kept->destination.counters.value[TWS_established]++;
	count_open(&kept->destination.counters);
	count_open(&kept->process);
	count_time(TWS_HISTOGRAM_connect_latency_seconds,
		   slot->established_ns - slot->began_ns);
}

static void record_ended(uint64_t now)
{
	struct tws_connection *slot = &kept->slot;
	struct tws_ended *record = &kept->ended[kept->header.ended_tickets++ % ENDED];
	const struct tws_bytes none = {0, 0};

	slot->ending = TWS_END_LOCAL_FIN;
	slot->via = TWS_VIA_CLOSE;
	tws_fill_ended(record, slot, &none, now);
	record->sequence = kept->header.ended_tickets;
}

static void end(void)
{
	uint64_t *value = kept->destination.counters.value;
	uint64_t now = now_ns();

	kept->header.heartbeat_ns = now;
	kept->time_wait[kept->header.time_wait_tickets++ % WAITS] = kept->slot.cookie;
	value[TWS_ended_local_fin]++;
	value[TWS_via_close]++;
	value[TWS_short_lived]++;
	value[TWS_open]--;
	kept->process.value[TWS_open]--;
	count_time(TWS_HISTOGRAM_lifetime_seconds, now - kept->slot.established_ns);
	record_ended(now);
	kept->slot.state = TWS_CONN_FREE;
}

int connect(int fd, const struct sockaddr *address, socklen_t length)
{
	int ret;

	if ((unsigned)fd >= FDS || address->sa_family != AF_INET)
		return next_connect(fd, address, length);
	attempt(fd);
	ret = next_connect(fd, address, length);
	establish(address);
	return ret;
}

int close(int fd)
{
	struct pollfd asked = {.fd = fd, .events = POLLIN | POLLRDHUP};
	uint64_t cookie;

	if ((unsigned)fd < FDS && connected[fd]) {
		connected[fd] = 0;
		ask_cookie(fd, &cookie);
		poll(&asked, 1, 0);
		end();
	}
	return next_close(fd);
}
