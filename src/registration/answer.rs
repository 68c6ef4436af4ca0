//! What the registrar answers (`spec/registration.md` 2).

use serde::Serialize;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A function that is not known, or a failure of this node.
    Internal,
    /// No JSON, or `force` is not complete.
    Json,
    NoFunction,
    NoArguments,
    /// None, or one that cannot be a name.
    NoName,
    /// None, or one that is no address.
    NoIp,
    DuplicateIp,
    /// Also that of the manager itself.
    DuplicateName,
    /// The key that is wished for is none, or the agent could not be written.
    NoKey,
    /// None, or one that cannot be an id.
    NoId,
    UnknownId,
    DuplicateId,
    /// No id is left, or no room in client.keys.
    TooMany,
    InvalidGroup,
    /// This is not the master.
    Worker,
}

impl Refusal {
    fn code_and_message(self) -> (u16, &'static str) {
        match self {
            Self::Internal => (9001, "Internal error"),
            Self::Json => (9002, "Parsing JSON input"),
            Self::NoFunction => (9003, "No such function"),
            Self::NoArguments => (9004, "No such argument"),
            Self::NoName => (9005, "No such name"),
            Self::NoIp => (9006, "No such IP"),
            Self::DuplicateIp => (9007, "Duplicate IP"),
            Self::DuplicateName => (9008, "Duplicate name"),
            Self::NoKey => (9009, "Issue generating key"),
            Self::NoId => (9010, "No such agent ID"),
            Self::UnknownId => (9011, "Agent ID not found"),
            Self::DuplicateId => (9012, "Duplicate ID"),
            Self::TooMany => (9013, "Maximum number of agents reached"),
            Self::InvalidGroup => (9014, "Invalid Group(s) Name(s)"),
            Self::Worker => (9015, "Cannot execute this request on a worker node"),
        }
    }

    /// The answer.
    pub(super) fn answer(self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Refused {
            error: u16,
            message: &'static str,
        }
        let (error, message) = self.code_and_message();
        json(&Refused { error, message })
    }
}

/// The answer about an agent.
pub(super) fn agent(id: &str, name: &str, ip: &str, key: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Data<'a> {
        id: &'a str,
        name: &'a str,
        ip: &'a str,
        key: &'a str,
    }
    done(Data { id, name, ip, key })
}

/// The answer when an agent was removed.
pub(super) fn removed() -> Vec<u8> {
    done("Agent deleted successfully.")
}

fn done(data: impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    struct Done<T> {
        error: u16,
        data: T,
    }
    json(&Done { error: 0, data })
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Texts and numbers can always be written to memory.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compact_and_in_the_order_of_the_original() {
        assert_eq!(Refusal::DuplicateName.answer(), br#"{"error":9008,"message":"Duplicate name"}"#);
        let told = agent("003", "web", "any", "k\"1");
        assert_eq!(told, br#"{"error":0,"data":{"id":"003","name":"web","ip":"any","key":"k\"1"}}"#);
        assert_eq!(removed(), br#"{"error":0,"data":"Agent deleted successfully."}"#);
    }
}
