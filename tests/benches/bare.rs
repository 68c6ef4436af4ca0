//! Deflate and inflate as nobody can do with less.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::Failure;

/// Compresses one file at level 1, with a state that is used again.
pub fn pack(plain: &[u8]) -> Result<Vec<u8>, Failure> {
    thread_local!(static STATE: std::cell::RefCell<Compress> = Compress::new(Compression::new(1), true).into());
    STATE.with_borrow_mut(|state| {
        state.reset();
        let mut packed = Vec::with_capacity(plain.len() + plain.len() / 100 + 100);
        while state.compress_vec(&plain[done(state.total_in())..], &mut packed, FlushCompress::Finish)?
            != Status::StreamEnd
        {
            packed.reserve(1024);
        }
        Ok(packed)
    })
}

/// Inflates one file of `size` bytes, with a state that is used again.
pub fn unpack(packed: &[u8], size: usize) -> Result<(), Failure> {
    thread_local!(static STATE: std::cell::RefCell<Decompress> = Decompress::new(true).into());
    STATE.with_borrow_mut(|state| {
        state.reset(true);
        let mut plain = Vec::with_capacity(size + 1);
        while state.decompress_vec(&packed[done(state.total_in())..], &mut plain, FlushDecompress::Finish)?
            != Status::StreamEnd
        {
            plain.reserve(1024);
        }
        if plain.len() == size { Ok(()) } else { Err("a file has not been inflated".into()) }
    })
}

fn done(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
