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
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/kernel/message.h"

#define GENERATION_SIZE 131072u
#define RECEIVE_SIZE	(64 * 1024)
/* About 350 bytes per message, and twice that as the kernel counts it: 20,000
 * connections. */
#define QUEUE_SIZE (16 * 1024 * 1024)
/* The most that the kernel counts for a message. */
#define MESSAGE_SIZE 1280
/* When the better source is opened, and for how long netlink is kept beside it: what the
 * kernel frees it may announce a little later. */
#define ENOUGH_MESSAGES 1000
#define BESIDE_NS	100000000u

struct generation {
	struct kernel_destroyed *records;
	size_t count;
	size_t room;
	struct cookie_map by_cookie;
};

struct kernel_listener {
	struct mnl_socket *netlink; /* NULL: the better source has taken its place */
	const struct kernel_source *better; /* NULL: there is none */
	void *source;			    /* NULL: not open */
	int events;	    /* epoll of what is open; -1: there is only netlink */
	uint64_t opened_ns; /* of the better source */
	uint64_t taken;	    /* messages, until then */
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

void kernel_destroyed_set_bytes(struct kernel_destroyed *words, uint64_t acked,
				uint64_t received, uint64_t sent, uint64_t retrans)
{
	words->bytes_acked = acked;
	words->bytes_received = received;
	/* Acknowledged sequence numbers: a SYN, each byte sent once, a FIN. */
	words->fin_acked = acked == sent - retrans + 2;
	words->has_info = true;
}

void kernel_listener_take(struct kernel_listener *listener,
			  const struct kernel_destroyed *words)
{
	struct kernel_destroyed *record = next_record(listener);
	struct generation *current = &listener->current;

	listener->taken++;
	if (!record || cookie_map_add(&current->by_cookie, words->cookie,
				      (uint32_t)current->count) != 0) {
		listener->lost += !record;
		return;
	}
	*record = *words;
	record->received_ns = listener->now_ns;
	current->count++;
}

/* ------------------------------------------------------------------------- netlink */

static void take_info(struct kernel_destroyed *words, const struct nlmsghdr *message)
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
		kernel_destroyed_set_bytes(words, info.tcpi_bytes_acked,
					   info.tcpi_bytes_received, info.tcpi_bytes_sent,
					   info.tcpi_bytes_retrans);
	}
}

static int listener_take_message(const struct nlmsghdr *message, void *data)
{
	const struct inet_diag_msg *diag = kernel_decode_message(message);
	struct kernel_destroyed words;

	if (!diag)
		return MNL_CB_OK;
	words = (struct kernel_destroyed){
	    .cookie = kernel_decode_cookie(&diag->id),
	    .unread = diag->idiag_rqueue,
	    .unacked = diag->idiag_wqueue,
	};
	kernel_decode_address(&words.local, diag->id.idiag_src, diag->id.idiag_sport,
			      diag->idiag_family);
	kernel_decode_address(&words.remote, diag->id.idiag_dst, diag->id.idiag_dport,
			      diag->idiag_family);
	take_info(&words, message);
	kernel_listener_take(data, &words);
	return MNL_CB_OK;
}

int kernel_set_listening(int netlink, bool listens)
{
	static const int groups[] = {SKNLGRP_INET_TCP_DESTROY, SKNLGRP_INET6_TCP_DESTROY};
	const int how = listens ? NETLINK_ADD_MEMBERSHIP : NETLINK_DROP_MEMBERSHIP;

	for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++)
		if (setsockopt(netlink, SOL_NETLINK, how, &groups[i],
			       sizeof(groups[i])) != 0)
			return -errno;
	return 0;
}

static int open_netlink(struct kernel_listener *listener)
{
	const int size = QUEUE_SIZE;
	int fd;

	listener->netlink = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	if (!listener->netlink ||
	    mnl_socket_bind(listener->netlink, 0, MNL_SOCKET_AUTOPID) != 0)
		return -errno;
	fd = mnl_socket_get_fd(listener->netlink);
	/* Without privilege, the second call is limited to net.core.rmem_max. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return kernel_set_listening(fd, true);
}

/* The number of datagrams, or -errno. */
static int drain_netlink(struct kernel_listener *listener)
{
	int fd = mnl_socket_get_fd(listener->netlink);
	int messages = 0;
	ssize_t length;

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

static void close_netlink(struct kernel_listener *listener)
{
	if (listener->netlink)
		mnl_socket_close(listener->netlink);
	listener->netlink = NULL;
}

/* --------------------------------------------------------------- the better source */

static int await(const struct kernel_listener *listener, int fd)
{
	struct epoll_event event = {.events = EPOLLIN};

	return epoll_ctl(listener->events, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

/* Without it, netlink is good enough. */
static void expect_better(struct kernel_listener *listener,
			  const struct kernel_source *better)
{
	listener->events = better ? epoll_create1(EPOLL_CLOEXEC) : -1;
	if (listener->events < 0)
		return;
	if (await(listener, mnl_socket_get_fd(listener->netlink)) == 0) {
		listener->better = better;
		return;
	}
	close(listener->events);
	listener->events = -1;
}

static void close_better(struct kernel_listener *listener)
{
	if (listener->source)
		listener->better->close(listener->source);
	listener->source = NULL;
	listener->better = NULL;
}

static void open_better(struct kernel_listener *listener)
{
	const struct kernel_source *better = listener->better;

	if (better->open(&listener->source, listener) != 0 ||
	    await(listener, better->fd(listener->source)) != 0)
		close_better(listener);
	else
		listener->opened_ns = tws_now();
}

void kernel_listener_prefer(struct kernel_listener *listener)
{
	if (!listener->source && listener->better)
		open_better(listener);
}

static void prefer_better(struct kernel_listener *listener)
{
	if (!listener->source && listener->taken >= ENOUGH_MESSAGES)
		kernel_listener_prefer(listener);
	else if (listener->source && listener->netlink &&
		 listener->now_ns - listener->opened_ns >= BESIDE_NS)
		close_netlink(listener);
}

/* ----------------------------------------------------------------------- listening */

int kernel_listener_open(struct kernel_listener **ret_listener,
			 const struct kernel_source *better, char *ret_error, size_t size)
{
	struct kernel_listener *listener = calloc(1, sizeof(*listener));
	int result = -ENOMEM;

	if (listener) {
		listener->generation_size = GENERATION_SIZE;
		listener->events = -1;
		result = open_netlink(listener);
	}
	if (result != 0) {
		kernel_listener_close(listener);
		snprintf(ret_error, size, "listening for ended sockets (sock_diag): %s",
			 strerror(-result));
		return result;
	}
	expect_better(listener, better);
	*ret_listener = listener;
	return 0;
}

int kernel_listener_fd(const struct kernel_listener *listener)
{
	return listener->events < 0 ? mnl_socket_get_fd(listener->netlink)
				    : listener->events;
}

int kernel_listener_netlink(const struct kernel_listener *listener)
{
	return listener->netlink ? mnl_socket_get_fd(listener->netlink) : -1;
}

size_t kernel_listener_room(const struct kernel_listener *listener)
{
	int size = 0;
	socklen_t length = sizeof(size);

	if (listener->netlink)
		getsockopt(mnl_socket_get_fd(listener->netlink), SOL_SOCKET, SO_RCVBUF,
			   &size, &length);
	return (size_t)size / MESSAGE_SIZE;
}

int kernel_listener_drain(struct kernel_listener *listener)
{
	int messages = 0, more = 0;

	listener->now_ns = tws_now();
	if (listener->source)
		messages = listener->better->drain(listener->source);
	if (listener->netlink && messages >= 0)
		more = drain_netlink(listener);
	prefer_better(listener);
	return messages < 0 ? messages : more < 0 ? more : messages + more;
}

void kernel_listener_keep(struct kernel_listener *listener, size_t count)
{
	listener->generation_size = count;
}

uint64_t kernel_listener_lost(const struct kernel_listener *listener)
{
	return listener->lost +
	       (listener->source ? listener->better->lost(listener->source) : 0);
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
	close_netlink(listener);
	close_better(listener);
	if (listener->events >= 0)
		close(listener->events);
	free_generation(&listener->current);
	free_generation(&listener->previous);
	free(listener);
}
