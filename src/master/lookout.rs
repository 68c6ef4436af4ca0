//! Thread `lookout` of a master: whether another of the `<nodes>` is the master by now (`spec/native.md` 5).
//!
//! A former master that comes back knows nothing of the change. It looks before it serves anybody, then every 10 s, and at
//! once when a worker has told of a later master. What a worker tells is no proof; what counts is the answer of a node at an
//! address of `<nodes>`, in a session. A master that is alone in `<nodes>` needs no lookout.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crossbeam_channel::{Receiver, bounded, select};

use super::Master;
use crate::{
    config::NodeType,
    connection::{CONNECT_TIMEOUT, Connection, Handler, Known, Reply, RequestError, Socket, reach},
    crypto::Fernet,
    logging::{Scope, debug, scope, warn},
    node::Node,
    registration::Resting,
    session::{
        agree::{Speaks, agree},
        hello,
        native::Features,
    },
    system::thread::Group,
    term::Claim,
    wire::{Command, Message},
};

/// From one look to the next.
const PERIOD: Duration = Duration::from_secs(10);

/// How long this node waits for the first look before it serves. A node that is down costs this at each start.
pub const FIRST: Duration = Duration::from_secs(3);

/// Starts the thread, if there is anybody to look at; what comes back is closed when the first look is over.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(master: &Arc<Master>, threads: &Group) -> io::Result<Receiver<()>> {
    let (looked, first) = bounded::<()>(0);
    let (node, master) = (&master.node, master.clone());
    // A name may take long to resolve: the thread does that.
    let may_be_another = |host: &String| host.parse::<IpAddr>().is_err() || !node.cluster.is_here(host);
    if node.cluster.nodes.iter().any(may_be_another) && Features::permitted(&node.settings.link).term {
        threads.spawn("lookout", move || {
            let cluster = &master.node.cluster;
            let others: Vec<_> = cluster.nodes.iter().filter(|host| !cluster.is_here(host)).collect();
            if !others.is_empty() {
                run(&master, &others, looked);
            }
        })?;
    }
    Ok(first)
}

fn run(master: &Master, others: &[&String], looked: crossbeam_channel::Sender<()>) {
    let (node, mut first) = (&master.node, Some(looked));
    // A later master, and the registrar at rest, while this node cannot follow that.
    let mut overruled: Option<(Claim, Option<Resting>)> = None;
    loop {
        let known = || overruled.as_ref().map(|(claim, _)| claim.clone());
        let later = others.iter().find_map(|host| look(node, host)).or_else(known);
        match later {
            Some(claim) if follows(node, &claim) => {
                // Nobody is served before the node runs anew: `first` is held until then.
                let _ = node.shutdown.channel().recv();
                return;
            }
            Some(claim) => {
                let rest = overruled.take().map_or_else(|| serve_nobody(master), |(_, rest)| rest);
                overruled = Some((claim, rest));
            }
            None => drop(first.take()),
        }
        select! {
            recv(node.shutdown.channel()) -> _ => return,
            recv(node.term.rumour().channel()) -> _ => (),
            recv(node.clock.after(PERIOD)) -> _ => (),
        }
    }
}

/// Ends what this node does as the master: workers that are connected leave, others are refused, and nobody is registered
/// while what comes back is held.
fn serve_nobody(master: &Master) -> Option<Resting> {
    master.overruled.store(true, Ordering::Release);
    for worker in master.registry.workers() {
        worker.connection.close("this node is a former master");
    }
    master.services.registrar.rest()
}

/// There is a later master. Whether this node runs anew as its worker; otherwise it tries again at the next look.
fn follows(node: &Node, claim: &Claim) -> bool {
    let Claim { term, master } = claim;
    match node.term.step_down(claim) {
        Ok(()) => {
            warn!(
                log_scope(),
                "{master} is the master of term {term}. This node, the master before, follows it; what it has alone is set \
                 aside."
            );
            node.term.changed().wake();
            true
        }
        Err(error) => {
            warn!(
                log_scope(),
                "{master} is the master of term {term}, and this node cannot follow it: queue/cluster-state/term.json cannot \
                 be written: {error}. Until it can, this node serves nobody. Make room, and let the user of this daemon write \
                 there."
            );
            false
        }
    }
}

/// What the program at `host` has proved to be, if that is a later master than this node. It may have another of the keys
/// yet, or still.
fn look(node: &Node, host: &str) -> Option<Claim> {
    node.keys().ciphers().into_iter().map_while(|cipher| look_with(node, host, cipher)).find_map(|asked| asked.ok()?)
}

/// The same with one key; none if nobody is there.
fn look_with(node: &Node, host: &str, cipher: Fernet) -> Option<Result<Option<Claim>, RequestError>> {
    // A node that is no master does not listen.
    let (stream, address) = reach((host, node.cluster.port), CONNECT_TIMEOUT, &node.shutdown).ok()?.ok()?;
    let options = node.link_options(address.to_string(), vec![cipher], Known::ByHello);
    let other = node.connections.start(Socket::Tcp(stream), options, |_| Silent).ok()?;
    let claim = ask(node, &other);
    other.close("it was only asked who it is");
    Some(claim)
}

/// # Errors
/// When it does not answer, as one that does not have this key.
fn ask(node: &Node, other: &Connection) -> Result<Option<Claim>, RequestError> {
    let cluster = &node.cluster;
    let worker = NodeType::Worker.as_str();
    let hello = hello::payload(&cluster.node_name, &cluster.name, worker, node.settings.version);
    let answer = other.request(Command::Hello, &*hello)?;
    let Ok(Some(Speaks { session: Some(_), told: Some(told), .. })) = agree(node, other, hello.as_bytes(), &answer)
    else {
        return Ok(None);
    };
    debug!(log_scope(), "{} says that it is the master of term {}.", told.claim.master, told.claim.term);
    // Only who has the key now can answer this.
    let proved = node.term.is_later(&told.claim) && other.request(Command::Hello, hello).is_ok();
    Ok(proved.then_some(told.claim))
}

/// Answers nothing: who is only asked has nothing to ask.
struct Silent;

impl Handler for Silent {
    fn request(&mut self, reply: Reply, _: Message) {
        reply.unknown();
    }

    fn closed(&mut self, _: &str) {}
}

fn log_scope() -> Scope {
    scope("Cluster", "Term")
}
