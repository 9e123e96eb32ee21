/* SPDX-License-Identifier: MIT
 *
 * The supervisor's side, and what both sides share.
 */
#include "tools/observe/door.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tools/observe/door_parts.h"

#define WAITING 64
#define NOTIFY	"anon_inode:seccomp notify"

/* A path of any length fits: it goes through the open directory. */
socklen_t door_address(struct sockaddr_un *ret_address, int directory, const char *name)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(ret_address->sun_path, sizeof(ret_address->sun_path),
		 "/proc/self/fd/%d/%s", directory, name);
	return sizeof(*ret_address);
}

bool door_is_ours(int socket)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
	       length == sizeof(peer) && peer.uid == geteuid();
}

static bool is_private(int directory)
{
	struct stat st;

	return fstat(directory, &st) == 0 && (st.st_uid == geteuid() || st.st_uid == 0) &&
	       !(st.st_mode & (S_IWGRP | S_IWOTH));
}

int door_open(int directory, const char *name)
{
	struct sockaddr_un address;
	socklen_t length = door_address(&address, directory, name);
	int door, result;

	if (!is_private(directory))
		return -EPERM;
	door = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (door < 0)
		return -errno;
	if (bind(door, (struct sockaddr *)&address, length) == 0 &&
	    fchmodat(directory, name, 0600, 0) == 0 && listen(door, WAITING) == 0)
		return door;
	result = -errno;
	close(door);
	return result;
}

bool door_tell(int client, const struct door_terms *terms)
{
	return send(client, terms, sizeof(*terms), MSG_NOSIGNAL | MSG_DONTWAIT) ==
	       sizeof(*terms);
}

int door_admit(int door, const struct door_terms *terms)
{
	int client = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (client < 0)
		return -errno;
	if (door_is_ours(client) && door_tell(client, terms))
		return client;
	close(client);
	return -EPERM;
}

int door_send_descriptor(int socket, int fd)
{
	char byte = 'f', control[CMSG_SPACE(sizeof(fd))] = {0};
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(socket, &message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

/* The control buffer has room for one descriptor: the kernel drops any more. */
int door_receive_descriptor(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	ssize_t length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	const struct cmsghdr *header;
	int fd;

	if (length < 0)
		return -errno;
	header = CMSG_FIRSTHDR(&message);
	if (length == 0 || !header || header->cmsg_level != SOL_SOCKET ||
	    header->cmsg_type != SCM_RIGHTS || header->cmsg_len < CMSG_LEN(sizeof(fd)))
		return -ENOMSG;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

static bool is_notify_descriptor(int fd)
{
	char path[64], target[64];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, target, sizeof(target) - 1);
	return length == (ssize_t)strlen(NOTIFY) &&
	       memcmp(target, NOTIFY, (size_t)length) == 0;
}

int door_receive(int client)
{
	int fd = door_receive_descriptor(client);

	if (fd < 0 || is_notify_descriptor(fd))
		return fd;
	close(fd);
	return -EINVAL;
}

/* A descriptor comes with one byte. */
bool door_receive_text(int client, char ret_text[DOOR_TEXT_SIZE])
{
	ssize_t length =
	    recv(client, ret_text, DOOR_TEXT_SIZE - 1, MSG_PEEK | MSG_DONTWAIT);

	if (length <= 1)
		return false;
	ret_text[length] = '\0';
	return true;
}

void door_answer(int client, bool accepted)
{
	const char answer = accepted ? DOOR_ACCEPTED : 'n';

	(void)!send(client, &answer, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}
