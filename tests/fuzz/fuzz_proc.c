/* SPDX-License-Identifier: MIT
 *
 * Texts of /proc: those that only the kernel writes, and those that contain another
 * user's text, such as a process's name. In a container /proc may be anything. The source
 * of process.c is included.
 */
#include "tools/kernel/process.c"

#include "tests/fuzz/fuzz.h"
#include "tools/systemd/unit_processes.h"
#include "tools/kernel/host.h"
#include "tools/base/print.h"

static const char *const FILES[] = {
#define HOST(name, file, form, key, help) file,
#include "tools/kernel/host.def"
};

static void read_host(unsigned which, const char *text)
{
	static struct host host;
	char why[256];

	which %= sizeof(FILES) / sizeof(*FILES);
	memset(&host, 0, sizeof(host));
	host_take(&host, FILES[which], text);
	for (unsigned fact = 0; fact < HOST_FACTS; fact++) {
		FUZZ_CHECK(host_knows(&host, fact) || host_get(&host, fact) == 0);
		host_why(&host, fact, why, sizeof(why));
	}
	host_ports(&host);
}

static void read_process(const char *text)
{
	uint64_t start_time;
	uint32_t uids[4];
	bool zombie;
	int levels;

	process_parse_stat(text, &start_time, &zombie);
	proc_innermost_pid(text, &levels);
	parse_uids(text, uids);
	unit_processes_is_in_group(text, "nginx.service");
	unit_processes_is_in_group(text, "getty@.service");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (!size)
		return 0;
	text = fuzz_text(data + 1, size - 1);
	read_host(data[0], text);
	read_process(text);
	free(text);
	return 0;
}
