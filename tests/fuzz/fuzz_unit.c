/* SPDX-License-Identifier: MIT
 *
 * Unit files with any content, and our drop-ins after somebody edited them: settings,
 * words, specifiers. What our drop-in adds to any of them is read back unchanged.
 */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tools/systemd/dropin.h"
#include "tools/systemd/unit.h"

static void read_words(const struct unit *unit, const char *value)
{
	const struct unit_place place = {.root = ""};
	char word[UNIT_VALUE_SIZE], expanded[UNIT_VALUE_SIZE];
	const char *end = value + strlen(value), *before = NULL;

	while (before != value && unit_word(&value, word, sizeof(word)) == 1) {
		FUZZ_CHECK(value <= end && strlen(word) < sizeof(word));
		if (unit_expand(unit, &place, word, expanded, sizeof(expanded)))
			FUZZ_CHECK(strlen(expanded) < sizeof(expanded));
		unit_expand(unit, &place, word, expanded, 8);
	}
}

/* Our library is appended to the LD_PRELOAD of the unit, and the unit is read so. */
static void append(const struct unit *unit, const char *preload)
{
	const struct dropin dropin = {
	    .unit = unit->name, .preload = preload, .library = "/usr/lib/libtwshim.so"};
	char *text = dropin_text(&dropin), value[2 * UNIT_VALUE_SIZE + 64];
	struct unit with = {.name = "nginx@a-b.service"};

	FUZZ_CHECK(text && dropin_is_ours(text) && dropin_is_untouched(text));
	FUZZ_CHECK(unit_parse(&with, text) == 0);
	if (!strchr(preload, '\n') && strlen(preload) < UNIT_VALUE_SIZE / 3) {
		FUZZ_CHECK(unit_environment(&with, "LD_PRELOAD", value, sizeof(value)));
		FUZZ_CHECK(strstr(value, dropin.library));
		FUZZ_CHECK(strncmp(value, preload, strlen(preload)) == 0);
	}
	unit_free(&with);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"ExecStart", "Environment", "User",
					    "UnsetEnvironment"};
	char *text = fuzz_text(data, size), preload[UNIT_VALUE_SIZE] = "";
	struct unit unit = {.name = "nginx@a-b.service"};
	const char *value;
	size_t at;

	FUZZ_CHECK(unit_parse(&unit, text) == 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		unit_value(&unit, names[i]);
		unit_is_on(&unit, names[i]);
		unit_lists(&unit, names[i], "LD_PRELOAD");
		for (at = 0; (value = unit_next(&unit, names[i], &at)) != NULL;)
			read_words(&unit, value);
	}
	unit_environment(&unit, "LD_PRELOAD", preload, sizeof(preload));
	append(&unit, preload);
	FUZZ_CHECK(!dropin_is_untouched(text) || dropin_is_ours(text));
	unit_free(&unit);
	free(text);
	return 0;
}
