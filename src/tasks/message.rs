//! The string that carries agent information, or agent groups (`spec/protocol.md` 11.1, 12.1).

use serde::Deserialize;
use serde_json::value::RawValue;

/// The text of a message. `payload` and `chunks` are JSON.
pub fn write(command: &str, payload: &str, chunks: &str) -> String {
    format!(r#"{{"set_data_command": "{command}", "payload": {payload}, "chunks": {chunks}}}"#)
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
    }
}
