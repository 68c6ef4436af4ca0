//! Client of the stock database daemon, `wazuh-db` (`spec/agentdb.md` 1, 9 and 10).
//!
//! ```text
//!  query ──────────────────► queue/db/wdb                 connections that stay, one for each caller at a time
//!  take_info, store_info ──► queue/sockets/wdb-http.sock  a connection for each call; since 4.13
//! ```

mod http;
mod pool;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::{Backend, Error, Reply, TakenInfo};
use crate::{
    config::Home,
    sockets::{Endpoint, frame::LONGEST},
    system::shutdown::Shutdown,
};
use pool::Pool;

/// The stock daemon's limit for reading over HTTP; what is written may take as long as a command.
const READING: Duration = Duration::from_secs(10);

/// The one command whose answer has several frames, which a [`Reply`] has no room for.
const STREAMED: &str = "global get-all-agents context";

const SYNC: &str = "/v1/agents/sync";

/// The agent database of the stock daemon, which runs beside this daemon.
///
/// Every call ends within its limit, and within a second after the order to stop. Callers do not wait for each other.
pub struct WazuhDb {
    wdb: Pool,
    http: Endpoint,
    limit: Duration,
}

impl WazuhDb {
    /// A client in the installation `home`; nothing is opened before the first call. `limit` is for each call, from
    /// connecting to the end of the answer; the stock daemon uses 40 s.
    pub fn new(home: &Home, limit: Duration, shutdown: &Shutdown) -> Self {
        let endpoint = |path| Endpoint::new("wazuh-db", path, shutdown.clone());
        Self {
            wdb: Pool::new(endpoint(home.agent_database_socket())),
            http: endpoint(home.agent_database_http_socket()),
            limit,
        }
    }

    fn ask(&self, method: &str, body: &str, limit: Duration) -> Result<String, Error> {
        let response = http::ask(&self.http, Instant::now() + limit, method, SYNC, body.as_bytes());
        let (status, text) = response.map_err(|error| Error::Unavailable(self.http.explain(&error, limit)))?;
        match status {
            200..400 => Ok(text),
            _ => Err(Error::Refused(format!(
                "wazuh-db refused {method} {SYNC} with status {status}{}{text}; the reason stands in logs/ossec.log",
                if text.is_empty() { "" } else { ": " }
            ))),
        }
    }
}

impl Backend for WazuhDb {
    fn query(&self, request: &str) -> Result<Reply, Error> {
        check(request).map_err(Error::Refused)?;
        let answer = self.wdb.exchange(request.as_bytes(), Instant::now() + self.limit, reply);
        answer.map_err(|error| Error::Unavailable(self.wdb.endpoint.explain(&error, self.limit)))?
    }

    fn take_info(&self) -> Result<TakenInfo, Error> {
        let text = self.ask("GET", "", self.limit.min(READING))?;
        if text.trim_start().starts_with('{') {
            // It gives everything at once.
            return Ok(TakenInfo { info: text, more: false });
        }
        Err(Error::Unavailable(format!("wazuh-db answered GET {SYNC} with no JSON object: '{text:.32}'")))
    }

    fn store_info(&self, info: &str) -> Result<Option<usize>, Error> {
        self.ask("POST", info, self.limit).map(|_| None)
    }
}

/// What the database would not read to its end is not sent.
fn check(request: &str) -> Result<(), String> {
    match request.len() {
        0 => Err("an empty request cannot be sent to wazuh-db".into()),
        1..=LONGEST if request.contains('\0') => Err(format!("'{request:.32}' has a NUL, where wazuh-db would cut it")),
        1..=LONGEST if request.trim_start().starts_with(STREAMED) => {
            Err(format!("'{STREAMED}' answers with many frames; ask for pages with last_id"))
        }
        1..=LONGEST => Ok(()),
        length => Err(format!("'{request:.32}' has {length} bytes; wazuh-db takes {LONGEST} at most")),
    }
}

/// What a frame says; none if it is no answer.
fn reply(frame: &[u8]) -> Option<Result<Reply, Error>> {
    let text = String::from_utf8_lossy(frame);
    let text = text.split('\0').next().unwrap_or_default();
    let (status, payload) = text.split_once(' ').unwrap_or((text, ""));
    match status {
        "ok" => Some(Ok(Reply::Ok(payload.to_owned()))),
        "due" => Some(Ok(Reply::Due(payload.to_owned()))),
        "err" => Some(Err(Error::Refused(payload.to_owned()))),
        _ => None,
    }
}
