/* SPDX-License-Identifier: MIT */
#include "tools/observe/call.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "shim/shared/newer.h"
#include "tools/kernel/kernel.h"
#include "tools/observe/caller_alone.h"
#include "tools/observe/connect_call.h"
#include "tools/observe/former.h"
#include "tools/observe/keeper.h"
#include "tools/observe/notify_filter.h"
#include "tools/observe/open_table.h"
#include "tools/observe/policy_at_close.h"

#define I386_CLOSE 6

/* A call that is looked at, and whose it is. */
struct work {
	struct supervision *supervision;
	struct caller *caller;
	const struct seccomp_data *data;
	struct pending_call pending;
	bool sees_close, answered;
};

/* What its socket says. */
struct socket_facts {
	uint64_t cookie;
	bool mptcp, elsewhere; /* in another network namespace */
};

/* A connection that is to begin: what is known of it while its call waits. */
struct beginning {
	struct connect_call call;
	struct socket_facts facts;
	struct tws_address to; /* not known: an attempt before it ends all the same */
	struct open_connection *former; /* the attempt before, on the same socket */
	struct former_socket socket;	/* as the former one left it */
	struct publish_decision decision;
	struct attempt_limits limits;
	uint64_t began_ns;
	uint32_t flags;
};

/* ------------------------------------------------------------------- the socket */

static uint64_t option_of(int fd, int level, int name)
{
	uint64_t value = 0;
	socklen_t length = sizeof(value);

	return getsockopt(fd, level, name, &value, &length) == 0 ? value : 0;
}

/* False: not a TCP socket. */
static bool read_socket(const struct supervision *supervision, int fd,
			struct socket_facts *ret_facts)
{
	int protocol = (int)option_of(fd, SOL_SOCKET, SO_PROTOCOL);
	uint64_t net_cookie;

	if (protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP)
		return false;
	net_cookie =
	    supervision->net_cookie ? option_of(fd, SOL_SOCKET, SO_NETNS_COOKIE) : 0;
	*ret_facts = (struct socket_facts){
	    .cookie = option_of(fd, SOL_SOCKET, SO_COOKIE),
	    .mptcp = protocol == IPPROTO_MPTCP,
	    .elsewhere = net_cookie != supervision->net_cookie,
	};
	return ret_facts->cookie != 0;
}

/* TCP_SYNCNT, or net.ipv4.tcp_syn_retries of its network namespace. */
static struct attempt_limits read_limits(const struct supervision *supervision, int fd)
{
	return (struct attempt_limits){
	    .syn_retries = (uint32_t)option_of(fd, IPPROTO_TCP, TCP_SYNCNT) +
			   supervision->linear_syns,
	    .user_timeout_ms = (uint32_t)option_of(fd, IPPROTO_TCP, TCP_USER_TIMEOUT),
	};
}

/* --------------------------------------------------------------- what begins */

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
static void decide(const struct work *work, int fd, struct beginning *beginning)
{
	struct policy_at_call *policy = &work->supervision->policy;
	struct publish_decision *decision = &beginning->decision;
	const struct tws_subject subject = subject_of(work->caller);
	const struct tws_action *action =
	    policy_decide(policy, &subject, &beginning->to, decision);
	struct published *published =
	    action ? publish_caller(work->supervision, work->caller) : NULL;

	if (!published)
		return;
	decision->stopped = !publish_matched(published, decision->rule);
	if (decision->stopped)
		return;
	policy_carry_out(policy, fd, action, work->sees_close, decision,
			 &beginning->flags);
	if (decision->plan.mode != TWS_CLOSE_KEEP)
		decision->plan.waited_for = caller_waited_for(work->caller);
}

static uint32_t flags_of(const struct beginning *beginning)
{
	return (beginning->facts.mptcp ? TWS_CONN_MPTCP : 0) |
	       (beginning->call.fast_open ? TWS_CONN_FASTOPEN : 0) |
	       (beginning->to.family == TWS_IPV6 ? TWS_CONN_IPV6 : 0);
}

/* A connection from a port that the program chose may take over a TIME_WAIT that was left
 * there a moment ago. So it is looked for before that begins. */
static void look_at_port(const struct supervision *supervision, int fd,
			 const struct tws_address *to)
{
	struct inet_diag_sockid id = {0};
	uint8_t family = binding_addresses(fd, to, &id);
	struct open_connection *open =
	    family
		? publish_open_of(supervision->publisher,
				  last_words_time_wait(supervision->words, family, &id))
		: NULL;

	if (open)
		open->left_time_wait = true;
}

/* `fd` is our copy of its descriptor. False: no connection begins. */
static bool look_at_socket(const struct work *work, int fd, struct beginning *beginning,
			   bool *ret_gone)
{
	struct supervision *supervision = work->supervision;

	if (!read_socket(supervision, fd, &beginning->facts))
		return false;
	connect_call_destination(work->caller, &beginning->call, &beginning->to,
				 ret_gone);
	if (*ret_gone)
		return false;
	beginning->former =
	    publish_open_of(supervision->publisher, beginning->facts.cookie);
	beginning->began_ns = tws_now();
	if (beginning->former && !former_read(&beginning->socket, fd, beginning->former))
		return false;
	if (beginning->former && beginning->call.dissolves)
		return true;
	if (beginning->former &&
	    former_goes_on(&beginning->socket, beginning->former, &beginning->to,
			   beginning->facts.elsewhere))
		return false;
	beginning->limits = read_limits(supervision, fd);
	beginning->flags = flags_of(beginning);
	if (!beginning->former)
		beginning->flags |=
		    binding_flags(&supervision->binding, fd, beginning->facts.cookie);
	if (beginning->flags & TWS_CONN_APP_BOUND)
		look_at_port(supervision, fd, &beginning->to);
	if (beginning->to.family && supervision->policy.image &&
	    caller_waits(&work->pending))
		decide(work, fd, beginning);
	return true;
}

static void publish_beginning(const struct work *work, const struct beginning *beginning)
{
	const struct publish_connection connection = {
	    .cookie = beginning->facts.cookie,
	    .began_ns = beginning->began_ns,
	    .remote = beginning->to,
	    .flags = beginning->flags,
	    .descriptor = (uint32_t)beginning->call.fd + 1,
	    .decision = &beginning->decision,
	};
	struct published *published = publish_caller(work->supervision, work->caller);
	struct open_connection *open =
	    published ? publish_begun(published, &connection) : NULL;

	if (!open)
		return;
	open->unfollowed = beginning->facts.mptcp || beginning->facts.elsewhere;
	open->limits = beginning->limits;
}

/* The kernel takes the answer only if the call still waits. So it is also what says that
 * whatever was read before it is the caller's. */
static bool let_go_on(struct work *work)
{
	work->answered = true;
	return keeper_pass(work->pending.listener, work->pending.id) == 0;
}

static void begin_connection(struct work *work, const struct beginning *beginning)
{
	if (!let_go_on(work))
		return;
	if (beginning->former) {
		former_end(&beginning->socket, beginning->former,
			   beginning->call.dissolves, beginning->began_ns);
		binding_note_used(&work->supervision->binding, beginning->facts.cookie);
	}
	if (beginning->to.family)
		publish_beginning(work, beginning);
}

/* Whether it must be looked at once more, with the caller known anew. */
static bool take_connect(struct work *work)
{
	struct beginning beginning = {0};
	bool gone = false, begins;
	int fd;

	if (!connect_call_read(work->caller, work->data, &beginning.call))
		return true;
	fd = caller_descriptor(work->caller, beginning.call.fd);
	if (fd < 0) {
		if (fd == -EPERM)
			work->supervision->counts->hidden++;
		return fd == -ESRCH;
	}
	begins = !caller_is_counted(work->caller, work->data->instruction_pointer) &&
		 look_at_socket(work, fd, &beginning, &gone);
	close(fd);
	if (begins)
		begin_connection(work, &beginning);
	return gone;
}

/* ------------------------------------------------------------- close() and bind() */

static void take_close(const struct work *work, int fd)
{
	struct supervision *supervision = work->supervision;
	struct open_connection *open =
	    publish_open_of(supervision->publisher, option_of(fd, SOL_SOCKET, SO_COOKIE));

	if (open)
		policy_at_close(open, work->caller, fd, (int)work->data->args[0],
				supervision->policy.usual_linger2);
}

static void take_bind(const struct work *work, int fd)
{
	const struct tws_subject subject = subject_of(work->caller);
	struct connect_call call = {.address = work->data->args[1],
				    .length = (uint32_t)work->data->args[2]};
	struct supervision *supervision = work->supervision;
	struct socket_facts facts;
	struct tws_address to;
	bool gone, late = false;

	if (read_socket(supervision, fd, &facts) &&
	    connect_call_destination(work->caller, &call, &to, &gone))
		late = policy_at_bind(&supervision->policy, fd, &subject, to.port == 0);
	if (late)
		binding_note_late(&supervision->binding, facts.cookie);
}

/* As take_connect(). */
static bool take_other(const struct work *work)
{
	int fd = caller_descriptor(work->caller, (int)work->data->args[0]);

	if (fd < 0)
		return fd == -ESRCH;
	if (!caller_is_counted(work->caller, work->data->instruction_pointer) &&
	    caller_waits(&work->pending)) {
		if (connect_call_is(work->data, SYS_close, I386_CLOSE))
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
		supervision->counts->hidden += notify_filter_may_connect(&call->data);
	return caller && caller->left == CALLER_OURS ? caller : NULL;
}

/* Before its first call goes on: it may be killed as soon as that has connected. */
static void meet_shim(struct supervision *supervision)
{
	if (supervision->counts->with_shim)
		return;
	supervision->counts->with_shim = 1;
	if (supervision->netlink < 0 || supervision->finishing)
		return;
	kernel_set_listening(supervision->netlink, true);
	close(supervision->netlink); /* its starter has it too, and ends the listening */
	supervision->netlink = -1;
}

static void look_at_call(struct work *work, const struct seccomp_notif *call)
{
	bool again = false;

	for (int tries = 0; tries < 2; tries++) {
		work->caller =
		    find_caller(work->supervision, call, &work->pending, again);
		if (!work->caller)
			return;
		if (work->caller->has_shim)
			meet_shim(work->supervision);
		if (is_io_uring(&call->data)) {
			work->supervision->counts->io_uring++;
			return;
		}
		if (caller_is_replaced(work->caller))
			again = true;
		else
			again = notify_filter_may_connect(&call->data)
				    ? take_connect(work)
				    : take_other(work);
		if (!again)
			return;
	}
}

void supervision_take(struct supervision *supervision,
		      const struct received_call *received)
{
	const struct seccomp_notif *call = received->call;
	struct work work = {.supervision = supervision,
			    .data = &call->data,
			    .pending = {received->listener, call->id},
			    .sees_close = received->sees_close};

	supervision_follow_policy(supervision);
	look_at_call(&work, call);
	if (!work.answered)
		keeper_pass(received->listener, call->id);
}
