/* SPDX-License-Identifier: MIT */
#include "tools/report.h"

#include <string.h>

#include "tools/model.h"

int report_print(FILE *out, const struct report_options *options, char *ret_error,
		 size_t size)
{
	struct model_options wanted = {
	    .dir = options->dir,
	    .only_dir = options->only_dir,
	    .app = options->app,
	    .pid = options->pid,
	    .listener = options->listener,
	};
	struct model *model = NULL;
	int result = model_build(&model, &wanted, ret_error, size);

	if (result != 0)
		return result;
	if (options->json)
		result = report_print_json(out, model, options);
	else
		result = report_print_text(out, model, options);
	if (result != 0)
		snprintf(ret_error, size, "report: %s", strerror(-result));
	model_free(model);
	return result;
}
