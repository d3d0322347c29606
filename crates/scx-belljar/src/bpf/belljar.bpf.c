/*
 * A small scheduler that is fair and quick to recover, with faults that the loader can switch on.
 *
 * Healthy, it is a queue for the whole machine, ordered by virtual time: a task is charged for the
 * CPU time that it used, divided by its weight, and whoever has been charged least goes next. A
 * task that wakes up finds an idle CPU first, and then skips the queue. Everything below `if
 * (...)` on one of the constants of the loader is a fault.
 */
#include "scx.h"

/* As the kernel asks of programs that call functions of sched_ext. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";

enum {
	/* Runnable tasks, by virtual time. */
	DSQ_SHARED = 0,
	/* Tasks that a fault holds back, by the time at which it lets go of them. */
	DSQ_PARKED = 1,
	TICK_NS = 1000 * 1000,
	CGROUP_DEPTH_MAX = 8,
	COMM_LEN = 16,
	CGROUP_LEN = 64,
	REASON_LEN = 128,
	MESSAGE_LEN = 1024,
	DUMP_LEN = 32768,
};

/* Times are compared by their difference: the one that is after all others. */
#define NEVER (~0ULL >> 1)

/* Whom a fault is for. Kernel threads and the loader never belong to it. */
struct selector {
	/* The beginning of the task's name; zero bytes to its end. */
	char comm[COMM_LEN];
	/* The name of its cgroup, or of one above that; empty for any. */
	u64 cgroup[CGROUP_LEN / 8];
	u32 comm_len;
	/* Of these only every so manieth, by thread id. */
	u32 one_in;
	/* Whether the fault is on at all. */
	u32 on;
};

/* Set by the loader before the program is verified, so that what is off costs nothing. */
const volatile u64 slice_ns = 5000000;
const volatile s32 loader_tgid = 0;
const volatile struct selector stalled = {};
const volatile struct selector starved = {};
const volatile u64 starve_ns = 0;
/* Whom the faults below are for. */
const volatile struct selector only = {};
const volatile u32 lose_every = 0;
const volatile u64 lose_ns = 0;
const volatile u32 unfair_factor = 1;
const volatile s32 one_cpu = -1;
const volatile bool bounce = false;
const volatile bool wrong_cpu = false;
const volatile bool keep_last = false;
const volatile u64 error_after_ns = 0;
const volatile bool reject = false;

/* What the loader shows. */
struct counters {
	u64 direct;
	u64 queued;
	u64 parked;
	u64 released;
	u64 steered;
} stats;

/* How it ended, as the kernel says; `kind` is written last. */
struct outcome {
	s64 code;
	char reason[REASON_LEN];
	char message[MESSAGE_LEN];
	char dump[DUMP_LEN];
	u32 kind;
} outcome;

/* The virtual time of the task that started to run last. */
static u64 virtual_now;
static u64 error_at;

struct task {
	u64 vtime;
	/* Its CPU time when it began to run. */
	u64 ran_ns;
	u64 wakeups;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task);
} tasks SEC(".maps");

struct timer {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct timer);
} timers SEC(".maps");

/* Has something in it when the scheduler has ended. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} doorbell SEC(".maps");

#define COUNT(what) __sync_fetch_and_add(&stats.what, 1)

static __always_inline bool in_cgroup(const volatile struct selector *who, struct task_struct *p)
{
	struct cgroup *cgroup = BPF_CORE_READ(p, cgroups, dfl_cgrp);

	for (int level = 0; level < CGROUP_DEPTH_MAX && cgroup; level++) {
		const char *name = BPF_CORE_READ(cgroup, kn, name);
		u64 words[CGROUP_LEN / 8] = {};
		u64 differ = 0;

		bpf_probe_read_kernel_str(words, sizeof(words), name);
		for (int i = 0; i < CGROUP_LEN / 8; i++)
			differ |= words[i] ^ who->cgroup[i];
		/* What stands behind the end of a name is not part of it: words are zero there. */
		if (!differ)
			return true;
		cgroup = (struct cgroup *)BPF_CORE_READ(cgroup, self.parent);
	}
	return false;
}

static __always_inline bool chosen(const volatile struct selector *who, struct task_struct *p)
{
	if (!who->on || p->flags & PF_KTHREAD || p->tgid == loader_tgid)
		return false;
	if (who->one_in > 1 && (u32)p->pid % who->one_in)
		return false;
	if (who->comm_len) {
		char comm[COMM_LEN] = {};

		bpf_probe_read_kernel(comm, sizeof(comm), p->comm);
		for (u32 i = 0; i < COMM_LEN; i++)
			if (i < who->comm_len && comm[i] != who->comm[i])
				return false;
	}
	return !who->cgroup[0] || in_cgroup(who, p);
}

static __always_inline struct task *task_of(struct task_struct *p)
{
	return bpf_task_storage_get(&tasks, p, 0, 0);
}

/* Whether a fault wants to be asked about each of the task's turns. */
static __always_inline bool disturbed(struct task_struct *p)
{
	return chosen(&stalled, p) || chosen(&starved, p) ||
	       ((lose_every || one_cpu >= 0 || bounce) && chosen(&only, p));
}

/* Holds the task back until then. */
static __always_inline void park(struct task_struct *p, u64 until_ns)
{
	struct scx_bpf_dsq_insert_vtime_args args = {
		.dsq_id = DSQ_PARKED,
		.slice = slice_ns,
		.vtime = until_ns,
	};

	COUNT(parked);
	__scx_bpf_dsq_insert_vtime(p, &args);
}

/* Wakes an idle CPU that may run the task. */
static __always_inline void kick_idle(const struct cpumask *allowed)
{
	s32 cpu = scx_bpf_pick_idle_cpu(allowed, 0);

	if (cpu >= 0)
		scx_bpf_kick_cpu(cpu, KERNEL(scx_kick_flags, SCX_KICK_IDLE));
}

SEC("struct_ops/belljar_select_cpu")
s32 BPF_PROG(belljar_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool idle = false;
	s32 cpu;

	if (one_cpu >= 0 && chosen(&only, p) && bpf_cpumask_test_cpu(one_cpu, p->cpus_ptr))
		return one_cpu;
	if (wrong_cpu && chosen(&only, p)) {
		u32 wrong = bpf_cpumask_first_zero(p->cpus_ptr);
		const struct cpumask *online = scx_bpf_get_online_cpumask();
		bool is_online = bpf_cpumask_test_cpu(wrong, online);

		scx_bpf_put_cpumask(online);
		if (is_online)
			return wrong;
	}
	cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);
	if (idle && !disturbed(p)) {
		COUNT(direct);
		dsq_insert(p, KERNEL(scx_dsq_id_flags, SCX_DSQ_LOCAL), slice_ns, 0);
	}
	return cpu;
}

SEC("struct_ops/belljar_enqueue")
void BPF_PROG(belljar_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct scx_bpf_dsq_insert_vtime_args args = {
		.dsq_id = DSQ_SHARED,
		.slice = slice_ns,
		.enq_flags = enq_flags,
	};
	struct task *task = task_of(p);

	/* Without them nothing else gets on. */
	if (!task || (p->flags & PF_KTHREAD && p->nr_cpus_allowed == 1)) {
		COUNT(direct);
		dsq_insert(p, KERNEL(scx_dsq_id_flags, SCX_DSQ_LOCAL), slice_ns, enq_flags);
		return;
	}
	if (chosen(&stalled, p)) {
		park(p, NEVER);
		return;
	}
	if (chosen(&starved, p)) {
		park(p, bpf_ktime_get_ns() + starve_ns);
		return;
	}
	if (lose_every && enq_flags & KERNEL(scx_enq_flags, SCX_ENQ_WAKEUP) && chosen(&only, p) &&
	    ++task->wakeups % lose_every == 0) {
		park(p, bpf_ktime_get_ns() + lose_ns);
		return;
	}
	if ((one_cpu >= 0 || bounce) && chosen(&only, p)) {
		u32 cpu = bounce ? bpf_cpumask_any_distribute(p->cpus_ptr) : one_cpu;

		if (bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
			COUNT(steered);
			dsq_insert(p, KERNEL(scx_dsq_id_flags, SCX_DSQ_LOCAL_ON) | cpu, slice_ns,
				   enq_flags);
			scx_bpf_kick_cpu(cpu, KERNEL(scx_kick_flags, SCX_KICK_IDLE));
			return;
		}
	}
	/* Nobody would look into a queue for it: see `dispatch`. */
	if (enq_flags & KERNEL(scx_enq_flags, SCX_ENQ_LAST)) {
		dsq_insert(p, KERNEL(scx_dsq_id_flags, SCX_DSQ_LOCAL), slice_ns, enq_flags);
		return;
	}

	/* Who has slept gets no more than a slice's advantage for it. */
	if ((s64)(task->vtime - (virtual_now - slice_ns)) < 0)
		task->vtime = virtual_now - slice_ns;
	args.vtime = task->vtime;
	COUNT(queued);
	__scx_bpf_dsq_insert_vtime(p, &args);
	/* Nobody has looked for an idle CPU yet. */
	if (!(enq_flags & KERNEL(scx_enq_flags, SCX_ENQ_CPU_SELECTED)))
		kick_idle(p->cpus_ptr);
}

/* Puts the tasks back whose time has come. */
static __always_inline void release_due(void)
{
	u64 now = bpf_ktime_get_ns();
	struct task_struct *p;

	bpf_for_each(scx_dsq, p, DSQ_PARKED, 0) {
		struct task *task = task_of(p);

		if (p->scx.dsq_vtime > now || !task)
			break;
		if ((s64)(task->vtime - (virtual_now - slice_ns)) < 0)
			task->vtime = virtual_now - slice_ns;
		scx_bpf_dsq_move_set_vtime(&___it, task->vtime);
		if (scx_bpf_dsq_move_vtime(&___it, p, DSQ_SHARED, 0)) {
			COUNT(released);
			kick_idle(p->cpus_ptr);
		}
	}
}

/* Steps that the verifier has to follow one by one, to an access that it refuses. */
static __always_inline u64 beyond_the_end(s32 cpu)
{
	u64 sum = 0;

	for (u32 i = 0; i < 200; i++) {
		if ((cpu ^ i) & 1)
			sum += i;
		barrier_var(sum);
	}
	return ((volatile u64 *)&stats)[sum];
}

SEC("struct_ops/belljar_dispatch")
void BPF_PROG(belljar_dispatch, s32 cpu, struct task_struct *prev)
{
	if (reject && beyond_the_end(cpu))
		return;
	if (stalled.on || starved.on || lose_every)
		release_due();
	if (dsq_move_to_local(DSQ_SHARED))
		return;
	/* It is alone: the kernel would let it go on too, but for longer, and count that. */
	if (prev && prev->scx.flags & KERNEL(scx_ent_flags, SCX_TASK_QUEUED) && !keep_last &&
	    !disturbed(prev))
		scx_bpf_task_set_slice(prev, slice_ns);
}

SEC("struct_ops/belljar_running")
void BPF_PROG(belljar_running, struct task_struct *p)
{
	struct task *task = task_of(p);

	if (!task)
		return;
	task->ran_ns = p->se.sum_exec_runtime;
	if ((s64)(task->vtime - virtual_now) > 0)
		virtual_now = task->vtime;
}

SEC("struct_ops/belljar_stopping")
void BPF_PROG(belljar_stopping, struct task_struct *p, bool runnable)
{
	struct task *task = task_of(p);
	u64 weight = p->scx.weight;

	if (!task)
		return;
	if (unfair_factor > 1 && chosen(&only, p))
		weight *= unfair_factor;
	if (weight)
		task->vtime += (p->se.sum_exec_runtime - task->ran_ns) * 100 / weight;
}

SEC("struct_ops.s/belljar_init_task")
s32 BPF_PROG(belljar_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	/* -ENOMEM */
	return bpf_task_storage_get(&tasks, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE) ? 0 : -12;
}

SEC("struct_ops/belljar_enable")
void BPF_PROG(belljar_enable, struct task_struct *p)
{
	struct task *task = task_of(p);

	if (task)
		task->vtime = virtual_now;
}

/* With these two, CPUs may come and go: there is no state of theirs. */
SEC("struct_ops/belljar_cpu_online")
void BPF_PROG(belljar_cpu_online, s32 cpu)
{
}

SEC("struct_ops/belljar_cpu_offline")
void BPF_PROG(belljar_cpu_offline, s32 cpu)
{
}

/* Runs every millisecond where a fault needs the time. */
static int tick(void *map, u32 *key, struct timer *timer)
{
	if (error_at && bpf_ktime_get_ns() >= error_at) {
		static char format[] = "the loader asked for an error after %llu ms";
		unsigned long long data[] = { error_after_ns / 1000000 };

		error_at = 0;
		scx_bpf_error_bstr(format, data, sizeof(data));
		return 0;
	}
	/* Busy CPUs come to `dispatch` by themselves. */
	if (scx_bpf_dsq_nr_queued(DSQ_PARKED) > 0) {
		const struct cpumask *online = scx_bpf_get_online_cpumask();

		kick_idle(online);
		scx_bpf_put_cpumask(online);
	}
	bpf_timer_start(&timer->timer, TICK_NS, 0);
	return 0;
}

SEC("struct_ops.s/belljar_init")
s32 BPF_PROG(belljar_init)
{
	struct timer *timer;
	u32 key = 0;
	s32 err;

	err = scx_bpf_create_dsq(DSQ_SHARED, -1);
	if (!err)
		err = scx_bpf_create_dsq(DSQ_PARKED, -1);
	if (err || !(stalled.on || starved.on || lose_every || error_after_ns))
		return err;

	if (error_after_ns)
		error_at = bpf_ktime_get_ns() + error_after_ns;
	timer = bpf_map_lookup_elem(&timers, &key);
	/* -ESRCH, which cannot happen: the array has the element. */
	if (!timer)
		return -3;
	err = bpf_timer_init(&timer->timer, &timers, CLOCK_MONOTONIC);
	if (!err)
		err = bpf_timer_set_callback(&timer->timer, tick);
	if (!err)
		err = bpf_timer_start(&timer->timer, TICK_NS, 0);
	return err;
}

SEC("struct_ops.s/belljar_exit")
void BPF_PROG(belljar_exit, struct scx_exit_info *ei)
{
	u32 kind = ei->kind;

	bpf_probe_read_kernel_str(outcome.reason, sizeof(outcome.reason), ei->reason);
	bpf_probe_read_kernel_str(outcome.message, sizeof(outcome.message), ei->msg);
	bpf_probe_read_kernel_str(outcome.dump, sizeof(outcome.dump), ei->dump);
	outcome.code = ei->exit_code;
	__sync_lock_test_and_set(&outcome.kind, kind);
	bpf_ringbuf_output(&doorbell, &kind, sizeof(kind), 0);
}

SEC(".struct_ops.link")
struct sched_ext_ops belljar = {
	.select_cpu = (void *)belljar_select_cpu,
	.enqueue = (void *)belljar_enqueue,
	.dispatch = (void *)belljar_dispatch,
	.running = (void *)belljar_running,
	.stopping = (void *)belljar_stopping,
	.init_task = (void *)belljar_init_task,
	.enable = (void *)belljar_enable,
	.cpu_online = (void *)belljar_cpu_online,
	.cpu_offline = (void *)belljar_cpu_offline,
	.init = (void *)belljar_init,
	.exit = (void *)belljar_exit,
	.exit_dump_len = DUMP_LEN,
	.name = "belljar",
};
