/* SPDX-License-Identifier: MIT
 *
 * The policy in force: `policy load`, `show` and `clear`.
 */
#include "tools/policy/actions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config/describe.h"
#include "tools/base/cli.h"
#include "tools/base/json.h"
#include "tools/policy/store.h"
#include "tools/segments/dir_option.h"
#include "tools/segments/rundir.h"

#define BY "--dir (or TWSHIM_DIR)"

/* An image on its way into a directory and the runs below it. */
struct loading {
	struct tws_policy_image *image;
	uint64_t generation; /* in the main directory */
	unsigned runs;
};

static int load_into(int directory, const char *name, void *data)
{
	struct loading *loading = data;
	int result = tws_policy_store(directory, loading->image);

	if (!*name) {
		loading->generation = loading->image->generation;
		return result;
	}
	/* A run that is going away is no reason to fail. */
	loading->runs += result == 0;
	return 0;
}

static int find_directory(const struct policy_options *options, char *ret_path,
			  size_t size)
{
	int result = 0;

	if (!options->directory)
		result = tws_rundir_find(ret_path, size);
	else if ((size_t)snprintf(ret_path, size, "%s", options->directory) >= size)
		result = -ENAMETOOLONG;
	if (result == 0)
		return 0;
	return cli_fail(CLI_FAILURE,
			"run-time directory: %s: set TWSHIM_DIR, or --dir, to an "
			"absolute path on a tmpfs",
			strerror(-result));
}

static int put_in_force(const struct policy_options *options,
			struct tws_policy_image *image, const char *verb)
{
	struct loading loading = {.image = image};
	char path[4096];
	int result;

	if (find_directory(options, path, sizeof(path)) != 0)
		return CLI_FAILURE;
	if (tws_rundir_check(path) == -EXDEV)
		return tws_policy_fail_store(CLI_FAILURE, path, -EXDEV, BY);
	result = tws_rundir_create(path);
	if (result == 0)
		result = tws_rundir_each(path, load_into, &loading);
	if (result != 0)
		return tws_policy_fail_store(CLI_FAILURE, path, result, BY);
	if (options->json)
		return policy_print_json(
		    json_pack("{s:s, s:o, s:I, s:i}", "schema", "twshim.policy-load/1",
			      "directory", print_json_text(path), "generation",
			      (json_int_t)loading.generation, "runs", (int)loading.runs));
	printf("%s in %s", verb, path);
	if (loading.runs)
		printf(" and %u run%s below it", loading.runs,
		       loading.runs == 1 ? "" : "s");
	printf(": generation %llu, in force from each process's next connection\n",
	       (unsigned long long)loading.generation);
	return 0;
}

int policy_load(const struct policy_options *options)
{
	struct tws_policy_image *image = policy_compile(options);
	int status = image ? put_in_force(options, image, "loaded") : CLI_FAILURE;

	free(image);
	return status;
}

int policy_clear(const struct policy_options *options)
{
	const struct tws_source nothing = {0};
	struct tws_complaints complaints = {0};
	struct tws_policy_image *image = tws_compile(&nothing, &complaints);
	int status = image ? put_in_force(options, image, "cleared")
			   : cli_fail(CLI_FAILURE, "policy clear: out of memory");

	tws_complaints_free(&complaints);
	free(image);
	return status;
}

/* The time of compiling, as 2025-11-23T21:23:00Z. */
static void format_time(uint64_t realtime_ns, char text[32])
{
	time_t seconds = (time_t)(realtime_ns / 1000000000u);
	struct tm utc;

	if (!gmtime_r(&seconds, &utc) ||
	    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
		strcpy(text, "unknown");
}

static int show_image(const struct policy_options *options, const char *path,
		      const struct tws_policy_image *image)
{
	const char *source = tws_policy_at(image, image->source);
	char compiled[32];

	format_time(image->compiled_realtime_ns, compiled);
	if (options->json)
		return policy_print_json(json_pack(
		    "{s:s, s:o, s:I, s:s, s:o, s:o}", "schema", "twshim.policy/1",
		    "directory", print_json_text(path), "generation",
		    (json_int_t)image->generation, "compiled", compiled, "source",
		    print_json_text(source), "policy", tws_describe_json(image)));
	printf("# generation %llu in %s, compiled %s from %s\n",
	       (unsigned long long)image->generation, path, compiled, source);
	policy_print(image);
	return 0;
}

void policy_print_none(const char *path)
{
	printf("# no policy was ever loaded in %s: all connections are observed only\n",
	       path);
}

static int show_none(const struct policy_options *options, const char *path)
{
	if (options->json)
		return policy_print_json(
		    json_pack("{s:s, s:o, s:i}", "schema", "twshim.policy/1", "directory",
			      print_json_text(path), "generation", 0));
	policy_print_none(path);
	return 0;
}

int policy_in_force(const struct policy_options *options, char *ret_path, size_t size,
		    struct tws_policy_image **ret_image)
{
	int directory, result;

	*ret_image = NULL;
	if (options->directory && dir_option_check(options->directory) != 0)
		return CLI_FAILURE;
	if (find_directory(options, ret_path, size) != 0)
		return CLI_FAILURE;
	directory = tws_rundir_open(ret_path);
	result = directory == -ENOENT ? 0 : directory;
	if (directory >= 0) {
		result = tws_policy_fetch(directory, ret_image);
		close(directory);
	}
	if (result == -EBADMSG)
		return cli_fail(CLI_FAILURE,
				"%s: the policy in force is damaged: load one anew with "
				"`twshim policy load FILE`",
				ret_path);
	if (result != 0)
		return cli_fail(CLI_FAILURE, "%s: %s: name the directory with --dir",
				ret_path, strerror(-result));
	return 0;
}

int policy_show(const struct policy_options *options)
{
	struct tws_policy_image *image;
	char path[4096];
	int status = policy_in_force(options, path, sizeof(path), &image);

	if (status == 0)
		status =
		    image ? show_image(options, path, image) : show_none(options, path);
	free(image);
	return status;
}
