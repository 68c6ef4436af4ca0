//! Which nodes an answer is about (`spec/protocol.md` 13.6).

use serde_json::Value;

use crate::wire::ErrorObject;

/// Which nodes an answer is about.
pub enum Filter {
    /// All nodes.
    Everything,
    /// All workers, without the master.
    Workers,
    /// Nodes with one of these names; names that no node has are ignored.
    Names(Vec<String>),
    /// Nodes whose names are part of this text.
    PartOf(String),
}

impl Filter {
    /// Reads a filter as `get_health` has it.
    ///
    /// # Errors
    /// When it is none; the asking program is at fault.
    pub fn parse(payload: &[u8]) -> Result<Self, ErrorObject> {
        let wrong = || ErrorObject::unexpected("the filter is to be null, a text, an array of texts or {}");
        match serde_json::from_slice(payload).map_err(|error| ErrorObject::unexpected(error.to_string()))? {
            Value::Null => Ok(Self::Everything),
            Value::String(text) => Ok(Self::PartOf(text)),
            Value::Object(object) if object.is_empty() => Ok(Self::Workers),
            array @ Value::Array(_) => serde_json::from_value(array).map(Self::Names).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }

    /// Whether a node is one of them.
    pub fn takes(&self, name: &str, is_master: bool) -> bool {
        match self {
            Self::Everything => true,
            Self::Workers => !is_master,
            Self::Names(names) => names.iter().any(|wanted| wanted == name),
            Self::PartOf(text) => text.contains(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_those_of_the_original() {
        let takes = |filter: &str, name, is_master| Filter::parse(filter.as_bytes()).unwrap().takes(name, is_master);
        assert!(takes("null", "m", true) && takes("null", "w1", false));
        assert!(!takes("{}", "m", true) && takes("{}", "w1", false));
        assert!(takes(r#"["w1", "nosuch"]"#, "w1", false) && !takes(r#"["w1"]"#, "w2", false));
        assert!(takes(r#""w1,w2""#, "w1", false) && !takes(r#""w1""#, "w2", false));
        for bad in ["", "3", r#"{"a": 1}"#, "[1]"] {
            assert!(Filter::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
