/* SPDX-License-Identifier: MIT */
#include "tools/advice/ways.h"

#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tools/base/version.h"
#include "tools/observe/attach.h"
#include "tools/observe/bpf_object.h"
#include "tools/observe/libbpf.h"

#define BTF "/sys/kernel/btf/vmlinux"

const char *ways_name(unsigned observer)
{
	static const char *const names[TWS_OBSERVERS] = {
	    [TWS_OBSERVER_SHIM] = "the shim",
	    [TWS_OBSERVER_BPF] = "BPF",
	    [TWS_OBSERVER_SUPERVISOR] = "a supervisor",
	};

	return names[observer];
}

static void answer(struct way *ret_way, bool sees, const char *how)
{
	ret_way->sees = sees;
	snprintf(ret_way->how, sizeof(ret_way->how), "%s", how);
}

static void decide_shim(const struct ways_facts *facts, struct way *ret_way)
{
	const struct reach *reach = facts->reach;

	if (!reach_is_reached(reach->verdict))
		answer(ret_way, false, reach->why);
	else if (facts->runs)
		answer(ret_way, true, "it has loaded it");
	else
		answer(ret_way, true, "twshim run, env and enable preload it");
}

/* The kernel does not care how a program was built, or who it becomes. */
static void decide_bpf(const struct ways_facts *facts, struct way *ret_way)
{
	if (facts->no_bpf)
		answer(ret_way, false, facts->no_bpf);
	else if (facts->runs)
		answer(ret_way, true,
		       "root's twshim watch --pid, from then on, without a restart");
	else
		answer(ret_way, true, "root's twshim run and watch");
}

static void decide_supervisor(const struct ways_facts *facts, struct way *ret_way)
{
	enum reach_verdict verdict = facts->reach->verdict;

	if (!facts->has_notify)
		answer(ret_way, false, "this kernel has no seccomp user notification");
	else if (verdict == REACH_SETID || verdict == REACH_CAPABILITIES)
		answer(ret_way, false,
		       "its filter would take the privileges away that the program "
		       "gains when it starts");
	else if (facts->runs && facts->no_attach)
		answer(ret_way, false, facts->no_attach);
	else if (facts->runs)
		answer(ret_way, true,
		       "twshim attach PID --inject, from then on; with -p a policy acts");
	else if (reach_is_reached(verdict))
		answer(ret_way, true, "twshim exec, as any user; with -p a policy acts");
	else
		answer(ret_way, true,
		       "twshim run, or twshim exec for a service, as any user; with -p "
		       "a policy acts");
}

void ways_decide(const struct ways_facts *facts, struct way ret_ways[TWS_OBSERVERS])
{
	decide_shim(facts, &ret_ways[TWS_OBSERVER_SHIM]);
	decide_bpf(facts, &ret_ways[TWS_OBSERVER_BPF]);
	decide_supervisor(facts, &ret_ways[TWS_OBSERVER_SUPERVISOR]);
	for (unsigned i = 0; i < TWS_OBSERVERS; i++)
		if (facts->now[i])
			answer(&ret_ways[i], true, "it does so now");
}

/* ------------------------------------------------------------------- this machine */

static const char *find_no_bpf(char *buffer, size_t size)
{
	if (!bpf_object_is_built())
		return VERSION_CURE(
		    "twshim was built without clang and libbpf's headers");
	if (access(BTF, F_OK) != 0)
		return "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)";
	return libbpf_load(buffer, size) == 0 ? NULL : buffer;
}

static bool find_notify(void)
{
	struct seccomp_notif_sizes sizes;

	return syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) == 0;
}

void ways_find(const struct reach *reach, pid_t process, const bool now[TWS_OBSERVERS],
	       struct way ret_ways[TWS_OBSERVERS])
{
	char buffer[WAY_SIZE], refusal[WAY_SIZE];
	bool gives_up;
	struct ways_facts facts = {
	    .reach = reach,
	    .runs = process != 0,
	    .no_bpf = find_no_bpf(buffer, sizeof(buffer)),
	    .has_notify = find_notify(),
	};

	if (process && !attach_is_allowed(process, &gives_up, refusal, sizeof(refusal)))
		facts.no_attach = refusal;
	for (unsigned i = 0; now && i < TWS_OBSERVERS; i++)
		facts.now[i] = now[i];
	ways_decide(&facts, ret_ways);
}
