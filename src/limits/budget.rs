//! The bytes of messages that a node holds for all its peers together.
//!
//! Each connection has an account. What it is about to hold, a message that comes in or one that waits to go out, is taken
//! from the budget first and given back when it is dropped. If there is no room, who needs it waits, which is back-pressure
//! on that one peer. After a while, the connection is closed that holds most of those that have given nothing back for so
//! long: a peer that takes nothing, or sends without end, does not keep the others from what they need, and a slow link
//! that takes what it can is not blamed. As a last resort it is the one that holds most.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// How often somebody who waits looks whether its own connection is still there.
const LOOK: Duration = Duration::from_millis(100);

/// How many times its patience somebody waits before the last resort.
const LAST_RESORT: u32 = 4;

/// The budget of a node. Cheap to clone.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    total: usize,
    of_one: usize,
    patience: Duration,
    books: Mutex<Books>,
    freed: Condvar,
}

struct Books {
    taken: usize,
    accounts: Vec<Entry>,
}

struct Entry {
    account: Weak<Held>,
    close: Arc<dyn Fn() + Send + Sync>,
    closed: bool,
}

/// What one connection holds.
struct Held {
    bytes: AtomicUsize,
    /// When it last gave something back, or began to hold something.
    moved: Mutex<Instant>,
    budget: Budget,
}

/// The account of one connection. Cheap to clone.
#[derive(Clone)]
pub struct Account(Arc<Held>);

/// Bytes that are taken, until this is dropped.
pub struct Share {
    bytes: usize,
    of: Arc<Held>,
}

/// Bytes, and what they take of the budget.
#[derive(Debug, Default)]
pub struct Holding {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// None if they are too few to be counted.
    pub share: Option<Share>,
}

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// It would be more than one connection may hold.
    OfOne,
    /// The node has no room, although the connection that held most was closed.
    OfAll,
}

impl Budget {
    /// `total` bytes, of which one connection may hold `of_one`; somebody is closed when another has waited for
    /// `patience` in vain.
    pub fn new(total: usize, of_one: usize, patience: Duration) -> Self {
        let books = Mutex::new(Books { taken: 0, accounts: Vec::new() });
        Self(Arc::new(Inner { total, of_one, patience, books, freed: Condvar::new() }))
    }

    /// Opens an account. `close` ends its connection, at any time and on any thread; it must not wait.
    pub fn account(&self, close: impl Fn() + Send + Sync + 'static) -> Account {
        let held =
            Arc::new(Held { bytes: AtomicUsize::new(0), moved: Mutex::new(Instant::now()), budget: self.clone() });
        let mut books = self.0.books.lock();
        books.accounts.retain(|entry| entry.account.strong_count() > 0);
        books.accounts.push(Entry { account: Arc::downgrade(&held), close: Arc::new(close), closed: false });
        Account(held)
    }

    /// Bytes that are held.
    pub fn taken(&self) -> usize {
        self.0.books.lock().taken
    }
}

impl Account {
    /// Takes so many bytes at once.
    ///
    /// # Errors
    /// [`Full`], also when a moment later there would be room.
    pub fn try_take(&self, bytes: usize) -> Result<Share, Full> {
        self.take_from(&mut self.0.budget.0.books.lock(), 0, bytes)
    }

    /// Takes so many bytes, and waits for them if it must, unless `gone` says that nobody needs them any more.
    ///
    /// # Errors
    /// [`Full`].
    pub fn take(&self, bytes: usize, gone: impl Fn() -> bool) -> Result<Share, Full> {
        self.take_beyond(0, bytes, gone)
    }

    /// [`Account::take`] of what may be `beyond` what one connection may have by so much, because it cannot be left where
    /// it is; see [`Account::is_beyond`].
    ///
    /// # Errors
    /// [`Full`].
    pub fn take_beyond(&self, beyond: usize, bytes: usize, gone: impl Fn() -> bool) -> Result<Share, Full> {
        let Inner { patience, books, freed, .. } = &*self.0.budget.0;
        let mut books = books.lock();
        let begun = Instant::now();
        let mut until = begun + *patience;
        loop {
            match self.take_from(&mut books, beyond, bytes) {
                Err(Full::OfAll) => {}
                outcome => return outcome,
            }
            if gone() {
                return Err(Full::OfAll);
            }
            let now = Instant::now();
            if now >= until {
                let blamed = if now >= begun + LAST_RESORT * *patience { Duration::ZERO } else { *patience };
                match books.find_the_largest(&self.0, now, blamed) {
                    // What it held comes back when its threads have ended.
                    Largest::Other(close) => MutexGuard::unlocked(&mut books, || close()),
                    Largest::Itself => return Err(Full::OfAll),
                    Largest::Nobody if blamed.is_zero() => return Err(Full::OfAll),
                    Largest::Nobody => {}
                }
                until = now + LOOK;
            }
            freed.wait_for(&mut books, LOOK);
        }
    }

    /// Whether it has more than one connection may have.
    pub fn is_beyond(&self) -> bool {
        self.0.bytes.load(Ordering::Acquire) > self.0.budget.0.of_one
    }

    fn take_from(&self, books: &mut Books, beyond: usize, bytes: usize) -> Result<Share, Full> {
        let Inner { total, of_one, .. } = &*self.0.budget.0;
        let own = self.0.bytes.load(Ordering::Acquire).saturating_add(bytes);
        if own > of_one.saturating_add(beyond) {
            return Err(Full::OfOne);
        }
        let all = books.taken.saturating_add(bytes);
        if all > *total {
            return Err(Full::OfAll);
        }
        books.taken = all;
        if own == bytes {
            *self.0.moved.lock() = Instant::now();
        }
        self.0.bytes.store(own, Ordering::Release);
        Ok(Share { bytes, of: self.0.clone() })
    }
}

/// Who holds most.
enum Largest {
    /// Another, and how to close it.
    Other(Arc<dyn Fn() + Send + Sync>),
    /// The one that waits: it gives up.
    Itself,
    /// All that can be blamed are closed already, or nobody can be.
    Nobody,
}

impl Books {
    /// Who holds most of those that have given nothing back for `blamed`.
    fn find_the_largest(&mut self, waits: &Arc<Held>, now: Instant, blamed: Duration) -> Largest {
        let size = |entry: &Entry| {
            let held =
                entry.account.upgrade().filter(|held| now.saturating_duration_since(*held.moved.lock()) >= blamed);
            held.map_or(0, |held| held.bytes.load(Ordering::Acquire))
        };
        let open = self.accounts.iter_mut().filter(|entry| !entry.closed);
        match open.map(|entry| (size(entry), entry)).max_by_key(|(size, _)| *size) {
            None | Some((0, _)) => Largest::Nobody,
            Some((_, entry)) if std::ptr::eq(entry.account.as_ptr(), Arc::as_ptr(waits)) => Largest::Itself,
            Some((_, entry)) => {
                entry.closed = true;
                Largest::Other(entry.close.clone())
            }
        }
    }
}

impl Share {
    /// Adds one of the same account.
    pub fn join(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.of, &other.of), "shares of two connections");
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Adds one to another of the same account, if there are two.
    pub fn sum(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(mut one), Some(other)) => {
                one.join(other);
                Some(one)
            }
            (one, other) => one.or(other),
        }
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({} bytes)", self.bytes)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Inner { books, freed, .. } = &*self.of.budget.0;
        let mut books = books.lock();
        books.taken -= self.bytes;
        self.of.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        if self.bytes > 0 {
            *self.of.moved.lock() = Instant::now();
        }
        freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    fn budget() -> Budget {
        Budget::new(100, 60, SHORT)
    }

    #[test]
    fn what_is_taken_comes_back_and_no_one_has_it_all() {
        let budget = budget();
        let (one, two) = (budget.account(|| ()), budget.account(|| ()));
        let share = one.try_take(60).ok().unwrap();
        assert_eq!(one.try_take(1).err(), Some(Full::OfOne));
        assert_eq!(two.try_take(41).err(), Some(Full::OfAll));
        assert!(two.try_take(40).is_ok());
        assert_eq!(budget.taken(), 60);
        drop(share);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn what_cannot_be_left_may_be_beyond_for_a_while() {
        let one = budget().account(|| ());
        let _share = one.try_take(60).ok().unwrap();
        assert!(!one.is_beyond());
        let beyond = one.take_beyond(10, 10, || false).ok().unwrap();
        assert!(one.is_beyond());
        assert_eq!(one.take_beyond(10, 1, || false).err(), Some(Full::OfOne));
        drop(beyond);
        assert!(!one.is_beyond());
    }

    #[test]
    fn joined_shares_are_given_back_once() {
        let budget = budget();
        let one = budget.account(|| ());
        let both = Share::sum(one.try_take(20).ok(), one.try_take(30).ok());
        assert_eq!(budget.taken(), 50);
        drop(both);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn who_waits_gets_what_another_gives_back() {
        let budget = Budget::new(100, 100, Duration::from_secs(60));
        let (one, two) = (budget.account(|| ()), budget.account(|| ()));
        let share = one.try_take(100).ok().unwrap();
        thread::scope(|scope| {
            let waits = scope.spawn(|| two.take(50, || false).is_ok());
            drop(share);
            assert!(waits.join().unwrap());
        });
    }

    #[test]
    fn the_one_that_holds_most_is_closed_for_one_that_waits() {
        let budget = budget();
        let holds = Arc::new(Mutex::new(None));
        let of_large = holds.clone();
        let large = budget.account(move || drop(of_large.lock().take()));
        *holds.lock() = large.try_take(60).ok();
        let small = budget.account(|| panic!("it holds less"));
        let _kept = small.try_take(30).ok().unwrap();
        assert!(budget.account(|| ()).take(50, || false).is_ok());
        assert_eq!(budget.taken(), 30);
    }

    #[test]
    fn who_moves_is_not_blamed_before_the_last_resort() {
        let patience = Duration::from_millis(400);
        let budget = Budget::new(100, 100, patience);
        let closed = Arc::new(Mutex::new(None));
        let told = closed.clone();
        let moves = budget.account(move || *told.lock() = Some(Instant::now()));
        let _kept = moves.try_take(90).ok().unwrap();
        let waits = budget.account(|| ());
        let begun = Instant::now();
        thread::scope(|scope| {
            let moving = scope.spawn(|| {
                while closed.lock().is_none() {
                    drop(moves.try_take(1));
                    thread::sleep(Duration::from_millis(5));
                }
            });
            assert_eq!(waits.take(50, || false).err(), Some(Full::OfAll), "what is kept never comes back");
            moving.join().unwrap();
        });
        assert!(closed.lock().unwrap() - begun >= LAST_RESORT * patience);
    }

    #[test]
    fn who_holds_most_itself_gives_up() {
        let budget = budget();
        let (one, two) = (budget.account(|| ()), budget.account(|| ()));
        let _shares = (one.try_take(50).ok().unwrap(), two.try_take(45).ok().unwrap());
        assert_eq!(two.take(10, || true).err(), Some(Full::OfAll), "nobody needs it");
        assert_eq!(one.take(10, || false).err(), Some(Full::OfAll));
    }
}
