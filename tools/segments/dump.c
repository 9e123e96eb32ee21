/* SPDX-License-Identifier: MIT
 *
 * A segment as JSON. The fields of each structure are a table whose rows take place and
 * size from segment.h and name the function that prints the value. tests/e2e/test_dump.py
 * compares the tables with tests/abi.golden. Enumerators keep their names of segment.h.
 */
#include "tools/segments/dump.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tools/base/print.h"
#include "tools/segments/dump_names.h"
#include "tools/segments/names.h"
#include "shim/shared/layout.h"
#include "shim/shared/slices.h"

/* ----------------------------------------------------------------------- values */

static uint64_t number_at(const void *at, size_t size)
{
	uint64_t number = 0;

	memcpy(&number, at, size < sizeof(number) ? size : sizeof(number));
	return number;
}

/* JSON readers take integers of 63 bits; a larger one is a string of its digits. */
static void print_integer(FILE *out, uint64_t number)
{
	fprintf(out, number > INT64_MAX ? "\"%" PRIu64 "\"" : "%" PRIu64, number);
}

static void print_array(FILE *out, const char *at, size_t size, size_t each)
{
	for (size_t i = 0; i < size; i += each) {
		fputs(i ? ", " : "[", out);
		print_integer(out, number_at(at + i, each));
	}
	fputs("]", out);
}

/* One of up to 8 bytes, or an array of 4 bytes each. */
static void number(FILE *out, const char *at, size_t size)
{
	if (size <= sizeof(uint64_t))
		print_integer(out, number_at(at, size));
	else
		print_array(out, at, size, sizeof(uint32_t));
}

static void large_numbers(FILE *out, const char *at, size_t size)
{
	print_array(out, at, size, sizeof(uint64_t));
}

static void signed_number(FILE *out, const char *at, size_t size)
{
	fprintf(out, "%" PRId32, (int32_t)number_at(at, size));
}

static void bytes(FILE *out, const char *at, size_t size)
{
	fputc('"', out);
	for (size_t i = 0; i < size; i++)
		fprintf(out, "%02x", (unsigned char)at[i]);
	fputc('"', out);
}

static void print_string(FILE *out, const char *text)
{
	char valid[3 * TWS_EXE_SIZE + 1];
	json_t *string = json_string(print_utf8(valid, sizeof(valid), text));

	if (string)
		json_dumpf(string, out, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
	else
		fputs("null", out);
	json_decref(string);
}

static void text(FILE *out, const char *at, size_t size)
{
	char buffer[TWS_EXE_SIZE + 1];

	snprintf(buffer, sizeof(buffer), "%.*s", (int)size, at);
	print_string(out, buffer);
}

static void address(FILE *out, const char *at, size_t size)
{
	char buffer[PRINT_ADDRESS_SIZE];
	struct tws_address value;

	memcpy(&value, at, sizeof(value));
	if (value.family == TWS_IPV4 || value.family == TWS_IPV6)
		print_string(out, print_address(buffer, &value));
	else if (value.family == TWS_FAMILY_NONE)
		fputs("null", out);
	else
		bytes(out, at, size);
}

static void print_name(FILE *out, const struct name *names, uint64_t value)
{
	for (; names->name; names++)
		if (names->value == value) {
			fprintf(out, "\"%s\"", names->name);
			return;
		}
	print_integer(out, value);
}

static void connection_state(FILE *out, const char *at, size_t size)
{
	print_name(out, connection_states, number_at(at, size));
}

static void destination_state(FILE *out, const char *at, size_t size)
{
	print_name(out, destination_states, number_at(at, size));
}

static void segment_state(FILE *out, const char *at, size_t size)
{
	print_name(out, segment_states, number_at(at, size));
}

static void observer(FILE *out, const char *at, size_t size)
{
	print_name(out, observers, number_at(at, size));
}

static void stop_reason(FILE *out, const char *at, size_t size)
{
	print_name(out, stop_reasons, number_at(at, size));
}

static void ending(FILE *out, const char *at, size_t size)
{
	const unsigned value = (unsigned)number_at(at, size);

	fprintf(out, value ? "\"%s\"" : "null", ending_name(value));
}

static void via(FILE *out, const char *at, size_t size)
{
	const unsigned value = (unsigned)number_at(at, size);

	fprintf(out, value ? "\"%s\"" : "null", via_name(value));
}

static void failure(FILE *out, const char *at, size_t size)
{
	const unsigned value = (unsigned)number_at(at, size);

	fprintf(out, value ? "\"%s\"" : "null",
		counter_name((enum tws_counter)value, ""));
}

/* A bit without a name is the number of its place. */
static void flags(FILE *out, const char *at, size_t size)
{
	const uint64_t set = number_at(at, size);
	const struct name *named;
	const char *separator = "";

	fputs("[", out);
	for (unsigned bit = 0; bit < 32; bit++) {
		if (!(set & 1u << bit))
			continue;
		for (named = flag_names; named->name && named->value != 1u << bit;
		     named++)
			;
		if (named->name)
			fprintf(out, "%s\"%s\"", separator, named->name);
		else
			fprintf(out, "%s%u", separator, bit);
		separator = ", ";
	}
	fputs("]", out);
}

static void print_histogram(FILE *out, const struct tws_histogram *histogram)
{
	fputs("{\"count\": [", out);
	for (unsigned i = 0; i < TWS_BUCKETS; i++) {
		fputs(i ? ", " : "", out);
		print_integer(out, histogram->count[i]);
	}
	fputs("], \"sum\": ", out);
	print_integer(out, histogram->sum);
	fputs("}", out);
}

/* Counters that a newer writer appended have no name here. */
static void counters(FILE *out, const char *at, size_t size)
{
	struct tws_counters value;

	memcpy(&value, at, sizeof(value));
	for (unsigned i = 0; i < TWS_COUNTER_ROOM; i++) {
		if (i >= TWS_COUNTERS && !value.value[i])
			continue;
		fputs(i ? ", " : "{", out);
		if (i < TWS_COUNTERS)
			fprintf(out, "\"%s\": ", counter_texts[i].name);
		else
			fprintf(out, "\"counter_%u\": ", i);
		print_integer(out, value.value[i]);
	}
	for (unsigned i = 0; i < TWS_HISTOGRAMS; i++) {
		fprintf(out, ", \"%s\": ", histogram_names[i]);
		print_histogram(out, &value.histogram[i]);
	}
	fputs("}", out);
}

static void spare(FILE *out, const char *at, size_t size)
{
	bytes(out, at, size);
}

static void time_wait_word(FILE *out, const char *at, size_t size)
{
	const uint64_t word = number_at(at, size);

	fprintf(out, "{\"cookie\": %" PRIu64 ", \"destination\": %u}",
		(uint64_t)TWS_TW_COOKIE(word), TWS_TW_DESTINATION(word));
}

/* ------------------------------------------------------------------- structures */

/* Prints the value at `at`, of that size. */
typedef void (*printer)(FILE *out, const char *at, size_t size);

struct field {
	const char *name;
	printer print;
	size_t offset, size;
};

static void section_table(FILE *out, const char *at, size_t size);
static void section_entry(FILE *out, const char *at, size_t size);
static void names_table(FILE *out, const char *at, size_t size);

/* clang-format off */
#define FIELD(field, print) \
	{#field, print, offsetof(struct STRUCTURE, field), sizeof(((struct STRUCTURE *)0)->field)},

#define STRUCTURE tws_header
static const struct field header_fields[] = {
	FIELD(magic, bytes) FIELD(byte_order, bytes)
	FIELD(abi_major, number) FIELD(abi_minor, number)
	FIELD(size, number) FIELD(header_size, number) FIELD(section_count, number)
	FIELD(section, section_table) FIELD(boot_id, bytes)
	FIELD(pid_namespace, number) FIELD(net_namespace, number) FIELD(start_time, number)
	FIELD(pid, number) FIELD(uid, number) FIELD(image, number)
	FIELD(short_lived_ms, number)
	FIELD(created_realtime_ns, number) FIELD(created_monotonic_ns, number)
	FIELD(policy_generation, number) FIELD(heartbeat_ns, number)
	FIELD(ended_tickets, number) FIELD(time_wait_tickets, number)
	FIELD(state, segment_state) FIELD(detail, number) FIELD(folded_processes, number)
	FIELD(exe, text) FIELD(names, names_table) FIELD(observer, observer) FIELD(observer_pid, number)
	FIELD(observer_pid_namespace, number) FIELD(observer_start_time, number)
	FIELD(folded_observed, large_numbers) FIELD(run, bytes) FIELD(policy_layers, number)
	FIELD(process_slice, number) FIELD(slices, section_entry) FIELD(slice_tickets, number)
	FIELD(slices_from, number) FIELD(reserved, spare) {0}};
#undef STRUCTURE
#define STRUCTURE tws_names
static const struct field names_fields[] = {
	FIELD(given, text) FIELD(unit, text) FIELD(container, text) FIELD(script, text)
	FIELD(parent, number) {0}};
#undef STRUCTURE
#define STRUCTURE tws_section
static const struct field section_fields[] = {
	FIELD(offset, number) FIELD(element_size, number) FIELD(count, number)
	FIELD(used, number) FIELD(ready, number) {0}};
#undef STRUCTURE
#define STRUCTURE tws_connection
static const struct field connection_fields[] = {
	FIELD(state, connection_state) FIELD(generation, number) FIELD(cookie, number)
	FIELD(began_ns, number) FIELD(established_ns, number)
	FIELD(remote, address) FIELD(local, address) FIELD(flags, flags)
	FIELD(fd, signed_number) FIELD(descriptors, number) FIELD(destination, number)
	FIELD(rule, number) FIELD(arm, number) FIELD(ending, ending) FIELD(via, via)
	FIELD(failure, failure) FIELD(action, number) FIELD(reserved, spare) {0}};
#undef STRUCTURE
#define STRUCTURE tws_destination
static const struct field destination_fields[] = {
	FIELD(state, destination_state) FIELD(slice, number) FIELD(address, address)
	FIELD(counters, counters) {0}};
#undef STRUCTURE
#define STRUCTURE tws_arm
static const struct field arm_fields[] = {
	FIELD(state, destination_state) FIELD(weight, number)
	FIELD(policy_generation, number) FIELD(experiment, text) FIELD(name, text)
	FIELD(counters, counters) {0}};
#undef STRUCTURE
#define STRUCTURE tws_rule_status
static const struct field rule_fields[] = {
	FIELD(policy_generation, number) FIELD(matched, number) FIELD(applied, number)
	FIELD(resets, number) FIELD(failed, number) FIELD(peer_resets, number)
	FIELD(bytes_discarded, number) FIELD(window, number) FIELD(stopped, stop_reason)
	FIELD(reserved, spare) FIELD(name, text) {0}};
#undef STRUCTURE
#define STRUCTURE tws_ended
static const struct field ended_fields[] = {
	FIELD(sequence, number) FIELD(cookie, number) FIELD(began_ns, number)
	FIELD(established_ns, number) FIELD(ended_ns, number)
	FIELD(bytes_sent, number) FIELD(bytes_received, number)
	FIELD(remote, address) FIELD(local, address) FIELD(flags, flags)
	FIELD(destination, number) FIELD(rule, number) FIELD(arm, number)
	FIELD(ending, ending) FIELD(via, via) FIELD(failure, failure)
	FIELD(reserved, spare) {0}};
#undef STRUCTURE
#define STRUCTURE tws_slice
static const struct field slice_fields[] = {
	FIELD(sequence, number) FIELD(slice, number) FIELD(until, number)
	FIELD(destination, number) FIELD(processes, number) FIELD(observed, number)
	FIELD(value, large_numbers) {0}};
#undef STRUCTURE
#define STRUCTURE tws_folded
static const struct field folded_fields[] = {FIELD(name, text) {0}};
#undef STRUCTURE

static const struct section {
	const char *name;
	const struct field *fields; /* NULL: an element is printed by: */
	printer print;
} sections[TWS_SECTIONS] = {
	[TWS_SECTION_PROCESS] = {"process", NULL, counters},
	[TWS_SECTION_CONNECTIONS] = {"connections", connection_fields, NULL},
	[TWS_SECTION_DESTINATIONS] = {"destinations", destination_fields, NULL},
	[TWS_SECTION_ARMS] = {"arms", arm_fields, NULL},
	[TWS_SECTION_RULES] = {"rules", rule_fields, NULL},
	[TWS_SECTION_ENDED] = {"ended", ended_fields, NULL},
	[TWS_SECTION_TIME_WAIT] = {"time_wait", NULL, time_wait_word},
	[TWS_SECTION_FOLDED] = {"folded", folded_fields, NULL},
};
/* clang-format on */

static bool is_shown(const struct field *field, const char *at)
{
	for (size_t i = 0; i < field->size && field->print == spare; i++)
		if (at[i])
			return true;
	return field->print != spare;
}

static void print_structure(FILE *out, const struct field *fields, const char *at)
{
	const char *separator = "{";

	for (; fields->name; fields++) {
		if (!is_shown(fields, at + fields->offset))
			continue;
		fprintf(out, "%s\"%s\": ", separator, fields->name);
		fields->print(out, at + fields->offset, fields->size);
		separator = ", ";
	}
	fputs("}", out);
}

static void section_table(FILE *out, const char *at, size_t size)
{
	for (unsigned id = 0; id < TWS_SECTIONS; id++) {
		fprintf(out, "%s\"%s\": ", id ? ",\n  " : "{\n  ", sections[id].name);
		print_structure(out, section_fields,
				at + id * sizeof(struct tws_section));
	}
	fputs("}", out);
}

static void section_entry(FILE *out, const char *at, size_t size)
{
	print_structure(out, section_fields, at);
}

static void names_table(FILE *out, const char *at, size_t size)
{
	print_structure(out, names_fields, at);
}

/* --------------------------------------------------------------------- sections */

static void print_elements(FILE *out, const struct section *section, const char *at,
			   const struct tws_section *where)
{
	for (uint32_t i = 0; i < where->used; i++, at += where->element_size) {
		fputs(i ? ",\n  " : "\n  ", out);
		if (section->fields)
			print_structure(out, section->fields, at);
		else
			section->print(out, at, where->element_size);
	}
}

/* The elements in use; of a section that cannot be read, why. */
static void print_section(FILE *out, const struct tws_header *header, unsigned id,
			  const char *bytes)
{
	const char *why = tws_section_validate(header, (enum tws_section_id)id);

	fprintf(out, ",\n\"%s\": ", sections[id].name);
	if (why) {
		fprintf(out, "{\"problem\": \"%s\"}", why);
		return;
	}
	fputs("[", out);
	print_elements(out, &sections[id], bytes + header->section[id].offset,
		       &header->section[id]);
	fputs("]", out);
}

/* Not in the table of sections. */
static void print_slices(FILE *out, const struct tws_header *header, const char *bytes)
{
	static const struct section slices = {"slices", slice_fields, NULL};

	fputs(",\n\"slices\": [", out);
	if (!tws_slices_validate(header))
		print_elements(out, &slices, bytes + header->slices.offset,
			       &header->slices);
	fputs("]", out);
}

void segment_dump(FILE *out, const char *path, const void *bytes, size_t size)
{
	struct tws_header header = {0};
	const size_t length = size < sizeof(header) ? size : sizeof(header);
	const char *why;

	memcpy(&header, bytes, length);
	why = tws_segment_validate(&header, length, size);
	fputs("{\"schema\": \"twshim.dump/1\",\n\"file\": ", out);
	print_string(out, path);
	fprintf(out, ",\n\"size\": %zu,\n\"problem\": ", size);
	fprintf(out, why ? "\"%s\"" : "null", why);
	fputs(",\n\"header\": ", out);
	print_structure(out, header_fields, (const char *)&header);
	header.size = size; /* what there is, whatever the header says */
	for (unsigned id = 0; id < TWS_SECTIONS; id++)
		print_section(out, &header, id, bytes);
	print_slices(out, &header, bytes);
	fputs("}\n", out);
}
