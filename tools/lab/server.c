/* SPDX-License-Identifier: MIT
 *
 * The lab's server. It accepts, reads at the speed that the case asks for, closes when
 * it is its turn, and records what its readers saw. It is one process without the shim.
 */
#include "tools/lab/lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/shared/clock.h"

#define PEERS	 1024 /* descriptors; a soft limit of most systems */
#define EVENTS	 256
#define IDLE_MS	 20
#define BACKLOG	 4096
#define MAX_READ 65536
#define FINS_MS	 500
#define RST_MS	 20 /* more than the reset after the last FIN takes */

struct peer {
	bool open;
	uint64_t accepted_ns;
};

struct service {
	const struct lab_server *server;
	const int *listeners;
	struct lab_board *board;
	int epoll;
	unsigned open;
	bool client_done;
	uint64_t last_ns; /* when something last happened */
	struct peer peer[PEERS];
};

int lab_server_listen(const struct lab_server *server, const char *address,
		      int ret_fds[LAB_PORTS])
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	unsigned ports = server->ports ? server->ports : 1;
	int window = (int)server->window, on = 1;

	inet_pton(AF_INET, address, &at.sin_addr);
	for (unsigned i = 0; i < LAB_PORTS; i++)
		ret_fds[i] = -1;
	for (unsigned i = 0; i < ports && i < LAB_PORTS; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		ret_fds[i] = fd;
		at.sin_port = htons((uint16_t)(LAB_PORT + i));
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (window)
			setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window));
		if (fd < 0 || bind(fd, (void *)&at, sizeof(at)) != 0 ||
		    listen(fd, BACKLOG) != 0)
			return -errno;
	}
	return 0;
}

static void drop(struct service *service, int fd, uint64_t *counter)
{
	(*counter)++;
	close(fd);
	service->peer[fd].open = false;
	service->open--;
}

/* Reads at most `limit` bytes; 0 means everything that is there. */
static void read_from(struct service *service, int fd, unsigned limit)
{
	static char buffer[MAX_READ];
	struct lab_seen *seen = &service->board->seen;
	size_t size = limit && limit < sizeof(buffer) ? limit : sizeof(buffer);
	ssize_t length;

	do {
		length = recv(fd, buffer, size, MSG_DONTWAIT);
		if (length > 0) {
			seen->bytes += (uint64_t)length;
			service->last_ns = tws_now();
		}
	} while (length > 0 && !limit);
	if (length > 0 || (length < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	service->last_ns = tws_now();
	if (length == 0 && service->server->flags & LAB_SERVER_HOLDS)
		epoll_ctl(service->epoll, EPOLL_CTL_DEL, fd, NULL);
	else
		drop(service, fd, length == 0 ? &seen->ended : &seen->reset);
}

static bool has_error(int fd)
{
	struct pollfd one = {.fd = fd};

	return poll(&one, 1, 0) > 0 && one.revents & POLLERR;
}

/* If it is time, reads as much as the case allows at once. */
static void serve_peer(struct service *service, int fd)
{
	const struct lab_server *server = service->server;
	struct peer *peer = &service->peer[fd];
	uint64_t age_ns = tws_now() - peer->accepted_ns;

	if (!peer->open || age_ns < server->start_ms * 1000000ull)
		return;
	if (server->flags & LAB_SERVER_GIVES_UP && has_error(fd))
		drop(service, fd, &service->board->seen.reset);
	else
		read_from(service, fd, server->chunk);
}

static void greet(struct service *service, int fd)
{
	static const char greeting[1024];
	unsigned flags = service->server->flags;

	if (flags & LAB_SERVER_SENDS)
		send(fd, greeting, sizeof(greeting), MSG_DONTWAIT | MSG_NOSIGNAL);
	if (flags & LAB_SERVER_SHUTS_FIRST)
		shutdown(fd, SHUT_WR);
	if (flags & LAB_SERVER_CLOSES_FIRST)
		drop(service, fd, &service->board->seen.ended);
}

static bool is_paced(const struct lab_server *server)
{
	return server->chunk || server->start_ms;
}

static void accept_all(struct service *service, int listener)
{
	struct epoll_event event = {.events = EPOLLIN};
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		service->last_ns = tws_now();
		service->board->seen.accepted++;
		if (fd >= PEERS) {
			service->board->seen.hung++;
			close(fd);
			continue;
		}
		service->peer[fd] = (struct peer){true, service->last_ns};
		service->open++;
		event.data.fd = fd;
		if (!is_paced(service->server) &&
		    !(service->server->flags & LAB_SERVER_LOOKS))
			epoll_ctl(service->epoll, EPOLL_CTL_ADD, fd, &event);
		greet(service, fd);
	}
}

/* Looks at all connections, once the client has closed them and the kernel is done. */
static void look_at_all(struct service *service)
{
	struct lab_board *board = service->board;
	uint32_t done = __atomic_load_n(&board->client_done, __ATOMIC_ACQUIRE);
	uint32_t index = 0;

	if (!done || board->seen.accepted < done - 1)
		return;
	lab_await_fins(board, FINS_MS);
	lab_sleep_ms(RST_MS);
	for (int fd = 0; fd < PEERS; fd++) {
		if (!service->peer[fd].open)
			continue;
		lab_look_at(&board->look, fd, index++);
		drop(service, fd, &board->seen.ended);
	}
}

static bool is_listener(const struct service *service, int fd)
{
	for (unsigned i = 0; i < LAB_PORTS; i++)
		if (service->listeners[i] == fd)
			return true;
	return false;
}

static void serve_once(struct service *service)
{
	struct epoll_event events[EVENTS];
	int tick = is_paced(service->server) && service->open
		       ? (int)service->server->tick_ms
		       : IDLE_MS;
	int count = epoll_wait(service->epoll, events, EVENTS, tick);

	for (int i = 0; i < count; i++) {
		if (is_listener(service, events[i].data.fd))
			accept_all(service, events[i].data.fd);
		else
			serve_peer(service, events[i].data.fd);
	}
	if (is_paced(service->server) && service->open)
		for (int fd = 0; fd < PEERS; fd++)
			serve_peer(service, fd);
	if (service->server->flags & LAB_SERVER_LOOKS)
		look_at_all(service);
}

/* Whether nothing more will come, or nothing has come for too long. */
static bool is_over(struct service *service, unsigned hang_ms)
{
	const struct lab_seen *seen = &service->board->seen;
	uint32_t done = __atomic_load_n(&service->board->client_done, __ATOMIC_ACQUIRE);

	if (!done)
		return false;
	if (service->server->flags & LAB_SERVER_HOLDS)
		return seen->accepted >= done - 1;
	if (!service->client_done)
		service->last_ns = tws_now();
	service->client_done = true;
	if (seen->accepted >= done - 1 && !service->open)
		return true;
	return tws_now() - service->last_ns > hang_ms * 1000000ull;
}

void lab_server_run(const struct lab_server *server, const int fds[LAB_PORTS],
		    struct lab_board *board, unsigned hang_ms)
{
	struct service *service = calloc(1, sizeof(*service));
	struct epoll_event event = {.events = EPOLLIN};

	if (!service)
		return;
	service->server = server;
	service->listeners = fds;
	service->board = board;
	service->epoll = epoll_create1(EPOLL_CLOEXEC);
	service->last_ns = tws_now();
	for (unsigned i = 0; i < LAB_PORTS && fds[i] >= 0; i++) {
		event.data.fd = fds[i];
		epoll_ctl(service->epoll, EPOLL_CTL_ADD, fds[i], &event);
	}
	while (!is_over(service, hang_ms))
		serve_once(service);
	if (!(server->flags & LAB_SERVER_HOLDS))
		board->seen.hung += service->open;
	close(service->epoll);
	free(service);
}
