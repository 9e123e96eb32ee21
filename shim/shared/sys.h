/* SPDX-License-Identifier: MIT
 *
 * The shim's own system calls, which bypass libc. They leave errno alone, are no
 * cancellation points, take no lock and run no other preload's wrapper, so observing
 * leaves no trace in the client. All return what the kernel returns: 0 or more, or a
 * negative errno.
 */
#ifndef TWS_SHIM_SYS_H
#define TWS_SHIM_SYS_H

#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

/* Where the addresses of a program end, unless it asks mmap(2) for more; and the bits of
 * a pointer that are not part of the address. */
#if defined(__x86_64__)
#define TWS_ADDRESS_END (1UL << 47)
#define TWS_TAG_BITS	0UL
#elif defined(__aarch64__)
#define TWS_ADDRESS_END (1UL << 48)
#define TWS_TAG_BITS	(0xffUL << 56)
#elif defined(__i386__)
#define TWS_ADDRESS_END 0xffffe000UL
#define TWS_TAG_BITS	0UL
#endif

#if defined(__x86_64__)
static inline long tws_sys6(long n, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
static inline long tws_sys6(long n, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#elif defined(__i386__)
/* The sixth argument is in the register that may hold the frame. */
static inline long tws_sys6(long n, long a, long b, long c, long d, long e, long f)
{
	long ret;

	__asm__ volatile("pushl %7\n\t"
			 "pushl %%ebp\n\t"
			 "movl 4(%%esp), %%ebp\n\t"
			 "int $0x80\n\t"
			 "popl %%ebp\n\t"
			 "addl $4, %%esp"
			 : "=a"(ret)
			 : "0"(n), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), "g"(f)
			 : "memory");
	return ret;
}

/* The calls by these names are of the time of 16-bit user IDs and 32-bit files, whose
 * structures libc no longer has. mmap2() counts its offset in pages; ours are 0. */
#undef SYS_mmap
#undef SYS_fstat
#undef SYS_newfstatat
#undef SYS_fcntl
#undef SYS_fchown
#undef SYS_geteuid
#undef SYS_getresuid
#define SYS_mmap       SYS_mmap2
#define SYS_fstat      SYS_fstat64
#define SYS_newfstatat SYS_fstatat64
#define SYS_fcntl      SYS_fcntl64
#define SYS_fchown     SYS_fchown32
#define SYS_geteuid    SYS_geteuid32
#define SYS_getresuid  SYS_getresuid32
/* It has an argument more, so its tag is that of the call elsewhere, SYS_fstatfs. */
#define TWS_FSTATFS64  SYS_fstatfs64
#else
#error "twshim: this machine's system call instruction is not known to shim/shared/sys.h"
#endif

/* The number of a system call, SYS_name, is also its tag: shim/calls.awk finds it here
 * and where else a call is made, and enable and docs/trust.md have their lists from
 * there. This tags a call that is made only if a setting asks for it, or under a
 * supervisor. */
#define TWS_RARELY(number) (number)

#define TWS_ARG(x)	     ((long)(x))
#define tws_sys1(n, a)	     tws_sys6(n, TWS_ARG(a), 0, 0, 0, 0, 0)
#define tws_sys2(n, a, b)    tws_sys6(n, TWS_ARG(a), TWS_ARG(b), 0, 0, 0, 0)
#define tws_sys3(n, a, b, c) tws_sys6(n, TWS_ARG(a), TWS_ARG(b), TWS_ARG(c), 0, 0, 0)
#define tws_sys4(n, a, b, c, d)                                                          \
	tws_sys6(n, TWS_ARG(a), TWS_ARG(b), TWS_ARG(c), TWS_ARG(d), 0, 0)
#define tws_sys5(n, a, b, c, d, e)                                                       \
	tws_sys6(n, TWS_ARG(a), TWS_ARG(b), TWS_ARG(c), TWS_ARG(d), TWS_ARG(e), 0)

/* Reserves the first `size` bytes of a file. A 64-bit argument is two for a 32-bit kernel
 * interface, the lower half first. */
static inline long tws_fallocate(int fd, unsigned long size)
{
#ifdef __LP64__
	return tws_sys4(SYS_fallocate, fd, 0, 0, size);
#else
	return tws_sys6(SYS_fallocate, fd, 0, 0, 0, TWS_ARG(size), 0);
#endif
}

static inline long tws_getsockopt(int fd, int level, int name, void *value, uint32_t *len)
{
	return tws_sys5(SYS_getsockopt, fd, level, name, value, len);
}

static inline long tws_setsockopt(int fd, int level, int name, const void *value,
				  uint32_t len)
{
	return tws_sys5(SYS_setsockopt, fd, level, name, value, len);
}

/* Reads up to size - 1 bytes of a small file and ends them with a NUL. Returns how many,
 * or -errno. */
static inline long tws_read_file(const char *path, char *buffer, unsigned long size)
{
	long fd =
	    tws_sys4(SYS_openat, -100 /* AT_FDCWD */, path, 02000000 /* O_CLOEXEC */, 0);
	long length = fd;

	if (fd >= 0) {
		length = tws_sys3(SYS_read, fd, buffer, size - 1);
		tws_sys1(SYS_close, fd);
	}
	buffer[length > 0 ? length : 0] = '\0';
	return length;
}

/* The result of mmap(2) as a pointer; NULL if it failed. */
static inline void *tws_mapping(long answer)
{
	return (unsigned long)answer > -4096UL ? (void *)0 : (void *)answer;
}

/* Whether a file may grow to `size` bytes here. Beyond RLIMIT_FSIZE the call would not
 * only fail: the kernel would also send SIGXFSZ, which ends the client. */
static inline int tws_may_write(uint64_t size)
{
	uint64_t limit[2] = {0, 0};

	return tws_sys4(SYS_prlimit64, 0, 1 /* RLIMIT_FSIZE */, 0, limit) == 0 &&
	       limit[0] >= size;
}

/* A shared mapping is touched without another check if its file was seen whole within
 * this time. */
#define TWS_FRESH_NS 10000000u

#endif
