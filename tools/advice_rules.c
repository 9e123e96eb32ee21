/* SPDX-License-Identifier: MIT
 *
 * One function a finding: it looks at the facts and leaves the verdict OK, or sets
 * verdict, weight, evidence and advice. Of applications and their destinations;
 * those of the host are in advice_host.c and advice_resources.c.
 */
#include <stdio.h>
#include <string.h>

#include "tools/advice_rule.h"
#include "tools/join.h"
#include "tools/print.h"
#include "tools/traffic.h"

static uint64_t value(const struct advice_facts *facts, enum tws_counter counter)
{
	return facts->counters->value[counter];
}

/* Whether there is none of it any more, as far as that is known. */
static bool is_over(const struct advice_facts *facts, uint64_t recently, uint64_t least)
{
	return facts->recent && recently < least;
}

#define RECENT(facts, field) ((facts)->recent ? (facts)->recent->field : 0)

/* A peak is one process's, whatever the others had open at the time. */
static const char *in_one_process(const struct advice_facts *facts)
{
	return facts->processes > 1 ? " in one process" : "";
}

void rule_churn(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t short_lived = value(facts, TWS_short_lived);
	uint64_t established = value(facts, TWS_established);
	uint64_t peak = value(facts, TWS_peak_open);
	uint64_t pool = facts->processes > 1 ? peak * facts->processes : peak;

	if (is_over(facts, RECENT(facts, short_lived), MANY) || short_lived < MANY ||
	    short_lived * 2 < established)
		return;
	advice_set(ret_finding, advice_by_number(short_lived), short_lived);
	if (facts->processes > 1 && facts->processes * 2 > established) {
		EVIDENCE("%s runs of %s opened %s connections to %s, %s of them shorter "
			 "than %s ms",
			 advice_number(facts->processes), facts->app,
			 advice_number(established), facts->to,
			 advice_number(short_lived),
			 advice_number(facts->short_lived_ms));
		ADVICE("each run is a process of its own and cannot keep a connection: "
		       "fetch more in one run, or put a local proxy that keeps "
		       "connections before %s",
		       facts->to);
		return;
	}
	EVIDENCE("%s opened %s connections to %s, %s of them shorter than %s ms, and at "
		 "most %s %s open at once%s",
		 facts->app, advice_number(established), facts->to,
		 advice_number(short_lived), advice_number(facts->short_lived_ms),
		 advice_number(peak), print_plural(peak, "was", "were"),
		 in_one_process(facts));
	if (pool >= established)
		ADVICE("keep them open and use them again");
	else
		ADVICE("a pool of %s%s, kept open, would have opened %s%s instead of %s",
		       advice_number(peak), facts->processes > 1 ? " in each" : "",
		       facts->processes > 1 ? "at most " : "", advice_number(pool),
		       advice_number(established));
}

void rule_closes_first(const struct advice_facts *facts,
		       struct advice_finding *ret_finding)
{
	uint64_t first = value(facts, TWS_ended_local_fin);
	uint64_t ended = join_ended(facts->counters);

	if (is_over(facts, facts->time_wait.confirmed + facts->time_wait.pending, MANY) ||
	    first < MANY || first * 2 < ended)
		return;
	advice_set(ret_finding, advice_by_number(first), first);
	EVIDENCE("%s closed first on %s of %s connections to %s; whoever closes first "
		 "keeps the TIME_WAIT, 60 s each",
		 facts->app, advice_number(first), advice_number(ended), facts->to);
	ADVICE("let the server close first, or try "
	       "-p 'close=fin-reset,to=%s': the peer still reads to the end, and "
	       "no TIME_WAIT stays",
	       facts->to);
}

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

static bool is_nobodys(const struct traffic_pair *pair)
{
	return pair && pair->app == MODEL_NOBODY;
}

static uint64_t time_wait_of(const struct advice_facts *facts)
{
	return is_nobodys(facts->pair) ? facts->pair->time_wait
				       : facts->time_wait.confirmed;
}

static void say_holder(char *text, size_t size, const struct advice_facts *facts)
{
	bool known = !is_nobodys(facts->pair);

	snprintf(text, size, "%s of them by TIME_WAIT sockets%s%s",
		 advice_number(time_wait_of(facts)), known ? " of " : "",
		 known ? facts->app : "");
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
	else if (time_wait_of(facts) * 2 >= ports->used)
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
	EVIDENCE("%s of %s ephemeral ports (%s %%) to %s are in use%s; %s",
		 advice_number(ports.used), advice_number(ports.range),
		 advice_number(fill), facts->to, forecast, holder);
	say_cure(cure, sizeof(cure), facts, &ports);
	ADVICE("%s: %s, and last of all, for the whole host, widen "
	       "net.ipv4.ip_local_port_range",
	       consequence(&ports), cure);
}

void rule_no_port(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t failed = value(facts, TWS_failed_no_port);

	if (!failed || (is_over(facts, RECENT(facts, no_port), 1) && !facts->crowded))
		return;
	advice_set(ret_finding, VERDICT_PROBLEM, failed);
	EVIDENCE("%s of %s connects of %s to %s failed with EADDRNOTAVAIL: no port was "
		 "left",
		 advice_number(failed), advice_number(value(facts, TWS_attempts)),
		 facts->app, facts->to);
	ADVICE("at most %s %s open at once%s: keep them open and reuse them, or let "
	       "-p 'close=fin-reset,to=%s' leave no TIME_WAIT",
	       advice_number(value(facts, TWS_peak_open)),
	       print_plural(value(facts, TWS_peak_open), "connection was",
			    "connections were"),
	       in_one_process(facts), facts->to);
}

void rule_early_bind(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t bound = value(facts, TWS_bound_before_connect);
	uint64_t failed =
	    value(facts, TWS_failed_no_port) + value(facts, TWS_failed_address_in_use);

	if (is_over(facts, RECENT(facts, early_bind), 1) || !bound ||
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

void rule_reuseaddr(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t calls = value(facts, TWS_setsockopt_reuseaddr);

	if (is_over(facts, RECENT(facts, reuseaddr), 1) || !calls ||
	    !value(facts, TWS_ended_local_fin))
		return;
	advice_set(ret_finding, VERDICT_NOTICE, calls);
	EVIDENCE("%s set SO_REUSEADDR %s %s on client sockets, and %s TIME_WAIT %s "
		 "stayed all the same",
		 facts->app, advice_number(calls), print_plural(calls, "time", "times"),
		 advice_number(value(facts, TWS_ended_local_fin)),
		 print_plural(value(facts, TWS_ended_local_fin), "socket", "sockets"));
	ADVICE("it does nothing for a connect() without a fixed source port: drop it");
}

void rule_linger_time(const struct advice_facts *facts,
		      struct advice_finding *ret_finding)
{
	uint64_t calls = value(facts, TWS_setsockopt_linger);
	uint64_t zero = value(facts, TWS_setsockopt_linger_zero);

	if (is_over(facts, RECENT(facts, linger_time), 1) || calls <= zero ||
	    !value(facts, TWS_ended_local_fin))
		return;
	advice_set(ret_finding, VERDICT_NOTICE, calls - zero);
	EVIDENCE("%s set SO_LINGER other than {1,0} %s %s, and %s TIME_WAIT %s stayed",
		 facts->app, advice_number(calls - zero),
		 print_plural(calls - zero, "time", "times"),
		 advice_number(value(facts, TWS_ended_local_fin)),
		 print_plural(value(facts, TWS_ended_local_fin), "socket", "sockets"));
	ADVICE("a linger time only makes close() wait, also on non-blocking sockets; "
	       "TIME_WAIT keeps its 60 s: drop it");
}

void rule_own_resets(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t resets = value(facts, TWS_ended_reset_app);

	if (is_over(facts, RECENT(facts, ending[TWS_END_RESET_APP]), 1) || !resets)
		return;
	advice_set(ret_finding, resets >= MANY ? VERDICT_WARNING : VERDICT_NOTICE,
		   resets);
	EVIDENCE("%s reset %s of %s connections to %s itself, by SO_LINGER {1,0}",
		 facts->app, advice_number(resets),
		 advice_number(join_ended(facts->counters)), facts->to);
	ADVICE("what was not yet delivered is lost, and the peer reads ECONNRESET: "
	       "-p 'close=graceful,to=%s' takes it away, 'close=fin-reset' loses "
	       "nothing and leaves no TIME_WAIT",
	       facts->to);
}

void rule_unread_resets(const struct advice_facts *facts,
			struct advice_finding *ret_finding)
{
	uint64_t resets = value(facts, TWS_ended_reset_unread);

	if (is_over(facts, RECENT(facts, ending[TWS_END_RESET_UNREAD]), 1) || !resets)
		return;
	advice_set(ret_finding,
		   advice_percent(resets, join_ended(facts->counters)) >= 10
		       ? VERDICT_WARNING
		       : VERDICT_NOTICE,
		   resets);
	EVIDENCE("%s closed %s of %s connections to %s with unread bytes, so that the "
		 "kernel reset them",
		 facts->app, advice_number(resets),
		 advice_number(join_ended(facts->counters)), facts->to);
	ADVICE("read to the end before closing: a reset may take what the peer has not "
	       "read yet");
}

void rule_unseen(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t unseen = value(facts, TWS_ended_unseen);
	uint64_t share = advice_percent(unseen, value(facts, TWS_established));

	if (!unseen)
		return;
	advice_set(ret_finding, share >= 5 ? VERDICT_WARNING : VERDICT_NOTICE, unseen);
	EVIDENCE("%s of %s connections of %s (%s %%) ended in a way that the shim could "
		 "not see",
		 advice_number(unseen), advice_number(value(facts, TWS_established)),
		 facts->app, advice_number(share));
	ADVICE("raw system calls, io_uring, or a kill that neither twshim run nor twshim "
	       "trace watched: twshim doctor COMMAND says what the shim cannot see of "
	       "it; who closed them is not in these numbers");
}

void rule_unobserved(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t lost = value(facts, TWS_unobserved);

	if (!lost)
		return;
	advice_set(ret_finding, VERDICT_WARNING, lost);
	EVIDENCE("%s connections of %s were not counted: its table was full, or the "
		 "run-time directory",
		 advice_number(lost), facts->app);
	ADVICE("raise `connection_slots` in the policy file, for processes that start "
	       "then, or make room on the tmpfs");
}

void rule_deepbind(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t loads = value(facts, TWS_deepbind_loads);

	if (!loads)
		return;
	advice_set(ret_finding, VERDICT_WARNING, loads);
	EVIDENCE("%s loaded %s %s with RTLD_DEEPBIND, whose connections the shim cannot "
		 "see",
		 facts->app, advice_number(loads),
		 print_plural(loads, "library", "libraries"));
	ADVICE("set `deepbind = \"strip\"` in the policy file to see those of processes "
	       "that start then");
}

void rule_bytes_discarded(const struct advice_facts *facts,
			  struct advice_finding *ret_finding)
{
	uint64_t bytes = value(facts, TWS_bytes_discarded);
	uint64_t resets = value(facts, TWS_ended_reset_policy);
	char text[PRINT_NUMBER_SIZE];

	if (is_over(facts, RECENT(facts, ending[TWS_END_RESET_POLICY]), 1) || !bytes)
		return;
	advice_set(ret_finding, VERDICT_WARNING, resets);
	EVIDENCE("the policy's %s resets of %s's connections to %s discarded up to %s",
		 advice_number(resets), facts->app, facts->to, print_bytes(text, bytes));
	ADVICE("close=reset-drained resets only what is acknowledged; close=fin-reset "
	       "loses nothing");
}
