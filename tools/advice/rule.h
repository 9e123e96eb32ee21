/* SPDX-License-Identifier: MIT
 *
 * What the rules share. The thresholds come from the measurements in the manual: once
 * half of a destination's ports are in use, connect() can cost a hundred times the CPU.
 */
#ifndef TWS_TOOLS_ADVICE_RULE_H
#define TWS_TOOLS_ADVICE_RULE_H

#include <stdio.h>

#include "tools/advice/advice.h"

#define MANY	  20   /* connections; fewer are not worth a finding */
#define VERY_MANY 1000 /* connections */
#define BROWNOUT  50   /* per cent of the port range */
#define EXHAUSTED 80   /* per cent of the port range */

#define EVIDENCE(...) snprintf(ret_finding->evidence, ADVICE_TEXT_SIZE, __VA_ARGS__)
#define ADVICE(...)   snprintf(ret_finding->advice, ADVICE_TEXT_SIZE, __VA_ARGS__)
#define HEADLINE(...) snprintf(ret_finding->headline, ADVICE_HEADLINE_SIZE, __VA_ARGS__)

/* Formats a number with separators into one of eight buffers in turn: use the results in
 * one printf. */
const char *advice_number(uint64_t value);

/* Rounded down; 0 if `whole` is 0. */
uint64_t advice_percent(uint64_t part, uint64_t whole);

/* Writes an address without its port: "10.0.0.1". Returns `text`, which has
 * PRINT_ADDRESS_SIZE bytes. */
const char *advice_source(char *text, const struct tws_address *from);

#define ADVICE_WHO_SIZE 160

/* Writes the part of a rule that means this application and no other program: "exe=NAME",
 * or "app=NAME,exe=NAME" where it has a name of its own. Many programs may share an
 * executable such as python3, and a service may have several. A character that means
 * something to a rule or a shell becomes "?", which matches it. `app` NULL: it has no
 * name. Returns `text`, which has ADVICE_WHO_SIZE bytes. */
const char *advice_who(char *text, const char *exe, const char *app);

/* The same for an application of the model, by whatever it is grouped. */
const char *advice_who_is(char *text, const struct model_app *app);

uint64_t advice_count(const struct advice_facts *facts, enum tws_counter counter);

/* Whether the last minute is known and had fewer than `least` of these events. */
bool advice_is_over(const struct advice_facts *facts, uint64_t recently, uint64_t least);

#define RECENT(facts, field) ((facts)->client.recent ? (facts)->client.recent->field : 0)

/* peak_open is the highest of any one process. Returns " in one process" if the
 * application has more than one, otherwise "". */
const char *advice_in_one_process(const struct advice_facts *facts);

/* The size of a TIME_WAIT socket, from the kernel or, failing that (or if `host` is
 * NULL), as measured. */
uint64_t advice_time_wait_bytes(const struct host *host);

#define ADVICE_RING_SIZE 16

/* Writes a range of ports for a port_ring that lies outside the ephemeral range, such as
 * "61000-65535". Returns `text`, which has ADVICE_RING_SIZE bytes. */
const char *advice_ring_outside(char *text, const struct traffic *traffic);

#define ADVICE_PORTS	 28232 /* in the default range */
#define ADVICE_MORE_SIZE 256

/* Says how the whole host gets more than the `usable` ports out of a range of `all`: by a
 * wider range, or by a shorter list of reserved ports if the list takes most of them.
 * Returns `text`, which has ADVICE_MORE_SIZE bytes. */
const char *advice_more_ports(char *text, uint64_t all, uint64_t usable);

void advice_set(struct advice_finding *finding, enum advice_verdict verdict,
		uint64_t weight);

/* A notice, or a warning for very many connections. */
enum advice_verdict advice_by_number(uint64_t connections);

#endif
