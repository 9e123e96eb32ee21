/* SPDX-License-Identifier: MIT
 *
 * The rules about local ports: how full they are for a destination or for a source
 * address, who holds them, and what frees them.
 */
#include <stdio.h>
#include <string.h>

#include "tools/advice/cure.h"
#include "tools/base/print.h"
#include "tools/model/traffic.h"

/* "421", "7.5". */
static const char *say_rate(char *text, size_t size, double rate)
{
	if (rate < 10)
		snprintf(text, size, "%.1f", rate);
	else
		snprintf(text, size, "%s", advice_number((uint64_t)rate));
	return text;
}

/* " from 10.0.0.1; growing by 421 per second, they run out in 12 s". There is no forecast
 * if no socket is added, if the number stays the same, or if TIME_WAIT ports are reused
 * (`runs_out` is false). */
static void say_forecast(char *text, size_t size, const struct traffic_pair *pair,
			 bool runs_out)
{
	char address[PRINT_ADDRESS_SIZE], rate[PRINT_NUMBER_SIZE];

	*text = '\0';
	if (!pair)
		return;
	snprintf(text, size, " from %s", advice_source(address, &pair->from));
	text += strlen(text);
	size -= strlen(text);
	say_rate(rate, sizeof(rate), pair->rate);
	if (pair->used >= pair->range || !runs_out || pair->rate <= 0)
		return;
	if (pair->exhausted_in_s)
		snprintf(text, size, "; growing by %s per second, they run out in %u s",
			 rate, pair->exhausted_in_s);
	else if (pair->levels_at != pair->used)
		snprintf(text, size, "; at %s more per second, their number %s to %s",
			 rate, pair->levels_at < pair->used ? "falls" : "rises",
			 advice_number(pair->levels_at));
}

/* The ports that an ordinary connect() to a destination cannot have. */
struct fill {
	uint32_t used, range, percent;
	uint32_t time_wait; /* held by TIME_WAIT sockets */
	uint32_t own;	    /* held by this application's TIME_WAIT sockets */
	bool bound;	    /* most were bound before connect() */
	bool ring;	    /* ... by a port_ring */
};

/* A TIME_WAIT port that connect() may take over counts as free, unless it was bound
 * before connect(). */
static struct fill fill_of(const struct advice_facts *facts)
{
	const struct model_recent *lately = facts->client.lately;
	const struct traffic_pair *pair =
	    facts->ports.pair && facts->ports.pair->range ? facts->ports.pair : NULL;
	struct fill fill = {
	    .used = pair ? pair->used : facts->ports.fill.used,
	    .range = pair ? pair->range : facts->ports.fill.range,
	    .time_wait = pair ? pair->time_wait : 0,
	};

	if (lately && (!pair || facts->ports.pair_is_ours)) {
		fill.ring = advice_is_most(facts, advice_rings_inside(lately));
		fill.bound =
		    fill.ring ||
		    advice_is_most(facts, lately->early_bind + lately->open_early_bind);
	}
	if (pair && pair->reuse && !fill.bound) {
		fill.used -= pair->time_wait;
		fill.time_wait = 0;
	}
	fill.own = fill.time_wait;
	if (facts->client.time_wait.confirmed < fill.own)
		fill.own = (uint32_t)facts->client.time_wait.confirmed;
	fill.percent = (uint32_t)advice_percent(fill.used, fill.range);
	return fill;
}

/* "; TIME_WAIT sockets hold 993: 350 of curl, 643 of others". */
static void say_time_wait(char *text, size_t size, const struct advice_facts *facts,
			  const struct fill *fill)
{
	bool nobodys =
	    facts->ports.pair->app == MODEL_NOBODY && facts->ports.pair_is_ours;

	if (nobodys)
		snprintf(text, size, "; TIME_WAIT sockets hold %s",
			 advice_number(fill->time_wait));
	else if (fill->own == fill->time_wait)
		snprintf(text, size, "; TIME_WAIT sockets of %s hold %s",
			 facts->client.app, advice_number(fill->own));
	else
		snprintf(text, size,
			 "; TIME_WAIT sockets hold %s: %s of %s, %s of others",
			 advice_number(fill->time_wait), advice_number(fill->own),
			 facts->client.app, advice_number(fill->time_wait - fill->own));
}

static void say_holders(char *text, size_t size, const struct advice_facts *facts,
			const struct fill *fill)
{
	const struct traffic_pair *pair = facts->ports.pair;

	*text = '\0';
	if (!pair)
		return;
	if (fill->time_wait)
		say_time_wait(text, size, facts, fill);
	for (unsigned i = 0; i < advice_held_count; i++)
		if (pair->state[advice_held[i].state])
			snprintf(
			    text + strlen(text), size - strlen(text), "; %s %s %s",
			    advice_number(pair->state[advice_held[i].state]),
			    print_plural(pair->state[advice_held[i].state], "is", "are"),
			    advice_held[i].name);
}

/* Says what the fill means now. port_range=full shortens the search for a free port but
 * adds no ports. */
static const char *consequence(const struct fill *fill, const struct traffic_pair *pair)
{
	if (fill->used >= fill->range)
		return "connect() fails with EADDRNOTAVAIL now";
	if (fill->percent >= EXHAUSTED && (!pair || pair->exhausted_in_s))
		return "connect() soon fails with EADDRNOTAVAIL";
	if (fill->percent >= EXHAUSTED)
		return "connect() fails with EADDRNOTAVAIL once the rest is in use";
	return "above 50 % used, connect() can cost 100 times the CPU";
}

static bool runs_out(const struct advice_facts *facts, const struct fill *fill)
{
	return fill->percent >= EXHAUSTED ||
	       (facts->ports.pair && facts->ports.pair->exhausted_in_s);
}

static void say_cure(char *text, size_t size, const struct advice_facts *facts,
		     const struct fill *fill)
{
	bool over = fill->time_wait && fill->time_wait * 2 >= fill->used;

	if (over && !fill->own && !facts->ports.pair_is_ours)
		snprintf(text, size,
			 "%s left none of them: twshim owners shows which program did; "
			 "start that one with -p 'close=fin-reset,to=%s', if it closes "
			 "first",
			 facts->client.app, facts->client.to);
	else if (!runs_out(facts, fill))
		snprintf(text, size, "%s-p 'port_range=full,to=%s'",
			 over ? "keep connections open; otherwise " : "",
			 facts->client.to);
	else if (over)
		advice_cure_time_wait(text, size, facts,
				      " (port_range=full saves CPU but adds no ports)");
	else
		advice_cure_held(text, size, facts, facts->ports.pair);
}

/* A ring reuses its own ports, but every other connect() must do without them. */
static void advise_ring(const struct advice_facts *facts,
			struct advice_finding *ret_finding)
{
	char outside[ADVICE_RING_SIZE], others[96] = "";

	advice_set(ret_finding, facts->rivals.starved ? VERDICT_PROBLEM : VERDICT_WARNING,
		   ret_finding->weight);
	if (facts->rivals.starved)
		snprintf(others, sizeof(others),
			 " (in the last minute at least %s %s found no port)",
			 advice_number(facts->rivals.starved),
			 print_plural(facts->rivals.starved, "connect", "connects"));
	ADVICE("%s itself reuses them, by its port_ring; every other connect(), to any "
	       "destination, skips such a port for 60 s and fails with EADDRNOTAVAIL "
	       "when no other port is left%s: give the ring ports outside "
	       "net.ipv4.ip_local_port_range, -p 'port_ring=%s,to=%s', or leave no "
	       "TIME_WAIT by -p 'close=fin-reset,to=%s'",
	       facts->client.app, others,
	       advice_ring_outside(outside, facts->host.traffic), facts->client.to,
	       facts->client.to);
}

/* The ports of ip_local_port_range, including reserved ones. */
static uint64_t range_of(const struct advice_facts *facts, const struct fill *fill)
{
	const struct traffic *traffic = facts->host.traffic;

	return traffic && traffic->port_high
		   ? (uint64_t)traffic->port_high - traffic->port_low + 1
		   : fill->range;
}

/* TW105 judges ports that were bound before connect(), for all destinations together. And
 * port_range=full is the cure for the search through a range that does not run out. */
static bool is_judged_elsewhere(const struct advice_facts *facts, const struct fill *fill)
{
	const struct model_recent *lately = facts->client.lately;

	return (fill->bound && !fill->ring) ||
	       (!runs_out(facts, fill) && lately &&
		advice_is_most(facts, lately->port_range));
}

/* "; cart-worker holds 88 %", of the ports in use. */
static void say_most_holder(char *text, size_t size, const struct advice_facts *facts)
{
	const struct traffic_pair *pair = facts->ports.pair;

	*text = '\0';
	if (pair && pair->used)
		snprintf(
		    text, size, "; %s %s %s %%", facts->client.app,
		    pair->app == MODEL_NOBODY && facts->ports.pair_is_ours ? "hold"
									   : "holds",
		    advice_number(advice_percent(facts->ports.pair_is_ours
						     ? pair->owned
						     : facts->client.time_wait.confirmed,
						 pair->used)));
}

static void note_return(const struct advice_facts *facts,
			struct advice_finding *ret_finding)
{
	const struct model_time_wait *time_wait = &facts->client.time_wait;

	ret_finding->range = facts->ports.fill.range;
	ret_finding->returns_first_s = (time_wait->oldest_leaves_ms + 999) / 1000;
	ret_finding->returns_last_s = (time_wait->newest_leaves_ms + 999) / 1000;
}

static void headline_fill(const struct advice_facts *facts, const struct fill *fill,
			  struct advice_finding *ret_finding)
{
	const struct traffic_pair *pair = facts->ports.pair;
	char holder[128];

	ret_finding->hurts = true;
	say_most_holder(holder, sizeof(holder), facts);
	if (fill->used >= fill->range)
		note_return(facts, ret_finding);
	if (fill->used >= fill->range)
		HEADLINE("No port to %s is left%s", facts->client.to, holder);
	else if (pair && pair->exhausted_in_s && !pair->reuse && !fill->ring)
		HEADLINE("Ports to %s run out in %u s%s", facts->client.to,
			 pair->exhausted_in_s, holder);
	else
		HEADLINE("%u %% of the ports to %s are in use%s", fill->percent,
			 facts->client.to, holder);
}

void rule_port_fill(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	struct fill fill = fill_of(facts);
	char forecast[160] = "", holder[256], cure[400], more[ADVICE_MORE_SIZE];

	if (fill.percent < BROWNOUT || is_judged_elsewhere(facts, &fill))
		return;
	advice_set(ret_finding,
		   fill.percent >= EXHAUSTED ? VERDICT_PROBLEM : VERDICT_WARNING,
		   fill.used);
	ret_finding->certainty = CERTAINTY_READ;
	ret_finding->period = PERIOD_NOW;
	headline_fill(facts, &fill, ret_finding);
	say_forecast(forecast, sizeof(forecast), facts->ports.pair,
		     !fill.ring && !(facts->ports.pair && facts->ports.pair->reuse));
	say_holders(holder, sizeof(holder), facts, &fill);
	EVIDENCE("%s of %s ephemeral ports (%s %%) to %s are in use%s%s",
		 advice_number(fill.used), advice_number(fill.range),
		 advice_number(fill.percent), facts->client.to, forecast, holder);
	if (fill.ring) {
		advise_ring(facts, ret_finding);
		return;
	}
	say_cure(cure, sizeof(cure), facts, &fill);
	ADVICE("%s: %s; last, for the whole host, %s",
	       consequence(&fill, facts->ports.pair), cure,
	       advice_more_ports(more, range_of(facts, &fill), fill.range));
}

/* If most ports to the destination are free, its own connections are not the cause:
 * connect() skips a port that was bound before connect(), whatever its destination. */
static void advise_starved(const struct advice_facts *facts,
			   struct advice_finding *ret_finding)
{
	char outside[ADVICE_RING_SIZE];

	if (facts->rivals.binder && facts->rivals.binder_rings)
		ADVICE("the port_ring of %s takes ports from all other programs: give "
		       "the ring ports outside net.ipv4.ip_local_port_range, such as "
		       "port_ring=%s, or leave no TIME_WAIT there by close=fin-reset",
		       facts->rivals.binder,
		       advice_ring_outside(outside, facts->host.traffic));
	else if (facts->rivals.binder)
		ADVICE("%s binds before connect(), which takes its ports from all "
		       "destinations and programs: start it with -p "
		       "'late_bind=true,%s', see TW105",
		       facts->rivals.binder, facts->rivals.binder_who);
	else
		ADVICE("something else holds ports: other sockets that were bound before "
		       "connect() (ss -tan lists them; twshim doctor names the program "
		       "if it runs under the shim), net.ipv4.ip_local_reserved_ports, "
		       "or the program's own port_range");
}

static void advise_fixed_port(const struct advice_facts *facts,
			      struct advice_finding *ret_finding)
{
	char rule[128] = "";

	if (!advice_has_fin_reset(facts) && !advice_beyond_help(facts))
		snprintf(rule, sizeof(rule),
			 ", or leave no TIME_WAIT by -p 'close=fin-reset,to=%s'",
			 facts->client.to);
	ADVICE("the program binds to a fixed source port, and an earlier connection of "
	       "its own with the same addresses and ports, in TIME_WAIT or still open, "
	       "holds it: bind to port 0 instead; if the port must be fixed, keep "
	       "SO_REUSEADDR and tcp_timestamps=1%s",
	       rule);
}

/* Attempts that were never answered, each of which held a port. */
static uint64_t unanswered(const struct advice_facts *facts)
{
	return advice_count(facts, TWS_connecting) + advice_count(facts, TWS_abandoned);
}

static void advise_own_ports(const struct advice_facts *facts,
			     struct advice_finding *ret_finding)
{
	uint64_t peak = advice_count(facts, TWS_peak_open);
	const struct traffic_pair *there = facts->ports.there;
	char cure[400];

	if (there && there->used * 2 >= there->range &&
	    there->time_wait * 2 < there->used) {
		advice_cure_held(cure, sizeof(cure), facts, there);
		ADVICE("%s", cure);
	} else if (unanswered(facts) > peak) {
		ADVICE("%s attempts were not answered, and each held a port: the peer "
		       "does not answer (a full backlog, a firewall, or no host); let "
		       "the program give up sooner, or retry less often",
		       advice_number(unanswered(facts)));
	} else if (!peak) {
		ADVICE("other sockets already held every port to %s; see twshim owners, "
		       "TW103 and TW105",
		       facts->client.to);
	} else {
		advice_cure_time_wait(cure, sizeof(cure), facts, "");
		ADVICE("at most %s %s open at once%s: %s", advice_number(peak),
		       print_plural(peak, "connection was", "connections were"),
		       advice_in_one_process(facts), cure);
	}
}

void rule_no_port(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t failed = advice_count(facts, TWS_failed_no_port) +
			  advice_count(facts, TWS_failed_address_in_use);
	uint64_t attempts = advice_count(facts, TWS_attempts);
	uint64_t recent = RECENT(facts, no_port);
	char lately[64] = "";

	if (!failed || advice_is_over(facts, recent, 1))
		return;
	advice_set(ret_finding, VERDICT_PROBLEM, recent ? recent : failed);
	if (recent && recent < failed)
		snprintf(lately, sizeof(lately), " (at least %s in the last minute)",
			 advice_number(recent));
	ret_finding->hurts = true;
	HEADLINE("No free port: %s of %s connects of %s to %s failed",
		 advice_number(failed), advice_number(attempts), facts->client.app,
		 facts->client.to);
	EVIDENCE("%s of %s connects of %s to %s failed with EADDRNOTAVAIL%s",
		 advice_number(failed), advice_number(attempts), facts->client.app,
		 facts->client.to, lately);
	if (advice_has_fixed_port(facts)) {
		advise_fixed_port(facts, ret_finding);
		return;
	}
	if (!facts->ports.is_starved) {
		strcat(ret_finding->evidence, ": no free port");
		note_return(facts, ret_finding);
		advise_own_ports(facts, ret_finding);
		return;
	}
	snprintf(ret_finding->evidence + strlen(ret_finding->evidence), 128,
		 ", although only %s of %s ephemeral ports to it are in use",
		 advice_number(facts->ports.there ? facts->ports.there->used : 0),
		 advice_number(facts->ports.fill.range));
	advise_starved(facts, ret_finding);
}
