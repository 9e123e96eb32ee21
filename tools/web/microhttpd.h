/* SPDX-License-Identifier: MIT
 *
 * libmicrohttpd, loaded when it is needed: with what it brings along (TLS, which nobody
 * asks for here) it takes 2 ms to load, and every other command would pay them.
 */
#ifndef TWS_TOOLS_WEB_LIBRARY_H
#define TWS_TOOLS_WEB_LIBRARY_H

#include <microhttpd.h>
#include <stddef.h>

/* What is used of it, without its prefix. */
#define WEB_LIBRARY(FUNCTION)                                                            \
	FUNCTION(add_response_header)                                                    \
	FUNCTION(create_response_from_buffer)                                            \
	FUNCTION(destroy_response)                                                       \
	FUNCTION(get_connection_info)                                                    \
	FUNCTION(lookup_connection_value)                                                \
	FUNCTION(queue_response)                                                         \
	FUNCTION(start_daemon)                                                           \
	FUNCTION(stop_daemon)

#define FUNCTION(name) __typeof__(MHD_##name) *name;
struct web_library {
	WEB_LIBRARY(FUNCTION)
};
#undef FUNCTION

/* Good once it is loaded. */
extern struct web_library mhd;

/* Loads it, once. 0, or -ENOENT with a one-line reason. */
int web_library_load(char *ret_error, size_t size);

#endif
