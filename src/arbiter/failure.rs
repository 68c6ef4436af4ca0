//! Why the arbiter gave no answer, for the person who looks after it.

use std::{fmt, io};

/// Longest quotation of what an endpoint has said, in characters.
const LONGEST: usize = 200;

/// No endpoint gave an answer that is one. Whether the call had an effect is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Failure(pub(super) Vec<Fault>);

/// What was wrong with one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its URL.
    pub endpoint: String,
    /// What it was.
    pub why: Why,
}

/// What can be wrong with an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its name has no address.
    Unresolved(String),
    /// Nothing listens there.
    Refused,
    /// It did not answer in time.
    Late,
    /// The connection broke.
    Broken(String),
    /// TLS was not agreed on. The second text is the remedy.
    Tls(String, &'static str),
    /// The HTTP status is not one of etcd.
    Status(u16),
    /// What came is no answer of etcd.
    Senseless(String),
    /// Somebody else has put this key among those of this daemon.
    Foreign(String),
    /// etcd refuses.
    Said {
        /// Its code, one of gRPC.
        code: i64,
        /// Its text.
        message: String,
    },
    /// This node is stopping.
    Stopping,
}

impl Failure {
    /// Of a single endpoint.
    pub(super) fn of(fault: Fault) -> Self {
        Self(vec![fault])
    }

    /// What was wrong with each endpoint that was asked.
    pub fn faults(&self) -> &[Fault] {
        &self.0
    }

    /// Whether etcd has said this, among others.
    pub(super) fn says(&self, text: &str) -> bool {
        self.0.iter().any(|fault| matches!(&fault.why, Why::Said { message, .. } if message.contains(text)))
    }
}

impl Fault {
    /// Whether another endpoint would say the same.
    pub(super) fn is_final(&self) -> bool {
        // Invalid argument, not found, exists, denied, precondition, out of range, not implemented, not authenticated.
        matches!(&self.why, Why::Said { code: 3 | 5 | 6 | 7 | 9 | 11 | 12 | 16, .. } | Why::Stopping)
    }
}

impl Why {
    /// Of an error of the connection.
    pub(super) fn io(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused => Self::Refused,
            Kind::TimedOut | Kind::WouldBlock => Self::Late,
            Kind::ConnectionAborted => Self::Stopping,
            Kind::InvalidData => Self::Senseless(error.to_string()),
            Kind::UnexpectedEof => Self::Broken("it closed the connection".to_owned()),
            _ => Self::Broken(error.to_string()),
        }
    }

    /// What a person is to do; none if it passes by itself.
    fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unresolved(_) => "mend the name, or write an address",
            Self::Refused => "start etcd there, or mend failover.etcd",
            Self::Foreign(_) => "delete it",
            Self::Late => "see whether etcd hangs, or a firewall is in the way",
            Self::Broken(_) => "see the log of etcd; write https:// if it serves with TLS there, else http://",
            Self::Stopping => return None,
            Self::Tls(_, remedy) => remedy,
            Self::Status(300..400) => "write the URL of an etcd member itself: redirections are not followed",
            Self::Status(404) => "etcd 3.4 or newer is needed, with its gRPC gateway enabled, and no proxy before it",
            Self::Status(_) | Self::Senseless(_) => "write the URL of an etcd member, where it serves clients",
            Self::Said { code, message } => said(*code, message)?,
        })
    }
}

/// What a person is to do about a refusal.
fn said(code: i64, message: &str) -> Option<&'static str> {
    let has = |text: &str| message.contains(text);
    Some(match code {
        _ if has("user name is empty") => "set failover.user and failover.password_file",
        _ if has("invalid user ID or password") => "mend failover.user, or the password in failover.password_file",
        _ if has("authentication is not enabled") => "remove failover.user, or run: etcdctl auth enable",
        _ if has("database space exceeded") => "compact and defragment etcd, then run: etcdctl alarm disarm",
        7 => "grant the user's role readwrite on the prefix /threatlockdown/CLUSTER/",
        _ => return None,
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if at == 0 { "" } else { ", and " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.endpoint)?;
        match &self.why {
            Why::Unresolved(error) => write!(f, "cannot be resolved: {error}"),
            Why::Refused => f.write_str("refuses connections"),
            Why::Late => f.write_str("did not answer in time"),
            Why::Broken(error) => write!(f, "failed: {}", shown(error)),
            Why::Tls(error, _) => write!(f, "cannot be reached over TLS: {}", shown(error)),
            Why::Status(status) => write!(f, "answered with HTTP status {status}"),
            Why::Senseless(error) => write!(f, "gave an answer that is malformed: {}", shown(error)),
            Why::Foreign(key) => write!(f, "holds the key {}, which this daemon has not written", shown(key)),
            Why::Said { message, .. } => write!(f, "said: {}", shown(message)),
            Why::Stopping => f.write_str("was not waited for: this node is stopping"),
        }?;
        self.why.remedy().map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

/// Text of others, in one line and not for ever.
fn shown(text: &str) -> String {
    text.chars()
        .take(LONGEST)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_each_endpoint_and_the_remedy() {
        let fault = |endpoint: &str, why| Fault { endpoint: endpoint.into(), why };
        let failure = Failure(vec![
            fault("http://a:2379", Why::Refused),
            fault("http://b:2379", Why::io(&io::ErrorKind::TimedOut.into())),
        ]);
        assert_eq!(
            failure.to_string(),
            "http://a:2379 refuses connections; start etcd there, or mend failover.etcd, and http://b:2379 did not answer \
             in time; see whether etcd hangs, or a firewall is in the way"
        );
        let said = |code, message: &str| fault("http://a", Why::Said { code, message: message.into() });
        assert!(said(7, "etcdserver: permission denied").to_string().contains("; grant the user's role"));
        assert!(said(3, "etcdserver: user name is empty").to_string().contains("; set failover.user"));
        assert_eq!(said(14, "a\nb").to_string(), "http://a said: a\\nb");
        assert!(said(7, "").is_final() && !said(14, "").is_final() && !failure.0[1].is_final());
        assert!(said(2, &"x".repeat(9999)).to_string().len() < 300);
    }
}
