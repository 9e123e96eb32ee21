/* SPDX-License-Identifier: MIT
 *
 * Whether a preload can reach a program, whether it does, and what to do if it cannot.
 * This looks at what the kernel and the loader look at: the executable behind a name and
 * its scripts, its format, its loader and its privileges. It starts nothing.
 */
#ifndef TWS_TOOLS_REACH_H
#define TWS_TOOLS_REACH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum reach_verdict {
	REACH_YES,	 /* the loader will load it */
	REACH_PARTLY,	 /* loaded, but it does not see everything: `why` says what */
	REACH_LOADED,	 /* a process that has loaded it */
	REACH_STATIC,	 /* statically linked: there is no loader that could load it */
	REACH_GO,	 /* makes its system calls without libc */
	REACH_LOADER,	 /* another C library's loader */
	REACH_SANITIZER, /* AddressSanitizer ends a program where it is not loaded first
			  */
	REACH_MACHINE,	 /* another machine or ELF class than the library's */
	REACH_SETID,	 /* set-user-ID or set-group-ID: the loader ignores it */
	REACH_CAPABILITIES, /* file capabilities: likewise */
	REACH_ENVIRONMENT,  /* the environment does not reach the program */
	REACH_DISABLED,	    /* TWSHIM_DISABLED is set */
	REACH_USER_IDS,	    /* a process that is of two users at once */
	REACH_NOT_LOADED,   /* a process that was started without it */
	REACH_NOT_FOUND,    /* there is no such program or process */
	REACH_NOT_PROGRAM,  /* not executable, or of an unknown format */
	REACH_UNKNOWN,	    /* could not be examined: `why` says why */
	REACH_VERDICTS
};

#define REACH_LEVELS 5 /* scripts that name scripts; the kernel follows as many */

struct reach {
	enum reach_verdict verdict;
	char path[PATH_MAX]; /* the executable that runs in the end; "": unknown */
	char why[256];	     /* a clause: "curl is statically linked" */
	char instead[256];   /* what to do; "": nothing needs to be done */
};

/* Whether the shim is, or will be, in the program, even if it does not see everything. */
bool reach_is_reached(enum reach_verdict verdict);

/* Whether a supervisor can observe a program that the shim does not reach: set-user-ID
 * ones are left alone, because a filter would take their privileges away. */
bool reach_may_be_supervised(enum reach_verdict verdict);

/* The verdict's stable name, in lower case: "static", "not-loaded". */
const char *reach_name(enum reach_verdict verdict);

/* Judges a command as execvp() would find it. `library`: the library whose machine
 * counts; NULL: ours. */
struct reach reach_command(const char *command, const char *library);

/* The user who will start a command. */
struct reach_user {
	uid_t uid;
	gid_t gid;
	bool no_new_privileges;
	const char *preload; /* its LD_PRELOAD; NULL: none, or not known */
};

/* The same for a command that another user starts in an environment of their own. */
struct reach reach_command_as(const char *command, const char *library,
			      const struct reach_user *user);

/* Judges a process: whether it has the shim and, if not, why not. */
struct reach reach_pid(pid_t pid, const char *library);

/* ------------------------------------------------------ the parts: facts, decision */

/* What an executable file says. */
struct reach_elf {
	bool is_elf;
	uint8_t class;	  /* ELFCLASS32 ... */
	uint16_t machine; /* EM_X86_64 ... */
	bool is_program;  /* executable or shared object, not a core or an object */
	bool is_go;
	bool needs_asan;       /* AddressSanitizer's runtime, as a library */
	char loader[PATH_MAX]; /* PT_INTERP; "": none */
};

/* Reads an open file. False: it is not an ELF file. */
bool reach_read_elf(int fd, struct reach_elf *ret_elf);

struct reach_facts {
	struct reach_elf elf;
	uint8_t class; /* of the library */
	uint16_t machine;
	bool has_i386;	       /* i386 programs find one of their own beside it */
	bool changes_user;     /* set-user-ID to another than ours, and it would count */
	bool changes_group;    /* likewise */
	bool gains_capability; /* file capabilities, and they would count */
	bool asan_is_first;    /* LD_PRELOAD begins with its runtime */
};

/* Decides. `name` is put into the sentences. Pure. */
void reach_decide(const struct reach_facts *facts, const char *name,
		  struct reach *ret_reach);

/* Sets the verdict, its sentence and its usual cure. */
void reach_set(struct reach *reach, enum reach_verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The first line of a script, as the kernel reads it: at most 255 bytes. */
struct reach_script {
	char interpreter[256];
	char argument[256]; /* the rest of the line, one argument; "": none */
};

/* False: it is not a script ("#!" is missing, or the interpreter's name does not fit).
 * Pure. */
bool reach_parse_script(const char *bytes, size_t length,
			struct reach_script *ret_script);

/* The name of the program that `env ARGUMENT` in a script's first line runs. NULL: it
 * cannot be told. `ret_keeps` is false if it removes LD_PRELOAD. Pure; changes
 * `argument`. */
const char *reach_parse_env(char *argument, bool *ret_keeps);

#endif
