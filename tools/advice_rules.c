/* SPDX-License-Identifier: MIT
 *
 * One function a finding: it looks at the facts and leaves the verdict OK, or sets
 * verdict, weight, evidence and advice. Thresholds stand here and are those of the
 * measurements in the manual: from half of a destination's ports on, connect() takes up
 * to a hundred times the CPU.
 */
#include <stdio.h>

#include "tools/advice.h"
#include "tools/join.h"
#include "tools/print.h"

#define MANY	  20   /* connections; below it nobody need care */
#define VERY_MANY 1000 /* connections */
#define BROWNOUT  50   /* per cent of the port range */
#define EXHAUSTED 80   /* per cent of the port range */

#define EVIDENCE(...) snprintf(ret_finding->evidence, ADVICE_TEXT_SIZE, __VA_ARGS__)
#define ADVICE(...)   snprintf(ret_finding->advice, ADVICE_TEXT_SIZE, __VA_ARGS__)

/* A number with its separators, in one of a few buffers: for one printf. */
static const char *number(uint64_t value)
{
	static char buffers[6][PRINT_NUMBER_SIZE];
	static unsigned next;

	return print_number(buffers[next++ % 6], value);
}

static uint64_t value(const struct advice_facts *facts, enum tws_counter counter)
{
	return facts->counters->value[counter];
}

static uint64_t percent(uint64_t part, uint64_t whole)
{
	return whole ? part * 100 / whole : 0;
}

static void set(struct advice_finding *finding, enum advice_verdict verdict,
		uint64_t weight)
{
	finding->verdict = verdict;
	finding->weight = weight;
}

static enum advice_verdict by_number(uint64_t connections)
{
	return connections >= VERY_MANY ? VERDICT_WARNING : VERDICT_NOTICE;
}

void rule_churn(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t short_lived = value(facts, TWS_short_lived);
	uint64_t established = value(facts, TWS_established);
	uint64_t peak = value(facts, TWS_peak_open);

	if (short_lived < MANY || short_lived * 2 < established)
		return;
	set(ret_finding, by_number(short_lived), short_lived);
	if (facts->processes > 1 && peak * 2 > established) {
		EVIDENCE("%s runs of %s opened %s connections to %s, %s of them shorter "
			 "than %s ms",
			 number(facts->processes), facts->app, number(established),
			 facts->to, number(short_lived), number(facts->short_lived_ms));
		ADVICE("each run is a process of its own and cannot keep a connection: "
		       "fetch more in one run, or put a local proxy that keeps "
		       "connections before %s",
		       facts->to);
		return;
	}
	EVIDENCE("%s opened %s connections to %s, %s of them shorter than %s ms, and at "
		 "most %s %s open at once",
		 facts->app, number(established), facts->to, number(short_lived),
		 number(facts->short_lived_ms), number(peak),
		 print_plural(peak, "was", "were"));
	ADVICE("a pool of %s, kept open, would have opened %s instead of %s",
	       number(peak), number(peak), number(established));
}

void rule_closes_first(const struct advice_facts *facts,
		       struct advice_finding *ret_finding)
{
	uint64_t first = value(facts, TWS_ended_local_fin);
	uint64_t ended = join_ended(facts->counters);

	if (first < MANY || first * 2 < ended)
		return;
	set(ret_finding, by_number(first), first);
	EVIDENCE("%s closed first on %s of %s connections to %s; whoever closes first "
		 "keeps the TIME_WAIT, 60 s each",
		 facts->app, number(first), number(ended), facts->to);
	ADVICE("let the server close first, or try "
	       "-p 'close=fin-reset,to=%s': the peer still reads to the end, and "
	       "no TIME_WAIT stays",
	       facts->to);
}

void rule_port_fill(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t fill = percent(facts->ports.used, facts->ports.range);

	if (fill < BROWNOUT)
		return;
	set(ret_finding, fill >= EXHAUSTED ? VERDICT_PROBLEM : VERDICT_WARNING,
	    facts->ports.used);
	EVIDENCE("%s of %s ephemeral ports (%s %%) to %s are in use, of these %s by "
		 "TIME_WAIT sockets of %s",
		 number(facts->ports.used), number(facts->ports.range), number(fill),
		 facts->to, number(facts->time_wait.confirmed), facts->app);
	ADVICE("%s: keep connections open; else -p 'port_range=full,to=%s', and "
	       "last of all widen net.ipv4.ip_local_port_range",
	       fill >= EXHAUSTED ? "connect() soon fails with EADDRNOTAVAIL"
				 : "from half on connect() takes up to 100 times the CPU",
	       facts->to);
}

void rule_no_port(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t failed = value(facts, TWS_failed_no_port);

	if (!failed)
		return;
	set(ret_finding, VERDICT_PROBLEM, failed);
	EVIDENCE("%s of %s connects of %s to %s failed with EADDRNOTAVAIL: no port was "
		 "left",
		 number(failed), number(value(facts, TWS_attempts)), facts->app,
		 facts->to);
	ADVICE("at most %s %s open at once: keep them open and reuse them, or let "
	       "-p 'close=fin-reset,to=%s' leave no TIME_WAIT",
	       number(value(facts, TWS_peak_open)),
	       print_plural(value(facts, TWS_peak_open), "connection was",
			    "connections were"),
	       facts->to);
}

void rule_early_bind(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t bound = value(facts, TWS_bound_before_connect);
	uint64_t failed =
	    value(facts, TWS_failed_no_port) + value(facts, TWS_failed_address_in_use);

	if (!bound || (bound < MANY && !failed))
		return;
	set(ret_finding, failed ? VERDICT_WARNING : VERDICT_NOTICE, bound);
	EVIDENCE("%s bound %s connections to %s to a source address before connect(), so "
		 "that all destinations share one pool of ports",
		 facts->app, number(bound), facts->to);
	ADVICE("set IP_BIND_ADDRESS_NO_PORT before bind(), or try --policy "
	       "'late_bind=true,to=%s'",
	       facts->to);
}

void rule_reuseaddr(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t calls = value(facts, TWS_setsockopt_reuseaddr);

	if (!calls || !value(facts, TWS_ended_local_fin))
		return;
	set(ret_finding, VERDICT_NOTICE, calls);
	EVIDENCE("%s set SO_REUSEADDR %s %s on client sockets, and %s TIME_WAIT %s "
		 "stayed all the same",
		 facts->app, number(calls), print_plural(calls, "time", "times"),
		 number(value(facts, TWS_ended_local_fin)),
		 print_plural(value(facts, TWS_ended_local_fin), "socket", "sockets"));
	ADVICE("it does nothing for a connect() without a fixed source port: drop it");
}

void rule_linger_time(const struct advice_facts *facts,
		      struct advice_finding *ret_finding)
{
	uint64_t calls = value(facts, TWS_setsockopt_linger);
	uint64_t zero = value(facts, TWS_setsockopt_linger_zero);

	if (calls <= zero || !value(facts, TWS_ended_local_fin))
		return;
	set(ret_finding, VERDICT_NOTICE, calls - zero);
	EVIDENCE("%s set SO_LINGER other than {1,0} %s %s, and %s TIME_WAIT %s stayed",
		 facts->app, number(calls - zero),
		 print_plural(calls - zero, "time", "times"),
		 number(value(facts, TWS_ended_local_fin)),
		 print_plural(value(facts, TWS_ended_local_fin), "socket", "sockets"));
	ADVICE("a linger time only makes close() wait, also on non-blocking sockets; "
	       "TIME_WAIT keeps its 60 s: drop it");
}

void rule_own_resets(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t resets = value(facts, TWS_ended_reset_app);

	if (!resets)
		return;
	set(ret_finding, resets >= MANY ? VERDICT_WARNING : VERDICT_NOTICE, resets);
	EVIDENCE("%s reset %s of %s connections to %s itself, by SO_LINGER {1,0}",
		 facts->app, number(resets), number(join_ended(facts->counters)),
		 facts->to);
	ADVICE("what was not yet delivered is lost, and the peer reads ECONNRESET: "
	       "-p 'close=graceful,to=%s' takes it away, 'close=fin-reset' loses "
	       "nothing and leaves no TIME_WAIT",
	       facts->to);
}

void rule_unread_resets(const struct advice_facts *facts,
			struct advice_finding *ret_finding)
{
	uint64_t resets = value(facts, TWS_ended_reset_unread);

	if (!resets)
		return;
	set(ret_finding,
	    percent(resets, join_ended(facts->counters)) >= 10 ? VERDICT_WARNING
							       : VERDICT_NOTICE,
	    resets);
	EVIDENCE("%s closed %s of %s connections to %s with unread bytes, so that the "
		 "kernel reset them",
		 facts->app, number(resets), number(join_ended(facts->counters)),
		 facts->to);
	ADVICE("read to the end before closing: a reset may take what the peer has not "
	       "read yet");
}

void rule_unseen(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t unseen = value(facts, TWS_ended_unseen);
	uint64_t share = percent(unseen, value(facts, TWS_established));

	if (!unseen)
		return;
	set(ret_finding, share >= 5 ? VERDICT_WARNING : VERDICT_NOTICE, unseen);
	EVIDENCE("%s of %s connections of %s (%s %%) ended in a way that the shim could "
		 "not see",
		 number(unseen), number(value(facts, TWS_established)), facts->app,
		 number(share));
	ADVICE("raw system calls, io_uring or a kill without a listener: `twshim doctor` "
	       "names the cause; who closed them is not in these numbers");
}

void rule_unobserved(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t lost = value(facts, TWS_unobserved);

	if (!lost)
		return;
	set(ret_finding, VERDICT_WARNING, lost);
	EVIDENCE("%s connections of %s were not counted: its table was full, or the "
		 "run-time directory",
		 number(lost), facts->app);
	ADVICE("raise `connections` in the configuration, or make room on the tmpfs");
}

void rule_deepbind(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t loads = value(facts, TWS_deepbind_loads);

	if (!loads)
		return;
	set(ret_finding, VERDICT_WARNING, loads);
	EVIDENCE("%s loaded %s %s with RTLD_DEEPBIND, whose connections the shim cannot "
		 "see",
		 facts->app, number(loads), print_plural(loads, "library", "libraries"));
	ADVICE("set `deepbind = \"strip\"` in the configuration to see them");
}

void rule_bytes_discarded(const struct advice_facts *facts,
			  struct advice_finding *ret_finding)
{
	uint64_t bytes = value(facts, TWS_bytes_discarded);
	uint64_t resets = value(facts, TWS_ended_reset_policy);
	char text[PRINT_NUMBER_SIZE];

	if (!bytes)
		return;
	set(ret_finding, VERDICT_WARNING, resets);
	EVIDENCE("the policy's %s resets of %s's connections to %s discarded %s",
		 number(resets), facts->app, facts->to, print_bytes(text, bytes));
	ADVICE("close=reset-drained resets only what is acknowledged; close=fin-reset "
	       "loses nothing");
}
