/* SPDX-License-Identifier: MIT
 *
 * Closes connections through stdio, in every state that a stream may be in, and prints
 * what fclose() and freopen() return, errno, the error indicator and whether SIGPIPE
 * came. Its output must be the same with and without the shim.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wchar.h>

FILE *freopen64(const char *path, const char *mode, FILE *stream);

static struct sockaddr_in server = {.sin_family = AF_INET};
static int listener;
static volatile sig_atomic_t pipes;

static void count_pipe(int number)
{
	(void)number;
	pipes++;
}

static void die(const char *what)
{
	perror(what);
	exit(3);
}

static void serve(void)
{
	socklen_t length = sizeof(server);

	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (void *)&server, length) || listen(listener, 10) ||
	    getsockname(listener, (void *)&server, &length))
		die("server");
}

static int connected(int *ret_peer)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (void *)&server, sizeof(server)))
		die("connect");
	*ret_peer = accept(listener, NULL, NULL);
	if (*ret_peer < 0)
		die("accept");
	return fd;
}

/* The peer resets, and the reset has arrived. */
static void reset(int fd, int peer)
{
	struct linger linger = {1, 0};
	struct pollfd gone = {.fd = fd};

	setsockopt(peer, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(peer);
	while (poll(&gone, 1, -1) != 1 || !(gone.revents & POLLHUP))
		;
}

/* ------------------------------------------------------ what is in the stream */

static void nothing(FILE *f)
{
	(void)f;
}

static void unflushed(FILE *f)
{
	fputs("some text", f);
}

static void unbuffered(FILE *f)
{
	setvbuf(f, NULL, _IONBF, 0);
}

static void wide(FILE *f)
{
	fputws(L"some wide text", f);
}

static void flushed(FILE *f)
{
	fputs("some text", f);
	fflush(f);
}

static void flushed_and_more(FILE *f)
{
	flushed(f);
	fputs("more of it", f);
}

/* More than the kernel takes, of a socket that does not wait. */
static void too_much(FILE *f)
{
	static char room[8 << 20];

	setvbuf(f, room, _IOFBF, sizeof(room));
	fcntl(fileno(f), F_SETFL, O_NONBLOCK);
	for (size_t i = 0; i < sizeof(room) - 1; i++)
		putc_unlocked('x', f);
}

static void appended(FILE *f)
{
	fcntl(fileno(f), F_SETFL, O_APPEND);
	fputs("some text", f);
}

/* The descriptor goes before its stream. */
static void closed_below(FILE *f)
{
	fputs("some text", f);
	close(fileno(f));
}

/* Somebody else keeps the connection open. */
static void copied(FILE *f)
{
	dup(fileno(f));
	fputs("some text", f);
}

static void half_read(FILE *f)
{
	ungetc('u', f);
	getc(f);
	ungetc('v', f);
}

static const struct {
	const char *name;
	void (*fill)(FILE *f);
	const char *mode;
} contents[] = {
    {"nothing", nothing, "w"},
    {"unflushed", unflushed, "w"},
    {"unflushed r+", unflushed, "r+"},
    {"unbuffered", unbuffered, "w"},
    {"wide", wide, "w"},
    {"flushed", flushed, "w"},
    {"flushed and more", flushed_and_more, "w"},
    {"too much", too_much, "w"},
    {"appended", appended, "a"},
    {"closed below", closed_below, "w"},
    {"copied", copied, "w"},
    {"half read", half_read, "r+"},
};

/* -------------------------------------------------------------- how it ends */

static long by_fclose(FILE *f)
{
	return fclose(f);
}

static long reopened(FILE *f)
{
	int error = errno;

	if (!f)
		return -1;
	printf("(error indicator %d) ", !!ferror(f));
	fclose(f);
	errno = error;
	return 0;
}

static long by_freopen(FILE *f)
{
	return reopened(freopen("/dev/null", "r", f));
}

static long by_freopen64(FILE *f)
{
	return reopened(freopen64("/dev/null", "w", f));
}

static long by_missing(FILE *f)
{
	return reopened(freopen("/missing/file", "r", f));
}

static const struct {
	const char *name;
	long (*end)(FILE *f);
} ends[] = {{"fclose", by_fclose},
	    {"freopen", by_freopen},
	    {"freopen64", by_freopen64},
	    {"freopen of nothing", by_missing}};

static void try(unsigned content, unsigned end, int is_reset)
{
	int peer, fd = connected(&peer);
	FILE *f = fdopen(fd, contents[content].mode);
	long result;

	pipes = 0;
	if (is_reset)
		reset(fd, peer);
	contents[content].fill(f);
	printf("%s, %s, %s: ", ends[end].name, is_reset ? "reset" : "alive",
	       contents[content].name);
	errno = 0;
	result = ends[end].end(f);
	printf("%ld %s%s\n", result, strerror(errno), pipes ? ", SIGPIPE" : "");
	if (!is_reset)
		close(peer);
}

/* A stream without a descriptor. */
static void in_memory(void)
{
	char room[16];
	FILE *f = fmemopen(room, sizeof(room), "w");

	errno = 0;
	printf("in memory: %d", fclose(f));
	printf(" %s\n", strerror(errno));
}

int main(void)
{
	signal(SIGPIPE, count_pipe);
	serve();
	for (unsigned end = 0; end < sizeof(ends) / sizeof(ends[0]); end++)
		for (unsigned i = 0; i < sizeof(contents) / sizeof(contents[0]); i++)
			for (int is_reset = 0; is_reset < 2; is_reset++)
				try(i, end, is_reset);
	in_memory();
	return 0;
}
