/* SPDX-License-Identifier: MIT
 *
 * Warnings of what is in order as a text and is not on this host: what the kernel here
 * ignores in silence, or what other programs here pay for.
 */
#ifndef TWS_TOOLS_POLICY_HOST_H
#define TWS_TOOLS_POLICY_HOST_H

#include "config/compile.h"
#include "tools/kernel/kernel.h"

/* Adds warnings of each rule and arm whose port_range lies wholly outside of the kernel's
 * range, or whose port_ring takes ports that connect() chooses from. `source` is what the
 * image was compiled from, into these complaints. Without a range (0, 0) none. Pure. */
void tws_policy_warn_of_ports(const struct tws_policy_image *image,
			      const struct tws_source *source,
			      const struct kernel_ports *ports,
			      struct tws_complaints *complaints);

/* The same, with the ports of this network namespace. */
void tws_policy_warn_of_host(const struct tws_policy_image *image,
			     const struct tws_source *source,
			     struct tws_complaints *complaints);

#endif
