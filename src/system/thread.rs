//! The one place where threads that last are started; scans and updates of many files start one more until they are done.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{Builder, JoinHandle},
    time::Instant,
};

use crossbeam_channel::bounded;
use parking_lot::{Condvar, Mutex};

use super::memory::give_back_stack;

/// More than every task needs; only what is touched counts as memory. glibc keeps stacks of threads that have ended, up to
/// 40 MiB in all, each with what it has touched last: the larger one is, the fewer there are.
const STACK: usize = 1024 * 1024;

/// The status with which the process ends when a thread that it cannot miss has failed.
const FAILED: i32 = 70;

/// Starts a thread with a name that `ps` and `top` can show (at most 15 bytes).
///
/// A panic that escapes from it ends the process: a node that runs on with a thread missing looks alive and is not,
/// and the service manager can only start again what has ended.
///
/// # Errors
/// When the kernel refuses another thread.
pub fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    debug_assert!(name.len() <= 15, "the kernel cuts the thread name '{name}'");
    let thread = name.to_owned();
    Builder::new().name(thread.clone()).stack_size(STACK).spawn(move || match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => {
            // glibc keeps the stack for the next thread.
            give_back_stack();
            value
        }
        Err(panic) => {
            log::error!(
                target: "[Cluster] [Main]",
                "The thread '{thread}' failed and the daemon cannot go on without it: {}. Please report this.",
                reason(&*panic)
            );
            log::logger().flush();
            std::process::exit(FAILED)
        }
    })
}

/// Threads with a common owner, which waits for their end. What a thread has held goes when it ends, not when that is asked
/// for: of the stacks of threads that nobody has joined all pages would stay in memory.
#[derive(Clone)]
pub struct Group(Arc<Counted>);

struct Counted {
    /// Threads that run.
    running: Mutex<usize>,
    ended: Condvar,
    most: usize,
}

/// One thread that runs; dropping it is its end.
struct Place(Arc<Counted>);

impl Group {
    /// A group of at most `most` threads at a time.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Counted { running: Mutex::new(0), ended: Condvar::new(), most }))
    }

    /// Starts a thread in this group, as [`spawn`] does.
    ///
    /// # Errors
    /// When the group is full or the kernel refuses another thread.
    pub fn spawn(&self, name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let place = self.place()?;
        spawn(name, move || {
            // It goes after everything that the body holds.
            let _place = place;
            body();
        })?;
        Ok(())
    }

    fn place(&self) -> io::Result<Place> {
        let mut running = self.0.running.lock();
        if *running >= self.0.most {
            return Err(io::Error::other(format!("{} threads of this kind are running already", self.0.most)));
        }
        *running += 1;
        Ok(Place(self.0.clone()))
    }

    /// [`Group::spawn`] for a thread that works with `value`, which comes back if there is no thread for it.
    ///
    /// # Errors
    /// As [`Group::spawn`].
    pub fn spawn_with<T: Send + 'static>(
        &self,
        name: &str,
        value: T,
        body: impl FnOnce(T) + Send + 'static,
    ) -> Result<(), (io::Error, T)> {
        let (hand, take) = bounded(1);
        match self.spawn(name, move || take.recv().map_or((), body)) {
            Ok(()) => {
                // The thread takes it before it ends.
                let _ = hand.send(value);
                Ok(())
            }
            Err(error) => Err((error, value)),
        }
    }

    /// Waits until all threads of the group have ended, or until `deadline`. Gives the number of those that have not.
    pub fn join(&self, deadline: Instant) -> usize {
        let mut running = self.0.running.lock();
        while *running > 0 && !self.0.ended.wait_until(&mut running, deadline).timed_out() {}
        *running
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.running.lock() -= 1;
        self.0.ended.notify_all();
    }
}

/// Runs one request or one turn of a task; a panic becomes an error text and the thread goes on.
///
/// # Errors
/// The text of the panic.
pub fn guard<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| reason(&*panic).to_owned())
}

fn reason(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guarded_panic_becomes_its_text() {
        let fail = |n: u8| assert!(n > 200, "number {n} is too small");
        assert_eq!(guard(|| fail(3)), Err("number 3 is too small".to_owned()));
        assert_eq!(guard(|| 7), Ok(7));
    }
}
