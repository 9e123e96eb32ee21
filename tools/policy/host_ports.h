/* SPDX-License-Identifier: MIT
 *
 * Warnings about a policy that is valid as a text but does not work on this host: what
 * its kernel ignores silently, or what other programs here pay for.
 */
#ifndef TWS_TOOLS_POLICY_HOST_H
#define TWS_TOOLS_POLICY_HOST_H

#include "config/compile.h"
#include "tools/kernel/kernel.h"

/* Adds a warning for each rule and arm whose port_range lies wholly outside the
 * kernel's range, or whose port_ring takes ports that connect() chooses from.
 * `source`, from which the image was compiled, is named in these warnings. Without a
 * range (0, 0) there are none. Pure. */
void tws_policy_warn_of_ports(const struct tws_policy_image *image,
			      const struct tws_source *source,
			      const struct kernel_ports *ports,
			      struct tws_complaints *complaints);

/* The same, with the ports of this network namespace, and for each match.exe under whose
 * name no program runs here. */
void tws_policy_warn_of_host(const struct tws_policy_image *image,
			     const struct tws_source *source,
			     struct tws_complaints *complaints);

#endif
