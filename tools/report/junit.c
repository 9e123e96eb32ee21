/* SPDX-License-Identifier: MIT
 *
 * The outcome of a run in JUnit's XML, which build servers show as tests.
 */
#include "tools/report/fail_if.h"
#include "tools/report/report.h"

/* XML has no way to write control characters and bytes that are not UTF-8, and the
 * command may contain any: what is not printable ASCII becomes '?'. */
static void put_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '&')
			fputs("&amp;", out);
		else if (*text == '<')
			fputs("&lt;", out);
		else if (*text == '>')
			fputs("&gt;", out);
		else if (*text == '"')
			fputs("&quot;", out);
		else
			fputc(*text >= ' ' && *text <= '~' ? *text : '?', out);
	}
}

static void put_case(FILE *out, const char *name, const char *failure)
{
	fputs("  <testcase classname=\"twshim\" name=\"", out);
	put_text(out, name);
	if (!failure) {
		fputs("\"/>\n", out);
		return;
	}
	fputs("\">\n    <failure message=\"", out);
	put_text(out, failure);
	fputs("\"/>\n  </testcase>\n", out);
}

static unsigned count_failures(const struct fail_if *fail_if)
{
	unsigned ret = 0;

	for (unsigned i = 0; i < fail_if->count; i++)
		ret += fail_if->conditions[i].holds;
	return ret;
}

void junit_print(FILE *out, const struct fail_if *fail_if, const struct report_run *run)
{
	char why[160];

	fprintf(
	    out,
	    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	    "<testsuite name=\"twshim\" tests=\"%u\" failures=\"%u\" time=\"%.3f\">\n",
	    fail_if->count + 1, count_failures(fail_if) + (run->exit_status != 0),
	    run->elapsed_seconds);
	snprintf(why, sizeof(why), "exit status %d", run->exit_status);
	put_case(out, run->command, run->exit_status ? why : NULL);
	for (unsigned i = 0; i < fail_if->count; i++) {
		const struct fail_condition *one = &fail_if->conditions[i];

		fail_if_describe(one, why, sizeof(why));
		put_case(out, one->text, one->holds ? why : NULL);
	}
	fputs("</testsuite>\n", out);
}
