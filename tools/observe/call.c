/* SPDX-License-Identifier: MIT */
#include "tools/observe/call.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "shim/shared/newer.h"
#include "tools/observe/caller_alone.h"
#include "tools/observe/notify_filter.h"
#include "tools/observe/open_table.h"
#include "tools/observe/policy_at_close.h"

#define I386_SOCKETCALL 102
#define I386_CONNECT	362
#define I386_SENDTO	369
#define I386_CLOSE	6
#define CLOSED		7 /* TCP_CLOSE, of linux/tcp_states.h */

/* A call that begins a connection, its arguments read from memory where they are
 * there. */
struct connect_call {
	int fd;
	uint64_t address; /* of its sockaddr */
	uint32_t length;
	bool fast_open;
};

/* A call that is looked at, and whose it is. */
struct work {
	struct supervision *supervision;
	struct caller *caller;
	const struct seccomp_data *data;
	struct pending_call pending;
	bool sees_close;
};

/* What its socket says. */
struct socket_facts {
	uint64_t cookie;
	bool mptcp, elsewhere; /* in another network namespace */
};

/* --------------------------------------------------------------------- the call */

static bool is_i386(const struct seccomp_data *data)
{
	return data->arch == AUDIT_ARCH_I386;
}

/* msghdr begins with the address and its length. */
static bool read_message(const struct caller *caller, const struct seccomp_data *data,
			 struct connect_call *ret_call)
{
	struct {
		uint64_t name;
		uint32_t length;
	} wide;
	struct {
		uint32_t name, length;
	} narrow;

	if (is_i386(data)) {
		if (!caller_read(caller, data->args[1], &narrow, sizeof(narrow)))
			return false;
		ret_call->address = narrow.name;
		ret_call->length = narrow.length;
		return true;
	}
	if (!caller_read(caller, data->args[1], &wide, sizeof(wide.name) + 4))
		return false;
	ret_call->address = wide.name;
	ret_call->length = wide.length;
	return true;
}

static bool read_socketcall(const struct caller *caller, const struct seccomp_data *data,
			    struct connect_call *ret_call)
{
	uint32_t words[3];

	if (!caller_read(caller, data->args[1], words, sizeof(words)))
		return false;
	*ret_call = (struct connect_call){(int)words[0], words[1], words[2], false};
	return true;
}

/* x32 marks its numbers with a high bit. */
static bool is_call(const struct seccomp_data *data, int native, int i386)
{
	return is_i386(data) ? data->nr == i386 : (data->nr & 0xffff) == native;
}

static bool read_call(const struct caller *caller, const struct seccomp_data *data,
		      struct connect_call *ret_call)
{
	*ret_call = (struct connect_call){.fd = (int)data->args[0]};
	if (is_call(data, SYS_connect, I386_CONNECT)) {
		ret_call->address = data->args[1];
		ret_call->length = (uint32_t)data->args[2];
		return true;
	}
	if (is_i386(data) && data->nr == I386_SOCKETCALL)
		return read_socketcall(caller, data, ret_call);
	ret_call->fast_open = true;
	if (!is_call(data, SYS_sendto, I386_SENDTO))
		return read_message(caller, data, ret_call);
	ret_call->address = data->args[4];
	ret_call->length = (uint32_t)data->args[5];
	return true;
}

/* Where it goes, as far as memory says, which another thread may be changing: the kernel
 * has the last word. False: not there, or not to an address of TCP. */
static bool read_destination(const struct caller *caller, const struct connect_call *call,
			     struct tws_address *ret_address, bool *ret_gone)
{
	union {
		sa_family_t family;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} address = {.in6 = {0}};
	size_t length = call->length < sizeof(address) ? call->length : sizeof(address);

	*ret_gone = !caller_read(caller, call->address, &address, length);
	*ret_address = (struct tws_address){0};
	if (*ret_gone)
		return false;
	if (address.family == AF_INET && length >= sizeof(address.in)) {
		ret_address->family = TWS_IPV4;
		ret_address->port = ntohs(address.in.sin_port);
		memcpy(ret_address->bytes, &address.in.sin_addr, 4);
	} else if (address.family == AF_INET6 && length >= 24) {
		ret_address->port = ntohs(address.in6.sin6_port);
		ret_address->family =
		    IN6_IS_ADDR_V4MAPPED(&address.in6.sin6_addr) ? TWS_IPV4 : TWS_IPV6;
		if (ret_address->family == TWS_IPV4)
			memcpy(ret_address->bytes, address.in6.sin6_addr.s6_addr + 12, 4);
		else
			memcpy(ret_address->bytes, &address.in6.sin6_addr, 16);
	}
	return ret_address->family != TWS_FAMILY_NONE;
}

static uint64_t option_of(int fd, int name)
{
	uint64_t value = 0;
	socklen_t length = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0 ? value : 0;
}

/* False: not a TCP socket. */
static bool read_socket(const struct supervision *supervision, int fd,
			struct socket_facts *ret_facts)
{
	int protocol = (int)option_of(fd, SO_PROTOCOL);
	uint64_t net_cookie;

	if (protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP)
		return false;
	net_cookie = supervision->net_cookie ? option_of(fd, SO_NETNS_COOKIE) : 0;
	*ret_facts = (struct socket_facts){
	    .cookie = option_of(fd, SO_COOKIE),
	    .mptcp = protocol == IPPROTO_MPTCP,
	    .elsewhere = net_cookie != supervision->net_cookie,
	};
	return ret_facts->cookie != 0;
}

/* ---------------------------------------------------------- what becomes of it */

/* A second call on the same socket: to learn the outcome of the first, because a signal
 * interrupted it, or because the first attempt failed. */
static bool is_repeated(int fd, const struct open_connection *open)
{
	struct tcp_info info = {0};
	socklen_t length = offsetof(struct tcp_info, tcpi_rto);
	int unsent = 0;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0)
		return true;
	if (info.tcpi_state != CLOSED)
		return true;
	return !open->established_ns && ioctl(fd, SIOCOUTQ, &unsent) == 0 && unsent == 0;
}

/* The attempt before on the same socket has failed. */
static void end_former(const struct open_connection *open)
{
	const struct publish_connection failed = {
	    .cookie = open->cookie,
	    .ended_ns = tws_now(),
	    .ending = open->established_ns ? TWS_END_RESET_APP : TWS_END_FAILED,
	    .failure = TWS_failed_other,
	};

	publish_ended(open->published, &failed);
}

static struct published *publish_caller(struct supervision *supervision,
					struct caller *caller)
{
	struct observed *observed = caller->observed;

	if (!observed)
		return NULL;
	if (!observed->published && !observed->left) {
		observed->published =
		    publish_process(supervision->publisher, &observed->subject);
		observed->left = !observed->published;
	}
	return observed->published;
}

static struct tws_subject subject_of(const struct caller *caller)
{
	return (struct tws_subject){.names = &caller->observed->subject.names,
				    .exe = caller->observed->subject.exe,
				    .uid = caller->observed->subject.uid};
}

/* What the policy in force does about the connection. */
static void decide(const struct work *work, struct published *published, int fd,
		   const struct tws_address *to, struct publish_decision *decision,
		   uint32_t *flags)
{
	struct policy_at_call *policy = &work->supervision->policy;
	const struct tws_subject subject = subject_of(work->caller);
	const struct tws_action *action = policy_decide(policy, &subject, to, decision);

	if (!action)
		return;
	decision->stopped = !publish_matched(published, decision->rule);
	if (decision->stopped)
		return;
	policy_carry_out(policy, fd, action, work->sees_close, decision, flags);
	if (decision->plan.mode != TWS_CLOSE_KEEP)
		decision->plan.waited_for = caller_waited_for(work->caller);
}

/* `fd` is our copy of the socket. */
static void begin_connection(const struct work *work, const struct connect_call *call,
			     int fd, const struct socket_facts *facts,
			     const struct tws_address *to)
{
	struct supervision *supervision = work->supervision;
	struct publish_decision decision = {0};
	struct publish_connection connection = {
	    .cookie = facts->cookie,
	    .began_ns = tws_now(),
	    .remote = *to,
	    .flags = (facts->mptcp ? TWS_CONN_MPTCP : 0) |
		     (call->fast_open ? TWS_CONN_FASTOPEN : 0) |
		     (to->family == TWS_IPV6 ? TWS_CONN_IPV6 : 0),
	    .descriptor = (uint32_t)call->fd + 1,
	    .decision = &decision,
	};
	struct published *published = publish_caller(supervision, work->caller);
	struct open_connection *open;

	if (!published)
		return;
	decide(work, published, fd, to, &decision, &connection.flags);
	publish_begun(published, &connection);
	open = publish_open_of(supervision->publisher, facts->cookie);
	if (open)
		open->unfollowed = facts->mptcp || facts->elsewhere;
}

/* `fd` is our copy of its descriptor. */
static void take_socket(const struct work *work, const struct connect_call *call, int fd,
			bool *ret_gone)
{
	struct supervision *supervision = work->supervision;
	struct open_connection *open;
	struct socket_facts facts;
	struct tws_address to;
	bool has_destination;

	if (!read_socket(supervision, fd, &facts))
		return;
	has_destination = read_destination(work->caller, call, &to, ret_gone);
	if (*ret_gone || !caller_waits(&work->pending))
		return;
	open = publish_open_of(supervision->publisher, facts.cookie);
	if (open && is_repeated(fd, open))
		return;
	if (open)
		end_former(open);
	if (has_destination)
		begin_connection(work, call, fd, &facts, &to);
}

/* Whether it must be looked at once more, with the caller known anew. */
static bool take_connect(const struct work *work)
{
	struct connect_call call;
	bool gone = false;
	int fd;

	if (!read_call(work->caller, work->data, &call))
		return true;
	fd = caller_descriptor(work->caller, call.fd);
	if (fd < 0) {
		if (fd == -EPERM)
			work->supervision->counts->hidden++;
		return fd == -ESRCH;
	}
	if (!caller_is_counted(work->caller, work->data->instruction_pointer))
		take_socket(work, &call, fd, &gone);
	close(fd);
	return gone;
}

/* ------------------------------------------------------------- close() and bind() */

static void take_close(const struct work *work, int fd)
{
	struct supervision *supervision = work->supervision;
	struct open_connection *open =
	    publish_open_of(supervision->publisher, option_of(fd, SO_COOKIE));

	if (open)
		policy_at_close(open, work->caller, fd, (int)work->data->args[0],
				supervision->policy.usual_linger2);
}

static void take_bind(const struct work *work, int fd)
{
	const struct tws_subject subject = subject_of(work->caller);
	const struct connect_call call = {.address = work->data->args[1],
					  .length = (uint32_t)work->data->args[2]};
	struct supervision *supervision = work->supervision;
	struct socket_facts facts;
	struct tws_address to;
	bool gone;

	if (read_socket(supervision, fd, &facts) &&
	    read_destination(work->caller, &call, &to, &gone))
		policy_at_bind(&supervision->policy, fd, &subject, to.port == 0);
}

/* As take_connect(). */
static bool take_other(const struct work *work)
{
	int fd = caller_descriptor(work->caller, (int)work->data->args[0]);

	if (fd < 0)
		return fd == -ESRCH;
	if (!caller_is_counted(work->caller, work->data->instruction_pointer) &&
	    caller_waits(&work->pending)) {
		if (is_call(work->data, SYS_close, I386_CLOSE))
			take_close(work, fd);
		else
			take_bind(work, fd);
	}
	close(fd);
	return false;
}

static bool is_io_uring(const struct seccomp_data *data)
{
#ifdef SYS_io_uring_setup
	return data->nr == SYS_io_uring_setup; /* the same number everywhere */
#else
	return false;
#endif
}

/* Who calls. NULL: the call is not looked at. */
static struct caller *find_caller(struct supervision *supervision,
				  const struct seccomp_notif *call,
				  const struct pending_call *pending, bool again)
{
	struct caller *caller = call->pid ? caller_find(&supervision->callers,
							(pid_t)call->pid, pending, again)
					  : NULL;

	if (!caller || caller->left == CALLER_HIDDEN)
		supervision->counts->hidden++;
	return caller && caller->left == CALLER_OURS ? caller : NULL;
}

void supervision_take(struct supervision *supervision,
		      const struct received_call *received)
{
	const struct seccomp_notif *call = received->call;
	struct work work = {.supervision = supervision,
			    .data = &call->data,
			    .pending = {received->listener, call->id},
			    .sees_close = received->sees_close};
	bool again = false;

	supervision_follow_policy(supervision);
	for (int tries = 0; tries < 2; tries++) {
		work.caller = find_caller(supervision, call, &work.pending, again);
		if (!work.caller)
			return;
		if (is_io_uring(&call->data)) {
			supervision->counts->io_uring++;
			return;
		}
		if (caller_is_replaced(work.caller))
			again = true;
		else
			again = notify_filter_may_connect(&call->data)
				    ? take_connect(&work)
				    : take_other(&work);
		if (!again)
			return;
	}
}
