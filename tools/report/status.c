/* SPDX-License-Identifier: MIT */
#include "tools/report/status.h"

#include <stdio.h>

#include "tools/advice/doctor.h"
#include "tools/base/cli.h"

#define OWNERS_SHOWN 3

static void print_owner(const struct model *model, const struct owners_group *group)
{
	char number[PRINT_NUMBER_SIZE], to[PRINT_ADDRESS_SIZE], name[128];

	printf("  %8s  ", print_number(number, group->count));
	if (group->app != MODEL_NOBODY)
		fputs(print_escape(name, sizeof(name), model->apps[group->app].name),
		      stdout);
	else
		fputs("programs not running under twshim", stdout);
	if (group->local_port)
		printf(", incoming on port %u\n", group->local_port);
	else
		printf(" to %s\n", print_address(to, &group->to));
}

int status_print(bool color)
{
	const struct doctor_request request = {0};
	struct doctor doctor;
	char error[PRINT_ERROR_SIZE];

	if (doctor_examine(&doctor, &request, error, sizeof(error)) != 0) {
		doctor_free(&doctor);
		return cli_fail(CLI_FAILURE, "%s", error);
	}
	doctor_print_verdict(stdout, &doctor, color);
	if (doctor.owners.count)
		puts("\nTIME_WAIT sockets by owner:");
	for (size_t i = 0; i < doctor.owners.count && i < OWNERS_SHOWN; i++)
		print_owner(doctor.model, &doctor.owners.groups[i]);
	puts("\nNext:\n"
	     "  twshim run -- COMMAND   what a command opens and leaves behind\n"
	     "  twshim doctor           everything that is wrong, with its cure\n"
	     "  twshim --help           all commands");
	doctor_free(&doctor);
	return cli_finish_output();
}
