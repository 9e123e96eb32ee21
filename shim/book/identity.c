/* SPDX-License-Identifier: MIT
 *
 * The IDs are checked only when a segment is made, for this reason. kill(2) looks at the
 * real and saved IDs of the thread group's leader. A leader whose IDs all name one user
 * other than root, and who lacks CAP_SETUID, stays that user until the next exec, which
 * unmaps everything. So that user may kill this process for as long as it maps the file.
 * Root's own files can be truncated only by root, whatever the process becomes.
 */
#include "shim/book/identity.h"

#include <linux/capability.h>
#include <string.h>
#include <sys/auxv.h>

#include "shim/book/self.h"
#include "shim/shared/sys.h"
#include "shim/shared/text.h"

/* The permitted capabilities of the thread group's leader; all of them if they cannot
 * be read. */
static uint64_t capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3,
						  .pid = tws_self.pid};
	struct __user_cap_data_struct data[2] = {{0}, {0}};

	if (tws_sys2(SYS_capget, &header, data) != 0)
		return UINT64_MAX;
	return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

uint32_t tws_identity_user_again(void)
{
	uint32_t real = 0, effective = 0, saved = 0;

	if (tws_sys3(SYS_getresuid, &real, &effective, &saved) != 0 ||
	    real != effective || real != saved)
		return TWS_NO_USER;
	return real;
}

static const char *find_uid_line(const char *status)
{
	const char *at = strstr(status, "\nUid:");

	return at ? at + 5 : NULL;
}

/* Whether the four IDs of the thread group's leader all name `user`. Without /proc, a
 * process that began as that user is believed. */
static bool is_leaders(uint32_t user)
{
	char status[512];
	const char *at;

	if (tws_read_file("/proc/self/status", status, sizeof(status)) < 0)
		return getauxval(AT_UID) == user && getauxval(AT_EUID) == user;
	at = find_uid_line(status);
	for (int i = 0; at && i < 4; i++) {
		at += strspn(at, " \t");
		if (tws_text_parse(at) != user)
			return false;
		at += strspn(at, "0123456789");
	}
	return at != NULL;
}

uint32_t tws_identity_user(void)
{
	uint32_t user = tws_identity_user_again();

	if (user == 0 || user == TWS_NO_USER)
		return user;
	if (capabilities() & 1ULL << CAP_SETUID)
		return TWS_NO_USER;
	if (tws_sys1(SYS_gettid, 0) != tws_self.pid && !is_leaders(user))
		return TWS_NO_USER;
	return user;
}

bool tws_identity_obeys(uint32_t user, uint32_t owner)
{
	if (owner == 0)
		return true;
	return user == owner && getauxval(AT_UID) == owner &&
	       getauxval(AT_EUID) == owner && !capabilities();
}
