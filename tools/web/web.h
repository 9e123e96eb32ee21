/* SPDX-License-Identifier: MIT
 *
 * The HTTP server of `twshim serve`: read-only, with a table of resources, each made on
 * demand and reused for half a second. A single thread answers, so a resource is never
 * made twice at a time. Connections, request sizes and waiting times are limited.
 */
#ifndef TWS_TOOLS_WEB_H
#define TWS_TOOLS_WEB_H

#include "tools/metrics/metrics.h"

/* Where `serve` listens by default. Neither IANA nor Prometheus's list of default ports
 * has given the port away, and connect() never takes it, because it is below the
 * ephemeral range. */
#define WEB_PORT 19460
#define WEB_LISTEN                                                                       \
	{                                                                                \
		.bytes = {127, 0, 0, 1}, .port = WEB_PORT, .family = TWS_IPV4            \
	}

struct web;

struct web_options {
	struct tws_address listen;
	struct metrics_options metrics; /* its `dir` applies to all resources */
	bool all_names;			/* those of other users' programs too; for root */
	const char *since; /* of one request: from when on to count; NULL: as usual */
};

/* Starts to serve in a thread. Returns 0, or -errno with a reason of one line that says
 * what to do. */
int web_start(struct web **ret_web, const struct web_options *options, char *ret_error,
	      size_t size);

void web_stop(struct web *web);

/* Returns whether a request with this Host header may come from our own page. If we
 * listen on loopback, the header must name loopback; NULL (no header, so not a browser)
 * is always accepted. Pure. */
bool web_host_is_ours(const struct tws_address *listen, const char *host);

/* -------- the resources; for web.c */

struct web_resource {
	const char *path;
	const char *type;	 /* content type */
	const char *start, *end; /* its content, if that never changes */
	/* Makes it. Returns 0, or -errno with a reason of one line. */
	int (*make)(FILE *out, const struct web_options *options, char *ret_error,
		    size_t size);
};

extern const struct web_resource web_resources[];
extern const size_t web_resource_count;

/* Returns the resource at this path in the accepted format; NULL if there is none. */
const struct web_resource *web_find(const char *path, const char *accept);

#endif
