/* SPDX-License-Identifier: MIT
 *
 * A preload that does nothing. The bench builds it with the sections as large as those of
 * the shim, so that it shows what the loader takes for a library of that size.
 */
#ifndef TEXT
#define TEXT 1
#define DATA 1
#define BSS  1
#endif

const char empty_text[TEXT] = {1};
char empty_data[DATA] = {1};
char empty_bss[BSS];
