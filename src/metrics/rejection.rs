//! Why a connection was rejected.

/// The reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Too many connections that have not said hello.
    Strangers,
    /// The system had no room for it.
    System,
    /// It ended without a hello: it said nothing in time, something else, or was not encrypted with the key.
    NoHello,
    /// The node name is not one.
    NodeName,
    /// The node name is that of the master, or of another worker.
    NameTaken,
    /// Another cluster.
    ClusterName,
    /// Another version.
    Version,
    /// As many workers as are allowed.
    Full,
    /// No session where only that is accepted, an agreement that failed, or a session that was not proved.
    Session,
    /// Its address is in none of the networks that are allowed.
    Network,
    /// Its name is none of those that are allowed.
    NotAllowed,
    /// The master could not make it a place for its files, or failed otherwise.
    Internal,
}

impl Rejection {
    /// In the order in which they are told.
    pub const ALL: [Self; 12] = [
        Self::Strangers,
        Self::System,
        Self::NoHello,
        Self::NodeName,
        Self::NameTaken,
        Self::ClusterName,
        Self::Version,
        Self::Full,
        Self::Session,
        Self::Network,
        Self::NotAllowed,
        Self::Internal,
    ];

    /// The label `reason`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strangers => "too_many_unauthenticated",
            Self::System => "system",
            Self::NoHello => "no_hello",
            Self::NodeName => "node_name",
            Self::NameTaken => "name_taken",
            Self::ClusterName => "cluster_name",
            Self::Version => "version",
            Self::Full => "full",
            Self::Session => "session",
            Self::Network => "network_not_allowed",
            Self::NotAllowed => "node_not_allowed",
            Self::Internal => "internal",
        }
    }

    /// Of a hello that was refused with the error of this number (`spec/protocol.md` 6.2).
    pub const fn of_hello(code: u32) -> Self {
        match code {
            3060 => Self::NodeName,
            3018 => Self::NotAllowed,
            3028 | 3029 => Self::NameTaken,
            3030 => Self::ClusterName,
            3031 => Self::Version,
            _ => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_stands_at_its_number() {
        assert!(Rejection::ALL.iter().enumerate().all(|(number, why)| *why as usize == number));
    }
}
