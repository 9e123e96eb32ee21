/* SPDX-License-Identifier: MIT
 *
 * `twshim doctor` as JSON: schema twshim.doctor/1.
 */
#include <errno.h>
#include <time.h>

#include "tools/advice/doctor.h"
#include "tools/report/sightings.h"

#include "tools/base/json.h"
static const char *const facts[HOST_FACTS] = {
#define HOST(name, file, form, key, help) #name,
#include "tools/kernel/host.def"
};

/* The steps of its cure. */
static json_t *steps_array(const struct doctor *doctor,
			   const struct advice_finding *finding)
{
	static const char *const kinds[] = {[STEP_NOTE] = "note",
					    [STEP_COMMAND] = "command",
					    [STEP_CRONTAB] = "crontab",
					    [STEP_CHANGE] = "change"};
	struct advice_step steps[ADVICE_STEPS];
	size_t count = doctor_steps(doctor, finding, steps);
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(
		    array, json_pack("{s:s, s:o, s:o}", "kind", kinds[steps[i].kind],
				     "text", print_json_text(steps[i].text), "type",
				     print_json_text_or_null(steps[i].typed)));
	return array;
}

static json_t *finding_object(const struct doctor *doctor,
			      const struct advice_finding *finding)
{
	char evidence[3 * ADVICE_TEXT_SIZE], advice[3 * ADVICE_TEXT_SIZE];
	char headline[3 * ADVICE_HEADLINE_SIZE];

	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:s, s:s, s:o, s:s, s:s}", "id",
			 finding->id, "verdict", advice_verdict_name(finding->verdict),
			 "title", finding->title, "headline",
			 print_utf8(headline, sizeof(headline), finding->headline), "app",
			 print_json_text_or_null(finding->app), "to",
			 print_json_text_or_null(finding->to), "evidence",
			 print_utf8(evidence, sizeof(evidence), finding->evidence),
			 "advice", print_utf8(advice, sizeof(advice), finding->advice),
			 "cure", steps_array(doctor, finding), "certainty",
			 advice_certainty_name(finding->certainty), "period",
			 advice_period_name(finding->period));
}

static json_t *findings(const struct doctor *doctor)
{
	json_t *array = json_array();
	const struct advice_finding *finding;

	for (size_t i = 0; array && i < doctor->advice.count; i++) {
		finding = &doctor->advice.findings[i];
		if (!doctor_shows(doctor, finding) ||
		    json_array_append_new(array, finding_object(doctor, finding)) == 0)
			continue;
		json_decref(array);
		array = NULL;
	}
	return array;
}

static json_t *host(const struct host *host)
{
	json_t *object = json_object();

	for (unsigned i = 0; object && i < HOST_FACTS; i++) {
		if (json_object_set_new(object, facts[i],
					host_knows(host, i)
					    ? json_integer((json_int_t)host_get(host, i))
					    : json_null()) == 0)
			continue;
		json_decref(object);
		object = NULL;
	}
	return object;
}

/* Who can see the subject; null where there is nothing to see. */
static json_t *ways(const struct doctor *doctor)
{
	json_t *object = doctor_has_ways(doctor) ? json_object() : json_null();

	for (unsigned i = 0; json_is_object(object) && i < TWS_OBSERVERS; i++)
		json_object_set_new(object, segment_observed_by(i),
				    json_pack("{s:b, s:o}", "sees", doctor->ways[i].sees,
					      "how",
					      print_json_text(doctor->ways[i].how)));
	return object;
}

static json_t *reach(const struct doctor *doctor)
{
	if (!doctor->request.subject)
		return json_null();
	return json_pack("{s:b, s:s, s:s, s:o, s:o}", "reached",
			 reach_is_reached(doctor->reach.verdict), "seen_by",
			 segment_observed_by(reach_is_reached(doctor->reach.verdict)
						 ? TWS_OBSERVER_SHIM
						 : TWS_OBSERVER_BPF),
			 "verdict", reach_name(doctor->reach.verdict), "path",
			 print_json_text_or_null(doctor->reach.path), "ways",
			 ways(doctor));
}

int doctor_print_json(FILE *out, const struct doctor *doctor)
{
	size_t flags = JSON_REAL_PRECISION(10) |
		       (doctor->request.watch ? JSON_COMPACT : JSON_INDENT(1));
	char now[PRINT_TIME_SIZE], verdict[ADVICE_HEADLINE_SIZE];
	json_t *object = json_pack(
	    "{s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:I, s:I, s:o}", "schema",
	    "twshim.doctor/1", "generated", print_time(now, time(NULL)), "verdict",
	    print_json_text(doctor_verdict(doctor, verdict, sizeof(verdict))), "worst",
	    advice_verdict_name(doctor_worst(doctor)), "findings", findings(doctor),
	    "reach", reach(doctor), "host", host(&doctor->host), "time_wait",
	    (json_int_t)doctor->model->kernel.time_wait, "other_network_namespace",
	    (json_int_t)doctor->model->other_namespace, "error",
	    print_json_text_or_null(doctor->model->table_error));

	if (object && doctor->request.seen &&
	    json_object_set_new(object, "seen",
				sightings_json(doctor->request.seen, &doctor->owners)) !=
		0) {
		json_decref(object);
		return -ENOMEM;
	}
	return print_json(out, object, flags);
}
