/* SPDX-License-Identifier: MIT
 *
 * Which systemd unit an application of the ledger belongs to. The unit is no part of its
 * key: counters belong to the application, so a label that comes, goes or changes takes
 * nothing back, and costs no series.
 */
#include <stdio.h>
#include <string.h>

#include "tools/metrics/ledger.h"

static bool is_same(const struct ledger_app *app, const struct model_app *other)
{
	return !other->hidden &&
	       strncmp(other->name, app->name, sizeof(app->name) - 1) == 0;
}

/* Returns NULL if the model does not have the application. */
static const char *common_unit(const struct ledger_app *app, const struct model *model)
{
	const char *common = NULL, *unit;

	for (uint32_t i = 0; i < model->app_count; i++) {
		if (!is_same(app, &model->apps[i]))
			continue;
		unit = model->apps[i].names.unit;
		common = !common || strcmp(common, unit) == 0 ? unit : "";
	}
	return common;
}

void ledger_note_units(struct ledger *ledger, const struct model *model)
{
	struct ledger_app *app;
	const char *unit;

	for (unsigned i = 0; i < ledger->count; i++) {
		app = ledger->apps[i];
		unit = common_unit(app, model);
		if (unit)
			snprintf(app->unit, sizeof(app->unit), "%s", unit);
	}
}
