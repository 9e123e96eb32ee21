/* SPDX-License-Identifier: MIT
 *
 * Explains the findings, whatever the facts are: for `doctor --explain`, as text or JSON,
 * and for the manual's chapter, docs/doctor.md.
 */
#include <errno.h>
#include <string.h>

#include "tools/advice/doctor.h"
#include "tools/base/json.h"

#define WIDTH 90

void doctor_print_explanation(FILE *out, const struct advice_explanation *about,
			      bool color)
{
	fprintf(out, "%s%s %s%s\n\n", print_style(PRINT_BOLD, color), about->id,
		about->title, print_style(PRINT_PLAIN, color));
	print_wrapped(out, about->background, 0, WIDTH);
	if (*about->sources) {
		fputs("\nSources: ", out);
		print_wrapped(out, about->sources, 9, WIDTH);
	}
}

static const char *scope_name(enum advice_scope scope)
{
	static const char *const names[] = {
	    [ADVICE_DESTINATION] = "each destination of each application",
	    [ADVICE_APP] = "each application",
	    [ADVICE_HOST] = "the host",
	    [ADVICE_HOLDER] = "each process",
	    [ADVICE_SUBJECT] = "the command or process asked about",
	};

	return names[scope];
}

void doctor_print_markdown(FILE *out)
{
	const struct advice_explanation *about;

	fputs("| id | finding | asked of |\n|---|---|---|\n", out);
	for (size_t i = 0; i < advice_explanation_count; i++) {
		about = &advice_explanations[i];
		fprintf(out, "| [%s](#%c%c%s) | %s | %s |\n", about->id,
			about->id[0] | 0x20, about->id[1] | 0x20, about->id + 2,
			about->title, scope_name(about->scope));
	}
	for (size_t i = 0; i < advice_explanation_count; i++) {
		about = &advice_explanations[i];
		fprintf(out, "\n### %s\n\n**%s.** %s\n", about->id, about->title,
			about->background);
		if (*about->sources)
			fprintf(out, "\nSources: %s.\n", about->sources);
	}
}

/* ----------------------------------------------------------------------- JSON */

static json_t *sources_array(const char *sources)
{
	json_t *array = json_array();

	while (*sources) {
		size_t length = strcspn(sources, ";");

		json_array_append_new(array, json_stringn(sources, length));
		sources += length;
		sources += strspn(sources, "; ");
	}
	return array;
}

static json_t *explanation_object(const struct advice_explanation *about)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", about->id, "title",
			 about->title, "asked_of", scope_name(about->scope), "background",
			 about->background, "sources", sources_array(about->sources));
}

int doctor_print_explanations_json(FILE *out, const struct advice_explanation *only)
{
	json_t *array = json_array();

	for (size_t i = 0; i < advice_explanation_count; i++)
		if (!only || only == &advice_explanations[i])
			json_array_append_new(
			    array, explanation_object(&advice_explanations[i]));
	return print_json(out,
			  json_pack("{s:s, s:o}", "schema", "twshim.doctor-explain/1",
				    "explanations", array),
			  JSON_INDENT(1));
}
