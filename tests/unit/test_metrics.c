/* SPDX-License-Identifier: MIT
 *
 * Metrics: counters that never decrease whatever segments do, destinations that keep
 * their series, the cap, label escaping, negotiation, the ledger as a file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/model/join.h"
#include "tools/metrics/metrics.h"

#define NOW 1000000

static struct tws_address address(uint16_t port)
{
	return (struct tws_address){
	    .bytes = {10, 0, 0, 7}, .family = TWS_IPV4, .port = port};
}

static struct model *begin(void)
{
	static const struct model_options options = {0};

	return model_new(&options);
}

/* Connections of an application to a port (0: `other`), all closed by us. */
static void put_app(struct model *model, struct model_app *app, uint16_t port,
		    uint64_t number)
{
	static const struct tws_address none;
	struct tws_address to = address(port);
	struct tws_counters counters = {0};
	struct model_destination *destination;

	destination = model_destination(app, port ? &to : &none);

	counters.value[TWS_attempts] = number;
	counters.value[TWS_established] = number;
	counters.value[TWS_ended_local_fin] = number;
	counters.histogram[TWS_HISTOGRAM_lifetime_seconds].count[3] = number;
	counters.histogram[TWS_HISTOGRAM_lifetime_seconds].sum = number * 1000;
	join_add(&destination->counters, &counters);
	destination->recent.ended = number;
	join_add(&app->counters, &counters);
}

static void put(struct model *model, const char *exe, uint16_t port, uint64_t number)
{
	struct tws_header header = {.magic = TWS_MAGIC};

	strcpy(header.exe, exe);
	put_app(model, model_app(model, &header, false), port, number);
}

/* The same for processes of a unit. */
static void put_unit(struct model *model, const char *exe, const char *unit,
		     uint64_t number)
{
	struct tws_header header = {.magic = TWS_MAGIC};
	struct model_app *app;

	strcpy(header.exe, exe);
	app = model_app(model, &header, false);
	if (!app)
		abort();
	strcpy(app->names.unit, unit);
	put_app(model, app, 80, number);
}

static void update(struct ledger *ledger, struct model *model, unsigned top, time_t now)
{
	assert_int_equal(model_finish(model), 0);
	assert_int_equal(ledger_update(ledger, model, top, now), 0);
	model_free(model);
}

static const struct ledger_destination *slot_of(const struct ledger_app *app,
						uint16_t port)
{
	for (unsigned i = 0; i < app->count; i++)
		if (app->destinations[i].to.port == port)
			return &app->destinations[i];
	return NULL;
}

static uint64_t shown(const struct ledger_line *lines)
{
	return lines[TWS_ended_local_fin].shown;
}

static void a_verdict_that_changes_takes_nothing_back(void **state)
{
	struct ledger_line line = {0};

	ledger_note(&line, 10);
	ledger_note(&line, 9);
	assert_int_equal(line.shown, 10);
	ledger_note(&line, 10);
	assert_int_equal(line.shown, 10);
	ledger_note(&line, 11);
	assert_int_equal(line.shown, 11);
}

static void what_vanishes_is_not_counted_again_and_growth_goes_on(void **state)
{
	struct ledger ledger = {0};
	struct model *model = begin();

	put(model, "/bin/a", 80, 5000);
	update(&ledger, model, 20, NOW);
	model = begin();
	put(model, "/bin/a", 80, 30); /* a directory was removed */
	update(&ledger, model, 20, NOW + 1);
	assert_int_equal(shown(ledger.apps[0]->lines), 5000);
	model = begin();
	put(model, "/bin/a", 80, 37);
	update(&ledger, model, 20, NOW + 2);
	assert_int_equal(shown(ledger.apps[0]->lines), 5007);
	assert_int_equal(shown(slot_of(ledger.apps[0], 80)->lines), 5007);
	assert_int_equal(ledger.apps[0]->other[TWS_ended_local_fin], 0);
	assert_int_equal(ledger.apps[0]->histograms[0].count[3].shown, 5007);
	update(&ledger, begin(), 20, NOW + 3);
	assert_int_equal(shown(ledger.apps[0]->lines), 5007);
	update(&ledger, begin(), 20, NOW + 2 * LEDGER_GONE_S);
	assert_int_equal(ledger.count, 0);
	ledger_free(&ledger);
}

static void the_busiest_have_series_and_keep_them(void **state)
{
	struct ledger ledger = {0};
	struct model *model = begin();
	const struct ledger_app *app;

	put(model, "/bin/a", 1, 10);
	put(model, "/bin/a", 2, 30);
	put(model, "/bin/a", 3, 20);
	put(model, "/bin/a", 0, 5);
	update(&ledger, model, 2, NOW);
	app = ledger.apps[0];
	assert_non_null(slot_of(app, 2));
	assert_non_null(slot_of(app, 3));
	assert_int_equal(app->other[TWS_ended_local_fin], 15);
	model = begin();
	put(model, "/bin/a", 1, 1000);
	put(model, "/bin/a", 2, 31);
	put(model, "/bin/a", 3, 21);
	put(model, "/bin/a", 0, 5);
	update(&ledger, model, 2, NOW + 60);
	assert_null(slot_of(app, 1));
	assert_int_equal(app->other[TWS_ended_local_fin], 1005);
	assert_int_equal(shown(slot_of(app, 2)->lines), 31);
	ledger_free(&ledger);
}

static void put_three(struct model *model, uint64_t more)
{
	put(model, "/bin/a", 1, 10 + more);
	put(model, "/bin/a", 2, 30 + more);
	put(model, "/bin/a", 3, 20 + more);
}

static void fewer_wanted_are_fewer_at_once_and_nothing_is_counted_twice(void **state)
{
	struct ledger ledger = {0};
	struct model *model = begin();
	const struct ledger_app *app;

	put_three(model, 0);
	update(&ledger, model, 3, NOW);
	app = ledger.apps[0];
	assert_int_equal(app->count, 3);
	model = begin();
	put_three(model, 0);
	update(&ledger, model, 1, NOW + 60);
	assert_int_equal(app->count, 1);
	assert_int_equal(shown(slot_of(app, 2)->lines), 30);
	assert_int_equal(app->other[TWS_ended_local_fin], 0);
	assert_int_equal(shown(app->lines), 60);
	model = begin();
	put_three(model, 7);
	update(&ledger, model, 1, NOW + 120);
	assert_int_equal(shown(slot_of(app, 2)->lines), 37);
	assert_int_equal(app->other[TWS_ended_local_fin], 14);
	update(&ledger, begin(), 0, NOW + 180);
	assert_int_equal(app->count, 0);
	assert_int_equal(app->other[TWS_ended_local_fin], 14);
	ledger_free(&ledger);
}

/* Connections that were counted in `other` are not counted again. */
static void an_idle_destination_gives_way_and_sums_stay_whole(void **state)
{
	struct ledger ledger = {0};
	struct model *model = begin();
	const struct ledger_app *app;

	put(model, "/bin/a", 1, 100);
	put(model, "/bin/a", 2, 10);
	update(&ledger, model, 1, NOW);
	app = ledger.apps[0];
	model = begin();
	put(model, "/bin/a", 1, 100);
	put(model, "/bin/a", 2, 50);
	update(&ledger, model, 1, NOW + LEDGER_IDLE_S + 1);
	assert_null(slot_of(app, 1));
	assert_int_equal(shown(slot_of(app, 2)->lines), 0);
	assert_int_equal(app->other[TWS_ended_local_fin], 50);
	model = begin();
	put(model, "/bin/a", 1, 103);
	put(model, "/bin/a", 2, 57);
	update(&ledger, model, 1, NOW + LEDGER_IDLE_S + 2);
	assert_int_equal(shown(slot_of(app, 2)->lines), 7);
	assert_int_equal(app->other[TWS_ended_local_fin], 53);
	ledger_free(&ledger);
}

/* Three destinations are idle and one is busy; two of them have series. The busy one
 * takes a place once, and the idle ones do not alternate. */
static void the_idle_do_not_take_turns(void **state)
{
	struct ledger ledger = {0};
	struct model *model = begin();
	const struct ledger_app *app;

	put(model, "/bin/a", 1, 100);
	put(model, "/bin/a", 2, 90);
	update(&ledger, model, 2, NOW);
	app = ledger.apps[0];
	for (unsigned turn = 1; turn <= 4; turn++) {
		model = begin();
		put(model, "/bin/a", 1, 100);
		put(model, "/bin/a", 2, 90);
		for (unsigned i = 0; i < 2; i++)
			model->apps[0].destinations[i].recent.ended = 0;
		put(model, "/bin/a", 3, 10 * turn);
		update(&ledger, model, 2, NOW + LEDGER_IDLE_S + turn);
		assert_null(slot_of(app, 1));
		assert_int_equal(shown(slot_of(app, 2)->lines), 90);
		assert_int_equal(shown(slot_of(app, 3)->lines), 10 * turn);
		assert_int_equal(app->other[TWS_ended_local_fin], 0);
	}
	/* It becomes active, and its earlier connections are not counted again. */
	model = begin();
	put(model, "/bin/a", 1, 107);
	put(model, "/bin/a", 2, 90);
	put(model, "/bin/a", 3, 40);
	update(&ledger, model, 2, NOW + LEDGER_IDLE_S + 5);
	assert_int_equal(shown(slot_of(app, 1)->lines), 0);
	assert_int_equal(app->other[TWS_ended_local_fin], 7);
	assert_int_equal(shown(app->lines), 237);
	ledger_free(&ledger);
}

static void two_executables_of_one_name_are_one_application(void **state)
{
	struct ledger ledger = {0};
	struct model *model = begin();

	put(model, "/bin/a", 80, 3);
	put(model, "/opt/a", 80, 4);
	put(model, "/opt/a", 81, 5);
	update(&ledger, model, 20, NOW);
	assert_int_equal(ledger.count, 1);
	assert_int_equal(shown(ledger.apps[0]->lines), 12);
	assert_int_equal(shown(slot_of(ledger.apps[0], 80)->lines), 7);
	ledger_free(&ledger);
}

static void a_file_brings_it_all_back(void **state)
{
	char path[] = "/tmp/twshim-ledger-XXXXXX";
	struct ledger ledger = {0}, again = {0};
	struct model *model = begin();
	int directory;

	assert_non_null(mkdtemp(path));
	directory = open(path, O_RDONLY | O_DIRECTORY);
	put(model, "/bin/a\xff\"", 1, 100);
	put(model, "/bin/a\xff\"", 2, 10);
	put(model, "/bin/b", 1, 10);
	put_unit(model, "/bin/c", "c\xff.service", 5);
	ledger.dropped = 7;
	update(&ledger, model, 1, NOW);
	assert_int_equal(ledger_save(&ledger, directory), 0);
	assert_int_equal(ledger_load(&again, directory), 0);
	assert_int_equal(again.count, ledger.count);
	assert_int_equal(again.dropped, 7);
	for (unsigned i = 0; i < again.count; i++) {
		struct ledger_app a = *ledger.apps[i], b = *again.apps[i];

		assert_int_equal(a.count, b.count);
		assert_memory_equal(a.destinations, b.destinations,
				    a.count * sizeof(*a.destinations));
		a.destinations = b.destinations = NULL;
		a.open = a.time_wait = a.processes = a.alive = 0;
		assert_memory_equal(&a, &b, sizeof(a));
	}
	ledger_free(&again);
	close(openat(directory, LEDGER_FILE, O_WRONLY | O_TRUNC));
	assert_int_equal(ledger_load(&again, directory), 0);
	assert_int_equal(again.count, 0);
	ledger_free(&again);
	ledger_free(&ledger);
	unlinkat(directory, LEDGER_FILE, 0);
	close(directory);
	rmdir(path);
}

/* The array that was read has the room that the next application expects. */
static void a_file_of_two_applications_takes_twenty_more(void **state)
{
	char path[] = "/tmp/twshim-ledger-XXXXXX", name[32];
	struct ledger ledger = {0}, again = {0};
	struct model *model = begin();
	int directory;

	assert_non_null(mkdtemp(path));
	directory = open(path, O_RDONLY | O_DIRECTORY);
	put(model, "/bin/a0", 80, 1);
	put(model, "/bin/a1", 80, 1);
	update(&ledger, model, 1, NOW);
	assert_int_equal(ledger_save(&ledger, directory), 0);
	assert_int_equal(ledger_load(&again, directory), 0);
	model = begin();
	for (unsigned i = 0; i < 22; i++) {
		snprintf(name, sizeof(name), "/bin/a%u", i);
		put(model, name, 80, 1);
	}
	update(&again, model, 1, NOW);
	assert_int_equal(again.count, 22);
	for (unsigned i = 0; i < again.count; i++)
		assert_int_equal(shown(again.apps[i]->lines), 1);
	ledger_free(&again);
	ledger_free(&ledger);
	unlinkat(directory, LEDGER_FILE, 0);
	close(directory);
	rmdir(path);
}

/* A time in the far future would never be long ago; its offset is the largest number. */
static void what_the_file_says_of_the_future_is_not_believed(void **state)
{
	static const char text[] =
	    "{\"apps\": [{\"app\": \"b\", \"seen\": 9223372036854775807, \"lines\": "
	    "{\"ended_local_fin\": [9223372036854775807, 1]}, \"destinations\": "
	    "[{\"to\": "
	    "\"10.0.0.1:80\", \"changed\": 9223372036854775807}]}]}";
	char path[] = "/tmp/twshim-ledger-XXXXXX";
	time_t now = time(NULL);
	struct model *model = begin();
	struct ledger ledger;
	int directory, fd;

	assert_non_null(mkdtemp(path));
	directory = open(path, O_RDONLY | O_DIRECTORY);
	fd = openat(directory, LEDGER_FILE, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	assert_int_equal(ledger_load(&ledger, directory), 0);
	assert_int_equal(ledger.count, 1);
	assert_in_range(ledger.apps[0]->seen, now, now + 60);
	assert_in_range(ledger.apps[0]->destinations[0].changed, now, now + 60);
	put(model, "/bin/b", 1, 10);
	update(&ledger, model, 1, now);
	assert_int_equal(shown(ledger.apps[0]->lines), 1);
	update(&ledger, begin(), 1, now + 2 * LEDGER_GONE_S);
	assert_int_equal(ledger.count, 0);
	ledger_free(&ledger);
	unlinkat(directory, LEDGER_FILE, 0);
	close(directory);
	rmdir(path);
}

static char *text_with(struct model *model, struct ledger *ledger,
		       const struct metrics_options *options, enum metrics_format format)
{
	struct metrics *metrics = NULL;
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_int_equal(model_finish(model), 0);
	assert_int_equal(ledger_update(ledger, model, 20, NOW), 0);
	assert_int_equal(metrics_make(&metrics, model, NULL, ledger, options, 0.5), 0);
	metrics_write(out, metrics, format);
	fclose(out);
	metrics_free(metrics);
	model_free(model);
	return text;
}

static char *text_of(struct model *model, struct ledger *ledger, unsigned series,
		     enum metrics_format format)
{
	const struct metrics_options options = {.series = series};

	return text_with(model, ledger, &options, format);
}

static void names_and_labels_are_as_they_should_be(void **state)
{
	struct ledger ledger = {0};
	struct model *model = begin();
	char *text;

	put(model, "/bin/a\\b\"c\nd\xff", 80, 3);
	text = text_of(model, &ledger, METRICS_SERIES, METRICS_TEXT);
	assert_non_null(strstr(text,
			       "twshim_connections_ended_total{app=\"a\\\\\\\\b\\\"c"
			       "\\\\x0ad\\\\xff\",to=\"10.0.0.7:80\","
			       "ending=\"local_fin\"} 3\n"));
	assert_non_null(strstr(text, "# TYPE twshim_connections_ended_total counter\n"));
	assert_non_null(
	    strstr(text, "twshim_build_info{version=\"" TWSHIM_VERSION "\"} 1\n"));
	assert_non_null(strstr(text, "le=\"+Inf\"} 3\n"));
	assert_non_null(strstr(text, "twshim_connection_lifetime_seconds_count"));
	assert_null(strstr(text, "# EOF"));
	assert_null(strstr(text, "pid"));
	free(text);
	ledger_free(&ledger);
}

static void open_metrics_names_families_without_total(void **state)
{
	struct ledger ledger = {0};
	struct model *model = begin();
	char *text;

	put(model, "/bin/a", 80, 3);
	text = text_of(model, &ledger, METRICS_SERIES, METRICS_OPENMETRICS);
	assert_non_null(strstr(text, "# TYPE twshim_connections_ended counter\n"));
	assert_non_null(strstr(text, "\ntwshim_connections_ended_total{"));
	assert_non_null(strstr(text, "# TYPE twshim_build info\n"));
	assert_string_equal(text + strlen(text) - 6, "# EOF\n");
	free(text);
	ledger_free(&ledger);
}

/* The value of a series without labels. */
static double value_of(const struct model *model, const struct traffic *traffic,
		       struct ledger *ledger, const char *name)
{
	const struct metrics_options options = {.series = METRICS_SERIES};
	struct metrics *metrics = NULL;
	char *text = NULL, *at;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	double value;

	assert_int_equal(metrics_make(&metrics, model, traffic, ledger, &options, 0.5),
			 0);
	metrics_write(out, metrics, METRICS_TEXT);
	fclose(out);
	at = strstr(text, name);
	assert_non_null(at);
	at = strchr(at + 1, '\n') + 1; /* behind HELP */
	at = strchr(at, '\n') + 1;     /* behind TYPE */
	value = strtod(strchr(at, ' '), NULL);
	free(text);
	metrics_free(metrics);
	return value;
}

static void pairs_beyond_their_number_are_counted_as_dropped(void **state)
{
	const char *name = "twshim_metrics_series_dropped_total";
	struct traffic_pair pairs[METRICS_PAIRS + 4] = {0};
	struct traffic traffic = {.pairs = pairs, .pair_count = METRICS_PAIRS};
	struct ledger ledger = {0};
	struct model *model = begin();

	for (size_t i = 0; i < METRICS_PAIRS + 4; i++) {
		pairs[i].to = address((uint16_t)(i + 1));
		pairs[i].used = i == METRICS_PAIRS + 1 ? 0 : 1; /* of a hundred */
		pairs[i].range =
		    i == METRICS_PAIRS ? 0 : 100; /* the hundredth has no series */
	}
	assert_int_equal(model_finish(model), 0);
	assert_true(value_of(model, &traffic, &ledger, name) == 0);
	traffic.pair_count += 4;
	assert_true(value_of(model, &traffic, &ledger, name) == 4);
	model_free(model);
	ledger_free(&ledger);
}

static unsigned lines_of(const char *text)
{
	unsigned lines = 0;

	for (; *text; text++)
		lines += *text == '\n' && text[1] && text[1] != '#';
	return lines;
}

static void a_cap_holds_and_says_what_it_cost(void **state)
{
	struct ledger ledger = {0};
	struct model *model = begin();
	char *text;

	for (uint16_t port = 1; port <= 100; port++)
		put(model, "/bin/a", port, port);
	text = text_of(model, &ledger, 100, METRICS_TEXT);
	assert_in_range(lines_of(text), 60, 101);
	assert_true(ledger.dropped > 100);
	assert_non_null(strstr(text, "to=\"10.0.0.7:100\""));
	assert_non_null(strstr(text, "twshim_metrics_series_dropped_total "));
	free(text);
	ledger_free(&ledger);
}

/* A histogram without its last buckets would be wrong. */
static void a_cap_never_cuts_a_histogram(void **state)
{
	const char *name = "\ntwshim_connection_lifetime_seconds_";
	char *text, count[80], bucket[80];
	bool with = false, without = false;

	snprintf(count, sizeof(count), "%scount", name);
	snprintf(bucket, sizeof(bucket), "%sbucket", name);
	for (unsigned series = 20; series < 150; series++) {
		struct ledger ledger = {0};
		struct model *model = begin();

		put(model, "/bin/a", 80, 3);
		text = text_of(model, &ledger, series, METRICS_TEXT);
		assert_int_equal(strstr(text, bucket) != NULL,
				 strstr(text, count) != NULL);
		with |= strstr(text, count) != NULL;
		without |= strstr(text, count) == NULL;
		assert_in_range(lines_of(text), 1, series + 1);
		free(text);
		ledger_free(&ledger);
	}
	assert_true(with && without);
}

/* What the metrics say of connections opened by a.service or without a unit. */
static void check_opened(struct model *model, struct ledger *ledger, bool unit_label,
			 const char *expected)
{
	const struct metrics_options options = {.series = METRICS_SERIES,
						.unit_label = unit_label};
	char *text = text_with(model, ledger, &options, METRICS_TEXT), line[160];

	snprintf(line, sizeof(line), "\ntwshim_connections_opened_total{app=\"a\",%s\n",
		 expected);
	assert_non_null(strstr(text, line));
	free(text);
}

static void a_unit_is_a_label_and_no_key(void **state)
{
	const char *without = "to=\"10.0.0.7:80\"} ";
	struct ledger ledger = {0};
	struct model *model = begin();
	char expected[80];

	put_unit(model, "/bin/a", "a\"b.service", 10);
	check_opened(model, &ledger, true,
		     "unit=\"a\\\"b.service\",to=\"10.0.0.7:80\"} 10");
	model = begin();
	put_unit(model, "/bin/a", "a\"b.service", 12);
	snprintf(expected, sizeof(expected), "%s12", without);
	check_opened(model, &ledger, false, expected);
	/* Its segments are gone. */
	check_opened(begin(), &ledger, true,
		     "unit=\"a\\\"b.service\",to=\"10.0.0.7:80\"} 12");
	/* An application of two units, or of one and none, is still one. */
	model = begin();
	put_unit(model, "/bin/a", "a\"b.service", 12);
	put_unit(model, "/opt/a", "b.service", 3);
	snprintf(expected, sizeof(expected), "%s15", without);
	check_opened(model, &ledger, true, expected);
	model = begin();
	put(model, "/bin/a", 80, 12);
	put_unit(model, "/opt/a", "b.service", 4);
	snprintf(expected, sizeof(expected), "%s16", without);
	check_opened(model, &ledger, true, expected);
	assert_int_equal(ledger.count, 1);
	ledger_free(&ledger);
}

/* No label is cut off, which would end a line in the middle. */
static void the_longest_names_fit(void **state)
{
	const struct metrics_options options = {.series = METRICS_SERIES,
						.unit_label = true};
	struct ledger ledger = {0};
	struct model *model = begin();
	char exe[300] = "/", unit[128] = "", *text;

	memset(exe + 1, '\xff', 255);
	memset(unit, '\xff', sizeof(unit) - 1);
	put_unit(model, exe, unit, 3);
	text = text_with(model, &ledger, &options, METRICS_TEXT);
	assert_non_null(strstr(text, "\\\\xff\",unit=\"\\\\xff"));
	assert_non_null(strstr(text, "\\\\xff\",to=\"10.0.0.7:80\","
				     "ending=\"local_fin\"} 3\n"));
	free(text);
	ledger_free(&ledger);
}

static void an_application_too_many_is_counted(void **state)
{
	struct ledger ledger = {0};
	struct model *model = begin();
	char name[32];

	for (unsigned i = 0; i < LEDGER_APPS + 3; i++) {
		snprintf(name, sizeof(name), "/bin/a%u", i);
		put(model, name, 80, 1);
	}
	update(&ledger, model, 1, NOW);
	assert_int_equal(ledger.count, LEDGER_APPS);
	assert_int_equal(ledger.dropped, 3);
	ledger_free(&ledger);
}

static void a_scraper_gets_what_it_asks_for(void **state)
{
	static const struct {
		const char *accept;
		enum metrics_format format;
	} cases[] = {
	    {NULL, METRICS_TEXT},
	    {"", METRICS_TEXT},
	    {"*/*", METRICS_TEXT},
	    {"text/html", METRICS_TEXT},
	    {"application/openmetrics-text", METRICS_OPENMETRICS},
	    {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
	     "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
	     METRICS_OPENMETRICS},
	    {"text/plain, application/openmetrics-text;q=0.5", METRICS_TEXT},
	    {"application/openmetrics-text;q=0", METRICS_TEXT},
	    {",,,;;q=", METRICS_TEXT},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(metrics_negotiate(cases[i].accept), cases[i].format);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_verdict_that_changes_takes_nothing_back),
	    cmocka_unit_test(what_vanishes_is_not_counted_again_and_growth_goes_on),
	    cmocka_unit_test(the_busiest_have_series_and_keep_them),
	    cmocka_unit_test(fewer_wanted_are_fewer_at_once_and_nothing_is_counted_twice),
	    cmocka_unit_test(an_idle_destination_gives_way_and_sums_stay_whole),
	    cmocka_unit_test(the_idle_do_not_take_turns),
	    cmocka_unit_test(two_executables_of_one_name_are_one_application),
	    cmocka_unit_test(a_file_brings_it_all_back),
	    cmocka_unit_test(a_file_of_two_applications_takes_twenty_more),
	    cmocka_unit_test(what_the_file_says_of_the_future_is_not_believed),
	    cmocka_unit_test(names_and_labels_are_as_they_should_be),
	    cmocka_unit_test(open_metrics_names_families_without_total),
	    cmocka_unit_test(pairs_beyond_their_number_are_counted_as_dropped),
	    cmocka_unit_test(a_cap_holds_and_says_what_it_cost),
	    cmocka_unit_test(a_cap_never_cuts_a_histogram),
	    cmocka_unit_test(a_unit_is_a_label_and_no_key),
	    cmocka_unit_test(the_longest_names_fit),
	    cmocka_unit_test(an_application_too_many_is_counted),
	    cmocka_unit_test(a_scraper_gets_what_it_asks_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
