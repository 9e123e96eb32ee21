/* SPDX-License-Identifier: MIT */
#include "tools/report/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/base/cli.h"
#include "tools/kernel/kernel.h"
#include "tools/model/arms.h"
#include "tools/model/model.h"
#include "tools/report/fail_if.h"

/* How often, and after which pause, the report of a finished run looks again: for sockets
 * that are about to enter TIME_WAIT (the peer's FIN is still to come), and for the
 * kernel's messages about sockets that are gone, which come from a work queue a moment
 * later. */
#define LOOKS		   20
#define LOOKS_FOR_MESSAGES 6
#define LOOK_MS		   25

static bool is_settled(const struct model *model)
{
	for (size_t i = 0; i < model->app_count; i++)
		for (size_t j = 0; j < model->apps[i].destination_count; j++)
			if (model->apps[i].destinations[j].time_wait.pending)
				return false;
	return true;
}

static bool awaits_messages(const struct model *model, struct kernel_listener *listener,
			    int look)
{
	return listener && look < LOOKS_FOR_MESSAGES &&
	       model->total.value[TWS_ended_unseen];
}

/* The command is over, so its sockets only move towards their end. */
static int build_settled(struct model **ret_model, const struct model_options *wanted,
			 struct kernel_listener *listener, char *ret_error, size_t size)
{
	const struct timespec pause = {0, LOOK_MS * 1000000L};
	int result = model_build(ret_model, wanted, ret_error, size);

	for (int look = 1; result == 0 && look < LOOKS; look++) {
		if (is_settled(*ret_model) &&
		    !awaits_messages(*ret_model, listener, look))
			break;
		model_free(*ret_model);
		*ret_model = NULL;
		nanosleep(&pause, NULL);
		if (listener)
			kernel_listener_drain(listener);
		result = model_build(ret_model, wanted, ret_error, size);
	}
	return result;
}

/* The known application with the most similar name; NULL: none is similar. */
static const char *nearest_app(const struct model *model, const char *name)
{
	const char **names = calloc(model->app_count + 1, sizeof(*names));
	const char *ret;

	if (!names)
		return NULL;
	for (uint32_t i = 0; i < model->app_count; i++)
		names[i] = model->apps[i].name;
	ret = cli_nearest(name, names, model->app_count);
	free(names);
	return ret;
}

/* Returns 0, or -ENOENT if nothing is known about the application or process. */
static int check_subject(const struct model *model, const struct report_options *options,
			 char *ret_error, size_t size)
{
	const char *meant;

	if (model->order_count || (!options->app && !options->pid))
		return 0;
	if (options->pid) {
		snprintf(ret_error, size,
			 "report: %d: nothing is known about this process: twshim ps "
			 "lists the known ones, twshim doctor %d says why",
			 options->pid, options->pid);
		return -ENOENT;
	}
	meant = nearest_app(model, options->app);
	snprintf(ret_error, size,
		 "report: %.80s: nothing is known about this application: %s%.80s%s",
		 options->app,
		 meant ? "did you mean " : "twshim report shows all known ones",
		 meant ? meant : "", meant ? "?" : "");
	return -ENOENT;
}

time_t report_since(const struct model *model, const struct report_run *run)
{
	return run ? run->began : (time_t)(model->since_realtime_ns / 1000000000u);
}

static double elapsed(const struct report_options *options)
{
	return options->run ? options->run->elapsed_seconds : 0;
}

int report_print(FILE *out, const struct report_options *options, char *ret_error,
		 size_t size)
{
	struct model_options wanted = {
	    .dir = options->dir,
	    .run = options->run_tag,
	    .app = options->app,
	    .pid = options->pid,
	    .by = options->by,
	    .since_ns = options->since_ns,
	    .from_reset = !options->run && !options->run_tag && !options->whole,
	    .keep = options->keep,
	    .listener = options->listener,
	    .cache = options->cache,
	};
	struct model *model = NULL;
	int result = options->run ? build_settled(&model, &wanted, options->listener,
						  ret_error, size)
				  : model_build(&model, &wanted, ret_error, size);

	if (result != 0)
		return result;
	result = check_subject(model, options, ret_error, size);
	if (result != 0) {
		model_free(model);
		return result;
	}
	if (out && options->json)
		result = report_print_json(out, model, options);
	else if (out && options->markdown)
		result = arms_write_markdown(out, model, elapsed(options));
	else if (out)
		result = report_print_text(out, model, options);
	if (result == 0 && options->page)
		result = report_print_html(options->page, model, options);
	if (result == 0 && options->fail_if)
		result = fail_if_judge(options->fail_if, model);
	if (result != 0)
		snprintf(ret_error, size, "report: %s", strerror(-result));
	model_free(model);
	return result;
}
