/* SPDX-License-Identifier: MIT
 *
 * The rules about applications and their connections, one function per finding. Each
 * leaves the verdict OK, or sets verdict, weight, evidence and advice.
 */
#include <stdio.h>
#include <string.h>

#include "tools/advice/cure.h"
#include "tools/model/join.h"
#include "tools/base/print.h"
#include "tools/base/risk.h"
#include "tools/model/traffic.h"

/* If the peer closes most of them, no TIME_WAIT stays here and a pool would not last. */
static bool advise_peer_ends(const struct advice_facts *facts,
			     struct advice_finding *ret_finding)
{
	uint64_t ended = join_ended(facts->client.counters);
	uint64_t peer = advice_count(facts, TWS_ended_remote_fin);

	if (peer * 2 < ended || !peer)
		return false;
	advice_set(ret_finding, VERDICT_NOTICE, ret_finding->weight);
	ADVICE("the server ended %s of %s, which leaves no TIME_WAIT here; a pool helps "
	       "only if the server keeps connections open: check its keep-alive setting, "
	       "and whether the requests ask for keep-alive",
	       advice_number(peer), advice_number(ended));
	return true;
}

/* "; 4 % of the ports there are in use": whether it matters. */
static const char *say_fill(char *text, size_t size, const struct advice_facts *facts)
{
	const struct traffic_pair *pair = facts->ports.there;
	uint32_t used = pair ? pair->used : facts->ports.fill.used;
	uint32_t range = pair ? pair->range : facts->ports.fill.range;

	*text = '\0';
	if (range && used * 100 >= range)
		snprintf(text, size, "; %s %% of the ports there are in use",
			 advice_number(advice_percent(used, range)));
	else if (range)
		snprintf(text, size, "; less than 1 %% of the ports there are in use");
	return text;
}

void rule_churn(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t short_lived = advice_count(facts, TWS_short_lived);
	uint64_t established = advice_count(facts, TWS_established);
	uint64_t peak = advice_count(facts, TWS_peak_open);
	uint64_t pool =
	    facts->client.processes > 1 ? peak * facts->client.processes : peak;
	char fill[64];

	if (advice_is_over(facts, RECENT(facts, short_lived), MANY) ||
	    short_lived < MANY || short_lived * 2 < established)
		return;
	advice_set(ret_finding, advice_by_number(short_lived), short_lived);
	HEADLINE("%s opened %s short-lived connections to %s%s", facts->client.app,
		 advice_number(short_lived), facts->client.to,
		 say_fill(fill, sizeof(fill), facts));
	if (facts->client.processes > 1 && facts->client.processes * 2 > established) {
		EVIDENCE("%s runs of %s opened %s connections to %s, %s of them for less "
			 "than %s ms",
			 advice_number(facts->client.processes), facts->client.app,
			 advice_number(established), facts->client.to,
			 advice_number(short_lived),
			 advice_number(facts->client.short_lived_ms));
		if (advise_peer_ends(facts, ret_finding))
			return;
		ADVICE("each run is a separate process and cannot keep a connection: do "
		       "more work per run, or send requests to %s through a local proxy "
		       "that keeps connections open",
		       facts->client.to);
		return;
	}
	EVIDENCE("%s opened %s connections to %s, %s of them for less than %s ms; at "
		 "most %s %s open at once%s",
		 facts->client.app, advice_number(established), facts->client.to,
		 advice_number(short_lived), advice_number(facts->client.short_lived_ms),
		 advice_number(peak), print_plural(peak, "was", "were"),
		 advice_in_one_process(facts));
	if (advise_peer_ends(facts, ret_finding))
		return;
	if (pool >= established)
		ADVICE("keep connections open and reuse them");
	else
		ADVICE("a pool of %s%s, kept open, would have opened %s%s %s instead of "
		       "%s",
		       advice_number(peak),
		       facts->client.processes > 1 ? " per process" : "",
		       facts->client.processes > 1 ? "at most " : "", advice_number(pool),
		       print_plural(pool, "connection", "connections"),
		       advice_number(established));
}

/* Whether TIME_WAIT does no harm: a port_ring reuses its ports, and a fixed source port
 * has at most one such socket. */
static bool reuses_ports(const struct advice_facts *facts)
{
	return facts->client.lately &&
	       (advice_is_most(facts, facts->client.lately->port_ring) ||
		advice_has_fixed_port(facts));
}

void rule_closes_first(const struct advice_facts *facts,
		       struct advice_finding *ret_finding)
{
	uint64_t first = advice_count(facts, TWS_ended_local_fin);
	uint64_t ended = join_ended(facts->client.counters);
	uint64_t shut = advice_count(facts, TWS_shut_down_first);
	uint64_t policy = join_by_policy(facts->client.counters);
	char cure[600], how[128] = "", fill[64];

	if (advice_is_over(facts,
			   facts->client.time_wait.confirmed +
			       facts->client.time_wait.pending,
			   MANY) ||
	    first < MANY || first * 2 < ended || reuses_ports(facts))
		return;
	advice_set(ret_finding, advice_by_number(first), first);
	HEADLINE("%s closed %s connections to %s first, which left TIME_WAIT here%s",
		 facts->client.app, advice_number(first), facts->client.to,
		 say_fill(fill, sizeof(fill), facts));
	if (shut)
		snprintf(how, sizeof(how), ", on %s of them by shutdown()",
			 advice_number(shut < first + policy ? shut : first + policy));
	if (policy)
		snprintf(how + strlen(how), sizeof(how) - strlen(how),
			 ", and a policy ended %s of them without TIME_WAIT",
			 advice_number(policy));
	EVIDENCE("%s closed first on %s of %s connections to %s%s; the side that closes "
		 "first keeps the TIME_WAIT socket, for 60 s each",
		 facts->client.app, advice_number(first + policy), advice_number(ended),
		 facts->client.to, how);
	advice_cure_time_wait(cure, sizeof(cure), facts,
			      "; " RISK_FIN_RESET ": " RISK_TRIAL);
	ADVICE("%s", cure);
}

/* Whether SO_REUSEADDR does something for this program. */
static bool needs_reuseaddr(const struct advice_facts *facts)
{
	const struct model_recent *lately = facts->client.lately;
	const struct traffic *traffic = facts->host.traffic;

	return lately && (lately->fixed_port ||
			  (traffic && traffic->autobind_reuse && lately->early_bind));
}

void rule_reuseaddr(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t calls = advice_count(facts, TWS_setsockopt_reuseaddr);

	if (advice_is_over(facts, RECENT(facts, reuseaddr), 1) || !calls ||
	    !advice_count(facts, TWS_ended_local_fin) || needs_reuseaddr(facts))
		return;
	advice_set(ret_finding, VERDICT_NOTICE, calls);
	EVIDENCE(
	    "%s set SO_REUSEADDR %s %s on client sockets, but still left %s TIME_WAIT "
	    "%s",
	    facts->client.app, advice_number(calls), print_plural(calls, "time", "times"),
	    advice_number(advice_count(facts, TWS_ended_local_fin)),
	    print_plural(advice_count(facts, TWS_ended_local_fin), "socket", "sockets"));
	ADVICE("it has no effect on a connect() without a fixed source port: remove it");
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
	    "%s set SO_LINGER with a time %s %s, but still left %s TIME_WAIT %s",
	    facts->client.app, advice_number(calls - zero),
	    print_plural(calls - zero, "time", "times"),
	    advice_number(advice_count(facts, TWS_ended_local_fin)),
	    print_plural(advice_count(facts, TWS_ended_local_fin), "socket", "sockets"));
	ADVICE("a linger time only makes close() block, even on non-blocking sockets; "
	       "TIME_WAIT still lasts 60 s: remove it");
}

void rule_own_resets(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t resets = advice_count(facts, TWS_ended_reset_app);

	if (advice_is_over(facts, RECENT(facts, ending[TWS_END_RESET_APP]), 1) || !resets)
		return;
	advice_set(ret_finding, resets >= MANY ? VERDICT_WARNING : VERDICT_NOTICE,
		   resets);
	EVIDENCE("%s itself reset %s of %s connections to %s, by setting SO_LINGER {1,0}",
		 facts->client.app, advice_number(resets),
		 advice_number(join_ended(facts->client.counters)), facts->client.to);
	ADVICE(
	    "undelivered data is lost, and the peer reads ECONNRESET: %s-p "
	    "'close=fin-reset,app_options=override,to=%s' removes the option, loses "
	    "nothing and leaves no TIME_WAIT; with close=graceful instead, TIME_WAIT "
	    "remains",
	    advice_count(facts, TWS_policy_skipped_app_option)
		? "the rule in force is skipped, because the program's own option wins: "
		: "",
	    facts->client.to);
}

void rule_unread_resets(const struct advice_facts *facts,
			struct advice_finding *ret_finding)
{
	uint64_t resets = advice_count(facts, TWS_ended_reset_unread);

	if (advice_is_over(facts, RECENT(facts, ending[TWS_END_RESET_UNREAD]), 1) ||
	    !resets)
		return;
	advice_set(ret_finding,
		   advice_percent(resets, join_ended(facts->client.counters)) >= 10
		       ? VERDICT_WARNING
		       : VERDICT_NOTICE,
		   resets);
	EVIDENCE("%s closed %s of %s connections to %s with unread bytes, so the kernel "
		 "reset them",
		 facts->client.app, advice_number(resets),
		 advice_number(join_ended(facts->client.counters)), facts->client.to);
	ADVICE("read to the end before closing: a reset can destroy data that the peer "
	       "has not read yet");
}

void rule_unseen(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t unseen = advice_count(facts, TWS_ended_unseen);
	uint64_t share = advice_percent(unseen, advice_count(facts, TWS_established));

	if (!unseen || advice_is_over(facts, RECENT(facts, ending[TWS_END_UNSEEN]), 1))
		return;
	advice_set(ret_finding, share >= 5 ? VERDICT_WARNING : VERDICT_NOTICE, unseen);
	ret_finding->aside = true;
	EVIDENCE("the shim could not see how %s of %s connections of %s (%s %%) ended",
		 advice_number(unseen),
		 advice_number(advice_count(facts, TWS_established)), facts->client.app,
		 advice_number(share));
	ADVICE(
	    "possible causes: raw system calls, io_uring, a library that was loaded by "
	    "dlmopen() or with RTLD_DEEPBIND, or a kill while neither twshim run nor "
	    "twshim trace was watching, or where the kernel sends no "
	    "messages of ended sockets (twshim features); twshim doctor COMMAND says "
	    "what the shim cannot see of the program");
}

void rule_unobserved(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t lost = advice_count(facts, TWS_unobserved);

	if (!lost)
		return;
	advice_set(ret_finding, VERDICT_WARNING, lost);
	ret_finding->aside = true;
	EVIDENCE("%s connections of %s were not counted: its table or the run-time "
		 "directory was full, or a supervisor was held up, or observed 256 "
		 "programs already",
		 advice_number(lost), facts->client.app);
	ADVICE("raise `connection_slots` in the policy file and restart the program, or "
	       "make room on the tmpfs; twshim watch, as root, observes any number of "
	       "programs");
}

/* Judged by the processes of the last minute: after deepbind = "strip" takes effect, new
 * processes load no library in this way. */
void rule_deepbind(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	uint64_t processes =
	    facts->client.lately ? facts->client.lately->deepbind_processes : 0;

	if (!processes)
		return;
	advice_set(ret_finding, VERDICT_WARNING, processes);
	ret_finding->aside = true;
	ret_finding->period = PERIOD_MINUTE;
	EVIDENCE("%s %s of %s loaded libraries with RTLD_DEEPBIND in the last minute; "
		 "connections that they open may be missed",
		 advice_number(processes),
		 print_plural(processes, "process", "processes"), facts->client.app);
	ADVICE(
	    "set `deepbind = \"strip\"` in the policy file, or add -p deepbind=strip to "
	    "twshim run, env or enable, and restart the program");
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
	EVIDENCE("a policy reset %s connections of %s to %s and discarded up to %s",
		 advice_number(resets), facts->client.app, facts->client.to,
		 print_bytes(text, bytes));
	ADVICE("-p 'close=fin-reset,to=%s' loses nothing; close=reset-drained resets a "
	       "connection only if all data was acknowledged",
	       facts->client.to);
}
