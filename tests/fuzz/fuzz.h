/* SPDX-License-Identifier: MIT
 *
 * What the fuzz targets share. Each target is one file tests/fuzz/fuzz_NAME.c with the
 * entry point that libFuzzer calls; main.c calls the same with files, so that AFL++ can
 * drive it and found cases can be replayed. A target checks what it calls: FUZZ_CHECK
 * ends the process, as a sanitizer does.
 */
#ifndef TWS_TESTS_FUZZ_H
#define TWS_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(what)                                                                 \
	do {                                                                             \
		if (!(what)) {                                                           \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__,       \
				#what);                                                  \
			abort();                                                         \
		}                                                                        \
	} while (0)

/* An empty directory in memory, made at the first call; its path in fuzz_path. */
int fuzz_directory(void);
extern char fuzz_path[64];

/* Removes what is in it. */
void fuzz_clear(int directory);

void fuzz_write(int directory, const char *name, const void *bytes, size_t size);

/* Writes the input as one to three files: segments, the first perhaps totals. Headers
 * whose uid is FUZZ_OURS are made to fit this process, boot and file, so that what lies
 * behind them is reached. */
#define FUZZ_OURS 0xffffffffu
void fuzz_write_segments(int directory, const uint8_t *data, size_t size);

/* The input as text: ends at its end or its first NUL. Freed by the caller. */
char *fuzz_text(const uint8_t *data, size_t size);

/* Text for a terminal or a scraper: UTF-8 without control characters but newlines.
 * Checked here; and JSON, which must be such. */
void fuzz_check_text(const char *text, size_t size);
void fuzz_check_json(const char *text, size_t size);

#endif
