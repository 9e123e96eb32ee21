/* SPDX-License-Identifier: MIT
 *
 * The subcommands of twshim: name and one line of help. A row is a subcommand; its
 * function is cmd_NAME(argc, argv) in tools/cmd_NAME.c, with argv[0] its name, and
 * returns the exit status.
 */
#ifndef TWS_TOOLS_COMMANDS_H
#define TWS_TOOLS_COMMANDS_H

/* clang-format off */
#define COMMANDS(COMMAND)                                                                 \
	COMMAND(run, "start a command under the shim, wait, report")                      \
	COMMAND(env, "print the environment that preloads the shim")                      \
	COMMAND(report, "what is known now: applications, destinations, advice")          \
	COMMAND(ps, "one line a process: connections open, rate, TIME_WAIT")              \
	COMMAND(top, "the live view: who opens connections now, and what is left")        \
	COMMAND(trace, "one line a connection as it ends, of all processes")                \
	COMMAND(owners, "whose the TIME_WAIT sockets of this host are")                   \
	COMMAND(export, "the metrics for Prometheus, once, into a file")                   \
	COMMAND(serve, "a live page, metrics for Prometheus, JSON, over HTTP")             \
	COMMAND(doctor, "what is wrong, whose fault it is, and what cures it")            \
	COMMAND(policy, "check, explain, load, show and clear policies")                          \
	COMMAND(enable, "preload the shim into a systemd service, by a drop-in")            \
	COMMAND(disable, "take away what enable made")                                    \
	COMMAND(enabled, "the services that have the drop-in, and what runs of them")     \
	COMMAND(lab, "try on this kernel what is said about TIME_WAIT")
/* clang-format on */

#define COMMAND(name, help) int cmd_##name(int argc, char **argv);
COMMANDS(COMMAND)
#undef COMMAND

#endif
