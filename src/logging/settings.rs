//! How the log is written.

/// How `logs/cluster.log` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The form of its lines.
    pub format: LogFormat,
    /// Bytes from which on it is archived before midnight, too; 0 for no limit.
    pub max_size: u64,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// That of the stock daemon (`spec/protocol.md` 15.5).
    Plain,
    /// One JSON object on each line.
    Json,
}
