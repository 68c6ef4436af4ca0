//! The sockets at which the other programs of the manager find the agent database (`spec/agentdb.md` 1 and 9).
//!
//! ```text
//!  wdb-listen       ─► accepts at queue/db/wdb,                wdb       one thread for each program: frame, answer
//!  wdb-http-listen  ─► accepts at queue/sockets/wdb-http.sock, wdb-http  one thread for each program: request, response
//! ```
//! On the order to stop, the listening threads end, shut the sockets of their programs and join the threads of those.

#[cfg(test)]
pub(in crate::agents) mod fake;
#[cfg(test)]
mod tests;
mod wdb;

use std::io;

use super::Answer;
use crate::{
    config::Home,
    limits::{HTTP_BODIES, HTTP_BODY},
    logging::{Scope, error, scope},
    sockets::{
        Limits, Listener,
        http::{Request, Response, Room, Terms, talk},
    },
    system::{clock::Clock, shutdown::Shutdown, thread},
};

/// What the servers ask. A call may wait, and only its own program waits with it.
pub trait Serve: Clone + Send + 'static {
    /// Does what one request of the command socket says.
    fn answer(&self, request: String) -> Answer;

    /// The status and the JSON, or nothing, for an HTTP request. The path is decoded and without a query.
    fn route(&self, method: &str, path: &str, body: String) -> (u16, String);
}

/// The bound sockets of the agent database.
pub struct Servers {
    wdb: Listener,
    http: Listener,
    limits: Limits,
}

impl Servers {
    /// Binds both sockets, mode 0660, and creates the directories that are missing. What an earlier daemon left is
    /// replaced; what a living one serves is not.
    ///
    /// # Errors
    /// When another program serves one of them, or a directory may not be written. The text names the socket.
    pub fn bind(home: &Home) -> io::Result<Self> {
        let wdb = Listener::bind("wdb", log_scope(), home.agent_database_socket(), 0o750)?;
        let http = Listener::bind("wdb-http", log_scope(), home.agent_database_http_socket(), 0o770)?;
        Ok(Self { wdb, http, limits: Limits::default() })
    }

    /// Makes the blocked accepts return; to be called after the order to stop.
    ///
    /// # Errors
    /// When a socket cannot be cloned.
    pub fn stopper(&self) -> io::Result<impl FnOnce() + Send + use<>> {
        let (wdb, http) = (self.wdb.stopper()?, self.http.stopper()?);
        Ok(move || {
            wdb();
            http();
        })
    }

    /// Starts the two listening threads in `threads`. They end after the threads of their programs.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        self,
        serve: impl Serve,
        clock: &Clock,
        shutdown: &Shutdown,
        threads: &thread::Group,
    ) -> io::Result<()> {
        let Self { wdb, http: web, limits } = self;
        let (clock, shutdown, also) = (clock.clone(), shutdown.clone(), serve.clone());
        let (again, stop, room) = (clock.clone(), shutdown.clone(), Room::new(HTTP_BODIES as u64));
        threads.spawn("wdb-listen", move || {
            wdb.run(limits, &clock, &shutdown, move |stream| wdb::talk(stream, &serve, limits));
        })?;
        threads.spawn("wdb-http-listen", move || {
            let terms = Terms { limits, idle: None, body: HTTP_BODY as u64, room };
            let respond = move |Request { method, path, body, .. }| {
                guard(|| also.route(&method, &path, body)).map(|(status, json)| response(status, json))
            };
            web.run(limits, &again, &stop, move |stream| talk(stream, &respond, &terms));
        })
    }
}

fn response(status: u16, json: String) -> Response {
    let kind = if json.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    Response { status, headers: kind.to_owned(), body: json }
}

/// Runs a request; one that panics is logged, and only itself fails.
fn guard<T>(request: impl FnOnce() -> T) -> Option<T> {
    let told = |panic: &String| {
        error!(log_scope(), "A request failed: {panic}. Please report this.");
    };
    thread::guard(request).inspect_err(told).ok()
}

fn log_scope() -> Scope {
    scope("Cluster", "Agent database")
}
