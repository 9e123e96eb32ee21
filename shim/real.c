/* SPDX-License-Identifier: MIT
 *
 * Finds the next definitions by dlsym(RTLD_NEXT), once. The constructor does so early,
 * so that no signal handler, vfork child or forked thread has to take the loader's lock
 * here. A call that comes before the constructor resolves them itself.
 */
#include "shim/real.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/shared/hot.h"

static long absent(void)
{
	errno = ENOSYS;
	return -1;
}

/* The stubs at which the pointers start. */
#define WRAP_required(ret, name, params, args)                                           \
	static ret first_##name params                                                   \
	{                                                                                \
		tws_real_resolve();                                                      \
		return tws_real.name args;                                               \
	}
#define WRAP_optional(ret, name, params, args) WRAP_required(ret, name, params, args)
#define WRAP_variadic(ret, name, params, args)
#include "shim/wrapped.def"
#undef WRAP_required
#undef WRAP_optional

#define WRAP_required(ret, name, params, args) .name = first_##name,
#define WRAP_optional(ret, name, params, args) .name = first_##name,
struct tws_real tws_real = {
#include "shim/wrapped.def"
};
#undef WRAP_required
#undef WRAP_optional

TWS_HOT_DATA bool tws_real_close_is_libc;

struct name_of_symbol {
	const char *name;
	size_t offset;
};

#define WRAP_required(ret, name, params, args) {#name, offsetof(struct tws_real, name)},
#define WRAP_optional(ret, name, params, args) {#name, offsetof(struct tws_real, name)},
static const struct name_of_symbol symbols[] = {
#include "shim/wrapped.def"
};

/* Pointers are stored one by one, and each is valid before and after. A caller that
 * races with this runs either the stub, which resolves to the same answer, or the real
 * function. */
static void resolve_one(const struct name_of_symbol *symbol)
{
	void **slot = (void **)((char *)&tws_real + symbol->offset);
	void *next = dlsym(RTLD_NEXT, symbol->name);

	__atomic_store_n(slot, next ? next : (void *)(uintptr_t)absent, __ATOMIC_RELEASE);
}

void tws_real_resolve(void)
{
	static int done;
	int saved = errno;

	if (__atomic_load_n(&done, __ATOMIC_ACQUIRE))
		return;
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++)
		resolve_one(&symbols[i]);
	/* __close is libc's other name for close(). A preload that wraps close() does
	 * not define it. */
	tws_real_close_is_libc = dlsym(RTLD_NEXT, "__close") == (void *)tws_real.close;
	__atomic_store_n(&done, 1, __ATOMIC_RELEASE);
	errno = saved;
}
