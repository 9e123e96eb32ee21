/* SPDX-License-Identifier: MIT
 *
 * Decides whether two arms of an experiment differ. Pure. Every difference is `other -
 * first`, with an interval that holds at `confidence`. A caller that makes several
 * comparisons in one report asks for statistics_confidence(0.95, how many). Then all
 * intervals hold together in 95 of 100 reports, and as many A/A experiments show no
 * difference.
 */
#ifndef TWS_TOOLS_STATISTICS_H
#define TWS_TOOLS_STATISTICS_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/shared/segment.h"

enum statistics_verdict {
	STATISTICS_TOO_FEW, /* no conclusion is possible */
	STATISTICS_NO_DIFFERENCE,
	STATISTICS_LOWER, /* the other arm's value is lower than the first's */
	STATISTICS_HIGHER,
};

struct statistics_difference {
	enum statistics_verdict verdict;
	double first, other;	      /* the values of the two arms */
	double difference, low, high; /* other - first, and its interval */
	/* About how many more connections per arm would confirm the present difference,
	 * if it is real. 0: it is confirmed already, there is none, or more than 100
	 * times as many would be needed. */
	uint64_t needed;
};

/* Returns the confidence that each of `comparisons` intervals needs so that all hold
 * together at `together` (Bonferroni). */
double statistics_confidence(double together, unsigned comparisons);

/* Returns how many standard errors a two-sided interval extends to each side. 0 <
 * confidence < 1. */
double statistics_z(double confidence);

/* Compares shares: `part` of `whole` in each arm (Newcombe's interval from Wilson's;
 * valid for rare events and small numbers). */
struct statistics_difference
statistics_proportions(uint64_t first_part, uint64_t first_whole, uint64_t other_part,
		       uint64_t other_whole, double confidence);

/* Compares rates: Poisson counts, each over its own exposure (seconds, or seconds times
 * weight). */
struct statistics_difference statistics_rates(uint64_t first_count, double first_exposure,
					      uint64_t other_count, double other_exposure,
					      double confidence);

/* A sum over connections: most add nothing, and no single amount is known. */
struct statistics_sum {
	double sum;
	uint64_t events;      /* connections that may have added to the sum */
	uint64_t connections; /* all connections */
};

/* Compares means per connection. One event is assumed to add at most `largest`, or twice
 * the mean over all events if that is more. */
struct statistics_difference statistics_means(const struct statistics_sum *first,
					      const struct statistics_sum *other,
					      double largest, double confidence);

/* Returns the value below which a share (0 to 1) of the histogram lies, in microseconds,
 * interpolated within its bucket; 0 for an empty histogram. */
double statistics_quantile(enum tws_histogram_id id,
			   const struct tws_histogram *histogram, double share);

/* Compares quantiles, in microseconds. The verdict is TOO_FEW if an arm's interval would
 * extend beyond its smallest or largest value. */
struct statistics_difference statistics_quantiles(enum tws_histogram_id id,
						  const struct tws_histogram *first,
						  const struct tws_histogram *other,
						  double share, double confidence);

#endif
