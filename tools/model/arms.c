/* SPDX-License-Identifier: MIT
 *
 * The list of measures, and how each is computed from an arm's counters.
 */
#include "tools/model/arms.h"

#include <stddef.h>
#include <string.h>

#include "tools/model/join.h"

#define TOGETHER   0.95
#define SEND_QUEUE 262144.0 /* the most that a reset discards per connection, bytes */

/* The total that a counter is a share of. */
enum base { BASE_ATTEMPTS, BASE_ENDED };

/* Measures that are shares: a counter, divided by its base. */
static const struct share {
	const char *name, *title;
	enum tws_counter counter; /* TWS_COUNTERS: all failures */
	enum base base;
	int better;
} SHARES[] = {
    {"established", "established", TWS_established, BASE_ATTEMPTS, 1},
    {"failed", "failed", TWS_COUNTERS, BASE_ATTEMPTS, -1},
#define FAILED(reason, title)                                                            \
	{"failed_" #reason, title, TWS_failed_##reason, BASE_ATTEMPTS, -1},
    FAILED(refused, "  refused") FAILED(timed_out, "  timed out")
	FAILED(unreachable, "  unreachable") FAILED(no_port, "  no port")
	    FAILED(address_in_use, "  address in use") FAILED(other, "  otherwise")
#undef FAILED
		{"time_wait", "TIME_WAIT left", TWS_ended_local_fin, BASE_ENDED, -1},
    {"peer_resets", "reset by the peer", TWS_ended_reset_remote, BASE_ENDED, -1},
};

static const struct quantile {
	const char *name, *title;
	double share;
	enum tws_histogram_id histogram;
	int better;
} QUANTILES[] = {
    {"connect_p50", "connect p50", 0.5, TWS_HISTOGRAM_connect_latency_seconds, -1},
    {"connect_p99", "connect p99", 0.99, TWS_HISTOGRAM_connect_latency_seconds, -1},
    {"lifetime_p50", "lifetime p50", 0.5, TWS_HISTOGRAM_lifetime_seconds, 0},
    {"lifetime_p99", "lifetime p99", 0.99, TWS_HISTOGRAM_lifetime_seconds, 0},
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

_Static_assert(COUNT(SHARES) + COUNT(QUANTILES) + 2 <= ARMS_LINES, "room for all lines");

static uint64_t counted_of(const struct share *share, const struct tws_counters *counters)
{
	return share->counter == TWS_COUNTERS ? join_failed(counters)
					      : counters->value[share->counter];
}

static uint64_t whole_of(const struct share *share, const struct tws_counters *counters)
{
	return share->base == BASE_ENDED ? join_ended(counters)
					 : counters->value[TWS_attempts];
}

static struct arms_line *add_line(struct arms_comparison *comparison, const char *name,
				  const char *title, enum arms_unit unit, int better)
{
	struct arms_line *line = &comparison->line[comparison->count++];

	*line = (struct arms_line){
	    .name = name, .title = title, .unit = unit, .better = better};
	return line;
}

/* A failure reason that neither arm had, and zero discarded bytes, get no line. */
static bool has_line(const struct share *share, const struct tws_counters *a,
		     const struct tws_counters *b)
{
	return share->title[0] != ' ' || counted_of(share, a) || counted_of(share, b);
}

static uint64_t samples(const struct tws_counters *counters, enum tws_histogram_id id)
{
	uint64_t ret = 0;

	for (unsigned i = 0; i < TWS_BUCKETS; i++)
		ret += counters->histogram[id].count[i];
	return ret;
}

/* ------------------------------------------------------- lines, one kind each */

static void add_shares(struct arms_comparison *comparison, const struct tws_counters *a,
		       const struct tws_counters *b, double confidence)
{
	for (size_t i = 0; i < COUNT(SHARES); i++) {
		const struct share *share = &SHARES[i];

		if (!has_line(share, a, b))
			continue;
		add_line(comparison, share->name, share->title, ARMS_SHARE, share->better)
		    ->difference = statistics_proportions(
		    counted_of(share, a), whole_of(share, a), counted_of(share, b),
		    whole_of(share, b), confidence);
	}
}

static void add_quantiles(struct arms_comparison *comparison,
			  const struct tws_counters *a, const struct tws_counters *b,
			  double confidence)
{
	for (size_t i = 0; i < COUNT(QUANTILES); i++) {
		const struct quantile *one = &QUANTILES[i];

		if (!samples(a, one->histogram) && !samples(b, one->histogram))
			continue;
		add_line(comparison, one->name, one->title, ARMS_MICROSECONDS,
			 one->better)
		    ->difference = statistics_quantiles(
		    one->histogram, &a->histogram[one->histogram],
		    &b->histogram[one->histogram], one->share, confidence);
	}
}

static struct statistics_sum discarded(const struct tws_counters *counters)
{
	return (struct statistics_sum){(double)counters->value[TWS_bytes_discarded],
				       counters->value[TWS_ended_reset_policy],
				       join_ended(counters)};
}

static void add_bytes(struct arms_comparison *comparison, const struct tws_counters *a,
		      const struct tws_counters *b, double confidence)
{
	struct statistics_sum first = discarded(a), other = discarded(b);

	add_line(comparison, "bytes_discarded", "bytes discarded, up to", ARMS_BYTES, -1)
	    ->difference = statistics_means(&first, &other, SEND_QUEUE, confidence);
}

/* Connections are dealt to the arms by weight, so the rate that each arm would have had
 * alone is compared. */
static void add_rate(struct arms_comparison *comparison, const struct model_arm *first,
		     const struct model_arm *other, double seconds, double confidence)
{
	double all = (double)first->weight + (double)other->weight;
	bool whole = seconds > 0;
	uint64_t established = first->counters.value[TWS_established];
	uint64_t others = other->counters.value[TWS_established];

	seconds = whole ? seconds : first->seconds;
	if (seconds <= 0 || !first->weight || !other->weight)
		return;
	add_line(comparison, "connections_per_second", "connections a second",
		 ARMS_PER_SECOND, 1)
	    ->difference = statistics_rates(
	    whole ? established : first->opened, seconds * 2 * first->weight / all,
	    whole ? others : other->opened, seconds * 2 * other->weight / all,
	    confidence);
}

static void add_all(struct arms_comparison *comparison, const struct model_arm *first,
		    const struct model_arm *other, double seconds, double confidence)
{
	comparison->count = 0;
	add_shares(comparison, &first->counters, &other->counters, confidence);
	add_bytes(comparison, &first->counters, &other->counters, confidence);
	add_quantiles(comparison, &first->counters, &other->counters, confidence);
	add_rate(comparison, first, other, seconds, confidence);
}

void arms_compare(const struct model_arm *first, const struct model_arm *other,
		  unsigned arms_compared, double seconds,
		  struct arms_comparison *ret_comparison)
{
	unsigned comparisons;

	/* The first pass only finds out how many lines there are. */
	add_all(ret_comparison, first, other, seconds, TOGETHER);
	comparisons = ret_comparison->count * (arms_compared ? arms_compared : 1);
	add_all(ret_comparison, first, other, seconds,
		statistics_confidence(TOGETHER, comparisons));
}

const char *arms_verdict(const struct arms_line *line)
{
	bool higher = line->difference.verdict == STATISTICS_HIGHER;

	switch (line->difference.verdict) {
	case STATISTICS_TOO_FEW:
		return "too few connections";
	case STATISTICS_NO_DIFFERENCE:
		return "no difference shown";
	default:
		break;
	}
	if (!line->better)
		return higher ? "higher" : "lower";
	return higher == (line->better > 0) ? "better" : "worse";
}

const struct model_arm *arms_first(const struct model *model, uint32_t index,
				   unsigned *ret_compared)
{
	const struct model_arm *ret = NULL;
	unsigned count = 0;

	for (uint32_t i = 0; i < model->arm_count; i++) {
		if (strcmp(model->arms[i].experiment, model->arms[index].experiment) != 0)
			continue;
		if (!ret)
			ret = &model->arms[i];
		count++;
	}
	*ret_compared = count - 1;
	return ret;
}
