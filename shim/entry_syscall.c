/* SPDX-License-Identifier: MIT
 *
 * The exported wrapper of syscall(), which makes any of the other calls by its number.
 * Node closes its sockets in this way.
 */
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "shim/entry.h"
#include "shim/lifecycle.h"

static long call(long number, const long *a)
{
	return tws_real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static long call_connect(long number, const long *a, int address, bool sent)
{
	const struct sockaddr *to = (const struct sockaddr *)a[address];
	socklen_t length = (socklen_t)a[address + 1];
	struct tws_connecting connecting;
	long ret;

	tws_hook_connect((int)a[0], to, length, &connecting);
	ret = call(number, a);
	tws_hook_connected((int)a[0], to, length, &connecting, error_of(ret), sent);
	return ret;
}

static long call_close(long number, const long *a)
{
	struct tws_end end;
	bool ours = tws_hook_close((int)a[0], TWS_VIA_SYSCALL, &end);
	long ret = call(number, a);

	if (ours)
		tws_hook_closed(&end);
	return ret;
}

static long call_dup_over(long number, const long *a)
{
	struct tws_end end;
	long ret;

	tws_hook_overwrite((int)a[0], (int)a[1], number == SYS_dup3 ? (int)a[2] : 0,
			   &end);
	ret = call(number, a);
	tws_hook_overwritten((int)a[0], (int)a[1], (int)ret, &end);
	return ret;
}

static long call_shutdown(long number, const long *a)
{
	struct tws_conn conn;
	bool peer_first;
	long ret;

	tws_hook_shutdown((int)a[0], (int)a[1], &conn, &peer_first);
	ret = call(number, a);
	if (ret == 0)
		tws_hook_shut((int)a[0], &conn, (int)a[1], peer_first);
	return ret;
}

static bool sets_filter(long number, const long *a)
{
	return number == SYS_prctl
		   ? a[0] == PR_SET_SECCOMP
		   : a[0] == SECCOMP_SET_MODE_FILTER || a[0] == SECCOMP_SET_MODE_STRICT;
}

static long call_filter(long number, const long *a)
{
	bool retires = sets_filter(number, a) && tws_may_work();
	long ret = call(number, a);

	if (retires && ret >= 0) /* or a descriptor: the listener of the filter */
		tws_process_retire();
	return ret;
}

/* The calls that need a look before the real call. */
static bool call_around(long number, const long *a, long *ret_result)
{
	switch (number) {
	case SYS_close:
		*ret_result = call_close(number, a);
		return true;
	case SYS_connect:
		*ret_result = call_connect(number, a, 1, false);
		return true;
	case SYS_shutdown:
		*ret_result = call_shutdown(number, a);
		return true;
#ifdef SYS_dup2
	case SYS_dup2:
#endif
	case SYS_dup3:
		*ret_result = call_dup_over(number, a);
		return true;
	case SYS_prctl:
	case SYS_seccomp:
		*ret_result = call_filter(number, a);
		return true;
	case SYS_sendto:
		if (!opens_connection((int)a[0], (int)a[3]) || !a[4])
			return false;
		*ret_result = call_connect(number, a, 4, true);
		return true;
	/* These are wrapped only by name: no client is known to make them by number, nor
	 * i386's socketcall. What they do unseen is found later, as after a raw system
	 * call. */
	case SYS_sendmmsg:
	case SYS_execve:
	case SYS_execveat:
#ifdef SYS_vfork
	case SYS_vfork:
#endif
	default:
		return false;
	}
}

static void note_before(long number, const long *a)
{
	switch (number) {
	case SYS_close_range:
		tws_hook_close_range((unsigned)a[0], (unsigned)a[1], (int)a[2]);
		break;
	case SYS_exit_group:
		tws_hook_exit();
		break;
	case SYS_bind:
		tws_hook_bind((int)a[0], (const struct sockaddr *)a[1], (socklen_t)a[2]);
		break;
	case SYS_getsockname:
		tws_hook_getsockname((int)a[0]);
		break;
	case SYS_chroot:
		tws_hook_chroot();
		break;
	case SYS_clone:
		tws_hook_clone((uint64_t)a[0]);
		break;
	case SYS_clone3:
		tws_hook_clone3((const void *)a[0]);
		break;
#ifdef SYS_fork
	case SYS_fork:
		tws_process_note_fork();
		break;
	case SYS_vfork:
		tws_process_note_vfork();
		break;
#endif
	case SYS_unshare:
		if (a[0] & CLONE_FILES)
			tws_process_note_split();
		break;
	}
}

static void note_after(long number, const long *a, long ret)
{
	switch (number) {
	case SYS_socket:
		tws_hook_socket((int)ret, (int)a[0], (int)a[1], (int)a[2]);
		break;
	case SYS_accept4:
#ifdef SYS_accept
	case SYS_accept:
#endif
		tws_hook_made((int)ret, 0);
		break;
	case SYS_dup:
		tws_hook_copied((int)a[0], (int)ret);
		break;
	case SYS_fcntl:
#ifdef __i386__ /* SYS_fcntl is fcntl64 here: shim/shared/sys.h */
	case __NR_fcntl:
#endif
		note_fcntl((int)a[0], (int)a[1], a[2], (int)ret);
		break;
	case SYS_bind:
		tws_hook_bound((int)a[0], (const struct sockaddr *)a[1], (socklen_t)a[2]);
		break;
	case SYS_listen:
		tws_hook_listening((int)a[0]);
		break;
	case SYS_setsockopt:
		tws_hook_setsockopt((int)a[0], (int)a[1], (int)a[2], (const void *)a[3],
				    (socklen_t)a[4]);
		break;
	case SYS_getsockopt:
		tws_hook_getsockopt((int)a[0], (int)a[1], (int)a[2], (const void *)a[3],
				    (const socklen_t *)a[4]);
		break;
	case SYS_sendmsg:
		tws_hook_rights_sent((int)a[0], (const struct msghdr *)a[1]);
		break;
	case SYS_setuid:
	case SYS_setreuid:
	case SYS_setresuid:
	case SYS_setfsuid:
#ifdef SYS_setuid32
	case SYS_setuid32:
	case SYS_setreuid32:
	case SYS_setresuid32:
	case SYS_setfsuid32:
#endif
		tws_hook_user_changed();
		break;
	case SYS_recvmsg:
		tws_hook_rights_received((struct msghdr *)a[1]);
		break;
	}
}

long tws_wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	const long arguments[6] = {a, b, c, d, e, f};
	long ret;

	if (number == TWS_ARE_YOU_THERE)
		return TWS_I_AM;
	if (call_around(number, arguments, &ret))
		return ret;
	note_before(number, arguments);
	ret = call(number, arguments);
	if (ret < 0 && number == SYS_bind && tws_hook_bind_again((int)a, errno))
		ret = call(number, arguments);
	if (ret >= 0)
		note_after(number, arguments, ret);
	else if (number == SYS_bind)
		tws_hook_bind_failed((int)a, errno);
	return ret;
}
