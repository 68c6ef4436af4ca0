//! Who writes a line, and the macros that write it: `info!(scope, "{count} files.")`.
//!
//! A scope is text: a [`Scope`] that a task makes once, or a constant. It travels as the target of a record.

use std::sync::Arc;

/// The two tags of a line, `[Worker w1] [Integrity check]`.
pub type Scope = Arc<str>;

/// The scope of a tag and a subtag.
pub fn scope(tag: &str, subtag: &str) -> Scope {
    format!("[{tag}] [{subtag}]").into()
}

/// A line whose level is chosen at run time: `log!(scope, level, "…")`.
macro_rules! log_line {
    ($scope:expr, $level:expr, $($text:tt)+) => {
        ::log::log!(target: AsRef::<str>::as_ref(&$scope), $level, $($text)+)
    };
}

/// Something failed, and a person has to do something.
macro_rules! error_line {
    ($scope:expr, $($text:tt)+) => { $crate::logging::log!($scope, ::log::Level::Error, $($text)+) };
}

/// Something may need a person.
macro_rules! warn_line {
    ($scope:expr, $($text:tt)+) => { $crate::logging::log!($scope, ::log::Level::Warn, $($text)+) };
}

/// What an operator reads of a node that is well.
macro_rules! info_line {
    ($scope:expr, $($text:tt)+) => { $crate::logging::log!($scope, ::log::Level::Info, $($text)+) };
}

/// For whoever looks for the cause of something.
macro_rules! debug_line {
    ($scope:expr, $($text:tt)+) => { $crate::logging::log!($scope, ::log::Level::Debug, $($text)+) };
}

// The names of the macros themselves would be those of an attribute and of a crate.
pub(crate) use {debug_line as debug, error_line as error, info_line as info, log_line as log, warn_line as warn};
