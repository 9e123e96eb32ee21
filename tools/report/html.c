/* SPDX-License-Identifier: MIT
 *
 * The report as one page: that of `twshim serve`, with the style, the scripts and the
 * JSON inside it. It loads nothing, and runs only scripts that carry its nonce.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "tools/report/report.h"
#include "tools/report/page_files.h"

#define NONCE_SIZE 33

static const char policy[] =
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
    "script-src 'nonce-%s'; style-src 'nonce-%s'; img-src data:; base-uri 'none'; "
    "form-action 'none'\">\n";

/* Lines of page.html that load a file, and what replaces them. */
static const struct part {
	const char *line, *element;
	const char *start, *end;
} parts[] = {
    {"<link rel=\"stylesheet\" href=\"page.css\">\n", "style", web_css, web_css_end},
    {"<script src=\"chart.js\"></script>\n", "script", web_chart, web_chart_end},
    {"<script src=\"charts.js\"></script>\n", "script", web_charts, web_charts_end},
    {"<script src=\"lists.js\"></script>\n", "script", web_lists, web_lists_end},
    {"<script src=\"page.js\"></script>\n", "script", web_js, web_js_end},
};

static bool is_line(const char *line, size_t length, const char *wanted)
{
	return length == strlen(wanted) && memcmp(line, wanted, length) == 0;
}

static int make_nonce(char ret_nonce[NONCE_SIZE])
{
	unsigned char bytes[(NONCE_SIZE - 1) / 2];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -errno;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(ret_nonce + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

/* JSON contains "<" only inside strings. Escaped, it cannot end the script element. */
static void write_data(FILE *out, const char *json)
{
	fputs("<script type=\"application/json\" id=\"data\">", out);
	for (; *json; json++)
		if (*json == '<')
			fputs("\\u003c", out);
		else
			fputc(*json, out);
	fputs("</script>\n", out);
}

static void write_part(FILE *out, const struct part *part, const char *nonce)
{
	fprintf(out, "<%s nonce=\"%s\">\n", part->element, nonce);
	fwrite(part->start, 1, (size_t)(part->end - part->start), out);
	fprintf(out, "</%s>\n", part->element);
}

static void write_line(FILE *out, const char *line, size_t length, const char *nonce,
		       const char *json)
{
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		if (is_line(line, length, parts[i].line)) {
			write_part(out, &parts[i], nonce);
			return;
		}
	fwrite(line, 1, length, out);
	if (is_line(line, length, "<meta charset=\"utf-8\">\n"))
		fprintf(out, policy, nonce, nonce);
	else if (is_line(line, length, "</main>\n"))
		write_data(out, json);
}

static void write_page(FILE *out, const char *nonce, const char *json)
{
	const char *line = web_html, *end;
	size_t left = (size_t)((uintptr_t)web_html_end - (uintptr_t)web_html), length;

	while (left) {
		end = memchr(line, '\n', left);
		length = end ? (size_t)(end + 1 - line) : left;
		write_line(out, line, length, nonce, json);
		line += length;
		left -= length;
	}
}

int report_print_html(FILE *out, const struct model *model,
		      const struct report_options *options)
{
	char nonce[NONCE_SIZE], *json = NULL;
	size_t size = 0;
	FILE *memory;
	int result = make_nonce(nonce);

	if (result != 0)
		return result;
	memory = open_memstream(&json, &size);
	if (!memory)
		return -ENOMEM;
	result = report_print_json(memory, model, options);
	if (fclose(memory) != 0)
		result = -ENOMEM;
	if (result == 0)
		write_page(out, nonce, json);
	free(json);
	return result;
}
