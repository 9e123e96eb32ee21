/* SPDX-License-Identifier: MIT
 *
 * The subcommands of twshim: name and one line of help. The function of a row is
 * cmd_NAME(argc, argv) in tools/cmd_NAME.c. argv[0] is the name; it returns the exit
 * status.
 */
#ifndef TWS_TOOLS_COMMANDS_H
#define TWS_TOOLS_COMMANDS_H

/* clang-format off */
#define COMMANDS(COMMAND)                                                                 \
	COMMAND(run, "start a command under the shim, wait, report")                      \
	COMMAND(exec, "become a command that a supervisor observes, for a unit's ExecStart=")        \
	COMMAND(attach, "put a supervisor beside a running process of your own")           \
	COMMAND(env, "print the environment that preloads the shim")                      \
	COMMAND(report, "show what is known now: applications, destinations, advice")          \
	COMMAND(reset, "start counting from zero, and keep the old totals aside")                \
	COMMAND(ps, "list processes: connections open, rate, TIME_WAIT")              \
	COMMAND(top, "watch who opens connections now, and what they leave")        \
	COMMAND(trace, "print one line per connection as it ends")                \
	COMMAND(watch, "observe programs without the shim, also running ones (root)")             \
	COMMAND(owners, "show which program owns each TIME_WAIT socket")                   \
	COMMAND(export, "write the metrics for Prometheus once, into a file")                   \
	COMMAND(serve, "serve a live page, metrics for Prometheus and JSON over HTTP")             \
	COMMAND(doctor, "say what is wrong, which program causes it, and the cure")            \
	COMMAND(policy, "check, explain, load, show and clear policies")                          \
	COMMAND(prepare, "make the places where programs publish (root)")                  \
	COMMAND(enable, "preload the shim into a systemd service, by a drop-in")            \
	COMMAND(disable, "remove what enable made")                                    \
	COMMAND(enabled, "list enabled services, and how many processes loaded the shim")     \
	COMMAND(dump, "print every field of a segment, for a bug report")                 \
	COMMAND(wait, "wait until the TIME_WAIT sockets to a destination have gone") \
	COMMAND(features, "show what this kernel and this machine provide, and for what")       \
	COMMAND(lab, "try the popular claims about TIME_WAIT on this kernel")
/* clang-format on */

#define COMMAND(name, help) int cmd_##name(int argc, char **argv);
COMMANDS(COMMAND)
#undef COMMAND

#endif
