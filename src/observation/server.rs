//! The bound socket, and which path leads where.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use super::{exposition, health::Health, page, view::View};
use crate::{
    config::{Home, settings::Listen},
    limits::WATCHERS,
    local::Role,
    logging::{Scope, error, scope},
    questions,
    sockets::{
        Accept, Limits, Listener, Port,
        http::{Request, Response, Room, Terms, talk},
    },
    system::thread::{Group, guard},
};

/// Who watches asks a few times a minute.
const LIMITS: Limits = Limits { clients: WATCHERS, request: Duration::from_secs(5), answer: Duration::from_secs(5) };

/// How long a connection may wait for its next request.
const IDLE: Duration = Duration::from_secs(30);

/// Mode of the directory of a UNIX socket, if it is missing.
const DIRECTORY: u32 = 0o750;

/// The page may load nothing, send nothing and be part of nothing.
const PAGE: &str = "Content-Type: text/html; charset=utf-8\r\n\
    Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n";
const METRICS: &str = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
const JSON: &str = "Content-Type: application/json\r\n";
const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";
const EVERY: &str = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";

/// The socket for those who watch.
pub enum Server {
    /// A file.
    Unix(Listener),
    /// A loopback address.
    Tcp(Listener<Port>, SocketAddr),
}

impl Server {
    /// Binds the place that cluster.json names.
    ///
    /// # Errors
    /// When it is taken, or may not be had; the text names it.
    pub fn bind(home: &Home, listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Socket(path) => {
                Listener::bind("metrics", log_scope(), home.path().join(path), DIRECTORY).map(Self::Unix)
            }
            Listen::Address(address) => Port::bind(*address)
                .map(|port| Self::Tcp(Listener::new("metrics", log_scope(), port), *address))
                .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}"))),
        }
    }

    /// Makes the blocked accept return; to be called after the order to stop.
    ///
    /// # Errors
    /// When the socket cannot be cloned.
    pub fn stopper(&self) -> io::Result<Box<dyn FnOnce() + Send>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.stopper()?),
            Self::Tcp(listener, _) => Box::new(listener.stopper()?),
        })
    }

    /// Starts the thread `metrics-listen`, which ends after the threads of its programs.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(self, role: &Role, threads: &Group) -> io::Result<()> {
        let answers = Arc::new(Answers { role: role.clone(), tcp: matches!(self, Self::Tcp(..)) });
        threads.spawn("metrics-listen", move || match self {
            Self::Unix(listener) => serve(listener, &answers),
            Self::Tcp(listener, _) => serve(listener, &answers),
        })
    }
}

fn log_scope() -> Scope {
    scope("Cluster", "Metrics")
}

fn serve<B: Accept>(listener: Listener<B>, answers: &Arc<Answers>) {
    let (node, answers) = (answers.role.node().clone(), answers.clone());
    let respond = move |request: Request| {
        let tell = |panic: &String| error!(log_scope(), "A request failed: {panic}. Please report this.");
        guard(|| answers.to(&request)).inspect_err(tell).ok()
    };
    // Nobody has anything to send here.
    let terms = Terms { limits: LIMITS, idle: Some(IDLE), body: 0, room: Room::new(0) };
    listener.run(LIMITS, &node.clock, &node.shutdown, move |stream: &_| talk(stream, &respond, &terms));
}

struct Answers {
    role: Role,
    tcp: bool,
}

impl Answers {
    fn to(&self, request: &Request) -> Response {
        if self.tcp && !is_local(&request.host) {
            return text(421, "This address is asked by the name of this machine's loopback interface only.");
        }
        let known = matches!(&*request.path, "/" | "/metrics" | "/health" | "/master");
        match (&*request.method, &*request.path) {
            ("GET" | "HEAD", "/") => {
                let view = self.view();
                answer(200, PAGE, page::page(&view, &Health::of(&view), &questions::own::known(&view.node)))
            }
            ("GET" | "HEAD", "/metrics") => answer(200, METRICS, exposition::text(&self.view())),
            ("GET" | "HEAD", "/health") => {
                // A probe does not wait for the agent database.
                let view = View::new(&self.role, None);
                let health = Health::of(&view);
                answer(if health.is_good() { 200 } else { 503 }, JSON, health.to_json(&view))
            }
            ("GET" | "HEAD", "/master") => self.master(),
            (_, _) if known => {
                let refused = text(405, "Only GET and HEAD are served here.");
                Response { headers: format!("Allow: GET, HEAD\r\n{}", refused.headers), ..refused }
            }
            _ => text(404, "There are /, /metrics, /health and /master."),
        }
    }

    /// For load balancers, which ask often: nothing is gathered.
    fn master(&self) -> Response {
        let (node, acts) = (self.role.node(), self.role.acts_as_master());
        let (status, role) = if acts { (200, "master") } else { (503, "standby") };
        text(status, &format!("role: {role}, node: {}, term: {}", node.cluster.node_name, node.term.claim().term))
    }

    fn view(&self) -> View {
        let (node, services) = (self.role.node(), self.role.services());
        View::new(&self.role, services.active.lately(&services.agents, &node.local_requests, &node.clock))
    }
}

fn answer(status: u16, kind: &str, body: String) -> Response {
    Response { status, headers: format!("{kind}{EVERY}"), body }
}

fn text(status: u16, body: &str) -> Response {
    answer(status, TEXT, format!("{body}\n"))
}

/// Whether a browser that sends this header was told the address by a person, and not by a page of somebody else whose
/// name leads here. A program that sends none is no browser.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let address = name.parse::<std::net::IpAddr>();
    host.is_empty() || name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_answered() {
        for host in ["", "localhost", "localhost:9100", "127.0.0.1:9100", "127.1.2.3", "[::1]:9100", "[::1]"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["example.org", "localhost.example.org:80", "10.0.0.1:9100", "[::2]:1", "127.0.0.1.example.org"] {
            assert!(!is_local(host), "{host}");
        }
    }
}
