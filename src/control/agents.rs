//! `-a`: the agents of the cluster.

use serde_json::{Value, json};

use super::{Output, failure::Failure, report, table};
use crate::{
    agents::listing::{Agent, Filter},
    local::client::LocalClient,
    questions::agents::{AgentsPage, AgentsQuestion},
    wire::Command,
};

/// What the stock daemon shows where nothing is known.
const UNKNOWN: &str = "unknown";

/// Lists the agents of these nodes and in these states, or all.
pub(super) fn show(client: &LocalClient, nodes: &[String], statuses: &[String], json: bool) -> Result<Output, Failure> {
    let agents = ask(client, Filter { nodes: nodes.to_vec(), statuses: statuses.to_vec() })?;
    let out = if json {
        report::document(&agents.iter().map(to_value).collect())
    } else {
        let numbers: Vec<String> = agents.iter().map(number).collect();
        let rows: Vec<_> = agents.iter().zip(&numbers).map(|(agent, number)| row(agent, number)).collect();
        table::draw(["ID", "NAME", "IP", "STATUS", "VERSION", "NODE NAME"], &rows)
    };
    Ok(Output::text(out))
}

/// All agents, however many requests it takes; agents may come and go between these.
fn ask(client: &LocalClient, filter: Filter) -> Result<Vec<Agent>, Failure> {
    let (mut agents, mut question) = (Vec::new(), AgentsQuestion { after: None, filter });
    loop {
        let answer = client.ask(Command::Agents, json!(question).to_string().as_bytes());
        let answer = answer.map_err(|error| Failure::of_master(error, "list agents"))?;
        let page: AgentsPage =
            serde_json::from_slice(&answer).map_err(|source| Failure::Malformed { what: "get_agents", source })?;
        agents.extend(page.items);
        let last = agents.last().map(|agent: &Agent| agent.id);
        // A daemon that gives the same page for ever is not believed.
        if !page.more || last <= question.after {
            return Ok(agents);
        }
        question.after = last;
    }
}

fn number(agent: &Agent) -> String {
    format!("{:03}", agent.id)
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { UNKNOWN } else { text }
}

fn row<'a>(agent: &'a Agent, number: &'a str) -> [&'a str; 6] {
    [number, &agent.name, &agent.ip, &agent.status, or_unknown(&agent.version), or_unknown(&agent.node_name)]
}

/// `null` where nothing is known.
fn to_value(agent: &Agent) -> Value {
    let known = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    json!({
        "id": number(agent),
        "name": agent.name,
        "ip": known(&agent.ip),
        "status": agent.status,
        "version": known(&agent.version),
        "node_name": known(&agent.node_name),
    })
}
