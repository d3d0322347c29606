//! In which order tests run: those of one template together, and templates made as
//! early as nobody has anything better to do.

use belljar::host::Plan;
use belljar_record::Reason;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What to do next.
#[derive(Debug)]
pub(crate) enum Task {
    /// Make the template of this group, which its first test needs.
    Prepare(usize, Box<Plan>),
    /// Run this test.
    Run(usize),
}

/// Tests in groups that share a template.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    groups: Vec<Group>,
    /// The groups whose templates are there, the oldest first.
    ready: VecDeque<usize>,
    preparing: usize,
    closed: bool,
}

#[derive(Debug)]
struct Group {
    key: Option<String>,
    plan: Option<Box<Plan>>,
    tests: VecDeque<usize>,
}

impl Queue {
    /// A queue of tests by their plans, in the order given but for the groups. Those
    /// that cannot be planned need no template and come first.
    pub(crate) fn new<'a>(plans: impl Iterator<Item = &'a Result<Plan, Reason>>) -> Queue {
        let mut state = State::default();
        for (index, plan) in plans.enumerate() {
            let key = plan.as_ref().ok().map(Plan::template);
            let at = state.groups.iter().position(|group| group.key == key).unwrap_or_else(|| {
                let plan = plan.as_ref().ok().cloned().map(Box::new);
                if plan.is_none() {
                    state.ready.push_back(state.groups.len());
                }
                state.groups.push(Group { key, plan, tests: VecDeque::new() });
                state.groups.len() - 1
            });
            state.groups[at].tests.push_back(index);
        }
        Queue { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to do next, if there is anything. Waits while that depends on others.
    pub(crate) fn next(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            while let Some(&group) = state.ready.front() {
                if let Some(test) = state.groups[group].tests.pop_front() {
                    return Some(Task::Run(test));
                }
                state.ready.pop_front();
            }
            let found = state.groups.iter_mut().enumerate();
            let unprepared = { found }.find_map(|(at, group)| Some((at, group.plan.take()?)));
            if let Some((at, plan)) = unprepared {
                state.preparing += 1;
                return Some(Task::Prepare(at, plan));
            }
            if state.preparing == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says that the template of a group is there, or that there will be none, which
    /// its tests will find out. Gives how many tests wait for it.
    pub(crate) fn prepared(&self, group: usize) -> usize {
        let mut state = self.lock();
        state.preparing -= 1;
        state.ready.push_back(group);
        let waiting = state.groups[group].tests.len();
        drop(state);
        self.changed.notify_all();
        waiting
    }

    /// Lets no more tests be started.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}
