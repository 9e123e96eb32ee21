/* SPDX-License-Identifier: MIT
 *
 * Which local ports connect() may choose. It skips a reserved port as if it were in use,
 * so a range is full before as many ports are in use as it is wide.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/kernel/kernel.h"

#define RESERVED "/proc/sys/net/ipv4/ip_local_reserved_ports"
#define AUTOBIND "/proc/sys/net/ipv4/ip_autobind_reuse"

static bool is_reserved(const struct kernel_ports *ports, uint32_t port)
{
	return ports->reserved[port / 8] & 1u << port % 8;
}

/* Takes the ports of a list such as "8080,9000-9100" out of the range, each once. */
static bool reserve(struct kernel_ports *ports, const char *list)
{
	unsigned long low, high;
	char *end;

	for (; *list >= '0' && *list <= '9'; list = end + (*end == ',')) {
		low = high = strtoul(list, &end, 10);
		if (*end == '-')
			high = strtoul(end + 1, &end, 10);
		if (high < low || high > UINT16_MAX)
			return false;
		for (uint32_t port = (uint32_t)low; port <= high; port++) {
			ports->count -= kernel_ports_hold(ports, (uint16_t)port);
			ports->reserved[port / 8] |= (uint8_t)(1u << port % 8);
		}
	}
	return *list == '\0' || *list == '\n';
}

bool kernel_ports_set(struct kernel_ports *ret_ports, uint16_t low, uint16_t high,
		      const char *reserved)
{
	*ret_ports = (struct kernel_ports){
	    .low = low, .high = high, .count = (uint32_t)high - low + 1};
	return reserve(ret_ports, reserved);
}

bool kernel_ports_hold(const struct kernel_ports *ports, uint16_t port)
{
	return port >= ports->low && port <= ports->high && !is_reserved(ports, port);
}

static bool read_autobind_reuse(void)
{
	FILE *file = fopen(AUTOBIND, "re");
	bool ret = file && fgetc(file) == '1';

	if (file)
		fclose(file);
	return ret;
}

void kernel_ports_read(struct kernel_ports *ret_ports)
{
	FILE *file = fopen(RESERVED, "re");
	char *reserved = NULL;
	size_t size = 0;
	uint16_t low, high;

	*ret_ports = (struct kernel_ports){0};
	if (file && getline(&reserved, &size, file) < 0 && reserved)
		*reserved = '\0';
	if (kernel_port_range(&low, &high) == 0)
		kernel_ports_set(ret_ports, low, high, reserved ? reserved : "");
	ret_ports->autobind_reuse = read_autobind_reuse();
	free(reserved);
	if (file)
		fclose(file);
}
