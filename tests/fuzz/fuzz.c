/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "shim/shared/segment.h"
#include "tools/base/print.h"
#include "tools/segments/reader.h"

char fuzz_path[64];

static void remove_directory(void)
{
	int directory = open(fuzz_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (directory < 0)
		return;
	fuzz_clear(directory);
	close(directory);
	rmdir(fuzz_path);
}

int fuzz_directory(void)
{
	static int directory = -1;

	if (directory >= 0)
		return directory;
	snprintf(fuzz_path, sizeof(fuzz_path), "/dev/shm/twshim-fuzz-XXXXXX");
	FUZZ_CHECK(mkdtemp(fuzz_path));
	atexit(remove_directory);
	directory = open(fuzz_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_CHECK(directory >= 0);
	return directory;
}

void fuzz_clear(int directory)
{
	int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(copy);
	struct dirent *entry;

	FUZZ_CHECK(dir);
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			unlinkat(directory, entry->d_name, 0);
	closedir(dir);
}

void fuzz_write(int directory, const char *name, const void *bytes, size_t size)
{
	int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	FUZZ_CHECK(fd >= 0);
	FUZZ_CHECK(write(fd, bytes, size) == (ssize_t)size);
	close(fd);
}

/* ----------------------------------------------------------------- segments */

static const struct reader *known(void)
{
	static struct reader reader;

	if (!reader.buffers)
		FUZZ_CHECK(reader_init(&reader) == 0);
	return &reader;
}

static void fit(struct tws_header *header, size_t size)
{
	header->magic = TWS_MAGIC;
	header->byte_order = TWS_BYTE_ORDER;
	header->abi_major = TWS_ABI_MAJOR;
	header->header_size = sizeof(*header);
	header->section_count = TWS_SECTIONS;
	header->size = size;
	header->uid = (uint32_t)geteuid();
	memcpy(header->boot_id, known()->boot_id, sizeof(header->boot_id));
	header->pid_namespace = known()->processes.pid_namespace;
	header->exe[sizeof(header->exe) - 1] = '\0';
}

static void write_segment(int directory, const char *name, const uint8_t *data,
			  size_t size)
{
	struct tws_header header;
	uint8_t *copy = malloc(size + 1);

	FUZZ_CHECK(copy);
	memcpy(copy, data, size);
	if (size >= sizeof(header)) {
		memcpy(&header, copy, sizeof(header));
		if (header.uid == FUZZ_OURS)
			fit(&header, size);
		memcpy(copy, &header, sizeof(header));
	}
	fuzz_write(directory, name, copy, size);
	free(copy);
}

void fuzz_write_segments(int directory, const uint8_t *data, size_t size)
{
	static const char *const names[] = {"1-4242-1-0.seg", "1-4243-1-0.seg",
					    "1-4244-1-0.seg"};
	size_t count = size ? data[0] % 3 + 1u : 1, each;
	bool totals = size && data[0] & 0x80;

	if (size) {
		data++;
		size--;
	}
	each = size / count;
	for (size_t i = 0; i < count; i++)
		write_segment(directory, totals && i == 0 ? "0123.totals" : names[i],
			      data + i * each, each);
}

/* ------------------------------------------------------------------ outputs */

char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	FUZZ_CHECK(text);
	memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

void fuzz_check_text(const char *text, size_t size)
{
	size_t room = 4 * size + 8; /* enough for any line without a cut */
	char *safe = malloc(room), *line = strdup(text), *rest = line, *one;

	FUZZ_CHECK(safe && line && strlen(text) == size);
	while ((one = strsep(&rest, "\n")) != NULL)
		FUZZ_CHECK(strcmp(print_escape(safe, room, one), one) == 0);
	free(safe);
	free(line);
}

void fuzz_check_json(const char *text, size_t size)
{
	json_error_t error;
	json_t *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);

	if (!json)
		fprintf(stderr, "%.200s\n%s, byte %d\n", text, error.text,
			error.position);
	FUZZ_CHECK(json);
	json_decref(json);
}
