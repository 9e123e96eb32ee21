/* SPDX-License-Identifier: MIT
 *
 * Classic BPF, written by hand: a program's own architecture, and on x86-64 also i386 and
 * x32, which a static program may be made for.
 */
#include "tools/observe/notify_filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define LOW_HALF 4
#else
#define LOW_HALF 0
#endif

#define ANY (-1) /* whatever the arguments are */

/* A call that is looked at: always, if one argument is a value, or has a bit. */
struct looked_at {
	uint32_t number;
	int argument; /* or ANY */
	uint32_t value;
	bool is_bit;
};

#define FAST_OPEN(number, argument)                                                      \
	{                                                                                \
		number, argument, MSG_FASTOPEN, true                                     \
	}

#if defined(__x86_64__)
#define NATIVE		   AUDIT_ARCH_X86_64
#define OTHER		   AUDIT_ARCH_I386
#define X32_MASK	   (~0x40000000u) /* x32 marks its calls with this bit */
#define SOCKETCALL_CONNECT 3
static const struct looked_at other_calls[] = {
    {362, ANY, 0, false}, {102, 0, SOCKETCALL_CONNECT, false}, /* socketcall() */
    FAST_OPEN(369, 3),	  FAST_OPEN(370, 2),
    FAST_OPEN(345, 3),	  {425, ANY, 0, false}, /* io_uring_setup() */
};
#define OTHER_COUNT (sizeof(other_calls) / sizeof(*other_calls))
#define OTHER_CLOSE 6
#define OTHER_BIND  361
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#endif

static const struct looked_at calls[] = {
    {SYS_connect, ANY, 0, false},
    FAST_OPEN(SYS_sendto, 3),
    FAST_OPEN(SYS_sendmsg, 2),
    FAST_OPEN(SYS_sendmmsg, 3),
#ifdef SYS_io_uring_setup
    {SYS_io_uring_setup, ANY, 0, false},
#endif
#if defined(__x86_64__)
    FAST_OPEN(518, 2), /* x32 has other numbers for these two */
    FAST_OPEN(538, 3),
#endif
};

struct program {
	struct sock_filter *code; /* of NOTIFY_FILTER_ROOM */
	unsigned short count;
};

static void emit(struct program *program, uint16_t code, uint32_t k, uint8_t yes,
		 uint8_t no)
{
	program->code[program->count++] = (struct sock_filter){code, yes, no, k};
}

static void emit_load(struct program *program, size_t offset)
{
	emit(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void emit_number(struct program *program)
{
	emit_load(program, offsetof(struct seccomp_data, nr));
#ifdef X32_MASK
	emit(program, BPF_ALU | BPF_AND | BPF_K, X32_MASK, 0, 0);
#endif
}

/* The accumulator holds the number before and after. */
static void emit_call(struct program *program, const struct looked_at *call)
{
	const uint16_t compare =
	    call->is_bit ? BPF_JMP | BPF_JSET | BPF_K : BPF_JMP | BPF_JEQ | BPF_K;

	if (call->argument == ANY) {
		emit(program, BPF_JMP | BPF_JEQ | BPF_K, call->number, 0, 1);
		emit(program, BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF, 0, 0);
		return;
	}
	emit(program, BPF_JMP | BPF_JEQ | BPF_K, call->number, 0, 4);
	emit_load(program,
		  offsetof(struct seccomp_data, args[call->argument]) + LOW_HALF);
	emit(program, compare, call->value, 0, 1);
	emit(program, BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF, 0, 0);
	emit(program, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
}

static void emit_calls(struct program *program, const struct looked_at *list,
		       size_t count)
{
	for (size_t i = 0; i < count; i++)
		emit_call(program, &list[i]);
}

/* Ends a block. */
static void emit_also(struct program *program, uint32_t also, uint32_t close_number,
		      uint32_t bind_number)
{
	const struct looked_at closing = {close_number, ANY, 0, false};
	const struct looked_at binding = {bind_number, ANY, 0, false};

	if (also & NOTIFY_CLOSE)
		emit_call(program, &closing);
	if (also & NOTIFY_BIND)
		emit_call(program, &binding);
	emit(program, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
}

/* A block per architecture; one that is none of ours is allowed everything. */
static void write_program(struct program *program, uint32_t also)
{
	unsigned short jump;

	emit_load(program, offsetof(struct seccomp_data, arch));
#ifdef NATIVE
	jump = program->count;
	emit(program, BPF_JMP | BPF_JEQ | BPF_K, NATIVE, 0, 0);
	emit_number(program);
	emit_calls(program, calls, sizeof(calls) / sizeof(*calls));
	emit_also(program, also, SYS_close, SYS_bind);
	program->code[jump].jf = (uint8_t)(program->count - jump - 1);
#endif
#ifdef OTHER
	jump = program->count;
	emit(program, BPF_JMP | BPF_JEQ | BPF_K, OTHER, 0, 0);
	emit_load(program, offsetof(struct seccomp_data, nr));
	emit_calls(program, other_calls, OTHER_COUNT);
	emit_also(program, also, OTHER_CLOSE, OTHER_BIND);
	program->code[jump].jf = (uint8_t)(program->count - jump - 1);
#endif
	emit(program, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
}

unsigned short notify_filter_write(uint32_t also,
				   struct sock_filter ret_code[NOTIFY_FILTER_ROOM])
{
	struct program program = {.code = ret_code};

#ifndef NATIVE
	return 0;
#endif
	write_program(&program, also);
	return program.count;
}

static int set_filter(const struct sock_fprog *filter, unsigned long flags)
{
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, filter);
}

/* A call that the supervisor has received is not begun anew by a signal (Linux 5.19). */
static int set_with_flags(const struct sock_fprog *filter)
{
	int fd = set_filter(filter,
			    NOTIFY_FILTER_FLAGS | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);

	if (fd < 0 && errno == EINVAL)
		fd = set_filter(filter, NOTIFY_FILTER_FLAGS);
	return fd < 0 ? -errno : fd;
}

int notify_filter_install(uint32_t also)
{
	struct sock_filter code[NOTIFY_FILTER_ROOM];
	struct sock_fprog filter = {notify_filter_write(also, code), code};
	int fd;

	if (!filter.len)
		return -ENOSYS;
	fd = set_with_flags(&filter);
	if (fd != -EACCES)
		return fd;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -errno;
	return set_with_flags(&filter);
}

bool notify_filter_may_connect(const struct seccomp_data *data)
{
#ifdef OTHER
	if (data->arch == OTHER)
		return data->nr != OTHER_CLOSE && data->nr != OTHER_BIND;
#endif
#ifdef X32_MASK
	return (data->nr & X32_MASK) != SYS_close && (data->nr & X32_MASK) != SYS_bind;
#else
	return data->nr != SYS_close && data->nr != SYS_bind;
#endif
}

void notify_filter_explain(char *ret_text, size_t size, int error)
{
	if (error == -EBUSY)
		snprintf(ret_text, size, "it has a filter of this kind already");
	else if (error == -ECHILD)
		snprintf(ret_text, size, "a filter of system calls forbids it");
	else if (error == -EINVAL || error == -ENOSYS)
		snprintf(ret_text, size, "seccomp user notification: Linux 5.9 has it");
	else
		snprintf(ret_text, size, "seccomp user notification: %s",
			 strerror(-error));
}
