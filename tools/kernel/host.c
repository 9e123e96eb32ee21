/* SPDX-License-Identifier: MIT
 *
 * Reads the files of host.def, and compares them with those of process 1's namespace.
 */
#include "tools/kernel/host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tools/kernel/kernel.h"
#include "tools/kernel/proc_file.h"

#define FILE_SIZE (64 * 1024)

static const struct {
	const char *name;
	const char *file;
	enum host_form form;
	const char *key;
} FACTS[HOST_FACTS] = {
#define HOST(name, file, form, key, help) {#name, file, HOST_FORM_##form, key},
#include "tools/kernel/host.def"
};

static const char *const FEATURES[HOST_FEATURES] = {
    [HOST_PORT_RANGE_OPTION] = "IP_LOCAL_PORT_RANGE",
    [HOST_FLAT_SCAN] = "the flat scan of ports",
    [HOST_LINGER2] = "TCP_LINGER2 = -1",
    [HOST_LATE_BIND] = "IP_BIND_ADDRESS_NO_PORT",
};

const char *host_feature_name(enum host_feature feature)
{
	return FEATURES[feature];
}

/* Counts the ports of a list that are in the range: a reserved port outside of it takes
 * nothing away. */
static uint64_t count_inside(const struct host *host, const char *list, uint64_t all)
{
	uint64_t low = host_get(host, HOST_port_low),
		 high = host_get(host, HOST_port_high);
	struct kernel_ports ports;

	if (!high || low > high || high > UINT16_MAX)
		return all;
	kernel_ports_set(&ports, (uint16_t)low, (uint16_t)high, list);
	return high - low + 1 - ports.count;
}

void host_take(struct host *host, const char *file, const char *text)
{
	struct host_value *fact;

	for (unsigned i = 0; i < HOST_FACTS; i++) {
		if (strcmp(FACTS[i].file, file) != 0)
			continue;
		fact = &host->fact[i];
		*fact = (struct host_value){.error = ENODATA};
		if (host_parse(FACTS[i].form, text, FACTS[i].key, &fact->value))
			*fact = (struct host_value){.known = HOST_KNOWN,
						    .value = fact->value};
		if (FACTS[i].form == HOST_FORM_PORTS && host_knows(host, i))
			fact->value = count_inside(host, text, fact->value);
	}
}

void host_take_error(struct host *host, const char *file, int error)
{
	for (unsigned i = 0; i < HOST_FACTS; i++)
		if (strcmp(FACTS[i].file, file) == 0)
			host->fact[i] = (struct host_value){.error = error};
}

static void read_files(struct host *host, const char *proc)
{
	char path[PATH_MAX], *buffer = malloc(FILE_SIZE);
	int error;

	for (unsigned i = 0; i < HOST_FACTS; i++) {
		if (i && strcmp(FACTS[i].file, FACTS[i - 1].file) == 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", proc, FACTS[i].file);
		error = buffer ? -proc_read(path, buffer, FILE_SIZE) : ENOMEM;
		if (error)
			host_take_error(host, FACTS[i].file, error);
		else
			host_take(host, FACTS[i].file, buffer);
	}
	free(buffer);
}

void host_read(struct host *ret_host, const char *proc)
{
	struct utsname names;
	struct stat st;

	*ret_host = (struct host){.page_size = (uint64_t)sysconf(_SC_PAGESIZE)};
	read_files(ret_host, proc ? proc : "/proc");
	if (proc)
		return;
	if (uname(&names) == 0)
		snprintf(ret_host->release, sizeof(ret_host->release), "%.63s",
			 names.release);
	if (stat("/proc/self/ns/net", &st) == 0)
		ret_host->net_namespace = st.st_ino;
}

/* -------------------------------------------------------------- process 1's namespace */

static void host_compare(struct host *host, const struct host *init)
{
	size_t used = 0;

	host->compared = (struct host_value){.known = HOST_KNOWN};
	for (unsigned i = 0; i < HOST_FACTS; i++) {
		if (strncmp(FACTS[i].file, "sys/net/ipv4/", 13) != 0 ||
		    !host_knows(host, i) || !host_knows(init, i) ||
		    host_get(host, i) == host_get(init, i))
			continue;
		host->compared.value++;
		if (used < sizeof(host->differences))
			used += (size_t)snprintf(
			    host->differences + used, sizeof(host->differences) - used,
			    "%s%s %llu (there %llu)", used ? ", " : "", FACTS[i].name,
			    (unsigned long long)host_get(host, i),
			    (unsigned long long)host_get(init, i));
	}
}

/* Enters the other namespace and comes back; /proc/sys/net shows the namespace of the
 * process that opens its files. */
static int compare_there(struct host *host, int there)
{
	struct host init = {0};
	int here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), error = 0;

	if (here < 0)
		return errno;
	if (setns(there, CLONE_NEWNET) == 0) {
		read_files(&init, "/proc");
		if (setns(here, CLONE_NEWNET) != 0)
			error = errno;
		else
			host_compare(host, &init);
	} else {
		error = errno;
	}
	close(here);
	return error;
}

void host_compare_init(struct host *host)
{
	int there = open("/proc/1/ns/net", O_RDONLY | O_CLOEXEC), error;
	struct stat st;

	host->same_as_init = (struct host_value){.error = errno};
	host->compared = (struct host_value){.error = errno};
	if (there < 0)
		return;
	if (host->net_namespace && fstat(there, &st) == 0) {
		host->same_as_init = (struct host_value){
		    .known = HOST_KNOWN, .value = st.st_ino == host->net_namespace};
		error = host->same_as_init.value ? 0 : compare_there(host, there);
		if (error)
			host->compared = (struct host_value){.error = error};
	}
	close(there);
}

/* --------------------------------------------------------------------------- questions
 */

bool host_knows(const struct host *host, enum host_fact fact)
{
	return host->fact[fact].known == HOST_KNOWN;
}

uint64_t host_get(const struct host *host, enum host_fact fact)
{
	return host_knows(host, fact) ? host->fact[fact].value : 0;
}

/* Whether the fact's sysctl belongs to the whole machine. The kernel shows it only in
 * its first network namespace. */
static bool is_machines(enum host_fact fact)
{
	return strcmp(FACTS[fact].file, "sys/net/ipv4/tcp_mem") == 0 ||
	       strcmp(FACTS[fact].file, "sys/net/ipv4/tcp_max_orphans") == 0;
}

const char *host_why(const struct host *host, enum host_fact fact, char *buffer,
		     size_t size)
{
	int error = host->fact[fact].error;

	if (error == ENODATA)
		snprintf(buffer, size, "/proc/%s has no %s", FACTS[fact].file,
			 FACTS[fact].key);
	else if (error == ENOENT && is_machines(fact))
		snprintf(buffer, size,
			 "/proc/%s can't be read in this network namespace: only the "
			 "host's has it",
			 FACTS[fact].file);
	else
		snprintf(buffer, size, "/proc/%s: %s", FACTS[fact].file,
			 error ? strerror(error) : "not read");
	return buffer;
}

uint32_t host_ports(const struct host *host)
{
	uint64_t low = host_get(host, HOST_port_low),
		 high = host_get(host, HOST_port_high);
	uint64_t reserved = host_get(host, HOST_reserved_ports);

	if (!high || low > high || high > 65535)
		return 0;
	return (uint32_t)(high - low + 1 > reserved ? high - low + 1 - reserved : 0);
}
