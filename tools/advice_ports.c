/* SPDX-License-Identifier: MIT
 *
 * The rules of local ports: how full they are to a destination, who holds them, what
 * gives them back. Facts in, verdict and words out.
 */
#include <stdio.h>
#include <string.h>

#include "tools/advice_rule.h"
#include "tools/print.h"
#include "tools/traffic.h"

/* " from 10.0.0.1; at 421 a second none is left in 12 s". */
static void say_forecast(char *text, size_t size, const struct traffic_pair *pair)
{
	char address[PRINT_ADDRESS_SIZE];
	int used;

	*text = '\0';
	if (!pair)
		return;
	print_address(address, &pair->from);
	used = (int)strlen(address) - (pair->from.family ? 2 : 0); /* without ":0" */
	if (pair->used >= pair->range)
		snprintf(text, size, " from %.*s", used, address);
	else if (pair->exhausted_in_s)
		snprintf(text, size,
			 " from %.*s, and at %s more a second none is left in %u s", used,
			 address, advice_number((uint64_t)pair->rate),
			 pair->exhausted_in_s);
	else
		snprintf(text, size, " from %.*s, and at %s more a second it comes to %s",
			 used, address, advice_number((uint64_t)pair->rate),
			 advice_number(pair->settles_at));
}

/* Of the pair's TIME_WAIT sockets, those known to be this application's. */
static uint64_t own_time_wait(const struct advice_facts *facts)
{
	uint64_t own = facts->time_wait.confirmed;

	return own < facts->pair->time_wait ? own : facts->pair->time_wait;
}

/* "993 of them by TIME_WAIT sockets: 350 of curl, 643 of others". */
static void say_holder(char *text, size_t size, const struct advice_facts *facts)
{
	const struct traffic_pair *pair = facts->pair;
	uint64_t own, others;

	*text = '\0';
	if (!pair)
		return;
	own = own_time_wait(facts);
	others = pair->time_wait - own;
	if (!pair->time_wait || (pair->app == MODEL_NOBODY && facts->pair_is_ours))
		snprintf(text, size, "; %s of them by TIME_WAIT sockets",
			 advice_number(pair->time_wait));
	else if (!others)
		snprintf(text, size, "; %s of them by TIME_WAIT sockets of %s",
			 advice_number(own), facts->app);
	else
		snprintf(text, size,
			 "; %s of them by TIME_WAIT sockets: %s of %s, %s of others",
			 advice_number(pair->time_wait), advice_number(own), facts->app,
			 advice_number(others));
}

/* Whether most of the ports are held by connections that are over. */
static bool is_time_wait(const struct traffic_pair *pair)
{
	return pair && pair->time_wait * 2 >= pair->used;
}

/* Of the fill, what it means now. port_range=full makes the search short; it makes no
 * ports. */
static const char *consequence(const struct model_ports *ports)
{
	if (ports->used >= ports->range)
		return "connect() fails with EADDRNOTAVAIL now";
	if (advice_percent(ports->used, ports->range) >= EXHAUSTED)
		return "connect() soon fails with EADDRNOTAVAIL";
	return "from half on connect() takes up to 100 times the CPU";
}

static void say_cure(char *text, size_t size, const struct advice_facts *facts,
		     const struct model_ports *ports)
{
	if (advice_percent(ports->used, ports->range) < EXHAUSTED)
		snprintf(text, size,
			 "keep connections open; else -p "
			 "'port_range=full,to=%s'",
			 facts->to);
	else if (is_time_wait(facts->pair))
		snprintf(text, size,
			 "keep connections open; else -p 'close=fin-reset,to=%s', which "
			 "leaves no TIME_WAIT (port_range=full spares the CPU alone)",
			 facts->to);
	else
		snprintf(text, size,
			 "most are of connections that are open: keep fewer, "
			 "or spread them over more addresses");
}

void rule_port_fill(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	struct model_ports ports = facts->ports;
	char forecast[160], holder[128], cure[256];
	uint64_t fill;

	if (facts->pair && facts->pair->range) {
		ports.used = facts->pair->used;
		ports.range = facts->pair->range;
	}
	fill = advice_percent(ports.used, ports.range);
	if (fill < BROWNOUT)
		return;
	advice_set(ret_finding, fill >= EXHAUSTED ? VERDICT_PROBLEM : VERDICT_WARNING,
		   ports.used);
	ret_finding->certainty = CERTAINTY_READ;
	say_forecast(forecast, sizeof(forecast), facts->pair);
	say_holder(holder, sizeof(holder), facts);
	EVIDENCE("%s of %s ephemeral ports (%s %%) to %s are in use%s%s",
		 advice_number(ports.used), advice_number(ports.range),
		 advice_number(fill), facts->to, forecast, holder);
	say_cure(cure, sizeof(cure), facts, &ports);
	ADVICE("%s: %s, and last of all, for the whole host, widen "
	       "net.ipv4.ip_local_port_range",
	       consequence(&ports), cure);
}

void rule_no_port(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t failed = advice_count(facts, TWS_failed_no_port);

	if (!failed ||
	    (advice_is_over(facts, RECENT(facts, no_port), 1) && !facts->crowded))
		return;
	advice_set(ret_finding, VERDICT_PROBLEM, failed);
	EVIDENCE("%s of %s connects of %s to %s failed with EADDRNOTAVAIL: no port was "
		 "left",
		 advice_number(failed), advice_number(advice_count(facts, TWS_attempts)),
		 facts->app, facts->to);
	ADVICE("at most %s %s open at once%s: keep them open and reuse them, or let "
	       "-p 'close=fin-reset,to=%s' leave no TIME_WAIT",
	       advice_number(advice_count(facts, TWS_peak_open)),
	       print_plural(advice_count(facts, TWS_peak_open), "connection was",
			    "connections were"),
	       advice_in_one_process(facts), facts->to);
}

void rule_early_bind(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t bound = advice_count(facts, TWS_bound_before_connect);
	uint64_t failed = advice_count(facts, TWS_failed_no_port) +
			  advice_count(facts, TWS_failed_address_in_use);

	if (advice_is_over(facts, RECENT(facts, early_bind), 1) || !bound ||
	    (bound < MANY && !failed))
		return;
	advice_set(ret_finding, failed ? VERDICT_WARNING : VERDICT_NOTICE, bound);
	EVIDENCE("%s bound %s connections to %s to a source address before connect(), so "
		 "that all destinations share one pool of ports",
		 facts->app, advice_number(bound), facts->to);
	ADVICE("set IP_BIND_ADDRESS_NO_PORT before bind(), or try --policy "
	       "'late_bind=true,to=%s'",
	       facts->to);
}
