//! `get_health`: the workers and when each of their tasks ran last (`spec/protocol.md` 13.6).

use serde_json::{Map, Value, json};

use super::{Questions, filter::Filter};
use crate::{
    files::Counts,
    registry::{ConnectedWorker, Known},
    system::{clock::iso_utc, json},
    tasks::{
        integrity::{
            Applied,
            status::{IntegrityStatus, Sending},
        },
        span::date,
    },
    wire::ErrorObject,
};

impl Questions {
    /// The answer to `get_health` with this filter. Beside that of the stock daemon, which knows who is connected,
    /// `verdicts` has every node that is known ([`Listed`](crate::verdict::Listed)). While the agent database does not
    /// answer, `n_active_agents` is `null`: the stock daemon has no answer at all then.
    ///
    /// # Errors
    /// When the filter is none; the asking program is at fault.
    pub fn health(&self, filter: &[u8]) -> Result<String, ErrorObject> {
        let (node, filter) = (&self.node, Filter::parse(filter)?);
        let active = self.services.active_agents(node);
        let active = |name: &str| Some(active.as_ref()?.get(name).copied().unwrap_or_default());
        let mut nodes = Map::new();
        for worker in self.registry.workers().iter().filter(|worker| filter.takes(&worker.hello.node, false)) {
            nodes.insert(worker.hello.node.clone(), worker_health(worker, active(&worker.hello.node)));
        }
        let workers = nodes.len();
        let name = &node.cluster.node_name;
        if filter.takes(name, true) {
            let version = node.settings.version.to_string();
            let address = node.cluster.master().to_owned();
            nodes.insert(name.clone(), json!({"info": info(name, "master", &version, &address, active(name))}));
        }
        let takes = |known: &Known| filter.takes(&known.name, known.name == *name);
        let verdicts: Vec<_> = self.registry.known(node).into_iter().filter(takes).map(Known::into_listed).collect();
        Ok(json::text(&json!({"n_connected_nodes": workers, "nodes": nodes, "verdicts": verdicts})))
    }
}

fn info(name: &str, node_type: &str, version: &str, address: &str, active: Option<u64>) -> Value {
    json!({"name": name, "type": node_type, "version": version, "ip": address, "n_active_agents": active})
}

fn worker_health(worker: &ConnectedWorker, active: Option<u64>) -> Value {
    let hello = &worker.hello;
    let integrity = worker.integrity.status();
    let mut sync = integrity.sync.to_json();
    sync["total_extra_valid"] = json!(0);
    sync["total_files"] = total_files(integrity.files);
    let info_status = worker.agent_info.last();
    let mut agent_info = info_status.span.to_json();
    agent_info["n_synced_chunks"] = json!(info_status.chunks);
    let [groups, whole] = worker.agent_groups.last().map(|status| {
        let (start, end) = (date(status.span.start), date(status.span.end));
        json!({"date_start": start, "date_end": end, "n_synced_chunks": status.chunks})
    });
    let mut status = json!({
        "sync_integrity_free": integrity.free,
        "last_check_integrity": integrity.check.to_json(),
        "last_sync_integrity": sync,
        "sync_agent_info_free": !info_status.busy,
        "last_sync_agentinfo": agent_info,
        "last_sync_agentgroup": groups,
        "last_sync_full_agentgroup": whole,
        "last_keep_alive": iso_utc(worker.last_keep_alive().1),
    });
    add_ours(&mut status, &integrity, &worker.integrity.last_applied());
    json!({
        "info": info(&hello.node, &hello.node_type, &hello.version, &worker.address.to_string(), active),
        "status": status,
    })
}

/// What only our programs ask for, while there is something to tell. Those of the stock daemon take members by their
/// names.
fn add_ours(status: &mut Value, integrity: &IntegrityStatus, applied: &Applied) {
    if let Some(Sending { files, of, bytes }) = integrity.sending {
        status["sync_progress"] = json!({"files": files, "of_files": of, "bytes": bytes});
    }
    if applied.failed > 0 {
        status["failed_files"] = json!({"count": applied.failed, "first": applied.failures});
    }
    if let Some(since) = integrity.behind_since {
        status["behind_since"] = json!(iso_utc(since));
    }
    if let Some(held) = integrity.held {
        status["held_deletions"] = json!(held);
    }
}

fn total_files(files: Option<Counts>) -> Value {
    match files {
        Some(Counts { create, update, delete }) => json!({"missing": create, "extra": delete, "shared": update}),
        None => json!({"missing": 0, "shared": 0, "extra": 0, "extra_valid": 0}),
    }
}
