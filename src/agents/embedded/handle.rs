//! The embedded database, as those who ask it know it.

use std::{path::PathBuf, time::Duration};

use super::{
    Answer, Database,
    agents::NewRow,
    answer::Failure,
    command::{self, Pace},
    info::LONGEST_OBJECT,
    owner::{Owner, Queues},
    reader::Reader,
    routes::route,
    server::Serve,
    work::hand,
};
use crate::{
    agents::{Backend, Error, NewAgent, Reply, TakenInfo},
    config::NodeType,
    sockets::frame::LONGEST,
    system::{clock::Clock, shutdown::Shutdown},
};

/// How long a caller waits until its work begins.
const PATIENCE: Duration = Duration::from_secs(40);

/// The handle of the embedded database; cheap to clone.
#[derive(Clone)]
pub struct Embedded {
    queues: Queues,
    order: Shutdown,
}

impl Embedded {
    /// The handle and the thread's part of the database in this file; nothing is opened yet, and work waits until
    /// [`Owner::start`]. `order` ends it, after those who use it.
    pub fn new(path: PathBuf, role: NodeType, clock: Clock, order: Shutdown) -> (Self, Owner) {
        let (owner, queues) = Owner::new(path, role, clock, order.clone());
        (Self { queues, order }, owner)
    }

    /// Does `work` with the database, on its thread.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the file cannot be used, the node stops, or the work was not begun in time; what is begun
    /// is waited for.
    pub fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Database) -> T + Send + 'static) -> Result<T, Error> {
        self.within(PATIENCE, work)
    }

    pub(super) fn within<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(&mut Database) -> T + Send + 'static,
    ) -> Result<T, Error> {
        hand(&self.queues.own, patience, &self.order, work)
    }

    /// Does what another program asks. What may take long is done beside the work of the cluster, or after it.
    fn ask(&self, request: String) -> Result<Result<Answer, Failure>, Error> {
        let queue = match command::pace(&request) {
            Pace::Short => &self.queues.own,
            Pace::Rests => &self.queues.others,
            Pace::Sql(statement) => {
                let statement = statement.to_owned();
                let read = move |reader: &mut Reader| reader.read(&statement);
                match hand(&self.queues.reads, PATIENCE, &self.order, read)? {
                    Some(answer) => return Ok(answer),
                    None => &self.queues.others,
                }
            }
        };
        hand(queue, PATIENCE, &self.order, move |database| database.try_answer(&request))
    }
}

impl Serve for Embedded {
    fn answer(&self, request: String) -> Answer {
        match self.ask(request) {
            Ok(Ok(answer)) => answer,
            Ok(Err(failure)) => Answer::Err(failure.to_string()),
            Err(_) => Answer::Err("Couldn't open DB global".to_owned()),
        }
    }

    fn route(&self, method: &str, path: &str, body: String) -> (u16, String) {
        let (method, path) = (method.to_owned(), path.to_owned());
        let answer = self.with(move |database| route(database, &method, &path, &body));
        answer.unwrap_or((500, String::new()))
    }
}

impl Backend for Embedded {
    fn query(&self, request: &str) -> Result<Reply, Error> {
        let request = short(request)?;
        reply(self.with(move |database| command::run(database, &request))??)
    }

    fn command(&self, request: &str) -> Result<Reply, Error> {
        reply(self.ask(short(request)?)??)
    }

    fn insert(&self, agent: &NewAgent<'_>) -> Result<(), Error> {
        let (id, date_add) = (i64::from(agent.id), agent.date_add);
        let [name, ip, key, groups] = [agent.name, agent.ip, agent.key, agent.groups].map(str::to_owned);
        let done = self.with(move |database| {
            let (name, register_ip, internal_key) = (&*name, Some(&*ip), Some(&*key));
            let group = Some(&*groups).filter(|groups| !groups.is_empty());
            let row = NewRow { id, name, ip: None, register_ip, internal_key, date_add, group };
            database.transaction(|database| row.insert(database))
        })?;
        Ok(done.map(drop)?)
    }

    fn take_info(&self) -> Result<TakenInfo, Error> {
        Ok(self.with(|database| database.take_info(LONGEST_OBJECT))??)
    }

    fn store_info(&self, info: &str) -> Result<Option<usize>, Error> {
        let info = info.to_owned();
        Ok(Some(self.with(move |database| database.store_info(&info))??))
    }
}

/// The request, if it is one: read as JSON a longer one would take many times its length.
fn short(request: &str) -> Result<String, Error> {
    if request.len() > LONGEST {
        return Err(Error::Refused(format!("'{request:.32}' has {} bytes; {LONGEST} are the most", request.len())));
    }
    Ok(request.to_owned())
}

fn reply(answer: Answer) -> Result<Reply, Error> {
    match answer {
        Answer::Ok(payload) | Answer::Raw(payload) => Ok(Reply::Ok(payload)),
        Answer::Due(payload) => Ok(Reply::Due(payload)),
        Answer::Err(text) => Err(Error::Refused(text)),
        Answer::Rows(rows) => Ok(Reply::Ok(format!("[{}]", rows.join(",")))),
    }
}
