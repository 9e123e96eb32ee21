/* SPDX-License-Identifier: MIT
 *
 * The HTTP server of `twshim serve`: read-only, a table of resources, each made when it
 * is asked for and kept for half a second. One thread, so that a resource is made once at
 * a time; connections, request sizes and waiting are bounded.
 */
#ifndef TWS_TOOLS_WEB_H
#define TWS_TOOLS_WEB_H

#include "tools/metrics/metrics.h"

struct web;

struct web_options {
	struct tws_address listen;
	struct metrics_options metrics; /* its dir is that of all resources */
};

/* Begins to serve in a thread. 0, or -errno with a one-line reason and what to do. */
int web_start(struct web **ret_web, const struct web_options *options, char *ret_error,
	      size_t size);

void web_stop(struct web *web);

/* Whether a Host header may come from a page of ours: where we listen on loopback, only
 * one that names it; NULL (no header, so no browser) always. Pure. */
bool web_host_is_ours(const struct tws_address *listen, const char *host);

/* -------- the resources; for web.c */

struct web_resource {
	const char *path;
	const char *type;	 /* of its content */
	const char *start, *end; /* what it is, if always the same */
	/* Makes it. 0, or -errno with a one-line reason. */
	int (*make)(FILE *out, const struct web_options *options, char *ret_error,
		    size_t size);
};

extern const struct web_resource web_resources[];
extern const size_t web_resource_count;

/* The resource at this path, in the format that is accepted; NULL: there is none. */
const struct web_resource *web_find(const char *path, const char *accept);

#endif
