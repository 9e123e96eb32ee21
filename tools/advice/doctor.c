/* SPDX-License-Identifier: MIT
 *
 * Gathers, in this order: the network namespace of the subject, how many connections the
 * shims see, the host's numbers, the segments and the kernel's table, and which process
 * holds what. Then the rules judge.
 */
#include "tools/advice/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/segments/reader.h"
#include "tools/segments/rundir.h"
#include "tools/segments/trouble.h"

#define CLOSE_WAIT_LEAST 20
#define UNOWNED_LEAST	 20
#define COVERAGE_NS	 1000000000L

/* ------------------------------------------------------------------ coverage */

struct counting {
	uint64_t net_namespace;
	uint64_t seen;
};

static uint64_t sent_syns(const struct tws_counters *counters)
{
	const uint64_t *value = counters->value;
	uint64_t unsent = value[TWS_failed_no_port] + value[TWS_failed_address_in_use] +
			  value[TWS_failed_unreachable];

	return value[TWS_attempts] > unsent ? value[TWS_attempts] - unsent : 0;
}

static int count_segment(struct segment *segment, void *data)
{
	struct counting *counting = data;

	if (segment->header.net_namespace != counting->net_namespace)
		return 0;
	for (uint32_t i = 0; i < segment->used[TWS_SECTION_DESTINATIONS]; i++)
		counting->seen += sent_syns(&segment->destinations[i].counters);
	return 0;
}

int doctor_count_seen(const char *dir, uint64_t *ret_seen)
{
	struct counting counting = {.net_namespace = kernel_namespace("net")};
	char found[PATH_MAX];
	struct reader reader;
	int result = dir ? 0 : tws_rundir_find(found, sizeof(found));

	if (result != 0)
		return result;
	result = reader_init(&reader);
	if (result == 0 && dir)
		result = reader_read(&reader, dir, false, count_segment, &counting);
	else if (result == 0)
		result = reader_read_everywhere(&reader, found, count_segment, &counting);
	reader_free(&reader);
	*ret_seen = counting.seen;
	return result == -ENOENT ? 0 : result;
}

static uint64_t growth(uint64_t after, uint64_t before)
{
	return after > before ? after - before : 0;
}

/* Measures over one second or, if no connection was opened in it, since the namespace was
 * made. Returns false if that is not possible. */
static bool measure_coverage(const char *dir, struct advice_coverage *ret_coverage)
{
	const struct timespec second = {.tv_sec = COVERAGE_NS / 1000000000L};
	struct host before, after;
	uint64_t seen_before, seen_after;
	double began = tws_now_s();

	host_read(&before, NULL);
	if (!host_knows(&before, HOST_active_opens) ||
	    doctor_count_seen(dir, &seen_before) != 0)
		return false;
	nanosleep(&second, NULL);
	host_read(&after, NULL);
	if (doctor_count_seen(dir, &seen_after) != 0)
		return false;
	*ret_coverage = (struct advice_coverage){
	    .opened = growth(host_get(&after, HOST_active_opens),
			     host_get(&before, HOST_active_opens)),
	    .seen = growth(seen_after, seen_before),
	    .seconds = tws_now_s() - began,
	};
	if (!ret_coverage->opened)
		*ret_coverage = (struct advice_coverage){
		    .opened = host_get(&after, HOST_active_opens),
		    .seen = seen_after,
		};
	ret_coverage->not_root = geteuid() != 0;
	return true;
}

/* ------------------------------------------------------------------- subjects */

/* /proc and sock_diag show the namespace that we are in. If we may not enter that of the
 * process, its own counters are still right. */
static void enter_namespace_of(pid_t pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	setns(fd, CLONE_NEWNET);
	close(fd);
}

/* The executable, by the name that segments use. */
static const char *app_of_subject(const struct doctor *doctor, char *buffer)
{
	if (doctor->request.pid || !doctor->request.subject)
		return NULL;
	if (*doctor->reach.path && realpath(doctor->reach.path, buffer))
		return buffer;
	return doctor->request.subject;
}

/* Keeps only the subject among the holders. */
static void keep_holder(struct holders *holders, pid_t pid)
{
	size_t kept = 0;

	for (size_t i = 0; i < holders->count; i++)
		if (holders->list[i].pid == pid)
			holders->list[kept++] = holders->list[i];
	holders->count = kept;
}

/* Says what to ask instead, if the subject does not exist. */
static void suggest_subject(struct reach *reach, bool process)
{
	if (reach->verdict == REACH_NOT_FOUND && !*reach->path)
		snprintf(reach->instead, sizeof(reach->instead), "%s",
			 process ? "twshim ps lists the known processes"
				 : "give its path if it is not in PATH, or the number of "
				   "a process: twshim ps lists the known ones");
}

/* -------------------------------------------------------------------- together */

static int gather_sockets(struct doctor *doctor)
{
	const struct model *model = doctor->model;
	const struct traffic *traffic = &doctor->traffic;
	int result;

	if (!model->has_table)
		return 0;
	result = owners_group(&doctor->owners, model);
	if (result == 0)
		result = traffic_study(&doctor->traffic, model, &doctor->owners);
	if (result == 0)
		result = holders_find(
		    &doctor->holders, model, CLOSE_WAIT_LEAST,
		    traffic->unowned >= UNOWNED_LEAST ? &traffic->unowned_to : NULL,
		    NULL);
	if (result == 0 && doctor->request.subject)
		keep_holder(&doctor->holders,
			    doctor->request.pid ? doctor->request.pid : -1);
	return result;
}

/* How connect() searches for a port matters if ports run out, or if the user asks. */
static bool wants_scan(const struct doctor *doctor)
{
	const struct traffic *traffic = &doctor->traffic;
	bool asked =
	    doctor->request.only && strcasecmp(doctor->request.only, "TW216") == 0;

	return asked || doctor->request.all ||
	       (traffic->pair_count &&
		traffic->pairs[0].used * 2 >= traffic->pairs[0].range);
}

/* The run-time directory if it has no room left, otherwise NULL. */
static const char *full_directory(const char *dir, char *buffer, size_t size)
{
	if (!dir && tws_rundir_find(buffer, size) != 0)
		return NULL;
	dir = dir ? dir : buffer;
	return tws_rundir_check(dir) == -ENOSPC ? dir : NULL;
}

static void look_at_places(struct advice_places *ret_places,
			   struct place_trouble *ret_trouble)
{
	ret_places->trouble_count = place_troubles(ret_trouble, 1);
	ret_places->trouble = ret_places->trouble_count ? ret_trouble : NULL;
	ret_places->has_fleeting = place_is_fleeting(&ret_places->fleeting_user);
}

/* A supervisor lives as long as its program. */
static void look_at_ways(struct doctor *doctor)
{
	const struct model *model = doctor->model;
	bool now[TWS_OBSERVERS] = {false};

	for (uint32_t i = 0; doctor->request.pid && i < model->process_count; i++)
		if (model->processes[i].life == PROCESS_ALIVE &&
		    model->processes[i].observer == TWS_OBSERVER_SUPERVISOR)
			now[TWS_OBSERVER_SUPERVISOR] = true;
	ways_find(&doctor->reach, doctor->request.pid, now, doctor->ways);
}

static int judge_all(struct doctor *doctor, bool covered)
{
	const struct doctor_request *request = &doctor->request;
	struct place_trouble trouble;
	char directory[PATH_MAX];
	struct advice_facts facts = {
	    .client = {.app = request->subject},
	    .subject = {.reach = request->subject ? &doctor->reach : NULL,
			.full =
			    full_directory(request->dir, directory, sizeof(directory)),
			.coverage = covered ? &doctor->coverage : NULL},
	};
	int result;

	if (doctor_has_ways(doctor))
		look_at_ways(doctor);
	if (!request->dir)
		look_at_places(&facts.subject.places, &trouble);
	doctor->advice.keep_ok = true;
	result = advice_examine(&doctor->advice, ADVICE_SUBJECT, &facts);
	if (result == 0)
		result = advice_of_host(
		    &doctor->advice, doctor->model,
		    request->subject ? NULL : &doctor->host,
		    doctor->model->has_table ? &doctor->traffic : NULL, &doctor->holders);
	advice_sort(&doctor->advice);
	return result;
}

int doctor_examine(struct doctor *ret_doctor, const struct doctor_request *request,
		   char *ret_error, size_t size)
{
	struct doctor *doctor = ret_doctor;
	struct model_options options = {
	    .dir = request->dir,
	    .pid = request->pid,
	    .states = KERNEL_STATES_ALL,
	    .here_only = true,
	    .from_reset = true,
	    .cache = request->cache,
	};
	char app[PATH_MAX];
	bool covered = false;
	int result;

	*doctor = (struct doctor){.request = *request};
	if (request->pid) {
		doctor->reach = reach_pid(request->pid, NULL);
		enter_namespace_of(request->pid);
	} else if (request->subject) {
		doctor->reach = reach_command(request->subject, NULL);
	}
	suggest_subject(&doctor->reach, request->pid != 0);
	options.app = app_of_subject(doctor, app);
	if (request->coverage)
		covered = measure_coverage(request->dir, &doctor->coverage);
	host_read(&doctor->host, NULL);
	host_compare_init(&doctor->host);
	result = model_build(&doctor->model, &options, ret_error, size);
	if (result != 0)
		return result;
	result = gather_sockets(doctor);
	host_probe(&doctor->host, wants_scan(doctor));
	if (result == 0)
		result = judge_all(doctor, covered);
	if (result != 0)
		snprintf(ret_error, size, "doctor: %s", strerror(-result));
	return result;
}

void doctor_free(struct doctor *doctor)
{
	advice_free(&doctor->advice);
	holders_free(&doctor->holders);
	traffic_free(&doctor->traffic);
	owners_free(&doctor->owners);
	model_free(doctor->model);
	doctor->model = NULL;
}

bool doctor_shows(const struct doctor *doctor, const struct advice_finding *finding)
{
	const struct doctor_request *request = &doctor->request;

	if (request->only)
		return strcasecmp(request->only, finding->id) == 0;
	return request->all || finding->verdict != VERDICT_OK ||
	       (request->subject && advice_explain(finding->id)->scope == ADVICE_SUBJECT);
}

bool doctor_has_ways(const struct doctor *doctor)
{
	return doctor->request.subject && doctor->reach.verdict != REACH_NOT_FOUND &&
	       doctor->reach.verdict != REACH_NOT_PROGRAM;
}

bool doctor_knows_nothing(const struct doctor *doctor)
{
	return doctor->request.subject && doctor->reach.verdict == REACH_NOT_FOUND &&
	       !doctor->model->order_count;
}

enum advice_verdict doctor_worst(const struct doctor *doctor)
{
	enum advice_verdict worst = VERDICT_OK;

	for (size_t i = 0; i < doctor->advice.count; i++)
		if (doctor_shows(doctor, &doctor->advice.findings[i]) &&
		    doctor->advice.findings[i].verdict > worst)
			worst = doctor->advice.findings[i].verdict;
	return worst;
}

/* What was found out about the command or process that was asked about; NULL: none was.
 */
static const struct advice_finding *find_reach(const struct doctor *doctor)
{
	for (size_t i = 0; doctor->request.subject && i < doctor->advice.count; i++)
		if (strcmp(doctor->advice.findings[i].id, "TW301") == 0)
			return &doctor->advice.findings[i];
	return NULL;
}

const char *doctor_verdict(const struct doctor *doctor, char *text, size_t size)
{
	const struct advice_finding *reach = find_reach(doctor);

	if (reach && doctor_worst(doctor) < VERDICT_WARNING)
		snprintf(text, size, "%s%s", reach->headline,
			 reach->verdict == VERDICT_OK ? "; nothing is wrong with it"
						      : "");
	else
		advice_say_verdict(text, size, &doctor->advice, doctor->model,
				   &doctor->traffic, &doctor->host);
	return text;
}
