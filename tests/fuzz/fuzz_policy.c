/* SPDX-License-Identifier: MIT
 *
 * A policy image with any content, as the shim takes it: copied from policy.ctl,
 * validated and matched against connections. The source of the shim's loader is included;
 * stubs for the rest of the shim are below.
 */
#include "shim/book/memory.c"
#include "shim/policy/layers.c"
#include "shim/policy/load.c"

#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "config/describe.h"
#include "tools/policy/explain.h"

#define CHECKSUM_AT offsetof(struct tws_policy_image, checksum)

struct tws_self tws_self = {.directory = "/"}; /* so that root has a layer too */
static uint64_t counted;

int tws_publish_directory(bool make)
{
	(void)make;
	return fcntl(fuzz_directory(), F_DUPFD_CLOEXEC, 0);
}

uint32_t tws_identity_user(void)
{
	return (uint32_t)getuid();
}

bool tws_identity_obeys(uint32_t user, uint32_t owner)
{
	return owner == user || owner == 0;
}

void tws_own_names(struct tws_names *ret_names, const char *path)
{
	(void)path;
	*ret_names = (struct tws_names){0};
}

void tws_count_process(enum tws_counter counter)
{
	counted += counter == TWS_policy_image_refused;
}

static const struct tws_address *addresses(size_t *ret_count)
{
	static const struct tws_address list[] = {
	    {.bytes = {10, 0, 0, 7}, .port = 6379, .family = TWS_IPV4},
	    {.bytes = {0xfd, [15] = 7}, .port = 443, .family = TWS_IPV6},
	    {.family = TWS_FAMILY_NONE},
	};

	*ret_count = sizeof(list) / sizeof(*list);
	return list;
}

static void hold_against(const struct tws_policy_image *image,
			 const struct tws_match *match)
{
	static const struct tws_subject subjects[] = {
	    {.exe = "/usr/sbin/php-fpm8.2", .uid = 33},
	    {.exe = ""},
	    {.exe = "///[\\*?]", .uid = UINT32_MAX}};
	const struct tws_address *list;
	size_t count;

	list = addresses(&count);
	for (size_t i = 0; i < sizeof(subjects) / sizeof(*subjects); i++)
		tws_match_subject(image, match, &subjects[i]);
	for (size_t i = 0; i < count; i++)
		tws_match_address(image, match, &list[i]);
}

static void use(const struct tws_policy_image *image)
{
	const struct tws_rule *rules = tws_policy_at(image, image->rules.offset);
	const struct tws_experiment *experiment = &image->experiment;
	const struct tws_policy_arm *arms = tws_policy_at(image, experiment->arms.offset);

	for (uint32_t i = 0; i < image->rules.count; i++) {
		hold_against(image, &rules[i].match);
		tws_action_acts_at_bind(&rules[i].action);
		FUZZ_CHECK(strlen(tws_policy_at(image, rules[i].name)) < image->size);
	}
	if (!experiment->name)
		return;
	hold_against(image, &experiment->match);
	FUZZ_CHECK(tws_pick_arm(arms, experiment->arms.count, 0) <
		   experiment->arms.count);
	FUZZ_CHECK(tws_pick_arm(arms, experiment->arms.count, UINT32_MAX) <
		   experiment->arms.count);
}

/* `policy explain` and `policy show` read images too. */
static void explain(const struct tws_policy_image *image)
{
	const struct tws_subject subject = {.exe = "/usr/sbin/php-fpm8.2", .uid = 33};
	const struct tws_address *list;
	size_t count;
	char *text = NULL;
	json_t *json;
	FILE *out;

	list = addresses(&count);
	out = open_memstream(&text, &count);
	FUZZ_CHECK(out);
	tws_policy_explain_text(out, image, &subject, list);
	fclose(out);
	fuzz_check_text(text, count);
	free(text);
	json = tws_policy_explain_json(image, &subject, list);
	text = json_dumps(json, 0);
	json_decref(json);
	FUZZ_CHECK(text);
	fuzz_check_json(text, strlen(text));
	free(text);
	text = tws_describe_text(image);
	FUZZ_CHECK(text);
	fuzz_check_text(text, strlen(text));
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint64_t generation;
	struct tws_policy_handle *handle;
	int directory = fuzz_directory();
	uint64_t counted_before = counted;
	uint64_t state;
	uint32_t checksum;
	uint8_t *copy;
	int layer, file;

	if (!(tws_layers_followed() & (1u << TWS_LAYER_USER))) {
		tws_layers_complete();
		FUZZ_CHECK(tws_layers_followed() & (1u << TWS_LAYER_USER));
	}
	copy = malloc(size + 1);
	FUZZ_CHECK(copy);
	memcpy(copy, data, size);
	layer = openat(directory, TWS_POLICY_DIRECTORY, O_RDONLY | O_CLOEXEC);
	file = openat(layer, TWS_POLICY_CONTROL, O_RDWR | O_CLOEXEC);
	FUZZ_CHECK(file >= 0);
	generation++;
	if (size >= sizeof(struct tws_policy_image) && size <= TWS_POLICY_MAX_SIZE)
		((struct tws_policy_image *)(void *)copy)->generation = generation;
	/* All bits set: to be put right, since no fuzzer guesses it. */
	if (size >= sizeof(struct tws_policy_image) && size <= TWS_POLICY_MAX_SIZE) {
		struct tws_policy_image *image = (void *)copy;

		memcpy(&checksum, copy + CHECKSUM_AT, sizeof(checksum));
		if (checksum == UINT32_MAX) {
			image->size = (uint32_t)size;
			image->checksum = tws_policy_checksum(image);
		}
	}
	if (size <= TWS_POLICY_MAX_SIZE)
		FUZZ_CHECK(pwrite(file, copy, size, (off_t)tws_policy_slot(generation)) ==
			   (ssize_t)size);
	state = generation << 1 | 1;
	FUZZ_CHECK(pwrite(file, &state, sizeof(state),
			  offsetof(struct tws_policy_control, state)) == sizeof(state));
	handle = tws_policy_acquire();
	if (handle) {
		use(handle->image);
		explain(handle->image);
		tws_policy_release(handle);
		tws_policy_settings();
	}
	FUZZ_CHECK((handle != NULL) == (counted == counted_before));
	FUZZ_CHECK(ftruncate(file, TWS_POLICY_PAGE) == 0 &&
		   ftruncate(file, TWS_POLICY_FILE_SIZE) == 0);
	close(file);
	close(layer);
	free(copy);
	return 0;
}
