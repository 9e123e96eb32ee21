/* SPDX-License-Identifier: MIT
 *
 * A metrics.state with any content. The ledger read from it must accept the current
 * counts and print as metrics, and must be the same after it is saved and read again.
 */
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/saved_segment.h"
#include "tools/metrics/metrics.h"

/* Two applications, one with two destinations, read once from a directory. */
static struct model *known(void)
{
	static const struct model_options options = {0};
	static struct model *model;
	struct saved saved;
	struct reader reader;
	uint64_t *values;
	int directory;

	if (model)
		return model;
	directory = fuzz_directory();
	model = model_new(&options);
	FUZZ_CHECK(model && reader_init(&reader) == 0);
	saved_init(&saved, "/usr/bin/curl", &reader);
	values = saved_destination(&saved, saved_ipv4(2, 80));
	values[TWS_attempts] = values[TWS_established] = values[TWS_ended_local_fin] = 9;
	values = saved_destination(&saved, saved_ipv4(3, 443));
	values[TWS_attempts] = values[TWS_failed_refused] = UINT64_MAX / 2;
	fuzz_write(directory, "1-4242-1-0.seg", &saved, sizeof(saved));
	saved_init(&saved, "/usr/bin/a\x1b[31m", &reader);
	saved_destination(&saved, saved_ipv4(2, 80))[TWS_attempts] = 1;
	fuzz_write(directory, "1-4243-1-0.seg", &saved, sizeof(saved));
	FUZZ_CHECK(reader_read(&reader, fuzz_path, true, model_take, model) == 0);
	FUZZ_CHECK(model_finish(model) == 0 && model->app_count == 2);
	reader_free(&reader);
	fuzz_clear(directory);
	return model;
}

static void show(struct ledger *ledger, const struct model *model)
{
	const struct metrics_options options = {.series = 300, .unit_label = true};
	struct metrics *metrics;
	char *text = NULL;
	size_t size = 0;
	FILE *out;

	FUZZ_CHECK(metrics_make(&metrics, model, NULL, ledger, &options, 1) == 0);
	for (int format = METRICS_TEXT; format <= METRICS_OPENMETRICS; format++) {
		out = open_memstream(&text, &size);
		FUZZ_CHECK(out);
		metrics_write(out, metrics, (enum metrics_format)format);
		fclose(out);
		fuzz_check_text(text, size);
		free(text);
	}
	metrics_free(metrics);
}

/* Shown values never decrease. */
static void check_same(const struct ledger *ledger, int directory)
{
	struct ledger again;

	FUZZ_CHECK(ledger_save(ledger, directory) == 0);
	FUZZ_CHECK(ledger_load(&again, directory) == 0);
	FUZZ_CHECK(again.count == ledger->count && again.dropped == ledger->dropped);
	for (unsigned i = 0; i < again.count; i++) {
		const struct ledger_app *x = ledger->apps[i], *y = again.apps[i];

		FUZZ_CHECK(strcmp(x->name, y->name) == 0 && x->count == y->count);
		FUZZ_CHECK(memcmp(x->lines, y->lines, sizeof(x->lines)) == 0);
		FUZZ_CHECK(memcmp(x->histograms, y->histograms, sizeof(x->histograms)) ==
			   0);
		FUZZ_CHECK(memcmp(x->other, y->other, sizeof(x->other)) == 0);
	}
	ledger_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct model *model = known();
	int directory = fuzz_directory();
	struct ledger ledger;

	fuzz_write(directory, LEDGER_FILE, data, size);
	FUZZ_CHECK(ledger_load(&ledger, directory) == 0);
	for (unsigned top = 2; top > 0; top--) {
		FUZZ_CHECK(ledger_update(&ledger, model, top, time(NULL)) == 0);
		show(&ledger, model);
	}
	FUZZ_CHECK(ledger.count >= 2);
	check_same(&ledger, directory);
	ledger_free(&ledger);
	fuzz_clear(directory);
	return 0;
}
