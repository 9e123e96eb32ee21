/* SPDX-License-Identifier: MIT
 *
 * What of a command line may be kept, served and exported. Arguments may hold passwords.
 */
#ifndef TWS_TOOLS_COMMAND_NAME_H
#define TWS_TOOLS_COMMAND_NAME_H

#include <stddef.h>

/* "curl", or "python3 storm.py": the program, and the script if it is an interpreter and
 * its first argument is one. `words` are `length` bytes, a NUL after each. Pure. */
void command_name(char *ret_name, size_t size, const char *words, size_t length);

/* The same of a command that is to be started; uses the buffer or argv[0]. */
const char *command_name_of(char *const *argv, char *buffer, size_t size);

#endif
