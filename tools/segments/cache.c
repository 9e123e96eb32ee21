/* SPDX-License-Identifier: MIT */
#include "tools/segments/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 4096

struct kept {
	struct kept *next;
	uint64_t reading; /* the last one that found it */
	size_t size;	  /* of this block */
	struct stat file;
	struct segment segment; /* its pointers lie in `sections` */
	char *name;
	char sections[] __attribute__((aligned(8)));
};

struct reader_cache {
	uint64_t reading;
	size_t bytes;
	void *scratch; /* sections that the taker may change */
	size_t scratch_room;
	struct kept *buckets[BUCKETS];
};

/* A section of a segment: which pointer leads to it, and how large an element is. */
struct part {
	size_t element_size;
	size_t pointer; /* its place in struct segment */
	unsigned id;	/* index in `used` */
	bool changes;	/* the taker may settle in it */
};

#define PART(id, type, member, changes)                                                  \
	{                                                                                \
		sizeof(type), offsetof(struct segment, member), id, changes              \
	}

static const struct part parts[] = {
    PART(TWS_SECTION_CONNECTIONS, struct tws_connection, connections, false),
    PART(TWS_SECTION_DESTINATIONS, struct tws_destination, destinations, true),
    PART(TWS_SECTION_ARMS, struct tws_arm, arms, true),
    PART(TWS_SECTION_RULES, struct tws_rule_status, rules, false),
    PART(TWS_SECTION_ENDED, struct tws_ended, ended, false),
    PART(TWS_SECTION_TIME_WAIT, uint64_t, time_wait, false),
    PART(TWS_SECTIONS, struct tws_slice, slices, false),
};

#define PARTS (sizeof(parts) / sizeof(*parts))

static void *get_part(const struct segment *segment, const struct part *part)
{
	void *elements;

	memcpy(&elements, (const char *)segment + part->pointer, sizeof(elements));
	return elements;
}

static void set_part(struct segment *segment, const struct part *part, void *elements)
{
	memcpy((char *)segment + part->pointer, &elements, sizeof(elements));
}

static size_t part_size(const struct segment *segment, const struct part *part)
{
	return segment->used[part->id] * part->element_size;
}

struct reader_cache *reader_cache_new(void)
{
	return calloc(1, sizeof(struct reader_cache));
}

static struct kept **bucket_of(struct reader_cache *cache, const char *name)
{
	uint64_t hash = 14695981039346656037ULL;

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 1099511628211ULL;
	return &cache->buckets[(hash ^ hash >> 32) % BUCKETS];
}

static void cache_drop(struct reader_cache *cache, struct kept **at)
{
	struct kept *kept = *at;

	*at = kept->next;
	cache->bytes -= kept->size;
	free(kept);
}

/* Drops the segments that the current reading has not found. */
static void cache_sweep(struct reader_cache *cache)
{
	struct kept **at;

	for (size_t i = 0; i < BUCKETS; i++)
		for (at = &cache->buckets[i]; *at;) {
			if ((*at)->reading != cache->reading)
				cache_drop(cache, at);
			else
				at = &(*at)->next;
		}
}

void reader_cache_free(struct reader_cache *cache)
{
	if (!cache)
		return;
	cache->reading++;
	cache_sweep(cache);
	free(cache->scratch);
	free(cache);
}

void reader_cache_begin(struct reader_cache *cache)
{
	if (cache)
		cache->reading++;
}

void reader_cache_end(struct reader_cache *cache)
{
	if (cache)
		cache_sweep(cache);
}

size_t reader_cache_bytes(const struct reader_cache *cache)
{
	return cache->bytes;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Another name, owner or mode changes the ctime. */
static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       a->st_size == b->st_size && same_time(&a->st_mtim, &b->st_mtim) &&
	       same_time(&a->st_ctim, &b->st_ctim);
}

/* Several directories may have a file of this name: fstatat() is called only if the
 * name is known. */
static struct kept *cache_find(struct reader_cache *cache, int directory,
			       const char *name)
{
	struct stat st;
	bool looked = false;

	for (struct kept *kept = *bucket_of(cache, name); kept; kept = kept->next) {
		if (strcmp(kept->name, name) != 0)
			continue;
		if (!looked && fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			return NULL;
		looked = true;
		if (same_file(&kept->file, &st))
			return kept;
	}
	return NULL;
}

static bool make_scratch(struct reader_cache *cache, const struct segment *segment)
{
	size_t size = 0;
	void *grown;

	for (size_t i = 0; i < PARTS; i++)
		size += parts[i].changes ? part_size(segment, &parts[i]) : 0;
	if (size <= cache->scratch_room)
		return true;
	grown = realloc(cache->scratch, size);
	if (!grown)
		return false;
	cache->scratch = grown;
	cache->scratch_room = size;
	return true;
}

bool reader_cache_recall(struct reader_cache *cache, int directory, const char *name,
			 struct segment *ret_segment)
{
	struct kept *kept = cache_find(cache, directory, name);
	char *to;
	size_t size;

	if (!kept || !make_scratch(cache, &kept->segment))
		return false;
	kept->reading = cache->reading;
	*ret_segment = kept->segment;
	to = cache->scratch;
	for (size_t i = 0; i < PARTS; i++) {
		size = part_size(ret_segment, &parts[i]);
		if (!parts[i].changes || !size)
			continue;
		memcpy(to, get_part(ret_segment, &parts[i]), size);
		set_part(ret_segment, &parts[i], to);
		to += size;
	}
	return true;
}

static size_t sections_size(const struct segment *segment)
{
	size_t size = 0;

	for (size_t i = 0; i < PARTS; i++)
		size += part_size(segment, &parts[i]);
	return size;
}

/* Copies the sections, and sets the segment's pointers to the copies. */
static char *copy_sections(struct segment *segment, char *to)
{
	size_t size;

	for (size_t i = 0; i < PARTS; i++) {
		size = part_size(segment, &parts[i]);
		if (size)
			memcpy(to, get_part(segment, &parts[i]), size);
		set_part(segment, &parts[i], size ? to : NULL);
		to += size;
	}
	return to;
}

void reader_cache_keep(struct reader_cache *cache, const struct stat *st,
		       const struct segment *segment)
{
	size_t name_size = strlen(segment->name) + 1;
	size_t size = sizeof(struct kept) + sections_size(segment) + name_size;
	struct kept **bucket = bucket_of(cache, segment->name);
	struct kept *kept = NULL;

	if (size <= READER_CACHE_BYTES && cache->bytes <= READER_CACHE_BYTES - size)
		kept = malloc(size);
	if (!kept)
		return;
	*kept = (struct kept){
	    .next = *bucket,
	    .reading = cache->reading,
	    .size = size,
	    .file = *st,
	    .segment = *segment,
	};
	kept->name = copy_sections(&kept->segment, kept->sections);
	memcpy(kept->name, segment->name, name_size);
	kept->segment.name = kept->name;
	*bucket = kept;
	cache->bytes += size;
}
