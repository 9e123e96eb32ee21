/* SPDX-License-Identifier: MIT
 *
 * The host's numbers from saved texts of /proc, in each form, with missing and damaged
 * values; ports and their forecast.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/kernel/host.h"
#include "tools/kernel/kernel.h"
#include "tools/model/traffic.h"

static const char netstat[] =
    "TcpExt: SyncookiesSent PAWSPassive TW TCPTimeWaitOverflow TCPAbortOnMemory\n"
    "TcpExt: 1 2 300 44 5\n"
    "IpExt: InNoRoutes TW\n"
    "IpExt: 7 8\n";
static const char sockstat[] = "sockets: used 283\n"
			       "TCP: inuse 12 orphan 3 tw 28000 alloc 15 mem 142\n"
			       "UDP: inuse 4 mem 9\n";
static const char pressure[] = "some avg10=1.00 avg60=3.15 avg300=4.47 total=54095598\n"
			       "full avg10=0.00 avg60=9.99 avg300=0.00 total=0\n";

static uint64_t parsed(enum host_form form, const char *text, const char *key)
{
	uint64_t value = 0;

	assert_true(host_parse(form, text, key, &value));
	return value;
}

static void each_form_is_read(void **state)
{
	assert_int_equal(parsed(HOST_FORM_NUMBER, "2\n", "0"), 2);
	assert_int_equal(parsed(HOST_FORM_NUMBER, "32768\t60999\n", "1"), 60999);
	assert_int_equal(parsed(HOST_FORM_NUMBER, "188 251 376\n", "2"), 376);
	assert_int_equal(parsed(HOST_FORM_COLUMN, netstat, "TcpExt:TW"), 300);
	assert_int_equal(parsed(HOST_FORM_COLUMN, netstat, "IpExt:TW"), 8);
	assert_int_equal(parsed(HOST_FORM_COLUMN, netstat, "TcpExt:TCPTimeWaitOverflow"),
			 44);
	assert_int_equal(
	    parsed(HOST_FORM_SLAB,
		   "slabinfo - version: 2.1\n"
		   "tw_sock_TCPv6 1 2 240 16 1\ntw_sock_TCP   3 4 256 16 1\n",
		   "tw_sock_TCP"),
	    256);
	assert_int_equal(parsed(HOST_FORM_PAIR, sockstat, "TCP:orphan"), 3);
	assert_int_equal(parsed(HOST_FORM_PAIR, sockstat, "TCP:mem"), 142);
	assert_int_equal(parsed(HOST_FORM_PAIR, sockstat, "UDP:mem"), 9);
	assert_int_equal(
	    parsed(HOST_FORM_PAIR, "MemTotal:       24684616 kB\n", "MemTotal:"),
	    24684616);
	assert_int_equal(parsed(HOST_FORM_PRESSURE, pressure, "some"), 315);
	assert_int_equal(parsed(HOST_FORM_PRESSURE, pressure, "full"), 999);
	assert_int_equal(parsed(HOST_FORM_PORTS, "\n", ""), 0);
	assert_int_equal(parsed(HOST_FORM_PORTS, "8080,9000-9099\n", ""), 101);
}

static void what_is_damaged_or_missing_is_no_number(void **state)
{
	static const struct {
		enum host_form form;
		const char *text, *key;
	} bad[] = {
	    {HOST_FORM_NUMBER, "", "0"},
	    {HOST_FORM_NUMBER, "yes\n", "0"},
	    {HOST_FORM_NUMBER, "-1\n", "0"},
	    {HOST_FORM_NUMBER, "32768\n", "1"},
	    {HOST_FORM_NUMBER, "99999999999999999999999\n", "0"},
	    {HOST_FORM_COLUMN, "", "TcpExt:TW"},
	    {HOST_FORM_COLUMN, "TcpExt: TW\n", "TcpExt:TW"},
	    {HOST_FORM_COLUMN, "TcpExt: A TW\nTcpExt: 1\n", "TcpExt:TW"},
	    {HOST_FORM_COLUMN, "TcpExt: TWRecycled\nTcpExt: 1\n", "TcpExt:TW"},
	    {HOST_FORM_COLUMN, "TcpExt: TW\nTcpExt: x\n", "TcpExt:TW"},
	    {HOST_FORM_PAIR, "TCP: inuse\n", "TCP:inuse"},
	    {HOST_FORM_PAIR, "TCP6: inuse 1\n", "TCP:inuse"},
	    {HOST_FORM_PAIR, "TCP:", "TCP:inuse"},
	    {HOST_FORM_PRESSURE, "full avg10=0.00 avg60=1.00\n", "some"},
	    {HOST_FORM_PRESSURE, "some avg60=1\n", "some"},
	    {HOST_FORM_PRESSURE, "some avg60=\n", "some"},
	    {HOST_FORM_PORTS, "9000-8000\n", ""},
	    {HOST_FORM_PORTS, "80;90\n", ""},
	};
	uint64_t value;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(host_parse(bad[i].form, bad[i].text, bad[i].key, &value));
}

static void what_cannot_be_read_is_unknown_with_the_reason(void **state)
{
	struct host host = {0};
	char why[160];

	host_take(&host, "net/sockstat", sockstat);
	host_take(&host, "net/netstat", "TcpExt: TW\nTcpExt: 1\n");
	host_take_error(&host, "sys/net/ipv4/tcp_mem", ENOENT);
	host_take_error(&host, "sys/net/ipv4/tcp_tw_reuse", EACCES);
	assert_int_equal(host_get(&host, HOST_tcp_orphan), 3);
	assert_int_equal(host_get(&host, HOST_time_waited), 1);
	assert_false(host_knows(&host, HOST_tw_overflow));
	assert_string_equal(host_why(&host, HOST_tw_overflow, why, sizeof(why)),
			    "/proc/net/netstat has no TcpExt:TCPTimeWaitOverflow");
	assert_string_equal(host_why(&host, HOST_tcp_mem_high, why, sizeof(why)),
			    "/proc/sys/net/ipv4/tcp_mem can't be read in this network "
			    "namespace: only the host's has it");
	host_take_error(&host, "sys/net/ipv4/tcp_mem", EACCES);
	assert_string_equal(host_why(&host, HOST_tcp_mem_high, why, sizeof(why)),
			    "/proc/sys/net/ipv4/tcp_mem: Permission denied");
	host_take_error(&host, "sys/net/ipv4/tcp_tw_reuse_delay", ENOENT);
	assert_string_equal(
	    host_why(&host, HOST_tw_reuse_delay, why, sizeof(why)),
	    "/proc/sys/net/ipv4/tcp_tw_reuse_delay: No such file or directory");
	assert_string_equal(host_why(&host, HOST_tw_reuse, why, sizeof(why)),
			    "/proc/sys/net/ipv4/tcp_tw_reuse: Permission denied");
	assert_int_equal(host_get(&host, HOST_tw_reuse), 0);
	assert_string_equal(host_why(&host, HOST_memory_kb, why, sizeof(why)),
			    "/proc/meminfo: not read");
}

static void write_file(const char *directory, const char *name, const char *text)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void a_saved_proc_is_read_as_the_real_one(void **state)
{
	char directory[] = "/tmp/test_host.XXXXXX", command[128];
	struct host host;

	assert_non_null(mkdtemp(directory));
	snprintf(command, sizeof(command), "mkdir -p %s/net %s/sys/net/ipv4", directory,
		 directory);
	assert_int_equal(system(command), 0);
	write_file(directory, "net/sockstat", sockstat);
	write_file(directory, "net/netstat", netstat);
	write_file(directory, "sys/net/ipv4/ip_local_port_range", "1000\t1999\n");
	write_file(directory, "sys/net/ipv4/ip_local_reserved_ports", "1100-1199\n");
	write_file(directory, "sys/net/ipv4/tcp_tw_reuse", "");
	host_read(&host, directory);
	assert_int_equal(host_get(&host, HOST_tcp_pages), 142);
	assert_int_equal(host_get(&host, HOST_paws_passive), 2);
	assert_int_equal(host_ports(&host), 900);
	assert_int_equal(host.fact[HOST_tw_reuse].error, ENODATA);
	assert_int_equal(host.fact[HOST_timestamps].error, ENOENT);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	assert_int_equal(system(command), 0);
}

static void ports_are_unknown_where_the_range_is(void **state)
{
	struct host host = {0};

	assert_int_equal(host_ports(&host), 0);
	host_take(&host, "sys/net/ipv4/ip_local_port_range", "2000\t1000\n");
	assert_int_equal(host_ports(&host), 0);
	host_take(&host, "sys/net/ipv4/ip_local_port_range", "1000\t1009\n");
	assert_int_equal(host_ports(&host), 10);
	host_take(&host, "sys/net/ipv4/ip_local_reserved_ports", "1-2000\n");
	assert_int_equal(host_ports(&host), 0);
}

static void a_port_is_reserved_once_and_only_within_the_range(void **state)
{
	struct host host = {0};
	struct kernel_ports ports;

	host_take(&host, "sys/net/ipv4/ip_local_port_range", "1000\t1009\n");
	host_take(&host, "sys/net/ipv4/ip_local_reserved_ports",
		  "1-100,1004,1008-2000\n");
	assert_int_equal(host_get(&host, HOST_reserved_ports), 3);
	assert_int_equal(host_ports(&host), 7);
	assert_true(kernel_ports_set(&ports, 1000, 1009, "1004,1004-1005\n"));
	assert_int_equal(ports.count, 8);
	assert_true(kernel_ports_hold(&ports, 1003));
	assert_false(kernel_ports_hold(&ports, 1004));
	assert_false(kernel_ports_hold(&ports, 1010));
}

static struct traffic_pair forecast(uint32_t used, uint32_t range, uint32_t each_second)
{
	struct traffic_pair pair = {.used = used, .range = range};
	uint32_t leaving[60];

	for (unsigned s = 0; s < 60; s++)
		leaving[s] = each_second;
	traffic_forecast(&pair, leaving);
	return pair;
}

static void a_steady_rate_settles_where_it_is(void **state)
{
	struct traffic_pair pair = forecast(6000, 28232, 100);

	assert_int_equal((int)pair.rate, 100);
	assert_int_equal(pair.exhausted_in_s, 0);
	assert_int_equal(pair.levels_at, 6000);
}

static void a_burst_of_late_runs_out_of_ports(void **state)
{
	struct traffic_pair pair = {.used = 10000, .range = 28232};
	uint32_t leaving[60] = {0};

	for (unsigned s = 50; s < 60; s++)
		leaving[s] = 1000;
	traffic_forecast(&pair, leaving);
	assert_int_equal(pair.exhausted_in_s, 19); /* 18,232 left, at 1,000 per second */
}

static void no_new_ones_never_run_out(void **state)
{
	struct traffic_pair pair = {.used = 28000, .range = 28232};
	uint32_t leaving[60] = {[3] = 28000};

	traffic_forecast(&pair, leaving);
	assert_int_equal(pair.exhausted_in_s, 0);
	assert_int_equal(pair.levels_at, 0);
}

static void ports_that_connect_takes_over_never_run_out(void **state)
{
	struct traffic_pair pair = {.used = 10000, .range = 28232, .reuse = true};
	uint32_t leaving[60] = {0};

	for (unsigned s = 50; s < 60; s++)
		leaving[s] = 1000;
	traffic_forecast(&pair, leaving);
	assert_int_equal(pair.exhausted_in_s, 0);
}

static void connections_that_are_held_count_for_ever(void **state)
{
	struct traffic_pair pair = forecast(90 + 60, 150, 1);

	assert_int_equal(pair.exhausted_in_s, 1);
	pair = forecast(90 + 60, 151, 1);
	assert_int_equal(pair.exhausted_in_s, 0);
	assert_int_equal(pair.levels_at, 150);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_form_is_read),
	    cmocka_unit_test(what_is_damaged_or_missing_is_no_number),
	    cmocka_unit_test(what_cannot_be_read_is_unknown_with_the_reason),
	    cmocka_unit_test(a_saved_proc_is_read_as_the_real_one),
	    cmocka_unit_test(ports_are_unknown_where_the_range_is),
	    cmocka_unit_test(a_port_is_reserved_once_and_only_within_the_range),
	    cmocka_unit_test(a_steady_rate_settles_where_it_is),
	    cmocka_unit_test(a_burst_of_late_runs_out_of_ports),
	    cmocka_unit_test(no_new_ones_never_run_out),
	    cmocka_unit_test(ports_that_connect_takes_over_never_run_out),
	    cmocka_unit_test(connections_that_are_held_count_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
