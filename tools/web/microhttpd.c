/* SPDX-License-Identifier: MIT */
#include "tools/web/microhttpd.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tools/base/version.h"

/* The name that belongs to the headers we were built with; it is the same since version
 * 0.9.56. */
#define LIBRARY "libmicrohttpd.so.12"

struct web_library mhd;

/* dlsym() returns functions as pointers to data. */
static int find_symbol(void *library, const char *name, void *ret_function)
{
	void *symbol = dlsym(library, name);

	memcpy(ret_function, &symbol, sizeof(symbol));
	return symbol ? 0 : -ENOENT;
}

static int find_all(void *library)
{
	int result = 0;

#define FUNCTION(name)                                                                   \
	if (result == 0)                                                                 \
		result = find_symbol(library, "MHD_" #name, &mhd.name);
	WEB_LIBRARY(FUNCTION)
#undef FUNCTION
	return result;
}

int web_library_load(char *ret_error, size_t size)
{
	void *library = VERSION_DLOPEN(LIBRARY);

	if (library && find_all(library) == 0)
		return 0;
	snprintf(ret_error, size, "%s: %s", LIBRARY,
		 library ? "wrong version"
			 : VERSION_CURE("install it (Debian: libmicrohttpd12)"));
	if (library)
		dlclose(library);
	return -ENOENT;
}
