/* SPDX-License-Identifier: MIT
 *
 * The door of a supervisor: a socket in a directory of its user, where a program hands
 * over the control of its own connect() calls. Each side makes sure of the other's user
 * before the program puts its filter on.
 */
#ifndef TWS_TOOLS_OBSERVE_DOOR_H
#define TWS_TOOLS_OBSERVE_DOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The supervisor's first message. */
struct door_terms {
	uint32_t also; /* what it wants to see: enum notify_also */
};

#define DOOR_ACCEPTED 'y' /* its answer to the descriptor; anything else is a refusal */

/* -------------------------------------------------------------- the supervisor */

/* Opens a door of this name in an open directory, which only its user or root may be
 * able to write to. A listening descriptor that does not block, or -errno. */
int door_open(int directory, const char *name);

/* Lets the next program in and tells it the terms. Its descriptor, which does not block,
 * or -errno: -EAGAIN: nobody is there; -EPERM: a stranger, who was turned away. */
int door_admit(int door, const struct door_terms *terms);

/* Tells a program the terms. True: they are sent. */
bool door_tell(int client, const struct door_terms *terms);

/* What a program sent: a descriptor that controls calls of its, and nothing else; or
 * -errno: -EAGAIN: nothing yet. */
int door_receive(int client);

#define DOOR_TEXT_SIZE 896 /* with its end */
#define DOOR_PATH_SIZE 320 /* the most of a path in it */

/* Whether a program says, instead, that it cannot be observed, and why. */
bool door_receive_text(int client, char ret_text[DOOR_TEXT_SIZE]);

/* Answers. */
void door_answer(int client, bool accepted);

/* Sends and receives one descriptor; receiving returns it, or -errno. */
int door_send_descriptor(int socket, int fd);
int door_receive_descriptor(int socket);

/* ------------------------------------------------------------------ the program */

struct door_program {
	const char *path; /* looked up in PATH */
	char *const *argv, *const *environment;
	/* Says why it goes without the supervisor: -errno of notify_filter_install(), or
	 * -ECONNREFUSED. NULL: says nothing. */
	void (*refused)(const struct door_program *program, int error);
};

/* Becomes the program, with the supervisor behind the door observing it, or, where
 * anything stands in the way, without. Returns only if the program can't be started: the
 * errno of execvpe(). The process must have one thread, and does not change its pid.
 */
int door_exec(int directory, const char *name, const struct door_program *program);

/* Tells the supervisor of a program that cannot be observed: a sentence for who started
 * the supervisor. */
void door_tell_unreached(int directory, const char *name, const char *text);

/* The two halves of that for a program that runs already, and whose listener the caller
 * has: the terms, and then whether the supervisor has taken it. */
bool door_hear_terms(int client, struct door_terms *ret_terms);
bool door_hand_listener(int client, int listener);

/* The same through one end of a socket pair, whose other end that supervisor has. */
int door_exec_through(int client, pid_t supervisor, const struct door_program *program);

#endif
