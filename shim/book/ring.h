/* SPDX-License-Identifier: MIT
 *
 * port_ring: source ports handed out in a ring, oldest first, none younger than the
 * rule's age, shared by all processes of a run-time directory. With SO_REUSEADDR on both
 * the old and the new socket the kernel lets a connect() take over the TIME_WAIT of the
 * same port at once (measured, Linux 6.18; needs timestamps), so the age is ours to keep:
 * the peer must be able to tell the new SYN from an old duplicate by its timestamp (RFC
 * 6191).
 */
#ifndef TWS_SHIM_RING_H
#define TWS_SHIM_RING_H

#include <stdbool.h>
#include <stdint.h>

/* Takes the next port of the ring of LOW to HIGH, both inclusive, into *ret_port, and a
 * word to give it back with. 0; -EAGAIN: all are in use or too young, *ret_wait_ms is how
 * long the oldest has to wait (0: all are in use); other: the ring cannot be had.
 * `age_ms`: 0 to 60000. */
int tws_ring_take(uint16_t low, uint16_t high, uint32_t age_ms, uint16_t *ret_port,
		  uint32_t *ret_word, uint32_t *ret_wait_ms);

/* Gives a port back: its age counts from now. 0 is no port. */
void tws_ring_give(uint32_t word);

/* Without timestamps the kernel does not let a TIME_WAIT be taken over. */
bool tws_ring_supported(void);

#endif
