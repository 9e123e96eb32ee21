/* SPDX-License-Identifier: MIT
 *
 * One function a finding: it looks at the facts and leaves the verdict OK, or sets
 * verdict, weight, evidence and advice. Of applications and their destinations; those
 * of their ports are in advice_ports.c, of the host in advice_host.c and
 * advice_resources.c.
 */
#include <stdio.h>
#include <string.h>

#include "tools/advice/rule.h"
#include "tools/model/join.h"
#include "tools/base/print.h"

/* The peer closes them: no TIME_WAIT stays here, and no pool of ours would be kept. */
static bool advise_peer_ends(const struct advice_facts *facts,
			     struct advice_finding *ret_finding)
{
	uint64_t ended = join_ended(facts->counters);
	uint64_t peer = advice_count(facts, TWS_ended_remote_fin);

	if (peer * 2 < ended || !peer)
		return false;
	advice_set(ret_finding, VERDICT_NOTICE, ret_finding->weight);
	ADVICE("the server ended %s of %s, which leaves no TIME_WAIT here; a pool is of "
	       "use only once the server keeps connections open: see its keep-alive, and "
	       "whether requests ask for it",
	       advice_number(peer), advice_number(ended));
	return true;
}

void rule_churn(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t short_lived = advice_count(facts, TWS_short_lived);
	uint64_t established = advice_count(facts, TWS_established);
	uint64_t peak = advice_count(facts, TWS_peak_open);
	uint64_t pool = facts->processes > 1 ? peak * facts->processes : peak;

	if (advice_is_over(facts, RECENT(facts, short_lived), MANY) ||
	    short_lived < MANY || short_lived * 2 < established)
		return;
	advice_set(ret_finding, advice_by_number(short_lived), short_lived);
	if (facts->processes > 1 && facts->processes * 2 > established) {
		EVIDENCE("%s runs of %s opened %s connections to %s, %s of them shorter "
			 "than %s ms",
			 advice_number(facts->processes), facts->app,
			 advice_number(established), facts->to,
			 advice_number(short_lived),
			 advice_number(facts->short_lived_ms));
		if (advise_peer_ends(facts, ret_finding))
			return;
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
		 advice_in_one_process(facts));
	if (advise_peer_ends(facts, ret_finding))
		return;
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
	uint64_t first = advice_count(facts, TWS_ended_local_fin);
	uint64_t ended = join_ended(facts->counters);

	if (advice_is_over(facts, facts->time_wait.confirmed + facts->time_wait.pending,
			   MANY) ||
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

void rule_reuseaddr(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t calls = advice_count(facts, TWS_setsockopt_reuseaddr);

	if (advice_is_over(facts, RECENT(facts, reuseaddr), 1) || !calls ||
	    !advice_count(facts, TWS_ended_local_fin))
		return;
	advice_set(ret_finding, VERDICT_NOTICE, calls);
	EVIDENCE(
	    "%s set SO_REUSEADDR %s %s on client sockets, and %s TIME_WAIT %s "
	    "stayed all the same",
	    facts->app, advice_number(calls), print_plural(calls, "time", "times"),
	    advice_number(advice_count(facts, TWS_ended_local_fin)),
	    print_plural(advice_count(facts, TWS_ended_local_fin), "socket", "sockets"));
	ADVICE("it does nothing for a connect() without a fixed source port: drop it");
}

void rule_linger_time(const struct advice_facts *facts,
		      struct advice_finding *ret_finding)
{
	uint64_t calls = advice_count(facts, TWS_setsockopt_linger);
	uint64_t zero = advice_count(facts, TWS_setsockopt_linger_zero);

	if (advice_is_over(facts, RECENT(facts, linger_time), 1) || calls <= zero ||
	    !advice_count(facts, TWS_ended_local_fin))
		return;
	advice_set(ret_finding, VERDICT_NOTICE, calls - zero);
	EVIDENCE(
	    "%s set SO_LINGER other than {1,0} %s %s, and %s TIME_WAIT %s stayed",
	    facts->app, advice_number(calls - zero),
	    print_plural(calls - zero, "time", "times"),
	    advice_number(advice_count(facts, TWS_ended_local_fin)),
	    print_plural(advice_count(facts, TWS_ended_local_fin), "socket", "sockets"));
	ADVICE("a linger time only makes close() wait, also on non-blocking sockets; "
	       "TIME_WAIT keeps its 60 s: drop it");
}

void rule_own_resets(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t resets = advice_count(facts, TWS_ended_reset_app);

	if (advice_is_over(facts, RECENT(facts, ending[TWS_END_RESET_APP]), 1) || !resets)
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
	uint64_t resets = advice_count(facts, TWS_ended_reset_unread);

	if (advice_is_over(facts, RECENT(facts, ending[TWS_END_RESET_UNREAD]), 1) ||
	    !resets)
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
	uint64_t unseen = advice_count(facts, TWS_ended_unseen);
	uint64_t share = advice_percent(unseen, advice_count(facts, TWS_established));

	if (!unseen)
		return;
	advice_set(ret_finding, share >= 5 ? VERDICT_WARNING : VERDICT_NOTICE, unseen);
	EVIDENCE("%s of %s connections of %s (%s %%) ended in a way that the shim could "
		 "not see",
		 advice_number(unseen),
		 advice_number(advice_count(facts, TWS_established)), facts->app,
		 advice_number(share));
	ADVICE("raw system calls, io_uring, or a kill that neither twshim run nor twshim "
	       "trace watched: twshim doctor COMMAND says what the shim cannot see of "
	       "it; who closed them is not in these numbers");
}

void rule_unobserved(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t lost = advice_count(facts, TWS_unobserved);

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
	uint64_t loads = advice_count(facts, TWS_deepbind_loads);

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
	uint64_t bytes = advice_count(facts, TWS_bytes_discarded);
	uint64_t resets = advice_count(facts, TWS_ended_reset_policy);
	char text[PRINT_NUMBER_SIZE];

	if (advice_is_over(facts, RECENT(facts, ending[TWS_END_RESET_POLICY]), 1) ||
	    !bytes)
		return;
	advice_set(ret_finding, VERDICT_WARNING, resets);
	EVIDENCE("the policy's %s resets of %s's connections to %s discarded up to %s",
		 advice_number(resets), facts->app, facts->to, print_bytes(text, bytes));
	ADVICE("close=reset-drained resets only what is acknowledged; close=fin-reset "
	       "loses nothing");
}
