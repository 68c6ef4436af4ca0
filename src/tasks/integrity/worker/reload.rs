//! `sendrreload`: has the ruleset loaded anew after the next check (`spec/protocol.md` 10.7, 13.11).

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    logging::{Scope, error, info, warn},
    sockets::Endpoint,
};

/// How long the program that applies the rules may take to load them.
const PATIENCE: Duration = Duration::from_secs(30);

const MESSAGE: &[u8] = br#"{"version": 1, "origin": {"module": "cluster"}, "command": "reload-ruleset"}"#;

/// Whether the ruleset is to be loaded anew. Outlives connections.
pub struct Reload {
    wanted: AtomicBool,
    /// When a loading that went well began, wall clock.
    done: Mutex<Option<SystemTime>>,
    analysis: Endpoint,
}

#[derive(Deserialize)]
struct ReloadAnswer {
    error: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Value,
}

impl Reload {
    /// Not wanted yet; `analysis` is the program that loads it.
    pub fn new(analysis: Endpoint) -> Self {
        Self { wanted: AtomicBool::new(false), done: Mutex::default(), analysis }
    }

    /// When the ruleset was last loaded by this daemon's order, wall clock. What changed after that is not loaded.
    pub fn last(&self) -> Option<SystemTime> {
        *self.done.lock()
    }

    /// It is to be loaded after the next check.
    pub fn want(&self) {
        self.wanted.store(true, Ordering::Release);
    }

    /// Has it loaded if that is wanted. If it fails, it stays wanted.
    pub(super) fn carry_out(&self, scope: &Scope) {
        // Wanted once more while it is loaded, it is loaded once more.
        if !self.wanted.swap(false, Ordering::AcqRel) {
            return;
        }
        let begun = SystemTime::now();
        let answer = self.ask();
        if answer.is_ok() {
            *self.done.lock() = Some(begun);
        }
        match answer {
            Ok(None) => info!(scope, "The ruleset was loaded anew."),
            Ok(Some(remarks)) => warn!(scope, "The ruleset was loaded anew, with remarks: {remarks}"),
            Err(reason) => {
                self.want();
                error!(scope, "The ruleset could not be loaded anew, it is tried again after the next check: {reason}");
            }
        }
    }

    /// What the program remarks.
    fn ask(&self) -> Result<Option<String>, String> {
        let answer = self.analysis.ask(MESSAGE, PATIENCE).map_err(|unanswered| unanswered.reason)?;
        let ReloadAnswer { error, message, data } = serde_json::from_slice(&answer)
            .map_err(|error| format!("wazuh-analysisd gave no answer of its form: {error}"))?;
        let remarks = match &data {
            Value::Array(lines) if !lines.is_empty() => Some(data.to_string()),
            _ => None,
        };
        if error == 0 { Ok(remarks) } else { Err(format!("{message} {}", remarks.unwrap_or_default())) }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;
    use crate::{logging::scope, sockets::frame, system::shutdown};

    #[test]
    fn it_is_loaded_once_and_again_after_a_failure() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("analysis");
        let (_trigger, shutdown) = shutdown::channel();
        let reload = Reload::new(Endpoint::new("wazuh-analysisd", path.clone(), shutdown));
        let scope = scope("Worker w", "Integrity sync");
        reload.carry_out(&scope);
        reload.want();
        reload.carry_out(&scope);
        assert!(reload.wanted.load(Ordering::Acquire), "nobody serves the socket");
        let listener = UnixListener::bind(&path).unwrap();
        let answers =
            [r#"{"error": 1, "message": "bad rule"}"#, "ok", r#"{"error": 0, "message": "ok", "data": ["w"]}"#];
        let program = thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                assert_eq!(frame::read(&mut stream, |_| ()).unwrap().unwrap(), MESSAGE);
                frame::write(&mut stream, answer.as_bytes()).unwrap();
            }
        });
        let wanted = [0; 3].map(|_| {
            reload.carry_out(&scope);
            reload.wanted.load(Ordering::Acquire)
        });
        assert_eq!(wanted, [true, true, false]);
        // Nobody accepts a fourth connection, and none is tried.
        program.join().unwrap();
        reload.carry_out(&scope);
    }
}
