/* SPDX-License-Identifier: MIT */
#include "config/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t MAPPED[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* A destination split into its parts. None is longer than an address with a prefix
 * length. */
struct pieces {
	char host[64]; /* "" or "*": any */
	const char
	    *bits; /* in `host`, after the '/'; NULL if there is no prefix length */
	const char *ports; /* NULL means any port */
};

static bool refuse_address(struct tws_problem *problem, const char *text,
			   const char *what, const char *cure)
{
	tws_problem_what(problem, "\"%s\" %s", text, what);
	tws_problem_cure(problem, "%s", cure);
	return false;
}

/* Parses a decimal number of at most `high` that takes up all of `text` up to `end`. */
static bool parse_port_number(const char *text, const char *end, unsigned high,
			      unsigned *ret_number)
{
	unsigned number = 0;

	if (text == end || end - text > 5)
		return false;
	for (; text < end; text++) {
		if (!isdigit((unsigned char)*text))
			return false;
		number = number * 10 + (unsigned)(*text - '0');
	}
	if (number > high)
		return false;
	*ret_number = number;
	return true;
}

bool tws_ports_parse(const char *text, uint16_t *ret_low, uint16_t *ret_high,
		     struct tws_problem *problem)
{
	const char *dash = strchr(text, '-'), *end = text + strlen(text);
	unsigned low, high;

	if (!parse_port_number(text, dash ? dash : end, UINT16_MAX, &low) ||
	    !parse_port_number(dash ? dash + 1 : text, end, UINT16_MAX, &high) ||
	    low == 0)
		return refuse_address(problem, text, "is not a port or a range of ports",
				      "write a number from 1 to 65535, or LOW-HIGH");
	if (low > high) {
		refuse_address(problem, text, "runs backwards", "");
		tws_problem_cure(problem, "write \"%u-%u\"", high, low);
		return false;
	}
	*ret_low = (uint16_t)low;
	*ret_high = (uint16_t)high;
	return true;
}

/* Returns where the host ends: at the last ':' outside [ ], unless the text is a bare
 * IPv6 address. */
static const char *end_of_host(const char *text)
{
	const char *bracket = *text == '[' ? strchr(text, ']') : NULL;
	const char *colon = strchr(bracket ? bracket : text, ':');

	if (bracket)
		return bracket + 1;
	if (!colon || (colon != text && strchr(colon + 1, ':')) ||
	    strncmp(text, "::", 2) == 0)
		return text + strlen(text);
	return colon;
}

static bool cut(const char *text, struct pieces *ret, struct tws_problem *problem)
{
	const char *end = end_of_host(text), *start = text;
	size_t length = (size_t)(end - text);
	char *slash;

	if (*text == '[' && end[-1] != ']')
		return refuse_address(problem, text, "has a '[' without its ']'",
				      "write an IPv6 destination as \"[fd00::1]:6379\"");
	if (*end && *end != ':')
		return refuse_address(problem, text, "goes on after the ']'",
				      "the prefix belongs inside: \"[fd00::/8]:6379\"");
	if (*text == '[') {
		start++;
		length -= 2;
	}
	if (length >= sizeof(ret->host))
		return refuse_address(problem, text, "is too long to be an address",
				      "write an IPv4 or IPv6 address");
	memcpy(ret->host, start, length);
	ret->host[length] = '\0';
	slash = strchr(ret->host, '/');
	ret->bits = slash ? slash + 1 : NULL;
	if (slash)
		*slash = '\0';
	ret->ports = *end == ':' ? end + 1 : NULL;
	return true;
}

/* Stores the bytes of `host` and returns its family, or TWS_FAMILY_NONE if it is not
 * an address. */
static enum tws_family parse_host(const char *host, uint8_t bytes[16])
{
	memset(bytes, 0, 16);
	if (inet_pton(AF_INET, host, bytes) == 1)
		return TWS_IPV4;
	return inet_pton(AF_INET6, host, bytes) == 1 ? TWS_IPV6 : TWS_FAMILY_NONE;
}

/* "fd00::1:6379" is an address, and would be one without its last group too. The
 * writer may have meant a port; a rule for the address would then never match. */
static bool check_no_port_is_meant(const char *text, const struct pieces *pieces,
				   struct tws_problem *problem)
{
	const char *last = strrchr(pieces->host, ':');
	char host[sizeof(pieces->host)];
	uint8_t bytes[16];
	unsigned port;

	if (*text == '[' || pieces->ports || pieces->bits || !last ||
	    !parse_port_number(last + 1, strchr(last, '\0'), UINT16_MAX, &port))
		return true;
	snprintf(host, sizeof(host), "%.*s", (int)(last - pieces->host), pieces->host);
	if (parse_host(host, bytes) != TWS_IPV6)
		return true;
	refuse_address(problem, text, "may end in a port or not", "");
	tws_problem_cure(problem, "write \"[%s]:%u\", or \"[%s]\" for the address", host,
			 port, pieces->host);
	return false;
}

static void clear_host_bits(uint8_t bytes[16], unsigned bits)
{
	for (unsigned i = 0; i<16; i++, bits = bits> 8 ? bits - 8 : 0)
		if (bits < 8)
			bytes[i] &= (uint8_t)(0xff00u >> bits);
}

static bool check_host_bits(const char *text, const struct tws_target *target,
			    struct tws_problem *problem)
{
	struct tws_target cleared = *target;
	char proposal[TWS_TARGET_TEXT_SIZE];

	clear_host_bits(cleared.bytes, target->prefix_bits);
	if (memcmp(cleared.bytes, target->bytes, sizeof(cleared.bytes)) == 0)
		return true;
	refuse_address(problem, text, "has bits set beyond its prefix", "");
	tws_problem_cure(problem, "write \"%s\"", tws_target_format(&cleared, proposal));
	return false;
}

static void unmap(struct tws_target *target)
{
	if (target->family != TWS_IPV6 || target->prefix_bits < 96 ||
	    memcmp(target->bytes, MAPPED, sizeof(MAPPED)) != 0)
		return;
	memmove(target->bytes, target->bytes + 12, 4);
	memset(target->bytes + 4, 0, 12);
	target->family = TWS_IPV4;
	target->prefix_bits = (uint8_t)(target->prefix_bits - 96);
}

static bool parse_address_part(const char *text, const struct pieces *pieces,
			       struct tws_target *target, struct tws_problem *problem)
{
	unsigned width, bits;

	target->family = (uint8_t)parse_host(pieces->host, target->bytes);
	if (target->family == TWS_FAMILY_NONE &&
	    strspn(text, "0123456789-") == strlen(text)) {
		tws_problem_what(problem, "\"%s\" is not an IPv4 or IPv6 address", text);
		tws_problem_cure(problem, "did you mean *:%s?", text);
		return false;
	}
	if (target->family == TWS_FAMILY_NONE)
		return refuse_address(problem, text, "is not an IPv4 or IPv6 address",
				      strchr(pieces->host, '%')
					  ? "leave the zone (%...) out"
					  : "names are not looked up; write the address, "
					    "\"ADDRESS[/BITS][:PORT]\" or \"*\"");
	width = target->family == TWS_IPV4 ? 32 : 128;
	bits = width;
	if (pieces->bits &&
	    !parse_port_number(pieces->bits, strchr(pieces->bits, '\0'), width, &bits)) {
		refuse_address(problem, text, "has a malformed prefix length", "");
		tws_problem_cure(problem, "write /0 to /%u", width);
		return false;
	}
	target->prefix_bits = (uint8_t)bits;
	return true;
}

bool tws_target_parse(const char *text, struct tws_target *ret_target,
		      struct tws_problem *problem)
{
	struct tws_target target = {.port_low = 0, .port_high = UINT16_MAX};
	struct pieces pieces;
	bool any;

	if (!*text)
		return refuse_address(
		    problem, text, "names no destination",
		    "write \"ADDRESS[/BITS][:PORT]\", or \"*\" for any");
	if (!cut(text, &pieces, problem))
		return false;
	any = !*pieces.host || strcmp(pieces.host, "*") == 0;
	if (any && (pieces.bits || *text == '['))
		return refuse_address(problem, text, "has a prefix without an address",
				      "write \"*\" alone, or an address before the '/'");
	if (!any && (!parse_address_part(text, &pieces, &target, problem) ||
		     !check_no_port_is_meant(text, &pieces, problem)))
		return false;
	if (pieces.ports && strcmp(pieces.ports, "*") != 0 &&
	    !tws_ports_parse(pieces.ports, &target.port_low, &target.port_high, problem))
		return false;
	if (!check_host_bits(text, &target, problem))
		return false;
	unmap(&target);
	*ret_target = target;
	return true;
}

bool tws_address_parse(const char *text, struct tws_address *ret_address,
		       struct tws_problem *problem)
{
	struct tws_target target;

	if (!tws_target_parse(text, &target, problem))
		return false;
	if (target.port_low != target.port_high || target.family == TWS_FAMILY_NONE ||
	    target.prefix_bits != (target.family == TWS_IPV4 ? 32 : 128))
		return refuse_address(
		    problem, text, "is not one address and port",
		    "write it as \"10.0.0.7:6379\" or \"[fd00::1]:6379\"");
	*ret_address =
	    (struct tws_address){.family = target.family, .port = target.port_low};
	memcpy(ret_address->bytes, target.bytes, sizeof(ret_address->bytes));
	return true;
}

static void format_ports(const struct tws_target *target, char *text, size_t size)
{
	if (target->port_low == 0 && target->port_high == UINT16_MAX)
		*text = '\0';
	else if (target->port_low == target->port_high)
		snprintf(text, size, ":%u", target->port_low);
	else
		snprintf(text, size, ":%u-%u", target->port_low, target->port_high);
}

const char *tws_target_format(const struct tws_target *target,
			      char text[TWS_TARGET_TEXT_SIZE])
{
	bool v4 = target->family == TWS_IPV4;
	char host[INET6_ADDRSTRLEN] = "*", ports[16], bits[8] = "";

	format_ports(target, ports, sizeof(ports));
	if (target->family != TWS_FAMILY_NONE)
		inet_ntop(v4 ? AF_INET : AF_INET6, target->bytes, host, sizeof(host));
	if (target->family != TWS_FAMILY_NONE && target->prefix_bits != (v4 ? 32 : 128))
		snprintf(bits, sizeof(bits), "/%u", target->prefix_bits);
	snprintf(text, TWS_TARGET_TEXT_SIZE,
		 target->family == TWS_IPV6 ? "[%s%s]%s" : "%s%s%s", host, bits, ports);
	return text;
}
