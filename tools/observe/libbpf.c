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

struct bpf_object *libbpf_open(const char *object, const char *end)
{
	return libbpf.bpf_object__open_mem(object, (size_t)(end - object), NULL);
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);

	return length >= tail && strcmp(text + length - tail, end) == 0;
}

int libbpf_set_constants(const struct bpf_object *object, const void *value, size_t size)
{
	struct bpf_map *map = NULL;
	size_t room = 0;
	void *constants;

	while ((map = libbpf.bpf_object__next_map(object, map)))
		if (ends_with(libbpf.bpf_map__name(map), ".rodata"))
			break;
	constants = map ? libbpf.bpf_map__initial_value(map, &room) : NULL;
	if (!constants || room < size)
		return -EINVAL;
	memcpy(constants, value, size);
	return 0;
}

int libbpf_map(const struct bpf_object *object, const char *name)
{
	struct bpf_map *map = libbpf.bpf_object__find_map_by_name(object, name);

	return map ? libbpf.bpf_map__fd(map) : -1;
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
