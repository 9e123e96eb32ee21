/* SPDX-License-Identifier: MIT
 *
 * Prints who observed the processes of a report, and what therefore remains unknown.
 */
#include "tools/report/text_parts.h"

/* "3 processes by the shim, 1 by the kernel". */
static void describe_observers(const uint64_t by[TWS_OBSERVERS], char *ret_text,
			       size_t size)
{
	static const char *const names[TWS_OBSERVERS] = {
	    [TWS_OBSERVER_SHIM] = "the shim",
	    [TWS_OBSERVER_BPF] = "the kernel",
	    [TWS_OBSERVER_SUPERVISOR] = "a supervisor",
	};
	size_t used = 0;

	*ret_text = '\0';
	for (unsigned o = 0; o < TWS_OBSERVERS && used < size; o++) {
		if (!by[o])
			continue;
		used += (size_t)snprintf(
		    ret_text + used, size - used, "%s%s%s by %s", used ? ", " : "",
		    REPORT_NUMBER(by[o]),
		    used ? "" : print_plural(by[o], " process", " processes"), names[o]);
	}
}

/* If the shim did not see everything: who observed the rest, and what that observer
 * cannot know. */
void report_text_observed(const struct report_text *text)
{
	uint64_t by[TWS_OBSERVERS] = {0};
	char observers[256], sentence[1024];

	for (uint32_t i = 0; i < text->model->order_count; i++)
		for (unsigned o = 0; o < TWS_OBSERVERS; o++)
			by[o] += report_text_app(text->model, i)->observed[o];
	if (!by[TWS_OBSERVER_BPF] && !by[TWS_OBSERVER_SUPERVISOR])
		return;
	describe_observers(by, observers, sizeof(observers));
	snprintf(
	    sentence, sizeof(sentence),
	    "Observed: %s; from outside it is not known how descriptors were closed, "
	    "nor which calls of setsockopt() and bind() were made%s",
	    observers,
	    by[TWS_OBSERVER_SUPERVISOR]
		? "; a supervisor does not know why a blocking connect() failed, "
		  "and where a reset took a TIME_WAIT socket away at once, it may "
		  "count the connection as closed by the peer first"
		: "");
	fputs("  ", text->out);
	print_wrapped(text->out, sentence, 2, REPORT_WIDTH);
}
