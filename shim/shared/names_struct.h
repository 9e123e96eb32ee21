/* SPDX-License-Identifier: MIT
 *
 * A part of the segment's header (segment.h), and of its ABI.
 */
#ifndef TWS_SHIM_NAMES_STRUCT_H
#define TWS_SHIM_NAMES_STRUCT_H

#include <stdint.h>

/* What the process is called besides its executable; "": it has no such name.
 * All are NUL-terminated and may hold any bytes. */
struct tws_names {
	char given[64]; /* TWSHIM_APP */
	char unit[128]; /* the systemd unit, a .service */
	char container[64];
	char script[64]; /* base name, module or class */
	uint32_t parent; /* its pid, in the process's own namespace, at the first
			    connection; totals: 0 */
};

#endif
