//! What is wrong with a scenario, and where.

use std::fmt;

/// A place in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// Which step, from 0; none for the backdrop.
    pub step: Option<u32>,
    /// What in it.
    pub item: Item,
}

/// A part of a step or of the backdrop, each numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// All of it.
    Whole,
    /// One of its cgroups.
    Cgroup(u32),
    /// One of its operations.
    Op(u32),
    /// One of its payloads.
    Payload(u32),
    /// Its hold.
    Hold,
}

/// Something that is wrong with a scenario, found before anything is started.
///
/// Shown, it says where it is (steps and operations counted from 1), what is wrong, and what would be
/// right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; none for the scenario as a whole.
    pub site: Option<Site>,
    /// The step's name; empty for the backdrop.
    pub step: String,
    /// The operation, as in `set-cpuset`; empty if it is none.
    pub operation: &'static str,
    /// The cgroup that it is about; empty if none or the scenario's root.
    pub cgroup: String,
    /// Which of the cgroup's groups of workers, from 0.
    pub group: Option<u32>,
    /// The word that is wrong.
    pub word: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
    /// Whether it goes wrong only when a loop does the operations again.
    pub repeated: bool,
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.site {
            Some(site) => f.write_str(&site.in_words(&self.step))?,
            None => f.write_str("the scenario")?,
        }
        if !self.operation.is_empty() {
            write!(f, " ({})", self.operation)?;
        }
        if !self.cgroup.is_empty() {
            write!(f, ", cgroup `{}`", self.cgroup)?;
        }
        if let Some(group) = self.group {
            write!(f, ", worker group {}", u64::from(group) + 1)?;
        }
        let again = if self.repeated { " when the loop does it again" } else { "" };
        write!(f, "{again}: {}", self.message)
    }
}

impl Site {
    /// The place in words, given the step's name: ``step 2 `squeeze`, operation 3``.
    #[must_use]
    pub fn in_words(&self, step: &str) -> String {
        let place = match self.step {
            Some(number) => format!("step {} `{step}`", u64::from(number) + 1),
            None => "backdrop".to_owned(),
        };
        match self.item {
            Item::Whole | Item::Cgroup(_) => place,
            Item::Op(op) => format!("{place}, operation {}", u64::from(op) + 1),
            Item::Payload(payload) => format!("{place}, payload {}", u64::from(payload) + 1),
            Item::Hold => format!("{place}, hold"),
        }
    }
}
