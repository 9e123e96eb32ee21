/* SPDX-License-Identifier: MIT
 *
 * A run-time directory of another user: segments and totals with any content, read,
 * joined and printed in every format, and dumped. The output must be whole: valid JSON,
 * text and metrics without control characters, counters whose identities hold.
 */
#include <netinet/tcp.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tools/model/join.h"
#include "tools/metrics/metrics.h"
#include "tools/report/report.h"
#include "tools/segments/dump.h"

#define SOCKETS	  64
#define NAMESPACE 1
#define NOW_NS	  (100 * 1000000000ULL)

/* Sockets whose cookies are 1 to SOCKETS, in all states. */
static void use_table(struct model *model)
{
	struct kernel_table table = {0};
	struct kernel_socket socket = {
	    .local = {.bytes = {10, 0, 0, 1}, .family = TWS_IPV4},
	    .remote = {.bytes = {10, 0, 0, 2}, .port = 80, .family = TWS_IPV4},
	};

	for (unsigned i = 1; i <= SOCKETS; i++) {
		socket.cookie = i;
		socket.local.port = (uint16_t)(40000 + i);
		socket.state = (uint8_t)(i % 3 ? TCP_TIME_WAIT : i / 3 % TCP_CLOSING + 1);
		socket.expires_ms = i * 900;
		socket.inode = socket.state == TCP_TIME_WAIT ? 0 : i;
		FUZZ_CHECK(kernel_table_add(&table, &socket) == 0);
	}
	FUZZ_CHECK(model_use_table(model, &table, NOW_NS, NAMESPACE) == 0);
	kernel_ports_set(&model->ports, 40000, 50000, "");
}

static void check_identities(const struct tws_counters *counters)
{
	FUZZ_CHECK(join_open(counters) == (int64_t)counters->value[TWS_open]);
	FUZZ_CHECK(join_connecting(counters) == (int64_t)counters->value[TWS_connecting]);
}

static void check_model(const struct model *model)
{
	check_identities(&model->total);
	for (uint32_t i = 0; i < model->app_count; i++) {
		check_identities(&model->apps[i].counters);
		for (uint32_t j = 0; j < model->apps[i].destination_count; j++)
			check_identities(&model->apps[i].destinations[j].counters);
	}
	FUZZ_CHECK(model->kernel.owned + model->kernel.unowned ==
		   model->kernel.time_wait);
}

enum format { TEXT, JSON, OWNERS, METRICS, OPENMETRICS, FORMATS };

static int print_as(FILE *out, const struct model *model, enum format format)
{
	const struct report_options options = {.color = PRINT_COLOR_NEVER};
	const struct metrics_options exported = {.series = METRICS_SERIES,
						 .unit_label = true};
	struct ledger ledger = {0};
	struct owners owners = {0};
	struct traffic traffic = {0};
	struct metrics *metrics = NULL;
	int result;

	if (format == TEXT)
		return report_print_text(out, model, &options);
	if (format == JSON)
		return report_print_json(out, model, &options);
	result = owners_group(&owners, model);
	if (result == 0 && format == OWNERS)
		result = owners_print_json(out, &owners, true, NULL);
	if (result == 0 && format != OWNERS) {
		FUZZ_CHECK(traffic_study(&traffic, model, &owners) == 0);
		FUZZ_CHECK(ledger_update(&ledger, model, METRICS_TOP, 1000) == 0);
		FUZZ_CHECK(metrics_make(&metrics, model, &traffic, &ledger, &exported,
					0.1) == 0);
		metrics_write(out, metrics,
			      format == METRICS ? METRICS_TEXT : METRICS_OPENMETRICS);
	}
	metrics_free(metrics);
	ledger_free(&ledger);
	traffic_free(&traffic);
	owners_free(&owners);
	return result;
}

static void check_output(const struct model *model, enum format format)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	FUZZ_CHECK(out && print_as(out, model, format) == 0 && fclose(out) == 0);
	if (format == JSON || format == OWNERS)
		fuzz_check_json(text, size);
	else
		fuzz_check_text(text, size);
	free(text);
}

/* Of the input as it is: a dump does not ask whose file it is. */
static void check_dump(const uint8_t *data, size_t size)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	FUZZ_CHECK(out);
	segment_dump(out, "fuzz.seg", data, size);
	FUZZ_CHECK(fclose(out) == 0);
	fuzz_check_json(text, length);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct model_options options = {.dir = fuzz_path};
	int directory = fuzz_directory();
	struct model *model = model_new(&options);
	struct reader reader;

	check_dump(data, size);
	fuzz_write_segments(directory, data, size);
	FUZZ_CHECK(model && reader_init(&reader) == 0);
	use_table(model);
	FUZZ_CHECK(reader_read(&reader, fuzz_path, false, model_take, model) == 0);
	FUZZ_CHECK(model_finish(model) == 0);
	check_model(model);
	for (unsigned format = 0; format < FORMATS; format++)
		check_output(model, (enum format)format);
	model_free(model);
	reader_free(&reader);
	fuzz_clear(directory);
	return 0;
}
