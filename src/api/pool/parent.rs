//! The process that has the framework in memory and forks children.

use std::{
    io,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    child::{Child, ready},
    stop::Stop,
    watched::{Watched, prepare},
};
use crate::{
    config::Home,
    framework::{Framework, Program},
    limits,
    logging::{Scope, info},
    node::Node,
    system::stamp::Stamp,
};

const SOURCE: &str = include_str!("executor.py");

/// How long it may take to import the framework: a second, or ten on a machine that does much else.
const START: Duration = Duration::from_secs(120);

/// How long a child may take until it serves.
const FORK: Duration = Duration::from_secs(10);

/// How long the parent may take to tell how a child ended.
const FATE: Duration = Duration::from_secs(1);

/// One such process, which ends with all its children when this is dropped.
pub(super) struct Parent {
    program: Program,
    files: Files,
    /// Of the next child.
    number: AtomicU32,
}

/// The files that the framework reads once, as they were.
#[derive(Clone, PartialEq)]
pub(super) struct Files(Vec<Option<Stamp>>);

impl Files {
    /// Those of a home, as they are now.
    pub(super) fn of(home: &Home, framework: &Framework) -> Self {
        let configuration = home.path().join("api/configuration");
        let files = [
            home.ossec_conf(),
            configuration.join("api.yaml"),
            configuration.join("security/security.yaml"),
            framework.package().to_owned(),
        ];
        let mut stamps: Vec<Option<Stamp>> = files.iter().map(|file| Stamp::of(file).ok()).collect();
        // Its content changes with every user; it is opened once.
        stamps.push(Stamp::of(&configuration.join("security/rbac.db")).ok().map(|stamp| stamp.of_inode()));
        Self(stamps)
    }
}

impl Parent {
    /// Starts one, and waits until the framework is in memory; `files` are those from before.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn start(node: &Node, framework: &Framework, files: Files, scope: &Scope) -> Result<Arc<Self>, String> {
        let begun = Instant::now();
        let mut program = framework
            .launch(SOURCE, &settings(node), &node.home.cluster_dir())
            .map_err(|error| format!("it cannot be started: {error}"))?;
        prepare(program.line()).map_err(|error| error.to_string())?;
        let stop = Stop { node, asker: None, late: None, patience: Some(begun + START) };
        let version = ready(&mut Watched::new(program.line(), &stop), scope);
        let version = version.map_err(|error| why(&mut program, &stop, &error))?;
        let (pid, took) = (program.pid(), begun.elapsed().as_secs_f64());
        info!(scope, "The executor of the API runs with the framework {version}, pid {pid}; started in {took:.3}s.");
        Ok(Arc::new(Self { program, files, number: AtomicU32::new(0) }))
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// Whether the process runs.
    pub(super) fn lives(&self) -> bool {
        self.program.runs()
    }

    /// A new child, which waits for a request.
    ///
    /// # Errors
    /// Why there is none; the parent is of no more use, unless `stop` came first.
    pub(super) fn fork(this: &Arc<Self>, stop: &Stop<'_>, scope: &Scope) -> Result<Child, String> {
        let child = Self::order_child(this).map_err(|error| format!("a process cannot be ordered: {error}"))?;
        let stop = Stop { patience: Some(Instant::now() + FORK), ..*stop };
        child.ready(&stop, scope).map_err(|_| child.ended().message())?;
        Ok(child)
    }

    fn order_child(this: &Arc<Self>) -> io::Result<Child> {
        let ((line, served), (fate, told)) = (UnixStream::pair()?, UnixStream::pair()?);
        prepare(&line)?;
        fate.set_read_timeout(Some(FATE))?;
        let number = this.number.fetch_add(1, Ordering::Relaxed);
        this.program.send_with(&number.to_be_bytes(), &[served, told])?;
        Ok(Child { number, line, fate, parent: this.clone(), last: false })
    }

    /// Has a child end at once.
    pub(super) fn kill(&self, number: u32) {
        if self.program.send_with(&number.to_be_bytes(), &[] as &[UnixStream]).is_err() {
            // It cannot do it any more.
            self.program.kill();
        }
    }
}

/// What the program is to know.
fn settings(node: &Node) -> Value {
    json!({
        "home": node.home.path(),
        "node": node.cluster.node_name,
        "type": node.cluster.node_type.to_string(),
        "enabled": node.settings.distributed_api.enabled,
        "requests": limits::API_PROCESS_REQUESTS,
        "memory": limits::API_PROCESS_MEMORY,
        "longest_answer": limits::API,
        "longest_refusal": limits::REQUEST,
    })
}

/// Why it is not ready.
fn why(program: &mut Program, stop: &Stop<'_>, error: &io::Error) -> String {
    if let Some(error) = stop.error() {
        return error.message();
    }
    let complaint = program.complaint();
    match (error.kind(), program.end()) {
        (io::ErrorKind::Other | io::ErrorKind::InvalidData, _) | (_, Err(_)) => error.to_string(),
        _ if !complaint.is_empty() => complaint,
        (_, Ok(status)) => format!("it ended with {status}"),
    }
}
