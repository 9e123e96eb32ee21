/* SPDX-License-Identifier: MIT
 *
 * The next definition of every wrapped symbol: libc's, or that of another preload behind
 * us. These may be used at any time, also before any constructor: each pointer starts at
 * a stub that resolves them all. Code in shim/ calls a wrapped name in no other way.
 */
#ifndef TWS_SHIM_REAL_H
#define TWS_SHIM_REAL_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "shim/shared/hot.h"

/* The headers of musl 1.2.3 and older make these other names of the plain ones. */
#undef fcntl64
#undef freopen64

/* Each symbol is required, optional, or variadic (the execl family, made from the
 * execv one). */
#define WRAP(ret, name, params, args, need)    WRAP_##need(ret, name, params, args)
#define WRAP_required(ret, name, params, args) ret(*name) params;
#define WRAP_optional(ret, name, params, args) ret(*name) params;
#define WRAP_variadic(ret, name, params, args)

struct tws_real {
#include "shim/wrapped.def"
};

#undef WRAP_required
#undef WRAP_optional
#undef WRAP_variadic

TWS_OURS extern struct tws_real tws_real;

/* Whether close() is libc's own, with no other preload between. */
TWS_OURS extern bool tws_real_close_is_libc;

/* Resolves all symbols now. Later calls do nothing. */
void tws_real_resolve(void);

#endif
