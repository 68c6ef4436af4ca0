//! Encryption of the cluster link: bytes in, bytes out; no sockets, no clock.

mod fernet;
mod fingerprint;
mod session;
pub use fernet::{Fernet, TokenError, token_length};
pub use fingerprint::is_fingerprint;
pub use session::{End, Nonce, Opener, SealError, Sealer, Session, Terms, Transcript, sealed_length};
