//! `get_health`: the workers and when each of their tasks ran last (`spec/protocol.md` 13.6).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Known, Master, Member};
use crate::{
    logging::{scope, warn},
    system::clock::iso_utc,
    tasks::{
        integrity::{
            Applied,
            status::{Counts, IntegrityStatus, Sending},
        },
        span::date,
    },
    wire::{ErrorObject, json},
};

/// Which nodes an answer is about.
enum Filter {
    Everything,
    /// All workers, without the master.
    Workers,
    /// Nodes with one of these names; names that no node has are ignored.
    Names(Vec<String>),
    /// Nodes whose names are part of this text.
    PartOf(String),
}

impl Filter {
    fn parse(payload: &[u8]) -> Result<Self, ErrorObject> {
        let wrong = || ErrorObject::unexpected("the filter is to be null, a text, an array of texts or {}");
        match serde_json::from_slice(payload).map_err(|error| ErrorObject::unexpected(error.to_string()))? {
            Value::Null => Ok(Self::Everything),
            Value::String(text) => Ok(Self::PartOf(text)),
            Value::Object(object) if object.is_empty() => Ok(Self::Workers),
            array @ Value::Array(_) => serde_json::from_value(array).map(Self::Names).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }

    fn takes(&self, name: &str, is_master: bool) -> bool {
        match self {
            Self::Everything => true,
            Self::Workers => !is_master,
            Self::Names(names) => names.iter().any(|wanted| wanted == name),
            Self::PartOf(text) => text.contains(name),
        }
    }
}

impl Master {
    /// The answer to `confirm_del` for the workers that this filter takes: the names of those from which deletions were
    /// held back, and what that was. They are compared again at once, and those files are deleted.
    ///
    /// # Errors
    /// When the filter is none; the asking program is at fault.
    pub fn confirm_deletions(&self, filter: &[u8]) -> Result<String, ErrorObject> {
        let filter = Filter::parse(filter)?;
        let confirmed = self.integrity.deletions.confirm(|name| filter.takes(name, false));
        for (name, held) in &confirmed {
            warn!(
                scope("Master", "Main"),
                "Confirmed by 'cluster_control --confirm-deletions': {name}: {}.",
                held.consequence()
            );
        }
        if !confirmed.is_empty() {
            // Their turn may be used up, and the push has them ask again.
            self.local_integrity.wake();
            let waiting = |worker: &&Arc<Member>| confirmed.contains_key(&worker.hello.node);
            let generation = self.local_integrity.generation();
            self.registry.workers().iter().filter(waiting).for_each(|worker| worker.push(generation));
        }
        Ok(json::text(&json!({"confirmed": confirmed})))
    }

    /// The answer to `get_health` with this filter. Beside that of the original, which knows who is connected, `verdicts`
    /// has every node that is known ([`Listed`](crate::verdict::Listed)). While the agent database does not answer,
    /// `n_active_agents` is `null`: the original has no answer at all then.
    ///
    /// # Errors
    /// When the filter is none; the asking program is at fault.
    pub fn health(&self, filter: &[u8]) -> Result<String, ErrorObject> {
        let filter = Filter::parse(filter)?;
        let active = self.node.active_agents();
        let active = |name: &str| Some(active.as_ref()?.get(name).copied().unwrap_or_default());
        let mut nodes = Map::new();
        for worker in self.registry.workers().iter().filter(|worker| filter.takes(&worker.hello.node, false)) {
            nodes.insert(worker.hello.node.clone(), worker_health(worker, active(&worker.hello.node)));
        }
        let workers = nodes.len();
        let name = &self.node.cluster.node_name;
        if filter.takes(name, true) {
            let version = self.node.settings.version.to_string();
            let address = self.node.cluster.master().to_owned();
            nodes.insert(name.clone(), json!({"info": info(name, "master", &version, &address, active(name))}));
        }
        let takes = |node: &Known| filter.takes(&node.name, node.name == *name);
        let verdicts: Vec<_> = self.known().into_iter().filter(takes).map(Known::into_listed).collect();
        Ok(json::text(&json!({"n_connected_nodes": workers, "nodes": nodes, "verdicts": verdicts})))
    }
}

fn info(name: &str, node_type: &str, version: &str, address: &str, active: Option<u64>) -> Value {
    json!({"name": name, "type": node_type, "version": version, "ip": address, "n_active_agents": active})
}

fn worker_health(worker: &Member, active: Option<u64>) -> Value {
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

/// What only our programs ask for, while there is something to tell. Those of the original take members by their names.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_those_of_the_original() {
        let takes = |filter: &str, name, is_master| Filter::parse(filter.as_bytes()).unwrap().takes(name, is_master);
        assert!(takes("null", "m", true) && takes("null", "w1", false));
        assert!(!takes("{}", "m", true) && takes("{}", "w1", false));
        assert!(takes(r#"["w1", "nosuch"]"#, "w1", false) && !takes(r#"["w1"]"#, "w2", false));
        assert!(takes(r#""w1,w2""#, "w1", false) && !takes(r#""w1""#, "w2", false));
        for bad in ["", "3", r#"{"a": 1}"#, "[1]"] {
            assert!(Filter::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
