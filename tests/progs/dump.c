/* SPDX-License-Identifier: MIT
 *
 * Reads the kernel's TIME_WAIT table once and prints how many sockets it has: the least
 * that a program which looks at every one of them can take. The bench times it beside
 * `twshim owners`.
 */
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static char buffer[32768];

/* The messages of one answer. Returns false after the last one. */
static int count(size_t length, unsigned long *sockets)
{
	struct nlmsghdr *message = (struct nlmsghdr *)(void *)buffer;

	for (; NLMSG_OK(message, length); message = NLMSG_NEXT(message, length)) {
		if (message->nlmsg_type == NLMSG_DONE)
			return 0;
		if (message->nlmsg_type == NLMSG_ERROR)
			exit(1);
		++*sockets;
	}
	return 1;
}

int main(void)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req request;
	} ask = {.header = {.nlmsg_len = sizeof(ask),
			    .nlmsg_type = TCPDIAG_GETSOCK,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		 .request = {.idiag_states = 1u << TCP_TIME_WAIT}};
	int fd = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_SOCK_DIAG);
	unsigned long sockets = 0;
	ssize_t length;

	if (send(fd, &ask, sizeof(ask), 0) < 0)
		return 1;
	do
		length = recv(fd, buffer, sizeof(buffer), 0);
	while (length > 0 && count((size_t)length, &sockets));
	printf("%lu\n", sockets);
	return length <= 0;
}
