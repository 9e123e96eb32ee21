/* SPDX-License-Identifier: MIT
 *
 * The report as JSON: one object, schema twshim.report/1. A new row in counters.def
 * appears here without a change.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/utsname.h>

#include "tools/advice/advice.h"
#include "tools/base/json.h"
#include "tools/model/arms.h"
#include "tools/model/join.h"
#include "tools/model/model.h"
#include "tools/model/name_fields.h"
#include "tools/report/report.h"
#include "tools/segments/names.h"
#include "tools/segments/trouble.h"

#define MICROSECOND 1e-6

/* Set if memory ran out: json_object_set_new() refuses NULL, and an incomplete object is
 * not printed. */
static bool failed;

static void set(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) != 0)
		failed = true;
}

static void append_item(json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) != 0)
		failed = true;
}

static json_t *histogram(enum tws_histogram_id id, const struct tws_histogram *histogram)
{
	json_t *object = json_object(), *bounds = json_array(), *counts = json_array();

	for (unsigned i = 0; i < TWS_BUCKETS; i++) {
		if (i + 1 < TWS_BUCKETS)
			append_item(bounds, json_real((double)tws_histogram_bound(id, i) *
						      MICROSECOND));
		append_item(counts, json_count(histogram->count[i]));
	}
	set(object, "le", bounds);
	set(object, "count", counts);
	set(object, "sum", json_real((double)histogram->sum * MICROSECOND));
	return object;
}

/* Histograms are of processes' whole lives: those of a period that leaves something out
 * are not known. */
static bool whole_lives;

static json_t *counters(const struct tws_counters *counters)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < TWS_COUNTERS; i++)
		set(object, counter_texts[i].name, json_count(counters->value[i]));
	for (unsigned i = 0; i < TWS_HISTOGRAMS; i++)
		set(object, histogram_names[i],
		    whole_lives
			? histogram((enum tws_histogram_id)i, &counters->histogram[i])
			: json_null());
	return object;
}

/* The sums that the text, the page and `top` show under the same names. */
static json_t *summary(const struct tws_counters *counters)
{
	json_t *object = json_object();

	set(object, "closed_first", json_count(join_closed_first(counters)));
	set(object, "by_policy", json_count(join_by_policy(counters)));
	set(object, "peer_closed", json_count(counters->value[TWS_ended_remote_fin]));
	set(object, "reset", json_count(join_resets(counters)));
	set(object, "failed", json_count(join_failed(counters)));
	return object;
}

static json_t *seconds(uint32_t milliseconds)
{
	return milliseconds ? json_real(milliseconds / 1e3) : json_null();
}

/* Without a kernel table, `confirmed` is unknown, which is not 0. */
static json_t *time_wait(const struct model *model,
			 const struct model_time_wait *time_wait)
{
	json_t *object = json_object();

	set(object, "predicted", json_count(time_wait->predicted));
	set(object, "confirmed",
	    model->has_table ? json_count(time_wait->confirmed) : json_null());
	set(object, "pending", json_count(time_wait->pending));
	set(object, "gone_early", json_count(time_wait->gone_early));
	set(object, "oldest_leaves_s", seconds(time_wait->oldest_leaves_ms));
	set(object, "newest_leaves_s", seconds(time_wait->newest_leaves_ms));
	return object;
}

/* How many TIME_WAIT sockets of an application leave in the first second from now, in the
 * next one, and so on. */
static json_t *leaving(const struct model *model, uint32_t app)
{
	const uint32_t last = MODEL_TIME_WAIT_NS / 1000000000 - 1;
	uint64_t counts[MODEL_TIME_WAIT_NS / 1000000000] = {0};
	json_t *array = json_array();
	uint32_t second;

	for (size_t i = 0; i < model->table.count; i++) {
		if (model->owners[i].app != app ||
		    model->table.sockets[i].state != TCP_TIME_WAIT)
			continue;
		second = model->table.sockets[i].expires_ms / 1000;
		counts[second < last ? second : last]++;
	}
	for (uint32_t i = 0; i <= last; i++)
		append_item(array, json_count(counts[i]));
	return array;
}

static json_t *ports(const struct model_ports *ports)
{
	json_t *object = json_object();

	set(object, "used", json_count(ports->used));
	set(object, "range", json_count(ports->range));
	set(object, "fill",
	    ports->range ? json_real((double)ports->used / ports->range) : json_null());
	return object;
}

static json_t *destination(const struct model *model,
			   const struct model_destination *destination)
{
	json_t *object = json_object();
	char to[PRINT_ADDRESS_SIZE];

	set(object, "to", json_string(print_address(to, &destination->address)));
	set(object, "counters", counters(&destination->counters));
	set(object, "summary", summary(&destination->counters));
	set(object, "peak_open", json_count(destination->counters.value[TWS_peak_open]));
	set(object, "time_wait", time_wait(model, &destination->time_wait));
	set(object, "ports", ports(&destination->ports));
	return object;
}

static bool is_unused(const struct model_destination *destination)
{
	static const struct tws_counters none;

	return !destination->address.family &&
	       memcmp(&destination->counters, &none, sizeof(none)) == 0;
}

/* How many of the processes each observer saw. */
static json_t *observed_by(const struct model_app *app)
{
	json_t *object = json_object();

	for (uint32_t i = 0; i < TWS_OBSERVERS; i++)
		set(object, segment_observed_by(i), json_count(app->observed[i]));
	return object;
}

/* From when on its counters count. */
static json_t *since(time_t when)
{
	char time[PRINT_TIME_SIZE];

	return when ? json_string(print_time(time, when)) : json_null();
}

static json_t *app(const struct model *model, const struct model_app *app, bool commands)
{
	json_t *object = json_object(), *destinations = json_array();
	const struct model_destination *one;

	if (name_fields_set(object, model, app, NULL, commands) != 0)
		failed = true;
	set(object, "since", since((time_t)(app->since_realtime_ns / 1000000000u)));
	set(object, "processes", json_count(app->processes));
	set(object, "alive", json_count(app->alive));
	set(object, "observed_by", observed_by(app));
	set(object, "bytes_counted", json_boolean(app->detail));
	set(object, "counters", counters(&app->counters));
	set(object, "summary", summary(&app->counters));
	set(object, "time_wait", time_wait(model, &app->time_wait));
	set(object, "time_wait_leaving",
	    model->has_table ? leaving(model, (uint32_t)(app - model->apps))
			     : json_null());
	for (uint32_t i = 0; i < app->destination_count; i++) {
		one = &app->destinations[app->order[i]];
		if (!is_unused(one))
			append_item(destinations, destination(model, one));
	}
	set(object, "destinations", destinations);
	return object;
}

static json_t *apps(const struct model *model, bool commands)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < model->order_count; i++)
		append_item(array, app(model, &model->apps[model->order[i]], commands));
	return array;
}

static json_t *run(const struct report_run *run)
{
	json_t *object = json_object();

	if (!run) {
		json_decref(object);
		return json_null();
	}
	set(object, "command", print_json_text(run->command));
	set(object, "exit_status", json_integer(run->exit_status));
	set(object, "elapsed_seconds", json_real(run->elapsed_seconds));
	return object;
}

static json_t *kernel(const struct model *model)
{
	json_t *object = json_object();
	bool known = model->has_table;

	set(object, "time_wait",
	    known ? json_count(model->kernel.time_wait) : json_null());
	set(object, "owned", known ? json_count(model->kernel.owned) : json_null());
	set(object, "incoming", known ? json_count(model->kernel.incoming) : json_null());
	set(object, "unowned", known ? json_count(model->kernel.unowned) : json_null());
	set(object, "error", known ? json_null() : print_json_text(model->table_error));
	/* Read only if sockets ended early; otherwise null, which is not 0. */
	known = model->buckets || model->overflowed;
	set(object, "max_tw_buckets", known ? json_count(model->buckets) : json_null());
	set(object, "tw_overflow", known ? json_count(model->overflowed) : json_null());
	return object;
}

/* What each rule promised, and what came of it. */
static json_t *rules(const struct model *model)
{
	json_t *array = json_array(), *object;

	for (uint32_t i = 0; i < model->rule_count; i++) {
		object = json_object();
		set(object, "rule", print_json_text(model->rules[i].name));
		set(object, "matched", json_count(model->rules[i].matched));
		set(object, "helped", json_count(model->rules[i].applied));
		set(object, "failed", json_count(model->rules[i].failed));
		set(object, "open", json_count(model->rules[i].open));
		set(object, "needless", json_count(model->rules[i].needless));
		set(object, "killed", json_count(model->rules[i].killed));
		set(object, "time_wait",
		    model->has_table ? json_count(model->rules[i].time_wait)
				     : json_null());
		append_item(array, object);
	}
	return array;
}

static json_t *arms(const struct model *model, const struct report_run *run)
{
	double elapsed = run ? run->elapsed_seconds : 0;
	json_t *array = json_array(), *object;

	for (uint32_t i = 0; i < model->arm_count; i++) {
		object = json_object();
		set(object, "experiment", print_json_text(model->arms[i].experiment));
		set(object, "arm", print_json_text(model->arms[i].name));
		set(object, "weight", json_count(model->arms[i].weight));
		set(object, "time_wait_confirmed", json_count(model->arms[i].time_wait));
		set(object, "counters", counters(&model->arms[i].counters));
		set(object, "against_first", arms_json(model, i, elapsed));
		append_item(array, object);
	}
	return array;
}

static json_t *finding(const struct advice_finding *finding)
{
	char text[2 * ADVICE_TEXT_SIZE + 8];
	json_t *object = json_object();

	snprintf(text, sizeof(text), "%s: %s.", finding->evidence, finding->advice);
	set(object, "id", json_string(finding->id));
	set(object, "verdict", json_string(advice_verdict_name(finding->verdict)));
	set(object, "app", print_json_text(finding->app));
	set(object, "to", *finding->to ? json_string(finding->to) : json_null());
	set(object, "text", print_json_text(text));
	set(object, "title", json_string(finding->title));
	set(object, "headline", print_json_text(finding->headline));
	set(object, "evidence", print_json_text(finding->evidence));
	set(object, "advice", print_json_text(finding->advice));
	set(object, "period", json_string(advice_period_name(finding->period)));
	return object;
}

static void set_advice(json_t *object, const struct model *model)
{
	json_t *array = json_array();
	char verdict[ADVICE_HEADLINE_SIZE];
	struct advice advice;

	if (advice_of_model(&advice, model) != 0)
		failed = true;
	for (size_t i = 0; i < advice.count; i++)
		append_item(array, finding(&advice.findings[i]));
	set(object, "advice", array);
	set(object, "verdict",
	    print_json_text(advice_say_verdict(verdict, sizeof(verdict), &advice, model,
					       NULL, NULL)));
	advice_free(&advice);
}

static json_t *skipped(const struct model *model)
{
	json_t *array = json_array(), *object;

	for (size_t i = 0; i < model->skipped_count && i < READER_SKIPPED_MAX; i++) {
		object = json_object();
		set(object, "file", print_json_text(model->skipped[i].name));
		set(object, "reason", json_string(model->skipped[i].reason));
		append_item(array, object);
	}
	return array;
}

/* What the numbers do not contain, as far as that is known. */
/* What keeps programs of other users from publishing. */
static json_t *places(const struct report_options *options)
{
	struct place_trouble troubles[PLACE_TROUBLES];
	size_t count = options->dir ? 0 : place_troubles(troubles, PLACE_TROUBLES);
	json_t *array = json_array(), *object;

	for (size_t i = 0; i < count && i < PLACE_TROUBLES; i++) {
		object = json_object();
		set(object, "place", print_json_text(troubles[i].place));
		set(object, "trouble", print_json_text(troubles[i].what));
		set(object, "cure", print_json_text(troubles[i].cure));
		append_item(array, object);
	}
	return array;
}

static json_t *unseen(const struct model *model, const struct report_options *options)
{
	const uint64_t *value = model->total.value;
	uint64_t established = value[TWS_established];
	json_t *object = json_object();

	set(object, "ended_unseen", json_count(value[TWS_ended_unseen]));
	set(object, "share",
	    json_real(established ? (double)value[TWS_ended_unseen] / (double)established
				  : 0));
	set(object, "unobserved", json_count(value[TWS_unobserved]));
	set(object, "stood_aside", json_count(value[TWS_stood_aside]));
	set(object, "deepbind_loads", json_count(value[TWS_deepbind_loads]));
	set(object, "other_network_namespace", json_count(model->other_namespace));
	set(object, "announcements_lost", json_count(model->listener_lost));
	set(object, "disputed_sockets", json_count(model->disputed));
	set(object, "files_skipped", json_count(model->skipped_count));
	set(object, "skipped", skipped(model));
	set(object, "places", places(options));
	return object;
}

static json_t *host(void)
{
	struct utsname name;

	return uname(&name) == 0 ? print_json_text(name.nodename) : json_null();
}

/* Whether the bytes in `total` cover all connections. */
static bool bytes_counted(const struct model *model)
{
	bool ret = model->order_count > 0;

	for (uint32_t i = 0; i < model->order_count; i++)
		ret = ret && model->apps[model->order[i]].detail;
	return ret;
}

int report_print_json(FILE *out, const struct model *model,
		      const struct report_options *options)
{
	json_t *object = json_object();
	char now[PRINT_TIME_SIZE];
	int result;

	failed = false;
	whole_lives = !model->window.older;
	set(object, "schema", json_string("twshim.report/1"));
	set(object, "generated", json_string(print_time(now, model->generated)));
	set(object, "since", since(report_since(model, options->run)));
	set(object, "until", json_string(now));
	set(object, "older_left_out", json_count(model->window.older));
	set(object, "perhaps_older", json_count(model->window.doubtful));
	set(object, "host", host());
	set(object, "run", run(options->run));
	set(object, "total", counters(&model->total));
	set(object, "summary", summary(&model->total));
	set(object, "bytes_counted", json_boolean(bytes_counted(model)));
	set(object, "time_wait", time_wait(model, &model->time_wait));
	set(object, "apps", apps(model, options->commands));
	set(object, "kernel", kernel(model));
	set(object, "rules", rules(model));
	set(object, "processes", report_processes_json(model));
	whole_lives = true;
	set(object, "arms", arms(model, options->run));
	set_advice(object, model);
	set(object, "unseen", unseen(model, options));
	if (failed) {
		json_decref(object);
		return -ENOMEM;
	}
	result = print_json(out, object, JSON_INDENT(1) | JSON_REAL_PRECISION(10));
	return result == 0 && ferror(out) ? -errno : result;
}
