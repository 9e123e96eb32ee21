/* SPDX-License-Identifier: MIT
 *
 * Strings in fixed buffers without stdio. These functions are async-signal-safe, never
 * overflow, and always terminate with NUL; text that does not fit is cut off.
 */
#ifndef TWS_SHIM_TEXT_H
#define TWS_SHIM_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct tws_text {
	char *at;
	char *end; /* the last byte, reserved for the NUL */
};

static inline struct tws_text tws_text_begin(char *buffer, size_t size)
{
	buffer[0] = '\0';
	return (struct tws_text){.at = buffer, .end = buffer + size - 1};
}

static inline void tws_text_add(struct tws_text *text, const char *string)
{
	while (*string && text->at < text->end)
		*text->at++ = *string++;
	*text->at = '\0';
}

static inline void tws_text_number(struct tws_text *text, uint64_t number)
{
	char digits[24];
	char *at = digits + sizeof(digits) - 1;

	*at = '\0';
	do
		*--at = (char)('0' + number % 10);
	while (number /= 10);
	tws_text_add(text, at);
}

/* The decimal number at `string`; 0 if there is none. */
static inline uint64_t tws_text_parse(const char *string)
{
	uint64_t ret = 0;

	while (*string >= '0' && *string <= '9')
		ret = ret * 10 + (uint64_t)(*string++ - '0');
	return ret;
}

/* "0c8e4bfa-....": 32 hexadecimal digits among dashes, as the kernel prints a boot id.
 * False: there are fewer, and the rest of the id is 0. */
static inline int tws_text_to_id(const char *string, uint8_t ret_id[16])
{
	unsigned digits = 0;

	for (unsigned i = 0; i < 16; i++)
		ret_id[i] = 0;
	for (; *string && digits < 32; string++) {
		char c = *string;
		int digit = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
						   : -1;

		if (digit < 0)
			continue;
		ret_id[digits / 2] |= (uint8_t)(digits % 2 ? digit : digit << 4);
		digits++;
	}
	return digits == 32;
}

#define TWS_TEXT_WORD 32 /* the longest word that tws_text_distance() measures */

/* Levenshtein's distance: how many bytes to insert, remove or change. SIZE_MAX: a word is
 * too long. For config/ and tools/, which guess what was meant. */
static inline size_t tws_text_distance(const char *a, size_t a_length, const char *b,
				       size_t b_length)
{
	size_t row[TWS_TEXT_WORD + 1];

	if (a_length > TWS_TEXT_WORD || b_length > TWS_TEXT_WORD)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_length; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			size_t change = diagonal + (a[i - 1] != b[j - 1]);
			size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

			diagonal = row[j];
			row[j] = change < other ? change : other;
		}
	}
	return row[b_length];
}

#endif
