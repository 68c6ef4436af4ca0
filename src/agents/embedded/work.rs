//! Work for one of the two threads.

use std::time::Duration;

use crossbeam_channel::Sender;

use crate::{
    agents::Error,
    system::{
        handover::{NoAnswer, handover},
        shutdown::Shutdown,
    },
};

/// Work for the thread that owns a `D`, which gets it, or the reason why it cannot be used.
pub(super) type Work<D> = Box<dyn FnOnce(Result<&mut D, &str>) + Send>;

/// Does `work` on the thread behind `queue`.
///
/// # Errors
/// [`Error::Unavailable`] when the file cannot be used, the node stops, or the work was not begun within `patience`; what is
/// begun is waited for.
pub(super) fn hand<D, T: Send + 'static>(
    queue: &Sender<Work<D>>,
    patience: Duration,
    order: &Shutdown,
    work: impl FnOnce(&mut D) -> T + Send + 'static,
) -> Result<T, Error> {
    let (ticket, waiting) = handover(patience, order);
    let work: Work<D> = Box::new(move |owned| {
        if ticket.take() {
            ticket.answer(owned.map(work).map_err(|reason| Error::Unavailable(reason.to_owned())));
        }
    });
    let done = waiting.hand_in(queue, work).and_then(|()| waiting.wait(None));
    done.unwrap_or_else(|none| {
        Err(Error::Unavailable(match none {
            NoAnswer::Stopped => "this node stops".to_owned(),
            NoAnswer::Late | NoAnswer::Slow => format!("it has not answered for {} s", patience.as_secs_f64()),
            NoAnswer::Failed => "the work failed; the log tells why".to_owned(),
        }))
    })
}
