/* SPDX-License-Identifier: MIT
 *
 * Whether an image can be trusted: whatever its bytes, validation reads nothing outside
 * them, and an accepted image can be matched and described safely.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config/compile.h"
#include "config/describe.h"
#include "shim/shared/match.h"
#include "tools/policy/store.h"

#define MUTATIONS 200000

static const char *const RULES[] = {
    "name=a,exe=php-fpm*,exe=/usr/[ab]*/x,to=10.0.0.0/8:6379,to=[fd00::/8]:80-90,"
    "close=fin-reset",
    "name=b,uid=0,uid=1000,to=*:443,port_range=full,sample=50,failed_percent=5",
};

static struct tws_policy_image *make_image(void)
{
	const struct tws_source source = {.rules = RULES, .rule_count = 2};
	struct tws_complaints complaints = {0};
	struct tws_policy_image *image = tws_compile(&source, &complaints);

	assert_non_null(image);
	tws_complaints_free(&complaints);
	return image;
}

static void seal(struct tws_policy_image *image)
{
	image->checksum = tws_policy_checksum(image);
}

static void a_compiled_image_is_valid(void **state)
{
	struct tws_policy_image *image = make_image();

	assert_null(tws_policy_validate(image, image->size));
	free(image);
}

static void any_changed_byte_is_noticed(void **state)
{
	struct tws_policy_image *image = make_image();

	const uint32_t size = image->size;

	for (uint32_t i = 0; i < size; i++) {
		((char *)image)[i] ^= 0x40;
		assert_non_null(tws_policy_validate(image, size));
		((char *)image)[i] ^= 0x40;
	}
	free(image);
}

static void any_truncation_is_noticed(void **state)
{
	struct tws_policy_image *image = make_image();

	for (uint32_t size = 0; size < image->size; size++) {
		char *copy =
		    malloc(size + 1); /* so that a read beyond the end is detected */

		memcpy(copy, image, size);
		assert_non_null(tws_policy_validate(copy, size));
		free(copy);
	}
	free(image);
}

static void an_unaligned_image_is_refused(void **state)
{
	struct tws_policy_image *image = make_image();
	char *bytes = malloc(image->size + 8);

	memcpy(bytes + 1, image, image->size);
	assert_non_null(tws_policy_validate(bytes + 1, image->size));
	free(bytes);
	free(image);
}

/* Each case breaks one thing in a sealed image; all must be refused. */
static void break_image(struct tws_policy_image *image, unsigned what)
{
	struct tws_rule *rule = (struct tws_rule *)((char *)image + image->rules.offset);
	uint32_t *glob = (uint32_t *)((char *)image + rule->match.exe.offset);
	struct tws_target *target =
	    (struct tws_target *)((char *)image + rule->match.to.offset);

	switch (what) {
	case 0:
		image->abi_major++;
		break;
	case 1:
		image->rules.count = TWS_RULES + 1;
		break;
	case 2:
		image->rules.offset = UINT32_MAX - 7;
		break;
	case 3:
		image->rules.offset += 4;
		break;
	case 4:
		rule->name = image->size;
		break;
	case 5:
		rule->name = 0;
		break;
	case 6:
		*glob = image->size + 1;
		break;
	case 7:
		target->prefix_bits = 33;
		break;
	case 8:
		target->family = 5;
		break;
	case 9:
		target->port_low = (uint16_t)(target->port_high + 1);
		break;
	case 10:
		rule->action.close = TWS_CLOSE_RESET + 1;
		break;
	case 11:
		rule->action.flags |= 1u << 30;
		break;
	case 12:
		rule->action.sample_percent = 101;
		break;
	case 13:
		rule->action.close = TWS_CLOSE_LINGER;
		break;
	case 14:
		rule->match.to.count = UINT32_MAX;
		break;
	case 15:
		image->experiment.name = rule->name;
		break;
	case 16:
		image->experiment.arms.count = 1;
		break;
	case 17:
		image->settings.deepbind = 2;
		break;
	case 18:
		image->settings.destinations = TWS_MAX_DESTINATIONS + 1;
		break;
	case 19:
		image->source = image->size - 1;
		((char *)image)[image->size - 1] = 'x';
		break;
	default:
		image->byte_order = 0x04030201;
	}
}

static void each_broken_field_is_refused(void **state)
{
	for (unsigned what = 0; what <= 20; what++) {
		struct tws_policy_image *image = make_image();

		break_image(image, what);
		seal(image);
		if (!tws_policy_validate(image, image->size))
			fail_msg("case %u was let through", what);
		free(image);
	}
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Uses everything in an image that validation accepted. */
static void use(const struct tws_policy_image *image, bool describe)
{
	const struct tws_rule *rules = tws_policy_at(image, image->rules.offset);
	const struct tws_subject subject = {.exe = "/usr/bin/php-fpm", .uid = 1000};
	const struct tws_address address = {
	    .family = TWS_IPV4, .bytes = {10, 1, 2, 3}, .port = 6379};

	for (uint32_t i = 0; i < image->rules.count; i++) {
		tws_match_subject(image, &rules[i].match, &subject);
		tws_match_address(image, &rules[i].match, &address);
	}
	tws_match_subject(image, &image->experiment.match, &subject);
	tws_match_address(image, &image->experiment.match, &address);
	if (image->experiment.name)
		tws_pick_arm(tws_policy_at(image, image->experiment.arms.offset),
			     image->experiment.arms.count, 1u << 31);
	if (describe)
		free(tws_describe_text(image));
}

static void mutate(unsigned char *bytes, uint32_t size, uint64_t *seed)
{
	static const uint32_t INTERESTING[] = {0, 1, 0x7f, 0xff, 0x7fffffff, 0xffffffff};
	unsigned changes = 1 + next_random(seed) % 4;

	while (changes-- > 0) {
		uint32_t at = (uint32_t)(next_random(seed) % size);
		uint32_t word = next_random(seed) % 2
				    ? INTERESTING[next_random(seed) % 6]
				    : (uint32_t)next_random(seed) % size;

		if (next_random(seed) % 2 || at + 4 > size)
			bytes[at] = (unsigned char)next_random(seed);
		else
			memcpy(bytes + at, &word, sizeof(word));
	}
}

static void whatever_is_let_through_does_no_harm(void **state)
{
	const char *given = getenv("TWSHIM_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
	struct tws_policy_image *image = make_image(), *mutated = malloc(image->size);
	uint32_t size = image->size, through = 0;

	print_message("seed: TWSHIM_TEST_SEED=%llu\n", (unsigned long long)seed);
	seed = seed * 2 + 1;
	for (unsigned i = 0; i < MUTATIONS; i++) {
		memcpy(mutated, image, size);
		mutate((unsigned char *)mutated, size, &seed);
		mutated->size = size;
		seal(mutated);
		if (tws_policy_validate(mutated, size))
			continue;
		use(mutated, through++ % 64 == 0);
	}
	assert_true(through > 0);
	free(mutated);
	free(image);
}

/* -------------------------------------------------------- in a directory */

static int make_directory(char path[64])
{
	strcpy(path, "/tmp/twshim-test-XXXXXX");
	assert_non_null(mkdtemp(path));
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void remove_directory(int directory, const char *path)
{
	char command[128];

	close(directory);
	snprintf(command, sizeof(command), "rm -rf %s", path);
	assert_int_equal(system(command), 0);
}

static void what_is_stored_is_in_force(void **state)
{
	struct tws_policy_image *image = make_image(), *found = NULL;
	struct tws_policy_control control;
	char path[64];
	int directory = make_directory(path);

	assert_int_equal(tws_policy_fetch(directory, &found, &control), 0);
	assert_null(found);
	for (uint64_t generation = 1; generation <= 20; generation++) {
		assert_int_equal(tws_policy_store(directory, image, 0600), 0);
		assert_int_equal(tws_policy_fetch(directory, &found, &control), 0);
		assert_int_equal(found->generation, generation);
		free(found);
	}
	assert_int_equal(tws_policy_store(directory, NULL, 0600), 0);
	assert_int_equal(tws_policy_fetch(directory, &found, &control), 0);
	assert_null(found);
	assert_int_equal(control.state, 2 * 21);
	remove_directory(directory, path);
	free(image);
}

static void an_empty_control_file_is_completed(void **state)
{
	struct tws_policy_image *image = make_image();
	char path[64];
	int directory = make_directory(path);
	int fd = openat(directory, TWS_POLICY_CONTROL, O_WRONLY | O_CREAT, 0600);
	struct stat st;

	assert_int_equal(tws_policy_store(directory, image, 0600), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, TWS_POLICY_FILE_SIZE);
	close(fd);
	free(image);
	remove_directory(directory, path);
}

static void a_directory_that_others_may_write_is_refused(void **state)
{
	struct tws_policy_image *image = make_image();
	char path[64];
	int directory = make_directory(path);

	assert_int_equal(fchmod(directory, 0777), 0);
	assert_int_equal(tws_policy_store(directory, image, 0600), -EPERM);
	assert_int_equal(fchmod(directory, 0700), 0);
	assert_int_equal(symlinkat("/dev/null", directory, TWS_POLICY_CONTROL), 0);
	assert_int_equal(tws_policy_store(directory, image, 0600), -EPERM);
	free(image);
	remove_directory(directory, path);
}

static void a_damaged_image_is_said_to_be(void **state)
{
	struct tws_policy_image *image = make_image(), *found = NULL;
	struct tws_policy_control control;
	char path[64];
	int directory = make_directory(path), fd;

	assert_int_equal(tws_policy_store(directory, image, 0600), 0);
	fd = openat(directory, TWS_POLICY_CONTROL, O_WRONLY);
	assert_int_equal(pwrite(fd, "!", 1, (off_t)tws_policy_slot(1) + 100), 1);
	close(fd);
	assert_int_equal(tws_policy_fetch(directory, &found, &control), -EBADMSG);
	assert_null(found);
	free(image);
	remove_directory(directory, path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_compiled_image_is_valid),
	    cmocka_unit_test(any_changed_byte_is_noticed),
	    cmocka_unit_test(any_truncation_is_noticed),
	    cmocka_unit_test(an_unaligned_image_is_refused),
	    cmocka_unit_test(each_broken_field_is_refused),
	    cmocka_unit_test(whatever_is_let_through_does_no_harm),
	    cmocka_unit_test(what_is_stored_is_in_force),
	    cmocka_unit_test(an_empty_control_file_is_completed),
	    cmocka_unit_test(a_directory_that_others_may_write_is_refused),
	    cmocka_unit_test(a_damaged_image_is_said_to_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
