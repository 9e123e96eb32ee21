/* SPDX-License-Identifier: MIT
 *
 * What an ending leaves behind in the segment: a record in the ring of ended connections,
 * for `trace`, and its cookie among those whose TIME_WAIT stays here.
 */
#ifndef TWS_SHIM_RECORDS_H
#define TWS_SHIM_RECORDS_H

#include "shim/conn.h"

/* An ending is near. What it will write was last touched thousands of connections ago, so
 * it is fetched while the socket is asked. */
void tws_records_expect(const struct tws_book *book);

/* TIME_WAIT stays here. */
void tws_record_time_wait(const struct tws_conn *conn);

/* It ended at `now`, as the slot and `end` say. */
void tws_record_ended(const struct tws_end *end, uint64_t now);

#endif
