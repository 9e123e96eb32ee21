/* SPDX-License-Identifier: MIT */
#include "tools/advice/rule.h"

#include <string.h>

#include "tools/kernel/host.h"
#include "tools/base/print.h"
#include "tools/model/traffic.h"
#include "shim/shared/names.h"

#define TIME_WAIT_BYTES 256  /* Linux 6.18, /proc/slabinfo */
#define SLICE_LEAST	1000 /* fewer ports are not worth a ring */
#define SLICE		10000

const char *advice_number(uint64_t value)
{
	static char buffers[8][PRINT_NUMBER_SIZE];
	static unsigned next;

	return print_number(buffers[next++ % 8], value);
}

uint64_t advice_percent(uint64_t part, uint64_t whole)
{
	return whole ? part * 100 / whole : 0;
}

uint64_t advice_count(const struct advice_facts *facts, enum tws_counter counter)
{
	return facts->client.counters->value[counter];
}

bool advice_is_over(const struct advice_facts *facts, uint64_t recently, uint64_t least)
{
	return facts->client.recent && recently < least;
}

uint64_t advice_time_wait_bytes(const struct host *host)
{
	return host && host_knows(host, HOST_time_wait_bytes)
		   ? host_get(host, HOST_time_wait_bytes)
		   : TIME_WAIT_BYTES;
}

const char *advice_ring_outside(char *text, const struct traffic *traffic)
{
	unsigned low = traffic ? traffic->port_low : 0;
	unsigned high = traffic ? traffic->port_high : 0;

	if (high && high + SLICE_LEAST <= 65535)
		sprintf(text, "%u-65535", high + 1);
	else if (low >= 1024 + SLICE_LEAST)
		sprintf(text, "%u-%u", low > 1024 + SLICE ? low - SLICE : 1024, low - 1);
	else
		strcpy(text, "LOW-HIGH");
	return text;
}

const char *advice_in_one_process(const struct advice_facts *facts)
{
	return facts->client.processes > 1 ? " in one process" : "";
}

void advice_set(struct advice_finding *finding, enum advice_verdict verdict,
		uint64_t weight)
{
	finding->verdict = verdict;
	finding->weight = weight;
}

enum advice_verdict advice_by_number(uint64_t connections)
{
	return connections >= VERY_MANY ? VERDICT_WARNING : VERDICT_NOTICE;
}

const char *advice_more_ports(char *text, uint64_t all, uint64_t usable)
{
	static const char wider[] = "widen net.ipv4.ip_local_port_range";
	uint64_t reserved = all > usable ? all - usable : 0;
	bool narrow = all < ADVICE_PORTS / 2;

	if (reserved * 2 < all && (narrow || usable >= ADVICE_PORTS / 2))
		strcpy(text, wider);
	else
		snprintf(text, ADVICE_MORE_SIZE,
			 "remove from net.ipv4.ip_local_reserved_ports what no server "
			 "needs: it withholds %s of the range's %s ports from "
			 "connect()%s%s",
			 advice_number(reserved), advice_number(all),
			 narrow ? "; or " : "", narrow ? wider : "");
	return text;
}

const char *advice_source(char *text, const struct tws_address *from)
{
	char address[PRINT_ADDRESS_SIZE];

	print_address(address, from);
	snprintf(text, PRINT_ADDRESS_SIZE, "%.*s",
		 (int)strlen(address) - (from->family ? 2 : 0), address);
	return text;
}

/* Need no quotes, neither in a rule nor in a shell. */
#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.@"

/* Writes at most the first 63 bytes, for which a finding has room. */
static void write_name(char *text, size_t size, const char *key, const char *name)
{
	bool cut = strlen(name) >= 63;
	size_t length;

	snprintf(text, size, "%s%.*s", key, cut ? 62 : 63, name);
	for (char *at = text + strlen(key); *(at += strspn(at, PLAIN "?"));)
		*at = '?';
	length = strlen(text);
	if (cut && length + 1 < size)
		snprintf(text + length, size - length, "*");
}

const char *advice_who(char *text, const char *exe, const char *app)
{
	const char *base = print_base_name(exe);
	size_t used = 0;

	if (app && *app && strcmp(app, base) != 0) {
		write_name(text, ADVICE_WHO_SIZE, "app=", app);
		used = strlen(text);
		text[used++] = ',';
	}
	write_name(text + used, ADVICE_WHO_SIZE - used, "exe=", base);
	return text;
}

const char *advice_who_is(char *text, const struct model_app *app)
{
	const char *exe = app->exe ? app->exe : app->name;

	return advice_who(text, exe, tws_names_app(&app->names, exe));
}
