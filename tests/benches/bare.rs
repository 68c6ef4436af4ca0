//! Deflate and inflate as nobody can do with less.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::{Failure, files};

/// Compresses one file at level 1, with a state that is used again.
pub fn pack(plain: &[u8]) -> Result<Vec<u8>, Failure> {
    thread_local!(static STATE: std::cell::RefCell<Compress> = Compress::new(Compression::new(1), true).into());
    STATE.with_borrow_mut(|state| {
        state.reset();
        let mut packed = Vec::with_capacity(plain.len() + 100);
        state.compress_vec(plain, &mut packed, FlushCompress::Finish)?;
        Ok(packed)
    })
}

/// Inflates one file, with a state that is used again.
pub fn unpack(packed: &[u8]) -> Result<(), Failure> {
    thread_local!(static STATE: std::cell::RefCell<Decompress> = Decompress::new(true).into());
    STATE.with_borrow_mut(|state| {
        state.reset(true);
        let mut plain = Vec::with_capacity(files::SIZE + 1);
        state.decompress_vec(packed, &mut plain, FlushDecompress::Finish)?;
        if plain.len() == files::SIZE { Ok(()) } else { Err("a file has not been inflated".into()) }
    })
}
