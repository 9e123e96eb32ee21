/* SPDX-License-Identifier: MIT
 *
 * twshim lab: controlled experiments on this kernel. The table of experiments is here;
 * each is a file lab_NAME.c.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tools/base/cli.h"
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

#define COUNT (sizeof(EXPERIMENTS) / sizeof(*EXPERIMENTS))

enum { OPTION_JSON, OPTION_LIST, OPTION_COLOR };

static const struct cli_option OPTIONS[] = {
    {"json", 0, NULL,
     "one JSON object, schema twshim.lab/1; of --list,\n"
     "twshim.lab-list/1"},
    {"list", 0, NULL, "name the experiments"},
    {"color", 0, "WHEN", "auto (default), always, never"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_command COMMAND = {
    .name = "lab",
    .operands = "[EXPERIMENT...]",
    .summary = "Tries on this kernel what is said about TIME_WAIT: which advice works "
	       "here, what\n"
	       "it costs, what it loses. In private network namespaces; nothing of this "
	       "host is\n"
	       "touched. Policies are tried with a real client under the real shim.\n",
    .notes =
	"Without a name: all but timewait, in at most three minutes. timewait alone\n"
	"takes minutes. Exit status: 0 all was tried, 1 something could not be, 2 "
	"usage.\n",
    .options = OPTIONS,
    .usage_status = CLI_USAGE,
};

struct request {
	bool json, list;
	enum print_color color;
	bool chosen[COUNT];
};

/* Takes the object. */
static int dump(json_t *object)
{
	int result = json_dumpf(
	    object, stdout, JSON_INDENT(1) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));

	putchar('\n');
	json_decref(object);
	/* What standard output refuses is said where it is finished. */
	return result == 0 || ferror(stdout)
		   ? cli_finish_output()
		   : cli_fail(CLI_FAILURE, "lab: %s", strerror(ENOMEM));
}

static int list_json(void)
{
	json_t *array = json_array();

	for (size_t i = 0; i < COUNT; i++)
		json_array_append_new(array, json_pack("{s:s, s:s, s:b}", "name",
						       EXPERIMENTS[i].name, "help",
						       EXPERIMENTS[i].help, "by_default",
						       EXPERIMENTS[i].by_default));
	return dump(
	    json_pack("{s:s, s:o}", "schema", "twshim.lab-list/1", "experiments", array));
}

static int list(const struct request *request)
{
	if (request->json)
		return list_json();
	for (size_t i = 0; i < COUNT; i++)
		printf("%-10s%s\n", EXPERIMENTS[i].name, EXPERIMENTS[i].help);
	return cli_finish_output();
}

static int choose(struct request *request, const char *word)
{
	const char *names[COUNT], *meant;

	for (size_t i = 0; i < COUNT; i++) {
		names[i] = EXPERIMENTS[i].name;
		if (strcmp(names[i], word) == 0) {
			request->chosen[i] = true;
			return 0;
		}
	}
	meant = cli_nearest(word, names, COUNT);
	return cli_fail(CLI_USAGE, "lab: %s: no such experiment: %s%s%s", word,
			meant ? "did you mean " : "see twshim lab --list",
			meant ? meant : "", meant ? "?" : "");
}

static int take_operands(struct request *request, int argc, char **argv)
{
	int status = 0;

	if (optind == argc)
		for (size_t i = 0; i < COUNT; i++)
			request->chosen[i] = EXPERIMENTS[i].by_default;
	while (status == 0 && optind < argc)
		status = choose(request, argv[optind++]);
	return status;
}

static int fail_run(const char *name, int result)
{
	if (result == -EINTR)
		return cli_fail(CLI_FAILURE, "lab: interrupted");
	return cli_fail(CLI_FAILURE, "lab %s: %s", name, strerror(-result));
}

static int run_one(struct lab_bench *bench, const struct experiment *experiment,
		   const struct request *request, json_t *all)
{
	bool color = print_color_wanted(request->color, stdout);
	struct lab_result result = {.name = experiment->name};
	uint64_t start = lab_now_ns();
	int status = experiment->run(bench, &result);

	result.seconds = (double)(lab_now_ns() - start) / 1e9;
	if (status != 0) {
		status = fail_run(experiment->name, status);
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

static int print_json(json_t *experiments)
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
	return dump(object);
}

static int run_all(const struct request *request)
{
	struct lab_bench bench = {.progress = isatty(STDERR_FILENO) == 1};
	json_t *all = json_array();
	char error[LAB_REASON];
	int status = 0, one;

	if (lab_bench_open(&bench, error, sizeof(error)) != 0) {
		json_decref(all);
		return cli_fail(CLI_FAILURE, "lab: %s", error);
	}
	for (size_t i = 0; i < COUNT; i++) {
		if (!request->chosen[i])
			continue;
		one = run_one(&bench, &EXPERIMENTS[i], request, all);
		if (one != 0)
			status = one;
		if (bench.interrupted)
			break;
	}
	lab_bench_close(&bench);
	one = request->json ? print_json(all) : cli_finish_output();
	json_decref(all);
	return status ? status : one;
}

static int set_option(void *data, int option)
{
	struct request *request = data;

	if (option == OPTION_COLOR)
		return cli_take_color(&request->color);
	if (option == OPTION_LIST)
		request->list = true;
	else
		request->json = true;
	return 0;
}

int cmd_lab(int argc, char **argv)
{
	struct request request = {.color = PRINT_COLOR_AUTO};
	int status;

	/* Ourselves, started by ourselves: see lab_case.c. */
	if (argc == 3 && strcmp(argv[1], "--client") == 0)
		return lab_client_main(atoi(argv[2]));
	status = cli_read(&COMMAND, argc, argv, set_option, &request);
	if (status != CLI_GO_ON)
		return status;
	if (request.list)
		return list(&request);
	status = take_operands(&request, argc, argv);
	return status ? status : run_all(&request);
}
