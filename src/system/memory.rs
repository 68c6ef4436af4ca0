//! Keeps allocator and stacks small on small servers.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// From one giving back to the next, at least: it costs a walk over all that is free.
const REST: Duration = Duration::from_secs(1);

/// Blocks of this size and above go back to the kernel as soon as they are freed.
const MAPPED_BLOCK: i32 = 128 * 1024;

/// Below the frame that gives its stack back: for the calls that do it.
#[cfg(target_env = "gnu")]
const IN_USE: usize = 1024;

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

/// Gives the pages of this thread's stack back to the kernel that are not in use now. For a thread that has done something
/// deep and will not for a while: what a stack has touched once stays in memory for ever, and there are hundreds of them.
#[inline(never)]
pub fn give_back_stack() {
    #[cfg(target_env = "gnu")]
    // SAFETY: this function is not inlined, so its frame is small and all that is in use lies above it; `IN_USE` bytes are
    // left for the rest of the frame and for that of the call. A signal handler that uses the stack below is done before this
    // thread goes on. The attributes are read only if they were filled, and are those of this thread.
    unsafe {
        use std::mem::MaybeUninit;

        use nix::libc;

        let (mut attributes, mut lowest, mut size) = (MaybeUninit::uninit(), std::ptr::null_mut(), 0);
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return;
        }
        let known = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut lowest, &raw mut size) == 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
        let here = (&raw const size).addr();
        let end = (here - IN_USE) & !(page - 1);
        if known && end > lowest.addr() && here < lowest.addr() + size {
            libc::madvise(lowest, end - lowest.addr(), libc::MADV_DONTNEED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn deep(levels: usize) -> usize {
        let room = std::hint::black_box([levels as u8; 4096]);
        if levels == 0 {
            room.len()
        } else {
            deep(levels - 1) + usize::from(std::hint::black_box(room)[7] == levels as u8)
        }
    }

    #[test]
    fn what_a_stack_is_used_for_stays_and_works_again() {
        let kept = std::hint::black_box([7_u8; 64]);
        for _ in 0..3 {
            assert_eq!(deep(40), 4096 + 40);
            give_back_stack();
            assert_eq!(kept, [7; 64]);
        }
    }
}
