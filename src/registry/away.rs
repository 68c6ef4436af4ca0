//! A worker that the master knows and that is not connected.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::ConnectedWorker;
use crate::{
    connection::PEER_CLOSED,
    crypto::is_fingerprint,
    system::clock::iso,
    verdict::{State, Verdict},
};

/// The longest word of a worker that is remembered, in bytes: that of hello.
const WORD: usize = 255;

/// The longest reason, in bytes: the texts of peers may be of any length.
const REASON: usize = 512;

/// What is remembered of a worker, as it stands in `nodes.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Away {
    /// The worker.
    pub name: String,
    /// What it said that it is.
    #[serde(rename = "type")]
    pub node_type: String,
    /// The version that it stated last.
    pub version: String,
    /// Where its last connection came from.
    pub ip: String,
    /// The fingerprint of the key that its last connection had: the key itself is not to outlive its removal here.
    #[serde(default)]
    pub key: Option<String>,
    /// Whether it has had a session with this master: it is not accepted without one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub session: bool,
    /// How its last connection ended; none while there is one, and of one that the end of this master has ended.
    #[serde(default)]
    pub left: Option<Left>,
}

/// Why a worker is not connected, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Wall clock.
    #[serde(with = "iso")]
    pub since: SystemTime,
    /// A sentence without its end.
    pub reason: String,
    /// Why it was not let in again, when it has tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Left {
    /// It left, and the connection ended for this reason.
    pub fn new(since: SystemTime, reason: &str) -> Self {
        let reason = match reason {
            PEER_CLOSED => "it closed the connection, as when it is stopped, restarted or killed",
            other => other,
        };
        Self { since, reason: short(reason, REASON), refused: None }
    }

    /// It was connected when the master ended, and is not since the master has started again, at this time.
    pub fn with_the_master(since: SystemTime) -> Self {
        Self::new(since, "it has not come back since this master started")
    }
}

impl Away {
    /// What is to be remembered of a worker that is, or was, connected. Slow for a key that has not been named before.
    pub fn of(worker: &ConnectedWorker) -> Self {
        let key = worker.connection.cipher().map(|cipher| cipher.fingerprint().to_owned());
        let hello = worker.hello.clone();
        let ip = worker.address.to_string();
        let session = worker.had_session();
        Self { name: hello.node, node_type: hello.node_type, version: hello.version, ip, key, session, left: None }
    }

    /// As it may have been written by anybody: with no text longer than this daemon would write.
    pub fn bounded(mut self) -> Self {
        for word in [&mut self.name, &mut self.node_type, &mut self.version, &mut self.ip] {
            *word = short(word, WORD);
        }
        self.key = self.key.filter(|key| is_fingerprint(key));
        if let Some(left) = &mut self.left {
            left.reason = short(&left.reason, REASON);
            left.refused = left.refused.take().map(|refused| short(&refused, REASON));
        }
        self
    }

    /// It wanted to come back and was refused; whether that is news.
    pub fn refuse(&mut self, reason: &str) -> bool {
        let refused = Some(short(reason, REASON));
        let Some(left) = self.left.as_mut().filter(|left| left.refused != refused) else { return false };
        left.refused = refused;
        true
    }

    /// The judgement of it.
    pub fn verdict(&self) -> Verdict {
        let name = &self.name;
        let gone = format!("if it is gone for good: 'cluster_control --forget {name}' on the master");
        let (reason, remedy) = match &self.left {
            Some(Left { refused: Some(error), .. }) => (format!("the master refuses it: {error}"), "mend that there"),
            Some(Left { reason, .. }) => (reason.clone(), "see that it runs and reaches the master"),
            None => ("this master stops".to_owned(), "start this master again"),
        };
        let since = self.left.as_ref().map(|left| left.since);
        Verdict::bad(State::Away, since, reason).with_remedy(format!("{remedy}; {gone}"))
    }
}

/// Which one is forgotten if there are too many, of a list whose first ones are away for longest: of those that have had a
/// session the name would be free for whoever has recorded an older connection.
pub fn least_missed<'a>(away: impl IntoIterator<Item = &'a Away>) -> usize {
    away.into_iter().position(|away| !away.session).unwrap_or(0)
}

fn is_false(value: &bool) -> bool {
    !value
}

fn short(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away(left: Option<Left>) -> Away {
        let [name, node_type, version, ip] = ["w1", "worker", "4.14.7", "::1"].map(str::to_owned);
        Away { name, node_type, version, ip, key: None, session: false, left }
    }

    #[test]
    fn who_has_had_a_session_is_forgotten_last() {
        let [old, young] = [away(None), away(None)];
        let proven = Away { session: true, ..away(None) };
        assert_eq!(least_missed([&proven, &old, &young]), 1);
        assert_eq!(least_missed([&proven, &proven]), 0);
        let written = serde_json::to_string(&old).unwrap();
        assert!(!written.contains("session"), "as an earlier release has it: {written}");
        assert!(!serde_json::from_str::<Away>(&written).unwrap().session);
    }

    /// Of case 2.1.
    #[test]
    fn the_last_reason_and_what_to_do_are_told() {
        let since = SystemTime::UNIX_EPOCH;
        let mut killed = away(Some(Left::new(since, PEER_CLOSED)));
        let verdict = killed.verdict();
        assert_eq!((verdict.state, verdict.since), (State::Away, Some(since)));
        assert_eq!(verdict.reason.unwrap(), "it closed the connection, as when it is stopped, restarted or killed");
        assert!(verdict.remedy.unwrap().ends_with("'cluster_control --forget w1' on the master"));

        assert!(killed.refuse("Error 3031 - another version"));
        assert!(!killed.refuse("Error 3031 - another version"), "no news");
        assert_eq!(killed.verdict().reason.unwrap(), "the master refuses it: Error 3031 - another version");
        assert!(!away(None).refuse("one that is connected is not refused"));
    }

    #[test]
    fn no_text_is_of_any_length() {
        let mut long = away(Some(Left::new(SystemTime::UNIX_EPOCH, &"é".repeat(REASON))));
        long.version = "4".repeat(1000);
        long.key = Some("not a fingerprint".into());
        let short = long.clone().bounded();
        assert_eq!((short.version.len(), short.left.as_ref().unwrap().reason.len(), short.key), (WORD, REASON, None));
    }
}
