/* SPDX-License-Identifier: MIT
 *
 * Can a preload reach this program, does it, and what to do where it can't. Looks at what
 * the kernel and the loader will look at: the executable behind a name and its scripts,
 * its format, its loader, its privileges. Starts nothing.
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
	REACH_PARTLY,	 /* loaded, but it does not see all: `why` says what */
	REACH_LOADED,	 /* a process that has it */
	REACH_STATIC,	 /* no loader that could */
	REACH_GO,	 /* makes its system calls itself */
	REACH_LOADER,	 /* another C library's loader */
	REACH_SANITIZER, /* AddressSanitizer ends a program where it is not loaded first
			  */
	REACH_MACHINE,	 /* another machine or ELF class than the library's */
	REACH_SETID,	 /* set-user-ID or set-group-ID: the loader ignores it */
	REACH_CAPABILITIES, /* file capabilities: likewise */
	REACH_ENVIRONMENT,  /* the environment that asks for it does not get there */
	REACH_DISABLED,	    /* TWSHIM_DISABLED is set */
	REACH_NOT_LOADED,   /* a process that was started without it */
	REACH_NOT_FOUND,    /* there is no such program or process */
	REACH_NOT_PROGRAM,  /* nothing that could be run, or of a format not known */
	REACH_UNKNOWN,	    /* could not be looked at: `why` says why */
	REACH_VERDICTS
};

#define REACH_LEVELS 5 /* scripts that name scripts; the kernel follows as many */

struct reach {
	enum reach_verdict verdict;
	char path[PATH_MAX]; /* of the executable that runs in the end; "" unknown */
	char why[256];	     /* a clause: "curl is statically linked" */
	char instead[256];   /* what to do; "" where nothing is to be done */
};

/* Whether the shim is, or will be, in the program (also where it does not see all). */
bool reach_is_reached(enum reach_verdict verdict);

/* The verdict's stable name, in lower case: "static", "not-loaded". */
const char *reach_name(enum reach_verdict verdict);

/* Of a command as execvp() would find it. `library`: whose machine counts; NULL: ours. */
struct reach reach_command(const char *command, const char *library);

/* As whom a command will be started. */
struct reach_user {
	uid_t uid;
	gid_t gid;
	bool no_new_privileges;
	const char *preload; /* its LD_PRELOAD; NULL: none, or not known */
};

/* The same of one that another user starts, in an environment of its own. */
struct reach reach_command_as(const char *command, const char *library,
			      const struct reach_user *user);

/* Of a process: what it has, or, if it has not, why not. */
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

/* Of an open file. False: no ELF file. */
bool reach_read_elf(int fd, struct reach_elf *ret_elf);

struct reach_facts {
	struct reach_elf elf;
	uint8_t class; /* of the library */
	uint16_t machine;
	bool changes_user;     /* set-user-ID to another than ours, and it would count */
	bool changes_group;    /* likewise */
	bool gains_capability; /* file capabilities, and they would count */
	bool asan_is_first;    /* LD_PRELOAD begins with its runtime */
};

/* Decides. `name` is put into the sentences. Pure. */
void reach_decide(const struct reach_facts *facts, const char *name,
		  struct reach *ret_reach);

/* Sets verdict and sentence and the verdict's usual cure. */
void reach_set(struct reach *reach, enum reach_verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The first line of a script, as the kernel reads it: at most 255 bytes. */
struct reach_script {
	char interpreter[256];
	char argument[256]; /* the rest of the line, one argument; "": none */
};

/* False: not a script ("#!" missing, or the interpreter's name does not fit). Pure. */
bool reach_parse_script(const char *bytes, size_t length,
			struct reach_script *ret_script);

/* What `env ARGUMENT` (of a script's first line) runs: the program's name. NULL: cannot
 * be told. `ret_keeps` is false where it takes LD_PRELOAD away. Pure; changes
 * `argument`. */
const char *reach_parse_env(char *argument, bool *ret_keeps);

#endif
