/* SPDX-License-Identifier: MIT
 *
 * Where the library is entered and left: constructor, destructor, atfork handlers.
 */
#include <dlfcn.h>

#include "shim/book/own_names.h"
#include "shim/book/self.h"
#include "shim/hooks.h"
#include "shim/policy/policy.h"
#include "shim/lifecycle.h"
#include "shim/real.h"
#include "shim/shared/clock.h"
#include "shim/shared/sys.h"

static void after_fork_in_child(void)
{
	tws_process.is_fork = true;
	if (tws_process.stage == TWS_STAGE_AT_WORK && tws_self.pid)
		tws_process_become_child((int32_t)tws_sys1(SYS_getpid, 0));
}

/* glibc links pthread_atfork() statically, and it calls __register_atfork, which
 * another libc does not have. A reference that cannot be resolved would end the
 * client, so it is weak. */
extern int __register_atfork(void (*prepare)(void), void (*parent)(void),
			     void (*child)(void), void *dso) __attribute__((weak));
extern void *__dso_handle __attribute__((visibility("hidden")));

static void register_fork(void)
{
	int (*atfork)(void (*)(void), void (*)(void), void (*)(void));

	if (__register_atfork) {
		__register_atfork(tws_process_note_fork, NULL, after_fork_in_child,
				  &__dso_handle);
		return;
	}
	atfork = (int (*)(void (*)(void), void (*)(void), void (*)(void)))(
	    uintptr_t)dlsym(RTLD_DEFAULT, "pthread_atfork");
	if (atfork)
		atfork(tws_process_note_fork, NULL, after_fork_in_child);
}

__attribute__((constructor)) static void construct(int argc, char **argv)
{
	tws_real_resolve();
	tws_own_names_begin(argc, argv);
	tws_process_begin();
	if (tws_process.stage != TWS_STAGE_AT_WORK)
		return;
	register_fork();
	tws_layers_begin();
	if (tws_process.handover[0])
		tws_hook_take_over();
}

__attribute__((destructor)) static void destruct(void)
{
	if (tws_process.stage == TWS_STAGE_AT_WORK)
		tws_hook_exit();
}
