/* SPDX-License-Identifier: MIT
 *
 * Announcements of destroyed sockets, from a socket whose other end is not the kernel.
 * Each input is one datagram, read as `trace` and `run` do.
 */
#include "tools/kernel/listener.c"

#include <unistd.h>

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct kernel_listener *listener;
	static int pair[2];

	if (!listener) {
		FUZZ_CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
		listener = calloc(1, sizeof(*listener));
		FUZZ_CHECK(listener);
		listener->netlink = mnl_socket_fdopen(pair[1]);
		FUZZ_CHECK(listener->netlink);
	}
	if (size > RECEIVE_SIZE || send(pair[0], data, size, 0) != (ssize_t)size)
		return 0;
	FUZZ_CHECK(kernel_listener_drain(listener) == 1);
	if (size >= sizeof(struct nlmsghdr) + sizeof(struct inet_diag_msg)) {
		const struct inet_diag_msg *message =
		    (const void *)(data + sizeof(struct nlmsghdr));
		struct inet_diag_sockid id;

		memcpy(&id, &message->id, sizeof(id));
		kernel_listener_find(listener, kernel_decode_cookie(&id));
	}
	FUZZ_CHECK(kernel_listener_count(listener) <= 2 * GENERATION_SIZE);
	return 0;
}
