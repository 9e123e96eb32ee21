/* SPDX-License-Identifier: MIT
 *
 * Requests and answers. libmicrohttpd does the parsing. Of a request, only the method,
 * path, Host, Accept and `since` are used.
 */
#include "tools/web/web.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "shim/shared/clock.h"
#include "tools/base/print.h"
#include "tools/segments/cache.h"
#include "tools/web/deadline.h"
#include "tools/web/microhttpd.h"

#define REQUEST_SIZE (16 * 1024) /* request line and headers */
#define TIMEOUT_S    10
#define BACKLOG	     64
#define FRESH_MS     500
#define SINCE_SIZE   40

struct made {
	char *text;
	size_t size;
	uint64_t at_ms;
	char since[SINCE_SIZE]; /* what was asked for; "": the usual */
};

struct web {
	struct web_options options;
	struct ledger kept;
	struct MHD_Daemon *daemon;
	int listener;
	struct made *made; /* one per resource */
};

/* ------------------------------------------------------------------------- host */

static bool is_loopback_listener(const struct tws_address *address)
{
	static const uint8_t one[16] = {[15] = 1};

	return address->family == TWS_IPV4 ? address->bytes[0] == 127
					   : memcmp(address->bytes, one, 16) == 0;
}

bool web_host_is_ours(const struct tws_address *listen, const char *host)
{
	static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
	char own[PRINT_ADDRESS_SIZE];
	size_t length;

	if (!host || !is_loopback_listener(listen))
		return true;
	if (strcmp(print_address(own, listen), host) == 0)
		return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		length = strlen(names[i]);
		if (strncasecmp(host, names[i], length) == 0 &&
		    (!host[length] ||
		     (host[length] == ':' && strspn(host + length + 1, "0123456789") ==
						 strlen(host + length + 1))))
			return true;
	}
	return false;
}

/* ---------------------------------------------------------------------- answers */

static const struct {
	const char *name, *value;
} headers[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
     "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cache-Control", "no-store"},
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status,
			      const char *type, const char *text, size_t size,
			      enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *response =
	    mhd.create_response_from_buffer(size, (void *)(uintptr_t)text, mode);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	for (size_t i = 0; i < sizeof(headers) / sizeof(*headers); i++)
		mhd.add_response_header(response, headers[i].name, headers[i].value);
	mhd.add_response_header(response, "Content-Type", type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		mhd.add_response_header(response, "Allow", "GET, HEAD");
	result = mhd.queue_response(connection, status, response);
	mhd.destroy_response(response);
	return result;
}

static enum MHD_Result refuse_request(struct MHD_Connection *connection, unsigned status,
				      const char *text)
{
	return answer(connection, status, "text/plain; charset=utf-8", text, strlen(text),
		      MHD_RESPMEM_PERSISTENT);
}

/* An answer is reused for half a second, for the same period. */
static int make_resource(const struct web *web, const struct web_resource *resource,
			 const char *since, struct made *made, char *ret_error,
			 size_t error_size)
{
	struct web_options options = web->options;
	char *text = NULL;
	size_t size = 0;
	FILE *out;
	int result;

	if (made->text && tws_now() / 1000000 - made->at_ms < FRESH_MS &&
	    strcmp(made->since, since) == 0)
		return 0;
	out = open_memstream(&text, &size);
	if (!out)
		return -ENOMEM;
	options.since = *since ? since : NULL;
	result = resource->make(out, &options, ret_error, error_size);
	if (fclose(out) != 0 && result == 0)
		result = -ENOMEM;
	if (result != 0) {
		free(text);
		return result;
	}
	free(made->text);
	*made = (struct made){text, size, tws_now() / 1000000, ""};
	snprintf(made->since, sizeof(made->since), "%s", since);
	return 0;
}

static enum MHD_Result answer_resource(struct web *web, struct MHD_Connection *connection,
				       const struct web_resource *resource)
{
	struct made *made = &web->made[resource - web_resources];
	const char *asked =
	    mhd.lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "since");
	char since[SINCE_SIZE], error[PRINT_ERROR_SIZE] = "";
	int result;

	if (!resource->make)
		return answer(connection, MHD_HTTP_OK, resource->type, resource->start,
			      (size_t)(resource->end - resource->start),
			      MHD_RESPMEM_PERSISTENT);
	snprintf(since, sizeof(since), "%s", asked ? asked : "");
	result = make_resource(web, resource, since, made, error, sizeof(error));
	if (result == -EINVAL && *since)
		return answer(connection, MHD_HTTP_BAD_REQUEST,
			      "text/plain; charset=utf-8", error, strlen(error),
			      MHD_RESPMEM_MUST_COPY);
	if (result != 0)
		return refuse_request(connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
				      "reading failed: run twshim report to see why\n");
	return answer(connection, MHD_HTTP_OK, resource->type, made->text, made->size,
		      MHD_RESPMEM_MUST_COPY);
}

/* libmicrohttpd calls this when the headers are read, and again when the request is
 * complete. */
static enum MHD_Result take_request(void *data, struct MHD_Connection *connection,
				    const char *path, const char *method,
				    const char *version, const char *body,
				    size_t *body_size, void **state)
{
	const struct web_resource *resource;
	struct web *web = data;
	const char *host, *accept;

	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return refuse_request(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
				      "this is read-only\n");
	if (*body_size)
		return MHD_NO;
	if (!*state) {
		*state = web;
		return MHD_YES;
	}
	host = mhd.lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
	if (!web_host_is_ours(&web->options.listen, host))
		return refuse_request(connection, MHD_HTTP_FORBIDDEN,
				      "only requests to localhost are answered\n");
	accept = mhd.lookup_connection_value(connection, MHD_HEADER_KIND, "Accept");
	resource = web_find(path, accept);
	if (!resource)
		return refuse_request(connection, MHD_HTTP_NOT_FOUND, "no such page\n");
	return answer_resource(web, connection, resource);
}

/* --------------------------------------------------------------------- listening */

static socklen_t to_sockaddr(const struct tws_address *address,
			     struct sockaddr_storage *ret_sockaddr)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_sockaddr;
	struct sockaddr_in *in = (struct sockaddr_in *)ret_sockaddr;

	memset(ret_sockaddr, 0, sizeof(*ret_sockaddr));
	if (address->family == TWS_IPV6) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(address->port);
		memcpy(&in6->sin6_addr, address->bytes, 16);
		return sizeof(*in6);
	}
	in->sin_family = AF_INET;
	in->sin_port = htons(address->port);
	memcpy(&in->sin_addr, address->bytes, 4);
	return sizeof(*in);
}

/* Returns a descriptor, or -errno. */
static int open_listener(const struct tws_address *address)
{
	struct sockaddr_storage sockaddr;
	socklen_t length = to_sockaddr(address, &sockaddr);
	int fd =
	    socket(sockaddr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1, result;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sockaddr, length) == 0 &&
	    listen(fd, BACKLOG) == 0)
		return fd;
	result = -errno;
	close(fd);
	return result;
}

static int descriptor_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
	    mhd.get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	return info ? (int)info->connect_fd : -1;
}

static void note_connection(void *data, struct MHD_Connection *connection, void **state,
			    enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		web_deadline_begin(descriptor_of(connection));
	else
		web_deadline_end(descriptor_of(connection));
}

static void note_completed(void *data, struct MHD_Connection *connection, void **state,
			   enum MHD_RequestTerminationCode code)
{
	if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		web_deadline_begin(descriptor_of(connection));
}

/* Reads old segments into the cache before the first request, so that its answer is
 * quick. */
static void read_ahead(const struct web *web)
{
	const struct model_options wanted = {
	    .dir = web->options.metrics.dir,
	    .states = KERNEL_STATE(TCP_LISTEN),
	    .cache = web->options.metrics.cache,
	};
	struct model *model = NULL;
	char error[PRINT_ERROR_SIZE];

	if (model_build(&model, &wanted, error, sizeof(error)) == 0)
		model_free(model);
}

static int start_serving(struct web *web)
{
	web->made = calloc(web_resource_count, sizeof(*web->made));
	if (!web->made)
		return -ENOMEM;
	web->listener = open_listener(&web->options.listen);
	if (web->listener < 0)
		return web->listener;
	read_ahead(web);
	web->daemon = mhd.start_daemon(
	    MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL, 0, NULL, NULL, take_request,
	    web, MHD_OPTION_LISTEN_SOCKET, web->listener, MHD_OPTION_CONNECTION_LIMIT,
	    (unsigned)WEB_CONNECTIONS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
	    (size_t)REQUEST_SIZE, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
	    MHD_OPTION_NOTIFY_CONNECTION, note_connection, NULL,
	    MHD_OPTION_NOTIFY_COMPLETED, note_completed, NULL, MHD_OPTION_END);
	return web->daemon ? 0 : -ENOMEM;
}

int web_start(struct web **ret_web, const struct web_options *options, char *ret_error,
	      size_t size)
{
	int result = web_library_load(ret_error, size);
	struct web *web = result == 0 ? calloc(1, sizeof(*web)) : NULL;
	char where[PRINT_ADDRESS_SIZE];

	if (result != 0)
		return result;
	result = -ENOMEM;
	if (web) {
		web->options = *options;
		web->options.metrics.cache = reader_cache_new();
		web->options.metrics.kept = &web->kept;
		web->listener = -1;
		result = start_serving(web);
	}
	if (result == 0) {
		*ret_web = web;
		return 0;
	}
	snprintf(ret_error, size, "%s: %s: name another with --listen",
		 print_address(where, &options->listen), strerror(-result));
	if (web && web->listener >= 0)
		close(web->listener);
	if (web) {
		reader_cache_free(web->options.metrics.cache);
		free(web->made);
	}
	free(web);
	return result;
}

void web_stop(struct web *web)
{
	mhd.stop_daemon(web->daemon); /* also closes the listener */
	for (size_t i = 0; i < web_resource_count; i++)
		free(web->made[i].text);
	free(web->made);
	reader_cache_free(web->options.metrics.cache);
	ledger_free(&web->kept);
	free(web);
}
