/* SPDX-License-Identifier: MIT
 *
 * A fuzz target without a fuzzer. Each argument is a file or a directory of files;
 * without arguments, standard input is the file. AFL++: afl-fuzz -i
 * tests/fuzz/corpus/NAME -o out -- fuzz_NAME @@
 */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX (1u << 20)

static unsigned run_stream(FILE *file)
{
	uint8_t *data = malloc(INPUT_MAX);
	uint8_t *exact;
	size_t size;

	FUZZ_CHECK(data);
	size = fread(data, 1, INPUT_MAX, file);
	/* Exactly as large as the input, so that a sanitizer sees an access past its end.
	 */
	exact = malloc(size ? size : 1);
	FUZZ_CHECK(exact);
	memcpy(exact, data, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	free(data);
	return 1;
}

static unsigned run_file(const char *path)
{
	FILE *file = fopen(path, "re");
	unsigned done;

	if (!file) {
		perror(path);
		exit(2);
	}
	done = run_stream(file);
	fclose(file);
	return done;
}

static unsigned run_path(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	unsigned done = 0;
	char name[4096];
	struct stat st;

	if (!directory)
		return run_file(path);
	while ((entry = readdir(directory)) != NULL) {
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (stat(name, &st) == 0 && S_ISREG(st.st_mode))
			done += run_file(name);
	}
	closedir(directory);
	return done;
}

int main(int argc, char **argv)
{
	unsigned done = argc > 1 ? 0 : run_stream(stdin);

	for (int i = 1; i < argc; i++)
		done += run_path(argv[i]);
	printf("%u inputs\n", done);
	return done ? 0 : 1;
}
