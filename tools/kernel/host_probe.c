/* SPDX-License-Identifier: MIT
 *
 * What this kernel can do, tried on sockets of our own: distributions backport features
 * to older versions, and containers and sandboxes remove them from newer ones. The ports
 * of consecutive connections show how connect() searches: neighbouring ports if the
 * search is flat, ports of one parity otherwise.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/shared/newer.h"
#include "tools/kernel/host.h"

#define WHOLE_RANGE (65535u << 16 | 1)
/* Each port is 1 to 8 after the previous one: the chance that all have one parity is 1
 * in 32,768. */
#define CONNECTIONS 16

static struct host_value known(bool value)
{
	return (struct host_value){.known = HOST_KNOWN, .value = value};
}

static struct host_value unknown(int error)
{
	return (struct host_value){.error = error};
}

/* Whatever the error, a program gets it too: ENOPROTOOPT from the kernel, EPERM or
 * ENOSYS from a container's filter. */
static struct host_value try_option(int fd, int level, int option, int value)
{
	return known(setsockopt(fd, level, option, &value, sizeof(value)) == 0);
}

static void set_reset(int fd)
{
	const struct linger reset = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

/* Opens a listener on loopback, with a port that the kernel chooses. Returns -1 on
 * failure. */
static int probe_open_listener(struct sockaddr_in *ret_address)
{
	socklen_t length = sizeof(*ret_address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret_address = (struct sockaddr_in){.sin_family = AF_INET};
	ret_address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd >= 0 && bind(fd, (struct sockaddr *)ret_address, length) == 0 &&
	    listen(fd, CONNECTIONS) == 0 &&
	    getsockname(fd, (struct sockaddr *)ret_address, &length) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Opens a connection with the whole range. Returns its port, or -errno. The connection
 * ends in a reset, so that no TIME_WAIT remains. */
static int connect_port(const struct sockaddr_in *to, int *ret_fd)
{
	uint32_t range = WHOLE_RANGE;
	struct sockaddr_in from = {0};
	socklen_t length = sizeof(from);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*ret_fd = fd;
	if (fd < 0)
		return -errno;
	set_reset(fd);
	if (setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range)) != 0 ||
	    (connect(fd, (const struct sockaddr *)to, sizeof(*to)) != 0 &&
	     errno != EINPROGRESS) ||
	    getsockname(fd, (struct sockaddr *)&from, &length) != 0)
		return -errno;
	return ntohs(from.sin_port);
}

static struct host_value decide_scan(const int *ports)
{
	bool odd = false, even = false;

	for (unsigned i = 0; i < CONNECTIONS; i++) {
		if (ports[i] < 0)
			return unknown(-ports[i]);
		odd = odd || ports[i] % 2;
		even = even || ports[i] % 2 == 0;
	}
	return known(odd && even);
}

static struct host_value probe_scan(void)
{
	struct sockaddr_in address;
	int listener = probe_open_listener(&address);
	int fds[CONNECTIONS], ports[CONNECTIONS];

	if (listener < 0)
		return unknown(errno);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		ports[i] = connect_port(&address, &fds[i]);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	close(listener);
	return decide_scan(ports);
}

void host_probe(struct host *host, bool scan)
{
	struct host_value *feature = host->feature;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	for (unsigned i = 0; i < HOST_FEATURES; i++)
		feature[i] = unknown(errno);
	if (fd < 0)
		return;
	feature[HOST_PORT_RANGE_OPTION] =
	    try_option(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, (int)WHOLE_RANGE);
	feature[HOST_LINGER2] = try_option(fd, IPPROTO_TCP, TCP_LINGER2, -1);
	feature[HOST_LATE_BIND] = try_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	close(fd);
	if (scan && feature[HOST_PORT_RANGE_OPTION].known == HOST_KNOWN)
		feature[HOST_FLAT_SCAN] =
		    feature[HOST_PORT_RANGE_OPTION].value ? probe_scan() : known(false);
}
