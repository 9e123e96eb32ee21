/* SPDX-License-Identifier: MIT
 *
 * The private network namespace of a case. Without privilege it is in a user namespace
 * of its own. It has an address on lo that is not 127/8, and the sysctls that the case
 * asks for.
 */
#include "tools/lab/lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t length;
	int result;

	if (fd < 0)
		return -errno;
	length = write(fd, text, strlen(text));
	result = length < 0 ? -errno : 0;
	close(fd);
	return result;
}

int lab_sysctl_write(const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
	return write_file(path, value);
}

/* Becomes root of a user namespace that contains only us. */
static int map_user(uid_t uid, gid_t gid)
{
	char map[64];
	int result;

	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
	result = write_file("/proc/self/uid_map", map);
	if (result != 0)
		return result;
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)gid);
	return write_file("/proc/self/gid_map", map);
}

static int unshare_network(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();

	if (unshare(CLONE_NEWNET) == 0)
		return 0;
	if (errno != EPERM)
		return -errno;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		return -errno;
	return map_user(uid, gid);
}

/* Gives an interface an address (NULL: none) and brings it up. */
static int bring_up(const char *name, const char *address)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in *in;
	struct ifreq request = {0};
	int result = 0;

	if (fd < 0)
		return -errno;
	snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
	in = (struct sockaddr_in *)&request.ifr_addr;
	in->sin_family = AF_INET;
	if (address && (inet_pton(AF_INET, address, &in->sin_addr) != 1 ||
			ioctl(fd, SIOCSIFADDR, &request) != 0))
		result = -errno;
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	if (result == 0 && ioctl(fd, SIOCSIFFLAGS, &request) != 0)
		result = -errno;
	close(fd);
	return result;
}

static int write_sysctls(const struct lab_world *world, char *ret_error, size_t size)
{
	for (size_t i = 0; i < LAB_SYSCTLS && world->sysctl[i].name; i++) {
		const struct lab_sysctl *one = &world->sysctl[i];
		int result = lab_sysctl_write(one->name, one->value);

		if (result != 0) {
			snprintf(ret_error, size, "net.ipv4.%s = %s: %s", one->name,
				 one->value, strerror(-result));
			return result;
		}
	}
	return 0;
}

static int fail_step(int result, const char *what, char *ret_error, size_t size)
{
	snprintf(ret_error, size, "%s: %s", what, strerror(-result));
	return result;
}

int lab_world_enter(const struct lab_world *world, struct lab_place *ret_place,
		    char *ret_error, size_t size)
{
	int result = unshare_network();

	memset(ret_place, 0, sizeof(*ret_place));
	if (result != 0)
		return fail_step(result, "no private network namespace", ret_error, size);
	result = bring_up("lo", NULL);
	if (result == 0)
		result = bring_up("lo:lab", LAB_ADDRESS);
	if (result != 0)
		return fail_step(result, "the namespace's loopback", ret_error, size);
	/* A stray RST would free a TIME_WAIT socket early (RFC 1337; measured: 1 in 70 on
	 * a busy machine), and a port with it: one more success than there are ports. */
	lab_sysctl_write("tcp_rfc1337", "1");
	result = write_sysctls(world, ret_error, size);
	if (result != 0)
		return result;
	ret_place->address = world->loopback ? "127.0.0.1" : LAB_ADDRESS;
	ret_place->source = ret_place->address;
	ret_place->client_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	ret_place->server_ns = ret_place->client_ns;
	if (ret_place->client_ns < 0)
		return fail_step(-errno, "/proc/self/ns/net", ret_error, size);
	return world->delay_ms ? lab_tun_join(world, ret_place, ret_error, size) : 0;
}
