/* SPDX-License-Identifier: MIT
 *
 * Destinations as text: "10.0.0.0/8:6379", "[fd00::/8]:6379", "*:443", ":443",
 * "10.0.0.7", "[::1]:80-90", "fd00::/8", "*". Pure: names are never resolved. A
 * v4-mapped IPv6 prefix is stored as the IPv4 prefix that it represents.
 */
#ifndef TWS_CONFIG_ADDRESS_H
#define TWS_CONFIG_ADDRESS_H

#include "config/complaint.h"
#include "shim/shared/policy_image.h"

#define TWS_TARGET_TEXT_SIZE 80

/* On error, each parser returns false, fills *problem and leaves the result unchanged. */

bool tws_target_parse(const char *text, struct tws_target *ret_target,
		      struct tws_problem *problem);

/* Parses one address and port, as a program connects to: "10.0.0.7:6379", "[::1]:80". */
bool tws_address_parse(const char *text, struct tws_address *ret_address,
		       struct tws_problem *problem);

/* Parses "80" or "80-90". Ports are 1 to 65535. */
bool tws_ports_parse(const char *text, uint16_t *ret_low, uint16_t *ret_high,
		     struct tws_problem *problem);

/* Writes the shortest text that parses to this target. Returns `text`. */
const char *tws_target_format(const struct tws_target *target,
			      char text[TWS_TARGET_TEXT_SIZE]);

#endif
