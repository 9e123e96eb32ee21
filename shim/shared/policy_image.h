/* SPDX-License-Identifier: MIT
 *
 * The compiled policy: one flat image, written by the tool, copied by the shim. Offsets
 * are from the start of the image and checked by tws_policy_validate(); nothing in it is
 * a pointer.
 *
 * A layer of policy is a directory with one file, "policy.ctl", which processes keep
 * mapped read-only: a page that says which generation is in force, and two slots for
 * images. Generation G is in slot G % 2, whole before the state changes. A process looks
 * at the state at each connect(), which is a load and no system call. It copies the image
 * from its mapping, so that it needs no permission and no path any more.
 */
#ifndef TWS_SHIM_POLICY_IMAGE_H
#define TWS_SHIM_POLICY_IMAGE_H

#include "shim/shared/segment.h"

#define TWS_POLICY_MAGIC     0x31434c4f50575421ULL /* "!TWPOLC1" */
#define TWS_POLICY_ABI_MAJOR 3
#define TWS_POLICY_ABI_MINOR 0
#define TWS_POLICY_MAX_SIZE  (256u * 1024)

#define TWS_POLICY_CONTROL_MAGIC 0x324c544350575421ULL /* "!TWPCTL2" */
#define TWS_POLICY_PAGE		 4096u
#define TWS_POLICY_FILE_SIZE	 (TWS_POLICY_PAGE + 2u * TWS_POLICY_MAX_SIZE)

/* The layers, nearest first: a policy in a nearer one hides those behind it. */
enum tws_policy_layer {
	TWS_LAYER_RUN,	  /* what `run` or `env` gave to one command */
	TWS_LAYER_USER,	  /* of the process's user */
	TWS_LAYER_SYSTEM, /* root's, for all users */
	TWS_LAYERS,
};

/* The start of policy.ctl. It is changed in place and never replaced. All zero is valid
 * and means that no policy was ever loaded. */
struct tws_policy_control {
	uint64_t magic; /* TWS_POLICY_CONTROL_MAGIC, 0: never loaded */
	uint64_t state; /* atomic; 2 * generation, + 1 while that generation is in force;
			   an even one: cleared */
	uint64_t since_realtime_ns; /* atomic; when the state was set */
	uint8_t reserved[40];
};

/* Where the image of a generation is in the file. */
static inline uint64_t tws_policy_slot(uint64_t generation)
{
	return TWS_POLICY_PAGE + generation % 2 * TWS_POLICY_MAX_SIZE;
}

/* A generation with its layer, as segments name the policy that decided; 0: none. */
static inline uint64_t tws_policy_key(enum tws_policy_layer layer, uint64_t generation)
{
	return (uint64_t)layer << 56 | generation;
}

static inline uint64_t tws_policy_key_generation(uint64_t key)
{
	return key & ((1ULL << 56) - 1);
}

enum tws_close_mode {
	TWS_CLOSE_KEEP = 0,
	TWS_CLOSE_GRACEFUL,
	TWS_CLOSE_LINGER,
	TWS_CLOSE_FIN_RESET,
	TWS_CLOSE_RESET_DRAINED,
	TWS_CLOSE_RESET,
};

enum tws_action_flag {
	TWS_ACTION_REUSEADDR_ON = 1u << 0,
	TWS_ACTION_REUSEADDR_OFF = 1u << 1,
	TWS_ACTION_LATE_BIND = 1u << 2,
	TWS_ACTION_PORT_RANGE = 1u << 3,  /* port_low, port_high; 0-0: full */
	TWS_ACTION_PORT_RING = 1u << 4,	  /* ring_low, ring_high; 0-0: full */
	TWS_ACTION_FIN_TIMEOUT = 1u << 5, /* fin_timeout_seconds */
	TWS_ACTION_OVERRIDE = 1u << 6,	  /* app_options = override */
	TWS_ACTION_DRY_RUN = 1u << 7,
};

/* The settings of a rule or an arm. */
struct tws_action {
	uint32_t flags;		 /* enum tws_action_flag */
	uint8_t close;		 /* enum tws_close_mode */
	uint8_t sample_percent;	 /* 0 to 100; in rules only */
	uint16_t linger_seconds; /* 1 to 65535 */
	uint32_t drain_ms;	 /* 0 to 60000 */
	uint16_t port_low, port_high;
	uint16_t ring_low, ring_high;
	uint32_t ring_age_ms;		/* 0 to 60000 */
	uint32_t fin_timeout_seconds;	/* 1 to 120 */
	uint32_t max_resets_per_second; /* 0: no cap */
	uint32_t stop_failed_ppm;	/* 0: none; parts per million of attempts */
	uint32_t stop_peer_reset_ppm;	/* 0: none; of established */
	uint32_t reserved;
	/* 0: none. 64 bits are aligned to 32 on i386 unless one says so. */
	uint64_t stop_bytes_discarded __attribute__((aligned(8)));
};

/* One pattern of `to`: an address prefix and a range of ports. */
struct tws_target {
	uint8_t bytes[16];
	uint8_t family;		      /* enum tws_family; TWS_FAMILY_NONE: any address */
	uint8_t prefix_bits;	      /* 0 to 32, 0 to 128 */
	uint16_t port_low, port_high; /* inclusive; 0-65535: any */
	uint16_t reserved;
};

/* A list inside the image: `count` elements from `offset`. */
struct tws_list {
	uint32_t offset;
	uint32_t count;
};

struct tws_match {
	/* Of uint32_t: offsets of NUL-terminated globs; empty: any. The last three are
	 * for the names of shim/shared/names.h. */
	struct tws_list exe, app, unit, container;
	struct tws_list to;	   /* of struct tws_target; empty: any */
	struct tws_list uid;	   /* of uint32_t; empty: any */
	uint32_t short_lived_only; /* `close` only if the connection was short-lived */
	uint32_t reserved;
};

struct tws_rule {
	uint32_t name; /* offset of a NUL-terminated string */
	uint32_t line; /* in the source file, for explain; 0: none */
	struct tws_match match;
	struct tws_action action;
};

struct tws_policy_arm {
	uint32_t name;	 /* offset */
	uint32_t weight; /* 1 to 1000 */
	struct tws_action action;
};

struct tws_experiment {
	uint32_t name; /* offset; 0: there is no experiment */
	uint32_t seed;
	struct tws_match match;
	struct tws_list arms; /* of struct tws_policy_arm, at most TWS_ARMS */
};

enum tws_deepbind { TWS_DEEPBIND_KEEP = 0, TWS_DEEPBIND_STRIP = 1 };

/* Settings that belong to no rule. They hold for the next segment of a process, except
 * short_lived_ms and detail, which hold as soon as the image does. 0 means the
 * default. */
struct tws_settings {
	uint32_t short_lived_ms; /* default 1000 */
	uint32_t detail;	 /* enum: 0 default, 1 on, 2 off: count bytes */
	uint32_t deepbind;	 /* enum tws_deepbind */
	uint32_t retention_s;	 /* of a dead segment; default 60 */
	uint32_t max_segments;	 /* dead ones beyond it are folded early; default 512 */
	uint32_t connections;	 /* size of the open-connection table; default 5120 */
	uint32_t destinations;	 /* default 320 */
	uint32_t ended;		 /* default 2048 */
	uint32_t time_wait;	 /* default 65536 */
	uint32_t group;		 /* gid that may read the segments; 0: none */
	uint32_t reserved[6];
};

struct tws_policy_image {
	uint64_t magic;
	uint32_t byte_order;
	uint16_t abi_major;
	uint16_t abi_minor;
	uint32_t size;	   /* of the file, bytes */
	uint32_t checksum; /* FNV-1a (32 bits) of the file with this field 0 */
	uint64_t generation;
	uint64_t compiled_realtime_ns;
	uint32_t source; /* offset of the source file's name */
	uint32_t reserved;
	struct tws_settings settings;
	struct tws_list
	    rules; /* of struct tws_rule, at most TWS_RULES; first match wins */
	struct tws_experiment experiment; /* looked at before the rules */
};

/* Limits for the validation of an image and for the compiler's input. */
#define TWS_POLICY_STRING_SIZE 1024 /* of any string, with its NUL */
#define TWS_POLICY_LIST_MAX    1024 /* elements of one exe, to or uid */
#define TWS_MAX_SAMPLE_PERCENT 100
#define TWS_MAX_DRAIN_MS       60000
#define TWS_MAX_RING_AGE_MS    60000
#define TWS_MAX_FIN_TIMEOUT    120 /* the kernel's TCP_FIN_TIMEOUT_MAX */
#define TWS_MAX_WEIGHT	       1000
#define TWS_MAX_PPM	       1000000
#define TWS_MAX_SHORT_LIVED_MS 3600000
#define TWS_MAX_RETENTION_S    86400
#define TWS_MAX_SEGMENTS       65536
#define TWS_MAX_CONNECTIONS    262144
#define TWS_MAX_DESTINATIONS   65535 /* an index has 16 bits */
#define TWS_MAX_ENDED	       262144
#define TWS_MAX_TIME_WAIT      1048576

/* Says why these bytes are not a usable image. NULL: they are, and every offset, list
 * and string in them lies inside. Pure; safe on any input. */
const char *tws_policy_validate(const void *bytes, uint64_t length);

/* FNV-1a over an image, with its checksum field taken as 0. */
uint32_t tws_policy_checksum(const struct tws_policy_image *image);

static inline const void *tws_policy_at(const struct tws_policy_image *image,
					uint32_t offset)
{
	return (const char *)image + offset;
}

#endif
