//! A call to etcd: to its members in turn, under one deadline, with a token if etcd wants one.

use std::{
    io::BufReader,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    super::{Failure, Fault, Why},
    User,
    endpoint::{Endpoint, Request},
    message,
    stream::Stream,
};

/// The code of gRPC with which a token is refused.
const UNAUTHENTICATED: i64 = 16;

type Token = Arc<Zeroizing<String>>;

/// The members, and who asks them.
pub(super) struct Client {
    endpoints: Vec<Endpoint>,
    user: Option<User>,
    /// How long a call may take with all members.
    patience: Duration,
    /// Which member has answered last.
    last: AtomicUsize,
    /// What shows who asks; it is made when it is needed, and again when it has expired.
    token: Mutex<Option<Token>>,
}

impl Client {
    pub(super) fn new(endpoints: Vec<Endpoint>, user: Option<User>, patience: Duration) -> Self {
        Self { endpoints, user, patience, last: AtomicUsize::new(0), token: Mutex::default() }
    }

    /// What `check` makes of what etcd answers.
    pub(super) fn call<T: DeserializeOwned, U>(
        &self,
        path: &'static str,
        body: &Value,
        check: impl Fn(T) -> Result<U, &'static str>,
    ) -> Result<U, Failure> {
        let body = body.to_string();
        self.each(|endpoint, deadline| {
            let answer = self.as_user(endpoint, deadline, |token| {
                endpoint.ask(Request { path, body: body.as_bytes(), token }, deadline)
            })?;
            let answer = message::parse(&answer).map_err(|why| endpoint.fault(why))?;
            check(answer).map_err(|reason| endpoint.fault(Why::Senseless(reason.to_owned())))
        })
    }

    /// A stream that etcd answers with.
    pub(super) fn stream(&self, path: &'static str, bodies: &[Value]) -> Result<Stream, Failure> {
        let body: String = bodies.iter().map(|body| format!("{body}\n")).collect();
        self.each(|endpoint, deadline| {
            let body = self.as_user(endpoint, deadline, |token| {
                endpoint.stream(Request { path, body: body.as_bytes(), token }, deadline)
            })?;
            Ok(Stream::new(BufReader::new(body), endpoint.url.to_string()))
        })
    }

    /// Tries the members in turn, beginning with the one that has answered last. Each gets its share of the time that is
    /// left: one that hangs leaves enough for the others.
    fn each<T>(&self, mut attempt: impl FnMut(&Endpoint, Instant) -> Result<T, Fault>) -> Result<T, Failure> {
        let (start, count) = (Instant::now(), self.endpoints.len());
        let first = self.last.load(Ordering::Relaxed);
        let mut faults = Vec::new();
        for turn in 0..count {
            let at = (first + turn) % count;
            let left = self.patience.saturating_sub(start.elapsed());
            let others = u32::try_from(count - turn).unwrap_or(u32::MAX);
            match attempt(&self.endpoints[at], Instant::now() + left / others) {
                Ok(answer) => {
                    self.last.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(fault) if fault.is_final() => return Err(Failure::of(fault)),
                Err(fault) => faults.push(fault),
            }
        }
        Err(Failure(faults))
    }

    /// Asks with a token; once more, with another one, when it has expired.
    fn as_user<T>(
        &self,
        endpoint: &Endpoint,
        deadline: Instant,
        ask: impl Fn(Option<&str>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let Some(user) = &self.user else { return ask(None) };
        let token = self.token(user, endpoint, deadline)?;
        match ask(Some(&token)) {
            Err(fault) if has_expired(&fault.why) => {
                self.forget(&token);
                ask(Some(&self.token(user, endpoint, deadline)?))
            }
            outcome => outcome,
        }
    }

    fn token(&self, user: &User, endpoint: &Endpoint, deadline: Instant) -> Result<Token, Fault> {
        if let Some(token) = self.token.lock().clone() {
            return Ok(token);
        }
        // Not under the lock: two that ask at once get two tokens, which are both good.
        let body = Zeroizing::new(json!({"name": user.name, "password": *user.password}).to_string());
        let request = Request { path: "/v3/auth/authenticate", body: body.as_bytes(), token: None };
        let answer = Zeroizing::new(endpoint.ask(request, deadline)?);
        let message::Authenticated { token } = message::parse(&answer).map_err(|why| endpoint.fault(why))?;
        let token = Arc::new(Zeroizing::new(token));
        // It becomes a part of a head.
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(endpoint.fault(Why::Senseless("its token is none".to_owned())));
        }
        *self.token.lock() = Some(token.clone());
        Ok(token)
    }

    fn forget(&self, token: &Token) {
        let mut current = self.token.lock();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, token)) {
            *current = None;
        }
    }
}

/// Whether a token was refused: it has expired, its member has forgotten it when it was started again, or users have changed.
fn has_expired(why: &Why) -> bool {
    match why {
        Why::Said { code, message } => {
            *code == UNAUTHENTICATED
                || message.contains("invalid auth token")
                || message.contains("revision of auth store is old")
        }
        _ => false,
    }
}
