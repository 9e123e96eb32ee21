/* SPDX-License-Identifier: MIT
 *
 * The rules about the host's settings and about its TIME_WAIT sockets as a whole. A
 * finding that is fine has evidence too, which `doctor --all` shows. What cannot be read
 * is unknown, with the reason.
 */
#include <errno.h>
#include <string.h>

#include "tools/advice/rule.h"
#include "tools/model/holders.h"
#include "tools/kernel/host.h"
#include "tools/base/print.h"
#include "tools/model/traffic.h"

#define DEFAULT_FIN_TIMEOUT 60
#define DEFAULT_REUSE_DELAY 1000 /* ms */

static void say_unknown(const struct host *host, enum host_fact fact,
			struct advice_finding *ret_finding)
{
	char why[160];

	advice_set(ret_finding, VERDICT_UNKNOWN, 0);
	EVIDENCE("%s", host_why(host, fact, why, sizeof(why)));
}

static uint64_t percent_used(const struct traffic_pair *pair)
{
	return advice_percent(pair->used, pair->range);
}

static const struct traffic_pair *fullest_pair(const struct advice_facts *facts)
{
	return facts->host.traffic && facts->host.traffic->pair_count
		   ? &facts->host.traffic->pairs[0]
		   : NULL;
}

/* The pair in which TIME_WAIT holds most ports. */
static const struct traffic_pair *most_time_wait(const struct traffic *traffic)
{
	const struct traffic_pair *most = NULL;

	for (size_t i = 0; traffic && i < traffic->pair_count; i++)
		if (!most || traffic->pairs[i].time_wait > most->time_wait)
			most = &traffic->pairs[i];
	return most && most->time_wait ? most : NULL;
}

/* "; most TIME_WAIT sockets are to 10.0.0.7:6379 and hold 600 of 1,000 ports" */
static void say_most(char *text, size_t size, const struct traffic_pair *pair)
{
	char to[PRINT_ADDRESS_SIZE];

	*text = '\0';
	if (pair)
		snprintf(text, size,
			 "; most TIME_WAIT sockets are to %s and hold %s of %s ports",
			 print_address(to, &pair->to), advice_number(pair->time_wait),
			 advice_number(pair->range));
}

static void say_reuse(char *text, size_t size, uint64_t value, uint64_t delay_ms)
{
	static const char *const whose[] = {"any destination",
					    "loopback destinations only"};

	if (value == 0)
		snprintf(text, size, "connect() never reuses a TIME_WAIT port");
	else if (value < 3)
		snprintf(text, size,
			 "connect() reuses TIME_WAIT ports to %s, %s ms after the last "
			 "packet, but not ports that were bound before connect() (by "
			 "bind() or a port_ring)",
			 whose[value - 1], advice_number(delay_ms));
	else
		snprintf(text, size, "twshim does not know this value");
}

/* A port_ring needs timestamps too. */
static void advise_reuse(const struct advice_facts *facts,
			 const struct traffic_pair *pair, bool stamps,
			 struct advice_finding *ret_finding)
{
	char to[PRINT_ADDRESS_SIZE], outside[ADVICE_RING_SIZE], ring[224] = "";

	print_address(to, &pair->to);
	if (stamps)
		snprintf(ring, sizeof(ring),
			 "; for one program, -p 'port_ring=%s,to=%s', with ports outside "
			 "ip_local_port_range, because a ring withholds ports inside it "
			 "from all other programs",
			 advice_ring_outside(outside, facts->host.traffic), to);
	ADVICE("first change the application, see TW101 to TW105: -p "
	       "'close=fin-reset,to=%s' leaves no TIME_WAIT%s; last, for the whole host, "
	       "set net.ipv4.tcp_tw_reuse=1%s, which has no effect on sockets bound "
	       "before connect()",
	       to, ring, stamps ? "" : " and tcp_timestamps=1");
}

void rule_time_wait_reuse(const struct advice_facts *facts,
			  struct advice_finding *ret_finding)
{
	const struct host *host = facts->host.settings;
	const struct traffic_pair *pair = most_time_wait(facts->host.traffic);
	uint64_t value = host_get(host, HOST_tw_reuse);
	uint64_t delay = host_knows(host, HOST_tw_reuse_delay)
			     ? host_get(host, HOST_tw_reuse_delay)
			     : DEFAULT_REUSE_DELAY;
	char meaning[192], most[160];
	bool helps = pair && traffic_is_reused(value, &pair->from, &pair->to);
	bool stamps =
	    host_get(host, HOST_timestamps) || !host_knows(host, HOST_timestamps);

	if (!host_knows(host, HOST_tw_reuse)) {
		say_unknown(host, HOST_tw_reuse, ret_finding);
		return;
	}
	say_reuse(meaning, sizeof(meaning), value, delay);
	say_most(most, sizeof(most), pair);
	EVIDENCE("tcp_tw_reuse is %s: %s%s%s", advice_number(value), meaning,
		 stamps || !value ? ""
				  : "; but tcp_timestamps is 0, so nothing is reused",
		 most);
	if (!pair || percent_used(pair) < BROWNOUT || pair->time_wait * 2 < pair->used ||
	    (helps && stamps))
		return;
	advice_set(ret_finding, VERDICT_NOTICE, pair->time_wait);
	ret_finding->certainty = CERTAINTY_INFERRED;
	advise_reuse(facts, pair, stamps, ret_finding);
}

void rule_timestamps(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct host *host = facts->host.settings;
	uint64_t time_wait = facts->host.traffic ? facts->host.traffic->time_wait : 0;

	if (!host_knows(host, HOST_timestamps)) {
		say_unknown(host, HOST_timestamps, ret_finding);
		return;
	}
	EVIDENCE("tcp_timestamps is %s%s", advice_number(host_get(host, HOST_timestamps)),
		 host_get(host, HOST_timestamps)
		     ? ""
		     : ": no TIME_WAIT port can be reused, whatever tcp_tw_reuse says");
	if (host_get(host, HOST_timestamps))
		return;
	advice_set(ret_finding, time_wait >= MANY ? VERDICT_WARNING : VERDICT_NOTICE,
		   time_wait);
	ADVICE("set net.ipv4.tcp_timestamps=1, the default");
}

void rule_recycle(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct host *host = facts->host.settings;
	const struct host_value *fact = &host->fact[HOST_tw_recycle];

	if (fact->known != HOST_KNOWN && fact->error != ENOENT) {
		say_unknown(host, HOST_tw_recycle, ret_finding);
		return;
	}
	if (fact->known != HOST_KNOWN) {
		EVIDENCE("tcp_tw_recycle does not exist on this kernel, %s: there is "
			 "nothing to set or clear",
			 *host->release ? host->release : "after 4.12");
		return;
	}
	EVIDENCE("tcp_tw_recycle exists and is %s; it dropped %s SYNs",
		 advice_number(fact->value),
		 advice_number(host_get(host, HOST_paws_passive)));
	if (!fact->value)
		return;
	advice_set(ret_finding, VERDICT_PROBLEM, host_get(host, HOST_paws_passive));
	ADVICE("set net.ipv4.tcp_tw_recycle=0: while it is 1, clients behind one NAT "
	       "address fail to connect");
}

void rule_fin_timeout(const struct advice_facts *facts,
		      struct advice_finding *ret_finding)
{
	const struct host *host = facts->host.settings;
	uint64_t value = host_get(host, HOST_fin_timeout);
	uint64_t time_wait = facts->host.traffic ? facts->host.traffic->time_wait : 0;
	unsigned newest =
	    facts->host.traffic ? facts->host.traffic->newest_leaves_ms / 1000 : 0;

	if (!host_knows(host, HOST_fin_timeout)) {
		say_unknown(host, HOST_fin_timeout, ret_finding);
		return;
	}
	EVIDENCE("tcp_fin_timeout is %s s and limits only FIN_WAIT_2, which %s sockets "
		 "are in; the %s TIME_WAIT sockets stay 60 s each, and the youngest "
		 "has %u s left",
		 advice_number(value),
		 advice_number(facts->host.traffic ? facts->host.traffic->fin_wait_2 : 0),
		 advice_number(time_wait), newest);
	if (value == DEFAULT_FIN_TIMEOUT || time_wait < MANY)
		return;
	advice_set(ret_finding, VERDICT_NOTICE, time_wait);
	ADVICE("it does not change TIME_WAIT: set net.ipv4.tcp_fin_timeout back to 60 "
	       "and see TW101 and TW102%s",
	       value > DEFAULT_FIN_TIMEOUT ? "; a value over 60 even shortens FIN_WAIT_2"
					   : "");
}

void rule_buckets(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct host *host = facts->host.settings;
	uint64_t most = host_get(host, HOST_max_tw_buckets);
	uint64_t overflow = host_get(host, HOST_tw_overflow);
	uint64_t time_wait = facts->host.traffic ? facts->host.traffic->time_wait : 0;
	uint64_t fill = advice_percent(time_wait, most);

	if (!host_knows(host, HOST_max_tw_buckets)) {
		say_unknown(host, HOST_max_tw_buckets, ret_finding);
		return;
	}
	EVIDENCE("%s TIME_WAIT sockets of at most %s (%s %%); since this network "
		 "namespace was made, %s were not created (TCPTimeWaitOverflow)",
		 advice_number(time_wait), advice_number(most), advice_number(fill),
		 host_knows(host, HOST_tw_overflow) ? advice_number(overflow)
						    : "an unknown number");
	/* The overflows may be old, so the present fill decides. */
	if (fill < (overflow ? BROWNOUT : EXHAUSTED))
		return;
	advice_set(ret_finding,
		   fill >= EXHAUSTED && overflow ? VERDICT_WARNING : VERDICT_NOTICE,
		   overflow ? overflow : time_wait);
	ADVICE("first open fewer connections, see TW101; otherwise raise "
	       "net.ipv4.tcp_max_tw_buckets: a socket costs %s bytes, and above the "
	       "limit connections silently lose their protection",
	       advice_number(advice_time_wait_bytes(host)));
}

void rule_server_side(const struct advice_facts *facts,
		      struct advice_finding *ret_finding)
{
	const struct traffic *traffic = facts->host.traffic;

	if (!traffic)
		return;
	if (!traffic->incoming) {
		EVIDENCE("none of the %s TIME_WAIT sockets is at a port that a server "
			 "listens on",
			 advice_number(traffic->time_wait));
		return;
	}
	EVIDENCE("%s of the %s TIME_WAIT sockets are incoming, most (%s) on port %u: "
		 "the server closed first",
		 advice_number(traffic->incoming), advice_number(traffic->time_wait),
		 advice_number(traffic->incoming_at_port), traffic->incoming_port);
	ADVICE("harmless: they share port %u, use no ephemeral port, and do not stop "
	       "clients "
	       "from connecting",
	       traffic->incoming_port);
	if (traffic->incoming >= VERY_MANY)
		advice_set(ret_finding, VERDICT_NOTICE, traffic->incoming);
}

void rule_net_namespace(const struct advice_facts *facts,
			struct advice_finding *ret_finding)
{
	const struct host *host = facts->host.settings;
	uint64_t time_wait = facts->host.traffic ? facts->host.traffic->time_wait : 0;

	if (host->same_as_init.known != HOST_KNOWN) {
		advice_set(ret_finding, VERDICT_UNKNOWN, 0);
		EVIDENCE("cannot tell whether this is the host's network namespace: "
			 "/proc/1/ns/net: %s",
			 strerror(host->same_as_init.error));
		return;
	}
	if (host->same_as_init.value) {
		EVIDENCE("this is the network namespace of process 1 (%s)",
			 advice_number(host->net_namespace));
		return;
	}
	if (host->compared.known != HOST_KNOWN) {
		advice_set(ret_finding, VERDICT_UNKNOWN, 0);
		EVIDENCE("this network namespace is not that of process 1, which cannot "
			 "be entered: %s",
			 strerror(host->compared.error));
		return;
	}
	EVIDENCE("this network namespace is not that of process 1, and %s of its TCP "
		 "settings differ%s%s",
		 host->compared.value ? advice_number(host->compared.value) : "none",
		 *host->differences ? ": " : "", host->differences);
	if (!host->compared.value || time_wait < MANY)
		return;
	advice_set(ret_finding, VERDICT_NOTICE, host->compared.value);
	ADVICE("settings of the host do not apply here: set them in this namespace "
	       "(docker run --sysctl, securityContext.sysctls)");
}

/* Lists the features that do or do not work: "IP_LOCAL_PORT_RANGE, TCP_LINGER2 = -1". */
static unsigned list_features(const struct host *host, bool works, char *text,
			      size_t size)
{
	unsigned count = 0;

	*text = '\0';
	for (unsigned i = 0; i < HOST_FEATURES; i++) {
		if (host->feature[i].known != HOST_KNOWN ||
		    (host->feature[i].value != 0) != works)
			continue;
		snprintf(text + strlen(text), size - strlen(text), "%s%s",
			 count++ ? ", " : "", host_feature_name(i));
	}
	return count;
}

void rule_kernel_features(const struct advice_facts *facts,
			  struct advice_finding *ret_finding)
{
	const struct host *host = facts->host.settings;
	const struct traffic_pair *pair = fullest_pair(facts);
	char there[160], missing[160];
	unsigned works = list_features(host, true, there, sizeof(there));
	unsigned lacks = list_features(host, false, missing, sizeof(missing));

	if (!works && !lacks) {
		advice_set(ret_finding, VERDICT_UNKNOWN, 0);
		EVIDENCE("could not try the options: %s",
			 strerror(host->feature[0].error));
		return;
	}
	EVIDENCE("%u of %u work on %s%s%s%s%s", works, works + lacks,
		 *host->release ? host->release : "this kernel", works ? ": " : "", there,
		 lacks ? "; missing: " : "", missing);
	if (!lacks || !pair || percent_used(pair) < BROWNOUT)
		return;
	advice_set(ret_finding, VERDICT_NOTICE, lacks);
	ADVICE("keep connections open; port_ring and ip_local_port_range need none of "
	       "these options");
}

void rule_port_range(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct host *host = facts->host.settings;
	uint64_t low = host_get(host, HOST_port_low),
		 high = host_get(host, HOST_port_high);
	uint32_t ports = host_ports(host);
	const struct traffic_pair *pair = fullest_pair(facts);
	char more[ADVICE_MORE_SIZE], step[64] = "";

	if (!host_knows(host, HOST_port_high)) {
		say_unknown(host, HOST_port_high, ret_finding);
		return;
	}
	if (host_get(host, HOST_port_step_width))
		snprintf(step, sizeof(step), "; ip_local_port_step_width is %s",
			 advice_number(host_get(host, HOST_port_step_width)));
	EVIDENCE("ip_local_port_range is %llu to %llu and %s ports are reserved, which "
		 "leaves %s for connect(): %s new %s per second to one destination if "
		 "each leaves a TIME_WAIT socket%s",
		 (unsigned long long)low, (unsigned long long)high,
		 advice_number(host_get(host, HOST_reserved_ports)), advice_number(ports),
		 advice_number(ports / 60),
		 print_plural(ports / 60, "connection", "connections"), step);
	if (ports >= ADVICE_PORTS / 2 || !pair || percent_used(pair) < BROWNOUT)
		return;
	advice_set(ret_finding, VERDICT_NOTICE, ADVICE_PORTS - ports);
	ADVICE("first keep connections open, see TW101; otherwise %s%s",
	       advice_more_ports(more, high - low + 1, ports),
	       high - low + 1 < ADVICE_PORTS / 2 ? ": the default is 32768 to 60999"
						 : "");
}

void rule_unowned(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct traffic *traffic = facts->host.traffic;
	const char *connected =
	    facts->holding.holders ? facts->holding.holders->connected : "";
	char to[PRINT_ADDRESS_SIZE];

	if (!traffic)
		return;
	EVIDENCE("%s of the %s TIME_WAIT sockets are from programs not running under "
		 "twshim%s%s%s%s%s",
		 advice_number(traffic->unowned), advice_number(traffic->time_wait),
		 traffic->unowned ? ", most (" : "",
		 traffic->unowned ? advice_number(traffic->unowned_there) : "",
		 traffic->unowned ? ") to " : "",
		 traffic->unowned ? print_address(to, &traffic->unowned_to) : "",
		 *connected ? ", where these programs are connected now: " : "");
	strncat(ret_finding->evidence, connected,
		ADVICE_TEXT_SIZE - strlen(ret_finding->evidence) - 1);
	if (traffic->unowned < MANY)
		return;
	advice_set(ret_finding, advice_by_number(traffic->unowned), traffic->unowned);
	snprintf(ret_finding->to, sizeof(ret_finding->to), "%s", to);
	HEADLINE("%s TIME_WAIT sockets are from programs not running under twshim, most "
		 "to %s",
		 advice_number(traffic->unowned), to);
	ADVICE("start the program with twshim run, or with the environment that twshim "
	       "env prints; twshim doctor PID says whether the shim can reach it");
}
