//! One local program: its requests.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;

use super::{Role, forward, promote, send_file};
use crate::{
    connection::{Handler, Reply},
    logging::{Scope, debug, scope},
    questions::{Later, node_keys::NodeKeys, own},
    wire::{Asker, Command, ErrorObject, Link, Message, Order, Own, Request, SendFile},
};

/// The longest name that a program may give itself, in bytes.
const LONGEST_NAME: usize = 255;

/// Handles the requests of one local program.
pub struct ProgramSession {
    role: Role,
    scope: Scope,
    last: Arc<Mutex<Instant>>,
    later: Later,
}

impl ProgramSession {
    /// The end of a connection that was just accepted; `last` is when its last keep-alive came.
    pub fn new(role: Role, id: &str, last: Arc<Mutex<Instant>>) -> Self {
        let later = Later::new(&role.node().local_requests);
        Self { role, scope: scope(&format!("Local {id}"), "Main"), last, later }
    }
}

impl Handler for ProgramSession {
    fn request(&mut self, reply: Reply, message: Message) {
        let Message { command, body, .. } = message;
        debug!(self.scope, "Command received: {command}");
        match Request::parse(Asker::Program, command, &body) {
            Err(why) => reply.not_taken(why),
            Ok(Request::Link(Link::Echo)) => reply.ok(body),
            Ok(Request::Link(Link::EchoClient)) => {
                *self.last.lock() = self.role.node().clock.now();
                reply.answer(Command::OkMaster, body);
            }
            // Here it is of no use, and any word will do.
            Ok(Request::Link(Link::Hello(name))) if name.len() <= LONGEST_NAME => {
                reply.ok([b"Client ", name, b" added"].concat());
            }
            Ok(Request::Link(Link::Hello(_))) => reply.fail(format!("a name has at most {LONGEST_NAME} bytes")),
            Ok(Request::Question(question)) => match &self.role {
                Role::Master(master) => master.questions.answer(question, reply, &self.later),
                Role::Worker(worker) => forward::to_master(worker, reply, question.command(), &body, &self.scope),
            },
            Ok(Request::Own(request)) => self.own(reply, request),
            Ok(Request::Order(order)) => self.order(reply, order),
            Ok(Request::Redirected(request)) => forward::redirected(&self.role, reply, request),
            Ok(Request::Api(request)) => forward::api(&self.role, reply, request),
            Ok(
                Request::Link(Link::Native(_) | Link::EchoMaster | Link::CancelTask(_))
                | Request::Transfer(_)
                | Request::Check(_)
                | Request::Sync(_)
                | Request::Succession(_)
                | Request::AgentInfo(_)
                | Request::AgentInfoOutcome(_)
                | Request::AgentGroups(_)
                | Request::AgentGroupsOutcome(_)
                | Request::Delivery(_),
            ) => reply.unknown(),
        }
    }

    fn closed(&mut self, reason: &str) {
        debug!(self.scope, "Disconnected: {reason}.");
    }
}

impl ProgramSession {
    fn own(&self, reply: Reply, request: Own<'_>) {
        let role = self.role.clone();
        match request {
            Own::Config => reply.ok(own::config(role.node()).into_bytes()),
            Own::Hash => self.later.answer(reply, move || Ok(own::hash(&role.scan()))),
            Own::NodeKeys => {
                self.later.answer(reply, move || Ok(NodeKeys::own(role.node(), role.link().as_ref()).to_json()));
            }
            Own::Term => self.later.answer(reply, move || Ok(own::term(role.node()))),
            Own::Outline(_) => reply.unknown(),
        }
    }

    fn order(&self, reply: Reply, order: Order<'_>) {
        let elsewhere = |why: &str| ErrorObject::cluster(3000, format!("run it on the master: {why}"));
        match (order, &self.role) {
            (Order::ConfirmDeletions(filter), Role::Master(master)) => {
                reply.result(master.questions.confirm_deletions(filter));
            }
            // A worker whose files are to be deleted, and whoever has taken it over, is not to decide that.
            (Order::ConfirmDeletions(_), Role::Worker(_)) => {
                reply.refuse(&elsewhere("a worker confirms no deletions"));
            }
            (Order::Promote(wish), role) => promote::begin(role, reply, wish),
            (Order::ForgetNode(name), Role::Master(master)) => reply.result(master.questions.forget(name)),
            (Order::ForgetNode(name), Role::Worker(worker)) => reply.result(worker.forget(name)),
            (Order::ReloadRuleset, Role::Worker(worker)) => match worker.master() {
                Some(_) => {
                    worker.files.reload.want();
                    reply.ok(r#"{"success": true}"#);
                }
                None => reply.refuse(&forward::not_connected(worker)),
            },
            (Order::ReloadRuleset, Role::Master(_)) => reply.unknown(),
            (Order::SendFile(SendFile { path, node }), role) => match forward::receiver(role, node) {
                Ok(receiver) => send_file::begin(role.node(), reply, path, receiver),
                Err(error) => reply.refuse(&error),
            },
        }
    }
}
