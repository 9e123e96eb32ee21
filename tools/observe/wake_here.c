/* SPDX-License-Identifier: MIT */
#include "tools/observe/wake_here.h"

#include <linux/seccomp.h>
#include <sys/ioctl.h>

#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1ul
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS	   SECCOMP_IOW(4, __u64)
#endif

#define IN_A_ROW 64 /* calls of one thread, until it is taken for the only one */

static void set(struct wake_place *place, bool on)
{
	if (place->on != on)
		ioctl(place->listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS,
		      on ? SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP : 0ul);
	place->on = on;
}

static struct wake_place *place_of(struct wake_here *wake, int listener)
{
	return &wake->place[(unsigned)listener % WAKE_PLACES];
}

void wake_here_note(struct wake_here *wake, int listener, pid_t thread)
{
	struct wake_place *place = place_of(wake, listener);

	if (place->thread == thread && place->listener == listener) {
		if (!place->on && ++place->in_a_row == IN_A_ROW)
			set(place, true);
		return;
	}
	set(place, false);
	*place = (struct wake_place){.listener = listener, .thread = thread};
}

void wake_here_drop(struct wake_here *wake, int listener)
{
	struct wake_place *place = place_of(wake, listener);

	if (place->listener == listener)
		*place = (struct wake_place){0};
}
