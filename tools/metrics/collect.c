/* SPDX-License-Identifier: MIT
 *
 * Reads what the metrics are made from, and updates the ledger under a lock, because
 * several exporters may serve the same directory.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/metrics/parts.h"
#include "tools/segments/rundir.h"

/* Another exporter finishes much sooner than this, and a scraper waits longer. */
#define LOCK_TRIES    150
#define LOCK_PAUSE_NS 20000000L

/* Locks a file in a directory that only we can write. Returns 0 with the lock; 0 with -1
 * if the directory is not ours, because then nobody keeps a ledger there; -EBUSY if
 * another process holds the lock, because without the ledger counters could go back. */
static int lock_directory(int *ret_lock, int directory)
{
	const struct timespec pause = {0, LOCK_PAUSE_NS};
	struct stat st;
	int lock;

	*ret_lock = -1;
	if (directory < 0 || fstat(directory, &st) != 0 || st.st_uid != geteuid() ||
	    st.st_mode & (S_IWGRP | S_IWOTH))
		return 0;
	lock = openat(directory, LEDGER_LOCK,
		      O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	for (int i = 0; lock >= 0 && i < LOCK_TRIES; i++) {
		if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
			*ret_lock = lock;
			return 0;
		}
		nanosleep(&pause, NULL);
	}
	if (lock < 0)
		return 0;
	close(lock);
	return -EBUSY;
}

static int open_ledger_directory(const char *dir)
{
	char path[PATH_MAX];

	if (dir)
		return tws_rundir_open(dir);
	if (tws_rundir_find(path, sizeof(path)) != 0 || tws_rundir_create(path) != 0)
		return -1;
	return tws_rundir_open(path);
}

static int study(struct owners *owners, struct traffic *traffic,
		 const struct model *model)
{
	int result;

	if (!model->has_table)
		return 0;
	result = owners_group(owners, model);
	return result == 0 ? traffic_study(traffic, model, owners) : result;
}

/* The model is read while the lock is held; otherwise an older reading could follow a
 * newer one. */
static int collect_locked(struct metrics **ret_metrics, struct ledger *ledger,
			  const struct metrics_options *options, char *ret_error,
			  size_t size)
{
	struct model_options wanted = {
	    .dir = options->dir, .states = KERNEL_STATES_ALL, .cache = options->cache};
	struct model *model = NULL;
	struct owners owners = {0};
	struct traffic traffic = {0};
	double began = tws_now_s();
	int result = model_build(&model, &wanted, ret_error, size);

	if (result != 0)
		return result;
	result = study(&owners, &traffic, model);
	if (result == 0)
		result = ledger_update(ledger, model, options->top, time(NULL));
	if (result == 0)
		result =
		    metrics_make(ret_metrics, model, model->has_table ? &traffic : NULL,
				 ledger, options, tws_now_s() - began);
	if (result != 0)
		snprintf(ret_error, size, "metrics: %s", strerror(-result));
	traffic_free(&traffic);
	owners_free(&owners);
	model_free(model);
	return result;
}

static void keep_ledger(struct ledger *ledger, struct ledger *kept)
{
	struct ledger_destination *shrunk;
	struct ledger_app *app;

	if (!kept) {
		ledger_free(ledger);
		return;
	}
	for (unsigned i = 0; i < ledger->count; i++) {
		app = ledger->apps[i];
		shrunk = app->count ? reallocarray(app->destinations, app->count,
						   sizeof(*shrunk))
				    : NULL;
		app->destinations = shrunk ? shrunk : app->destinations;
	}
	ledger_free(kept);
	*kept = *ledger;
	*ledger = (struct ledger){0};
}

/* The file takes precedence, because another exporter may have written it since. If it is
 * lost, use what we have shown ourselves. */
static int recall(struct ledger *ret_ledger, int directory, int lock, struct ledger *kept)
{
	int result = lock >= 0 ? ledger_load(ret_ledger, directory) : 0;

	if (result != 0 || ret_ledger->count || !kept)
		return result;
	ledger_free(ret_ledger);
	*ret_ledger = *kept;
	*kept = (struct ledger){0};
	return 0;
}

static void save(struct metrics *metrics, const struct ledger *ledger, int directory,
		 int lock)
{
	metrics->saved = lock >= 0 ? ledger_save(ledger, directory) : 1;
	metrics_set(metrics, METRICS_STATE_SAVED, metrics->saved == 0);
}

int metrics_collect(struct metrics **ret_metrics, const struct metrics_options *options,
		    char *ret_error, size_t size)
{
	int directory = open_ledger_directory(options->dir);
	struct ledger ledger = {0};
	int lock, result = lock_directory(&lock, directory);

	if (result == 0)
		result = recall(&ledger, directory, lock, options->kept);
	if (result == -EBUSY)
		snprintf(
		    ret_error, size,
		    "metrics: another exporter holds %s in the run-time directory: try "
		    "again, or end that process",
		    LEDGER_LOCK);
	else if (result == 0)
		result = collect_locked(ret_metrics, &ledger, options, ret_error, size);
	else
		snprintf(ret_error, size, "metrics: %s", strerror(-result));
	if (result == 0)
		save(*ret_metrics, &ledger, directory, lock);
	keep_ledger(&ledger, options->kept);
	if (lock >= 0)
		close(lock);
	if (directory >= 0)
		close(directory);
	return result;
}
