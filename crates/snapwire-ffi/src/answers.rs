//! Responses as arrays of structures, which point into the client's buffers.

use crate::types::{
    snapwire_app, snapwire_apps, snapwire_bytes, snapwire_cgroup, snapwire_cgroups, snapwire_label,
    snapwire_snapshot, snapwire_snapshot_item,
};
use snapwire_core::codec::{AppsResponse, CgroupsResponse, Labels, Malformed, Snapshot};

/// The arrays of the last answer. They are kept until the next.
#[derive(Debug, Default)]
pub(crate) struct Arrays {
    snapshot: Vec<snapwire_snapshot_item>,
    cgroups: Vec<snapwire_cgroup>,
    apps: Vec<snapwire_app>,
    labels: Vec<snapwire_label>,
}

// SAFETY: the pointers are into buffers that the same client owns, and are only read by whoever has
// the client. This type itself never follows them.
unsafe impl Send for Arrays {}

impl Arrays {
    /// Appends labels; returns how many they are.
    fn push_labels(&mut self, labels: Labels<'_>) -> usize {
        let label = |(key, value)| snapwire_label {
            key: snapwire_bytes::of(key),
            value: snapwire_bytes::of(value),
        };
        self.labels.extend(labels.iter().map(label));
        labels.len()
    }

    pub(crate) fn snapshot(
        &mut self,
        snapshot: &Snapshot<'_>,
    ) -> Result<snapwire_snapshot, Malformed> {
        self.snapshot.clear();
        for item in snapshot.iter() {
            let item = item?;
            self.snapshot.push(snapwire_snapshot_item {
                hash: item.hash,
                options: item.options,
                enabled: item.enabled,
                name: snapwire_bytes::of(item.name),
                path: snapwire_bytes::of(item.path),
            });
        }
        Ok(snapwire_snapshot {
            generation: snapshot.generation(),
            systemd_enabled: snapshot.systemd_enabled(),
            items: self.snapshot.as_ptr(),
            count: self.snapshot.len(),
        })
    }

    pub(crate) fn cgroups(
        &mut self,
        response: &CgroupsResponse<'_>,
    ) -> Result<snapwire_cgroups, Malformed> {
        self.cgroups.clear();
        self.labels.clear();
        for item in response.iter() {
            let item = item?;
            let label_count = self.push_labels(item.labels);
            self.cgroups.push(snapwire_cgroup {
                status: item.status as u16,
                orchestrator: item.orchestrator.0,
                path: snapwire_bytes::of(item.path),
                name: snapwire_bytes::of(item.name),
                labels: std::ptr::null(),
                label_count,
            });
        }
        // Labels do not move any more.
        let mut rest = &self.labels[..];
        for cgroup in &mut self.cgroups {
            let (own, others) = rest.split_at(cgroup.label_count);
            cgroup.labels = own.as_ptr();
            rest = others;
        }
        Ok(snapwire_cgroups {
            generation: response.generation(),
            items: self.cgroups.as_ptr(),
            count: self.cgroups.len(),
        })
    }

    pub(crate) fn apps(&mut self, response: &AppsResponse<'_>) -> Result<snapwire_apps, Malformed> {
        self.apps.clear();
        self.labels.clear();
        for item in response.iter() {
            let item = item?;
            let label_count = self.push_labels(item.labels);
            self.apps.push(snapwire_app {
                status: item.status as u16,
                cgroup_status: item.cgroup_status as u16,
                orchestrator: item.orchestrator.0,
                pid: item.pid.0,
                parent: item.parent.0,
                uid: item.uid.unwrap_or(crate::types::SNAPWIRE_UID_UNSET),
                starttime_jiffies: item.starttime_jiffies,
                comm: snapwire_bytes::of(item.comm),
                cgroup_path: snapwire_bytes::of(item.cgroup_path),
                cgroup_name: snapwire_bytes::of(item.cgroup_name),
                labels: std::ptr::null(),
                label_count,
            });
        }
        let mut rest = &self.labels[..];
        for app in &mut self.apps {
            let (own, others) = rest.split_at(app.label_count);
            app.labels = own.as_ptr();
            rest = others;
        }
        Ok(snapwire_apps {
            generation: response.generation(),
            items: self.apps.as_ptr(),
            count: self.apps.len(),
        })
    }
}
