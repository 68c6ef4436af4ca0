//! A watch: lines that come when something has changed.

use std::{
    io::BufReader,
    time::{Duration, Instant},
};

use super::{
    super::{Changes, Failure, Fault, Why},
    endpoint::line,
    link::Reader,
    message::{self, Line, Watched},
};
use crate::{limits::ARBITER_LINE, sockets::http::answer::Body};

/// A stream of one member.
pub(super) struct Stream {
    body: BufReader<Body<Reader>>,
    /// The beginning of a line.
    line: Vec<u8>,
    endpoint: String,
}

impl Stream {
    pub(super) fn new(body: BufReader<Body<Reader>>, endpoint: String) -> Self {
        Self { body, line: Vec::new(), endpoint }
    }

    /// The next line; none if it did not come in time.
    fn next(&mut self) -> Result<Option<Watched>, Why> {
        if !line(&mut self.body, &mut self.line, ARBITER_LINE).map_err(|error| Why::io(&error))? {
            return Ok(None);
        }
        let line: Line<Watched> = message::parse(&std::mem::take(&mut self.line))?;
        Ok(Some(line.result))
    }
}

impl Changes for Stream {
    fn wait(&mut self, limit: Duration) -> Result<bool, Failure> {
        self.body.get_mut().source().get_mut().deadline = Instant::now() + limit;
        loop {
            let why = match self.next() {
                // That the watch is set up, and that it still is, are no changes.
                Ok(Some(Watched { canceled: false, events, .. })) if events.0 == 0 => continue,
                Ok(Some(Watched { canceled: false, .. })) => return Ok(true),
                Ok(None) => return Ok(false),
                Ok(Some(Watched { cancel_reason, .. })) => {
                    Why::Said { code: 0, message: format!("the watch was canceled: {cancel_reason}") }
                }
                Err(why) => why,
            };
            return Err(Failure::of(Fault { endpoint: self.endpoint.clone(), why }));
        }
    }
}
