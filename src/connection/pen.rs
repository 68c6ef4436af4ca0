//! Who writes on a connection: one thread at a time, and no thread of its own as long as the peer takes what it is sent.

use parking_lot::Mutex;

/// What a connection is written with. It lies here while nobody writes.
///
/// Whoever has put something where it waits calls [`Pen::write`]. If another thread has the pen at that moment, that one
/// finds it, because it looks again when it has put the pen back.
pub struct Pen<W>(Mutex<Option<W>>);

impl<W> Pen<W> {
    /// A pen that nobody has.
    pub fn new(writer: W) -> Self {
        Self(Mutex::new(Some(writer)))
    }

    /// Takes the pen as often as something `waits`, unless another thread has it. `write` gives it back, or keeps it: for
    /// another thread that is to go on, and puts it back some day, or for ever.
    pub fn write(&self, waits: impl Fn() -> bool, write: impl Fn(W) -> Option<W>) {
        while waits() {
            let Some(writer) = self.0.lock().take() else { return };
            let Some(writer) = write(writer) else { return };
            self.put_back(writer);
        }
    }

    /// For who has kept it. [`Pen::write`] has to follow, because nobody else has written meanwhile.
    pub fn put_back(&self, writer: W) {
        *self.0.lock() = Some(writer);
    }
}
