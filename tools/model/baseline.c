/* SPDX-License-Identifier: MIT */
#include "tools/model/baseline.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "shim/shared/slices.h"
#include "tools/base/array.h"
#include "tools/kernel/proc_file.h"
#include "tools/model/window.h"
#include "tools/segments/rundir.h"

#define MAGIC	      0x3154534553525754ULL /* "TWRSEST1" */
#define SIZE_MAX_FILE (256u << 20)

#define NOT_TO_BE_TAKEN_OFF UINT64_MAX

/* The file: this, then the entries. */
struct file_header {
	uint64_t magic;
	uint32_t abi_minor, entries;
	uint8_t boot_id[16];
	uint64_t monotonic_ns, realtime_ns;
};

/* One segment, and behind it its parts. The first part is the process section. */
struct entry {
	struct tws_header header; /* whose it is */
	uint64_t gone;		  /* processes that had ended */
	uint64_t gone_observed[TWS_OBSERVERS];
	uint64_t parts;
};

struct part {
	struct tws_address address; /* family 0: `other` */
	uint64_t value[TWS_COUNTER_ROOM];
};

struct baseline {
	struct file_header about;
	char *bytes; /* the entries */
	size_t size, room;
};

struct baseline *baseline_new(void)
{
	struct baseline *baseline = calloc(1, sizeof(*baseline));
	struct timespec now;

	if (!baseline)
		return NULL;
	clock_gettime(CLOCK_REALTIME, &now);
	baseline->about = (struct file_header){
	    .magic = MAGIC,
	    .abi_minor = TWS_ABI_MINOR,
	    .monotonic_ns = tws_now(),
	    .realtime_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec,
	};
	proc_boot_id(baseline->about.boot_id);
	return baseline;
}

void baseline_free(struct baseline *baseline)
{
	if (baseline)
		free(baseline->bytes);
	free(baseline);
}

void baseline_clear(struct baseline *baseline)
{
	baseline->size = 0;
	baseline->about.entries = 0;
}

/* ------------------------------------------------------------------- keeping */

static bool make_room(struct baseline *baseline, size_t size)
{
	size_t room = baseline->room ? baseline->room : 65536;
	char *grown;

	while (room - baseline->size < size)
		room *= 2;
	grown = room > baseline->room ? realloc(baseline->bytes, room) : baseline->bytes;
	if (!grown)
		return false;
	baseline->bytes = grown;
	baseline->room = room;
	return true;
}

static void append(struct baseline *baseline, const void *bytes, size_t size)
{
	memcpy(baseline->bytes + baseline->size, bytes, size);
	baseline->size += size;
}

static void append_part(struct baseline *baseline, const struct tws_address *address,
			const struct tws_counters *counters)
{
	struct part part = {.address = *address};

	memcpy(part.value, counters->value, sizeof(part.value));
	append(baseline, &part, sizeof(part));
}

static void note_gone(struct entry *entry, const struct segment *segment)
{
	const struct tws_header *header = &segment->header;

	if (header->state == TWS_SEGMENT_TOTALS) {
		entry->gone = header->folded_processes;
		for (unsigned i = TWS_OBSERVER_SHIM + 1; i < TWS_OBSERVERS; i++)
			entry->gone_observed[i] = header->folded_observed[i];
	} else if (segment->life == PROCESS_DEAD) {
		entry->gone = 1;
		if (header->observer < TWS_OBSERVERS)
			entry->gone_observed[header->observer] = 1;
	}
}

int baseline_keep(struct baseline *baseline, const struct segment *segment)
{
	static const struct tws_address other;
	uint32_t destinations = segment->used[TWS_SECTION_DESTINATIONS];
	struct entry entry = {.header = segment->header, .parts = 1 + destinations};
	const struct tws_destination *at = segment->destinations;

	if (!make_room(baseline, sizeof(entry) + entry.parts * sizeof(struct part)))
		return -ENOMEM;
	note_gone(&entry, segment);
	append(baseline, &entry, sizeof(entry));
	append_part(baseline, &other, &segment->process);
	for (uint32_t i = 0; i < destinations; i++)
		append_part(baseline,
			    i && at[i].state == TWS_DESTINATION_READY ? &at[i].address
								      : &other,
			    &at[i].counters);
	baseline->about.entries++;
	return 0;
}

int baseline_write(const struct baseline *baseline, FILE *file)
{
	bool done = fwrite(&baseline->about, sizeof(baseline->about), 1, file) == 1 &&
		    fwrite(baseline->bytes, 1, baseline->size, file) == baseline->size;

	return done && fflush(file) == 0 ? 0 : -EIO;
}

/* ------------------------------------------------------------------- reading */

static bool read_all(int fd, void *bytes, size_t size)
{
	char *to = bytes;
	ssize_t length;

	for (; size; to += length, size -= (size_t)length) {
		length = read(fd, to, size);
		if (length <= 0)
			return false;
	}
	return true;
}

/* The next entry; NULL: there is none that is whole. */
static const struct entry *next_entry(const struct baseline *baseline, size_t *at)
{
	const struct entry *entry = (const void *)(baseline->bytes + *at);
	size_t left = baseline->size - *at;

	if (left < sizeof(*entry) ||
	    entry->parts > (left - sizeof(*entry)) / sizeof(struct part) || !entry->parts)
		return NULL;
	*at += sizeof(*entry) + entry->parts * sizeof(struct part);
	return entry;
}

static bool is_whole(const struct baseline *baseline)
{
	uint8_t boot_id[16] = {0};
	size_t at = 0;
	uint32_t count = 0;

	proc_boot_id(boot_id);
	while (next_entry(baseline, &at))
		count++;
	return at == baseline->size && count == baseline->about.entries &&
	       memcmp(boot_id, baseline->about.boot_id, sizeof(boot_id)) == 0;
}

static struct baseline *read_file(int fd)
{
	struct baseline *baseline = calloc(1, sizeof(*baseline));
	struct stat st;

	if (baseline && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_uid == geteuid() && st.st_nlink == 1 && st.st_size <= SIZE_MAX_FILE &&
	    read_all(fd, &baseline->about, sizeof(baseline->about)) &&
	    baseline->about.magic == MAGIC &&
	    baseline->about.abi_minor == TWS_ABI_MINOR) {
		baseline->size = (size_t)st.st_size - sizeof(baseline->about);
		baseline->bytes = malloc(baseline->size + 1);
		if (baseline->bytes && read_all(fd, baseline->bytes, baseline->size) &&
		    is_whole(baseline))
			return baseline;
	}
	baseline_free(baseline);
	return NULL;
}

struct baseline *baseline_read(const char *directory)
{
	int place = tws_rundir_open(directory), fd;
	struct baseline *baseline;

	if (place < 0)
		return NULL;
	fd = openat(place, BASELINE_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	close(place);
	if (fd < 0)
		return NULL;
	baseline = read_file(fd);
	close(fd);
	return baseline;
}

uint64_t baseline_when(const struct baseline *baseline, uint64_t *ret_realtime_ns)
{
	*ret_realtime_ns = baseline->about.realtime_ns;
	return baseline->about.monotonic_ns;
}

/* ------------------------------------------------------------------ applying */

static const struct part *parts_of(const struct entry *entry)
{
	return (const void *)(entry + 1);
}

/* What there is less of now than then is left in `part`. */
static void take_off(struct tws_counters *counters, struct part *part)
{
	for (unsigned i = 0; i < TWS_COUNTERS; i++) {
		uint64_t less = part->value[i] < counters->value[i] ? part->value[i]
								    : counters->value[i];

		if (!tws_counter_grows((enum tws_counter)i))
			continue;
		counters->value[i] -= less;
		part->value[i] -= less;
	}
}

static void take_off_app(struct model_app *app, const struct part *part)
{
	struct part rest = *part;

	take_off(&app->counters, &rest);
}

/* A destination that found no room in totals is part of `other` there. */
static int take_off_destination(struct model_app *app, const struct part *part)
{
	static const struct tws_address other;
	struct model_destination *at = model_destination(app, &part->address);
	struct part rest = *part;

	if (at)
		take_off(&at->counters, &rest);
	if (at && part->address.family)
		at = model_destination(app, &other);
	if (at && part->address.family)
		take_off(&at->counters, &rest);
	return at ? 0 : -ENOMEM;
}

static struct model_process *find_process(const struct model *model,
					  const struct tws_header *header)
{
	for (uint32_t i = 0; i < model->process_count; i++) {
		struct model_process *at = &model->processes[i];

		if ((uint32_t)at->pid == header->pid &&
		    at->start_time == header->start_time && at->image == header->image &&
		    at->created_realtime_ns == header->created_realtime_ns)
			return at;
	}
	return NULL;
}

static void take_off_gone(struct model_app *app, const struct entry *entry)
{
	app->processes -= entry->gone < app->processes ? entry->gone : app->processes;
	for (unsigned i = 0; i < TWS_OBSERVERS; i++) {
		uint64_t gone = entry->gone_observed[i];

		if (entry->header.state == TWS_SEGMENT_TOTALS && i == TWS_OBSERVER_SHIM)
			gone = entry->gone - entry->gone_observed[TWS_OBSERVER_BPF] -
			       entry->gone_observed[TWS_OBSERVER_SUPERVISOR];
		app->observed[i] -= gone < app->observed[i] ? gone : app->observed[i];
	}
}

static int take_off_entry(struct model *model, struct model_app *app,
			  const struct entry *entry)
{
	struct model_process *process = find_process(model, &entry->header);
	const struct part *part = parts_of(entry);
	int result = 0;

	for (uint64_t i = 0; result == 0 && i < entry->parts; i++) {
		struct part rest = part[i];

		if (process)
			take_off(&process->counters, &rest);
		take_off_app(app, &part[i]);
		if (i)
			result = take_off_destination(app, &part[i]);
		if (!app->hidden)
			model->window.older += part[i].value[TWS_attempts];
	}
	take_off_gone(app, entry);
	return result;
}

static uint64_t attempts_of(const struct entry *entry)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < entry->parts; i++)
		sum += parts_of(entry)[i].value[TWS_attempts];
	return sum;
}

/* As the model leaves out segments of other network namespaces. */
static struct model_app *app_of(struct model *model, const struct entry *entry)
{
	if (model->options.here_only && model->has_table &&
	    entry->header.net_namespace != model->net_namespace)
		return NULL;
	return model_find(model, &entry->header);
}

uint64_t baseline_attempts(const struct baseline *baseline)
{
	const struct entry *entry;
	uint64_t sum = 0;

	for (size_t at = 0; (entry = next_entry(baseline, &at)) != NULL;)
		sum += attempts_of(entry);
	return sum;
}

/* Where an application has less now than then, its files were removed meanwhile, and how
 * much of the rest is older cannot be told. */
static uint64_t *sum_by_app(const struct baseline *baseline, struct model *model)
{
	uint64_t *sums = calloc(model->app_count + 1, sizeof(*sums));
	const struct entry *entry;
	struct model_app *app;

	for (size_t at = 0; sums && (entry = next_entry(baseline, &at)) != NULL;) {
		app = app_of(model, entry);
		if (app)
			sums[app - model->apps] += attempts_of(entry);
	}
	return sums;
}

int baseline_apply(const struct baseline *baseline, struct model *model)
{
	uint64_t *sums = sum_by_app(baseline, model);
	const struct entry *entry;
	struct model_app *app;
	int result = sums ? 0 : -ENOMEM;

	for (uint32_t i = 0; sums && i < model->app_count; i++)
		if (sums[i] > model->apps[i].counters.value[TWS_attempts]) {
			window_doubt(model, &model->apps[i]);
			sums[i] = NOT_TO_BE_TAKEN_OFF;
		}
	for (size_t at = 0; result == 0 && (entry = next_entry(baseline, &at)) != NULL;) {
		app = app_of(model, entry);
		if (app && sums[app - model->apps] != NOT_TO_BE_TAKEN_OFF)
			result = take_off_entry(model, app, entry);
	}
	free(sums);
	return result;
}
