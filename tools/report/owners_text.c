/* SPDX-License-Identifier: MIT
 *
 * `twshim owners` as text: the known owners, then the unowned sockets; or one line per
 * socket.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/model/owners.h"
#include "tools/base/print.h"
#include "tools/report/text_parts.h"

#define CELL 80
#define ROWS 40

/* A line: one group, or the groups of several processes that exited. */
struct row {
	struct owners_group group;
	size_t processes;
};

enum column { COLUMN_APP, COLUMN_PID, COLUMN_TO, COLUMN_COUNT, COLUMN_LEAVE, COLUMNS };

static const struct print_column known_columns[COLUMNS] = {
    [COLUMN_APP] = {"APPLICATION", false, false, 0},
    [COLUMN_PID] = {"PID", false, false, 2},
    [COLUMN_TO] = {"TO", false, false, 0},
    [COLUMN_COUNT] = {"TIME_WAIT", true, false, 0},
    [COLUMN_LEAVE] = {"LEAVE IN", true, false, 1},
};

static const struct print_column incoming_columns[COLUMNS] = {
    [COLUMN_APP] = {"APPLICATION", false, false, 0},
    [COLUMN_PID] = {"PID", false, false, 2},
    [COLUMN_TO] = {"LOCAL PORT", false, false, 0},
    [COLUMN_COUNT] = {"TIME_WAIT", true, false, 0},
    [COLUMN_LEAVE] = {"LEAVE IN", true, false, 1},
};

static const struct print_column unowned_columns[COLUMNS] = {
    [COLUMN_APP] = {"DIRECTION", false, false, 0},
    [COLUMN_PID] = {"LOCAL PORT", false, false, 0},
    [COLUMN_TO] = {"REMOTE", false, false, 0},
    [COLUMN_COUNT] = {"TIME_WAIT", true, false, 0},
    [COLUMN_LEAVE] = {"LEAVE IN", true, false, 1},
};

/* The groups of one table each. */

static const struct {
	const struct print_column *columns;
	const char *title;
} parts[OWNERS_PARTS] = {
    [OWNERS_PART_KNOWN] = {known_columns, ""},
    [OWNERS_PART_INCOMING] = {incoming_columns, "Incoming connections of:\n"},
    [OWNERS_PART_UNOWNED] = {unowned_columns, "Unowned:\n"},
};

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
	else if (*group->listener_name)
		print_escape(cell, CELL, group->listener_name);
	else
		snprintf(cell, CELL, "%s",
			 group->kind == OWNERS_INCOMING ? "incoming" : "outgoing");
}

static int add_owner_row(struct print_table *table, const struct owners *owners,
			 const struct row *row)
{
	const struct owners_group *group = &row->group;
	char cells[COLUMNS][CELL];

	format_app(cells[COLUMN_APP], owners, group);
	if (row->processes > 1)
		snprintf(cells[COLUMN_PID], CELL, "%zu processes, exited",
			 row->processes);
	else if (group->kind == OWNERS_KNOWN)
		format_pid(cells[COLUMN_PID], owners, group);
	else if (group->has_listener && group->listener)
		snprintf(cells[COLUMN_PID], CELL, "%d", (int)group->listener);
	else if (group->has_listener)
		snprintf(cells[COLUMN_PID], CELL, "?");
	else if (group->kind == OWNERS_INCOMING)
		snprintf(cells[COLUMN_PID], CELL, "%u", group->local_port);
	else
		snprintf(cells[COLUMN_PID], CELL, "any");
	if (group->has_listener)
		snprintf(cells[COLUMN_TO], CELL, "%u", group->local_port);
	else if (group->kind == OWNERS_INCOMING)
		snprintf(cells[COLUMN_TO], CELL, "any");
	else
		print_address(cells[COLUMN_TO], &group->to);
	print_number(cells[COLUMN_COUNT], group->count);
	report_text_leave(cells[COLUMN_LEAVE], CELL, group->oldest_leaves_ms,
			  group->newest_leaves_ms);
	return print_table_add_array(table, cells[0], sizeof(cells[0]));
}

static bool has_exited(const struct owners *owners, const struct owners_group *group)
{
	return group->process == MODEL_NOBODY ||
	       owners->model->processes[group->process].life == PROCESS_DEAD;
}

static int by_place(const void *a, const void *b)
{
	const struct owners_group *one = &((const struct row *)a)->group;
	const struct owners_group *other = &((const struct row *)b)->group;

	if (one->app != other->app)
		return one->app < other->app ? -1 : 1;
	return memcmp(&one->to, &other->to, sizeof(one->to));
}

static int by_count(const void *a, const void *b)
{
	uint64_t one = ((const struct row *)a)->group.count;
	uint64_t other = ((const struct row *)b)->group.count;

	return one < other ? 1 : one > other ? -1 : by_place(a, b);
}

static void add_up(struct row *sum, const struct row *one)
{
	sum->processes += one->processes;
	sum->group.count += one->group.count;
	if (one->group.oldest_leaves_ms < sum->group.oldest_leaves_ms)
		sum->group.oldest_leaves_ms = one->group.oldest_leaves_ms;
	if (one->group.newest_leaves_ms > sum->group.newest_leaves_ms)
		sum->group.newest_leaves_ms = one->group.newest_leaves_ms;
}

/* Merges the rows of exited processes with the same application and destination, because
 * a storm of short processes would fill the table. Returns the new number of rows. */
static size_t fold_exited(const struct owners *owners, struct row *rows, size_t count)
{
	struct row *last = NULL; /* the last row of exited processes */
	size_t kept = 0;

	qsort(rows, count, sizeof(*rows), by_place);
	for (size_t i = 0; i < count; i++) {
		bool exited = has_exited(owners, &rows[i].group);

		if (exited && last && by_place(last, &rows[i]) == 0) {
			add_up(last, &rows[i]);
			continue;
		}
		rows[kept] = rows[i];
		if (exited)
			last = &rows[kept];
		kept++;
	}
	qsort(rows, kept, sizeof(*rows), by_count);
	return kept;
}

/* Returns the groups of a table, most sockets first. The caller frees them. NULL: out of
 * memory. */
static struct row *rows_of(const struct owners *owners, enum owners_part part,
			   size_t *ret_count)
{
	struct row *rows = calloc(owners->count + 1, sizeof(*rows));
	size_t count = 0;

	for (size_t i = 0; rows && i < owners->count; i++)
		if (owners_part_of(&owners->groups[i]) == part)
			rows[count++] = (struct row){owners->groups[i], 1};
	*ret_count = rows && part == OWNERS_PART_KNOWN && count > ROWS
			 ? fold_exited(owners, rows, count)
			 : count;
	return rows;
}

static int write_groups(const struct owners *owners, enum owners_part part, bool color)
{
	struct print_table *table = print_table_new(parts[part].columns, COLUMNS);
	size_t count;
	struct row *rows = rows_of(owners, part, &count);
	int result = table && rows ? 0 : -ENOMEM;

	for (size_t i = 0; result == 0 && i < count && i < ROWS; i++)
		result = add_owner_row(table, owners, &rows[i]);
	if (result == 0 && count) {
		printf("\n%s", parts[part].title);
		print_table_write(table, stdout, 2, color);
	}
	if (result == 0 && count > ROWS)
		printf("  and %zu more; --json shows all\n", count - ROWS);
	free(rows);
	print_table_free(table);
	return result;
}

static void write_headline(const struct owners *owners, bool color)
{
	const struct model *model = owners->model;
	char all[PRINT_NUMBER_SIZE], owned[PRINT_NUMBER_SIZE], others[PRINT_NUMBER_SIZE];
	char incoming[PRINT_NUMBER_SIZE + 16] = "", text[256];

	if (model->kernel.incoming) {
		print_number(incoming, model->kernel.incoming);
		strcat(incoming, " incoming, ");
	}
	snprintf(text, sizeof(text),
		 "%s TIME_WAIT %s: %s from known applications, %s%s from programs not "
		 "running under twshim%s",
		 print_number(all, model->kernel.time_wait),
		 print_plural(model->kernel.time_wait, "socket", "sockets"),
		 print_number(owned, model->kernel.owned), incoming,
		 print_number(others, model->kernel.unowned),
		 geteuid() ? " (or of users that you can't read)" : "");
	fputs(print_style(PRINT_BOLD, color), stdout);
	print_wrapped(stdout, text, 0, INT_MAX);
	fputs(print_style(PRINT_PLAIN, color), stdout);
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
	int result = 0;

	if (all) {
		write_sockets(owners, color);
		return 0;
	}
	write_headline(owners, color);
	for (enum owners_part part = 0; result == 0 && part < OWNERS_PARTS; part++)
		result = write_groups(owners, part, color);
	return result;
}
