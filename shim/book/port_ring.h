/* SPDX-License-Identifier: MIT
 *
 * port_ring: source ports from a ring, oldest first and none younger than the rule's
 * age, shared by all processes that publish in one directory. If both the old and the
 * new socket set SO_REUSEADDR, the kernel lets connect() take over the TIME_WAIT of the
 * same port at once (measured, Linux 6.18; needs timestamps). So the shim has to keep
 * the age itself: the peer must be able to tell the new SYN from an old duplicate by its
 * timestamp (RFC 6191).
 */
#ifndef TWS_SHIM_PORT_RING_H
#define TWS_SHIM_PORT_RING_H

#include <stdbool.h>
#include <stdint.h>

/* Takes the next port of the ring from LOW to HIGH (inclusive) into *ret_port, and a
 * word to give it back with into *ret_word. Returns 0; -EAGAIN if all ports are in use
 * or too young (*ret_wait_ms is how long the oldest has to wait; 0: all are in use);
 * another negative errno if there is no such ring. `age_ms`: 0 to 60000. */
int tws_port_ring_take(uint16_t low, uint16_t high, uint32_t age_ms, uint16_t *ret_port,
		       uint32_t *ret_word, uint32_t *ret_wait_ms);

/* Gives a port back: its age counts from now. A word of 0 is ignored. */
void tws_port_ring_give(uint32_t word);

/* Whether the kernel lets a connect() take over a TIME_WAIT socket: it does not
 * without TCP timestamps. */
bool tws_port_ring_supported(void);

#endif
