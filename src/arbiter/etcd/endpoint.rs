//! One member of etcd, and one HTTP request to it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    sync::Arc,
    time::Instant,
};

use parking_lot::Mutex;
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use zeroize::Zeroizing;

use super::{
    super::{Fault, Why},
    Url,
    link::{Link, Reader},
    message,
    names::Names,
    tls,
};
use crate::{
    limits::ARBITER_ANSWER,
    sockets::http::answer::{Body, Head},
    system::shutdown::Shutdown,
};

/// Connections that are kept while nobody uses them: for the renewal, the watch and the writes.
const KEPT: usize = 3;

/// The HTTP status with which etcd answers when it does what it was asked.
const OK: u16 = 200;

/// A member.
pub(super) struct Endpoint {
    pub(super) url: Url,
    tls: Option<Arc<ClientConfig>>,
    names: Names,
    idle: Mutex<Vec<Reader>>,
    shutdown: Shutdown,
}

/// A request.
#[derive(Clone, Copy)]
pub(super) struct Request<'r> {
    /// `/v3/kv/txn`.
    pub(super) path: &'static str,
    /// JSON.
    pub(super) body: &'r [u8],
    /// What shows who asks, if etcd wants to know.
    pub(super) token: Option<&'r str>,
}

impl Endpoint {
    /// `tls` is needed by a URL that wants it.
    pub(super) fn new(url: Url, tls: Option<Arc<ClientConfig>>, shutdown: &Shutdown) -> Self {
        let tls = tls.filter(|_| url.tls);
        Self { url, tls, names: Names::new(), idle: Mutex::default(), shutdown: shutdown.clone() }
    }

    /// What etcd answers.
    pub(super) fn ask(&self, request: Request<'_>, deadline: Instant) -> Result<Vec<u8>, Fault> {
        self.exchange(request, deadline).map_err(|why| self.fault(why))
    }

    /// The beginning of an answer that does not end: its status is good, and its body is read line by line.
    pub(super) fn stream(&self, request: Request<'_>, deadline: Instant) -> Result<Body<Reader>, Fault> {
        let open = || {
            let mut reader = self.connect(deadline)?;
            let head = send(&mut reader, &self.url, request).map_err(|error| self.why(&error))?;
            if head.status == OK {
                // A stream may become long; its lines may not.
                head.body(reader, u64::MAX).map_err(|error| self.why(&error))
            } else {
                Err(refusal(head.status, &self.whole(&head, &mut reader)?))
            }
        };
        open().map_err(|why| self.fault(why))
    }

    /// That this was wrong with this member.
    pub(super) fn fault(&self, why: Why) -> Fault {
        Fault { endpoint: self.url.to_string(), why }
    }

    fn exchange(&self, request: Request<'_>, deadline: Instant) -> Result<Vec<u8>, Why> {
        let (mut reader, head) = match self.on_kept(request, deadline) {
            Some(outcome) => outcome.map_err(|error| self.why(&error))?,
            None => {
                let mut reader = self.connect(deadline)?;
                let head = send(&mut reader, &self.url, request).map_err(|error| self.why(&error))?;
                (reader, head)
            }
        };
        let body = self.whole(&head, &mut reader)?;
        if head.stays && reader.buffer().is_empty() {
            let mut idle = self.idle.lock();
            if idle.len() < KEPT {
                idle.push(reader);
            }
        }
        if head.status == OK { Ok(body) } else { Err(refusal(head.status, &body)) }
    }

    /// Sends it on a connection that was kept; none if there is none, or it turned out to be closed. Whether etcd has got the
    /// request then is not known; no request does harm when it comes twice.
    fn on_kept(&self, request: Request<'_>, deadline: Instant) -> Option<io::Result<(Reader, Head)>> {
        let mut reader = self.take()?;
        reader.get_mut().deadline = deadline;
        match send(&mut reader, &self.url, request) {
            Ok(head) => Some(Ok((reader, head))),
            Err(error) if is_closed(&error) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn take(&self) -> Option<Reader> {
        let mut idle = self.idle.lock();
        std::iter::from_fn(|| idle.pop()).find(|reader| reader.get_ref().is_quiet())
    }

    fn connect(&self, deadline: Instant) -> Result<Reader, Why> {
        let addresses = self.names.addresses(&self.url, deadline).map_err(Why::Unresolved)?;
        let tls = match &self.tls {
            None => None,
            Some(config) => Some(self.greet(config)?),
        };
        let link = Link::connect(&addresses, tls, deadline, &self.shutdown).map_err(|error| Why::io(&error))?;
        Ok(BufReader::new(link))
    }

    fn greet(&self, config: &Arc<ClientConfig>) -> Result<ClientConnection, Why> {
        let name = ServerName::try_from(self.url.host.clone());
        let name = name.map_err(|error| Why::Tls(error.to_string(), "write a name that can stand in a certificate"))?;
        ClientConnection::new(config.clone(), name).map_err(|error| Why::Tls(error.to_string(), tls::remedy(&error)))
    }

    fn whole(&self, head: &Head, reader: &mut Reader) -> Result<Vec<u8>, Why> {
        let mut bytes = Vec::new();
        let outcome = head.body(reader, ARBITER_ANSWER as u64).and_then(|mut body| body.read_to_end(&mut bytes));
        outcome.map_err(|error| self.why(&error))?;
        Ok(bytes)
    }

    /// What an error of a connection to this member means.
    fn why(&self, error: &io::Error) -> Why {
        of_tls(error).map_or_else(|| Why::io(error), |error| Why::Tls(error.to_string(), tls::remedy(error)))
    }
}

/// Sends a request and reads the head of its answer.
fn send(reader: &mut Reader, url: &Url, request: Request<'_>) -> io::Result<Head> {
    let Request { path, body, token } = request;
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: {token}\r\n"));
    let (host, length) = (url.authority(), body.len());
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}Content-Type: application/json\r\nContent-Length: \
         {length}\r\n\r\n"
    );
    let text = Zeroizing::new([head.as_bytes(), body].concat());
    drop(Zeroizing::new(head));
    let link: &mut Link = reader.get_mut();
    match link.write_all(&text).and_then(|()| link.flush()) {
        // What is refused may not be read to its end, and yet there is an answer: of HTTP, or of TLS.
        Err(error) if is_closed(&error) => {
            Head::read(reader).map_err(|said| if of_tls(&said).is_some() { said } else { error })
        }
        Err(error) => Err(error),
        Ok(()) => Head::read(reader),
    }
}

/// What an answer with another status means.
fn refusal(status: u16, body: &[u8]) -> Why {
    message::error(body).unwrap_or(Why::Status(status))
}

fn of_tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::BrokenPipe | Kind::ConnectionReset | Kind::UnexpectedEof)
}

/// One line of a stream; none if its time was over before it was whole. What has come of it stays in `line`.
pub(super) fn line(body: &mut BufReader<Body<Reader>>, line: &mut Vec<u8>, longest: usize) -> io::Result<bool> {
    let left = longest.saturating_sub(line.len());
    match body.by_ref().take(left as u64).read_until(b'\n', line) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
        Err(error) => Err(error),
        Ok(_) if line.ends_with(b"\n") => Ok(true),
        Ok(_) if line.len() >= longest => Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long")),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
