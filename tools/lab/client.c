/* SPDX-License-Identifier: MIT
 *
 * The lab's client. Whoever starts it preloads the shim, as for any other program. It
 * opens connections one after another, does with each what its board says, closes it,
 * and records what it saw. It prints nothing.
 */
#include "shim/shared/newer.h"
#include "tools/lab/lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/shared/clock.h"

#define THREADS	    64
#define SEND_BUFFER 262144
#define WAIT_MS	    5000

static void set_flag(int fd, int level, int option)
{
	int on = 1;

	setsockopt(fd, level, option, &on, sizeof(on));
}

static void set_options(int fd, const struct lab_client *client)
{
	struct linger linger = {1, (int)client->linger_seconds};
	uint32_t range = (uint32_t)client->high << 16 | client->low;
	int buffer = SEND_BUFFER;

	if (client->bytes)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	if (client->flags & LAB_CLIENT_LINGER)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	if (client->flags & LAB_CLIENT_REUSEADDR)
		set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
	if (client->flags & LAB_CLIENT_NO_PORT)
		set_flag(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
	if (client->flags & LAB_CLIENT_PORT_RANGE)
		setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range));
}

static struct sockaddr_in address_of(const char *text, unsigned port)
{
	struct sockaddr_in ret = {.sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port)};

	inet_pton(AF_INET, text, &ret.sin_addr);
	return ret;
}

/* Connects, and measures the time. Returns errno; 0 is success. */
static int open_connection(struct lab_board *board, int fd, uint32_t index,
			   uint64_t *ret_ns)
{
	const struct lab_client *client = &board->client;
	unsigned next = client->per_destination ? index / client->per_destination : 0;
	struct sockaddr_in to = address_of(board->address, board->port + next);
	struct sockaddr_in from = address_of(board->source, 0);
	uint64_t start;
	int error;

	if (client->flags & LAB_CLIENT_BINDS &&
	    bind(fd, (void *)&from, sizeof(from)) != 0)
		return errno;
	start = tws_now();
	error = connect(fd, (void *)&to, sizeof(to)) == 0 ? 0 : errno;
	*ret_ns = tws_now() - start;
	return error;
}

static void await_end(int fd)
{
	struct pollfd one = {.fd = fd, .events = POLLIN};
	char buffer[4096];

	while (poll(&one, 1, WAIT_MS) > 0 && recv(fd, buffer, sizeof(buffer), 0) > 0)
		;
}

static void await_acknowledgement(int fd)
{
	uint64_t until = tws_now() + WAIT_MS * 1000000ull;
	int unsent = 0;

	while (ioctl(fd, SIOCOUTQ, &unsent) == 0 && unsent > 0 && tws_now() < until)
		lab_sleep_ms(1);
}

static uint32_t send_bytes(int fd, unsigned bytes)
{
	static const char payload[16384];
	uint32_t sent = 0;

	while (sent < bytes) {
		size_t rest = bytes - sent;
		ssize_t length =
		    send(fd, payload, rest < sizeof(payload) ? rest : sizeof(payload),
			 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (length <= 0)
			break;
		sent += (uint32_t)length;
	}
	return sent;
}

static void use_connection(const struct lab_client *client, int fd,
			   struct lab_connection *record)
{
	struct pollfd one = {.fd = fd, .events = POLLIN};

	if (client->flags & LAB_CLIENT_AWAITS_END)
		await_end(fd);
	record->sent = send_bytes(fd, client->bytes);
	if (client->flags & LAB_CLIENT_AWAITS_ACK)
		await_acknowledgement(fd);
	if (client->flags & LAB_CLIENT_AWAITS_DATA)
		poll(&one, 1, WAIT_MS);
	if (client->flags & LAB_CLIENT_SHUTS_WRITE) {
		shutdown(fd, SHUT_WR);
		await_end(fd);
	}
}

static void make_connection(struct lab_board *board, uint32_t index)
{
	struct lab_connection *record = &board->connection[index];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t start;

	if (fd < 0) {
		record->error = errno;
		return;
	}
	set_options(fd, &board->client);
	record->error = open_connection(board, fd, index, &record->connect_ns);
	if (record->error == 0)
		use_connection(&board->client, fd, record);
	if (board->client.flags & LAB_CLIENT_LEAVES_OPEN)
		return;
	start = tws_now();
	close(fd);
	record->close_ns = tws_now() - start;
}

static void *make_connections(void *data)
{
	struct lab_board *board = data;
	unsigned pass = board->client.per_pass;
	uint32_t index;

	while ((index = __atomic_fetch_add(&board->next, 1, __ATOMIC_RELAXED)) <
	       board->client.count) {
		if (pass && index && index % pass == 0) {
			lab_await_closed(board, WAIT_MS);
			lab_sleep_ms(board->client.pause_ms);
		}
		make_connection(board, index);
	}
	return NULL;
}

static void run_threads(struct lab_board *board)
{
	pthread_t threads[THREADS];
	unsigned wanted =
	    board->client.threads < THREADS ? board->client.threads : THREADS;
	unsigned started = 0;

	while (started + 1 < wanted &&
	       pthread_create(&threads[started], NULL, make_connections, board) == 0)
		started++;
	make_connections(board);
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
}

int lab_client_main(int fd)
{
	struct lab_board *board;
	struct stat st;

	signal(SIGPIPE, SIG_IGN);
	if (fstat(fd, &st) != 0 || (size_t)st.st_size < sizeof(*board))
		return 1;
	board = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (board == MAP_FAILED)
		return 1;
	lab_die_with_parent(board->parent);
	run_threads(board);
	return 0;
}
