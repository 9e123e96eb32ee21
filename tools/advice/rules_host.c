/* SPDX-License-Identifier: MIT
 *
 * The rules of the host's settings and of its TIME_WAIT sockets as a whole: facts in,
 * verdict and words out. What is fine has its evidence as well, for who asks for it; what
 * can't be read is unknown, with the reason.
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

static void set_unknown(const struct host *host, enum host_fact fact,
			struct advice_finding *ret_finding)
{
	char why[160];

	advice_set(ret_finding, VERDICT_UNKNOWN, 0);
	EVIDENCE("%s", host_why(host, fact, why, sizeof(why)));
}

static uint64_t fill_of(const struct traffic_pair *pair)
{
	return advice_percent(pair->used, pair->range);
}

static const struct traffic_pair *fullest(const struct advice_facts *facts)
{
	return facts->traffic && facts->traffic->pair_count ? &facts->traffic->pairs[0]
							    : NULL;
}

/* Where TIME_WAIT holds most ports. */
static const struct traffic_pair *most_time_wait(const struct traffic *traffic)
{
	const struct traffic_pair *most = NULL;

	for (size_t i = 0; traffic && i < traffic->pair_count; i++)
		if (!most || traffic->pairs[i].time_wait > most->time_wait)
			most = &traffic->pairs[i];
	return most && most->time_wait ? most : NULL;
}

/* "; most TIME_WAIT is to 10.0.0.7:6379: 600 of its 1,000 ports" */
static void say_most(char *text, size_t size, const struct traffic_pair *pair)
{
	char to[PRINT_ADDRESS_SIZE];

	*text = '\0';
	if (pair)
		snprintf(text, size, "; most TIME_WAIT is to %s, by %s of %s ports",
			 print_address(to, &pair->to), advice_number(pair->time_wait),
			 advice_number(pair->range));
}

static void say_reuse(char *text, size_t size, uint64_t value, uint64_t delay_ms)
{
	static const char *const whose[] = {"any destination",
					    "loopback destinations only"};

	if (value == 0)
		snprintf(text, size, "connect() takes over no TIME_WAIT port");
	else if (value < 3)
		snprintf(text, size,
			 "connect() takes over TIME_WAIT ports of %s, %s ms after the "
			 "last packet, save those that were bound (port_ring, bind() "
			 "before connect())",
			 whose[value - 1], advice_number(delay_ms));
	else
		snprintf(text, size, "a value that this program does not know");
}

/* A port_ring needs timestamps as well. */
static void advise_reuse(const struct advice_facts *facts,
			 const struct traffic_pair *pair, bool stamps,
			 struct advice_finding *ret_finding)
{
	char to[PRINT_ADDRESS_SIZE], outside[ADVICE_RING_SIZE], ring[224] = "";

	print_address(to, &pair->to);
	if (stamps)
		snprintf(ring, sizeof(ring),
			 "; for one program alone, -p 'port_ring=%s,to=%s', of ports "
			 "outside ip_local_port_range: those inside, a ring keeps from "
			 "all other programs",
			 advice_ring_outside(outside, facts->traffic), to);
	ADVICE("first the application, see TW101 to TW105: -p 'close=fin-reset,to=%s' "
	       "leaves no TIME_WAIT%s; last, for the whole host, "
	       "net.ipv4.tcp_tw_reuse=1%s, which does nothing for sockets bound before "
	       "connect()",
	       to, ring, stamps ? "" : " and tcp_timestamps=1");
}

void rule_time_wait_reuse(const struct advice_facts *facts,
			  struct advice_finding *ret_finding)
{
	const struct host *host = facts->host;
	const struct traffic_pair *pair = most_time_wait(facts->traffic);
	uint64_t value = host_get(host, HOST_tw_reuse);
	uint64_t delay = host_knows(host, HOST_tw_reuse_delay)
			     ? host_get(host, HOST_tw_reuse_delay)
			     : DEFAULT_REUSE_DELAY;
	char meaning[192], most[160];
	bool helps = pair && traffic_is_reused(value, &pair->from, &pair->to);
	bool stamps =
	    host_get(host, HOST_timestamps) || !host_knows(host, HOST_timestamps);

	if (!host_knows(host, HOST_tw_reuse)) {
		set_unknown(host, HOST_tw_reuse, ret_finding);
		return;
	}
	say_reuse(meaning, sizeof(meaning), value, delay);
	say_most(most, sizeof(most), pair);
	EVIDENCE("tcp_tw_reuse is %s: %s%s%s", advice_number(value), meaning,
		 stamps || !value
		     ? ""
		     : "; but tcp_timestamps is 0, and without it nothing is",
		 most);
	if (!pair || fill_of(pair) < BROWNOUT || pair->time_wait * 2 < pair->used ||
	    (helps && stamps))
		return;
	advice_set(ret_finding, VERDICT_NOTICE, pair->time_wait);
	ret_finding->certainty = CERTAINTY_INFERRED;
	advise_reuse(facts, pair, stamps, ret_finding);
}

void rule_timestamps(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct host *host = facts->host;
	uint64_t time_wait = facts->traffic ? facts->traffic->time_wait : 0;

	if (!host_knows(host, HOST_timestamps)) {
		set_unknown(host, HOST_timestamps, ret_finding);
		return;
	}
	EVIDENCE(
	    "tcp_timestamps is %s%s", advice_number(host_get(host, HOST_timestamps)),
	    host_get(host, HOST_timestamps)
		? ""
		: ": no TIME_WAIT port can be taken over, whatever tcp_tw_reuse says");
	if (host_get(host, HOST_timestamps))
		return;
	advice_set(ret_finding, time_wait >= MANY ? VERDICT_WARNING : VERDICT_NOTICE,
		   time_wait);
	ADVICE("set net.ipv4.tcp_timestamps back to 1, the default");
}

void rule_recycle(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct host *host = facts->host;
	const struct host_value *fact = &host->fact[HOST_tw_recycle];

	if (fact->known != HOST_KNOWN && fact->error != ENOENT) {
		set_unknown(host, HOST_tw_recycle, ret_finding);
		return;
	}
	if (fact->known != HOST_KNOWN) {
		EVIDENCE("tcp_tw_recycle does not exist on this kernel, %s: nothing to "
			 "set, nothing to clear",
			 *host->release ? host->release : "after 4.12");
		return;
	}
	EVIDENCE("tcp_tw_recycle exists and is %s; %s SYNs were dropped by it",
		 advice_number(fact->value),
		 advice_number(host_get(host, HOST_paws_passive)));
	if (!fact->value)
		return;
	advice_set(ret_finding, VERDICT_PROBLEM, host_get(host, HOST_paws_passive));
	ADVICE("clear it: net.ipv4.tcp_tw_recycle=0; clients behind one NAT address "
	       "fail to connect while it is set");
}

void rule_fin_timeout(const struct advice_facts *facts,
		      struct advice_finding *ret_finding)
{
	const struct host *host = facts->host;
	uint64_t value = host_get(host, HOST_fin_timeout);
	uint64_t time_wait = facts->traffic ? facts->traffic->time_wait : 0;
	unsigned newest = facts->traffic ? facts->traffic->newest_leaves_ms / 1000 : 0;

	if (!host_knows(host, HOST_fin_timeout)) {
		set_unknown(host, HOST_fin_timeout, ret_finding);
		return;
	}
	EVIDENCE("tcp_fin_timeout is %s s and bounds orphans in FIN_WAIT_2, of which "
		 "there are %s; the %s TIME_WAIT sockets stay 60 s each, the youngest "
		 "has %u s left",
		 advice_number(value),
		 advice_number(facts->traffic ? facts->traffic->fin_wait_2 : 0),
		 advice_number(time_wait), newest);
	if (value == DEFAULT_FIN_TIMEOUT || time_wait < MANY)
		return;
	advice_set(ret_finding, VERDICT_NOTICE, time_wait);
	ADVICE("for TIME_WAIT it does nothing: set net.ipv4.tcp_fin_timeout back to 60 "
	       "and see TW101 and TW102%s",
	       value > DEFAULT_FIN_TIMEOUT ? "; over 60 it even makes FIN_WAIT_2 shorter"
					   : "");
}

void rule_buckets(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct host *host = facts->host;
	uint64_t most = host_get(host, HOST_max_tw_buckets);
	uint64_t overflow = host_get(host, HOST_tw_overflow);
	uint64_t time_wait = facts->traffic ? facts->traffic->time_wait : 0;
	uint64_t fill = advice_percent(time_wait, most);

	if (!host_knows(host, HOST_max_tw_buckets)) {
		set_unknown(host, HOST_max_tw_buckets, ret_finding);
		return;
	}
	EVIDENCE("%s TIME_WAIT sockets of at most %s (%s %%), and %s left out since this "
		 "network namespace was made (TCPTimeWaitOverflow)",
		 advice_number(time_wait), advice_number(most), advice_number(fill),
		 host_knows(host, HOST_tw_overflow) ? advice_number(overflow)
						    : "an unknown number");
	/* Overflows are of any time; what counts is whether it happens again. */
	if (fill < (overflow ? BROWNOUT : EXHAUSTED))
		return;
	advice_set(ret_finding,
		   fill >= EXHAUSTED && overflow ? VERDICT_WARNING : VERDICT_NOTICE,
		   overflow ? overflow : time_wait);
	ADVICE("first fewer connections, see TW101; else raise "
	       "net.ipv4.tcp_max_tw_buckets: a socket costs %s bytes, and beyond the "
	       "limit connections lose their protection in silence",
	       advice_number(advice_time_wait_bytes(host)));
}

void rule_server_side(const struct advice_facts *facts,
		      struct advice_finding *ret_finding)
{
	const struct traffic *traffic = facts->traffic;

	if (!traffic)
		return;
	if (!traffic->incoming) {
		EVIDENCE("none of the %s TIME_WAIT sockets is at a port where somebody "
			 "listens",
			 advice_number(traffic->time_wait));
		return;
	}
	EVIDENCE("%s of the %s TIME_WAIT sockets are at ports where somebody listens, "
		 "most (%s) at port %u: the server closed first",
		 advice_number(traffic->incoming), advice_number(traffic->time_wait),
		 advice_number(traffic->incoming_at_port), traffic->incoming_port);
	ADVICE(
	    "harmless, nothing to cure: they share port %u, take no ephemeral port, and "
	    "keep no client out",
	    traffic->incoming_port);
	if (traffic->incoming >= VERY_MANY)
		advice_set(ret_finding, VERDICT_NOTICE, traffic->incoming);
}

void rule_net_namespace(const struct advice_facts *facts,
			struct advice_finding *ret_finding)
{
	const struct host *host = facts->host;
	uint64_t time_wait = facts->traffic ? facts->traffic->time_wait : 0;

	if (host->same_as_init.known != HOST_KNOWN) {
		advice_set(ret_finding, VERDICT_UNKNOWN, 0);
		EVIDENCE(
		    "whether this is the host's network namespace: /proc/1/ns/net: %s",
		    strerror(host->same_as_init.error));
		return;
	}
	if (host->same_as_init.value) {
		EVIDENCE("this is the network namespace of process 1, %s",
			 advice_number(host->net_namespace));
		return;
	}
	if (host->compared.known != HOST_KNOWN) {
		advice_set(ret_finding, VERDICT_UNKNOWN, 0);
		EVIDENCE("this network namespace is not that of process 1, which may not "
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
	ADVICE("what is set on the host does not hold here: set it in this namespace "
	       "(docker run --sysctl, securityContext.sysctls)");
}

/* "IP_LOCAL_PORT_RANGE, TCP_LINGER2 = -1": the features of this value. */
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
	const struct host *host = facts->host;
	const struct traffic_pair *pair = fullest(facts);
	char there[160], missing[160];
	unsigned works = list_features(host, true, there, sizeof(there));
	unsigned lacks = list_features(host, false, missing, sizeof(missing));

	if (!works && !lacks) {
		advice_set(ret_finding, VERDICT_UNKNOWN, 0);
		EVIDENCE("could not be tried: %s", strerror(host->feature[0].error));
		return;
	}
	EVIDENCE("%u of %u work on %s%s%s%s%s", works, works + lacks,
		 *host->release ? host->release : "this kernel", works ? ": " : "", there,
		 lacks ? "; missing: " : "", missing);
	if (!lacks || !pair || fill_of(pair) < BROWNOUT)
		return;
	advice_set(ret_finding, VERDICT_NOTICE, lacks);
	ADVICE("of the cures that are left, keep connections open; port_ring and "
	       "ip_local_port_range need none of these");
}

void rule_port_range(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct host *host = facts->host;
	uint64_t low = host_get(host, HOST_port_low),
		 high = host_get(host, HOST_port_high);
	uint32_t ports = host_ports(host);
	const struct traffic_pair *pair = fullest(facts);
	char more[ADVICE_MORE_SIZE];

	if (!host_knows(host, HOST_port_high)) {
		set_unknown(host, HOST_port_high, ret_finding);
		return;
	}
	EVIDENCE("ip_local_port_range is %llu to %llu, %s ports are reserved: %s for "
		 "connect(), %s new %s a second to one destination if each "
		 "leaves a TIME_WAIT",
		 (unsigned long long)low, (unsigned long long)high,
		 advice_number(host_get(host, HOST_reserved_ports)), advice_number(ports),
		 advice_number(ports / 60),
		 print_plural(ports / 60, "connection", "connections"));
	if (ports >= ADVICE_PORTS / 2 || !pair || fill_of(pair) < BROWNOUT)
		return;
	advice_set(ret_finding, VERDICT_NOTICE, ADVICE_PORTS - ports);
	ADVICE("first keep connections open, see TW101; else %s%s",
	       advice_more_ports(more, high - low + 1, ports),
	       high - low + 1 < ADVICE_PORTS / 2 ? ": the default is 32768 to 60999"
						 : "");
}

void rule_unowned(const struct advice_facts *facts, struct advice_finding *ret_finding)
{
	const struct traffic *traffic = facts->traffic;
	const char *connected = facts->holders ? facts->holders->connected : "";
	char to[PRINT_ADDRESS_SIZE];

	if (!traffic)
		return;
	EVIDENCE("%s of the %s TIME_WAIT sockets were left by programs without the "
		 "shim%s%s%s%s%s",
		 advice_number(traffic->unowned), advice_number(traffic->time_wait),
		 traffic->unowned ? ", most (" : "",
		 traffic->unowned ? advice_number(traffic->unowned_there) : "",
		 traffic->unowned ? ") to " : "",
		 traffic->unowned ? print_address(to, &traffic->unowned_to) : "",
		 *connected ? ", where these are connected now: " : "");
	strncat(ret_finding->evidence, connected,
		ADVICE_TEXT_SIZE - strlen(ret_finding->evidence) - 1);
	if (traffic->unowned < MANY)
		return;
	advice_set(ret_finding, advice_by_number(traffic->unowned), traffic->unowned);
	snprintf(ret_finding->to, sizeof(ret_finding->to), "%s", to);
	ADVICE("start the program with twshim run, or with what twshim env prints, and "
	       "ask again; twshim doctor PID says whether the shim can reach it");
}
