/* SPDX-License-Identifier: MIT
 *
 * The policy language. Any text gives an image that the shim accepts, or a complaint. The
 * description of an image compiles to an image with the same description.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/compile.h"
#include "config/describe.h"
#include "tests/fuzz/fuzz.h"
#include "tools/policy/store.h"

/* libconfig's scanner leaks the string that it was reading when it fails: a few bytes, in
 * a process that ends. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig.so\n";
}

static struct tws_policy_image *compile(int fd)
{
	struct tws_complaints complaints = {0};
	struct tws_source source = {0};
	struct tws_policy_image *image;
	char path[64], *text = NULL;
	size_t length = 0;
	FILE *out;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	source.file = path;
	image = tws_compile(&source, &complaints);
	FUZZ_CHECK((image != NULL) == (complaints.errors == 0));
	out = open_memstream(&text, &length);
	FUZZ_CHECK(out);
	tws_policy_print_complaints(out, &complaints);
	fclose(out);
	fuzz_check_text(text, length);
	free(text);
	tws_complaints_free(&complaints);
	if (image)
		FUZZ_CHECK(!tws_policy_validate(image, image->size));
	return image;
}

static int text_file(const void *text, size_t size)
{
	int fd = memfd_create("policy", MFD_CLOEXEC);

	FUZZ_CHECK(fd >= 0 && write(fd, text, size) == (ssize_t)size);
	return fd;
}

static void describe(const struct tws_policy_image *image)
{
	char *text = tws_describe_text(image), *again;
	struct tws_policy_image *copy;
	json_t *json = tws_describe_json(image);
	int fd;

	FUZZ_CHECK(text && json);
	json_decref(json);
	fd = text_file(text, strlen(text));
	copy = compile(fd);
	if (!copy)
		fprintf(stderr, "%s", text);
	FUZZ_CHECK(copy);
	again = tws_describe_text(copy);
	if (again && strcmp(text, again) != 0)
		fprintf(stderr, "%s--- and then\n%s", text, again);
	FUZZ_CHECK(again && strcmp(text, again) == 0);
	close(fd);
	free(again);
	free(text);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = text_file(data, size);
	struct tws_policy_image *image = compile(fd);

	if (image)
		describe(image);
	free(image);
	close(fd);
	return 0;
}
