/* SPDX-License-Identifier: MIT
 *
 * A probe returns its verdict and, where there is more to say, fills the detail.
 */
#include "tools/features/features.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/shared/newer.h"
#include "shim/shared/rundir.h"
#include "tools/kernel/host.h"
#include "tools/kernel/kernel.h"
#include "tools/launch/library.h"
#include "tools/observe/bpf_object.h"
#include "tools/observe/cgroup.h"
#include "tools/observe/libbpf.h"
#include "tools/web/microhttpd.h"

/* What one look at the host has told, for the probes that need it. */
struct probe {
	struct host host;
	char *detail; /* of FEATURE_DETAIL_SIZE */
};

const struct feature_row feature_rows[] = {
#define GROUP(title)			  {title, FEATURES, NULL, NULL, NULL, NULL},
#define FEATURE(id, name, since, purpose) {NULL, FEATURE_##id, #id, name, since, purpose},
#include "tools/features/features.def"
};
const size_t feature_row_count = sizeof(feature_rows) / sizeof(*feature_rows);

/* The verdict on a call that returned an error (0: it succeeded), with the reason. */
static enum feature_verdict decide(struct probe *probe, int error)
{
	if (error != 0)
		snprintf(probe->detail, FEATURE_DETAIL_SIZE, "%s", strerror(error));
	return error == 0 ? FEATURE_YES : FEATURE_NO;
}

/* A descriptor, or -1 with errno: only whether there is one matters. */
static enum feature_verdict decide_fd(struct probe *probe, int fd)
{
	int error = fd < 0 ? errno : 0;

	if (fd >= 0)
		close(fd);
	return decide(probe, error);
}

/* -------------------------------------------------------------------- the host */

static enum feature_verdict from_host(struct probe *probe, enum host_feature feature)
{
	const struct host_value *value = &probe->host.feature[feature];

	if (value->known == HOST_KNOWN)
		return value->value ? FEATURE_YES : FEATURE_NO;
	snprintf(probe->detail, FEATURE_DETAIL_SIZE, "%s", strerror(value->error));
	return FEATURE_UNKNOWN;
}

static enum feature_verdict probe_linger2(struct probe *probe)
{
	return from_host(probe, HOST_LINGER2);
}

static enum feature_verdict probe_port_range_option(struct probe *probe)
{
	return from_host(probe, HOST_PORT_RANGE_OPTION);
}

static enum feature_verdict probe_flat_scan(struct probe *probe)
{
	return from_host(probe, HOST_FLAT_SCAN);
}

static enum feature_verdict probe_late_bind(struct probe *probe)
{
	return from_host(probe, HOST_LATE_BIND);
}

/* A file of /proc that is there has the feature, and its value is the detail. */
static enum feature_verdict from_fact(struct probe *probe, enum host_fact fact)
{
	const struct host_value *value = &probe->host.fact[fact];

	if (value->known == HOST_KNOWN) {
		snprintf(probe->detail, FEATURE_DETAIL_SIZE, "%llu",
			 (unsigned long long)value->value);
		return FEATURE_YES;
	}
	host_why(&probe->host, fact, probe->detail, FEATURE_DETAIL_SIZE);
	return value->error == ENOENT ? FEATURE_NO : FEATURE_UNKNOWN;
}

static enum feature_verdict probe_tw_reuse_delay(struct probe *probe)
{
	return from_fact(probe, HOST_tw_reuse_delay);
}

static enum feature_verdict probe_port_step_width(struct probe *probe)
{
	return from_fact(probe, HOST_port_step_width);
}

static enum feature_verdict probe_autobind_reuse(struct probe *probe)
{
	return from_fact(probe, HOST_autobind_reuse);
}

static enum feature_verdict probe_pressure(struct probe *probe)
{
	enum feature_verdict verdict = from_fact(probe, HOST_cpu_pressure);

	if (verdict == FEATURE_YES)
		probe->detail[0] = '\0'; /* a passing value, in hundredths */
	return verdict;
}

/* --------------------------------------------------------------------- sockets */

static enum feature_verdict probe_socket_cookie(struct probe *probe)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);
	int error = 0;

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0)
		error = errno;
	if (fd >= 0)
		close(fd);
	return decide(probe, error);
}

static enum feature_verdict probe_sock_diag(struct probe *probe)
{
	struct kernel_table table;
	int result = kernel_table_read(&table, KERNEL_STATE(TCP_LISTEN), probe->detail,
				       FEATURE_DETAIL_SIZE);

	kernel_table_free(&table);
	return result == 0 ? FEATURE_YES : FEATURE_NO;
}

static enum feature_verdict probe_destroy_group(struct probe *probe)
{
	struct kernel_listener *listener;

	if (kernel_listener_open(&listener, NULL, probe->detail, FEATURE_DETAIL_SIZE) !=
	    0)
		return FEATURE_NO;
	kernel_listener_close(listener);
	return FEATURE_YES;
}

static enum feature_verdict probe_mptcp(struct probe *probe)
{
	return decide_fd(probe,
			 socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
}

/* ------------------------------------------------------------------------- BPF */

/* A map of one number: the least that the kernel could be asked for. */
static enum feature_verdict probe_bpf(struct probe *probe)
{
	union bpf_attr map = {0};

	map.map_type = BPF_MAP_TYPE_RINGBUF;
	map.max_entries = (uint32_t)sysconf(_SC_PAGESIZE);
	return decide_fd(probe, (int)syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof(map)));
}

static enum feature_verdict probe_btf(struct probe *probe)
{
	return decide_fd(probe, open("/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC));
}

static enum feature_verdict probe_bpf_program(struct probe *probe)
{
	if (bpf_object_is_built())
		return FEATURE_YES;
	snprintf(probe->detail, FEATURE_DETAIL_SIZE,
		 "clang or libbpf's headers were missing when twshim was built");
	return FEATURE_NO;
}

static enum feature_verdict probe_libbpf(struct probe *probe)
{
	return libbpf_load(probe->detail, FEATURE_DETAIL_SIZE) == 0 ? FEATURE_YES
								    : FEATURE_NO;
}

static enum feature_verdict probe_cgroup2(struct probe *probe)
{
	int result = cgroup_root(probe->detail, FEATURE_DETAIL_SIZE);

	return result == 0 ? FEATURE_YES : decide(probe, -result);
}

static enum feature_verdict probe_user_notification(struct probe *probe)
{
	struct seccomp_notif_sizes sizes;

	return decide(
	    probe, syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) ? errno : 0);
}

/* ------------------------------------------------------- programs under the shim */

static enum feature_verdict probe_library(struct probe *probe)
{
	char error[FEATURE_DETAIL_SIZE];

	if (library_find(probe->detail, FEATURE_DETAIL_SIZE, error, sizeof(error)) == 0)
		return FEATURE_YES;
	memcpy(probe->detail, error, sizeof(error));
	return FEATURE_NO;
}

static enum feature_verdict probe_place(struct probe *probe)
{
	const char *given = getenv("TWSHIM_DIR");
	enum tws_place place = given && *given ? TWS_PLACE_GIVEN : TWS_PLACE_SYSTEM;
	int fd = tws_place_find(given ? given : "", geteuid(), false, &place);

	/* The last place is made with the first connection. */
	if (fd < 0 && fd != -ENOENT)
		return decide(probe, -fd);
	if (fd >= 0)
		close(fd);
	tws_place_path(place, given ? given : "", geteuid(), probe->detail,
		       FEATURE_DETAIL_SIZE);
	return FEATURE_YES;
}

/* No descriptor has this number: nothing is closed. */
static enum feature_verdict probe_close_range(struct probe *probe)
{
	return decide(probe, syscall(SYS_close_range, ~0u, ~0u, 0) ? errno : 0);
}

static enum feature_verdict probe_openat2(struct probe *probe)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC};

	return decide_fd(probe,
			 (int)syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how)));
}

/* ------------------------------------------------------------------ the command */

/* "always [madvise] never". */
static enum feature_verdict probe_huge_pages(struct probe *probe)
{
	static const char path[] = "/sys/kernel/mm/transparent_hugepage/enabled";
	FILE *file = fopen(path, "re");
	char text[64] = "";
	char *from, *to;

	if (!file)
		return decide(probe, errno);
	from = fgets(text, sizeof(text), file) ? strchr(text, '[') : NULL;
	to = from ? strchr(from, ']') : NULL;
	fclose(file);
	if (!to)
		return FEATURE_UNKNOWN;
	*to = '\0';
	snprintf(probe->detail, FEATURE_DETAIL_SIZE, "%s", from + 1);
	return strcmp(from + 1, "never") == 0 ? FEATURE_NO : FEATURE_YES;
}

/* In a child, which it would otherwise leave in other namespaces. */
static enum feature_verdict probe_user_namespace(struct probe *probe)
{
	int status = 0;
	pid_t child = fork();

	if (child < 0)
		return decide(probe, errno);
	if (child == 0)
		_exit(unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 ? 0 : errno);
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return FEATURE_UNKNOWN;
	return decide(probe, WEXITSTATUS(status));
}

static enum feature_verdict probe_libmicrohttpd(struct probe *probe)
{
	return web_library_load(probe->detail, FEATURE_DETAIL_SIZE) == 0 ? FEATURE_YES
									 : FEATURE_NO;
}

void features_probe(struct feature ret_features[FEATURES])
{
	static enum feature_verdict (*const probes[FEATURES])(struct probe *) = {
#define FEATURE(id, name, since, purpose) [FEATURE_##id] = probe_##id,
#include "tools/features/features.def"
	};
	struct probe probe;

	host_read(&probe.host, NULL);
	host_probe(&probe.host, true);
	for (unsigned i = 0; i < FEATURES; i++) {
		probe.detail = ret_features[i].detail;
		probe.detail[0] = '\0';
		ret_features[i].verdict = probes[i](&probe);
	}
}
