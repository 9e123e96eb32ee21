/* SPDX-License-Identifier: MIT
 *
 * What the fuzz targets share. Each target is one file tests/fuzz/fuzz_NAME.c with the
 * entry point that libFuzzer calls; main.c calls it with files, so that AFL++ can
 * drive it and found cases can be replayed. A target checks results with FUZZ_CHECK,
 * which ends the process, as a sanitizer does.
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

/* A directory on tmpfs, created empty at the first call; its path is in fuzz_path. */
int fuzz_directory(void);
extern char fuzz_path[64];

/* Removes its contents. */
void fuzz_clear(int directory);

void fuzz_write(int directory, const char *name, const void *bytes, size_t size);

/* Writes the input as one to three files: segments, the first perhaps totals. Headers
 * whose uid is FUZZ_OURS are made to fit this process, boot and file, so that the
 * code behind these checks is reached. */
#define FUZZ_OURS 0xffffffffu
void fuzz_write_segments(int directory, const uint8_t *data, size_t size);

/* The input as text, up to its first NUL. The caller frees it. */
char *fuzz_text(const uint8_t *data, size_t size);

/* Check text for a terminal or a scraper (UTF-8, no control characters except newlines),
 * and JSON. */
void fuzz_check_text(const char *text, size_t size);
void fuzz_check_json(const char *text, size_t size);

#endif
