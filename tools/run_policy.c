/* SPDX-License-Identifier: MIT */
#include "tools/run_policy.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
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
