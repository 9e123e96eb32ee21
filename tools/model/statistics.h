/* SPDX-License-Identifier: MIT
 *
 * Whether two arms of an experiment differ. Pure. Every difference is `other - first`,
 * with an interval that holds at `confidence`; who makes several comparisons in one
 * report asks for statistics_confidence(0.95, how many), so that all intervals together
 * hold in 95 of 100 reports, and an A/A experiment shows no difference in as many.
 */
#ifndef TWS_TOOLS_STATISTICS_H
#define TWS_TOOLS_STATISTICS_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/shared/segment.h"

enum statistics_verdict {
	STATISTICS_TOO_FEW, /* nothing can be said at all */
	STATISTICS_NO_DIFFERENCE,
	STATISTICS_LOWER, /* the other arm's is lower than the first's */
	STATISTICS_HIGHER,
};

struct statistics_difference {
	enum statistics_verdict verdict;
	double first, other;	      /* the two values */
	double difference, low, high; /* other - first, and its interval */
	/* About how many more connections an arm would show the present difference, if it
	 * is one; 0: it is shown, there is none, or it would take over 100 times as many.
	 */
	uint64_t needed;
};

/* The confidence of each of `comparisons` intervals so that all hold at `together`
 * (Bonferroni). */
double statistics_confidence(double together, unsigned comparisons);

/* How many standard errors a two-sided interval reaches to each side. 0 < confidence < 1.
 */
double statistics_z(double confidence);

/* Of shares: `part` of `whole` in each arm (Newcombe's interval, from Wilson's: holds for
 * rare events and small numbers too). */
struct statistics_difference
statistics_proportions(uint64_t first_part, uint64_t first_whole, uint64_t other_part,
		       uint64_t other_whole, double confidence);

/* Of how often something happened: counts that are Poisson's, each over an exposure of
 * its own (seconds, seconds times weight). */
struct statistics_difference statistics_rates(uint64_t first_count, double first_exposure,
					      uint64_t other_count, double other_exposure,
					      double confidence);

/* A sum over connections of which most have none and no single one is known. */
struct statistics_sum {
	double sum;
	uint64_t events;      /* how many connections may have added to it */
	uint64_t connections; /* all */
};

/* Of means a connection. What one event adds is taken to reach up to `largest`, or twice
 * the mean of all events where that is more. */
struct statistics_difference statistics_means(const struct statistics_sum *first,
					      const struct statistics_sum *other,
					      double largest, double confidence);

/* The value under which a share (0 to 1) of a histogram lies, in microseconds,
 * interpolated within its bucket; 0 where the histogram is empty. */
double statistics_quantile(enum tws_histogram_id id,
			   const struct tws_histogram *histogram, double share);

/* Of quantiles, in microseconds. Too few where the interval of an arm's quantile would
 * reach beyond its smallest or largest value. */
struct statistics_difference statistics_quantiles(enum tws_histogram_id id,
						  const struct tws_histogram *first,
						  const struct tws_histogram *other,
						  double share, double confidence);

#endif
