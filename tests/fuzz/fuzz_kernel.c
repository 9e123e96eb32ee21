/* SPDX-License-Identifier: MIT
 *
 * Answers to a sock_diag dump: bytes that need not come from a kernel. The parser's
 * source is included, because its static functions are tested.
 */
#include "tools/kernel/kernel.c"

#include "tests/fuzz/fuzz.h"
#include "tools/base/print.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kernel_table table = {0};
	char text[PRINT_ADDRESS_SIZE];
	uint8_t *copy = malloc(size + 1);

	FUZZ_CHECK(copy);
	memcpy(copy, data, size);
	if (kernel_messages_fit(copy, size))
		mnl_cb_run(copy, size, 0, 0, kernel_take_message, &table);
	FUZZ_CHECK(index_sockets(&table) == 0);
	for (size_t i = 0; i < table.count; i++) {
		FUZZ_CHECK(!table.sockets[i].cookie ||
			   kernel_table_find(&table, table.sockets[i].cookie));
		print_address(text, &table.sockets[i].remote);
	}
	kernel_table_free(&table);
	free(copy);
	return 0;
}
