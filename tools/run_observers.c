/* SPDX-License-Identifier: MIT */
#include "tools/run_observers.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "shim/shared/helper.h"
#include "tools/base/cli.h"
#include "tools/base/print.h"
#include "tools/kernel/kernel.h"
#include "tools/observe/door.h"
#include "tools/policy/layer.h"
#include "tools/policy/store.h"
#include "tools/run_unseen.h"

/* With the policy of the run, which stays the same as long as it goes on. */
static void run_start_supervisor(struct run_observers *observers)
{
	const struct run_directory *directory = observers->directory;
	struct supervisor_setup setup = {.directory = directory->fd,
					 .client = -1,
					 .netlink = observers->netlink,
					 .place = directory->place,
					 .run = directory->run};
	struct tws_policy_image *image = NULL;
	struct tws_policy_control control;

	if (tws_policy_fetch(directory->fd, &image, &control) == 0 && image) {
		setup.policy = image;
		setup.policy_key = tws_policy_key(TWS_LAYER_RUN, image->generation);
	}
	observers->supervised =
	    supervisor_start(&observers->supervisor, &setup, observers->why_not,
			     sizeof(observers->why_not)) == 0;
	free(image);
	if (observers->supervised && readlink("/proc/self/exe", observers->helper,
					      sizeof(observers->helper) - 1) < 0)
		*observers->helper = '\0';
}

/* What the shim does not reach leaves nothing to settle, and the kernel's messages would
 * slow it down: see struct kernel_source. All that the command starts has its filter, so
 * the supervisor listens as soon as one of them has the shim. */
static void rest_settler(struct run_observers *observers)
{
	observers->rests = observers->supervised && observers->netlink >= 0 &&
			   kernel_set_listening(observers->netlink, false) == 0;
}

/* BPF can set none of the options that a policy asks for, whether it is the run's or was
 * loaded. */
void run_observers_begin(struct run_observers *observers, const struct reach *reach,
			 const struct run_directory *directory, bool policy,
			 struct settler *settler)
{
	const struct publish_place place = {.directory = publish_by_user,
					    .data = &observers->places,
					    .run = directory->run};
	char loaded[128];

	observers->directory = directory;
	observers->places.main = directory->place;
	observers->began_ns = run_unseen_now();
	observers->direct = reach_may_be_supervised(reach->verdict);
	observers->netlink = observers->direct && settler
				 ? kernel_listener_netlink(settler_listener(settler))
				 : -1;
	policy = policy || layers_describe(loaded, sizeof(loaded));
	if (policy || geteuid() != 0)
		run_start_supervisor(observers);
	observers->kernel =
	    geteuid() == 0 &&
	    observation_begin_beside(&observers->observation, &place,
				     settler ? settler_fd(settler) : -1) == 0;
	if (!policy && geteuid() == 0 && !observers->kernel)
		run_start_supervisor(observers);
	if (observers->supervised)
		observers->supervisor.counts->kernel_too = observers->kernel;
	rest_settler(observers);
}

bool run_observers_met_no_shim(const struct run_observers *observers)
{
	const struct supervisor_counts *counts = observers->supervisor.counts;

	return observers->rests && counts->handed_over && !counts->with_shim;
}

const char *run_observers_instead(const struct run_observers *observers)
{
	if (observers->supervised && observers->direct)
		return geteuid() == 0
			   ? "a supervisor observes it instead"
			   : "a supervisor observes it instead, under which it can't "
			     "start sudo and other set-user-ID programs";
	if (!observers->kernel)
		return observers->direct ? "nothing here can observe it instead" : NULL;
	return *observers->why_not || observers->supervised
		   ? "the kernel observes it instead, and the policy does not act on it"
		   : "the kernel observes it instead";
}

/* A twshim with AddressSanitizer does not start behind a preloaded library. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_HELP false
#else
#define CAN_HELP true
#endif

const char *run_observers_helper(const struct run_observers *observers)
{
	return CAN_HELP && observers->supervised && *observers->helper ? observers->helper
								       : NULL;
}

int run_observers_fd(const struct run_observers *observers)
{
	return observers->kernel ? observation_fd(&observers->observation) : -1;
}

void run_observers_step(struct run_observers *observers)
{
	if (observers->kernel)
		observation_step(&observers->observation);
}

struct handed_over {
	struct door_program program;
	int netlink; /* -1, or the settler's, which rests */
};

/* No supervisor will listen. */
static void listen_at_once(const struct door_program *program, int error)
{
	const struct handed_over *handed_over = (const void *)program;

	if (handed_over->netlink >= 0)
		kernel_set_listening(handed_over->netlink, true);
}

int run_observers_execute(const struct run_observers *observers,
			  const struct launch *launch)
{
	const struct handed_over handed_over = {
	    .program = {.path = launch->argv[0],
			.argv = launch->argv,
			.environment = launch->environment,
			.refused = listen_at_once},
	    .netlink = observers->rests ? observers->netlink : -1,
	};

	if (observers->supervised && observers->direct)
		return door_exec(observers->directory->fd, TWS_HELPER_DOOR,
				 &handed_over.program);
	execvpe(launch->argv[0], launch->argv, launch->environment);
	return errno;
}

static void run_say_missed(uint64_t count, const char *what)
{
	char number[PRINT_NUMBER_SIZE];

	if (count)
		cli_fail(0, "%s %s", print_number(number, count), what);
}

static void run_say_unreached(const struct supervisor_counts *counts)
{
	char text[2 * DOOR_TEXT_SIZE];

	for (unsigned i = 0; i < counts->unreached && i < SUPERVISOR_TEXTS; i++) {
		print_escape(text, sizeof(text), counts->unreached_text[i]);
		cli_fail(0, "%s", text);
	}
	if (counts->unreached > SUPERVISOR_TEXTS)
		run_say_missed(counts->unreached - SUPERVISOR_TEXTS,
			       "more programs like these were not observed");
}

/* What the supervisor could not take, the kernel observes, if it does. */
static void run_say_left_out(const struct supervisor_counts *counts)
{
	if (counts->kernel_too) {
		run_say_missed(
		    counts->turned_away,
		    "programs were observed through the kernel, and the policy "
		    "did not act on them: 256 that the shim does not reach ran "
		    "at the same time");
		return;
	}
	run_say_unreached(counts);
	run_say_missed(counts->hidden,
		       "connects are not in the report: they are of other users' "
		       "processes, or of some that may not be looked into (see "
		       "kernel.yama.ptrace_scope)");
	run_say_missed(counts->turned_away,
		       "programs were not observed: 256 that the shim does not reach ran "
		       "at the same time");
}

static void run_say_counts(const struct supervisor_counts *counts)
{
	run_say_missed(counts->passed,
		       "connects passed while the supervisor was held up; the report "
		       "has them as unobserved");
	run_say_missed(counts->passed_closes,
		       "calls of close() or bind() passed while the supervisor was held "
		       "up: the policy did not act on them");
	run_say_left_out(counts);
	run_say_missed(counts->io_uring,
		       "programs use io_uring: what they connect through it is not in "
		       "the report");
	run_say_missed(counts->refused,
		       "processes were not published: no memory or no room");
}

static bool is_seen_by_nobody(const struct run_observers *observers)
{
	return observers->direct && !observers->kernel &&
	       !(observers->supervised && observers->supervisor.counts->handed_over);
}

/* Nobody saw the command. What the kernel shows may be of any program. */
static void run_say_unseen(const struct run_observers *observers)
{
	char meanwhile[512];

	run_unseen_describe(meanwhile, sizeof(meanwhile), observers->began_ns);
	cli_fail(0, "its connections are not in the report: %s; %s",
		 *observers->why_not ? observers->why_not
				     : "it has a filter of this kind already",
		 meanwhile);
}

void run_observers_conclude(struct run_observers *observers)
{
	if (is_seen_by_nobody(observers))
		run_say_unseen(observers);
	if (observers->kernel)
		observation_settle(&observers->observation);
	if (!observers->supervised)
		return;
	if (supervisor_finish(&observers->supervisor) == SUPERVISOR_DEAD)
		cli_fail(0, "the supervisor was killed: what was connected after that is "
			    "not in the report");
	run_say_counts(observers->supervisor.counts);
}

void run_observers_end(struct run_observers *observers)
{
	if (observers->kernel)
		observation_end(&observers->observation);
	publish_places_close(&observers->places);
	if (observers->supervised)
		supervisor_release(&observers->supervisor);
}
