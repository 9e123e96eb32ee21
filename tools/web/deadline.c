/* SPDX-License-Identifier: MIT
 *
 * Only shuts connections down and never closes them, because the descriptors belong to
 * the server.
 */
#include "tools/web/deadline.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <time.h>

#include "shim/shared/clock.h"

static struct {
	int fd;	   /* the descriptor + 1; 0: none */
	bool over; /* was shut down, and the server has not closed it yet */
	uint64_t since_ms;
} connections[WEB_CONNECTIONS];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Returns the place of a descriptor (0: a free place), or -1. */
static int find_connection(int wanted)
{
	for (int i = 0; i < WEB_CONNECTIONS; i++)
		if (connections[i].fd == wanted)
			return i;
	return -1;
}

static void shut(int place)
{
	connections[place].over = true;
	shutdown(connections[place].fd - 1, SHUT_RDWR);
}

/* If few places are left, ends the connection that has waited longest. */
static void close_oldest(void)
{
	int open = 0, oldest = -1;

	for (int i = 0; i < WEB_CONNECTIONS; i++) {
		if (!connections[i].fd || connections[i].over)
			continue;
		open++;
		if (oldest < 0 || connections[i].since_ms < connections[oldest].since_ms)
			oldest = i;
	}
	if (open > WEB_CONNECTIONS - WEB_ROOM)
		shut(oldest);
}

void web_deadline_begin(int fd)
{
	int place;

	pthread_mutex_lock(&lock);
	place = find_connection(fd + 1);
	if (place < 0)
		place = find_connection(0);
	if (place >= 0) {
		connections[place].fd = fd + 1;
		connections[place].over = false;
		connections[place].since_ms = tws_now() / 1000000;
		close_oldest();
	}
	pthread_mutex_unlock(&lock);
}

void web_deadline_end(int fd)
{
	int place;

	pthread_mutex_lock(&lock);
	place = find_connection(fd + 1);
	if (place >= 0)
		connections[place].fd = 0;
	pthread_mutex_unlock(&lock);
}

void web_deadline_look(void)
{
	uint64_t now = tws_now() / 1000000;

	pthread_mutex_lock(&lock);
	for (int i = 0; i < WEB_CONNECTIONS; i++)
		if (connections[i].fd && now - connections[i].since_ms > WEB_REQUEST_MS)
			shut(i);
	pthread_mutex_unlock(&lock);
}
