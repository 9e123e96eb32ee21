/* SPDX-License-Identifier: MIT
 *
 * Bytes of an HTTP client, through libmicrohttpd into the handler of `serve`, over a
 * socket pair, without another thread or a listener. The answer must be HTTP or nothing,
 * and must not repeat anything that was sent.
 */
#include "tools/web/web.c"

#include "tests/fuzz/fuzz.h"

#define TURNS 64

static struct web web = {
    .options = {.listen = WEB_LISTEN,
		.metrics = {.top = METRICS_TOP, .series = METRICS_SERIES}},
    .listener = -1,
};

static void begin(void)
{
	char error[256];

	FUZZ_CHECK(web_library_load(error, sizeof(error)) == 0);
	fuzz_directory();
	web.options.metrics.dir = fuzz_path;
	web.made = calloc(web_resource_count, sizeof(*web.made));
	web.daemon = mhd.start_daemon(
	    MHD_USE_NO_LISTEN_SOCKET | MHD_USE_EPOLL, 0, NULL, NULL, take_request, &web,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_SIZE,
	    MHD_OPTION_NOTIFY_CONNECTION, note_connection, NULL,
	    MHD_OPTION_NOTIFY_COMPLETED, note_completed, NULL, MHD_OPTION_END);
	FUZZ_CHECK(web.made && web.daemon);
}

/* Discards the answers, except for the beginning of the first. */
static void receive(int fd, char ret_start[8], size_t *length)
{
	char buffer[65536];
	ssize_t got;

	while ((got = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
		for (ssize_t i = 0; i < got && *length < 7; i++)
			ret_start[(*length)++] = buffer[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sockaddr_in from = {.sin_family = AF_INET};
	char start[8] = "";
	size_t length = 0;
	int pair[2];

	if (!web.daemon)
		begin();
	if (size > 60000)
		return 0;
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	FUZZ_CHECK(MHD_add_connection(web.daemon, pair[1], (struct sockaddr *)&from,
				      sizeof(from)) == MHD_YES);
	FUZZ_CHECK(send(pair[0], data, size, 0) == (ssize_t)size);
	shutdown(pair[0], SHUT_WR);
	for (int i = 0; i < TURNS; i++) {
		MHD_run_wait(web.daemon, 0);
		receive(pair[0], start, &length);
	}
	FUZZ_CHECK(length == 0 || strncmp(start, "HTTP/1.", length) == 0);
	close(pair[0]);
	for (int i = 0; i < TURNS; i++) {
		const union MHD_DaemonInfo *info =
		    MHD_get_daemon_info(web.daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

		if (!info || info->num_connections == 0)
			return 0;
		MHD_run_wait(web.daemon, 0);
	}
	FUZZ_CHECK(!"the connection ended with its client");
	return 0;
}
