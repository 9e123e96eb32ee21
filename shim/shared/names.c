/* SPDX-License-Identifier: MIT
 *
 * Units and containers from the paths of control groups, and which name comes first. The
 * script is in names_script.c.
 */
#include "shim/shared/names.h"

#include <string.h>

#include "shim/shared/match.h"

#define ID_DIGITS 64 /* of a container's ID */
#define SHORT_ID  12

void tws_names_set(char *name, size_t size, const char *text, size_t length)
{
	if (length > size - 1) {
		length = size - 1;
		while (length && ((unsigned char)text[length] & 0xc0) == 0x80)
			length--;
	}
	memcpy(name, text, length);
	name[length] = '\0';
}

/* ------------------------------------------------------ unit and container */

/* A part of a path, without a NUL at its end. */
struct word {
	const char *text; /* NULL: there is none */
	size_t length;
};

static const char *const engines[] = {"containerd.service",
				      "docker.service",
				      "crio.service",
				      "podman.service",
				      "kubelet*",
				      "k3s*",
				      "rke2*",
				      "snap.*",
				      NULL};

static const char *const launchers[] = {"cron.service",
					"crond.service",
					"anacron.service",
					"atd.service",
					"ssh.service",
					"sshd.service",
					"sshd@*.service",
					"ssh@*.service",
					"getty@*",
					"serial-getty@*",
					"console-getty*",
					"container-getty@*",
					"run-[pru]*[0-9a-f].service",
					NULL};

static bool is_one_of(const char *const *globs, const char *name)
{
	for (; *globs; globs++)
		if (tws_match_glob(*globs, name))
			return true;
	return false;
}

static bool is_hexadecimal(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!text[i] || !strchr("0123456789abcdef", text[i]))
			return false;
	return true;
}

static bool begins_with(struct word word, const char *prefix)
{
	return word.length > strlen(prefix) && !memcmp(word.text, prefix, strlen(prefix));
}

static bool ends_with(struct word word, const char *suffix)
{
	size_t length = strlen(suffix);

	return word.length > length &&
	       !memcmp(word.text + word.length - length, suffix, length);
}

static struct word without(struct word word, size_t before, size_t after)
{
	return (struct word){word.text + before, word.length - before - after};
}

/* The ID at the end of docker-ID.scope, cri-containerd-ID.scope, libpod-ID, a:b:ID or ID.
 * The process that watches a container (conmon) is not in it. */
static struct word id_of(struct word component)
{
	const char *id;

	if (ends_with(component, ".scope"))
		component = without(component, 0, 6);
	if (component.length < ID_DIGITS)
		return (struct word){NULL, 0};
	id = component.text + component.length - ID_DIGITS;
	if (!is_hexadecimal(id, ID_DIGITS) ||
	    (id > component.text && id[-1] != '-' && id[-1] != ':') ||
	    begins_with(component, "libpod-conmon-") ||
	    begins_with(component, "crio-conmon-"))
		return (struct word){NULL, 0};
	return (struct word){id, SHORT_ID};
}

static bool is_word(struct word word, const char *text)
{
	return word.length == strlen(text) && !memcmp(word.text, text, word.length);
}

static struct word container_of(struct word component, struct word parent)
{
	if (begins_with(component, "lxc.payload."))
		return without(component, 12, 0);
	if (is_word(parent, "lxc") || is_word(parent, "lxc.payload"))
		return component;
	if (begins_with(component, "machine-") && ends_with(component, ".scope"))
		return without(component, 8, 6);
	return id_of(component);
}

/* systemd writes a byte that it does not allow in a name as \xHH. */
static void set_unescaped(char *name, size_t size, struct word word)
{
	static const char digits[] = "0123456789abcdef";
	size_t length = 0;

	for (size_t i = 0; i < word.length && length < size - 1; i++) {
		const char *at = word.text + i;

		if (i + 3 < word.length && at[0] == '\\' && at[1] == 'x' &&
		    is_hexadecimal(at + 2, 2)) {
			name[length++] = (char)((strchr(digits, at[2]) - digits) * 16 +
						(strchr(digits, at[3]) - digits));
			i += 3;
		} else {
			name[length++] = *at;
		}
	}
	name[length] = '\0';
}

static bool is_unit(struct word component)
{
	return ends_with(component, ".service") && !begins_with(component, "user@") &&
	       !begins_with(component, "session-");
}

/* One path: the last unit and the last container in it. An engine's own unit is not the
 * unit of what runs in its containers. */
static void take_path(struct tws_names *names, const char *path, size_t length)
{
	struct word parent = {"", 0}, unit = {NULL, 0}, container = {NULL, 0};
	const char *end = path + length;

	while (path < end) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		struct word component = {path, (size_t)((slash ? slash : end) - path)};
		struct word found = container_of(component, parent);

		if (is_unit(component))
			unit = component;
		if (found.length)
			container = found;
		parent = component;
		path = slash ? slash + 1 : end;
	}
	if (unit.text && !names->unit[0])
		tws_names_set(names->unit, sizeof(names->unit), unit.text, unit.length);
	if (container.text && !names->container[0])
		set_unescaped(names->container, sizeof(names->container), container);
	if (unit.text && container.text > unit.text && is_one_of(engines, names->unit))
		names->unit[0] = '\0';
}

void tws_names_cgroup(struct tws_names *names, const char *cgroup)
{
	static const char deleted[] = " (deleted)";

	names->unit[0] = names->container[0] = '\0';
	while (*cgroup) {
		size_t length = strcspn(cgroup, "\n");
		const char *end = cgroup + length;
		const char *path = memchr(cgroup, ':', length);

		if (path)
			path = memchr(path + 1, ':', (size_t)(end - path - 1));
		if (path) {
			struct word word = {path + 1, (size_t)(end - path - 1)};

			if (ends_with(word, deleted))
				word = without(word, 0, sizeof(deleted) - 1);
			take_path(names, word.text, word.length);
		}
		cgroup = *end ? end + 1 : end;
	}
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

const char *tws_names_app(const struct tws_names *names, const char *exe)
{
	if (names->given[0])
		return names->given;
	if (names->unit[0] && !is_one_of(launchers, names->unit))
		return names->unit;
	if (names->container[0])
		return names->container;
	return names->script[0] ? names->script : base_name(exe);
}
