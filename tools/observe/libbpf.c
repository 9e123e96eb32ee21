/* SPDX-License-Identifier: MIT */
#include "tools/observe/libbpf.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/base/version.h"

#define LIBRARY "libbpf.so.1"

struct libbpf libbpf;

/* dlsym() returns functions as pointers to data. */
static int find_function(void *library, const char *name, void *ret_function)
{
	void *symbol = dlsym(library, name);

	memcpy(ret_function, &symbol, sizeof(symbol));
	return symbol ? 0 : -ENOENT;
}

static int find_all(void *library)
{
	int result = 0;

#define FUNCTION(returns, name, parameters)                                              \
	if (result == 0)                                                                 \
		result = find_function(library, #name, &libbpf.name);
	LIBBPF(FUNCTION)
#undef FUNCTION
	return result;
}

/* Suppresses what libbpf would print: our own messages say it. */
static int print_nothing(int level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

int libbpf_load(char *ret_error, size_t size)
{
	void *library = VERSION_DLOPEN(LIBRARY);

	if (library && find_all(library) == 0) {
		libbpf.libbpf_set_print(print_nothing);
		return 0;
	}
	snprintf(ret_error, size, "%s: %s", LIBRARY,
		 library ? "another version: install libbpf 1.0 or newer"
			 : VERSION_CURE("install it (Debian: libbpf1)"));
	if (library)
		dlclose(library);
	return -ENOENT;
}

void libbpf_explain(char *ret_error, size_t size, int error)
{
	const char *why = strerror(-error), *instead =
						"twshim run -- CMD starts a program "
						"with the shim instead";

	if (error == -EPERM || error == -EACCES)
		why = geteuid() ? "only root may (CAP_BPF and CAP_PERFMON)"
				: "root may not either here: CAP_BPF or CAP_PERFMON is "
				  "missing, or a container's filter or kernel lockdown "
				  "forbids it";
	else if (access("/sys/kernel/btf/vmlinux", R_OK) != 0)
		why = "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)";
	snprintf(ret_error, size, "BPF: %s: %s", why, instead);
}
