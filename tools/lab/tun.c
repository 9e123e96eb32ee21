/* SPDX-License-Identifier: MIT
 *
 * A link with delay and loss for kernels without netem: a TUN device in each of two
 * network namespaces, and a process between them that passes each packet on when it is
 * due, or drops it.
 */
#include "tools/lab/lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/shared/clock.h"

#define DEVICE	   "lablink"
#define MTU	   1500
#define QUEUE	   8192 /* packets under way, each direction */
#define NETMASK	   "255.255.255.252"
#define DRAWS_FULL 10000u

/* ------------------------------------------------------------------ devices */

static int set_address(int fd, unsigned long what, const char *text)
{
	struct sockaddr_in *in;
	struct ifreq request = {.ifr_name = DEVICE};

	in = (struct sockaddr_in *)&request.ifr_addr;
	in->sin_family = AF_INET;
	inet_pton(AF_INET, text, &in->sin_addr);
	return ioctl(fd, what, &request);
}

static int configure(const char *address, const char *peer)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = DEVICE};
	int result = 0;

	if (fd < 0)
		return -errno;
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	if (set_address(fd, SIOCSIFADDR, address) != 0 ||
	    set_address(fd, SIOCSIFDSTADDR, peer) != 0 ||
	    set_address(fd, SIOCSIFNETMASK, NETMASK) != 0 ||
	    ioctl(fd, SIOCSIFFLAGS, &request) != 0)
		result = -errno;
	close(fd);
	return result;
}

/* Makes a TUN device in this namespace. Returns its descriptor, or -errno. */
static int make_device(const char *address, const char *peer)
{
	struct ifreq request = {.ifr_name = DEVICE, .ifr_flags = IFF_TUN | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int result;

	if (fd < 0)
		return -errno;
	result = ioctl(fd, TUNSETIFF, &request) == 0 ? configure(address, peer) : -errno;
	if (result == 0)
		return fd;
	close(fd);
	return result;
}

/* ---------------------------------------------------------------- forwarder */

struct packet {
	uint64_t due_ns;
	uint16_t length;
	uint8_t bytes[MTU];
};

struct pipe {
	int from, to;
	unsigned first, count; /* a ring */
	struct packet *packet;
};

/* The generator from Numerical Recipes is good enough for a coin whose throws can be
 * repeated. */
static bool is_lost(uint32_t *seed, unsigned percent)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % DRAWS_FULL < percent * (DRAWS_FULL / 100);
}

static void take_in(struct pipe *pipe, const struct lab_world *world, uint32_t *seed)
{
	static struct packet dropped;

	for (;;) {
		struct packet *packet =
		    pipe->count < QUEUE
			? &pipe->packet[(pipe->first + pipe->count) % QUEUE]
			: &dropped;
		ssize_t length = read(pipe->from, packet->bytes, MTU);

		if (length <= 0)
			return;
		if (packet == &dropped || is_lost(seed, world->loss_percent))
			continue;
		packet->length = (uint16_t)length;
		packet->due_ns = tws_now() + world->delay_ms * 1000000ull;
		pipe->count++;
	}
}

/* Passes on the packets that are due. Returns when the next one is due; 0: there is
 * none. */
static uint64_t hand_on(struct pipe *pipe)
{
	while (pipe->count) {
		struct packet *packet = &pipe->packet[pipe->first];

		if (packet->due_ns > tws_now())
			return packet->due_ns;
		if (write(pipe->to, packet->bytes, packet->length) < 0 && errno == EAGAIN)
			return tws_now() + 100000;
		pipe->first = (pipe->first + 1) % QUEUE;
		pipe->count--;
	}
	return 0;
}

static void wait_for(const struct pipe pipes[2], uint64_t due_ns)
{
	struct pollfd fds[2] = {{.fd = pipes[0].from, .events = POLLIN},
				{.fd = pipes[1].from, .events = POLLIN}};
	uint64_t now = tws_now();
	uint64_t wait = due_ns > now ? due_ns - now : 0;
	struct timespec timeout = {(time_t)(wait / 1000000000u),
				   (long)(wait % 1000000000u)};

	ppoll(fds, 2, due_ns ? &timeout : NULL, NULL);
}

static __attribute__((noreturn)) void forward(int a, int b, const struct lab_world *world)
{
	struct pipe pipes[2] = {{a, b, 0, 0, calloc(QUEUE, sizeof(struct packet))},
				{b, a, 0, 0, calloc(QUEUE, sizeof(struct packet))}};
	uint32_t seed = world->seed;

	while (pipes[0].packet && pipes[1].packet) {
		uint64_t due, other;

		take_in(&pipes[0], world, &seed);
		take_in(&pipes[1], world, &seed);
		due = hand_on(&pipes[0]);
		other = hand_on(&pipes[1]);
		if (!due || (other && other < due))
			due = other;
		wait_for(pipes, due);
	}
	_exit(1);
}

static int start_forwarder(int a, int b, const struct lab_world *world,
			   struct lab_place *place)
{
	place->forwarder = lab_fork();
	if (place->forwarder == 0)
		forward(a, b, world);
	return place->forwarder < 0 ? -errno : 0;
}

int lab_tun_join(const struct lab_world *world, struct lab_place *place, char *ret_error,
		 size_t size)
{
	int here = make_device(LAB_LINK_CLIENT, LAB_LINK_SERVER);
	int there = -1, result = here < 0 ? here : 0;

	if (result == 0 && unshare(CLONE_NEWNET) != 0)
		result = -errno;
	if (result == 0)
		there = make_device(LAB_LINK_SERVER, LAB_LINK_CLIENT);
	if (result == 0 && there < 0)
		result = there;
	if (result == 0)
		result = start_forwarder(here, there, world, place);
	if (result == 0) {
		place->server_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		place->address = LAB_LINK_SERVER;
		place->source = LAB_LINK_CLIENT;
	}
	if (here >= 0)
		close(here);
	if (there >= 0)
		close(there);
	if (result != 0)
		snprintf(ret_error, size, "a link of TUN devices: %s", strerror(-result));
	return result;
}
