/* SPDX-License-Identifier: MIT */
#include "tools/model/join.h"

#include <netinet/tcp.h>

#include "shim/shared/ending.h"

/* The order of counters is an ABI, so families of names are ranges. */
#define FIRST_ENDED  TWS_ended_local_fin
#define LAST_ENDED   TWS_ended_unseen
#define FIRST_FAILED TWS_failed_refused
#define LAST_FAILED  TWS_failed_other

/* The destroy message is read a little after the socket has gone. */
#define FRESH_NS (60000000000ULL - 2000000000ULL)

enum join_where join_where(const struct kernel_socket *socket)
{
	if (!socket)
		return JOIN_GONE;
	switch (socket->state) {
	case TCP_SYN_SENT:
	case TCP_SYN_RECV:
		return JOIN_CONNECTING;
	case TCP_ESTABLISHED:
	case TCP_CLOSE_WAIT:
		return JOIN_HELD;
	case TCP_TIME_WAIT:
		return JOIN_TIME_WAIT;
	case TCP_FIN_WAIT1:
	case TCP_FIN_WAIT2:
	case TCP_CLOSING:
		return socket->inode ? JOIN_HELD : JOIN_CLOSED_HERE;
	case TCP_LAST_ACK:
		return socket->inode ? JOIN_HELD : JOIN_CLOSED_THERE;
	default:
		return JOIN_GONE;
	}
}

void join_learn(struct join_facts *facts, const struct kernel_socket *socket,
		const struct kernel_destroyed *last_words, uint64_t table_ns)
{
	facts->where = join_where(socket);
	facts->last_words = last_words;
	facts->fresh = last_words && last_words->received_ns + FRESH_NS > table_ns;
}

/* Decides from the kernel's destroy message how an established connection ended that is
 * not in TIME_WAIT. Our FIN is acknowledged only in LAST_ACK or on the way to TIME_WAIT.
 */
static enum tws_ending ending_by_words(const struct join_facts *facts)
{
	const struct kernel_destroyed *words = facts->last_words;

	if (words->has_info && words->bytes_acked == 0)
		return TWS_END_RESET_APP; /* a reset by disconnect: only SO_LINGER {1,0}
					     does that */
	/* Unread data would have caused a reset, so what is unread is the peer's FIN. */
	if (words->fin_acked && facts->slot->flags & TWS_CONN_POLICY_LINGER2)
		return words->unread ? TWS_END_REMOTE_FIN : TWS_END_FIN_RESET;
	/* The peer's FIN would be a byte: a reset took the TIME_WAIT away. */
	if (words->fin_acked && !words->bytes_received)
		return TWS_END_LOCAL_FIN;
	if (words->fin_acked)
		return facts->fresh ? TWS_END_REMOTE_FIN : TWS_END_UNSEEN;
	if (words->has_info)
		return words->unread ? TWS_END_RESET_UNREAD : TWS_END_RESET_REMOTE;
	return words->unread > 1 ? TWS_END_RESET_UNREAD : TWS_END_UNSEEN;
}

/* The process left no ending, and the kernel no longer has the socket. */
static enum tws_ending ending_of_gone(const struct join_facts *facts)
{
	const struct tws_connection *slot = facts->slot;
	const struct kernel_destroyed *words = facts->last_words;
	enum tws_ending ending;

	if (slot->state == TWS_CONN_CONNECTING &&
	    !(words && words->has_info && words->bytes_acked))
		return TWS_END_ABANDONED;
	ending = tws_ending_unheard(slot->flags);
	if (ending == TWS_END_UNSEEN || ending == TWS_END_FIN_RESET)
		return words ? ending_by_words(facts) : ending;
	return ending;
}

static enum tws_ending ending_of(const struct join_facts *facts)
{
	const struct tws_connection *slot = facts->slot;
	bool drops = slot->flags & TWS_CONN_POLICY_LINGER2;

	switch (facts->where) {
	case JOIN_TIME_WAIT:
		return TWS_END_LOCAL_FIN;
	case JOIN_CLOSED_HERE:
		return drops ? TWS_END_FIN_RESET : TWS_END_LOCAL_FIN;
	case JOIN_CLOSED_THERE:
		return TWS_END_REMOTE_FIN;
	default:
		break;
	}
	/* A child had it last: it may have changed what the shim saw when our descriptor
	 * went. */
	if (slot->flags & TWS_CONN_LEFT && facts->last_words)
		return ending_of_gone(facts);
	if (slot->via && slot->ending)
		return (enum tws_ending)slot->ending;
	return ending_of_gone(facts);
}

struct join_verdict join_decide(const struct join_facts *facts)
{
	const struct tws_connection *slot = facts->slot;
	struct join_verdict verdict = {.failure = TWS_COUNTERS, .policy = TWS_COUNTERS};
	bool connecting = slot->state == TWS_CONN_CONNECTING;

	if ((!connecting && slot->state != TWS_CONN_OPEN) ||
	    slot->flags & TWS_CONN_ADOPTED)
		return verdict;
	if (facts->where == JOIN_CONNECTING)
		return verdict;
	if (facts->where == JOIN_HELD) {
		verdict.established = connecting;
		return verdict;
	}
	if (!facts->owner_gone)
		return verdict;
	verdict.ended = true;
	verdict.ending = ending_of(facts);
	verdict.via = slot->via ? (enum tws_via)slot->via : TWS_VIA_KILL;
	verdict.established = connecting && verdict.ending != TWS_END_ABANDONED &&
			      verdict.ending != TWS_END_FAILED;
	if (verdict.ending == TWS_END_FAILED)
		verdict.failure = (enum tws_counter)slot->failure;
	verdict.policy = tws_ending_fin_reset_outcome(verdict.ending, slot->flags);
	return verdict;
}

static void add_one(struct tws_counters *counters, enum tws_counter counter)
{
	if (counter < TWS_COUNTERS)
		counters->value[counter]++;
}

static enum tws_counter failure_counter(enum tws_counter failure)
{
	return failure >= FIRST_FAILED && failure <= LAST_FAILED ? failure
								 : TWS_failed_other;
}

void join_count(struct tws_counters *counters, const struct join_verdict *verdict)
{
	if (verdict->established)
		add_one(counters, TWS_established);
	if (!verdict->ended)
		return;
	if (verdict->ending == TWS_END_FAILED) {
		add_one(counters, failure_counter(verdict->failure));
	} else if (verdict->ending == TWS_END_ABANDONED) {
		add_one(counters, TWS_abandoned);
	} else {
		add_one(counters, tws_ending_counter(verdict->ending));
		add_one(counters, tws_via_counter(verdict->via));
		add_one(counters, verdict->policy);
	}
}

static uint64_t sum_range(const struct tws_counters *counters, unsigned first,
			  unsigned last)
{
	uint64_t sum = 0;

	for (unsigned i = first; i <= last; i++)
		sum += counters->value[i];
	return sum;
}

uint64_t join_ended(const struct tws_counters *counters)
{
	return sum_range(counters, FIRST_ENDED, LAST_ENDED);
}

/* A policy acts only on connections that we close first. */
uint64_t join_by_policy(const struct tws_counters *counters)
{
	return counters->value[TWS_ended_fin_reset] +
	       counters->value[TWS_ended_reset_policy];
}

uint64_t join_closed_first(const struct tws_counters *counters)
{
	return counters->value[TWS_ended_local_fin] + join_by_policy(counters);
}

uint64_t join_resets(const struct tws_counters *counters)
{
	return counters->value[TWS_ended_reset_app] +
	       counters->value[TWS_ended_reset_unread] +
	       counters->value[TWS_ended_reset_remote];
}

uint64_t join_failed(const struct tws_counters *counters)
{
	return sum_range(counters, FIRST_FAILED, LAST_FAILED);
}

int64_t join_open(const struct tws_counters *counters)
{
	return (int64_t)(counters->value[TWS_established] - join_ended(counters));
}

int64_t join_connecting(const struct tws_counters *counters)
{
	return (int64_t)(counters->value[TWS_attempts] -
			 counters->value[TWS_established] - join_failed(counters) -
			 counters->value[TWS_abandoned]);
}

void join_count_ending(struct tws_counters *counters, const struct tws_connection *slot,
		       int64_t open, int64_t connecting)
{
	bool surplus_open = join_open(counters) > open;
	bool surplus_connecting = join_connecting(counters) > connecting;
	struct join_verdict verdict = {
	    .ended = true,
	    .ending = (enum tws_ending)slot->ending,
	    .via = (enum tws_via)slot->via,
	    .failure = (enum tws_counter)slot->failure,
	    .policy =
		tws_ending_fin_reset_outcome((enum tws_ending)slot->ending, slot->flags),
	};
	bool unborn = slot->ending == TWS_END_ABANDONED || slot->ending == TWS_END_FAILED;

	if (!surplus_open && !surplus_connecting)
		return;
	/* A kill struck between two steps: either the connection was counted as
	 * established on a guess that was not taken back yet, or it ended while
	 * connecting and was not counted as established yet. */
	if (unborn && !surplus_connecting)
		counters->value[TWS_established]--;
	verdict.established = !unborn && !surplus_open;
	join_count(counters, &verdict);
}

/* A segment may contain anything; unsigned arithmetic wraps instead of overflowing. */
static int64_t wrapping_difference(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a - (uint64_t)b);
}

void join_reconcile(struct tws_counters *counters, int64_t open, int64_t connecting)
{
	int64_t surplus = wrapping_difference(join_open(counters), open);

	if (surplus > 0) {
		counters->value[TWS_ended_unseen] += (uint64_t)surplus;
		counters->value[TWS_via_kill] += (uint64_t)surplus;
	} else {
		counters->value[TWS_established] -= (uint64_t)surplus;
	}
	surplus = wrapping_difference(join_connecting(counters), connecting);
	if (surplus > 0)
		counters->value[TWS_abandoned] += (uint64_t)surplus;
	else
		counters->value[TWS_attempts] -= (uint64_t)surplus;
}

void join_derive(struct tws_counters *counters)
{
	uint64_t *value = counters->value;
	int64_t open = join_open(counters);
	int64_t connecting;

	if (open < 0)
		value[TWS_established] += (uint64_t)-open;
	value[TWS_open] = open < 0 ? 0 : (uint64_t)open;
	connecting = join_connecting(counters);
	if (connecting < 0)
		value[TWS_attempts] += (uint64_t)-connecting;
	value[TWS_connecting] = connecting < 0 ? 0 : (uint64_t)connecting;
	if (value[TWS_peak_open] < value[TWS_open])
		value[TWS_peak_open] = value[TWS_open];
}

void join_add(struct tws_counters *sum, const struct tws_counters *one)
{
	uint64_t peak = sum->value[TWS_peak_open];

	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		sum->value[i] += one->value[i];
	if (peak < one->value[TWS_peak_open])
		peak = one->value[TWS_peak_open];
	sum->value[TWS_peak_open] = peak;
	for (unsigned h = 0; h < TWS_HISTOGRAMS; h++) {
		for (unsigned i = 0; i < TWS_BUCKETS; i++)
			sum->histogram[h].count[i] += one->histogram[h].count[i];
		sum->histogram[h].sum += one->histogram[h].sum;
	}
}
