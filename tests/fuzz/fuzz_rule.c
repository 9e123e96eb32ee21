/* SPDX-License-Identifier: MIT
 *
 * One-line rules, as `-p` takes them: one per line of the input.
 */
#include <string.h>

#include "config/compile.h"
#include "config/describe.h"
#include "tests/fuzz/fuzz.h"
#include "tools/policy/store.h"

#define RULES 70 /* more than an image takes */

static void check(const struct tws_source *source)
{
	struct tws_complaints complaints = {0};
	struct tws_policy_image *image = tws_compile(source, &complaints);
	char *text;
	size_t size = 0;
	FILE *out;

	FUZZ_CHECK((image != NULL) == (complaints.errors == 0));
	if (image) {
		FUZZ_CHECK(!tws_policy_validate(image, image->size));
		text = tws_describe_text(image);
		FUZZ_CHECK(text);
		fuzz_check_text(text, strlen(text));
		free(text);
	}
	text = NULL;
	out = open_memstream(&text, &size);
	FUZZ_CHECK(out);
	tws_policy_print_complaints(out, &complaints);
	fclose(out);
	fuzz_check_text(text, size);
	free(text);
	tws_complaints_free(&complaints);
	free(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *rules[RULES];
	struct tws_source source = {.rules = rules};
	char *text = malloc(size + 1), *rest = text;

	FUZZ_CHECK(text);
	memcpy(text, data, size);
	text[size] = '\0';
	while (rest && source.rule_count < RULES)
		rules[source.rule_count++] = strsep(&rest, "\n");
	check(&source);
	free(text);
	return 0;
}
