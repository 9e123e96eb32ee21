/* SPDX-License-Identifier: MIT
 *
 * twshim report: what is known now.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/cli.h"
#include "tools/base/memory.h"
#include "tools/base/output.h"
#include "tools/report/report.h"

static const char usage[] =
    "Usage: twshim report [OPTION...] [APPLICATION|PID]\n"
    "What is known now: who opened connections to where, who closed them first, and "
    "which\n"
    "TIME_WAIT sockets they left; of all applications, of one (its name or path), or of\n"
    "one process.\n"
    "\n"
    "      --json          one JSON object, schema twshim.report/1\n"
    "      --html FILE     instead of text: one page that needs nothing else, for a "
    "browser\n"
    "                      or a ticket; -: standard output\n"
    "      --dir DIR       read this run-time directory\n"
    "      --color WHEN    auto (default), always, never\n"
    "      --help          this text\n";

static int complain(const char *what, const char *why)
{
	return cli_fail(CLI_USAGE, "report: %s: %s; see twshim report --help", what, why);
}

/* CLI_GO_ON, or the exit status. */
static int parse(int argc, char **argv, struct report_options *options,
		 const char **ret_page)
{
	static const struct option longs[] = {
	    {"json", no_argument, NULL, 'j'},
	    {"html", required_argument, NULL, 'p'},
	    {"dir", required_argument, NULL, 'd'},
	    {"color", required_argument, NULL, 'c'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int option;

	optind = 0;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":", longs, NULL)) != -1) {
		if (option == 'j') {
			options->json = true;
		} else if (option == 'p') {
			*ret_page = optarg;
		} else if (option == 'd') {
			if (cli_take_dir(&options->dir) != 0)
				return CLI_FAILURE;
		} else if (option == 'c') {
			if (print_color_parse(optarg, &options->color) != 0)
				return complain(optarg, "not auto, always or never");
		} else if (option == 'h') {
			fputs(usage, stdout);
			return 0;
		} else {
			return complain(argv[optind - 1], option == ':'
							      ? "an argument is missing"
							      : "no such option");
		}
	}
	if (argc - optind > 1)
		return complain(argv[optind + 1], "only one application or process");
	if (optind < argc && !cli_is_pid(argv[optind], &options->pid))
		options->app = argv[optind];
	return CLI_GO_ON;
}

static int print(FILE *out, struct report_options *options)
{
	char error[PRINT_ERROR_SIZE];

	if (report_print(out, options, error, sizeof(error)) != 0)
		return cli_fail(CLI_FAILURE, "%s", error);
	return cli_finish_output();
}

static int complain_of_page(const char *path, int result)
{
	return cli_fail(CLI_FAILURE,
			"%s: the page can't be written: %s: name a file (--html) that "
			"you may write, in a directory that exists",
			path, strerror(-result));
}

/* The page, and of the same moment the JSON if that is wanted too. */
static int print_page(const char *path, struct report_options *options)
{
	struct output page;
	int result = output_open(&page, path), status;

	if (result != 0)
		return complain_of_page(path, result);
	options->page = page.file;
	status = print(options->json ? stdout : NULL, options);
	if (status == 0)
		result = output_commit(&page);
	output_abandon(&page);
	if (result != 0)
		return complain_of_page(path, result);
	if (status == 0 && strcmp(path, "-") != 0)
		fprintf(stderr, "twshim: the page is in %s\n", path);
	return status;
}

int cmd_report(int argc, char **argv)
{
	struct report_options options = {.color = PRINT_COLOR_AUTO};
	const char *page = NULL;
	int status = parse(argc, argv, &options, &page);

	if (status >= 0)
		return status;
	memory_prefer_huge_pages();
	if (page && options.json && strcmp(page, "-") == 0)
		return complain("--html -", "standard output is for --json");
	return page ? print_page(page, &options) : print(stdout, &options);
}
