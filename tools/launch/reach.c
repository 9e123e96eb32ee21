/* SPDX-License-Identifier: MIT
 *
 * The decision whether a preload reaches a program, and the sentences that explain it.
 */
#include "tools/launch/reach.h"

#include <elf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tools/base/print.h"

/* Who sees a program all the same. */
#define OBSERVED_BY_RUN                                                                  \
	"twshim run -- COMMAND observes it without the shim (root: through the kernel; " \
	"other users, and with -p: by a supervisor); if it runs already, root's twshim " \
	"watch does"

static const struct {
	const char *name;
	const char *instead;
	bool reached;
} VERDICTS[REACH_VERDICTS] = {
    [REACH_YES] = {"yes", "", true},
    [REACH_PARTLY] = {"partly", "", true},
    [REACH_LOADED] = {"loaded", "", true},
    [REACH_STATIC] = {"static", OBSERVED_BY_RUN, false},
    [REACH_GO] = {"go",
		  OBSERVED_BY_RUN "; in its code, look at http.Transport's "
				  "MaxIdleConnsPerHost, which is 2 unless set",
		  false},
    [REACH_LOADER] = {"loader",
		      OBSERVED_BY_RUN "; or use a build of it for glibc or musl", false},
    [REACH_SANITIZER] = {"sanitizer",
			 "name its runtime first, and the shim is added behind it: "
			 "LD_PRELOAD=$(gcc -print-file-name=libasan.so) twshim run "
			 "-- COMMAND",
			 false},
    [REACH_MACHINE] = {"machine", "build libtwshim.so for that machine: make CC=...",
		       false},
    [REACH_SETID] = {"setid",
		     "start twshim behind it, as the user that it becomes: sudo twshim "
		     "run -- COMMAND",
		     false},
    [REACH_CAPABILITIES] = {"capabilities",
			    "run it as root, for whom they do not count, or give it "
			    "ambient capabilities instead: setpriv --ambient-caps",
			    false},
    [REACH_ENVIRONMENT] = {"environment", "start twshim behind it, or take that away",
			   false},
    [REACH_DISABLED] = {"disabled", "unset TWSHIM_DISABLED", false},
    [REACH_USER_IDS] =
	{"user-ids",
	 "start it as the user that it becomes (User= in a systemd unit, or "
	 "runuser -u USER -- COMMAND); root's twshim watch sees it as it is",
	 false},
    [REACH_NOT_LOADED] = {"not-loaded",
			  "restart it under twshim run, or with the environment that "
			  "twshim env prints; root's twshim watch sees it as it is",
			  false},
    [REACH_NOT_FOUND] = {"not-found", "", false},
    [REACH_NOT_PROGRAM] = {"not-program", "", false},
    [REACH_UNKNOWN] = {"unknown", "ask again as root", false},
};

bool reach_is_reached(enum reach_verdict verdict)
{
	return VERDICTS[verdict].reached;
}

bool reach_may_be_supervised(enum reach_verdict verdict)
{
	return verdict == REACH_STATIC || verdict == REACH_GO ||
	       verdict == REACH_LOADER || verdict == REACH_SANITIZER ||
	       verdict == REACH_MACHINE || verdict == REACH_ENVIRONMENT;
}

const char *reach_name(enum reach_verdict verdict)
{
	return VERDICTS[verdict].name;
}

void reach_set(struct reach *reach, enum reach_verdict verdict, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reach->why, sizeof(reach->why), format, arguments);
	va_end(arguments);
	reach->verdict = verdict;
	snprintf(reach->instead, sizeof(reach->instead), "%s", VERDICTS[verdict].instead);
}

static bool begins(const char *string, const char *start)
{
	return strncmp(string, start, strlen(start)) == 0;
}

static bool is_musl_loader(const char *path)
{
	return begins(print_base_name(path), "ld-musl-");
}

/* The loaders that can load the shim, of all machines: glibc's ld-linux-x86-64.so.2,
 * ld64.so.2, ld.so.1, and musl's ld-musl-x86_64.so.1, for which the shim that was built
 * for glibc will do: it needs nothing that musl lacks. */
static bool is_known_loader(const char *path)
{
	const char *name = print_base_name(path);

	return begins(name, "ld-linux") || begins(name, "ld64.so") ||
	       begins(name, "ld.so") || is_musl_loader(name);
}

static const char *machine_name(uint16_t machine, uint8_t class)
{
	switch (machine) {
	case EM_X86_64:
		return class == ELFCLASS32 ? "x32" : "x86-64";
	case EM_386:
		return "i386";
	case EM_AARCH64:
		return "aarch64";
	case EM_ARM:
		return "arm";
	case EM_RISCV:
		return "riscv";
	case EM_PPC64:
		return "ppc64";
	case EM_S390:
		return "s390";
	default:
		return "another machine";
	}
}

static bool decide_privileges(const struct reach_facts *facts, const char *name,
			      struct reach *ret)
{
	if (facts->changes_user || facts->changes_group)
		reach_set(ret, REACH_SETID,
			  "%s is set-%s-ID, and the loader ignores LD_PRELOAD", name,
			  facts->changes_user ? "user" : "group");
	else if (facts->gains_capability)
		reach_set(ret, REACH_CAPABILITIES,
			  "%s has file capabilities, and the loader ignores LD_PRELOAD",
			  name);
	else
		return false;
	return true;
}

/* The library of i386 programs is found through glibc's $LIB. */
static bool has_library(const struct reach_facts *facts)
{
	if (facts->elf.class == facts->class && facts->elf.machine == facts->machine)
		return true;
	return facts->has_i386 && facts->elf.machine == EM_386 &&
	       !is_musl_loader(facts->elf.loader);
}

static void decide_loader(const struct reach_facts *facts, const char *name,
			  struct reach *ret)
{
	const char *loader = facts->elf.loader;

	if (!*loader && !is_known_loader(name))
		reach_set(ret, REACH_STATIC,
			  "%s is statically linked, and no loader reads LD_PRELOAD",
			  name);
	else if (!has_library(facts))
		reach_set(ret, REACH_MACHINE, "%s is a program for %s, the shim for %s",
			  name, machine_name(facts->elf.machine, facts->elf.class),
			  machine_name(facts->machine, facts->class));
	else if (*loader && !is_known_loader(loader))
		reach_set(ret, REACH_LOADER,
			  "%s is loaded by %.64s, not by glibc's or musl's loader", name,
			  print_base_name(loader));
	else if (facts->elf.needs_asan && !facts->asan_is_first)
		reach_set(ret, REACH_SANITIZER,
			  "%s is built with AddressSanitizer, which ends the program "
			  "where another library is preloaded before its own",
			  name);
	else if (begins(name, "php"))
		reach_set(ret, REACH_PARTLY,
			  "%s loads its curl extension with RTLD_DEEPBIND, past any "
			  "preload",
			  name);
	else
		reach_set(ret, REACH_YES, "%s is a dynamically linked program", name);
}

void reach_decide(const struct reach_facts *facts, const char *path,
		  struct reach *ret_reach)
{
	char name[80];

	snprintf(name, sizeof(name), "%s", print_base_name(path));
	if (decide_privileges(facts, name, ret_reach))
		return;
	if (!facts->elf.is_elf || !facts->elf.is_program)
		reach_set(ret_reach, REACH_NOT_PROGRAM,
			  "%s is neither a program nor a "
			  "script",
			  name);
	else if (facts->elf.is_go)
		reach_set(ret_reach, REACH_GO, "%s is a Go program, which bypasses libc",
			  name);
	else
		decide_loader(facts, name, ret_reach);
	if (ret_reach->verdict == REACH_PARTLY)
		snprintf(ret_reach->instead, sizeof(ret_reach->instead),
			 "set deepbind = \"strip\" in its policy");
}
