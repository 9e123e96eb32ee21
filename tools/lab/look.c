/* SPDX-License-Identifier: MIT
 *
 * What a client's close() shows to the server: a server that has not yet closed looks at
 * its own socket.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "tools/lab/lab.h"

static void look_note(struct lab_failures *failures, int error)
{
	failures->calls++;
	failures->failed += error != 0;
	if (error)
		failures->error = error;
}

static void look_at_events(struct lab_look *look, int fd)
{
	struct pollfd one = {.fd = fd, .events = POLLIN};

	poll(&one, 1, 0);
	look->hup += (one.revents & POLLHUP) != 0;
	look->err += (one.revents & POLLERR) != 0;
}

static void look_at_name(struct lab_look *look, int fd)
{
	struct sockaddr_storage name;
	socklen_t size = sizeof(name);

	look_note(&look->name, getpeername(fd, (void *)&name, &size) ? errno : 0);
}

static void look_at_error(struct lab_look *look, int fd)
{
	int error = 0;
	socklen_t size = sizeof(error);

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	look_note(&look->so_error, error);
}

static void read_and_write(struct lab_look *look, int fd)
{
	char buffer[256];
	ssize_t length;

	while ((length = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
		look->bytes += (uint32_t)length;
	look_note(&look->reader, length < 0 ? errno : 0);
	length = send(fd, buffer, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	look_note(&look->writer, length < 0 ? errno : 0);
}

void lab_look_at(struct lab_look *look, int fd, uint32_t index)
{
	look->sockets++;
	look_at_events(look, fd);
	look_at_name(look, fd);
	if (index % 2 == 0)
		look_at_error(look, fd);
	else
		read_and_write(look, fd);
}
