/* SPDX-License-Identifier: MIT */
#include "tools/report/status.h"

#include <stdio.h>

#include "tools/advice/doctor.h"
#include "tools/base/cli.h"

#define OWNERS_SHOWN 3
#define WIDTH	     90
#define LINE_SIZE    (ADVICE_TEXT_SIZE + 256)

/* The finding that matters most; NULL: nothing is wrong. */
static const struct advice_finding *worst_finding(const struct doctor *doctor)
{
	const struct advice_finding *worst = NULL;

	for (size_t i = 0; i < doctor->advice.count; i++) {
		const struct advice_finding *finding = &doctor->advice.findings[i];

		if (doctor_shows(doctor, finding) &&
		    finding->verdict > (worst ? worst->verdict : VERDICT_UNKNOWN))
			worst = finding;
	}
	return worst;
}

static void print_verdict(const struct doctor *doctor, bool color)
{
	const struct advice_finding *worst = worst_finding(doctor);
	char number[PRINT_NUMBER_SIZE], line[LINE_SIZE], safe[LINE_SIZE];
	uint64_t time_wait = doctor->model->kernel.time_wait;

	if (worst)
		snprintf(line, sizeof(line), "%s: %s: %s", worst->id, worst->title,
			 worst->evidence);
	else
		snprintf(line, sizeof(line), "Nothing is wrong: %s TIME_WAIT %s.",
			 print_number(number, time_wait),
			 print_plural(time_wait, "socket", "sockets"));
	fputs(print_style(worst ? PRINT_YELLOW : PRINT_GREEN, color), stdout);
	print_wrapped(stdout, print_escape(safe, sizeof(safe), line), 0, WIDTH);
	fputs(print_style(PRINT_PLAIN, color), stdout);
}

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
	print_verdict(&doctor, color);
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
