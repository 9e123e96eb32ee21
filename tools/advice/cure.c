/* SPDX-License-Identifier: MIT */
#include "tools/advice/cure.h"

#include <netinet/tcp.h>
#include <string.h>

#include "tools/model/traffic.h"

const struct advice_held advice_held[] = {
    {TCP_ESTABLISHED, "open",
     "open connections hold most of the ports to %s: keep fewer open, or use more source "
     "or destination addresses"},
    {TCP_FIN_WAIT2, "in FIN_WAIT_2",
     "the peer does not close its side (FIN_WAIT_2), so each port to %s stays in use for "
     "tcp_fin_timeout: -p 'close=fin-reset,to=%s' frees it at once, fin_timeout=5 "
     "instead "
     "of close after 5 s"},
    {TCP_SYN_SENT, "in SYN_SENT",
     "the peer does not answer (SYN_SENT), and each attempt to %s holds a port: check "
     "that "
     "the server accepts connections (a full backlog), and the firewall; let the program "
     "give up sooner"},
    {TCP_FIN_WAIT1, "in FIN_WAIT_1",
     "the peer does not acknowledge our FIN (FIN_WAIT_1): check the network to %s, and "
     "whether the server reads"},
    {TCP_CLOSE_WAIT, "in CLOSE_WAIT",
     "the peer closed its connections to %s and the program did not (CLOSE_WAIT): the "
     "program must close a connection once recv() returns 0, see TW213"},
    {TCP_LAST_ACK, "in LAST_ACK",
     "the peer closed first and does not acknowledge our FIN (LAST_ACK): check the "
     "network "
     "to %s"},
    {TCP_CLOSING, "in CLOSING",
     "both sides closed at once and the peer does not acknowledge (CLOSING): check the "
     "network to %s"},
};
const unsigned advice_held_count = sizeof(advice_held) / sizeof(*advice_held);

void advice_cure_held(char *text, size_t size, const struct advice_facts *facts,
		      const struct traffic_pair *pair)
{
	const struct advice_held *most = &advice_held[0];

	for (unsigned i = 1; pair && i < advice_held_count; i++)
		if (pair->state[advice_held[i].state] > pair->state[most->state])
			most = &advice_held[i];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, size, most->cure, facts->client.to, facts->client.to);
#pragma GCC diagnostic pop
}

bool advice_is_most(const struct advice_facts *facts, uint64_t count)
{
	const struct model_recent *lately = facts->client.lately;

	return count && count * 2 >= lately->ended + lately->open;
}

uint64_t advice_rings_inside(const struct model_recent *recent)
{
	return recent->port_ring_outside ? 0 : recent->port_ring + recent->open_port_ring;
}

uint64_t advice_beyond_help(const struct advice_facts *facts)
{
	const struct model_recent *lately = facts->client.lately;
	uint64_t first = advice_count(facts, TWS_ended_local_fin);
	uint64_t shut = advice_count(facts, TWS_shut_down_first);
	uint64_t seen = lately ? lately->ending[TWS_END_LOCAL_FIN] : 0;

	if (shut > first)
		shut = first;
	return seen ? (first * lately->late_close + seen - 1) / seen : shut;
}

bool advice_has_fin_reset(const struct advice_facts *facts)
{
	return facts->client.lately && facts->client.lately->fin_reset;
}

/* The rule for connections that fin-reset does not help. */
static void say_instead(char *text, size_t size, const struct advice_facts *facts)
{
	char outside[ADVICE_RING_SIZE];

	if (facts->client.lately && facts->client.lately->port_ring) {
		snprintf(text, size,
			 "keep connections open or let the server close first; otherwise "
			 "give the port_ring in force more ports: it had none for %s "
			 "connections",
			 advice_number(advice_count(facts, TWS_policy_skipped_busy)));
		return;
	}
	if (facts->client.lately && advice_is_most(facts, facts->client.lately->bound)) {
		snprintf(
		    text, size,
		    "keep connections open or let the server close first (a port_ring "
		    "does not act on sockets that the program binds itself)");
		return;
	}
	snprintf(text, size,
		 "keep connections open or let the server close first; otherwise -p "
		 "'port_ring=%s,to=%s' reuses their ports",
		 advice_ring_outside(outside, facts->host.traffic), facts->client.to);
}

/* The rule is in force. Says what came of it. */
static void say_in_force(char *text, size_t size, const struct advice_facts *facts)
{
	const struct model_recent *lately = facts->client.lately;
	uint64_t left = lately->fin_reset_left;
	char instead[200];

	say_instead(instead, sizeof(instead), facts);
	if (left)
		snprintf(
		    text, size,
		    "close=fin-reset is in force but did not help %s connections of "
		    "the last minute, because they were in TIME_WAIT before close(): "
		    "%s",
		    advice_number(left), instead);
	else
		snprintf(
		    text, size,
		    "close=fin-reset is in force for %s of the %s connections of the "
		    "last minute, none of which left TIME_WAIT: extend the rule to "
		    "all of them once the server shows no errors",
		    advice_number(lately->fin_reset), advice_number(lately->ended));
}

void advice_cure_time_wait(char *text, size_t size, const struct advice_facts *facts,
			   const char *remark)
{
	uint64_t first = advice_count(facts, TWS_ended_local_fin);
	uint64_t beyond = advice_beyond_help(facts);
	bool mptcp =
	    facts->client.lately && advice_is_most(facts, facts->client.lately->mptcp);
	char instead[200], share[96] = "";

	say_instead(instead, sizeof(instead), facts);
	if (advice_has_fin_reset(facts))
		say_in_force(text, size, facts);
	else if (mptcp)
		snprintf(text, size, "close=fin-reset does not work for MPTCP: %s",
			 instead);
	else if (beyond && beyond * 2 >= first)
		snprintf(
		    text, size,
		    "close=fin-reset cannot help %s of them, because the program calls "
		    "shutdown() first and the peer's FIN arrives before close(): %s",
		    advice_number(beyond), instead);
	else {
		if (beyond)
			snprintf(share, sizeof(share),
				 ", except on the %s on which the program calls "
				 "shutdown() first",
				 advice_number(beyond));
		snprintf(text, size,
			 "keep connections open or let the server close first; otherwise "
			 "-p 'close=fin-reset,to=%s' leaves no TIME_WAIT%s%s",
			 facts->client.to, share, remark);
	}
}

bool advice_has_fixed_port(const struct advice_facts *facts)
{
	return facts->client.lately &&
	       advice_is_most(facts, facts->client.lately->fixed_port);
}
