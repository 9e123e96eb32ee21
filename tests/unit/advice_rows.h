/* SPDX-License-Identifier: MIT
 *
 * The rules as a table: facts, and the verdict that each finding must come to. Every
 * finding has rows on both sides of its threshold.
 */
#ifndef TWS_TESTS_UNIT_ADVICE_ROWS_H
#define TWS_TESTS_UNIT_ADVICE_ROWS_H

#include <errno.h>

#include "tools/advice.h"
#include "tools/host.h"
#include "tools/traffic.h"

/* Rows name what matters. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define FAR_AWAY                                                                         \
	{                                                                                \
		.bytes = {10, 0, 0, 7}, .port = 6379, .family = TWS_IPV4                 \
	}
#define LOOPBACK                                                                         \
	{                                                                                \
		.bytes = {127, 0, 0, 1}, .port = 6379, .family = TWS_IPV4                \
	}

/* ------------------------------------------------- of applications and destinations */

struct counter_row {
	const char *id;
	enum advice_verdict verdict;
	const char *says; /* in the evidence or the advice; NULL: nothing to say */
	struct {
		enum tws_counter counter;
		uint64_t value;
	} counts[6];
	struct model_ports ports;
	uint64_t processes;
};

static const struct counter_row counter_rows[] = {
    {"TW101", VERDICT_OK, NULL, {{TWS_short_lived, 19}, {TWS_established, 19}}},
    {"TW101", VERDICT_OK, NULL, {{TWS_short_lived, 40}, {TWS_established, 81}}},
    {"TW101",
     VERDICT_NOTICE,
     "pool of 3, kept open, would have opened 3 instead of 40",
     {{TWS_short_lived, 40}, {TWS_established, 40}, {TWS_peak_open, 3}}},
    {"TW101", VERDICT_WARNING, NULL, {{TWS_short_lived, 1000}, {TWS_established, 1000}}},
    {"TW101",
     VERDICT_NOTICE,
     "each run is a process of its own",
     {{TWS_short_lived, 40}, {TWS_established, 40}, {TWS_peak_open, 1}},
     .processes = 40},
    {"TW101",
     VERDICT_NOTICE,
     "pool of 3 in each, kept open, would have opened at most 12 instead of 40",
     {{TWS_short_lived, 40}, {TWS_established, 40}, {TWS_peak_open, 3}},
     .processes = 4},
    {"TW101",
     VERDICT_NOTICE,
     "use them again",
     {{TWS_short_lived, 40}, {TWS_established, 40}, {TWS_peak_open, 40}}},
    {"TW102", VERDICT_OK, NULL, {{TWS_ended_local_fin, 19}}},
    {"TW102", VERDICT_OK, NULL, {{TWS_ended_local_fin, 20}, {TWS_ended_remote_fin, 21}}},
    {"TW102",
     VERDICT_NOTICE,
     "closed first on 20 of 20 connections to 10.0.0.7:6379",
     {{TWS_ended_local_fin, 20}}},
    {"TW102", VERDICT_WARNING, "fin-reset", {{TWS_ended_local_fin, 1000}}},
    {"TW103", VERDICT_OK, NULL, {{0}}, {.used = 49, .range = 100}},
    {"TW103", VERDICT_WARNING, "100 times", {{0}}, {.used = 50, .range = 100}},
    {"TW103", VERDICT_WARNING, "79 %", {{0}}, {.used = 79, .range = 100}},
    {"TW103", VERDICT_WARNING, "port_range=full,to=", {{0}}, {.used = 79, .range = 100}},
    {"TW103", VERDICT_PROBLEM, "soon fails", {{0}}, {.used = 80, .range = 100}},
    {"TW103", VERDICT_PROBLEM, "keep fewer", {{0}}, {.used = 80, .range = 100}},
    {"TW103", VERDICT_PROBLEM, "fails with EADDRNOTAVAIL now", {{0}}, {100, 100}},
    {"TW103", VERDICT_OK, NULL, {{0}}, {.used = 80, .range = 0}},
    {"TW104", VERDICT_OK, NULL, {{TWS_attempts, 5}}},
    {"TW104",
     VERDICT_PROBLEM,
     "1 of 5 connects",
     {{TWS_attempts, 5}, {TWS_failed_no_port, 1}}},
    {"TW105", VERDICT_OK, NULL, {{TWS_bound_before_connect, 19}}},
    {"TW105",
     VERDICT_NOTICE,
     "IP_BIND_ADDRESS_NO_PORT",
     {{TWS_bound_before_connect, 20}}},
    {"TW105",
     VERDICT_WARNING,
     NULL,
     {{TWS_bound_before_connect, 1}, {TWS_failed_address_in_use, 1}}},
    {"TW106", VERDICT_OK, NULL, {{TWS_setsockopt_reuseaddr, 9}}},
    {"TW106",
     VERDICT_NOTICE,
     "9 times",
     {{TWS_setsockopt_reuseaddr, 9}, {TWS_ended_local_fin, 9}}},
    {"TW107",
     VERDICT_OK,
     NULL,
     {{TWS_setsockopt_linger, 9},
      {TWS_setsockopt_linger_zero, 9},
      {TWS_ended_local_fin, 9}}},
    {"TW107",
     VERDICT_NOTICE,
     "60 s",
     {{TWS_setsockopt_linger, 9},
      {TWS_setsockopt_linger_zero, 8},
      {TWS_ended_local_fin, 9}}},
    {"TW108", VERDICT_OK, NULL, {{TWS_ended_local_fin, 9}}},
    {"TW108", VERDICT_NOTICE, "graceful", {{TWS_ended_reset_app, 1}}},
    {"TW108", VERDICT_WARNING, NULL, {{TWS_ended_reset_app, 20}}},
    {"TW109", VERDICT_OK, NULL, {{TWS_ended_reset_app, 9}}},
    {"TW109",
     VERDICT_NOTICE,
     NULL,
     {{TWS_ended_reset_unread, 9}, {TWS_ended_local_fin, 91}}},
    {"TW109",
     VERDICT_WARNING,
     NULL,
     {{TWS_ended_reset_unread, 10}, {TWS_ended_local_fin, 90}}},
    {"TW110", VERDICT_OK, NULL, {{TWS_established, 100}}},
    {"TW110",
     VERDICT_NOTICE,
     "twshim doctor COMMAND",
     {{TWS_established, 100}, {TWS_ended_unseen, 4}}},
    {"TW110", VERDICT_WARNING, NULL, {{TWS_established, 100}, {TWS_ended_unseen, 5}}},
    {"TW111", VERDICT_OK, NULL, {{TWS_established, 1}}},
    {"TW111", VERDICT_WARNING, "`connection_slots`", {{TWS_unobserved, 1}}},
    {"TW112", VERDICT_OK, NULL, {{TWS_established, 1}}},
    {"TW112", VERDICT_WARNING, "strip", {{TWS_deepbind_loads, 1}}},
    {"TW113", VERDICT_OK, NULL, {{TWS_ended_reset_policy, 9}}},
    {"TW113",
     VERDICT_WARNING,
     "discarded up to 4.2 MB",
     {{TWS_ended_reset_policy, 9}, {TWS_bytes_discarded, 4194304}}},
};

struct host_row {
	const char *id;
	enum advice_verdict verdict;
	const char *says;
	struct {
		enum host_fact fact;
		uint64_t value;
		int error; /* not 0: unknown, for this reason */
	} facts[4];
	struct traffic traffic;
	struct traffic_pair pair;
};

static const struct host_row host_rows[] = {
    /* tcp_tw_reuse: of interest only where ports run out */
    {"TW201", VERDICT_OK, "loopback destinations only", {{HOST_tw_reuse, 2}}},
    {"TW201", VERDICT_UNKNOWN, "Permission denied", {{HOST_tw_reuse, 0, EACCES}}},
    {"TW201",
     VERDICT_NOTICE,
     "tcp_tw_reuse=1",
     {{HOST_tw_reuse, 2}, {HOST_timestamps, 1}},
     .pair = {.to = FAR_AWAY, .used = 50, .time_wait = 50, .range = 100}},
    {"TW201",
     VERDICT_OK,
     NULL,
     {{HOST_tw_reuse, 2}, {HOST_timestamps, 1}},
     .pair = {.to = LOOPBACK, .used = 50, .time_wait = 50, .range = 100}},
    {"TW201",
     VERDICT_OK,
     NULL,
     {{HOST_tw_reuse, 1}, {HOST_timestamps, 1}},
     .pair = {.to = FAR_AWAY, .used = 50, .time_wait = 50, .range = 100}},
    {"TW201",
     VERDICT_NOTICE,
     "TIME_WAIT; last, for the whole host, net.ipv4.tcp_tw_reuse=1 and tcp_timestamps=1",
     {{HOST_tw_reuse, 1}, {HOST_timestamps, 0}},
     .pair = {.to = FAR_AWAY, .used = 50, .time_wait = 50, .range = 100}},
    {"TW201",
     VERDICT_OK,
     NULL,
     {{HOST_tw_reuse, 0}, {HOST_timestamps, 1}},
     .pair = {.to = FAR_AWAY, .used = 49, .time_wait = 49, .range = 100}},
    /* what is open, no setting gives back */
    {"TW201",
     VERDICT_OK,
     "most TIME_WAIT is to 10.0.0.7:6379, by 40 of 100 ports",
     {{HOST_tw_reuse, 2}, {HOST_timestamps, 1}},
     .pair = {.to = FAR_AWAY, .used = 85, .time_wait = 40, .range = 100}},
    {"TW201", VERDICT_OK, "takes over no TIME_WAIT port", {{HOST_tw_reuse, 0}}},
    /* ports inside the range are everybody's */
    {"TW201",
     VERDICT_NOTICE,
     "'close=fin-reset,to=10.0.0.7:6379' leaves no TIME_WAIT; for one program alone, -p "
     "'port_ring=61000-65535,to=",
     {{HOST_tw_reuse, 2}, {HOST_timestamps, 1}},
     {.port_low = 32768, .port_high = 60999},
     {.to = FAR_AWAY, .used = 50, .time_wait = 50, .range = 100}},
    {"TW201",
     VERDICT_NOTICE,
     "port_ring=10000-19999,to=",
     {{HOST_tw_reuse, 0}, {HOST_timestamps, 1}},
     {.port_low = 20000, .port_high = 65000},
     {.to = FAR_AWAY, .used = 50, .time_wait = 50, .range = 100}},
    {"TW202", VERDICT_OK, "is 1", {{HOST_timestamps, 1}}},
    {"TW202", VERDICT_NOTICE, "is 0", {{HOST_timestamps, 0}}},
    {"TW202", VERDICT_WARNING, NULL, {{HOST_timestamps, 0}}, {.time_wait = 20}},
    {"TW202", VERDICT_UNKNOWN, NULL, {{HOST_timestamps, 0, ENOENT}}},
    {"TW203", VERDICT_OK, "does not exist", {{HOST_tw_recycle, 0, ENOENT}}},
    {"TW203", VERDICT_UNKNOWN, NULL, {{HOST_tw_recycle, 0, EACCES}}},
    {"TW203", VERDICT_OK, "is 0", {{HOST_tw_recycle, 0}}},
    {"TW203", VERDICT_PROBLEM, "7 SYNs", {{HOST_tw_recycle, 1}, {HOST_paws_passive, 7}}},
    {"TW204", VERDICT_OK, "60 s", {{HOST_fin_timeout, 60}}, {.time_wait = 5000}},
    {"TW204", VERDICT_OK, NULL, {{HOST_fin_timeout, 15}}, {.time_wait = 19}},
    {"TW204",
     VERDICT_NOTICE,
     "youngest has 58 s left",
     {{HOST_fin_timeout, 15}},
     {.time_wait = 20, .newest_leaves_ms = 58500}},
    {"TW204",
     VERDICT_NOTICE,
     "over 60",
     {{HOST_fin_timeout, 120}},
     {.time_wait = 20, .newest_leaves_ms = 58500}},
    {"TW204", VERDICT_UNKNOWN, NULL, {{HOST_fin_timeout, 0, ENOENT}}},
    {"TW205", VERDICT_OK, NULL, {{HOST_max_tw_buckets, 100}}, {.time_wait = 79}},
    {"TW205", VERDICT_NOTICE, "80 %", {{HOST_max_tw_buckets, 100}}, {.time_wait = 80}},
    {"TW205",
     VERDICT_OK,
     "5 left out",
     {{HOST_max_tw_buckets, 100}, {HOST_tw_overflow, 5}},
     {.time_wait = 49}},
    {"TW205",
     VERDICT_NOTICE,
     "5 left out",
     {{HOST_max_tw_buckets, 100}, {HOST_tw_overflow, 5}},
     {.time_wait = 50}},
    {"TW205",
     VERDICT_WARNING,
     "289 bytes",
     {{HOST_max_tw_buckets, 100}, {HOST_tw_overflow, 5}},
     {.time_wait = 100}},
    {"TW205", VERDICT_UNKNOWN, NULL, {{HOST_max_tw_buckets, 0, EACCES}}},
    {"TW206", VERDICT_OK, "8.1 MB", {{HOST_memory_kb, 16000000}}, {.time_wait = 28000}},
    {"TW206", VERDICT_NOTICE, NULL, {{HOST_memory_kb, 65536}}, {.time_wait = 28000}},
    {"TW207",
     VERDICT_OK,
     NULL,
     {{HOST_tcp_mem_pressure, 10}, {HOST_tcp_mem_high, 20}, {HOST_tcp_pages, 9}}},
    {"TW207",
     VERDICT_WARNING,
     NULL,
     {{HOST_tcp_mem_pressure, 10}, {HOST_tcp_mem_high, 20}, {HOST_tcp_pages, 10}}},
    {"TW207",
     VERDICT_PROBLEM,
     "not TIME_WAIT",
     {{HOST_tcp_mem_pressure, 10}, {HOST_tcp_mem_high, 20}, {HOST_tcp_pages, 20}}},
    {"TW207", VERDICT_UNKNOWN, "tcp_mem", {{HOST_tcp_mem_high, 0, ENOENT}}},
    {"TW208", VERDICT_OK, NULL, {{HOST_max_orphans, 100}, {HOST_tcp_orphan, 49}}},
    {"TW208", VERDICT_WARNING, NULL, {{HOST_max_orphans, 100}, {HOST_tcp_orphan, 50}}},
    {"TW208", VERDICT_PROBLEM, NULL, {{HOST_max_orphans, 100}, {HOST_tcp_orphan, 90}}},
    {"TW209", VERDICT_OK, "not there", {{HOST_conntrack_max, 0, ENOENT}}},
    {"TW209", VERDICT_OK, NULL, {{HOST_conntrack_max, 100}, {HOST_conntrack_count, 79}}},
    {"TW209",
     VERDICT_WARNING,
     "80 of 100",
     {{HOST_conntrack_max, 100}, {HOST_conntrack_count, 80}}},
    {"TW209",
     VERDICT_PROBLEM,
     NULL,
     {{HOST_conntrack_max, 100}, {HOST_conntrack_count, 90}}},
    {"TW210", VERDICT_OK, "24.99 %", {{HOST_cpu_pressure, 2499}}},
    {"TW210", VERDICT_NOTICE, NULL, {{HOST_cpu_pressure, 2500}}},
    {"TW210", VERDICT_WARNING, "TW103", {{HOST_cpu_pressure, 6000}}},
    {"TW210", VERDICT_UNKNOWN, NULL, {{HOST_cpu_pressure, 0, ENOENT}}},
    {"TW211", VERDICT_OK, NULL, {{HOST_memory_pressure, 499}}},
    {"TW211", VERDICT_NOTICE, NULL, {{HOST_memory_pressure, 500}}},
    {"TW211", VERDICT_WARNING, NULL, {{HOST_memory_pressure, 2000}}},
    {"TW212", VERDICT_OK, NULL, {{HOST_io_pressure, 2499}}},
    {"TW212", VERDICT_NOTICE, NULL, {{HOST_io_pressure, 2500}}},
    {"TW212", VERDICT_WARNING, NULL, {{HOST_io_pressure, 6000}}},
    {"TW214", VERDICT_OK, "none of the 9", {{0}}, {.time_wait = 9}},
    {"TW214",
     VERDICT_OK,
     "harmless",
     {{0}},
     {.time_wait = 999, .incoming = 999, .incoming_port = 80}},
    {"TW214",
     VERDICT_NOTICE,
     "most (990) at port 80",
     {{0}},
     {.time_wait = 1000, .incoming = 1000, .incoming_at_port = 990, .incoming_port = 80}},
    {"TW217", VERDICT_OK, "28,232", {{HOST_port_low, 32768}, {HOST_port_high, 60999}}},
    {"TW217",
     VERDICT_NOTICE,
     "900 for connect()",
     {{HOST_port_low, 1000}, {HOST_port_high, 1999}, {HOST_reserved_ports, 100}},
     .pair = {.to = FAR_AWAY, .used = 450, .range = 900}},
    {"TW217",
     VERDICT_OK,
     NULL,
     {{HOST_port_low, 1000}, {HOST_port_high, 1999}},
     .pair = {.to = FAR_AWAY, .used = 100, .range = 1000}},
    {"TW217", VERDICT_UNKNOWN, NULL, {{HOST_port_high, 0, EACCES}}},
    {"TW218", VERDICT_OK, "0 of the 0", {{0}}},
    {"TW218",
     VERDICT_OK,
     NULL,
     {{0}},
     {.time_wait = 19, .unowned = 19, .unowned_there = 19, .unowned_to = FAR_AWAY}},
    {"TW218",
     VERDICT_NOTICE,
     "most (15) to 10.0.0.7:6379",
     {{0}},
     {.time_wait = 20, .unowned = 20, .unowned_there = 15, .unowned_to = FAR_AWAY}},
    {"TW218",
     VERDICT_WARNING,
     "twshim run",
     {{0}},
     {.time_wait = 1000, .unowned = 1000, .unowned_there = 1000, .unowned_to = FAR_AWAY}},
};

#endif
