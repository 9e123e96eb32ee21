/* SPDX-License-Identifier: MIT
 *
 * An ordinary user's queue holds a few hundred messages, so there are eight of them,
 * which the kernel fills by the cookie: a storm then fits between two looks.
 */
#include "tools/observe/last_words.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/kernel/message.h"
#include "shim/shared/tcp_state.h"

#define QUEUES	   8 /* a power of two */
#define BATCH	   64
#define MESSAGES   32 /* that are read at once */
#define SIZE	   2048
#define QUEUE_SIZE (4 << 20)
#define LATE_NS	   1000000000ull

/* Of inet_diag_msg in a message: the cookie's byte that differs from socket to socket. */
#define COOKIE_BYTE                                                                      \
	(sizeof(struct nlmsghdr) + offsetof(struct inet_diag_msg, id.idiag_cookie) +     \
	 (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 3 : 0))

struct last_words_source {
	struct last_words_user user;
	int queue[QUEUES];
	int asking; /* for look-ups */
	struct last_words asked[BATCH];
	uint32_t asked_count;
	uint64_t drained_ns; /* when all was read, the last time */
	uint64_t lost_ns;
	bool listens;
	bool late; /* in the drain under way */
	char buffer[MESSAGES][SIZE] __attribute__((aligned(8)));
};

/* ---------------------------------------------------------------------- opening */

/* Whether it may listen shows here. It does so once somebody is supervised, because the
 * kernel's messages cost all programs: see struct kernel_source. */
static int prepare_queue(int fd, unsigned index)
{
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, COOKIE_BYTE),
	    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, QUEUES - 1),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, index, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	    BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog program = {sizeof(code) / sizeof(*code), code};
	const int size = QUEUE_SIZE;
	int result;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) != 0)
		return -errno;
	result = kernel_set_listening(fd, true);
	return result ? result : kernel_set_listening(fd, false);
}

static int open_netlink(void)
{
	const struct sockaddr_nl any = {.nl_family = AF_NETLINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&any, sizeof(any)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -errno;
}

static int open_queues(struct last_words_source *source)
{
	int result;

	source->asking = open_netlink();
	if (source->asking < 0)
		return source->asking;
	for (unsigned i = 0; i < QUEUES; i++) {
		source->queue[i] = open_netlink();
		if (source->queue[i] < 0)
			return source->queue[i];
		result = prepare_queue(source->queue[i], i);
		if (result != 0)
			return result;
	}
	return 0;
}

int last_words_open(struct last_words_source **ret_source,
		    const struct last_words_user *user, char *ret_error, size_t size)
{
	struct last_words_source *source = calloc(1, sizeof(*source));
	int result = -ENOMEM;

	if (source) {
		source->user = *user;
		source->asking = -1;
		for (unsigned i = 0; i < QUEUES; i++)
			source->queue[i] = -1;
		source->drained_ns = tws_now();
		result = open_queues(source);
	}
	if (result != 0) {
		snprintf(ret_error, size, "listening for ended sockets (sock_diag): %s",
			 strerror(-result));
		last_words_close(source);
		return result;
	}
	*ret_source = source;
	return 0;
}

int last_words_listen(struct last_words_source *source)
{
	int result = 0;

	if (source->listens)
		return 0;
	for (unsigned i = 0; i < QUEUES && result == 0; i++)
		result = kernel_set_listening(source->queue[i], true);
	source->listens = result == 0;
	source->drained_ns = tws_now();
	return result;
}

void last_words_close(struct last_words_source *source)
{
	if (!source)
		return;
	if (source->asking >= 0)
		close(source->asking);
	for (unsigned i = 0; i < QUEUES; i++)
		if (source->queue[i] >= 0)
			close(source->queue[i]);
	free(source);
}

/* --------------------------------------------------------------------- look-ups */

struct look_up {
	struct nlmsghdr header;
	struct inet_diag_req_v2 request;
};

/* Whoever has its addresses now: another connection may be there already. */
static struct inet_diag_sockid whoever(const struct inet_diag_sockid *id)
{
	struct inet_diag_sockid ret = *id;

	ret.idiag_cookie[0] = ret.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	return ret;
}

static struct look_up look_up_of(uint8_t family, const struct inet_diag_sockid *id,
				 uint32_t number)
{
	return (struct look_up){
	    .header = {.nlmsg_len = sizeof(struct look_up),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST,
		       .nlmsg_seq = number},
	    .request = {.sdiag_family = family,
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_states = ~0u,
			.id = whoever(id)},
	};
}

static void write_look_ups(const struct last_words_source *source,
			   struct look_up look_ups[BATCH])
{
	for (uint32_t i = 0; i < source->asked_count; i++)
		look_ups[i] =
		    look_up_of(source->asked[i].family, &source->asked[i].id, i + 1);
}

/* A TIME_WAIT socket is in FIN_WAIT2 until the peer closes too. */
static bool is_time_wait(const struct inet_diag_msg *diag)
{
	return diag->idiag_state == STATE_TIME_WAIT ||
	       diag->idiag_state == STATE_FIN_WAIT2;
}

/* Another connection from the same port may have taken its place. */
static void take_answer(struct last_words *words, const struct inet_diag_msg *diag)
{
	if (kernel_decode_cookie(&diag->id) == words->cookie)
		words->time_wait = is_time_wait(diag);
	else
		words->taken = diag->idiag_state != STATE_LISTEN;
}

/* Returns how many answers the message has. An error means that the socket does not
 * exist. */
static uint32_t take_answers(struct last_words_source *source, const void *bytes,
			     ssize_t length)
{
	const struct inet_diag_msg *diag;
	uint32_t count = 0, place;

	for (const struct nlmsghdr *header = bytes; NLMSG_OK(header, length);
	     header = NLMSG_NEXT(header, length)) {
		place = header->nlmsg_seq - 1;
		if (place >= source->asked_count)
			continue;
		count++;
		diag = kernel_decode_message(header);
		if (diag)
			take_answer(&source->asked[place], diag);
	}
	return count;
}

/* As many datagrams as there are; recvmmsg()'s result. */
static int read_datagrams(struct last_words_source *source, int fd,
			  struct mmsghdr ret_messages[MESSAGES])
{
	struct iovec parts[MESSAGES];

	memset(ret_messages, 0, MESSAGES * sizeof(*ret_messages));
	for (unsigned i = 0; i < MESSAGES; i++) {
		parts[i] = (struct iovec){source->buffer[i], SIZE};
		ret_messages[i].msg_hdr.msg_iov = &parts[i];
		ret_messages[i].msg_hdr.msg_iovlen = 1;
	}
	return recvmmsg(fd, ret_messages, MESSAGES, MSG_DONTWAIT, NULL);
}

/* The kernel answers before send() returns, each request with a datagram. */
static void read_answers(struct last_words_source *source)
{
	struct mmsghdr messages[MESSAGES];
	uint32_t answered = 0;
	int count = 1;

	while (count > 0 && answered < source->asked_count) {
		count = read_datagrams(source, source->asking, messages);
		for (int i = 0; i < count; i++)
			answered += take_answers(source, source->buffer[i],
						 (ssize_t)messages[i].msg_len);
	}
}

static void look_up_all(struct last_words_source *source)
{
	struct look_up look_ups[BATCH];

	if (!source->asked_count)
		return;
	write_look_ups(source, look_ups);
	if (send(source->asking, look_ups, sizeof(*look_ups) * source->asked_count, 0) >
	    0)
		read_answers(source);
	for (uint32_t i = 0; i < source->asked_count; i++)
		source->user.take(source->user.data, &source->asked[i]);
	source->asked_count = 0;
}

uint64_t last_words_time_wait(struct last_words_source *source, uint8_t family,
			      const struct inet_diag_sockid *id)
{
	const struct look_up look_up = look_up_of(family, id, 1);
	const struct nlmsghdr *header = (const void *)source->buffer[0];
	const struct inet_diag_msg *diag = NULL;
	ssize_t length;

	if (send(source->asking, &look_up, sizeof(look_up), 0) < 0)
		return 0;
	length = recv(source->asking, source->buffer[0], SIZE, MSG_DONTWAIT);
	if (length > 0 && NLMSG_OK(header, length))
		diag = kernel_decode_message(header);
	return diag && is_time_wait(diag) && !diag->idiag_inode
		   ? kernel_decode_cookie(&diag->id)
		   : 0;
}

/* --------------------------------------------------------------------- messages */

static void read_info(struct last_words *words, const struct nlmsghdr *message)
{
	const struct nlattr *attribute;
	size_t length;

	mnl_attr_for_each(attribute, message, sizeof(struct inet_diag_msg))
	{
		if (mnl_attr_get_type(attribute) != INET_DIAG_INFO)
			continue;
		length = mnl_attr_get_payload_len(attribute);
		if (length > sizeof(words->info))
			length = sizeof(words->info);
		memcpy(&words->info, mnl_attr_get_payload(attribute), length);
		/* Acknowledged: the SYN, each byte that was sent once, the FIN. */
		words->fin_acked =
		    words->info.tcpi_bytes_acked ==
		    words->info.tcpi_bytes_sent - words->info.tcpi_bytes_retrans + 2;
	}
}

static void decode_words(const struct last_words_source *source,
			 const struct nlmsghdr *message, const struct inet_diag_msg *diag,
			 struct last_words *ret_words)
{
	*ret_words = (struct last_words){
	    .cookie = kernel_decode_cookie(&diag->id),
	    .read_ns = tws_now(),
	    .id = diag->id,
	    .unread = diag->idiag_rqueue,
	    .unsent = diag->idiag_wqueue,
	    .family = diag->idiag_family,
	    .late = source->late,
	};
	kernel_decode_address(&ret_words->local, diag->id.idiag_src, diag->id.idiag_sport,
			      diag->idiag_family);
	kernel_decode_address(&ret_words->remote, diag->id.idiag_dst,
			      diag->id.idiag_dport, diag->idiag_family);
	read_info(ret_words, message);
}

/* The batch is looked up when the messages at hand have been read: their buffer serves
 * for the answers too. */
static void take_words(struct last_words_source *source, const struct nlmsghdr *message)
{
	const struct inet_diag_msg *diag = kernel_decode_message(message);
	struct last_words words;

	if (!diag ||
	    !source->user.knows(source->user.data, kernel_decode_cookie(&diag->id)))
		return;
	decode_words(source, message, diag, &words);
	if (words.fin_acked)
		source->asked[source->asked_count++] = words;
	else
		source->user.take(source->user.data, &words);
}

static void take_message(struct last_words_source *source, const void *bytes,
			 ssize_t length)
{
	for (const struct nlmsghdr *header = bytes; NLMSG_OK(header, length);
	     header = NLMSG_NEXT(header, length))
		take_words(source, header);
}

/* Returns how many messages were read; 0: there are no more. A datagram holds one. */
static int read_messages(struct last_words_source *source, int queue)
{
	struct mmsghdr messages[MESSAGES];
	int count = read_datagrams(source, queue, messages);

	for (int i = 0; i < count; i++)
		take_message(source, source->buffer[i], (ssize_t)messages[i].msg_len);
	return count;
}

void last_words_drain(struct last_words_source *source)
{
	uint64_t began = tws_now();
	int count;

	source->late = began - source->drained_ns > LATE_NS;
	for (unsigned i = 0; i < QUEUES; i++) {
		while ((count = read_messages(source, source->queue[i])) != 0) {
			if (count < 0 && errno == ENOBUFS)
				source->lost_ns = tws_now();
			else if (count < 0 && errno != EINTR)
				break;
			if (source->asked_count + MESSAGES > BATCH)
				look_up_all(source);
		}
	}
	look_up_all(source);
	source->drained_ns = began;
}

uint64_t last_words_lost(struct last_words_source *source)
{
	uint64_t lost = source->lost_ns;

	source->lost_ns = 0;
	return lost;
}
