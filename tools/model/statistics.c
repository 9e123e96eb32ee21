/* SPDX-License-Identifier: MIT */
#include "tools/model/statistics.h"

#include <math.h>

#define NEEDED_AT_MOST 100 /* a multiple of the connections so far */

struct interval {
	double low, value, high;
};

/* ------------------------------------------------------------------ normal */

double statistics_confidence(double together, unsigned comparisons)
{
	return 1 - (1 - together) / (comparisons ? comparisons : 1);
}

double statistics_z(double confidence)
{
	double low = 0, high = 40;

	for (int i = 0; i < 100; i++) {
		double middle = (low + high) / 2;

		if (erf(middle / sqrt(2)) < confidence)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* -------------------------------------------------------------- difference */

/* Returns how many more connections the smaller arm needs: the interval narrows with the
 * square root of their number. */
static uint64_t count_needed(double difference, double half_width, uint64_t smaller)
{
	double times;

	if (difference == 0 || !isfinite(half_width))
		return 0;
	times = (half_width / difference) * (half_width / difference) - 1;
	return times > 0 && times <= NEEDED_AT_MOST
		   ? (uint64_t)(times * (double)smaller) + 1
		   : 0;
}

static void set_verdict(struct statistics_difference *ret, uint64_t smaller)
{
	double half_width = ret->difference > 0 ? ret->difference - ret->low
						: ret->high - ret->difference;

	if (ret->low > 0) {
		ret->verdict = STATISTICS_HIGHER;
	} else if (ret->high < 0) {
		ret->verdict = STATISTICS_LOWER;
	} else {
		ret->verdict = STATISTICS_NO_DIFFERENCE;
		ret->needed = count_needed(ret->difference, half_width, smaller);
	}
}

static struct statistics_difference too_few(double first, double other)
{
	return (struct statistics_difference){.verdict = STATISTICS_TOO_FEW,
					      .first = first,
					      .other = other,
					      .difference = other - first};
}

/* The interval of a difference, from the intervals of both sides (Newcombe, MOVER). */
static struct statistics_difference subtract(struct interval first, struct interval other,
					     uint64_t smaller)
{
	struct statistics_difference ret = {.first = first.value, .other = other.value};

	ret.difference = other.value - first.value;
	ret.low =
	    ret.difference - hypot(other.value - other.low, first.high - first.value);
	ret.high =
	    ret.difference + hypot(other.high - other.value, first.value - first.low);
	set_verdict(&ret, smaller);
	return ret;
}

static uint64_t smaller_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ------------------------------------------------------------- proportions */

/* Wilson's score interval. */
static struct interval proportion(uint64_t part, uint64_t whole, double z)
{
	double n = (double)whole, p = (double)part / n;
	double middle = (p + z * z / (2 * n)) / (1 + z * z / n);
	double half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
	struct interval ret = {middle - half, p, middle + half};

	if (part == 0)
		ret.low = 0;
	if (part == whole)
		ret.high = 1;
	return ret;
}

struct statistics_difference
statistics_proportions(uint64_t first_part, uint64_t first_whole, uint64_t other_part,
		       uint64_t other_whole, double confidence)
{
	double z = statistics_z(confidence);

	/* Counters change while they are read, so a part may be ahead of its whole. */
	first_part = smaller_of(first_part, first_whole);
	other_part = smaller_of(other_part, other_whole);
	if (!first_whole || !other_whole)
		return too_few(0, 0);
	return subtract(proportion(first_part, first_whole, z),
			proportion(other_part, other_whole, z),
			smaller_of(first_whole, other_whole));
}

/* ------------------------------------------------------------------- rates */

/* Score interval of a Poisson count. */
static struct interval rate(uint64_t count, double exposure, double z)
{
	double n = (double)count, half = z * sqrt(n + z * z / 4);
	double middle = n + z * z / 2;

	return (struct interval){count ? (middle - half) / exposure : 0, n / exposure,
				 (middle + half) / exposure};
}

struct statistics_difference statistics_rates(uint64_t first_count, double first_exposure,
					      uint64_t other_count, double other_exposure,
					      double confidence)
{
	double z = statistics_z(confidence);

	if (first_exposure <= 0 || other_exposure <= 0)
		return too_few(0, 0);
	return subtract(rate(first_count, first_exposure, z),
			rate(other_count, other_exposure, z),
			smaller_of(first_count, other_count));
}

/* ------------------------------------------------------------------- means */

/* A sum of independent events, none larger than `largest`, has at most the variance
 * largest * sum. That is the case of rare events that all have this size. */
static struct interval mean(const struct statistics_sum *sum, double largest, double z)
{
	double n = (double)sum->connections;
	double twice = sum->events ? 2 * sum->sum / (double)sum->events : 0;
	double size = twice > largest ? twice : largest;
	double events = sum->sum / size, half = z * sqrt(events + z * z / 4);
	double middle = events + z * z / 2;

	/* If no event was possible, the mean is exactly 0. */
	if (!sum->events)
		return (struct interval){0, sum->sum / n, sum->sum / n};
	return (struct interval){(middle - half) * size / n, sum->sum / n,
				 (middle + half) * size / n};
}

struct statistics_difference statistics_means(const struct statistics_sum *first,
					      const struct statistics_sum *other,
					      double largest, double confidence)
{
	double z = statistics_z(confidence);

	if (!first->connections || !other->connections)
		return too_few(0, 0);
	return subtract(mean(first, largest, z), mean(other, largest, z),
			smaller_of(first->connections, other->connections));
}

/* --------------------------------------------------------------- quantiles */

static uint64_t count_samples(const struct tws_histogram *histogram)
{
	uint64_t ret = 0;

	for (unsigned i = 0; i < TWS_BUCKETS; i++)
		ret += histogram->count[i];
	return ret;
}

double statistics_quantile(enum tws_histogram_id id,
			   const struct tws_histogram *histogram, double share)
{
	double rank = share * (double)count_samples(histogram), before = 0, low = 0;

	for (unsigned i = 0; i < TWS_BUCKETS; i++) {
		double here = (double)histogram->count[i];
		double high = (double)tws_histogram_bound(id, i);

		if (high == 0)
			high = 2 * low;
		if (here > 0 && before + here >= rank)
			return low + (high - low) * (rank - before) / here;
		before += here;
		low = high;
	}
	return 0;
}

/* The interval comes from the ranks between which the quantile lies (Woodruff). Returns
 * false if that is beyond the data. */
static bool quantile(enum tws_histogram_id id, const struct tws_histogram *histogram,
		     double share, double z, struct interval *ret)
{
	double n = (double)count_samples(histogram);
	double half_width = n > 0 ? z * sqrt(share * (1 - share) / n) : 1;

	ret->value = statistics_quantile(id, histogram, share);
	if (share - half_width <= 0 || share + half_width >= 1)
		return false;
	ret->low = statistics_quantile(id, histogram, share - half_width);
	ret->high = statistics_quantile(id, histogram, share + half_width);
	return true;
}

struct statistics_difference statistics_quantiles(enum tws_histogram_id id,
						  const struct tws_histogram *first,
						  const struct tws_histogram *other,
						  double share, double confidence)
{
	double z = statistics_z(confidence);
	struct interval a, b;
	bool known = quantile(id, first, share, z, &a);

	if (!quantile(id, other, share, z, &b) || !known)
		return too_few(a.value, b.value);
	return subtract(a, b, smaller_of(count_samples(first), count_samples(other)));
}
