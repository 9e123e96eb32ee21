/* SPDX-License-Identifier: MIT
 *
 * A policy while it is being read: its parts with their line numbers, and the bytes that
 * will form the image. Both syntaxes (file and one-line rule) fill a draft. When it is
 * complete, the guards check it and it is written out as an image.
 */
#ifndef TWS_CONFIG_DRAFT_H
#define TWS_CONFIG_DRAFT_H

#include "config/settings.h"

/* A rule, an arm or the experiment, and the line of each of its settings. */
struct tws_draft_part {
	struct tws_part part;
	const char *file; /* valid as long as the draft's source */
	unsigned line;
	unsigned said[TWS_SETTING_COUNT]; /* line number; 0 if the setting is missing */
};

#define TWS_DRAFT_GLOBS 4

/* The lists of the match that is being read now. */
struct tws_draft_lists {
	struct tws_draft_globs {
		uint32_t list[TWS_POLICY_LIST_MAX];
		uint32_t count;
	} globs[TWS_DRAFT_GLOBS]; /* exe, app, unit, container */
	struct tws_target to[TWS_POLICY_LIST_MAX];
	uint32_t uid[TWS_POLICY_LIST_MAX];
	uint32_t to_count, uid_count;
};

struct tws_draft {
	struct tws_complaints *complaints;
	struct tws_top top;
	unsigned said[TWS_SETTING_COUNT]; /* line numbers of the top-level settings */
	const char *file;		  /* name of the text being read */
	struct tws_draft_part rules[TWS_RULES];
	struct tws_draft_part arms[TWS_ARMS];
	struct tws_draft_part experiment;
	unsigned rule_count, arm_count;
	bool has_experiment;
	bool full; /* something did not fit into the image */
	uint32_t used;
	struct tws_draft_lists lists;
	_Alignas(8) char bytes[TWS_POLICY_MAX_SIZE];
};

/* Returns an empty draft, or NULL if there is no memory. Free it with free(). */
struct tws_draft *tws_draft_new(struct tws_complaints *complaints, const char *source);

/* Starts a part at this place of the text: all settings have their fallbacks, and the
 * lists are empty. */
void tws_draft_begin(struct tws_draft *draft, struct tws_draft_part *part, unsigned line);

/* Sets one setting of a part (NULL: of the top level). For a list, this is called once
 * per element. An error becomes a complaint at `line`. */
void tws_draft_set(struct tws_draft *draft, struct tws_draft_part *part,
		   const struct tws_setting *setting, const struct tws_value *value,
		   unsigned line);

/* Call this when the match of a part was read: it writes the lists into the image. */
void tws_draft_flush_lists(struct tws_draft *draft, struct tws_draft_part *part);

/* Adds a complaint at a line of the text that is being read. */
void tws_draft_complain(struct tws_draft *draft, unsigned line,
			const struct tws_problem *problem);

/* Returns the image, malloc()ed, with its checksum and with generation 0; NULL if
 * there is no memory or the draft has no room. */
struct tws_policy_image *tws_draft_finish(const struct tws_draft *draft);

/* Returns the name of a part as it will be in the image, or "" if it has none yet. */
const char *tws_draft_name(const struct tws_draft *draft,
			   const struct tws_draft_part *part);

#endif
