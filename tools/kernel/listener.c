/* SPDX-License-Identifier: MIT
 *
 * Listens to the kernel's messages about destroyed TCP sockets. Memory is bounded: it
 * holds at least the newest GENERATION_SIZE messages and at most twice as many, because
 * whoever asks about a socket asks soon.
 */
#include "tools/kernel/kernel.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "shim/shared/clock.h"
#include "tools/kernel/message.h"

#define GENERATION_SIZE 131072u
#define RECEIVE_SIZE	(64 * 1024)
/* About 350 bytes per message, and twice that as the kernel counts it: 20,000
 * connections. */
#define QUEUE_SIZE (16 * 1024 * 1024)
/* The most that the kernel counts for a message. */
#define MESSAGE_SIZE 1280

struct generation {
	struct kernel_destroyed *records;
	size_t count;
	size_t room;
	struct cookie_map by_cookie;
};

struct kernel_listener {
	struct mnl_socket *netlink;
	uint64_t lost;
	uint64_t now_ns; /* of the drain under way */
	size_t generation_size;
	struct generation current;
	struct generation previous;
	char buffer[RECEIVE_SIZE] __attribute__((aligned(8)));
};

/* Returns NULL if there is no memory. The message then counts as lost, and the report
 * says "unseen". */
static struct kernel_destroyed *next_record(struct kernel_listener *listener)
{
	struct generation *current = &listener->current;
	struct kernel_destroyed *records;
	size_t room;

	if (current->count >= listener->generation_size) {
		struct generation oldest = listener->previous;

		listener->previous = *current;
		*current = oldest;
		current->count = 0;
		cookie_map_clear(&current->by_cookie);
	}
	if (current->count == current->room) {
		room = current->room ? current->room * 2 : 256;
		records = reallocarray(current->records, room, sizeof(*records));
		if (!records)
			return NULL;
		current->records = records;
		current->room = room;
	}
	return &current->records[current->count];
}

static void take_info(struct kernel_destroyed *record, const struct nlmsghdr *message)
{
	const size_t known =
	    offsetof(struct tcp_info, tcpi_bytes_retrans) + sizeof(uint64_t);
	const struct nlattr *attribute;
	struct tcp_info info;

	mnl_attr_for_each(attribute, message, sizeof(struct inet_diag_msg))
	{
		if (mnl_attr_get_type(attribute) != INET_DIAG_INFO ||
		    mnl_attr_get_payload_len(attribute) < known)
			continue;
		memcpy(&info, mnl_attr_get_payload(attribute), known);
		record->bytes_acked = info.tcpi_bytes_acked;
		record->bytes_received = info.tcpi_bytes_received;
		/* Acknowledged sequence numbers: a SYN, each byte sent once, a FIN. */
		record->fin_acked = info.tcpi_bytes_acked ==
				    info.tcpi_bytes_sent - info.tcpi_bytes_retrans + 2;
		record->has_info = true;
	}
}

static int listener_take_message(const struct nlmsghdr *message, void *data)
{
	const struct inet_diag_msg *diag = kernel_decode_message(message);
	struct kernel_listener *listener = data;
	struct generation *current;
	struct kernel_destroyed *record;

	if (!diag)
		return MNL_CB_OK;
	record = next_record(listener);
	current = &listener->current;
	if (!record ||
	    cookie_map_add(&current->by_cookie, kernel_decode_cookie(&diag->id),
			   (uint32_t)current->count) != 0) {
		listener->lost += !record;
		return MNL_CB_OK;
	}
	*record = (struct kernel_destroyed){
	    .cookie = kernel_decode_cookie(&diag->id),
	    .received_ns = listener->now_ns,
	    .unread = diag->idiag_rqueue,
	    .unacked = diag->idiag_wqueue,
	};
	kernel_decode_address(&record->local, diag->id.idiag_src, diag->id.idiag_sport,
			      diag->idiag_family);
	kernel_decode_address(&record->remote, diag->id.idiag_dst, diag->id.idiag_dport,
			      diag->idiag_family);
	take_info(record, message);
	current->count++;
	return MNL_CB_OK;
}

static int join_groups(struct mnl_socket *netlink)
{
	static const int groups[] = {SKNLGRP_INET_TCP_DESTROY, SKNLGRP_INET6_TCP_DESTROY};
	int fd = mnl_socket_get_fd(netlink);
	int size = QUEUE_SIZE;

	/* Without privilege, the second call is limited to net.core.rmem_max. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	for (size_t i = 0; i < 2; i++)
		if (mnl_socket_setsockopt(netlink, NETLINK_ADD_MEMBERSHIP,
					  (void *)&groups[i], sizeof(groups[i])) != 0)
			return -errno;
	return 0;
}

int kernel_listener_open(struct kernel_listener **ret_listener, char *ret_error,
			 size_t size)
{
	struct kernel_listener *listener = calloc(1, sizeof(*listener));
	int result = listener ? 0 : -ENOMEM;

	if (result == 0) {
		listener->generation_size = GENERATION_SIZE;
		listener->netlink = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
		if (!listener->netlink ||
		    mnl_socket_bind(listener->netlink, 0, MNL_SOCKET_AUTOPID) != 0)
			result = -errno;
	}
	if (result == 0)
		result = join_groups(listener->netlink);
	if (result != 0) {
		kernel_listener_close(listener);
		snprintf(ret_error, size, "listening for ended sockets (sock_diag): %s",
			 strerror(-result));
		return result;
	}
	*ret_listener = listener;
	return 0;
}

int kernel_listener_fd(const struct kernel_listener *listener)
{
	return mnl_socket_get_fd(listener->netlink);
}

size_t kernel_listener_room(const struct kernel_listener *listener)
{
	int size = 0;
	socklen_t length = sizeof(size);

	getsockopt(kernel_listener_fd(listener), SOL_SOCKET, SO_RCVBUF, &size, &length);
	return (size_t)size / MESSAGE_SIZE;
}

int kernel_listener_drain(struct kernel_listener *listener)
{
	int fd = kernel_listener_fd(listener);
	int messages = 0;
	ssize_t length;

	listener->now_ns = tws_now();
	for (;;) {
		length = recv(fd, listener->buffer, RECEIVE_SIZE, MSG_DONTWAIT);
		if (length >= 0) {
			if (kernel_messages_fit(listener->buffer, (size_t)length))
				mnl_cb_run(listener->buffer, (size_t)length, 0, 0,
					   listener_take_message, listener);
			messages++;
		} else if (errno == ENOBUFS) {
			listener->lost++;
		} else if (errno == EAGAIN) {
			return messages;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
}

void kernel_listener_keep(struct kernel_listener *listener, size_t count)
{
	listener->generation_size = count;
}

uint64_t kernel_listener_lost(const struct kernel_listener *listener)
{
	return listener->lost;
}

size_t kernel_listener_count(const struct kernel_listener *listener)
{
	return listener->current.count + listener->previous.count;
}

static const struct kernel_destroyed *generation_find(const struct generation *generation,
						      uint64_t cookie)
{
	const uint32_t *position = cookie_map_find(&generation->by_cookie, cookie);

	return position ? &generation->records[*position] : NULL;
}

const struct kernel_destroyed *
kernel_listener_find(const struct kernel_listener *listener, uint64_t cookie)
{
	const struct kernel_destroyed *found =
	    generation_find(&listener->current, cookie);

	return found ? found : generation_find(&listener->previous, cookie);
}

static void free_generation(struct generation *generation)
{
	free(generation->records);
	cookie_map_free(&generation->by_cookie);
}

void kernel_listener_close(struct kernel_listener *listener)
{
	if (!listener)
		return;
	if (listener->netlink)
		mnl_socket_close(listener->netlink);
	free_generation(&listener->current);
	free_generation(&listener->previous);
	free(listener);
}
