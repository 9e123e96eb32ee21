/* SPDX-License-Identifier: MIT
 *
 * Those functions of libmnl that twshim calls, for a static twshim: distributions have
 * libmnl only as a shared library. What they do is in libmnl/libmnl.h and netlink(7).
 */
#ifdef TWSHIM_STATIC
#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct mnl_socket {
	int fd;
	struct sockaddr_nl own;
};

/* ----------------------------------------------------------------------- sockets */

struct mnl_socket *mnl_socket_open2(int bus, int flags)
{
	struct mnl_socket *ret = calloc(1, sizeof(*ret));

	if (!ret)
		return NULL;
	ret->fd = socket(AF_NETLINK, SOCK_RAW | flags, bus);
	if (ret->fd >= 0)
		return ret;
	free(ret);
	return NULL;
}

struct mnl_socket *mnl_socket_open(int bus)
{
	return mnl_socket_open2(bus, 0);
}

int mnl_socket_bind(struct mnl_socket *netlink, unsigned int groups, pid_t pid)
{
	socklen_t size = sizeof(netlink->own);

	netlink->own = (struct sockaddr_nl){
	    .nl_family = AF_NETLINK, .nl_groups = groups, .nl_pid = (unsigned int)pid};
	if (bind(netlink->fd, (const struct sockaddr *)&netlink->own, size) != 0)
		return -1;
	return getsockname(netlink->fd, (struct sockaddr *)&netlink->own, &size);
}

int mnl_socket_close(struct mnl_socket *netlink)
{
	int ret = close(netlink->fd);

	free(netlink);
	return ret;
}

int mnl_socket_get_fd(const struct mnl_socket *netlink)
{
	return netlink->fd;
}

unsigned int mnl_socket_get_portid(const struct mnl_socket *netlink)
{
	return netlink->own.nl_pid;
}

ssize_t mnl_socket_sendto(const struct mnl_socket *netlink, const void *data, size_t size)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

	return sendto(netlink->fd, data, size, 0, (const struct sockaddr *)&kernel,
		      sizeof(kernel));
}

/* A datagram that does not fit is an error, and so is one that is not the kernel's. */
ssize_t mnl_socket_recvfrom(const struct mnl_socket *netlink, void *data, size_t size)
{
	struct sockaddr_nl from = {0};
	struct iovec room = {data, size};
	struct msghdr message = {.msg_name = &from,
				 .msg_namelen = sizeof(from),
				 .msg_iov = &room,
				 .msg_iovlen = 1};
	ssize_t ret = recvmsg(netlink->fd, &message, 0);

	if (ret >= 0 && (message.msg_flags & MSG_TRUNC || from.nl_pid != 0)) {
		errno = message.msg_flags & MSG_TRUNC ? ENOSPC : EINVAL;
		return -1;
	}
	return ret;
}

int mnl_socket_setsockopt(const struct mnl_socket *netlink, int type, void *value,
			  socklen_t length)
{
	return setsockopt(netlink->fd, SOL_NETLINK, type, value, length);
}

/* ---------------------------------------------------------------------- messages */

struct nlmsghdr *mnl_nlmsg_put_header(void *room)
{
	struct nlmsghdr *ret = room;

	memset(ret, 0, NLMSG_HDRLEN);
	ret->nlmsg_len = NLMSG_HDRLEN;
	return ret;
}

void *mnl_nlmsg_put_extra_header(struct nlmsghdr *message, size_t size)
{
	char *ret = (char *)message + message->nlmsg_len;

	message->nlmsg_len += (uint32_t)MNL_ALIGN(size);
	return memset(ret, 0, MNL_ALIGN(size));
}

void *mnl_nlmsg_get_payload(const struct nlmsghdr *message)
{
	return (char *)(uintptr_t)message + NLMSG_HDRLEN;
}

size_t mnl_nlmsg_get_payload_len(const struct nlmsghdr *message)
{
	return message->nlmsg_len - NLMSG_HDRLEN;
}

void *mnl_nlmsg_get_payload_offset(const struct nlmsghdr *message, size_t offset)
{
	return (char *)mnl_nlmsg_get_payload(message) + MNL_ALIGN(offset);
}

void *mnl_nlmsg_get_payload_tail(const struct nlmsghdr *message)
{
	return (char *)(uintptr_t)message + MNL_ALIGN(message->nlmsg_len);
}

/* -------------------------------------------------------------------- attributes */

uint16_t mnl_attr_get_type(const struct nlattr *attribute)
{
	return attribute->nla_type & NLA_TYPE_MASK;
}

uint16_t mnl_attr_get_payload_len(const struct nlattr *attribute)
{
	return (uint16_t)(attribute->nla_len - MNL_ATTR_HDRLEN);
}

void *mnl_attr_get_payload(const struct nlattr *attribute)
{
	return (char *)(uintptr_t)attribute + MNL_ATTR_HDRLEN;
}

bool mnl_attr_ok(const struct nlattr *attribute, int left)
{
	return left >= (int)sizeof(*attribute) &&
	       attribute->nla_len >= sizeof(*attribute) &&
	       (int)attribute->nla_len <= left;
}

struct nlattr *mnl_attr_next(const struct nlattr *attribute)
{
	return (struct nlattr *)(void *)((char *)(uintptr_t)attribute +
					 MNL_ALIGN(attribute->nla_len));
}

/* --------------------------------------------------------------------- callbacks */

/* A message of the netlink protocol itself: goes on, stops, or fails with errno. */
static int take_control(const struct nlmsghdr *message)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);

	if (message->nlmsg_type == NLMSG_DONE)
		return MNL_CB_STOP;
	if (message->nlmsg_type != NLMSG_ERROR)
		return MNL_CB_OK;
	if (message->nlmsg_len < NLMSG_HDRLEN + sizeof(*error))
		errno = EBADMSG;
	else
		errno = error->error < 0 ? -error->error : error->error;
	return errno ? MNL_CB_ERROR : MNL_CB_STOP;
}

static int take(const struct nlmsghdr *message, unsigned int sequence,
		unsigned int portid, mnl_cb_t act, void *data)
{
	errno = 0;
	if (portid && message->nlmsg_pid && message->nlmsg_pid != portid)
		errno = ESRCH;
	else if (sequence && message->nlmsg_seq && message->nlmsg_seq != sequence)
		errno = EPROTO;
	else if (message->nlmsg_flags & NLM_F_DUMP_INTR)
		errno = EINTR;
	if (errno)
		return MNL_CB_ERROR;
	return message->nlmsg_type < NLMSG_MIN_TYPE ? take_control(message)
						    : act(message, data);
}

int mnl_cb_run(const void *bytes, size_t size, unsigned int sequence, unsigned int portid,
	       mnl_cb_t act, void *data)
{
	const char *at = bytes;
	int ret = MNL_CB_OK;

	while (ret > MNL_CB_STOP && size >= NLMSG_HDRLEN) {
		const struct nlmsghdr *message = (const void *)at;
		size_t length = message->nlmsg_len;

		if (length < NLMSG_HDRLEN || length > size)
			break;
		ret = take(message, sequence, portid, act, data);
		length = MNL_ALIGN(length) < size ? MNL_ALIGN(length) : size;
		at += length;
		size -= length;
	}
	return ret;
}
#endif
