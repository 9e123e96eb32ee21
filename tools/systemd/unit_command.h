/* SPDX-License-Identifier: MIT
 *
 * What the command lines of enable, disable and enabled have in common.
 */
#ifndef TWS_TOOLS_UNIT_COMMAND_H
#define TWS_TOOLS_UNIT_COMMAND_H

#include "tools/base/cli.h"
#include "tools/systemd/unit.h"

struct unit_command {
	struct unit_place place;
	bool dry, restart, json;
};

int unit_take_root(const struct cli_option *option, void *field); /* struct unit_place */

#define UNIT_DRY_OPTION(request, field, help)                                            \
	{                                                                                \
		"dry-run", 'n', NULL, help, cli_take_flag,                               \
		    .offset = offsetof(request, field.dry)                               \
	}
#define UNIT_RESTART_OPTION(request, field)                                              \
	{                                                                                \
		"restart", 0, NULL, "reload systemd and restart the unit",               \
		    cli_take_flag, .offset = offsetof(request, field.restart)            \
	}
#define UNIT_USER_OPTION(request, field, help)                                           \
	{                                                                                \
		"user", 0, NULL, help, cli_take_flag,                                    \
		    .offset = offsetof(request, field.place.user)                        \
	}
#define UNIT_ROOT_OPTION(request, field)                                                 \
	{                                                                                \
		"root", 0, "DIR", "the units of an image or a container below DIR",      \
		    unit_take_root, .offset = offsetof(request, field.place)             \
	}

/* As cli_read(), where `common` lies in `request`: also refuses options that contradict
 * each other. */
int unit_command_read(const struct cli_command *command, int argc, char **argv,
		      void *request, struct unit_command *common);

/* Reloads systemd and restarts the unit. 0, or the exit status after it has printed
 * `done` ("the drop-in is in place") and why the unit was not restarted. */
int unit_command_restart(const struct unit_command *common, const char *unit,
			 const char *done);

#endif
