//! Encryption of the cluster link: bytes in, bytes out; no sockets, no clock.

mod fernet;
pub use fernet::{Fernet, TokenError, token_length};
