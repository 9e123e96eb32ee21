/* SPDX-License-Identifier: MIT
 *
 * twshim serve: a live page, metrics for Prometheus, JSON.
 */
#include "tools/commands.h"

#include <errno.h>
#include <getopt.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "config/address.h"
#include "tools/base/cli.h"
#include "tools/base/interrupt.h"
#include "tools/base/memory.h"
#include "tools/kernel/kernel.h"
#include "tools/kernel/naming.h"
#include "tools/model/settler.h"
#include "tools/observe/words.h"
#include "tools/base/print.h"
#include "tools/segments/dir_option.h"
#include "tools/web/web.h"
#include "tools/web/deadline.h"

#define DIGITS_OF(number) #number
#define DIGITS(number)	  DIGITS_OF(number)
#define DEADLINE_MS	  5000 /* how often to end connections whose time is over */

static int serve_take_listen(const struct cli_option *option, void *field)
{
	struct tws_problem problem;

	if (tws_address_parse(optarg, field, &problem))
		return 0;
	return cli_fail(
	    CLI_USAGE, "--%s %s: not an address and port: write 127.0.0.1:%d or [::1]:%d",
	    option->name, optarg, WEB_PORT, WEB_PORT);
}

static const struct cli_option OPTIONS[] = {
    {"listen", 'l', "ADDRESS:PORT",
     "where (127.0.0.1:" DIGITS(WEB_PORT) "). There is no authentication: anyone\n"
					  "who can connect can read",
     serve_take_listen, .offset = offsetof(struct web_options, listen)},
    METRICS_OPTIONS(struct web_options, metrics),
    DIR_OPTION(struct web_options, metrics.dir),
    {"all-names", 0, NULL,
     "for root: name other users' programs too; without it\n"
     "they are \"user UID\"",
     cli_take_flag, .offset = offsetof(struct web_options, all_names)},
    {0},
};

static const struct cli_command COMMAND = {
    .name = "serve",
    .operands = "",
    .summary =
	"Serves what is known, read-only, until interrupted: / is a live page, "
	"/metrics is for\nPrometheus (text and OpenMetrics), /api/report, "
	"/api/owners and /api/doctor are JSON,\n/healthz answers while it runs. "
	"While nobody asks, it only notes\nhow the connections of killed processes "
	"ended.\n",
    .options = OPTIONS,
};

/* Who serves requests must not be able to load programs into the kernel. */
static void serve_give_up_bpf(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const uint32_t bpf = CAP_TO_MASK(CAP_BPF) | CAP_TO_MASK(CAP_PERFMON);
	struct __user_cap_data_struct half[_LINUX_CAPABILITY_U32S_3];
	const size_t which = CAP_TO_INDEX(CAP_BPF);

	if (syscall(SYS_capget, &header, half) != 0)
		return;
	half[which].effective &= ~bpf;
	half[which].permitted &= ~bpf;
	half[which].inheritable &= ~bpf;
	syscall(SYS_capset, &header, half);
}

/* Before other threads start: each has capabilities of its own. NULL: the kernel refused
 * to tell. It is known at once that it will be needed for long. */
static struct settler *serve_open_settler(const char *dir)
{
	struct settler *settler = NULL;
	char error[PRINT_ERROR_SIZE];

	if (settler_open(&settler, dir, false, words_source(), error, sizeof(error)) == 0)
		kernel_listener_prefer(settler_listener(settler));
	serve_give_up_bpf();
	return settler;
}

/* Settles killed processes meanwhile, so that no connection of theirs ends unseen. */
static void serve_wait(const sigset_t *ends, struct settler *settler)
{
	struct pollfd polled[] = {
	    {.fd = signalfd(-1, ends, SFD_CLOEXEC), .events = POLLIN},
	    {.fd = settler ? settler_fd(settler) : -1, .events = POLLIN}};
	int timeout = -1;

	do {
		poll(polled, timeout < 0 ? 2 : 1, timeout < 0 ? DEADLINE_MS : timeout);
		web_deadline_look();
		timeout = settler ? settler_look(settler) : -1;
	} while (!polled[0].revents);
	close(polled[0].fd);
}

int cmd_serve(int argc, char **argv)
{
	struct web_options options = {
	    .listen = WEB_LISTEN,
	    .metrics = {.top = METRICS_TOP, .series = METRICS_SERIES}};
	int status = cli_read(&COMMAND, argc, argv, &options);
	char where[PRINT_ADDRESS_SIZE], error[PRINT_ERROR_SIZE];
	struct settler *settler;
	struct web *web;
	const sigset_t *ends;

	if (status != CLI_GO_ON)
		return status;
	if (geteuid() == 0 && !options.all_names)
		naming_hide_others();
	memory_prefer_huge_pages();
	signal(SIGPIPE, SIG_IGN);
	ends = interrupt_begin(); /* before the server's thread starts */
	settler = serve_open_settler(options.metrics.dir);
	if (web_start(&web, &options, error, sizeof(error)) != 0) {
		settler_close(settler);
		return cli_fail(CLI_FAILURE, "serve: %s", error);
	}
	printf("http://%s/\n", print_address(where, &options.listen));
	status = cli_finish_output();
	if (status == 0)
		serve_wait(ends, settler);
	web_stop(web);
	settler_close(settler);
	return status;
}
