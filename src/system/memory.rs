//! Keeps the allocator small on small servers.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// From one giving back to the next, at least: it costs a walk over all that is free.
const REST: Duration = Duration::from_secs(1);

/// Blocks of this size and above go back to the kernel as soon as they are freed.
const MAPPED_BLOCK: i32 = 128 * 1024;

/// Limits the allocator to two arenas and fixes the size from which blocks are mapped on their own.
///
/// Without it glibc gives each thread its own arena and learns from the first freed transfer buffer to keep such
/// buffers for ever: an idle node would hold several times what it uses. Call it before the first thread starts.
pub fn keep_small() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets parameters of the allocator and is called before other threads exist.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 2);
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, MAPPED_BLOCK);
    }
}

/// Gives memory that is free inside the allocator back to the kernel; for the end of a big piece of work. Where many of them
/// end at once, for hundreds of workers, the first does it, and what the others leave goes back with the next: a task of each
/// node calls it every few seconds.
pub fn give_back() {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let now = Instant::now();
    let mut last = LAST.lock();
    if last.is_some_and(|last| now.saturating_duration_since(last) < REST) {
        return;
    }
    *last = Some(now);
    drop(last);
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes the allocator's own locks and frees only what no one holds.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
