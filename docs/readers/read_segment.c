/* SPDX-License-Identifier: MIT
 *
 * Prints what a process under twshim counted so far, by destination. An example of a
 * program that reads segments without twshim: it needs the public header alone.
 *
 *   cc $(pkg-config --cflags twshim) -o read_segment read_segment.c
 *   ./read_segment /run/twshim/$UID/...seg
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <twshim/segment.h>

/* A copy: a file of a living process changes, and a mapped one can end in SIGBUS. */
static union {
	struct tws_header header;
	unsigned char bytes[16 << 20];
} file;

/* Nothing in the file is believed before it is checked. NULL: not a segment of ABI 1. */
static const void *section(size_t size, enum tws_section_id id, size_t element,
			   uint32_t *ret_count)
{
	const struct tws_section *found = &file.header.section[id];

	if (size < sizeof(file.header) || file.header.magic != TWS_MAGIC ||
	    file.header.byte_order != TWS_BYTE_ORDER ||
	    file.header.abi_major != TWS_ABI_MAJOR || found->element_size != element)
		return NULL;
	*ret_count = found->used < found->count ? found->used : found->count;
	if (found->offset > size || *ret_count > (size - found->offset) / element)
		return NULL;
	return file.bytes + found->offset;
}

int main(int argc, char **argv)
{
	FILE *from = argc == 2 ? fopen(argv[1], "rb") : NULL;
	size_t size = from ? fread(file.bytes, 1, sizeof(file.bytes), from) : 0;
	uint32_t count = 0;
	const struct tws_destination *one =
	    section(size, TWS_SECTION_DESTINATIONS, sizeof(*one), &count);

	if (!one)
		return fputs("usage: read_segment FILE.seg (of ABI 1)\n", stderr), 2;
	for (const struct tws_destination *end = one + count; one < end; one++) {
		const uint64_t *value = one->counters.value;
		char to[INET6_ADDRSTRLEN] = "other";

		if (one->state != TWS_DESTINATION_READY || !value[TWS_established])
			continue;
		if (one->address.family != TWS_FAMILY_NONE)
			inet_ntop(one->address.family == TWS_IPV4 ? AF_INET : AF_INET6,
				  one->address.bytes, to, sizeof(to));
		printf("%s %u established %llu ended_local_fin %llu\n", to,
		       one->address.port, (unsigned long long)value[TWS_established],
		       (unsigned long long)value[TWS_ended_local_fin]);
	}
	return 0;
}
