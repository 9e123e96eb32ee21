/* SPDX-License-Identifier: MIT
 *
 * A policy while it is read: parts with the lines they came from, and the bytes that the
 * image will consist of. Both syntaxes, file and one line, fill a draft; when it is
 * whole, the guard rails look at it and it is written out as an image.
 */
#ifndef TWS_CONFIG_DRAFT_H
#define TWS_CONFIG_DRAFT_H

#include "config/settings.h"

/* A rule, an arm or the experiment, and where each of its settings was said. */
struct tws_draft_part {
	struct tws_part part;
	const char *file; /* lives as long as the draft's source */
	unsigned line;
	unsigned said[TWS_SETTING_COUNT]; /* line; 0: not said */
};

/* The lists of the match that is being read. */
struct tws_draft_lists {
	uint32_t exe[TWS_POLICY_LIST_MAX];
	struct tws_target to[TWS_POLICY_LIST_MAX];
	uint32_t uid[TWS_POLICY_LIST_MAX];
	uint32_t exe_count, to_count, uid_count;
};

struct tws_draft {
	struct tws_complaints *complaints;
	struct tws_top top;
	unsigned said[TWS_SETTING_COUNT]; /* of the top's settings */
	const char *file;		  /* whose text is being read */
	struct tws_draft_part rules[TWS_RULES];
	struct tws_draft_part arms[TWS_ARMS];
	struct tws_draft_part experiment;
	unsigned rule_count, arm_count;
	bool has_experiment;
	bool full; /* something found no room in the image */
	uint32_t used;
	struct tws_draft_lists lists;
	_Alignas(8) char bytes[TWS_POLICY_MAX_SIZE];
};

/* A draft that says nothing; NULL without memory. Free with free(). */
struct tws_draft *tws_draft_new(struct tws_complaints *complaints, const char *source);

/* Starts a part at this place of the text: all fallbacks, no lists. */
void tws_draft_begin(struct tws_draft *draft, struct tws_draft_part *part, unsigned line);

/* One setting of a part (NULL: of the top), a list's settings once for each element.
 * What is wrong becomes a complaint at `line`. */
void tws_draft_set(struct tws_draft *draft, struct tws_draft_part *part,
		   const struct tws_setting *setting, const struct tws_value *value,
		   unsigned line);

/* The match of a part is read: its lists go into the image. */
void tws_draft_flush_lists(struct tws_draft *draft, struct tws_draft_part *part);

/* Complains at a line of the text being read. */
void tws_draft_complain(struct tws_draft *draft, unsigned line,
			const struct tws_problem *problem);

/* The image, malloc()ed, its checksum set and its generation 0; NULL without memory or
 * where the draft has no room. */
struct tws_policy_image *tws_draft_finish(const struct tws_draft *draft);

/* The name of a part, as the image will hold it; "" while it has none. */
const char *tws_draft_name(const struct tws_draft *draft,
			   const struct tws_draft_part *part);

#endif
