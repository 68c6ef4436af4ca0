//! Encryption of the cluster link: bytes in, bytes out; no sockets, no clock.

mod fernet;
mod fingerprint;
mod session;
pub use fernet::{Fernet, TokenError, token_length};
pub use fingerprint::is_fingerprint;
#[cfg(test)]
pub(crate) use session::sample as sample_session;
pub use session::{End, Nonce, Opener, SealError, Sealer, Session, Terms, Transcript, sealed_length};
