/* SPDX-License-Identifier: MIT
 *
 * Part of twshim.bpf.c: identifies the calling process and reports it to user space
 * once.
 */
#ifndef TWS_TOOLS_OBSERVE_BPF_PROCESS_H
#define TWS_TOOLS_OBSERVE_BPF_PROCESS_H

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "tools/observe/bpf_event.h"
#include "tools/observe/bpf_kernel.h"

#define PF_KTHREAD 0x00200000

/* ------------------------------------------------------------------------------ maps */

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32); /* tgid */
	__type(value, struct bpf_process);
} processes SEC(".maps");

/* The processes in scope for BPF_SCOPE_PROCESSES. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32); /* tgid */
	__type(value, __u8);
} scoped SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 23);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bpf_losses);
} losses SEC(".maps");

const volatile struct bpf_scope scope = {};

static void note_deferred(void)
{
	__u32 zero = 0;
	struct bpf_losses *found = bpf_map_lookup_elem(&losses, &zero);

	if (found)
		__sync_fetch_and_add(&found->deferred, 1);
}

static void note_lost(void)
{
	__u32 zero = 0;
	struct bpf_losses *found = bpf_map_lookup_elem(&losses, &zero);

	if (found)
		__sync_fetch_and_add(&found->lost, 1);
}

/* ------------------------------------------------------------------------- processes */

static __always_inline bool in_scope(__u32 tgid)
{
	if (scope.kind == BPF_SCOPE_PROCESSES)
		return bpf_map_lookup_elem(&scoped, &tgid) != NULL;
	if (scope.kind == BPF_SCOPE_CGROUP)
		return bpf_get_current_ancestor_cgroup_id((int)scope.cgroup_level) ==
		       scope.cgroup;
	return true;
}

/* Collects the path components from the executable up to the root. Mount points on the
 * way leave an empty one. */
static __always_inline void read_path(struct bpf_subject *subject, struct file *exe)
{
	struct vfsmount *vfsmount = BPF_CORE_READ(exe, f_path.mnt);
	struct dentry *dentry = BPF_CORE_READ(exe, f_path.dentry), *parent;
	struct mount *mount, *above;

	mount = (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);
	for (__u32 i = 0; i < BPF_PATH_PARTS; i++) {
		subject->part[i][0] = '\0';
		subject->parts = i + 1;
		parent = BPF_CORE_READ(dentry, d_parent);
		if (dentry != parent && dentry != BPF_CORE_READ(mount, mnt.mnt_root)) {
			bpf_probe_read_kernel_str(subject->part[i], BPF_PART_SIZE,
						  BPF_CORE_READ(dentry, d_name.name));
			dentry = parent;
			continue;
		}
		above = BPF_CORE_READ(mount, mnt_parent);
		if (above == mount)
			return;
		dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		mount = above;
	}
}

static __always_inline void read_arguments(struct bpf_subject *subject,
					   struct mm_struct *mm)
{
	unsigned long start = BPF_CORE_READ(mm, arg_start);
	unsigned long length = BPF_CORE_READ(mm, arg_end) - start;

	if (length > BPF_ARGS_SIZE - 1)
		length = BPF_ARGS_SIZE - 1;
	if (bpf_probe_read_user(subject->args, length & (BPF_ARGS_SIZE - 1),
				(void *)start) == 0)
		subject->args_length = (__u32)length;
}

static __always_inline void read_pid(struct bpf_subject *subject,
				     struct task_struct *leader)
{
	struct pid *pid = BPF_CORE_READ(leader, thread_pid);
	unsigned int level = BPF_CORE_READ(pid, level);
	struct upid upid = {};
	struct upid *at = (void *)pid + bpf_core_field_offset(struct pid, numbers);

	at = (void *)at + level * bpf_core_type_size(struct upid);
	bpf_core_read(&upid.nr, sizeof(upid.nr), &at->nr);
	bpf_core_read(&upid.ns, sizeof(upid.ns), &at->ns);
	subject->pid = (__u32)upid.nr;
	subject->pid_namespace = BPF_CORE_READ(upid.ns, ns.inum);
}

/* The first thread of the process that a task counts for. One that clone(CLONE_VM |
 * CLONE_FILES) made shares the connections of its maker, as a thread does: they are
 * opened in one and closed in the other, and the shim counts them for the maker. */
static __always_inline struct task_struct *leader_of(struct task_struct *task)
{
	struct task_struct *leader = task->group_leader, *owner;

	if (task->files->count.counter == 1 ||
	    !bpf_core_field_exists(struct mm_struct, owner))
		return leader;
	owner = task->mm->owner;
	return owner && owner->files == task->files ? owner->group_leader : leader;
}

static __noinline bool tell_process(const struct bpf_process *process,
				    __u32 net_namespace)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_struct *leader = leader_of(task);
	struct task_struct *parent = BPF_CORE_READ(leader, real_parent);
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct bpf_subject *subject =
	    bpf_ringbuf_reserve(&ring, sizeof(struct bpf_subject), 0);

	if (!subject)
		return false;
	subject->kind = BPF_EVENT_PROCESS;
	subject->process = *process;
	subject->net_namespace = net_namespace;
	subject->cgroup = bpf_get_current_cgroup_id();
	subject->uid = BPF_CORE_READ(task, cred, euid.val);
	subject->parent = (__u32)BPF_CORE_READ(parent, tgid);
	subject->args_length = subject->parts = 0;
	read_pid(subject, leader);
	bpf_probe_read_kernel_str(subject->comm, BPF_COMM_SIZE, &leader->comm);
	bpf_probe_read_kernel_str(subject->parent_comm, BPF_COMM_SIZE, &parent->comm);
	if (mm) {
		read_arguments(subject, mm);
		read_path(subject, BPF_CORE_READ(mm, exe_file));
	}
	bpf_ringbuf_submit(subject, BPF_RB_FORCE_WAKEUP);
	return true;
}

/* The calling process. False: it is out of scope. */
static __always_inline bool identify_process(struct bpf_process *ret_process)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_struct *leader;

	if (task->flags & PF_KTHREAD ||
	    !in_scope((__u32)(bpf_get_current_pid_tgid() >> 32)))
		return false;
	leader = leader_of(task);
	ret_process->start_ns = leader->start_boottime;
	ret_process->image = leader->self_exec_id;
	ret_process->tgid = (__u32)leader->tgid;
	ret_process->skip = 0;
	return true;
}

static __always_inline bool is_same_process(const struct bpf_process *process,
					    const struct bpf_process *other)
{
	return process->tgid == other->tgid && process->start_ns == other->start_ns &&
	       process->image == other->image;
}

/* What is known of the same process; NULL: nothing yet. */
static __always_inline const struct bpf_process *
find_known(const struct bpf_process *process)
{
	const struct bpf_process *known = bpf_map_lookup_elem(&processes, &process->tgid);

	return known && is_same_process(known, process) ? known : NULL;
}

/* Reports the calling process to user space, once. False: it is not to be observed. */
static __always_inline bool is_to_be_observed(const struct bpf_process *process,
					      const struct bpf_process *known,
					      __u32 net_namespace)
{
	if (known)
		return !known->skip;
	if (tell_process(process, net_namespace))
		bpf_map_update_elem(&processes, &process->tgid, process, BPF_ANY);
	else
		note_deferred();
	return true;
}

static __always_inline bool find_process(struct bpf_process *ret_process,
					 __u32 net_namespace)
{
	return identify_process(ret_process) &&
	       is_to_be_observed(ret_process, find_known(ret_process), net_namespace);
}

#endif
