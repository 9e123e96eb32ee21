/* SPDX-License-Identifier: MIT */
#include "tools/report/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/base/cli.h"
#include "tools/kernel/kernel.h"
#include "tools/model/model.h"

/* How often, and for how long each time, a finished run's report looks again: for sockets
 * that are on their way to TIME_WAIT (the peer's FIN is still to come), and for the last
 * words of those that are gone (the kernel announces them from a work queue, a moment
 * later). */
#define LOOKS		20
#define LOOKS_FOR_WORDS 6
#define LOOK_MS		25

static bool is_settled(const struct model *model)
{
	for (size_t i = 0; i < model->app_count; i++)
		for (size_t j = 0; j < model->apps[i].destination_count; j++)
			if (model->apps[i].destinations[j].time_wait.pending)
				return false;
	return true;
}

static bool is_silent(const struct model *model, struct kernel_listener *listener,
		      int look)
{
	return listener && look < LOOKS_FOR_WORDS && model->total.value[TWS_ended_unseen];
}

/* The command is over, so what it left moves only towards its end. */
static int build_settled(struct model **ret_model, const struct model_options *wanted,
			 struct kernel_listener *listener, char *ret_error, size_t size)
{
	const struct timespec pause = {0, LOOK_MS * 1000000L};
	int result = model_build(ret_model, wanted, ret_error, size);

	for (int look = 1; result == 0 && look < LOOKS; look++) {
		if (is_settled(*ret_model) && !is_silent(*ret_model, listener, look))
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

/* The application that may have been meant; NULL: none is near. */
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

/* 0, or -ENOENT: of the application or process that was asked for nothing is known. */
static int check_subject(const struct model *model, const struct report_options *options,
			 char *ret_error, size_t size)
{
	const char *meant;

	if (model->order_count || (!options->app && !options->pid))
		return 0;
	if (options->pid) {
		snprintf(ret_error, size,
			 "report: %d: nothing is known of this process: twshim ps lists "
			 "those that are known, twshim doctor %d says why",
			 options->pid, options->pid);
		return -ENOENT;
	}
	meant = nearest_app(model, options->app);
	snprintf(ret_error, size,
		 "report: %.80s: nothing is known of this application: %s%.80s%s",
		 options->app,
		 meant ? "did you mean " : "twshim report shows all that are known",
		 meant ? meant : "", meant ? "?" : "");
	return -ENOENT;
}

int report_print(FILE *out, const struct report_options *options, char *ret_error,
		 size_t size)
{
	struct model_options wanted = {
	    .dir = options->dir,
	    .only_dir = options->only_dir,
	    .app = options->app,
	    .pid = options->pid,
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
	else if (out)
		result = report_print_text(out, model, options);
	if (result == 0 && options->page)
		result = report_print_html(options->page, model, options);
	if (result != 0)
		snprintf(ret_error, size, "report: %s", strerror(-result));
	model_free(model);
	return result;
}
