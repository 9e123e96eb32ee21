/* SPDX-License-Identifier: MIT
 *
 * Prints who observed the processes of a report, and what therefore remains unknown.
 */
#include "tools/report/text_parts.h"

/* If the shim did not see everything: who observed the rest, and what that observer
 * cannot know. */
void report_text_observed(const struct report_text *text)
{
	uint64_t by[TWS_OBSERVERS] = {0};
	char sentence[1024];

	for (uint32_t i = 0; i < text->model->order_count; i++)
		for (unsigned o = 0; o < TWS_OBSERVERS; o++)
			by[o] += report_text_app(text->model, i)->observed[o];
	if (!by[TWS_OBSERVER_BPF] && !by[TWS_OBSERVER_SUPERVISOR])
		return;
	snprintf(sentence, sizeof(sentence),
		 "Observed: %s %s by the shim, %s by the kernel%s%s; from outside it is "
		 "not known how descriptors were closed, nor which calls of setsockopt() "
		 "and bind() were made",
		 REPORT_NUMBER(by[TWS_OBSERVER_SHIM]),
		 print_plural(by[TWS_OBSERVER_SHIM], "process", "processes"),
		 REPORT_NUMBER(by[TWS_OBSERVER_BPF]),
		 by[TWS_OBSERVER_SUPERVISOR] ? ", by a supervisor " : "",
		 by[TWS_OBSERVER_SUPERVISOR] ? REPORT_NUMBER(by[TWS_OBSERVER_SUPERVISOR])
					     : "");
	fputs("  ", text->out);
	print_wrapped(text->out, sentence, 2, REPORT_WIDTH);
}
