/* SPDX-License-Identifier: MIT
 *
 * How the program of a finding runs, from /proc: for the steps of its cure.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/advice/doctor.h"
#include "tools/advice/rule.h"
#include "tools/kernel/process.h"
#include "tools/launch/reach.h"
#include "tools/observe/sightings.h"
#include "tools/policy/layer.h"

/* Whether the process is in the network namespace that the doctor examines. A program of
 * the same name may run in others, for other purposes. */
static bool is_in_namespace(pid_t pid, uint64_t net_namespace)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	return !net_namespace || (stat(path, &st) == 0 && st.st_ino == net_namespace);
}

/* A live process of the application; 0: there is none that we can see. */
static pid_t live_process(const struct model *model, uint32_t app)
{
	for (uint32_t i = 0; i < model->process_count; i++) {
		const struct model_process *process = &model->processes[i];

		if (process->app == app && process->life == PROCESS_ALIVE &&
		    process_start_time(process->pid) == process->start_time &&
		    is_in_namespace(process->pid, model->net_namespace))
			return process->pid;
	}
	return 0;
}

static bool is_go(const char *path)
{
	struct reach_elf elf = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool ret = fd >= 0 && reach_read_elf(fd, &elf) && elf.is_go;

	if (fd >= 0)
		close(fd);
	return ret;
}

/* The process that began the latest one, as long as it lives: the shell or the job that
 * starts a new process each time. */
static pid_t live_parent(const struct model *model, const struct model_app *app)
{
	const struct model_process *latest =
	    app->latest == MODEL_NOBODY ? NULL : &model->processes[app->latest];

	return latest && latest->is_here && latest->parent > 1 &&
		       is_in_namespace(latest->parent, model->net_namespace)
		   ? latest->parent
		   : 0;
}

/* Of a program whose processes have gone, the names that they published are left. */
static void take_names(struct advice_way *way, const struct model *model,
		       const struct model_app *app)
{
	if (*app->names.container) {
		way->origin.kind = ORIGIN_CONTAINER;
		snprintf(way->origin.name, sizeof(way->origin.name), "%.127s",
			 app->names.container);
	} else if (*app->names.unit && !origin_is_cron(app->names.unit)) {
		way->origin.kind = ORIGIN_UNIT;
		snprintf(way->origin.name, sizeof(way->origin.name), "%.127s",
			 app->names.unit);
	} else {
		origin_of_process(&way->origin, live_parent(model, app));
	}
}

/* Whether it is a new process each time, so that none of them is worth starting
 * again: what starts them is. */
static bool is_storm(const struct model_app *app)
{
	return app->processes >= MANY &&
	       app->processes * 2 > app->counters.value[TWS_established];
}

static void take_app(struct advice_way *way, const struct model *model,
		     const struct model_app *app)
{
	way->exe = app->exe;
	way->by_shim = app->observed[TWS_OBSERVER_SHIM] > 0;
	way->is_go = !way->by_shim && is_go(app->exe);
	if (!is_storm(app))
		origin_of_process(&way->origin,
				  live_process(model, (uint32_t)(app - model->apps)));
	if (way->origin.kind == ORIGIN_UNKNOWN)
		take_names(way, model, app);
}

/* The program that was seen to connect there. One that has gone, and was a new process
 * each time, is started by its parent. */
static void take_sighting(struct advice_way *way, const struct sightings *seen,
			  const char *to)
{
	char there[PRINT_ADDRESS_SIZE];

	for (size_t i = 0; seen && i < seen->count; i++) {
		const struct sighting *sighting = &seen->list[i];

		if (strcmp(print_address(there, &sighting->to), to) != 0)
			continue;
		way->exe = sighting->app;
		origin_of_process(&way->origin,
				  sighting->alive ? sighting->pid : sighting->parent);
		return;
	}
}

size_t doctor_steps(const struct doctor *doctor, const struct advice_finding *finding,
		    struct advice_step *ret_steps)
{
	struct advice_way way = {
	    .has_policy = layer_is_in_force(doctor->request.dir),
	    .discreet = doctor->request.discreet,
	    .dir = doctor->request.dir,
	};
	char ring[ADVICE_RING_SIZE];

	advice_ring_outside(ring, &doctor->traffic);
	way.ring = strcmp(ring, "LOW-HIGH") != 0 ? ring : NULL;
	if (finding->of)
		take_app(&way, doctor->model, finding->of);
	else if (*finding->to)
		take_sighting(&way, doctor->request.seen, finding->to);
	return advice_steps(ret_steps, finding, &way);
}
