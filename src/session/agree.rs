//! The worker's side of an agreement, on a connection that has said hello (`spec/native.md` 1).

use super::native::{Agreed, Disagreement, Features, Names, Offer};
use crate::{
    connection::{Connection, RequestError},
    node::Node,
    term::Told,
    wire::Command,
};

/// The error of a master that accepts this node by a session only.
const NO_OTHER_LINK: u32 = 3018;

/// What a link speaks from now on.
pub struct Speaks {
    /// What both ends use.
    pub features: Features,
    /// The name of the master, if there is a session; hello is to be said in it.
    pub session: Option<String>,
    /// What the master tells of its term, not proved before hello has been answered in the session.
    pub told: Option<Told>,
}

/// Why nothing was agreed on.
pub enum Disagreed {
    /// The master takes no other link with this node, and closes this one.
    Refused(RequestError),
    /// The link may stay with the standard protocol.
    Otherwise(String),
}

impl Disagreed {
    fn of(error: RequestError) -> Self {
        match &error {
            RequestError::Refused(object) if object.code == NO_OTHER_LINK => Self::Refused(error),
            _ => Self::Otherwise(error.to_string()),
        }
    }
}

impl From<Disagreement> for Disagreed {
    fn from(why: Disagreement) -> Self {
        Self::Otherwise(why.to_string())
    }
}

/// Agrees with a master that has answered this `hello` so; none if it invites nobody. If there is to be a session, both
/// directions are sealed when it returns.
///
/// # Errors
/// Why nothing was agreed on.
pub fn agree(node: &Node, master: &Connection, hello: &[u8], answer: &[u8]) -> Result<Option<Speaks>, Disagreed> {
    let (cluster, features) = (&node.cluster, &node.settings.link.features);
    let Some(offer) = Offer::new(hello, answer, features, &node.term.claim())? else { return Ok(None) };
    let (taken, undecided) = master.request_undecided(Command::Native, offer.text());
    let taken = taken.map_err(Disagreed::of)?;
    let names = Names { cluster: &cluster.name, worker: &cluster.node_name };
    let Agreed { features, session, told } = offer.taken(&taken, features, master.cipher(), names)?;
    let session = session.map(|(session, name)| {
        undecided.seal(session);
        name
    });
    Ok(Some(Speaks { features, session, told }))
}
