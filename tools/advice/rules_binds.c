/* SPDX-License-Identifier: MIT
 *
 * The rules about ports that are bound before connect(): one pool per source address, and
 * bind() calls that fail.
 */
#include <stdio.h>

#include "tools/advice/cure.h"
#include "tools/base/print.h"
#include "tools/model/traffic.h"

static const char *who(char *text, const struct advice_facts *facts)
{
	return facts->client.of ? advice_who_is(text, facts->client.of)
				: advice_who(text, facts->client.app, NULL);
}

/* ", of which 100 (100 %) are in use". */
static void say_pool(char *text, size_t size, const struct traffic_pool *pool)
{
	char from[PRINT_ADDRESS_SIZE];

	if (pool)
		snprintf(text, size,
			 "share the %s ports of the source address %s, of which %s (%s "
			 "%%) are in use",
			 advice_number(pool->range), advice_source(from, &pool->from),
			 advice_number(pool->used),
			 advice_number(advice_percent(pool->used, pool->range)));
	else
		snprintf(text, size, "share one pool of ports");
}

static enum advice_verdict verdict_of_pool(const struct advice_facts *facts,
					   uint64_t failed, bool starves)
{
	const struct traffic_pool *pool = facts->ports.pool;
	uint64_t percent = pool ? advice_percent(pool->used, pool->range) : 0;

	if (failed || starves || percent >= EXHAUSTED)
		return VERDICT_PROBLEM;
	if (percent >= BROWNOUT || advice_count(facts, TWS_failed_no_port) ||
	    advice_count(facts, TWS_failed_address_in_use))
		return VERDICT_WARNING;
	return VERDICT_NOTICE;
}

/* With ip_autobind_reuse, bind() gives sockets with SO_REUSEADDR a port that is in use to
 * another destination. */
static bool shares_ports(const struct advice_facts *facts)
{
	const struct model_recent *lately = facts->client.lately;

	return facts->host.traffic && facts->host.traffic->autobind_reuse && lately &&
	       lately->reuseaddr * 2 >= lately->early_bind;
}

/* Binds that failed, in the last minute if only that is judged. */
static uint64_t failed_binds(const struct advice_facts *facts)
{
	return facts->client.recent ? facts->client.recent->bind_failed
				    : advice_count(facts, TWS_bind_failed_in_use);
}

void rule_early_bind(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct model_recent *lately = facts->client.lately;
	uint64_t bound = advice_count(facts, TWS_bound_before_connect);
	uint64_t failed = failed_binds(facts);
	uint64_t ever = advice_count(facts, TWS_bind_failed_in_use);
	uint64_t now = lately ? lately->early_bind + lately->open_early_bind : 0;
	bool starves = facts->rivals.starved && now;
	char pool[160], in_vain[96] = "", others[128] = "", name[ADVICE_WHO_SIZE];

	if (!bound || advice_is_over(facts, now, 1) || advice_has_fixed_port(facts) ||
	    shares_ports(facts))
		return;
	advice_set(ret_finding, verdict_of_pool(facts, failed, starves), bound + failed);
	if (ret_finding->verdict == VERDICT_NOTICE && bound < MANY) {
		advice_set(ret_finding, VERDICT_OK, 0);
		return;
	}
	/* When they failed is known only for a process younger than a minute. */
	if (failed || ever)
		snprintf(in_vain, sizeof(in_vain),
			 "; %s bind() %s failed with EADDRINUSE%s",
			 advice_number(failed ? failed : ever),
			 print_plural(failed ? failed : ever, "call", "calls"),
			 failed ? ": no free port" : " since it started");
	if (starves)
		snprintf(others, sizeof(others),
			 "; in the last minute at least %s %s of other programs found no "
			 "port for this reason",
			 advice_number(facts->rivals.starved),
			 print_plural(facts->rivals.starved, "connect", "connects"));
	ret_finding->hurts = ret_finding->verdict >= VERDICT_WARNING;
	HEADLINE("%s binds before connect(), so all its destinations share one pool of "
		 "ports%s",
		 facts->client.app, failed ? ", which is empty" : "");
	say_pool(pool, sizeof(pool), facts->ports.pool);
	EVIDENCE(
	    "%s called bind() before %s of its connects, so all its destinations %s%s%s",
	    facts->client.app, advice_number(bound), pool, in_vain, others);
	ADVICE("-p 'late_bind=true,%s' gives each destination the whole range of ports; "
	       "in the program, set IP_BIND_ADDRESS_NO_PORT before bind()",
	       who(name, facts));
}

static void advise_failed_bind(const struct advice_facts *facts,
			       struct advice_finding *ret_finding)
{
	const struct traffic_pool *pool = facts->ports.pool;
	char name[ADVICE_WHO_SIZE], from[PRINT_ADDRESS_SIZE];

	if (advice_has_fixed_port(facts))
		ADVICE("the program binds to a fixed source port, which an earlier "
		       "connection of its own still holds: bind to port 0 instead; if "
		       "the port must be fixed, set SO_REUSEADDR before bind(), or -p "
		       "'reuseaddr=true,%s'",
		       who(name, facts));
	else if (pool && pool->used >= pool->range)
		ADVICE("all %s ports of the source address %s are in use; if the program "
		       "binds to port 0, -p 'late_bind=true,%s' lets connect() choose "
		       "the port, separately for each destination; otherwise another "
		       "socket uses its port: ss -tanp shows it",
		       advice_number(pool->range), advice_source(from, &pool->from),
		       who(name, facts));
	else
		ADVICE("another socket uses the port: ss -tanp shows it; a client should "
		       "bind to port 0, or not at all");
}

/* No connection begins with a bind() that fails, so nothing else shows these. */
void rule_bind_failed(const struct advice_facts *facts,
		      struct advice_finding *ret_finding)
{
	const struct model_recent *lately = facts->client.lately;
	uint64_t failed = failed_binds(facts);
	uint64_t other =
	    facts->client.recent ? 0 : advice_count(facts, TWS_bind_failed_other);
	bool pooled = lately && lately->early_bind + lately->open_early_bind &&
		      !advice_has_fixed_port(facts);

	if (failed && !pooled) {
		advice_set(ret_finding, VERDICT_PROBLEM, failed);
		ret_finding->hurts = true;
		EVIDENCE("%s bind() %s of %s failed with EADDRINUSE",
			 advice_number(failed), print_plural(failed, "call", "calls"),
			 facts->client.app);
		advise_failed_bind(facts, ret_finding);
	} else if (other) {
		advice_set(ret_finding, VERDICT_WARNING, other);
		EVIDENCE("%s bind() %s of %s failed, but not with EADDRINUSE",
			 advice_number(other), print_plural(other, "call", "calls"),
			 facts->client.app);
		ADVICE(
		    "check that the address is one of this host's (ip address), and "
		    "that a port below net.ipv4.ip_unprivileged_port_start is not "
		    "bound without privilege; strace -f -e trace=bind shows the error");
	}
}
