/* SPDX-License-Identifier: MIT */
#include "tools/model/group.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "shim/shared/names.h"
#include "tools/base/print.h"

const char *const model_by_words[] = {"app", "exe", "unit", "container", "user", NULL};

/* The last answer is kept, because most processes in a row are of the same user. */
const char *group_user(uint32_t uid, char *buffer, size_t size)
{
	static char last[64];
	static uint32_t last_uid;
	const struct passwd *user;

	if (!*last || uid != last_uid) {
		user = getpwuid(uid);
		last_uid = uid;
		if (user)
			snprintf(last, sizeof(last), "%s", user->pw_name);
		else
			snprintf(last, sizeof(last), "%u", uid);
	}
	snprintf(buffer, size, "%s", last);
	return buffer;
}

static const char *or_none(const char *name, const char *none)
{
	return *name ? name : none;
}

const char *group_name(enum model_by by, const struct tws_header *header, char *buffer,
		       size_t size)
{
	switch (by) {
	case MODEL_BY_EXE:
		return print_base_name(header->exe);
	case MODEL_BY_UNIT:
		return or_none(header->names.unit, "(no unit)");
	case MODEL_BY_CONTAINER:
		return or_none(header->names.container, "(no container)");
	case MODEL_BY_USER:
		return group_user(header->uid, buffer, size);
	default:
		return tws_names_app(&header->names, header->exe);
	}
}

static bool is_unit_called(const char *unit, const char *word)
{
	size_t length = strlen(word);

	return length && strncmp(unit, word, length) == 0 &&
	       (!unit[length] || strcmp(unit + length, ".service") == 0);
}

bool group_is_called(const struct tws_header *header, const char *word)
{
	const struct tws_names *names = &header->names;

	return strcmp(word, tws_names_app(names, header->exe)) == 0 ||
	       strcmp(word, header->exe) == 0 ||
	       strcmp(word, print_base_name(header->exe)) == 0 ||
	       strcmp(word, names->script) == 0 || strcmp(word, names->container) == 0 ||
	       is_unit_called(names->unit, word);
}
