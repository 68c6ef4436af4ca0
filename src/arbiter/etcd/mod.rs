//! etcd 3.4 or newer as the arbiter, by the JSON gateway that each member serves beside gRPC (`spec/failover.md` 4).
//!
//! Plain HTTP/1.1 of this daemon's own, because each call has one deadline over several members, and the order to stop has to
//! end it; TLS by rustls.

mod client;
mod endpoint;
mod link;
mod message;
mod names;
mod stream;
pub mod tls;
mod url;

use std::time::Duration;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    Arbiter, Changes, Claim, Ended, Entry, Failure, Fault, Folder, Guard, Key, Lease, MOST_ENTRIES, Master, Page,
    Reading, Revision, Term, Why, Write, Written, keys::Prefix, shapes,
};
use crate::system::shutdown::Shutdown;
use client::Client;
use endpoint::Endpoint;
use message::{Granted, Header, Line, Range, Transaction, Whole};
pub use url::{NoUrl, Url};

/// The least time for a call.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tries of a guarded write: behind the last that is known, and behind an earlier one whose outcome was not known. One more
/// finds that the second was done.
const ROUNDS: usize = 3;

/// The code of gRPC for what passes by itself.
const UNAVAILABLE: i64 = 14;

/// Who asks etcd.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// A user of etcd.
    pub name: String,
    /// Its password; wiped when this is dropped.
    pub password: Zeroizing<String>,
}

/// Where etcd is, and how this node proves itself there.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// The name of the cluster of nodes, below which all its keys stand.
    pub cluster: String,
    /// The members.
    pub endpoints: Vec<Url>,
    /// None if etcd does not want to know.
    pub user: Option<User>,
    /// Needed if a URL begins with `https`.
    pub tls: Option<tls::Files>,
    /// The time of the leases. A call takes a fifth of it at the longest, and may take a second.
    pub ttl: Duration,
}

/// etcd.
pub struct Etcd {
    client: Client,
    prefix: Prefix,
}

/// Why etcd cannot be used as these options say. A person is at fault.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There is no member.
    #[error("failover.etcd names no member of etcd")]
    Nowhere,
    /// There is nothing to know them by.
    #[error("{0} needs failover.ca: the file of the authority that has signed its certificate")]
    NoAuthority(Url),
    /// A file.
    #[error(transparent)]
    File(#[from] tls::Unusable),
}

impl Etcd {
    /// Reads the files, and asks nobody. The order to stop ends every call.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn new(options: &Options, shutdown: &Shutdown) -> Result<Self, Unusable> {
        let Options { cluster, endpoints, user, tls, ttl } = options;
        let tls = tls.as_ref().map(tls::configure).transpose()?;
        if endpoints.is_empty() {
            return Err(Unusable::Nowhere);
        }
        if let Some(url) = endpoints.iter().find(|url| url.tls && tls.is_none()) {
            return Err(Unusable::NoAuthority(url.clone()));
        }
        let endpoints = endpoints.iter().map(|url| Endpoint::new(url.clone(), tls.clone(), shutdown)).collect();
        let client = Client::new(endpoints, user.clone(), (*ttl / 5).max(PATIENCE));
        Ok(Self { client, prefix: Prefix::new(cluster) })
    }

    fn path(&self, key: &Key) -> String {
        self.prefix.path(key)
    }

    /// Tries a transaction: what it compares, does if that holds, and does otherwise.
    fn transaction(&self, compare: &[Value], success: &[Value], failure: &[Value]) -> Result<Outcome, Failure> {
        let body = json!({"compare": compare, "success": success, "failure": failure});
        self.client.call("/v3/kv/txn", &body, |done: Transaction| {
            let Header { revision: Whole(revision), raft_term: Whole(leader) } = done.header;
            let succeeded = done.succeeded;
            let entries = done.entries();
            let asked = if succeeded { success.len() } else { failure.len() };
            // Without a condition nothing can fail.
            if entries.len() == asked && revision > 0 && (succeeded || !compare.is_empty()) {
                Ok(Outcome { succeeded, revision, leader, entries })
            } else {
                Err("it has not answered all that was asked")
            }
        })
    }

    /// Whether a lease lives, having been renewed; and in the time of which leader of etcd that was.
    fn keep_alive(&self, lease: Lease) -> Result<(bool, u64), Failure> {
        let body = json!({"ID": lease.to_string()});
        self.client.call("/v3/lease/keepalive", &body, |line: Line<Granted>| match line.result {
            Granted { header, id, ttl } if id.0 == lease => Ok((ttl.0 > 0, header.raft_term.0)),
            _ => Err("another lease was renewed"),
        })
    }

    /// Reads through the log: a transaction that could write goes there, as writes do, and makes no revision if it does not
    /// write. One that only reads asks for a confirmation that etcd 3.4 waits for in vain, for 7 s, when its leader dies.
    fn look(&self, keys: &[Key]) -> Result<Outcome, Failure> {
        let gets: Vec<Value> = keys.iter().map(|key| message::get(&self.path(key))).collect();
        let never = [message::delete(&self.path(&Key::Turn))];
        self.transaction(&[], &gets, &never)
    }

    /// What stands at `master` and `turn`, for the case that the condition of a transaction does not hold.
    fn who(&self) -> [Value; 2] {
        [Key::Master, Key::Turn].map(|key| message::get(&self.path(&key)))
    }

    fn operation(&self, write: &Write) -> Value {
        match write {
            Write::Put(key, value) => message::put(&self.path(key), value, 0),
            Write::Delete(key) => message::delete(&self.path(key)),
            Write::DeleteRegistrations(last) => {
                let [first, last] = [0, *last].map(|number| self.path(&Key::Registration(number)));
                message::delete_range(&first, &last)
            }
        }
    }
}

/// What became of a transaction.
struct Outcome {
    succeeded: bool,
    /// When it was done.
    revision: Revision,
    /// In the time of which leader of etcd.
    leader: u64,
    /// What each operation has read.
    entries: Vec<Option<Entry>>,
}

impl Outcome {
    /// What [`Etcd::who`] has asked for.
    fn master_and_turn(self) -> (Option<Entry>, Option<Entry>) {
        let mut entries = self.entries.into_iter();
        (entries.next().flatten(), entries.next().flatten())
    }
}

/// What no member of etcd can say, whichever it was.
fn contradiction(text: &str) -> Failure {
    Failure::of(Fault { endpoint: "etcd".to_owned(), why: Why::Senseless(text.to_owned()) })
}

impl Arbiter for Etcd {
    fn grant(&self, ttl: Duration) -> Result<Lease, Failure> {
        // Whole seconds; more than asked for does no harm.
        let seconds = ttl.as_secs_f64().ceil();
        let body = json!({"TTL": format!("{seconds:.0}")});
        self.client.call("/v3/lease/grant", &body, |granted: Granted| match granted {
            Granted { id, ttl, .. } if id.0 != 0 && ttl.0 as f64 >= seconds => Ok(id.0),
            _ => Err("a lease without a number, or with less time than was asked for"),
        })
    }

    fn renew(&self, lease: Lease) -> Result<bool, Failure> {
        self.keep_alive(lease).map(|(lives, _)| lives)
    }

    /// A member that takes itself for the leader renews without asking a quorum, also when it has been stopped for longer than
    /// the lease. So a read behind it has to go through the log in the time of the same leader: then no other could have
    /// ended the lease before.
    fn hold(&self, lease: Lease, term: Term) -> Result<Option<Ended>, Failure> {
        let (lives, leader) = self.keep_alive(lease)?;
        if !lives {
            return Ok(Some(Ended::LeaseLost));
        }
        let outcome = self.look(&[Key::Master])?;
        if !outcome.entries.iter().flatten().any(|entry| entry.created == term) {
            return Ok(Some(Ended::Superseded));
        }
        if outcome.leader == leader {
            return Ok(None);
        }
        let message = "the leader has changed meanwhile".to_owned();
        Err(Failure::of(Fault { endpoint: "etcd".to_owned(), why: Why::Said { code: UNAVAILABLE, message } }))
    }

    fn revoke(&self, lease: Lease) -> Result<(), Failure> {
        let body = json!({"ID": lease.to_string()});
        match self.client.call("/v3/lease/revoke", &body, |_: Value| Ok(())) {
            Err(failure) if !failure.says("requested lease not found") => Err(failure),
            _ => Ok(()),
        }
    }

    fn claim(&self, lease: Lease, master: &Master) -> Result<Claim, Failure> {
        let (key, turn) = (self.path(&Key::Master), self.path(&Key::Turn));
        let puts = [message::put(&key, &shapes::text(master), lease), message::put(&turn, b"0", 0)];
        let outcome = self.transaction(&[message::is_created(&key, 0)], &puts, &self.who())?;
        if outcome.succeeded {
            return Ok(Claim::Won(Guard::new(outcome.revision, lease, outcome.revision)));
        }
        match outcome.master_and_turn() {
            (Some(own), Some(turn)) if own.lease == lease => {
                Ok(Claim::Won(Guard::new(own.created, lease, turn.changed)))
            }
            (Some(other), _) => Ok(Claim::Lost(other)),
            (None, _) => Err(contradiction("a key that is there and is not")),
        }
    }

    fn read(&self, keys: &[Key]) -> Result<Reading, Failure> {
        self.look(keys).map(|Outcome { revision, entries, .. }| Reading { revision, entries })
    }

    fn list(&self, folder: Folder, after: Option<&Key>) -> Result<Page, Failure> {
        let path = self.prefix.folder(folder);
        // Behind a key comes first what is one byte of zero longer. The folder ends before what ends with the next byte
        // behind its slash.
        let first = after.map_or_else(|| path.clone(), |key| format!("{}\0", self.path(key)));
        let end = format!("{}0", path.trim_end_matches('/'));
        let body =
            json!({"key": message::text(first), "range_end": message::text(end), "limit": MOST_ENTRIES.to_string()});
        let range: Range = self.client.call("/v3/kv/range", &body, |range: Range| match range.kvs.0.len() {
            0..=MOST_ENTRIES => Ok(range),
            _ => Err("more keys than were asked for"),
        })?;
        let entry = |one: message::KeyValue| match self.prefix.key(folder, &one.key.0) {
            Some(key) => Ok((key, Entry::from(one))),
            None => {
                let why = Why::Foreign(String::from_utf8_lossy(&one.key.0).into_owned());
                Err(Failure::of(Fault { endpoint: "etcd".to_owned(), why }))
            }
        };
        Ok(Page { entries: range.kvs.0.into_iter().map(entry).collect::<Result<_, _>>()?, more: range.more })
    }

    fn announce(&self, key: &Key, value: &[u8], lease: Lease) -> Result<(), Failure> {
        self.transaction(&[], &[message::put(&self.path(key), value, lease)], &[]).map(|_| ())
    }

    fn write(&self, guard: &mut Guard, writes: &[Write]) -> Result<Written, Failure> {
        guard.number += 1;
        let number = guard.number.to_string().into_bytes();
        let (key, turn) = (self.path(&Key::Master), self.path(&Key::Turn));
        let own = message::put(&turn, &number, 0);
        let puts: Vec<Value> = writes.iter().map(|write| self.operation(write)).chain([own]).collect();
        for _ in 0..ROUNDS {
            let compare = [message::is_created(&key, guard.term), message::is_changed(&turn, guard.last)];
            let outcome = self.transaction(&compare, &puts, &self.who())?;
            if outcome.succeeded {
                guard.last = outcome.revision;
                return Ok(Written::Done);
            }
            let (master, turn) = outcome.master_and_turn();
            if master.is_none_or(|master| master.created != guard.term) {
                return Ok(Written::Superseded);
            }
            let turn = turn.ok_or_else(|| contradiction("the key turn is gone"))?;
            if turn.changed == guard.last {
                return Err(contradiction("a condition that holds and does not"));
            }
            // Either this write was done and its answer was lost, or an earlier one of which nobody knew. There is no third:
            // only this guard writes in its term.
            guard.last = turn.changed;
            if turn.value == number {
                return Ok(Written::Done);
            }
        }
        Err(contradiction("a term with two writers"))
    }

    fn changes(&self, revision: Revision) -> Result<Box<dyn Changes>, Failure> {
        let from = revision.saturating_add(1).to_string();
        let watch = |key| json!({"create_request": {"key": message::text(self.path(&key)), "start_revision": from}});
        let stream = self.client.stream("/v3/watch", &[Key::Master, Key::Switch].map(watch))?;
        Ok(Box::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_etcd_documents() {
        let delete = message::delete_range("/a/reg/0", "/a/reg/7");
        assert_eq!(delete.to_string(), r#"{"request_delete_range":{"key":"L2EvcmVnLzA=","range_end":"L2EvcmVnLzcA"}}"#);
        let compare = message::is_created("/a/master", 12).to_string();
        let expected = r#"{"key":"L2EvbWFzdGVy","target":"CREATE","result":"EQUAL","create_revision":"12"}"#;
        assert_eq!(compare, expected);
        assert_eq!(message::parse::<Header>(br#"{"revision":"5"}"#).unwrap().revision.0, 5);
    }

    #[test]
    fn options_that_cannot_work_are_refused() {
        let (_trigger, shutdown) = crate::system::shutdown::channel();
        let options = |urls: &[&str], tls: Option<tls::Files>| Options {
            cluster: "wazuh".into(),
            endpoints: urls.iter().map(|url| url.parse().unwrap()).collect(),
            user: None,
            tls,
            ttl: Duration::from_secs(10),
        };
        let fault =
            |options: Options| Etcd::new(&options, &shutdown).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(fault(options(&[], None)), "failover.etcd names no member of etcd");
        assert!(fault(options(&["https://a:1"], None)).starts_with("https://a:1 needs failover.ca"));
        let nowhere = tls::Files { ca: "/nonexistent/ca".into(), own: None };
        assert!(fault(options(&["https://a:1"], Some(nowhere))).starts_with("/nonexistent/ca: No such file"));
        let device = tls::Files { ca: "/dev/null".into(), own: None };
        assert!(fault(options(&["https://a:1"], Some(device))).contains("not a regular file"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let empty = tls::Files { ca: file.path().to_owned(), own: None };
        assert!(fault(options(&["https://a:1"], Some(empty))).contains("it holds no certificate"));
        assert_eq!(fault(options(&["http://a:1"], None)), "");
    }
}
