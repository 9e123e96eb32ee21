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
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/observe/door.h"
#include "tools/observe/door_parts.h"
#include "tools/observe/notify_filter.h"

#define PATIENCE_MS 2000
#define STACK_SIZE  (256 << 10)

struct attempt {
	const struct door_program *program;
	sem_t go, failed;
	int error; /* of execvpe() */
};

static void wait_for_turn(sem_t *semaphore)
{
	while (sem_wait(semaphore) != 0 && errno == EINTR)
		;
}

static int become(const struct door_program *program)
{
	execvpe(program->path, program->argv, program->environment);
	return errno;
}

static void *exec_plainly(void *data)
{
	struct attempt *attempt = data;

	wait_for_turn(&attempt->go);
	attempt->error = become(attempt->program);
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

/* A connection to the supervisor, or -errno. */
static int knock(int directory, const char *name, pid_t *ret_supervisor)
{
	struct sockaddr_un address;
	socklen_t length = door_address(&address, directory, name);
	int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (client < 0)
		return -errno;
	if (connect(client, (struct sockaddr *)&address, length) == 0 &&
	    door_is_ours(client) &&
	    getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) {
		*ret_supervisor = peer.pid;
		return client;
	}
	close(client);
	return -ECONNREFUSED;
}

void door_tell_unreached(int directory, const char *name, const char *text)
{
	struct door_terms terms;
	pid_t supervisor;
	int client = knock(directory, name, &supervisor);

	if (client < 0)
		return;
	if (door_hear_terms(client, &terms)) /* else it does not let us in */
		(void)!send(client, text, strlen(text), MSG_NOSIGNAL);
	close(client);
}

bool door_hear_terms(int client, struct door_terms *ret_terms)
{
	return receive(client, ret_terms, sizeof(*ret_terms));
}

bool door_hand_listener(int client, int listener)
{
	char answer;

	return door_send_descriptor(client, listener) == 0 &&
	       receive(client, &answer, 1) && answer == DOOR_ACCEPTED;
}

/* 0: the supervisor has the control of this thread's calls. Or -errno. */
static int hand_over(int client, pid_t supervisor, const struct door_terms *terms)
{
	int listener = notify_filter_install(terms->also);

	if (listener < 0)
		return listener;
	prctl(PR_SET_PTRACER, supervisor, 0, 0, 0);
	return door_hand_listener(client, listener) ? 0 : -ECONNREFUSED;
}

static int become_refused(const struct door_program *program, int error)
{
	if (program->refused)
		program->refused(program, error);
	return become(program);
}

int door_exec_through(int client, pid_t supervisor, const struct door_program *program)
{
	struct attempt attempt = {.program = program};
	struct door_terms terms;
	int result;

	if (!door_hear_terms(client, &terms))
		return become_refused(program, -ECONNREFUSED);
	if (!start_second(&attempt))
		return become_refused(program, -EAGAIN);
	result = hand_over(client, supervisor, &terms);
	if (result == 0)
		return become(program);
	if (program->refused)
		program->refused(program, result);
	sem_post(&attempt.go);
	wait_for_turn(&attempt.failed);
	return attempt.error;
}

int door_exec(int directory, const char *name, const struct door_program *program)
{
	pid_t supervisor = 0;
	int client = knock(directory, name, &supervisor);

	if (client < 0)
		return become_refused(program, client);
	return door_exec_through(client, supervisor, program);
}
