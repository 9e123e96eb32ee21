/* SPDX-License-Identifier: MIT */
#include "tools/systemd/enable.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/compile.h"
#include "shim/shared/match.h"
#include "shim/shared/rundir.h"
#include "tools/systemd/dropin.h"
#include "tools/launch/library.h"
#include "config/describe.h"
#include "tools/policy/host_ports.h"

char *enable_note(struct enable_plan *plan)
{
	if (plan->note_count < ENABLE_NOTES)
		plan->note_count++;
	return plan->notes[plan->note_count - 1];
}

/* ------------------------------------------------------------------------ the user */

/* Looks in the passwd file of that root, if it is not ours. */
static bool look_up(const char *root, const char *name, struct reach_user *user)
{
	char path[PATH_MAX];
	struct passwd *entry;
	FILE *file;

	if (!*root) {
		entry = getpwnam(name);
	} else {
		snprintf(path, sizeof(path), "%s/etc/passwd", root);
		file = fopen(path, "re");
		do {
			entry = file ? fgetpwent(file) : NULL;
		} while (entry && strcmp(entry->pw_name, name) != 0);
		if (file)
			fclose(file);
	}
	if (!entry)
		return false;
	user->uid = entry->pw_uid;
	user->gid = entry->pw_gid;
	return true;
}

static void find_user(struct enable_plan *plan, const struct enable_request *request)
{
	const char *name = unit_value(&plan->unit, "User");
	char expanded[256], *end;

	plan->user_known = true;
	plan->user.no_new_privileges = unit_is_on(&plan->unit, "NoNewPrivileges");
	if (request->place.user) {
		plan->user.uid = getuid();
		plan->user.gid = getgid();
	} else if (unit_is_on(&plan->unit, "DynamicUser")) {
		/* Any user ID that is unused: the first that systemd would give. */
		plan->user.uid = plan->user.gid = 61184;
	} else if (name && unit_expand(&plan->unit, &request->place, name, expanded,
				       sizeof(expanded))) {
		plan->user.uid = (uid_t)strtoul(expanded, &end, 10);
		plan->user.gid = plan->user.uid;
		if (*end)
			plan->user_known =
			    look_up(request->place.root, expanded, &plan->user);
	} else if (name) {
		plan->user_known = false;
	}
}

/* -------------------------------------------------------------- library and twshim */

static int find_library(struct enable_plan *plan, const struct enable_request *request,
			char *ret_error, size_t size)
{
	char path[2 * PATH_MAX];

	if (!request->library && !*request->place.root)
		return library_find(plan->library, sizeof(plan->library), ret_error,
				    size);
	snprintf(plan->library, sizeof(plan->library), "%s",
		 request->library ? request->library : TWSHIM_LIBDIR "/" LIBRARY_NAME);
	if (*plan->library != '/' || !library_is_expressible(plan->library)) {
		snprintf(ret_error, size,
			 "%s: LD_PRELOAD needs an absolute path without blank, colon or "
			 "dollar sign",
			 plan->library);
		return -1;
	}
	snprintf(path, sizeof(path), "%s%s", request->place.root, plan->library);
	if (access(path, R_OK) == 0)
		return 0;
	snprintf(ret_error, size, "%s: %s: install it there, or name it with --library",
		 path, strerror(errno));
	return -1;
}

/* The twshim that the unit will run: this one, or that of its root. */
static void find_twshim(struct enable_plan *plan, const char *root)
{
	static const char *const places[] = {"/usr/local/bin/twshim", "/usr/bin/twshim"};
	char path[PATH_MAX];
	ssize_t length;

	if (!*root) {
		length =
		    readlink("/proc/self/exe", plan->twshim, sizeof(plan->twshim) - 1);
		plan->twshim[length > 0 ? length : 0] = '\0';
		return;
	}
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		snprintf(path, sizeof(path), "%s%s", root, places[i]);
		if (access(path, X_OK) == 0) {
			strcpy(plan->twshim, places[i]);
			return;
		}
	}
}

/* ----------------------------------------------------------------------- the texts */

/* As tws_policy_print_complaints() does. */
static void put_complaint(char *ret_error, size_t size,
			  const struct tws_complaint *complaint)
{
	char line[16] = "";

	if (complaint->line)
		snprintf(line, sizeof(line), ":%u", complaint->line);
	snprintf(ret_error, size, "%s%s: %s: %s", complaint->file, line,
		 complaint->problem.what, complaint->problem.cure);
}

/* Whether the unit's connections will be made among the ports that are here. */
static bool is_of_this_network(const struct enable_plan *plan,
			       const struct enable_request *request)
{
	return !*request->place.root && !unit_is_on(&plan->unit, "PrivateNetwork") &&
	       !unit_value(&plan->unit, "NetworkNamespacePath");
}

/* The image, or NULL with a reason. */
static struct tws_policy_image *compile_policy(struct enable_plan *plan,
					       const struct enable_request *request,
					       char *ret_error, size_t size)
{
	const struct tws_source *source = &request->policy.source;
	struct tws_complaints *complaints = &plan->complaints;
	struct tws_policy_image *image = tws_compile(source, complaints);

	if (image && is_of_this_network(plan, request))
		tws_policy_warn_of_host(image, source, complaints);
	for (size_t i = complaints->count; i > 0; i--)
		if (!complaints->list[i - 1].warning)
			put_complaint(ret_error, size, &complaints->list[i - 1]);
	return image;
}

/* The image does not say that its text allowed this, and the text made from it must. */
static bool resets_everything(const struct tws_policy_image *image)
{
	const struct tws_rule *rules = tws_policy_at(image, image->rules.offset);

	for (unsigned i = 0; i < image->rules.count; i++)
		if (rules[i].action.close == TWS_CLOSE_RESET &&
		    !rules[i].match.exe.count && !tws_match_asks_names(&rules[i].match) &&
		    !rules[i].match.to.count)
			return true;
	return false;
}

static char *effective_text(const struct tws_policy_image *image)
{
	char *text = tws_describe_text(image), *ret = NULL;

	if (!text || !resets_everything(image))
		return text;
	if (asprintf(&ret, "allow_everything = true;\n%s", text) < 0)
		ret = NULL;
	free(text);
	return ret;
}

/* The file as it stands, with its comments; if rules of one line come before it, the
 * policy that they make together. */
static char *policy_text(const struct tws_source *source,
			 const struct tws_policy_image *image)
{
	return source->rule_count ? effective_text(image) : unit_read_text(source->file);
}

static int read_policy(struct enable_plan *plan, const struct enable_request *request,
		       char *ret_error, size_t size)
{
	const struct tws_source *source = &request->policy.source;
	struct tws_policy_image *image;
	char *text;

	if (!policy_is_given(&request->policy))
		return 0;
	image = compile_policy(plan, request, ret_error, size);
	if (!image)
		return -1;
	text = policy_text(source, image);
	if (!text)
		snprintf(ret_error, size, "%s: %s", source->file ? source->file : "-p",
			 strerror(errno));
	free(image);
	if (text)
		plan->policy = dropin_policy_text(plan->unit.name, text);
	free(text);
	if (!plan->policy)
		return -1;
	if (*plan->twshim)
		return 0;
	snprintf(ret_error, size,
		 "%s: there is no twshim in it that could load the policy: make "
		 "install DESTDIR=%s",
		 request->place.root, request->place.root);
	return -1;
}

/* What of /run/twshim the unit must be able to write, where all is read-only for it.
 * Root's services, and those of users who are not known here, may be several users. */
static const char *find_writable(const struct enable_plan *plan, char *ret_path,
				 size_t size)
{
	const char *protect = unit_value(&plan->unit, "ProtectSystem");

	if (unit_is_on(&plan->unit, "DynamicUser") ||
	    ((!protect || strcmp(protect, "strict") != 0) &&
	     !enable_names_parent(&plan->unit, "ReadOnlyPaths", TWS_SYSTEM_DIRECTORY)))
		return NULL;
	if (!plan->user_known || plan->user.uid == 0)
		snprintf(ret_path, size, TWS_SYSTEM_DIRECTORY);
	else
		snprintf(ret_path, size, TWS_SYSTEM_DIRECTORY "/%u",
			 (unsigned)plan->user.uid);
	return ret_path;
}

static void note_dynamic(struct enable_plan *plan)
{
	if (unit_is_on(&plan->unit, "DynamicUser"))
		snprintf(
		    enable_note(plan), ENABLE_NOTE_SIZE,
		    "DynamicUser=: it publishes in /dev/shm, and systemd deletes its "
		    "counters when it stops: read the report before");
}

static int write_text(struct enable_plan *plan, const struct enable_request *request,
		      char *ret_error, size_t size)
{
	const char *policy =
	    plan->policy ? plan->policy_path + strlen(request->place.root) : NULL;
	char writable[64];
	char *lines =
	    plan->supervised ? enable_exec_text(plan, &request->place, policy) : NULL;
	struct dropin dropin = {
	    .unit = plan->unit.name,
	    .preload = plan->preload,
	    .library = plan->library,
	    .is_users = request->place.user,
	    .writable = find_writable(plan, writable, sizeof(writable)),
	    .observed = plan->observed,
	    .needs_exec_path = unit_value(&plan->unit, "NoExecPaths") != NULL,
	    .needs_netlink =
		plan->supervised && unit_value(&plan->unit, "RestrictAddressFamilies"),
	    .exec_lines = lines,
	    .twshim = plan->twshim,
	    .policy = policy,
	};

	if (!plan->observed)
		note_dynamic(plan);
	plan->dropin = plan->supervised && !lines ? NULL : dropin_text(&dropin);
	free(lines);
	if (plan->dropin)
		return 0;
	snprintf(ret_error, size, "%s", strerror(ENOMEM));
	return -1;
}

static int find_paths(struct enable_plan *plan, const struct enable_request *request,
		      char *ret_error, size_t size)
{
	char root[PATH_MAX - UNIT_NAME_SIZE - 4];

	if (!unit_dropin_root(&request->place, request->runtime, root, sizeof(root))) {
		snprintf(ret_error, size,
			 "there is no place for drop-ins: set HOME, and for --runtime "
			 "XDG_RUNTIME_DIR");
		return -1;
	}
	snprintf(plan->directory, sizeof(plan->directory), "%s/%s.d", root,
		 plan->unit.name);
	snprintf(plan->dropin_path, sizeof(plan->dropin_path), "%s/" UNIT_DROPIN_NAME,
		 plan->directory);
	snprintf(plan->policy_path, sizeof(plan->policy_path), "%s/" ENABLE_POLICY_NAME,
		 plan->directory);
	return 0;
}

int enable_plan(struct enable_plan *ret_plan, const struct enable_request *request,
		char *ret_error, size_t size)
{
	char name[UNIT_NAME_SIZE];

	*ret_plan = (struct enable_plan){0};
	if (!unit_complete_name(request->name, name)) {
		snprintf(ret_error, size,
			 "%s: not a service's name: only services have programs to "
			 "preload into",
			 request->name);
		return -1;
	}
	if (unit_load(&ret_plan->unit, &request->place, name, ret_error, size) != 0)
		return -1;
	if (strcmp(ret_plan->unit.name, name) != 0)
		snprintf(enable_note(ret_plan), ENABLE_NOTE_SIZE,
			 "%s is only another name of it", name);
	unit_environment(&ret_plan->unit, "LD_PRELOAD", ret_plan->preload,
			 sizeof(ret_plan->preload));
	find_user(ret_plan, request);
	find_twshim(ret_plan, request->place.root);
	if (find_library(ret_plan, request, ret_error, size) != 0 ||
	    find_paths(ret_plan, request, ret_error, size) != 0 ||
	    read_policy(ret_plan, request, ret_error, size) != 0 ||
	    enable_check(ret_plan, request, ret_error, size) != 0 ||
	    write_text(ret_plan, request, ret_error, size) != 0) {
		enable_plan_free(ret_plan);
		return -1;
	}
	return 0;
}

void enable_plan_free(struct enable_plan *plan)
{
	unit_free(&plan->unit);
	free(plan->dropin);
	free(plan->policy);
	tws_complaints_free(&plan->complaints);
	plan->dropin = plan->policy = NULL;
}
