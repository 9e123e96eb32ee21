/* SPDX-License-Identifier: MIT
 *
 * Loads libmicrohttpd when it is needed. With its dependencies (TLS, which is not used
 * here) it takes 2 ms to load, and every other command would pay for that.
 */
#ifndef TWS_TOOLS_WEB_LIBRARY_H
#define TWS_TOOLS_WEB_LIBRARY_H

#include <microhttpd.h>
#include <stddef.h>

/* The functions in use, without their prefix. */
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

/* Valid once the library is loaded. */
extern struct web_library mhd;

/* Loads the library, once. Returns 0, or -ENOENT with a reason of one line. */
int web_library_load(char *ret_error, size_t size);

#endif
