/* SPDX-License-Identifier: MIT
 *
 * `twshim owners` for a person: what is known, then what is not, or one line a socket.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/owners.h"
#include "tools/print.h"

#define CELL 80
#define ROWS 40

enum column { COLUMN_APP, COLUMN_PID, COLUMN_TO, COLUMN_COUNT, COLUMN_LEAVE, COLUMNS };

static const struct print_column known_columns[COLUMNS] = {
    [COLUMN_APP] = {"APPLICATION", false, false},
    [COLUMN_PID] = {"PID", false, false},
    [COLUMN_TO] = {"TO", false, false},
    [COLUMN_COUNT] = {"TIME_WAIT", true, false},
    [COLUMN_LEAVE] = {"LEAVE IN", true, false},
};

static const struct print_column unowned_columns[COLUMNS] = {
    [COLUMN_APP] = {"LOOKS", false, false},
    [COLUMN_PID] = {"LOCAL PORT", false, false},
    [COLUMN_TO] = {"REMOTE", false, false},
    [COLUMN_COUNT] = {"TIME_WAIT", true, false},
    [COLUMN_LEAVE] = {"LEAVE IN", true, false},
};

static unsigned seconds(uint32_t milliseconds)
{
	return (milliseconds + 999) / 1000;
}

static void format_leave(char *cell, const struct owners_group *group)
{
	unsigned oldest = seconds(group->oldest_leaves_ms);
	unsigned newest = seconds(group->newest_leaves_ms);

	if (oldest == newest)
		snprintf(cell, CELL, "%u s", newest);
	else
		snprintf(cell, CELL, "%u-%u s", oldest, newest);
}

/* "812", "812, exited 12 s ago", or "exited". */
static void format_pid(char *cell, const struct owners *owners,
		       const struct owners_group *group)
{
	const struct model_process *process;

	if (group->process == MODEL_NOBODY) {
		snprintf(cell, CELL, "exited");
		return;
	}
	process = &owners->model->processes[group->process];
	if (process->life == PROCESS_DEAD)
		snprintf(cell, CELL, "%d, exited %.0f s ago", (int)process->pid,
			 owners_exited_s(owners, group));
	else
		snprintf(cell, CELL, "%d", (int)process->pid);
}

static void format_app(char *cell, const struct owners *owners,
		       const struct owners_group *group)
{
	if (group->kind == OWNERS_KNOWN)
		print_escape(cell, CELL, owners->model->apps[group->app].name);
	else
		snprintf(cell, CELL, "%s",
			 group->kind == OWNERS_INCOMING ? "incoming" : "outgoing");
}

static int add_row(struct print_table *table, const struct owners *owners,
		   const struct owners_group *group)
{
	char cells[COLUMNS][CELL];

	format_app(cells[COLUMN_APP], owners, group);
	if (group->kind == OWNERS_KNOWN)
		format_pid(cells[COLUMN_PID], owners, group);
	else if (group->kind == OWNERS_INCOMING)
		snprintf(cells[COLUMN_PID], CELL, "%u", group->local_port);
	else
		snprintf(cells[COLUMN_PID], CELL, "any");
	if (group->kind == OWNERS_INCOMING)
		snprintf(cells[COLUMN_TO], CELL, "any");
	else
		print_address(cells[COLUMN_TO], &group->to);
	print_number(cells[COLUMN_COUNT], group->count);
	format_leave(cells[COLUMN_LEAVE], group);
	return print_table_add_array(table, cells[0], sizeof(cells[0]));
}

/* The groups of known owners, or the others. */
static int write_groups(const struct owners *owners, bool known, bool color)
{
	struct print_table *table =
	    print_table_new(known ? known_columns : unowned_columns, COLUMNS);
	int result = table ? 0 : -ENOMEM;
	size_t rows = 0;

	for (size_t i = 0; result == 0 && i < owners->count; i++)
		if ((owners->groups[i].kind == OWNERS_KNOWN) == known && rows++ < ROWS)
			result = add_row(table, owners, &owners->groups[i]);
	if (result == 0 && rows) {
		fputs(known ? "\n" : "\nUnowned:\n", stdout);
		print_table_write(table, stdout, 2, color);
	}
	if (rows > ROWS)
		printf("  and %zu more; --json shows all\n", rows - ROWS);
	print_table_free(table);
	return result;
}

static void write_headline(const struct owners *owners, bool color)
{
	const struct model *model = owners->model;
	char all[PRINT_NUMBER_SIZE], owned[PRINT_NUMBER_SIZE], others[PRINT_NUMBER_SIZE];

	printf("%s%s TIME_WAIT %s: %s of known applications, %s unowned%s\n",
	       print_style(PRINT_BOLD, color), print_number(all, model->kernel.time_wait),
	       print_plural(model->kernel.time_wait, "socket", "sockets"),
	       print_number(owned, model->kernel.owned),
	       print_number(others, model->kernel.unowned),
	       print_style(PRINT_PLAIN, color));
}

static void write_socket(const struct owners *owners, size_t index)
{
	const struct kernel_socket *socket = &owners->model->table.sockets[index];
	const struct owners_group *group = &owners->groups[owners->group_of[index]];
	char app[CELL], pid[CELL] = "", local[PRINT_ADDRESS_SIZE], to[PRINT_ADDRESS_SIZE];

	format_app(app, owners, group);
	if (group->kind == OWNERS_KNOWN)
		format_pid(pid, owners, group);
	printf("%5.1f  %-16s %-24s %-22s %s\n", socket->expires_ms / 1e3,
	       group->kind == OWNERS_KNOWN ? app : "-",
	       group->kind == OWNERS_KNOWN ? pid : app,
	       print_address(local, &socket->local), print_address(to, &socket->remote));
}

static void write_sockets(const struct owners *owners, bool color)
{
	printf("%s%5s  %-16s %-24s %-22s %s%s\n", print_style(PRINT_DIM, color), "LEFT",
	       "APPLICATION", "PID", "FROM", "TO", print_style(PRINT_PLAIN, color));
	for (size_t i = 0; i < owners->model->table.count; i++)
		if (owners->group_of[i] != UINT32_MAX)
			write_socket(owners, i);
}

int owners_print_text(const struct owners *owners, bool all, bool color)
{
	int result;

	if (all) {
		write_sockets(owners, color);
		return 0;
	}
	write_headline(owners, color);
	result = write_groups(owners, true, color);
	return result == 0 ? write_groups(owners, false, color) : result;
}
