//! Hello and, if both nodes run this daemon, the agreement on a link that speaks more than the standard protocol
//! (`spec/native.md` 1).

use std::{io, net::SocketAddr, sync::atomic::Ordering, time::Duration};

use super::Worker;
use crate::{
    config::settings::Native,
    connection::{Connection, NotReached, RequestError},
    logging::{Scope, warn},
    session::{
        agree::{Disagreed, Speaks, agree},
        hello,
        native::Features,
    },
    term::{Former, Told},
    wire::Command,
};

/// What a master may tell of its silence, at least and at most.
const TTL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// Why a worker is not connected.
#[derive(Debug, thiserror::Error)]
pub enum NotConnected {
    /// No connection came about.
    #[error("{0}")]
    NotReached(NotReached),
    /// The master refused hello.
    #[error("{0}")]
    Refused(RequestError),
    /// There was no answer.
    #[error("{0}; the program at {1} is not a master; set <nodes> and <port> to those of the master")]
    Silent(RequestError, SocketAddr),
    /// The master closed the connection at hello.
    #[error("{0}; the <key> must be the same on both nodes, and <port> that of the master")]
    Closed(RequestError),
    /// There is no session where one is needed: why not, and what to do.
    #[error("there is no session with the master: {0}; {1}")]
    NoSession(String, String),
    /// The program at the other end is not the master any more.
    #[error("{0}; nothing of it is taken. Stop it, or let it follow: 'cluster_control --forget {name}' here undoes this", name = .0.known())]
    Former(Former),
    /// This machine is at fault.
    #[error("system error: {0}")]
    System(#[from] io::Error),
}

/// Whether this worker accepts its master by a session only.
pub fn needs_session(worker: &Worker) -> bool {
    let link = &worker.node.settings.link;
    match link.native {
        Native::Never => false,
        Native::Require => true,
        Native::Auto => Features::permitted(link).session && worker.known_master.name().is_some(),
    }
}

/// Says hello to the program at `host`, which has this address, and agrees on what the link speaks.
///
/// # Errors
/// Why the worker is not connected; a master may be tried again.
pub fn greet(
    worker: &Worker,
    master: &Connection,
    (host, address): (&str, SocketAddr),
    scope: &Scope,
) -> Result<Features, NotConnected> {
    let (cluster, link) = (&worker.node.cluster, &worker.node.settings.link);
    let version = worker.node.settings.version;
    let hello = hello::payload(&cluster.node_name, &cluster.name, cluster.node_type.as_str(), version);
    let limit = hello_limit(worker);
    let answer = master.request_within(limit, Command::Hello, &*hello).map_err(|error| match error {
        RequestError::Closed { .. } => NotConnected::Closed(error),
        RequestError::Timeout { .. } => NotConnected::Silent(error, address),
        _ => NotConnected::Refused(error),
    })?;
    let agreed = match link.native {
        Native::Never => Ok(None),
        Native::Auto | Native::Require => agree(&worker.node, master, hello.as_bytes(), &answer),
    };
    match agreed {
        Ok(Some(Speaks { features, session: Some(name), told })) => {
            let told = told.unwrap_or_else(|| Told::of_an_earlier_release(&name));
            worker.node.term.may_follow(&told.claim).map_err(NotConnected::Former)?;
            // Hello counts when it is said in the session, which no recording can do; and so does its answer.
            master.request(Command::Hello, hello).map_err(|error| match error {
                RequestError::Refused(_) => NotConnected::Refused(error),
                _ => no_session(worker, error.to_string()),
            })?;
            master.accept();
            worker.known_master.remember(host, &name);
            let before = worker.node.term.claim().master;
            if !before.is_empty() && before != told.claim.master {
                worker.new_master.store(true, Ordering::Release);
            }
            worker.node.term.follow(&told);
            *worker.ttl.write() = told.ttl.map(|ttl| Duration::from_secs(ttl).clamp(TTL.0, TTL.1));
            Ok(features)
        }
        Ok(None) if needs_session(worker) => Err(no_session(worker, "it offers none".to_owned())),
        Ok(Some(_)) if needs_session(worker) => Err(no_session(worker, "it did not take it".to_owned())),
        Err(Disagreed::Refused(error)) => Err(NotConnected::Refused(error)),
        Err(Disagreed::Otherwise(reason)) if needs_session(worker) => Err(no_session(worker, reason)),
        Ok(agreed) => Ok(agreed.map(|speaks| speaks.features).unwrap_or_default()),
        Err(Disagreed::Otherwise(reason)) => {
            warn!(scope, "No protocol extensions with the master, the standard protocol is used: {reason}");
            Ok(Features::default())
        }
    }
}

/// How long the answer to hello may take. Where another node may be the master at any time, one that hangs is soon left for it.
fn hello_limit(worker: &Worker) -> Duration {
    let limit = worker.node.settings.communication.timeout_cluster_request;
    worker.ttl.read().map_or(limit, |ttl| limit.min(ttl / 3))
}

fn no_session(worker: &Worker, why: String) -> NotConnected {
    let remedy = match worker.known_master.name() {
        Some(name) => format!(
            "this worker has had a session with it; if the master really runs the stock daemon, or an older release, now: \
             'cluster_control --forget {name}' on this worker"
        ),
        None => "this worker accepts sessions only (cluster.json, link.native); let the master run this daemon, with session \
                 in its link.features"
            .to_owned(),
    };
    NotConnected::NoSession(why, remedy)
}
