/* SPDX-License-Identifier: MIT */
#include "tools/run_policy.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/complaint.h"
#include "shim/shared/rundir.h"
#include "tools/base/cli.h"
#include "tools/policy/store.h"

int run_policy_leave(struct run_directory *run, const struct tws_source *source)
{
	struct tws_complaints complaints = {0};
	int result = tws_policy_install(source, run->path, run->policy_mode, &complaints);

	tws_policy_print_complaints(stderr, &complaints);
	if (result != 0 && !complaints.errors)
		tws_policy_fail_store(0, run->path, result, "TWSHIM_DIR");
	tws_complaints_free(&complaints);
	if (result == 0)
		run_directory_leave(run);
	else
		run_directory_discard(run);
	return result ? CLI_FAILURE : 0;
}

static uint64_t hash_image(const struct tws_policy_image *image, uint64_t hash)
{
	const uint8_t *at = (const uint8_t *)image;

	for (uint32_t i = 0; i < image->size; i++)
		hash = (hash ^ at[i]) * 1099511628211u;
	return hash;
}

/* Of what the policy says, whenever it was compiled. */
static void tag_of(struct tws_policy_image *image, char ret_tag[TWS_RUN_TAG_SIZE])
{
	uint64_t half[2];

	image->compiled_realtime_ns = 0;
	image->checksum = 0;
	half[0] = hash_image(image, 14695981039346656037u);
	half[1] = hash_image(image, ~half[0]) | 1;
	_Static_assert(sizeof(half) == TWS_RUN_SIZE, "a run has 128 bits");
	tws_run_tag((const uint8_t *)half, ret_tag);
}

/* 0, or the exit status after it has printed the errors of the policy. */
static int name_of(const struct tws_source *source, char ret_tag[TWS_RUN_TAG_SIZE])
{
	struct tws_complaints complaints = {0};
	struct tws_policy_image *image = tws_compile(source, &complaints);
	int status = image ? 0 : CLI_FAILURE;

	if (image)
		tag_of(image, ret_tag);
	else if (complaints.errors)
		tws_policy_print_complaints(stderr, &complaints);
	else
		cli_fail(0, "the policy: %s", strerror(ENOMEM));
	tws_complaints_free(&complaints);
	free(image);
	return status;
}

int run_policy_make(struct run_directory *ret_run, const struct tws_source *source)
{
	char tag[TWS_RUN_TAG_SIZE], error[PATH_MAX + 256];
	int status = name_of(source, tag);

	if (status != 0)
		return status;
	if (run_directory_name(ret_run, tag, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	return run_policy_leave(ret_run, source);
}

int run_policy_load(const char *tag, const struct tws_source *source)
{
	struct run_directory run;
	char error[PATH_MAX + 256];
	uint8_t bytes[TWS_RUN_SIZE];

	if (!tws_run_parse(tag, bytes))
		return cli_fail(
		    CLI_USAGE, "--run: %s is not the tag of a run, 32 hexadecimal digits",
		    tag);
	/* Root's runs are all in one place. A unit may set another for its processes. */
	if (geteuid() == 0)
		unsetenv("TWSHIM_DIR");
	if (run_directory_name(&run, tag, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	return run_policy_leave(&run, source);
}
