/* SPDX-License-Identifier: MIT
 *
 * Segments as `trace` follows them. Those of the first half of the input exist when it
 * begins; those of the second half appear, or overwrite the first, while it follows. Each
 * event must be one line, and a small file must give few events.
 */
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"
#include "tools/trace/trace.h"

static void print_line(const struct follow_event *event)
{
	const struct trace_filter filter = {.app = "c*", .min_lifetime_ns = 5};
	char *text = NULL;
	size_t size = 0;
	FILE *out;

	for (int json = 0; json < 2; json++) {
		out = open_memstream(&text, &size);
		FUZZ_CHECK(out);
		if (json)
			FUZZ_CHECK(trace_print_json(out, event) == 0);
		else
			trace_print_text(out, event, false);
		fclose(out);
		(json ? fuzz_check_json : fuzz_check_text)(text, size);
		free(text);
	}
	trace_wants(&filter, event);
}

static void look(struct follow *follow, size_t most)
{
	const struct follow_event *events;
	size_t count;

	FUZZ_CHECK(follow_read(follow, &events, &count) == 0);
	FUZZ_CHECK(count <= most);
	for (size_t i = 0; i < count; i++)
		print_line(&events[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int directory = fuzz_directory();
	size_t half = size / 2, most = 16 + size / sizeof(struct tws_ended) * 4;
	struct follow *follow;
	char error[256];

	fuzz_write_segments(directory, data, half);
	FUZZ_CHECK(follow_open(&follow, fuzz_path, NULL, error, sizeof(error)) == 0);
	look(follow, most);
	fuzz_write_segments(directory, data + half, size - half);
	look(follow, most);
	fuzz_clear(directory);
	look(follow, most);
	follow_close(follow);
	return 0;
}
