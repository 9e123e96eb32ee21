/* SPDX-License-Identifier: MIT */
#include "tools/kernel/kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/shared/pair.h"
#include "tools/kernel/message.h"
#include "tools/kernel/proc_file.h"

/* The kernel fills at most 32 KiB of a dump at once; less would cost more system calls.
 */
#define RECEIVE_SIZE (64 * 1024)

/* In place: a copy of what was just written piece by piece would wait for the pieces. */
void kernel_decode_address(struct tws_address *ret_address, const uint32_t *words,
			   uint16_t port, uint8_t family)
{
	const bool mapped =
	    family == AF_INET6 && !words[0] && !words[1] && words[2] == htonl(0xffff);

	memset(ret_address, 0, sizeof(*ret_address));
	ret_address->port = ntohs(port);
	if (family == AF_INET || mapped) {
		ret_address->family = TWS_IPV4;
		memcpy(ret_address->bytes, &words[mapped ? 3 : 0], 4);
	} else if (family == AF_INET6) {
		ret_address->family = TWS_IPV6;
		memcpy(ret_address->bytes, words, 16);
	}
}

uint64_t kernel_decode_cookie(const struct inet_diag_sockid *id)
{
	return id->idiag_cookie[0] | (uint64_t)id->idiag_cookie[1] << 32;
}

bool kernel_messages_fit(const void *bytes, size_t length)
{
	struct nlmsghdr header;

	while (length >= sizeof(header)) {
		memcpy(&header, bytes, sizeof(header));
		if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > length)
			return false;
		if (NLMSG_ALIGN((size_t)header.nlmsg_len) >= length)
			return true;
		bytes = (const char *)bytes + NLMSG_ALIGN(header.nlmsg_len);
		length -= NLMSG_ALIGN(header.nlmsg_len);
	}
	return true;
}

const struct inet_diag_msg *kernel_decode_message(const struct nlmsghdr *message)
{
	if ((message->nlmsg_type != SOCK_DIAG_BY_FAMILY &&
	     message->nlmsg_type != TCPDIAG_GETSOCK) ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(struct inet_diag_msg))
		return NULL;
	return mnl_nlmsg_get_payload(message);
}

/* Room for one more at the end, or NULL. */
static struct kernel_socket *next_socket(struct kernel_table *table)
{
	struct kernel_socket *sockets;
	size_t room;

	if (table->count == table->room) {
		room = table->room ? table->room * 4 : 1024;
		sockets = reallocarray(table->sockets, room, sizeof(*sockets));
		if (!sockets)
			return NULL;
		table->sockets = sockets;
		table->room = room;
	}
	return &table->sockets[table->count];
}

int kernel_table_add(struct kernel_table *table, const struct kernel_socket *socket)
{
	struct kernel_socket *next = next_socket(table);

	if (!next ||
	    cookie_map_add(&table->by_cookie, socket->cookie, (uint32_t)table->count) < 0)
		return -ENOMEM;
	*next = *socket;
	table->count++;
	return 0;
}

/* Adding all sockets at once, when their number is known, takes half the work. */
static int index_sockets(struct kernel_table *table)
{
	struct cookie_map *map = &table->by_cookie;
	int result = cookie_map_reserve(map, table->count);

	for (size_t i = 0; result == 0 && i < table->count; i++) {
		if (i + COOKIE_MAP_AHEAD < table->count)
			cookie_map_prefetch(map,
					    table->sockets[i + COOKIE_MAP_AHEAD].cookie);
		if (cookie_map_add(map, table->sockets[i].cookie, (uint32_t)i) < 0)
			result = -ENOMEM;
	}
	return result;
}

const struct kernel_socket *kernel_table_find(const struct kernel_table *table,
					      uint64_t cookie)
{
	const uint32_t *position = cookie_map_find(&table->by_cookie, cookie);

	return position ? &table->sockets[*position] : NULL;
}

/* Only MPTCP connections are found by their addresses, so this map is seldom needed. */
static void index_pairs(struct kernel_table *table)
{
	table->has_pairs = true;
	for (size_t i = 0; i < table->count; i++) {
		uint64_t pair =
		    tws_pair(&table->sockets[i].local, &table->sockets[i].remote);

		if (cookie_map_add(&table->by_pair, pair, (uint32_t)i) < 0)
			return;
	}
}

const struct kernel_socket *kernel_table_find_key(struct kernel_table *table,
						  uint64_t key)
{
	const uint32_t *position;

	if (!(key & TWS_TW_PAIR))
		return kernel_table_find(table, key);
	if (!table->has_pairs)
		index_pairs(table);
	position = cookie_map_find(&table->by_pair, key);
	return position ? &table->sockets[*position] : NULL;
}

void kernel_table_free(struct kernel_table *table)
{
	free(table->sockets);
	cookie_map_free(&table->by_pair);
	cookie_map_free(&table->by_cookie);
	*table = (struct kernel_table){0};
}

static int kernel_take_message(const struct nlmsghdr *message, void *data)
{
	const struct inet_diag_msg *diag = kernel_decode_message(message);
	struct kernel_table *table = data;
	struct kernel_socket *socket;

	if (!diag)
		return MNL_CB_OK;
	socket = next_socket(table);
	if (!socket)
		return MNL_CB_ERROR;
	table->count++;
	socket->cookie = kernel_decode_cookie(&diag->id);
	socket->expires_ms = diag->idiag_expires;
	socket->uid = diag->idiag_uid;
	socket->inode = diag->idiag_inode;
	socket->unread = diag->idiag_rqueue;
	socket->state = diag->idiag_state;
	kernel_decode_address(&socket->local, diag->id.idiag_src, diag->id.idiag_sport,
			      diag->idiag_family);
	kernel_decode_address(&socket->remote, diag->id.idiag_dst, diag->id.idiag_dport,
			      diag->idiag_family);
	return MNL_CB_OK;
}

/* Uses the request of sock_diag's first version: one walk through the kernel's hash
 * table returns both families. The second version needs one walk for each, and the walk
 * is the expensive part. */
static int send_request(struct mnl_socket *netlink, uint32_t states)
{
	char buffer[256] __attribute__((aligned(8)));
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct inet_diag_req *request;

	header->nlmsg_type = TCPDIAG_GETSOCK;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request = mnl_nlmsg_put_extra_header(header, sizeof(*request));
	request->idiag_states = states;
	return mnl_socket_sendto(netlink, header, header->nlmsg_len) < 0 ? -errno : 0;
}

static int receive_all(struct mnl_socket *netlink, char *buffer,
		       struct kernel_table *table)
{
	unsigned port = mnl_socket_get_portid(netlink);
	ssize_t length;
	int result;

	do {
		length = mnl_socket_recvfrom(netlink, buffer, RECEIVE_SIZE);
		if (length < 0 && errno == EINTR) {
			result = MNL_CB_OK;
			continue;
		}
		if (length < 0)
			return -errno;
		if (!kernel_messages_fit(buffer, (size_t)length))
			return -EBADMSG;
		result = mnl_cb_run(buffer, (size_t)length, 0, port, kernel_take_message,
				    table);
	} while (result > MNL_CB_STOP);
	return result == MNL_CB_ERROR ? (errno ? -errno : -ENOMEM) : 0;
}

static int kernel_dump(struct mnl_socket *netlink, uint32_t states,
		       struct kernel_table *table)
{
	char *buffer = malloc(RECEIVE_SIZE);
	int result = buffer ? 0 : -ENOMEM;

	errno = 0;
	if (result == 0)
		result = send_request(netlink, states);
	if (result == 0)
		result = receive_all(netlink, buffer, table);
	if (result == 0)
		result = index_sockets(table);
	free(buffer);
	return result;
}

int kernel_table_read(struct kernel_table *ret_table, uint32_t states, char *ret_error,
		      size_t size)
{
	struct kernel_table table = {0};
	struct mnl_socket *netlink = mnl_socket_open(NETLINK_SOCK_DIAG);
	int result = netlink ? 0 : -errno;

	if (result == 0 && mnl_socket_bind(netlink, 0, MNL_SOCKET_AUTOPID) < 0)
		result = -errno;
	if (result == 0)
		result = kernel_dump(netlink, states, &table);
	if (netlink)
		mnl_socket_close(netlink);
	if (result != 0) {
		kernel_table_free(&table);
		snprintf(ret_error, size, "the kernel's TCP table (sock_diag): %s",
			 strerror(-result));
		return result;
	}
	*ret_table = table;
	return 0;
}

int kernel_port_range(uint16_t *ret_low, uint16_t *ret_high)
{
	char text[64];
	unsigned low, high;
	int result =
	    proc_read("/proc/sys/net/ipv4/ip_local_port_range", text, sizeof(text));

	if (result != 0)
		return result;
	if (sscanf(text, "%u %u", &low, &high) != 2 || low > high || high > 65535)
		return -EINVAL;
	*ret_low = (uint16_t)low;
	*ret_high = (uint16_t)high;
	return 0;
}

static unsigned read_sysctl(const char *path, unsigned otherwise)
{
	char text[64];
	unsigned value;

	return proc_read(path, text, sizeof(text)) == 0 && sscanf(text, "%u", &value) == 1
		   ? value
		   : otherwise;
}

unsigned kernel_time_wait_reuse(void)
{
	return read_sysctl("/proc/sys/net/ipv4/tcp_timestamps", 1)
		   ? read_sysctl("/proc/sys/net/ipv4/tcp_tw_reuse", 0)
		   : 0;
}

uint64_t kernel_namespace(const char *name)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}
