/* SPDX-License-Identifier: MIT
 *
 * Destinations as text: "10.0.0.0/8:6379", "[fd00::/8]:6379", "*:443", ":443",
 * "10.0.0.7", "[::1]:80-90", "fd00::/8", "*". Pure: names are never looked up.
 * A v4-mapped IPv6 prefix is kept as the IPv4 one that it stands for.
 */
#ifndef TWS_CONFIG_ADDRESS_H
#define TWS_CONFIG_ADDRESS_H

#include "config/complaint.h"
#include "shim/shared/policy_image.h"

#define TWS_TARGET_TEXT_SIZE 80

/* Each parser: true, or false with *problem filled and the result untouched. */

bool tws_target_parse(const char *text, struct tws_target *ret_target,
		      struct tws_problem *problem);

/* One address and port, as a program connects to: "10.0.0.7:6379", "[::1]:80". */
bool tws_address_parse(const char *text, struct tws_address *ret_address,
		       struct tws_problem *problem);

/* "80" or "80-90"; 1 to 65535. */
bool tws_ports_parse(const char *text, uint16_t *ret_low, uint16_t *ret_high,
		     struct tws_problem *problem);

/* The shortest text that parses to this target. Returns `text`. */
const char *tws_target_format(const struct tws_target *target,
			      char text[TWS_TARGET_TEXT_SIZE]);

#endif
