//! The string that carries agent information, or agent groups (`spec/protocol.md` 11.1, 12.1).

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::system::at_most::AtMost;

/// The most groups whose names are sent; each becomes a directory.
pub const GROUPS: usize = 10_000;

/// The text of a message. `payload` and `chunks` are JSON.
pub fn write(command: &str, payload: &str, chunks: &str) -> String {
    format!(r#"{{"set_data_command": "{command}", "payload": {payload}, "chunks": {chunks}}}"#)
}

/// [`write`] of agent groups between two nodes running this daemon: with the names of all groups of the master, JSON.
pub fn write_with_groups(command: &str, payload: &str, chunks: &str, groups: &str) -> String {
    format!(r#"{{"set_data_command": "{command}", "payload": {payload}, "chunks": {chunks}, "groups": {groups}}}"#)
}

/// The names of all groups of the master, if a message has them.
pub fn groups(message: &str) -> Result<Option<Vec<String>>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Message {
        #[serde(default)]
        groups: Option<AtMost<String, GROUPS>>,
    }
    serde_json::from_str::<Message>(message).map(|message| message.groups.map(|groups| groups.0))
}

/// The member `chunks` of a message, JSON.
pub fn chunks(message: &str) -> Result<&str, serde_json::Error> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        chunks: &'a RawValue,
    }
    serde_json::from_str::<Message<'_>>(message).map(|message| message.chunks.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_out_as_they_went_in() {
        let message = write("global set", "{}", r#"["[1, 2]"]"#);
        assert_eq!(message, r#"{"set_data_command": "global set", "payload": {}, "chunks": ["[1, 2]"]}"#);
        assert_eq!(chunks(&message).unwrap(), r#"["[1, 2]"]"#);
        assert!(chunks("{}").is_err() && chunks("[").is_err());
        assert_eq!(groups(&message).unwrap(), None);
        let message = write_with_groups("global set", "{}", r#"["[1, 2]"]"#, r#"["default"]"#);
        assert_eq!(chunks(&message).unwrap(), r#"["[1, 2]"]"#);
        assert_eq!(groups(&message).unwrap(), Some(vec!["default".to_owned()]));
    }
}
