/* SPDX-License-Identifier: MIT
 *
 * The rules of local ports: how full they are to a destination, who holds them, what
 * gives them back. Facts in, verdict and words out.
 */
#include <stdio.h>
#include <string.h>

#include "tools/advice/rule.h"
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

/* " from 10.0.0.1, and at 421 more a second none is left in 12 s". Nothing of the future
 * where none are added, where it stays as it is, or where TIME_WAIT is no end (`ends`).
 */
static void say_forecast(char *text, size_t size, const struct traffic_pair *pair,
			 bool ends)
{
	char address[PRINT_ADDRESS_SIZE], rate[PRINT_NUMBER_SIZE];
	int used;

	*text = '\0';
	if (!pair)
		return;
	print_address(address, &pair->from);
	used = (int)strlen(address) - (pair->from.family ? 2 : 0); /* without ":0" */
	snprintf(text, size, " from %.*s", used, address);
	text += strlen(text);
	size -= strlen(text);
	say_rate(rate, sizeof(rate), pair->rate);
	if (pair->used >= pair->range || !ends || pair->rate <= 0)
		return;
	if (pair->exhausted_in_s)
		snprintf(text, size, ", and at %s more a second none is left in %u s",
			 rate, pair->exhausted_in_s);
	else if (pair->levels_at != pair->used)
		snprintf(text, size, ", and at %s more a second it %s to %s", rate,
			 pair->levels_at < pair->used ? "falls" : "rises",
			 advice_number(pair->levels_at));
}

const char *advice_more_ports(char *text, uint64_t all, uint64_t usable)
{
	static const char wider[] = "widen net.ipv4.ip_local_port_range";
	uint64_t reserved = all > usable ? all - usable : 0;
	bool narrow = all < ADVICE_PORTS / 2;

	if (reserved * 2 < all && (narrow || usable >= ADVICE_PORTS / 2))
		strcpy(text, wider);
	else
		snprintf(text, ADVICE_MORE_SIZE,
			 "take from net.ipv4.ip_local_reserved_ports what no server "
			 "needs: it keeps %s of the range's %s ports from connect()%s%s",
			 advice_number(reserved), advice_number(all),
			 narrow ? "; or " : "", narrow ? wider : "");
	return text;
}

/* The ports to a destination that an ordinary connect() finds taken. */
struct fill {
	uint32_t used, range, percent;
	uint32_t time_wait; /* of those */
	uint32_t own;	    /* of these, known to be this application's */
	bool bound;	    /* ... and bound before connect() */
	bool ring;	    /* ... by a port_ring */
};

static bool is_most(const struct advice_facts *facts, uint64_t count)
{
	return count && count * 2 >= facts->lately->ended;
}

/* A TIME_WAIT port that connect() takes over is not taken; one that was bound is. */
static struct fill fill_of(const struct advice_facts *facts)
{
	const struct traffic_pair *pair =
	    facts->pair && facts->pair->range ? facts->pair : NULL;
	struct fill fill = {
	    .used = pair ? pair->used : facts->ports.used,
	    .range = pair ? pair->range : facts->ports.range,
	    .time_wait = pair ? pair->time_wait : 0,
	};

	if (facts->lately && (!pair || facts->pair_is_ours)) {
		fill.ring = is_most(facts, facts->lately->port_ring);
		fill.bound = fill.ring || is_most(facts, facts->lately->early_bind);
	}
	if (pair && pair->reuse && !fill.bound) {
		fill.used -= pair->time_wait;
		fill.time_wait = 0;
	}
	fill.own = fill.time_wait;
	if (facts->time_wait.confirmed < fill.own)
		fill.own = (uint32_t)facts->time_wait.confirmed;
	fill.percent = (uint32_t)advice_percent(fill.used, fill.range);
	return fill;
}

/* "993 of them by TIME_WAIT sockets: 350 of curl, 643 of others". */
static void say_holder(char *text, size_t size, const struct advice_facts *facts,
		       const struct fill *fill)
{
	bool nobodys =
	    facts->pair && facts->pair->app == MODEL_NOBODY && facts->pair_is_ours;

	*text = '\0';
	if (!facts->pair)
		return;
	if (!fill->time_wait || nobodys)
		snprintf(text, size, "; %s of them by TIME_WAIT sockets",
			 advice_number(fill->time_wait));
	else if (fill->own == fill->time_wait)
		snprintf(text, size, "; %s of them by TIME_WAIT sockets of %s",
			 advice_number(fill->own), facts->app);
	else
		snprintf(text, size,
			 "; %s of them by TIME_WAIT sockets: %s of %s, %s of others",
			 advice_number(fill->time_wait), advice_number(fill->own),
			 facts->app, advice_number(fill->time_wait - fill->own));
}

/* Of the fill, what it means now. port_range=full makes the search short; it makes no
 * ports. "Soon" is where it does not stay as it is. */
static const char *consequence(const struct fill *fill, const struct traffic_pair *pair)
{
	if (fill->used >= fill->range)
		return "connect() fails with EADDRNOTAVAIL now";
	if (fill->percent >= EXHAUSTED && (!pair || pair->exhausted_in_s))
		return "connect() soon fails with EADDRNOTAVAIL";
	if (fill->percent >= EXHAUSTED)
		return "connect() fails with EADDRNOTAVAIL once the rest is taken";
	return "from half on connect() takes up to 100 times the CPU";
}

static void say_cure(char *text, size_t size, const struct advice_facts *facts,
		     const struct fill *fill)
{
	bool runs_out =
	    fill->percent >= EXHAUSTED || (facts->pair && facts->pair->exhausted_in_s);
	bool over = fill->time_wait && fill->time_wait * 2 >= fill->used;

	if (over && runs_out)
		snprintf(text, size,
			 "keep connections open; else -p 'close=fin-reset,to=%s', which "
			 "leaves no TIME_WAIT (port_range=full spares the CPU alone)",
			 facts->to);
	else if (!runs_out)
		snprintf(text, size, "%s-p 'port_range=full,to=%s'",
			 over ? "keep connections open; else " : "", facts->to);
	else
		snprintf(text, size,
			 "most are of connections that are open: keep fewer, "
			 "or spread them over more addresses");
}

/* A ring takes its own ports over; all others go without them. */
static void advise_ring(const struct advice_facts *facts,
			struct advice_finding *ret_finding)
{
	char outside[ADVICE_RING_SIZE], others[96] = "";

	advice_set(ret_finding, facts->starved ? VERDICT_PROBLEM : VERDICT_WARNING,
		   ret_finding->weight);
	if (facts->starved)
		snprintf(others, sizeof(others),
			 " (at least %s %s of the last minute found no port)",
			 advice_number(facts->starved),
			 print_plural(facts->starved, "connect", "connects"));
	ADVICE("%s takes them over again by its port_ring; any other connect(), to "
	       "whatever destination, passes over such a port for 60 s and fails with "
	       "EADDRNOTAVAIL when no other is left%s: give the ring ports outside "
	       "net.ipv4.ip_local_port_range, -p 'port_ring=%s,to=%s', or let -p "
	       "'close=fin-reset,to=%s' leave no TIME_WAIT",
	       facts->app, others, advice_ring_outside(outside, facts->traffic),
	       facts->to, facts->to);
}

/* The ports of ip_local_port_range, those that are reserved among them. */
static uint64_t range_of(const struct advice_facts *facts, const struct fill *fill)
{
	const struct traffic *traffic = facts->traffic;

	return traffic && traffic->port_high
		   ? (uint64_t)traffic->port_high - traffic->port_low + 1
		   : fill->range;
}

void rule_port_fill(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	struct fill fill = fill_of(facts);
	char forecast[160] = "", holder[160], cure[256], more[ADVICE_MORE_SIZE];

	if (fill.percent < BROWNOUT)
		return;
	advice_set(ret_finding,
		   fill.percent >= EXHAUSTED ? VERDICT_PROBLEM : VERDICT_WARNING,
		   fill.used);
	ret_finding->certainty = CERTAINTY_READ;
	say_forecast(forecast, sizeof(forecast), facts->pair,
		     !fill.ring && !(facts->pair && facts->pair->reuse));
	say_holder(holder, sizeof(holder), facts, &fill);
	EVIDENCE("%s of %s ephemeral ports (%s %%) to %s are in use%s%s",
		 advice_number(fill.used), advice_number(fill.range),
		 advice_number(fill.percent), facts->to, forecast, holder);
	if (fill.ring) {
		advise_ring(facts, ret_finding);
		return;
	}
	say_cure(cure, sizeof(cure), facts, &fill);
	ADVICE("%s: %s, and last of all, for the whole host, %s",
	       consequence(&fill, facts->pair), cure,
	       advice_more_ports(more, range_of(facts, &fill), fill.range));
}

/* Where most ports to the destination are free, none of its own connections are the
 * cause: a port that was bound before connect() is passed over for every destination. */
static void advise_starved(const struct advice_facts *facts,
			   struct advice_finding *ret_finding)
{
	char outside[ADVICE_RING_SIZE];

	if (facts->binder && facts->binder_rings)
		ADVICE("%s takes ports from all others by its port_ring: give the ring "
		       "ports outside net.ipv4.ip_local_port_range, such as "
		       "port_ring=%s, or let close=fin-reset leave no TIME_WAIT there",
		       facts->binder, advice_ring_outside(outside, facts->traffic));
	else if (facts->binder)
		ADVICE("%s binds before connect() and takes its ports from all "
		       "destinations: the cure is there, see TW105: -p "
		       "'late_bind=true,exe=%s'",
		       facts->binder, facts->binder);
	else
		ADVICE("see what else holds ports: sockets that were bound before "
		       "connect() (by a program without the shim: ss -tan lists them), "
		       "net.ipv4.ip_local_reserved_ports, or a port_range of its own");
}

static void advise_no_port(const struct advice_facts *facts,
			   struct advice_finding *ret_finding)
{
	uint64_t peak = advice_count(facts, TWS_peak_open);
	const struct traffic_pair *there = facts->there;

	if (there && there->used * 2 >= there->range &&
	    there->time_wait * 2 < there->used)
		ADVICE("most ports to %s are of connections that are open: keep fewer, "
		       "or spread them over more addresses",
		       facts->to);
	else if (!peak)
		ADVICE("none of its connections to %s came to be, so others held the "
		       "ports: see TW103, TW105 and twshim owners",
		       facts->to);
	else
		ADVICE("at most %s %s open at once%s: keep them open and reuse them, or "
		       "let -p 'close=fin-reset,to=%s' leave no TIME_WAIT",
		       advice_number(peak),
		       print_plural(peak, "connection was", "connections were"),
		       advice_in_one_process(facts), facts->to);
}

void rule_no_port(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t failed = advice_count(facts, TWS_failed_no_port);
	uint64_t attempts = advice_count(facts, TWS_attempts);

	if (!failed ||
	    (advice_is_over(facts, RECENT(facts, no_port), 1) && !facts->crowded))
		return;
	advice_set(ret_finding, VERDICT_PROBLEM, failed);
	if (facts->is_starved) {
		EVIDENCE("%s of %s connects of %s to %s failed with EADDRNOTAVAIL, while "
			 "%s of %s ephemeral ports are in use to there",
			 advice_number(failed), advice_number(attempts), facts->app,
			 facts->to, advice_number(facts->there ? facts->there->used : 0),
			 advice_number(facts->ports.range));
		advise_starved(facts, ret_finding);
		return;
	}
	EVIDENCE("%s of %s connects of %s to %s failed with EADDRNOTAVAIL: no port was "
		 "left",
		 advice_number(failed), advice_number(attempts), facts->app, facts->to);
	advise_no_port(facts, ret_finding);
}

/* It takes ports from all destinations, and from all programs. */
void rule_early_bind(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t bound = advice_count(facts, TWS_bound_before_connect);
	uint64_t failed = advice_count(facts, TWS_failed_no_port) +
			  advice_count(facts, TWS_failed_address_in_use);
	bool starves = facts->starved && facts->lately && facts->lately->early_bind;
	char others[96] = "";

	if (advice_is_over(facts, RECENT(facts, early_bind), 1) || !bound ||
	    (bound < MANY && !failed))
		return;
	advice_set(ret_finding, failed ? VERDICT_WARNING : VERDICT_NOTICE, bound);
	if (starves) {
		advice_set(ret_finding, VERDICT_PROBLEM, bound);
		snprintf(others, sizeof(others),
			 "; at least %s %s of the last minute found none for it",
			 advice_number(facts->starved),
			 print_plural(facts->starved, "connect", "connects"));
	}
	EVIDENCE("%s bound %s connections to %s to a source address before connect(), so "
		 "that all destinations share one pool of ports%s",
		 facts->app, advice_number(bound), facts->to, others);
	ADVICE("set IP_BIND_ADDRESS_NO_PORT before bind(), or try --policy "
	       "'late_bind=true,to=%s'",
	       facts->to);
}
