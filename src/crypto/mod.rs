//! Encryption of the cluster link: bytes in, bytes out; no sockets, no clock.

mod fernet;
mod fingerprint;
pub use fernet::{Fernet, TokenError, token_length};
pub use fingerprint::is_fingerprint;
