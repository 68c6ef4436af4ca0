//! A node that may become the master when that fails, as its configuration has it.

use std::sync::Arc;

use crate::{
    arbiter::etcd::Etcd,
    config::{Cluster, Config, NodeType},
    election::{Candidate, Own, order},
    system::clock::Clock,
};

/// The candidate that this node is; none if `failover` names no etcd.
///
/// # Errors
/// When a file of it cannot be read any more.
pub fn of(config: &Config, clock: &Clock) -> Result<Option<Arc<Candidate>>, String> {
    let Some(failover) = &config.settings.failover else { return Ok(None) };
    let options = failover.options(&config.home, &config.cluster).map_err(|fault| fault.to_string())?;
    let (trigger, order) = order();
    let etcd = Etcd::new(&options, &order).map_err(|error| format!("failover: {error}"))?;
    let own = own(&config.cluster);
    Ok(Some(Candidate::new(own, failover.clone(), Arc::new(etcd), clock, (trigger, order))))
}

/// Who this node is for the others.
fn own(cluster: &Cluster) -> Own {
    let is_first = cluster.node_type == NodeType::Master;
    // Where it listens if that is one address, else the first of the hosts that is here: for people.
    let listens = Some(&cluster.bind_addr).filter(|address| !matches!(address.as_str(), "0.0.0.0" | "::"));
    let here = || cluster.nodes.iter().find(|host| cluster.is_here(host));
    let address = listens.or_else(here).unwrap_or(&cluster.node_name).clone();
    let fingerprint = cluster.key.cipher().fingerprint().to_owned();
    Own { name: cluster.node_name.clone(), address, port: cluster.port, cluster: fingerprint, is_first }
}
