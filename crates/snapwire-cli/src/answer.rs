//! Answers, for people and for programs.

use crate::failure::Failure;
use crate::output::{Raw, Table, line};
use serde::Serialize;
use snapwire::codec::{
    AppCgroupStatus, AppItem, AppStatus, AppsResponse, CgroupItem, CgroupStatus, CgroupsResponse,
    Labels, Malformed, Orchestrator, Snapshot, SnapshotItem,
};

/// A cgroup of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cgroup {
    pub(crate) hash: u32,
    pub(crate) name: Raw,
    pub(crate) path: Raw,
    pub(crate) enabled: u32,
    pub(crate) options: u32,
}

impl From<SnapshotItem<'_>> for Cgroup {
    fn from(item: SnapshotItem<'_>) -> Cgroup {
        Cgroup {
            hash: item.hash,
            name: item.name.into(),
            path: item.path.into(),
            enabled: item.enabled,
            options: item.options,
        }
    }
}

/// A snapshot.
#[derive(Debug, Serialize)]
pub(crate) struct Cgroups {
    pub(crate) generation: u64,
    pub(crate) systemd_enabled: bool,
    pub(crate) cgroups: Vec<Cgroup>,
}

impl Cgroups {
    pub(crate) fn of(snapshot: &Snapshot<'_>) -> Result<Cgroups, Malformed> {
        let cgroups: Result<_, _> = snapshot.iter().map(|item| item.map(Cgroup::from)).collect();
        Ok(Cgroups {
            generation: snapshot.generation(),
            systemd_enabled: snapshot.systemd_enabled() != 0,
            cgroups: cgroups?,
        })
    }

    pub(crate) fn print(&self) -> Result<(), Failure> {
        let mut table = Table::new(["HASH", "ENABLED", "OPTIONS", "NAME", "PATH"]);
        for cgroup in &self.cgroups {
            table.push([
                format!("{:08x}", cgroup.hash),
                cgroup.enabled.to_string(),
                format!("{:#x}", cgroup.options),
                cgroup.name.to_string(),
                cgroup.path.to_string(),
            ]);
        }
        table.print()?;
        let systemd = if self.systemd_enabled { "" } else { "out" };
        let (count, generation) = (self.cgroups.len(), self.generation);
        line(&format!("{count} in all, generation {generation}, with{systemd} systemd"))
    }
}

/// An answer to a path.
#[derive(Debug, Serialize)]
pub(crate) struct FoundCgroup {
    path: Raw,
    status: &'static str,
    orchestrator: String,
    name: Raw,
    labels: Vec<(Raw, Raw)>,
}

impl From<CgroupItem<'_>> for FoundCgroup {
    fn from(item: CgroupItem<'_>) -> FoundCgroup {
        FoundCgroup {
            path: item.path.into(),
            status: match item.status {
                CgroupStatus::Known => "known",
                CgroupStatus::UnknownRetryLater => "unknown-retry-later",
                CgroupStatus::UnknownPermanent => "unknown-permanent",
                CgroupStatus::PayloadExceeded => "payload-exceeded",
                CgroupStatus::OversizedItem => "oversized-item",
            },
            orchestrator: orchestrator(item.orchestrator),
            name: item.name.into(),
            labels: labels(item.labels),
        }
    }
}

/// The answers to paths.
#[derive(Debug, Serialize)]
pub(crate) struct FoundCgroups {
    generation: u64,
    cgroups: Vec<FoundCgroup>,
}

impl FoundCgroups {
    pub(crate) fn of(response: &CgroupsResponse<'_>) -> Result<FoundCgroups, Malformed> {
        let cgroups: Result<_, _> =
            response.iter().map(|item| item.map(FoundCgroup::from)).collect();
        Ok(FoundCgroups { generation: response.generation(), cgroups: cgroups? })
    }

    pub(crate) fn print(&self) -> Result<(), Failure> {
        let mut table = Table::new(["PATH", "STATUS", "ORCHESTRATOR", "NAME", "LABELS"]);
        for found in &self.cgroups {
            table.push([
                found.path.to_string(),
                found.status.into(),
                found.orchestrator.clone(),
                found.name.to_string(),
                joined(&found.labels),
            ]);
        }
        table.print()
    }
}

/// An answer to a pid.
#[derive(Debug, Serialize)]
pub(crate) struct FoundApp {
    pid: u32,
    status: &'static str,
    parent: u32,
    uid: Option<u32>,
    starttime_jiffies: u64,
    comm: Raw,
    cgroup_status: Option<&'static str>,
    orchestrator: String,
    cgroup_path: Raw,
    cgroup_name: Raw,
    labels: Vec<(Raw, Raw)>,
}

impl From<AppItem<'_>> for FoundApp {
    fn from(item: AppItem<'_>) -> FoundApp {
        let cgroup_status = match item.cgroup_status {
            AppCgroupStatus::Known => "known",
            AppCgroupStatus::UnknownRetryLater => "unknown-retry-later",
            AppCgroupStatus::UnknownPermanent => "unknown-permanent",
            AppCgroupStatus::HostRoot => "host-root",
        };
        FoundApp {
            pid: item.pid.0,
            status: match item.status {
                AppStatus::Known => "known",
                AppStatus::Unknown => "unknown",
                AppStatus::PayloadExceeded => "payload-exceeded",
                AppStatus::OversizedItem => "oversized-item",
            },
            parent: item.parent.0,
            uid: item.uid,
            starttime_jiffies: item.starttime_jiffies,
            comm: item.comm.into(),
            cgroup_status: (item.status == AppStatus::Known).then_some(cgroup_status),
            orchestrator: orchestrator(item.orchestrator),
            cgroup_path: item.cgroup_path.into(),
            cgroup_name: item.cgroup_name.into(),
            labels: labels(item.labels),
        }
    }
}

/// The answers to pids.
#[derive(Debug, Serialize)]
pub(crate) struct FoundApps {
    generation: u64,
    apps: Vec<FoundApp>,
}

impl FoundApps {
    pub(crate) fn of(response: &AppsResponse<'_>) -> Result<FoundApps, Malformed> {
        let apps: Result<_, _> = response.iter().map(|item| item.map(FoundApp::from)).collect();
        Ok(FoundApps { generation: response.generation(), apps: apps? })
    }

    pub(crate) fn print(&self) -> Result<(), Failure> {
        let heading =
            ["PID", "STATUS", "PARENT", "UID", "COMM", "CGROUP", "CGROUP PATH", "NAME", "LABELS"];
        let mut table = Table::new(heading);
        for app in &self.apps {
            table.push([
                app.pid.to_string(),
                app.status.into(),
                app.parent.to_string(),
                app.uid.map_or_else(|| String::from("-"), |uid| uid.to_string()),
                app.comm.to_string(),
                app.cgroup_status.unwrap_or("-").into(),
                app.cgroup_path.to_string(),
                app.cgroup_name.to_string(),
                joined(&app.labels),
            ]);
        }
        table.print()
    }
}

fn orchestrator(orchestrator: Orchestrator) -> String {
    String::from(match orchestrator {
        Orchestrator::UNKNOWN => "unknown",
        Orchestrator::SYSTEMD => "systemd",
        Orchestrator::DOCKER => "docker",
        Orchestrator::K8S => "k8s",
        Orchestrator::KVM => "kvm",
        Orchestrator::LXC => "lxc",
        Orchestrator::PODMAN => "podman",
        Orchestrator::NSPAWN => "nspawn",
        Orchestrator(other) => return other.to_string(),
    })
}

/// In the order in which they came: a key may be there twice.
fn labels(labels: Labels<'_>) -> Vec<(Raw, Raw)> {
    labels.iter().map(|(key, value)| (key.into(), value.into())).collect()
}

fn joined(labels: &[(Raw, Raw)]) -> String {
    let label = |(key, value): &(Raw, Raw)| format!("{}={}", key.in_list(), value.in_list());
    labels.iter().map(label).collect::<Vec<_>>().join(",")
}
