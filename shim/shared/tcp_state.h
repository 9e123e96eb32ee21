/* SPDX-License-Identifier: MIT
 *
 * The states of a TCP socket, and what each says of the two FINs. netinet/tcp.h names
 * them too, but does not go with linux/tcp.h.
 */
#ifndef TWS_SHIM_TCP_STATE_H
#define TWS_SHIM_TCP_STATE_H

#include <linux/tcp.h>
#include <stdbool.h>
#include <stdint.h>

/* As the kernel numbers them. */
enum tcp_state {
	STATE_ESTABLISHED = 1,
	STATE_SYN_SENT,
	STATE_SYN_RECV,
	STATE_FIN_WAIT1,
	STATE_FIN_WAIT2,
	STATE_TIME_WAIT,
	STATE_CLOSE,
	STATE_CLOSE_WAIT,
	STATE_LAST_ACK,
	STATE_LISTEN,
	STATE_CLOSING,
};

/* The peer's FIN has come: the kernel counts it as a byte received. */
static inline bool tcp_state_has_fin(uint8_t state)
{
	return state == STATE_CLOSE_WAIT || state == STATE_LAST_ACK ||
	       state == STATE_CLOSING;
}

/* Our FIN is queued or sent, and not acknowledged: SIOCOUTQ counts it as a byte. */
static inline bool tcp_state_owes_fin(uint8_t state)
{
	return state == STATE_FIN_WAIT1 || state == STATE_CLOSING ||
	       state == STATE_LAST_ACK;
}

/* Bytes that the program has sent, also those that the kernel could not send yet: our FIN
 * waits behind them. */
static inline uint64_t tcp_state_bytes_sent(const struct tcp_info *info)
{
	uint64_t unsent = info->tcpi_notsent_bytes;

	if (unsent && tcp_state_owes_fin(info->tcpi_state))
		unsent--;
	return info->tcpi_bytes_sent - info->tcpi_bytes_retrans + unsent;
}

#endif
