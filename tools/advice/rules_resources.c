/* SPDX-License-Identifier: MIT
 *
 * The rules about memory, tables and pressure, about connections that are not closed, and
 * about the command or process that `doctor` was asked about.
 */
#include <errno.h>
#include <string.h>

#include "tools/advice/rule.h"
#include "tools/model/holders.h"
#include "tools/kernel/host.h"
#include "tools/base/print.h"
#include "tools/launch/reach.h"
#include "tools/model/traffic.h"

/* Two bind buckets (tcp_bind_bucket, tcp_bind2_bucket) of 128 bytes. */
#define PORT_BYTES  256
#define HALF	    50 /* per cent */
#define NEARLY_FULL 90 /* per cent */
#define HUNDREDTHS  100

static bool is_unknown(const struct host *host, enum host_fact fact,
		       struct advice_finding *ret_finding)
{
	char why[160];

	if (host_knows(host, fact))
		return false;
	advice_set(ret_finding, VERDICT_UNKNOWN, 0);
	EVIDENCE("%s", host_why(host, fact, why, sizeof(why)));
	return true;
}

void rule_time_wait_memory(const struct advice_facts *facts,
			   struct advice_finding *ret_finding)
{
	uint64_t time_wait = facts->host.traffic ? facts->host.traffic->time_wait : 0;
	uint64_t each = advice_time_wait_bytes(facts->host.settings);
	uint64_t bytes = time_wait * (each + PORT_BYTES);
	uint64_t memory = host_get(facts->host.settings, HOST_memory_kb) * 1024;
	char used[PRINT_NUMBER_SIZE], all[PRINT_NUMBER_SIZE];

	if (is_unknown(facts->host.settings, HOST_memory_kb, ret_finding))
		return;
	EVIDENCE("%s TIME_WAIT sockets use at most %s of %s memory: %s bytes each, plus "
		 "%d if no other socket uses the port",
		 advice_number(time_wait), print_bytes(used, bytes),
		 print_bytes(all, memory), advice_number(each), PORT_BYTES);
	ADVICE("memory is no reason to fight TIME_WAIT");
	if (advice_percent(bytes, memory) >= 1)
		advice_set(ret_finding, VERDICT_NOTICE, time_wait);
}

void rule_socket_memory(const struct advice_facts *facts,
			struct advice_finding *ret_finding)
{
	const struct host *host = facts->host.settings;
	uint64_t pages = host_get(host, HOST_tcp_pages);
	uint64_t pressure = host_get(host, HOST_tcp_mem_pressure);
	uint64_t most = host_get(host, HOST_tcp_mem_high);
	char used[PRINT_NUMBER_SIZE], all[PRINT_NUMBER_SIZE];

	if (is_unknown(host, HOST_tcp_mem_high, ret_finding) ||
	    is_unknown(host, HOST_tcp_pages, ret_finding))
		return;
	EVIDENCE("%s TCP sockets use %s of at most %s (tcp_mem); %s connections were "
		 "dropped for this reason so far",
		 advice_number(host_get(host, HOST_tcp_alloc)),
		 print_bytes(used, pages * host->page_size),
		 print_bytes(all, most * host->page_size),
		 advice_number(host_get(host, HOST_memory_aborts)));
	if (pages < pressure)
		return;
	advice_set(ret_finding, pages >= most ? VERDICT_PROBLEM : VERDICT_WARNING, pages);
	ADVICE("these are live connections, not TIME_WAIT: ss -tnmp shows the buffers "
	       "of each process; last, raise net.ipv4.tcp_mem");
}

void rule_orphans(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct host *host = facts->host.settings;
	uint64_t orphans = host_get(host, HOST_tcp_orphan);
	uint64_t most = host_get(host, HOST_max_orphans);
	uint64_t fill = advice_percent(orphans, most);

	if (is_unknown(host, HOST_max_orphans, ret_finding) ||
	    is_unknown(host, HOST_tcp_orphan, ret_finding))
		return;
	EVIDENCE("%s closed sockets still have data or a FIN to deliver, of at most %s "
		 "(%s %%)",
		 advice_number(orphans), advice_number(most), advice_number(fill));
	if (fill < HALF)
		return;
	advice_set(ret_finding, fill >= NEARLY_FULL ? VERDICT_PROBLEM : VERDICT_WARNING,
		   orphans);
	ADVICE("the peers do not acknowledge or do not close: see ss -tno state "
	       "fin-wait-1 and fin-wait-2; a lower net.ipv4.tcp_orphan_retries gives up "
	       "sooner");
}

void rule_conntrack(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct host *host = facts->host.settings;
	uint64_t count = host_get(host, HOST_conntrack_count);
	uint64_t most = host_get(host, HOST_conntrack_max);
	uint64_t fill = advice_percent(count, most);

	if (host->fact[HOST_conntrack_max].error == ENOENT) {
		EVIDENCE("no connection is tracked: nf_conntrack is not loaded (0 "
			 "entries)");
		return;
	}
	if (is_unknown(host, HOST_conntrack_max, ret_finding) ||
	    is_unknown(host, HOST_conntrack_count, ret_finding))
		return;
	EVIDENCE("%s of %s entries are in use (%s %%); a connection that ended keeps its "
		 "entry for %s s",
		 advice_number(count), advice_number(most), advice_number(fill),
		 advice_number(host_get(host, HOST_conntrack_time_wait)));
	if (fill < EXHAUSTED)
		return;
	advice_set(ret_finding, fill >= NEARLY_FULL ? VERDICT_PROBLEM : VERDICT_WARNING,
		   count);
	ADVICE("when the table is full, new connections are dropped: first open fewer "
	       "connections, see TW101; then add notrack rules, lower "
	       "nf_conntrack_tcp_timeout_time_wait, or raise nf_conntrack_max");
}

struct pressure {
	enum host_fact fact;
	const char *name;
	unsigned notice, warning; /* per cent */
	const char *advice;
};

static void judge_pressure(const struct pressure *pressure,
			   const struct advice_facts *facts,
			   struct advice_finding *ret_finding)
{
	uint64_t value = host_get(facts->host.settings, pressure->fact);

	if (is_unknown(facts->host.settings, pressure->fact, ret_finding))
		return;
	EVIDENCE("tasks waited for %s %s.%02u %% of the last minute", pressure->name,
		 advice_number(value / HUNDREDTHS), (unsigned)(value % HUNDREDTHS));
	if (value < pressure->notice * HUNDREDTHS)
		return;
	advice_set(ret_finding,
		   value >= pressure->warning * HUNDREDTHS ? VERDICT_WARNING
							   : VERDICT_NOTICE,
		   value / HUNDREDTHS);
	ret_finding->aside = true;
	ADVICE("%s", pressure->advice);
}

void rule_cpu_pressure(const struct advice_facts *facts,
		       struct advice_finding *ret_finding)
{
	static const struct pressure pressure = {
	    .fact = HOST_cpu_pressure,
	    .name = "a CPU",
	    .notice = 25,
	    .warning = 60,
	    .advice = "TIME_WAIT costs no CPU, but a full port range does, see TW103",
	};

	judge_pressure(&pressure, facts, ret_finding);
}

void rule_memory_pressure(const struct advice_facts *facts,
			  struct advice_finding *ret_finding)
{
	static const struct pressure pressure = {
	    .fact = HOST_memory_pressure,
	    .name = "memory",
	    .notice = 5,
	    .warning = 20,
	    .advice = "TIME_WAIT is not the cause, see TW206",
	};

	judge_pressure(&pressure, facts, ret_finding);
}

void rule_io_pressure(const struct advice_facts *facts,
		      struct advice_finding *ret_finding)
{
	static const struct pressure pressure = {
	    .fact = HOST_io_pressure,
	    .name = "input or output",
	    .notice = 25,
	    .warning = 60,
	    .advice = "TIME_WAIT is not the cause: it uses no disk",
	};

	judge_pressure(&pressure, facts, ret_finding);
}

void rule_close_wait(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct holder *holder = facts->holding.holder;
	char to[PRINT_ADDRESS_SIZE], where[96] = "";

	if (holder->count < MANY)
		return;
	advice_set(ret_finding, advice_by_number(holder->count), holder->count);
	if (!holder->pid) {
		EVIDENCE("processes that this user may not inspect (%s) hold %s "
			 "connections in CLOSE_WAIT",
			 advice_number(facts->holding.holders->hidden),
			 advice_number(holder->count));
		ADVICE("run twshim doctor as root to see their names");
		return;
	}
	if (holder->port)
		snprintf(where, sizeof(where), "incoming on port %u", holder->port);
	else
		snprintf(where, sizeof(where), "to %s", print_address(to, &holder->to));
	if (!holder->port)
		snprintf(ret_finding->to, sizeof(ret_finding->to), "%s", to);
	HEADLINE("%s (%d) does not close %s connections that its peers have closed",
		 holder->name, (int)holder->pid, advice_number(holder->count));
	EVIDENCE("%s (%d) holds %s connections in CLOSE_WAIT, most (%s) %s: the peer has "
		 "closed them, the program has not",
		 holder->name, (int)holder->pid, advice_number(holder->count),
		 advice_number(holder->there), where);
	ADVICE("this is not TIME_WAIT, and no setting ends it: the program must close a "
	       "connection once recv() returns 0; until then only a restart frees them");
}

/* ------------------------------------------------------------------- the subject */

void rule_reach(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct reach *reach = facts->subject.reach;

	if (!reach)
		return;
	if (reach_is_reached(reach->verdict))
		HEADLINE("The shim reaches %s", facts->client.app);
	else
		HEADLINE("The shim does not reach it: %.200s", reach->why);
	EVIDENCE("%s", reach->why);
	ADVICE("%s", reach->instead);
	if (reach->verdict == REACH_UNKNOWN || reach->verdict == REACH_NOT_FOUND)
		advice_set(ret_finding, VERDICT_UNKNOWN, 1);
	else if (reach->verdict == REACH_PARTLY)
		advice_set(ret_finding, VERDICT_NOTICE, 1);
	else if (!reach_is_reached(reach->verdict))
		advice_set(ret_finding, VERDICT_WARNING, 1);
	if (facts->subject.full && reach_is_reached(reach->verdict)) {
		advice_set(ret_finding, VERDICT_WARNING, 1);
		EVIDENCE("%s, but the tmpfs of %s is full, so programs that start now "
			 "are not counted",
			 reach->why, facts->subject.full);
		ADVICE("make room there, or set TWSHIM_DIR to a directory on another "
		       "tmpfs");
	}
	if (reach->verdict == REACH_NOT_LOADED)
		ADVICE("restart it under the shim: twshim run -- COMMAND in a shell; "
		       "twshim enable --restart UNIT for a systemd service; in a "
		       "container, mount libtwshim.so and a tmpfs with a directory "
		       "of its user, and set LD_PRELOAD and TWSHIM_DIR with -e");
}

void rule_places(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct advice_places *places = &facts->subject.places;

	if (places->trouble) {
		advice_set(ret_finding, VERDICT_WARNING, places->trouble_count);
		EVIDENCE("%s: %s", places->trouble->place, places->trouble->what);
		ADVICE("%s", places->trouble->cure);
	} else if (places->has_fleeting) {
		advice_set(ret_finding, VERDICT_NOTICE, 1);
		EVIDENCE("programs of user %u publish in /dev/shm/twshim-%u, which "
			 "systemd-logind deletes when this user logs out",
			 (unsigned)places->fleeting_user,
			 (unsigned)places->fleeting_user);
		ADVICE("as root: twshim prepare %u, or set RemoveIPC=no in "
		       "/etc/systemd/logind.conf",
		       (unsigned)places->fleeting_user);
	}
}

void rule_coverage(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct advice_coverage *coverage = facts->subject.coverage;
	char since[64] = "since this network namespace was made";
	uint64_t share;

	if (!coverage)
		return;
	share = advice_percent(coverage->seen, coverage->opened);
	if (coverage->seconds > 0)
		snprintf(since, sizeof(since), "in %.1f s", coverage->seconds);
	EVIDENCE("%s, %s connections were opened (ActiveOpens); shims%s counted %s of "
		 "them (%s %%)",
		 since, advice_number(coverage->opened),
		 coverage->not_root ? " that this user may read" : "",
		 advice_number(coverage->seen), advice_number(share > 100 ? 100 : share));
	if (!coverage->opened || share >= NEARLY_FULL)
		return;
	advice_set(ret_finding, VERDICT_NOTICE, coverage->opened - coverage->seen);
	ADVICE("the rest is from %sprograms without the shim, see TW218, or from calls "
	       "that bypass the C library%s",
	       coverage->not_root ? "other users, from " : "",
	       coverage->not_root ? ": root can read the counts of all users" : "");
}
