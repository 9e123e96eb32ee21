/* SPDX-License-Identifier: MIT */
#include "tools/policy/host_exe.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/shared/match.h"
#include "tools/base/print.h"
#include "tools/launch/reach.h"

#define STANDARD_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define MANY	      64 /* files of one name; more are not looked at */

struct search {
	const char *glob;
	unsigned seen;
	bool matches; /* a file runs under a name that the glob matches */
	struct host_exe first;
};

static const char *how_it_leads(const struct host_exe *exe)
{
	struct stat st;

	if (exe->script)
		return "is a script";
	return lstat(exe->name, &st) == 0 && S_ISLNK(st.st_mode)
		   ? "is a symbolic link"
		   : "lies behind a symbolic link";
}

/* Finds what the kernel runs for the file. False: it is gone. */
static bool resolve(const char *name, struct host_exe *ret_exe)
{
	struct reach reach = reach_command(name, NULL);

	snprintf(ret_exe->name, sizeof(ret_exe->name), "%s", name);
	ret_exe->script = *reach.path && strcmp(reach.path, name) != 0;
	ret_exe->what = how_it_leads(ret_exe);
	return realpath(ret_exe->script ? reach.path : name, ret_exe->runs_as) != NULL;
}

static void look_at_file(struct search *search, const char *name)
{
	struct host_exe exe;

	if (search->matches || search->seen == MANY || !resolve(name, &exe))
		return;
	search->matches = tws_match_exe(search->glob, exe.runs_as);
	if (search->seen++ == 0 || (search->first.script && !exe.script))
		search->first = exe;
}

static void look_at_glob(struct search *search, const char *pattern)
{
	glob_t found;

	if (glob(pattern, 0, NULL, &found) != 0)
		return;
	for (size_t i = 0; i < found.gl_pathc; i++)
		look_at_file(search, found.gl_pathv[i]);
	globfree(&found);
}

static void look_in_path(struct search *search)
{
	const char *path = getenv("PATH");
	char *copy = strdup(path ? path : STANDARD_PATH), *rest = copy, *directory;
	char pattern[PATH_MAX];

	while (copy && (directory = strsep(&rest, ":")) != NULL) {
		if (*directory != '/' || strpbrk(directory, "*?[\\"))
			continue;
		snprintf(pattern, sizeof(pattern), "%s/%s", directory, search->glob);
		look_at_glob(search, pattern);
	}
	free(copy);
}

bool host_exe_misses(const char *glob, struct host_exe *ret_exe)
{
	struct search search = {.glob = glob};

	if (strspn(glob, "*") == strlen(glob))
		return false;
	if (*glob == '/')
		look_at_glob(&search, glob);
	else if (!strchr(glob, '/'))
		look_in_path(&search);
	if (search.matches || !search.seen)
		return false;
	*ret_exe = search.first;
	return true;
}

/* ------------------------------------------------------------------ warnings */

struct place {
	const struct tws_match *match;
	const char *file;
	unsigned line; /* 0 means unknown */
};

static void warn_of_glob(const struct place *place, const char *glob,
			 struct tws_complaints *complaints)
{
	struct tws_problem problem = {0};
	bool is_path = strchr(glob, '/');
	struct host_exe exe;

	if (!host_exe_misses(glob, &exe))
		return;
	tws_problem_what(&problem,
			 "exe = \"%.50s\" matches no program %s: %.60s %s, and runs as "
			 "%.60s",
			 glob, is_path ? "of this machine" : "in PATH", exe.name,
			 exe.what, exe.runs_as);
	if (exe.script)
		tws_problem_cure(&problem, "name the program that connects: that one, or "
					   "another that the script starts");
	else
		tws_problem_cure(&problem, "write exe = \"%s\"",
				 is_path ? exe.runs_as : print_base_name(exe.runs_as));
	tws_complain(complaints, place->file, place->line, true, &problem);
}

static void warn_of_match(const struct tws_policy_image *image, const struct place *place,
			  struct tws_complaints *complaints)
{
	const uint32_t *globs = tws_policy_at(image, place->match->exe.offset);

	for (uint32_t i = 0; i < place->match->exe.count; i++)
		warn_of_glob(place, tws_policy_at(image, globs[i]), complaints);
}

void host_exe_warn(const struct tws_policy_image *image, const struct tws_source *source,
		   struct tws_complaints *complaints)
{
	const struct tws_rule *rules = tws_policy_at(image, image->rules.offset);
	struct place place = {.match = &image->experiment.match,
			      .file = tws_source_of_experiment(source)};

	if (image->experiment.name)
		warn_of_match(image, &place, complaints);
	for (uint32_t i = 0; i < image->rules.count; i++) {
		place = (struct place){.match = &rules[i].match,
				       .file = tws_source_of_rule(source, i),
				       .line = rules[i].line};
		warn_of_match(image, &place, complaints);
	}
}
