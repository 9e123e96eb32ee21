/* SPDX-License-Identifier: MIT
 *
 * What the rules share. Thresholds stand here and are those of the measurements in the
 * manual: from half of a destination's ports on, connect() takes up to a hundred times
 * the CPU.
 */
#ifndef TWS_TOOLS_ADVICE_RULE_H
#define TWS_TOOLS_ADVICE_RULE_H

#include <stdio.h>

#include "tools/advice/advice.h"

#define MANY	  20   /* connections; below it nobody need care */
#define VERY_MANY 1000 /* connections */
#define BROWNOUT  50   /* per cent of the port range */
#define EXHAUSTED 80   /* per cent of the port range */

#define EVIDENCE(...) snprintf(ret_finding->evidence, ADVICE_TEXT_SIZE, __VA_ARGS__)
#define ADVICE(...)   snprintf(ret_finding->advice, ADVICE_TEXT_SIZE, __VA_ARGS__)

/* A number with its separators, in one of a few buffers: for one printf. */
const char *advice_number(uint64_t value);

/* Rounded down; 0 of nothing. */
uint64_t advice_percent(uint64_t part, uint64_t whole);

uint64_t advice_count(const struct advice_facts *facts, enum tws_counter counter);

/* Whether there is none of it any more, as far as that is known. */
bool advice_is_over(const struct advice_facts *facts, uint64_t recently, uint64_t least);

#define RECENT(facts, field) ((facts)->recent ? (facts)->recent->field : 0)

/* A peak is one process's, whatever the others had open at the time: " in one process"
 * where there are more. */
const char *advice_in_one_process(const struct advice_facts *facts);

/* Of a TIME_WAIT socket, as the kernel says, or as measured where it does not. */
uint64_t advice_time_wait_bytes(const struct host *host);

#define ADVICE_RING_SIZE 16

/* Ports for a port_ring, outside those that connect() chooses from: "61000-65535".
 * Returns `text`, of ADVICE_RING_SIZE. */
const char *advice_ring_outside(char *text, const struct traffic *traffic);

#define ADVICE_PORTS	 28232 /* of the default range */
#define ADVICE_MORE_SIZE 256

/* How to have more ports than the `usable` of a range of `all`, on the whole host: by the
 * range, or by the list of reserved ports where that is what takes them. Returns `text`,
 * of ADVICE_MORE_SIZE. */
const char *advice_more_ports(char *text, uint64_t all, uint64_t usable);

void advice_set(struct advice_finding *finding, enum advice_verdict verdict,
		uint64_t weight);

/* NOTICE, or WARNING for very many connections. */
enum advice_verdict advice_by_number(uint64_t connections);

#endif
