/* SPDX-License-Identifier: MIT
 *
 * The table of resources, and how each is made.
 */
#include <errno.h>
#include <string.h>
#include <netinet/tcp.h>

#include "tools/base/cli.h"
#include "tools/advice/doctor.h"
#include "tools/model/listeners.h"
#include "tools/metrics/ledger.h"
#include "tools/model/owners.h"
#include "tools/policy/since.h"
#include "tools/report/report.h"
#include "tools/web/web.h"
#include "tools/report/page_files.h"

static int make_report(FILE *out, const struct web_options *options, char *ret_error,
		       size_t size)
{
	struct report_options wanted = {
	    .dir = options->metrics.dir, .json = true, .cache = options->metrics.cache};
	int result =
	    since_find(options->since, wanted.dir, &wanted.since_ns, ret_error, size);

	return result == 0 ? report_print(out, &wanted, ret_error, size) : result;
}

static int make_owners(FILE *out, const struct web_options *options, char *ret_error,
		       size_t size)
{
	const struct model_options wanted = {
	    .dir = options->metrics.dir,
	    .states = KERNEL_STATE(TCP_TIME_WAIT) | KERNEL_STATE(TCP_LISTEN),
	    .cache = options->metrics.cache,
	};
	struct model *model = NULL;
	struct owners owners = {0};
	int result = model_build(&model, &wanted, ret_error, size);

	if (result != 0)
		return result;
	if (!model->has_table) {
		snprintf(ret_error, size, "%s", model->table_error);
		result = -EACCES;
	} else {
		result = owners_group(&owners, model);
		if (result == 0)
			result = listeners_name(&owners);
		if (result == 0)
			result = owners_print_json(out, &owners, false, NULL);
		owners_free(&owners);
	}
	model_free(model);
	return result;
}

static int make_doctor(FILE *out, const struct web_options *options, char *ret_error,
		       size_t size)
{
	const struct doctor_request request = {
	    .dir = options->metrics.dir, .json = true, .cache = options->metrics.cache};
	struct doctor doctor;
	int result = doctor_examine(&doctor, &request, ret_error, size);

	if (result == 0)
		result = doctor_print_json(out, &doctor);
	doctor_free(&doctor);
	return result;
}

/* Reports a failure once when it begins, not at each scrape. */
static void tell_unsaved(int saved)
{
	static int before;

	if (saved < 0 && saved != before)
		cli_fail(0,
			 "serve: %s in the run-time directory: %s: counters may go back "
			 "when serve restarts",
			 ledger_file_name(), strerror(-saved));
	before = saved;
}

static int make_metrics(FILE *out, const struct web_options *options,
			enum metrics_format format, char *ret_error, size_t size)
{
	struct metrics *metrics = NULL;
	int result = metrics_collect(&metrics, &options->metrics, ret_error, size);

	if (result == 0) {
		tell_unsaved(metrics_saved(metrics));
		metrics_write(out, metrics, format);
	}
	metrics_free(metrics);
	return result;
}

static int make_text(FILE *out, const struct web_options *options, char *ret_error,
		     size_t size)
{
	return make_metrics(out, options, METRICS_TEXT, ret_error, size);
}

static int make_open(FILE *out, const struct web_options *options, char *ret_error,
		     size_t size)
{
	return make_metrics(out, options, METRICS_OPENMETRICS, ret_error, size);
}

static const char healthy[] = "ok\n";

#define JSON	     "application/json"
#define STATIC(name) web_##name, web_##name##_end, NULL
#define MADE(make)   NULL, NULL, make

const struct web_resource web_resources[] = {
    {"/", "text/html; charset=utf-8", STATIC(html)},
    {"/page.css", "text/css; charset=utf-8", STATIC(css)},
    {"/page.js", "text/javascript; charset=utf-8", STATIC(js)},
    {"/lists.js", "text/javascript; charset=utf-8", STATIC(lists)},
    {"/charts.js", "text/javascript; charset=utf-8", STATIC(charts)},
    {"/chart.js", "text/javascript; charset=utf-8", STATIC(chart)},
    {"/metrics", METRICS_TEXT_TYPE, MADE(make_text)},
    {"/metrics", METRICS_OPENMETRICS_TYPE, MADE(make_open)},
    {"/api/report", JSON, MADE(make_report)},
    {"/api/owners", JSON, MADE(make_owners)},
    {"/api/doctor", JSON, MADE(make_doctor)},
    {"/healthz", "text/plain; charset=utf-8", healthy, healthy + sizeof(healthy) - 1,
     NULL},
};

const size_t web_resource_count = sizeof(web_resources) / sizeof(*web_resources);

const struct web_resource *web_find(const char *path, const char *accept)
{
	for (size_t i = 0; i < web_resource_count; i++)
		if (strcmp(web_resources[i].path, path) == 0) {
			if (web_resources[i].make == make_text &&
			    metrics_negotiate(accept) == METRICS_OPENMETRICS)
				i++;
			return &web_resources[i];
		}
	return NULL;
}
