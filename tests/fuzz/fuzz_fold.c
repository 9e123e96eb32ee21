/* SPDX-License-Identifier: MIT
 *
 * Folding, as a client does it when it makes its segment, of segments and totals with any
 * content. The files that remain are valid, and a second fold changes nothing.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/shared/fold.h"
#include "tests/fuzz/fuzz.h"
#include "tools/segments/reader.h"

static int take(struct segment *segment, void *data)
{
	uint64_t *sum = data;

	if (segment->header.state == TWS_SEGMENT_TOTALS)
		*sum += segment->header.folded_processes;
	return 0;
}

static uint64_t folded(void)
{
	struct reader reader;
	uint64_t sum = 0;

	FUZZ_CHECK(reader_init(&reader) == 0);
	FUZZ_CHECK(reader_read(&reader, fuzz_path, true, take, &sum) == 0);
	reader_free(&reader);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* The default retention: these heartbeats are much older. */
	const struct tws_fold_limits limits = {.retention_s = 1, .max_segments = 1};
	int directory = fuzz_directory();
	uint64_t before;

	fuzz_write_segments(directory, data, size);
	before = folded();
	FUZZ_CHECK(tws_fold(directory, &limits) >= 0);
	FUZZ_CHECK(folded() - before <= 3);
	before = folded();
	FUZZ_CHECK(tws_fold(directory, &limits) >= 0);
	FUZZ_CHECK(folded() == before);
	fuzz_clear(directory);
	return 0;
}
