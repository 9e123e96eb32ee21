/* SPDX-License-Identifier: MIT
 *
 * What this kernel and this machine provide, each tried for real: distributions backport
 * features, and containers and sandboxes take them away, so a version says little. The
 * list is features.def.
 */
#ifndef TWS_TOOLS_FEATURES_H
#define TWS_TOOLS_FEATURES_H

#include <stddef.h>

enum feature_id {
#define FEATURE(id, name, since, purpose) FEATURE_##id,
#include "tools/features/features.def"
	FEATURES
};

enum feature_verdict { FEATURE_UNKNOWN, FEATURE_NO, FEATURE_YES };

#define FEATURE_DETAIL_SIZE 512

struct feature {
	enum feature_verdict verdict;
	/* A value or a path where there is one, why not, or why that is unknown; "":
	 * nothing is to be said. */
	char detail[FEATURE_DETAIL_SIZE];
};

/* A row of features.def. */
struct feature_row {
	const char *title; /* of a group, and nothing else; NULL: a feature */
	enum feature_id feature;
	const char *id, *name, *since, *purpose;
};

extern const struct feature_row feature_rows[];
extern const size_t feature_row_count;

/* Tries all. Needs no privilege, and leaves nothing behind. */
void features_probe(struct feature ret_features[FEATURES]);

#endif
