/* SPDX-License-Identifier: MIT
 *
 * twshim lab: controlled experiments on this kernel. The table of experiments is here;
 * each has a file in lab/.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/base/cli.h"
#include "tools/base/json.h"
#include "tools/lab/result.h"
#include "tools/base/print.h"

static const struct experiment {
	const char *name, *help;
	bool by_default;
	int (*run)(struct lab_bench *bench, struct lab_result *result);
} EXPERIMENTS[] = {
    {"close", "all ways to close: TIME_WAIT left, data lost, what the reader saw", true,
     lab_close},
    {"ports", "how many connections 20 ports carry, and which advice changes that", true,
     lab_ports},
    {"brownout", "what connect() costs as the port range fills up", true, lab_brownout},
    {"timewait",
     "how long TIME_WAIT lasts, whatever tcp_fin_timeout is; takes two minutes", false,
     lab_timewait},
    {"link", "`close` across a link with 20 ms delay and 2 % loss", true, lab_link},
    {"myths", "every popular claim about TIME_WAIT, tried here", true, lab_myths},
};

#define EXPERIMENT_COUNT (sizeof(EXPERIMENTS) / sizeof(*EXPERIMENTS))

struct request {
	bool json, list;
	enum print_color color;
	bool chosen[EXPERIMENT_COUNT];
};

static const struct cli_option OPTIONS[] = {
    {"json", 0, NULL,
     "one JSON object, schema twshim.lab/1; with --list,\n"
     "twshim.lab-list/1",
     cli_take_flag, .offset = offsetof(struct request, json)},
    {"list", 0, NULL, "name the experiments", cli_take_flag,
     .offset = offsetof(struct request, list)},
    CLI_COLOR(struct request, color),
    {0},
};

static const struct cli_command COMMAND = {
    .name = "lab",
    .operands = "[EXPERIMENT...]",
    .summary =
	"Tries the popular claims about TIME_WAIT on this kernel: which advice works "
	"here, what\n"
	"it costs and what it loses. Runs in private network namespaces and "
	"touches nothing\n"
	"of this host. Policies are tried with a real client under the real "
	"shim.\n",
    .notes = "Without a name, runs all but timewait, in at most three minutes. timewait\n"
	     "takes two. Exit status: 0 all were tried, 1 something could not be tried,\n"
	     "2 usage.\n",
    .options = OPTIONS,
    .most_operands = CLI_ANY,
};

/* Prints the object and drops the reference. The exit status. */
static int lab_dump(json_t *object)
{
	if (print_json(stdout, object, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) != 0)
		return cli_fail(CLI_FAILURE, "lab: %s", strerror(ENOMEM));
	return cli_finish_output();
}

static int lab_list_json(void)
{
	json_t *array = json_array();

	for (size_t i = 0; i < EXPERIMENT_COUNT; i++)
		json_array_append_new(array, json_pack("{s:s, s:s, s:b}", "name",
						       EXPERIMENTS[i].name, "help",
						       EXPERIMENTS[i].help, "by_default",
						       EXPERIMENTS[i].by_default));
	return lab_dump(
	    json_pack("{s:s, s:o}", "schema", "twshim.lab-list/1", "experiments", array));
}

static int lab_list(const struct request *request)
{
	if (request->json)
		return lab_list_json();
	for (size_t i = 0; i < EXPERIMENT_COUNT; i++)
		printf("%-10s%s\n", EXPERIMENTS[i].name, EXPERIMENTS[i].help);
	return cli_finish_output();
}

static int lab_choose(struct request *request, const char *word)
{
	const char *names[EXPERIMENT_COUNT], *meant;

	for (size_t i = 0; i < EXPERIMENT_COUNT; i++) {
		names[i] = EXPERIMENTS[i].name;
		if (strcmp(names[i], word) == 0) {
			request->chosen[i] = true;
			return 0;
		}
	}
	meant = cli_nearest(word, names, EXPERIMENT_COUNT);
	return cli_fail(CLI_USAGE, "lab: %s: no such experiment: %s%s%s", word,
			meant ? "did you mean " : "see twshim lab --list",
			meant ? meant : "", meant ? "?" : "");
}

static int lab_take_operands(struct request *request, int argc, char **argv)
{
	int status = 0;

	if (optind == argc)
		for (size_t i = 0; i < EXPERIMENT_COUNT; i++)
			request->chosen[i] = EXPERIMENTS[i].by_default;
	while (status == 0 && optind < argc)
		status = lab_choose(request, argv[optind++]);
	return status;
}

static int lab_fail_run(const char *name, int result)
{
	return cli_fail(CLI_FAILURE, "lab %s: %s", name, strerror(-result));
}

static int lab_run_one(struct lab_bench *bench, const struct experiment *experiment,
		       const struct request *request, json_t *all)
{
	bool color = print_color_wanted(request->color, stdout);
	struct lab_result result = {.name = experiment->name};
	uint64_t start = tws_now();
	int status = experiment->run(bench, &result);

	result.seconds = (double)(tws_now() - start) / 1e9;
	result.failed |= bench->interrupted;
	if (status != 0) {
		status = lab_fail_run(experiment->name, status);
	} else if (request->json) {
		json_array_append_new(all, lab_result_json(&result));
	} else {
		lab_result_write(&result, stdout, color);
		putchar('\n');
		fflush(stdout);
	}
	if (status == 0 && result.failed)
		status = CLI_FAILURE;
	lab_result_free(&result);
	return status;
}

static int lab_print_json(json_t *experiments)
{
	json_t *object = json_object();
	struct utsname system;
	char now[PRINT_TIME_SIZE];

	uname(&system);
	json_object_set_new(object, "schema", json_string("twshim.lab/1"));
	json_object_set_new(object, "generated",
			    json_string(print_time(now, time(NULL))));
	json_object_set_new(object, "kernel", json_string(system.release));
	json_object_set(object, "experiments", experiments);
	return lab_dump(object);
}

static int lab_run_all(const struct request *request)
{
	struct lab_bench bench = {.progress = isatty(STDERR_FILENO) == 1};
	json_t *all = json_array();
	char error[LAB_REASON];
	int status = 0, one;

	if (lab_bench_open(&bench, error, sizeof(error)) != 0) {
		json_decref(all);
		return cli_fail(CLI_FAILURE, "lab: %s", error);
	}
	for (size_t i = 0; i < EXPERIMENT_COUNT; i++) {
		if (!request->chosen[i])
			continue;
		one = lab_run_one(&bench, &EXPERIMENTS[i], request, all);
		if (one != 0)
			status = one;
		if (bench.interrupted)
			break;
	}
	lab_bench_close(&bench);
	one = request->json ? lab_print_json(all) : cli_finish_output();
	json_decref(all);
	if (bench.interrupted)
		return cli_fail(one, "lab: interrupted: not everything was tried");
	return status ? status : one;
}

int cmd_lab(int argc, char **argv)
{
	struct request request = {.color = PRINT_COLOR_AUTO};
	int status;

	/* lab/case.c starts this program again as its client. */
	if (argc == 3 && strcmp(argv[1], "--client") == 0)
		return lab_client_main(atoi(argv[2]));
	status = cli_read(&COMMAND, argc, argv, &request);
	if (status != CLI_GO_ON)
		return status;
	if (request.list)
		return lab_list(&request);
	status = lab_take_operands(&request, argc, argv);
	return status ? status : lab_run_all(&request);
}
