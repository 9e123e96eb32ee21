/* SPDX-License-Identifier: MIT
 *
 * The settings as data: the rows of settings.def, in a form that the file reader, the
 * one-line rule, the describer and the manual can walk. No allocation, no state.
 */
#ifndef TWS_CONFIG_SETTINGS_H
#define TWS_CONFIG_SETTINGS_H

#include <stdint.h>

#include "config/complaint.h"
#include "shim/shared/policy_image.h"

enum tws_setting_id {
#define SETTING(name, places, kind, cell, fallback, help) TWS_SETTING_##name,
#include "config/settings.def"
	TWS_SETTING_COUNT
};

/* The places where a setting is allowed, as bits. */
enum tws_setting_place {
	TWS_IN_FILE = 1u << 0,
	TWS_IN_RULE = 1u << 1,
	TWS_IN_MATCH = 1u << 2,
	TWS_IN_STOP_IF = 1u << 3,
	TWS_IN_EXPERIMENT = 1u << 4,
	TWS_IN_ARM = 1u << 5,
	TWS_ON_LINE = 1u << 6,
};

/* The places whose settings a one-line rule may contain. */
#define TWS_LINE_PLACES (TWS_IN_RULE | TWS_IN_MATCH | TWS_IN_STOP_IF | TWS_ON_LINE)

/* In the order of the comment in settings.def. */
enum tws_setting_kind {
	TWS_KIND_BOOLEAN,
	TWS_KIND_SWITCH,
	TWS_KIND_INTEGER,
	TWS_KIND_PERCENT,
	TWS_KIND_CHOICE,
	TWS_KIND_PORTS,
	TWS_KIND_NAME,
	TWS_KIND_GLOBS,
	TWS_KIND_TARGETS,
	TWS_KIND_USERS,
	TWS_KIND_UNIX_GROUP,
	TWS_KIND_GROUP,
	TWS_KIND_PARTS,
};

enum tws_setting_base { TWS_BASE_NONE, TWS_BASE_TOP, TWS_BASE_PART };

struct tws_setting {
	const char *name;
	const char *fallback;
	const char *help;
	const char *choices; /* for CHOICE: "first|second" */
	int64_t low,
	    high; /* for INTEGER; for PARTS, `high` is the largest number of parts */
	size_t offset,
	    size; /* where the value is stored, as an offset; size 0 means flags only */
	uint32_t on, off; /* enum tws_action_flag: the flags to set and to clear */
	enum tws_setting_kind kind;
	enum tws_setting_base base;
	unsigned places; /* enum tws_setting_place */
	unsigned inside; /* for GROUP and PARTS: the place inside */
};

/* The settings outside all rules. */
struct tws_top {
	struct tws_settings settings;
	uint32_t allow_everything;
};

/* A rule, an arm or the experiment. Each uses only some of these members. */
struct tws_part {
	uint32_t name; /* offset into the image */
	uint32_t weight;
	uint32_t seed;
	struct tws_match match;
	struct tws_action action;
};

/* A value as it was written. */
struct tws_value {
	enum {
		TWS_VALUE_BOOLEAN,
		TWS_VALUE_INTEGER,
		TWS_VALUE_NUMBER,
		TWS_VALUE_TEXT
	} type;
	bool boolean;
	int64_t integer;
	double number;
	const char *text;
};

extern const struct tws_setting tws_setting_table[TWS_SETTING_COUNT];

/* Returns the setting of that name that is allowed in one of `places`, or NULL. */
const struct tws_setting *tws_setting_find(const char *name, unsigned places);

/* Fills *problem for a name that is not allowed in `places`: says where it belongs, or
 * which name was probably meant. */
void tws_setting_explain_unknown(const char *name, unsigned places,
				 struct tws_problem *problem);

/* Stores a value of one of the kinds BOOLEAN to PORTS and UNIX_GROUP in its cell. If
 * it has another type or is out of range, returns false, fills *problem and changes
 * nothing. */
bool tws_setting_store(const struct tws_setting *setting, const struct tws_value *value,
		       struct tws_top *top, struct tws_part *part,
		       struct tws_problem *problem);

/* Reads a setting back. Returns false if it has its fallback or is of a kind that has
 * no cell. PORTS are returned as TEXT in `buffer`. */
bool tws_setting_load(const struct tws_setting *setting, const struct tws_top *top,
		      const struct tws_part *part, char buffer[16],
		      struct tws_value *ret_value);

/* Initialises a part: each setting has its fallback. */
void tws_part_init(struct tws_part *part);

/* Returns the n-th word of the choices of a CHOICE, and its length in *ret_length. */
const char *tws_choice_word(const char *choices, unsigned n, size_t *ret_length);

/* Describes the values that a setting accepts, for messages and the manual: "1 to
 * 65535". */
void tws_setting_describe_range(const struct tws_setting *setting, char *text,
				size_t size);

#endif
