/* SPDX-License-Identifier: MIT
 *
 * The program's side. A filter can't be taken off again, so there are two threads: the
 * first puts the filter on, and execs once the supervisor has said yes. If it does not,
 * the second, which has no filter, execs instead. The kernel then ends the other one,
 * and the pid stays. The first thread is the process's leader, as its user's security
 * modules (Yama) remember by the leader who may look into the process.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/observe/door.h"
#include "tools/observe/door_parts.h"
#include "tools/observe/notify_filter.h"

#define PATIENCE_MS 2000
#define STACK_SIZE  (256 << 10)

struct attempt {
	const char *program;
	char *const *argv, *const *environment;
	sem_t go, failed;
	int error; /* of execvpe() */
};

static void wait_for_turn(sem_t *semaphore)
{
	while (sem_wait(semaphore) != 0 && errno == EINTR)
		;
}

static void *exec_plainly(void *data)
{
	struct attempt *attempt = data;

	wait_for_turn(&attempt->go);
	execvpe(attempt->program, attempt->argv, attempt->environment);
	attempt->error = errno;
	sem_post(&attempt->failed);
	pause();
	return NULL;
}

static bool start_second(struct attempt *attempt)
{
	pthread_attr_t attributes;
	pthread_t thread;
	bool started;

	if (pthread_attr_init(&attributes) != 0)
		return false;
	started = sem_init(&attempt->go, 0, 0) == 0 &&
		  sem_init(&attempt->failed, 0, 0) == 0 &&
		  pthread_attr_setstacksize(&attributes, STACK_SIZE) == 0 &&
		  pthread_create(&thread, &attributes, exec_plainly, attempt) == 0;
	pthread_attr_destroy(&attributes);
	return started;
}

static bool receive(int socket, void *ret_bytes, size_t size)
{
	struct pollfd polled = {.fd = socket, .events = POLLIN};

	return poll(&polled, 1, PATIENCE_MS) == 1 &&
	       recv(socket, ret_bytes, size, 0) == (ssize_t)size;
}

/* A connection to the supervisor, and its terms; or -errno. */
static int knock(int directory, const char *name, struct door_terms *ret_terms)
{
	struct sockaddr_un address;
	socklen_t length = door_address(&address, directory, name);
	int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (client < 0)
		return -errno;
	if (connect(client, (struct sockaddr *)&address, length) == 0 &&
	    door_is_ours(client) && receive(client, ret_terms, sizeof(*ret_terms)))
		return client;
	close(client);
	return -ECONNREFUSED;
}

static void allow_to_look(int client)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0)
		prctl(PR_SET_PTRACER, peer.pid, 0, 0, 0);
}

/* Whether the supervisor has the control of this thread's calls. */
static bool hand_over(int client, const struct door_terms *terms)
{
	int listener = notify_filter_install(terms->also);
	char answer;

	if (listener < 0)
		return false;
	allow_to_look(client);
	return door_send_descriptor(client, listener) == 0 &&
	       receive(client, &answer, 1) && answer == DOOR_ACCEPTED;
}

int door_exec(int directory, const char *name, const char *program, char *const *argv,
	      char *const *environment)
{
	struct attempt attempt = {
	    .program = program, .argv = argv, .environment = environment};
	struct door_terms terms = {0};
	int client = knock(directory, name, &terms);

	if (client < 0 || !start_second(&attempt)) {
		execvpe(program, argv, environment);
		return errno;
	}
	if (hand_over(client, &terms)) {
		execvpe(program, argv, environment);
		return errno;
	}
	sem_post(&attempt.go);
	wait_for_turn(&attempt.failed);
	return attempt.error;
}
