//! The cases of the original's own tests of registration, at `queue/sockets/auth`
//! (`tests/fixtures/vectors/authd_local_cases.json`).
//!
//! Those that were written for the enrolment service with TLS are asked as `add` requests. What differs then:
//!
//! | case | there | here |
//! |---|---|---|
//! | all | `ERROR: Duplicate agent name: …`, `ERROR: Duplicate IP: …` | 9008, 9007 |
//! | a name or an address that cannot be | `ERROR: Invalid agent name: …`, `ERROR: Invalid IP: …` | 9005, 9006 |
//! | `Agent name same as Manager` | `ERROR: Invalid agent name: …` | 9008, as the original's local socket has it |
//! | `authd_worker` | | what a worker's enrolment service sends to the control socket; not asked here |

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::{Daemon, Home, Program, register};

fn cases(suite: &str) -> Vec<Value> {
    let text = std::fs::read_to_string("tests/fixtures/vectors/authd_local_cases.json").unwrap();
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    all.into_iter().filter(|case| case["suite"].as_str().unwrap().starts_with(suite)).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A master whose files and database are as a case wants them.
struct Master {
    home: Home,
    _daemon: Daemon,
}

impl Master {
    fn of(case: &Value) -> Self {
        let home = Home::master();
        let text = |value: &Value, default: &str| value.as_str().unwrap_or(default).to_owned();
        if case["config"].is_object() {
            let option = |name: &str| text(&case["config"][name], "");
            let auth = format!(
                "<ossec_config><auth><force><enabled>{}</enabled><key_mismatch>{}</key_mismatch>\
                 <disconnected_time enabled=\"{}\">{}</disconnected_time>\
                 <after_registration_time>{}</after_registration_time></force></auth></ossec_config>\n",
                option("FORCE_ENABLED"),
                option("KEY_MISMATCH"),
                option("DISCONNECTED_TIME_ENABLED"),
                option("DISCONNECTED_TIME"),
                option("AFTER_REGISTRATION_TIME"),
            );
            let conf = String::from_utf8(home.read("etc/ossec.conf").unwrap()).unwrap();
            home.write("etc/ossec.conf", auth + &conf);
        }
        let setup = &case["setup"];
        for group in list(&setup["groups"]) {
            home.write(&format!("etc/shared/{}/agent.conf", group.as_str().unwrap()), "");
        }
        let agent = |agent: &Value| {
            let [ip, key] = [("ip", "any"), ("key", "SecretKey")].map(|(name, default)| text(&agent[name], default));
            (text(&agent["id"], ""), text(&agent["name"], ""), ip, key)
        };
        let keys: String =
            list(&setup["agents"]).map(agent).map(|(id, name, ip, key)| format!("{id} {name} {ip} {key}\n")).collect();
        home.write("etc/client.keys", keys);
        let daemon = Daemon::start(&home);
        let mut database = Program::database(&home);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let time = |value: &Value, default: i64| {
            let delta = value["delta"].as_i64().map(|delta| now + delta);
            delta.or_else(|| value["value"].as_i64()).unwrap_or(default)
        };
        for setup in list(&setup["agents"]) {
            let (id, name, ip, key) = agent(setup);
            let number: i64 = id.parse().unwrap();
            let date = time(&setup["registration_time"], now);
            let row = json!({"id": number, "name": name, "register_ip": ip, "internal_key": key, "date_add": date});
            assert_eq!(database.ask(&format!("global insert-agent {row}")), "ok");
            let status = text(&setup["connection_status"], "never_connected");
            let left = time(&setup["disconnection_time"], 0);
            let sql = format!(
                "UPDATE agent SET connection_status = '{status}', disconnection_time = {left} WHERE id = {number}"
            );
            assert_eq!(database.ask(&format!("global sql {sql}")), "ok []");
        }
        Self { home, _daemon: daemon }
    }

    fn add(&self, arguments: &Value) -> Value {
        let request = json!({"function": "add", "arguments": arguments});
        serde_json::from_str(&register(&self.home, &request.to_string()).unwrap()).unwrap()
    }
}

#[test]
fn local_requests_are_answered_as_by_the_original() {
    let cases = cases("authd_local");
    assert_eq!(cases.len(), 8);
    for case in cases {
        let master = Master::of(&case);
        for stage in list(&case["stages"]) {
            let (input, expected) = (stage["input"].as_str().unwrap(), stage["output"].as_str().unwrap());
            let answer = register(&master.home, input).unwrap();
            assert!(
                answer.starts_with(expected),
                "{}\n asked {input}\n expected {expected}\n got {answer}",
                case["name"]
            );
        }
    }
}

#[test]
fn agents_are_replaced_by_the_rules_of_the_original_with_its_lines() {
    let cases = cases("force_");
    assert_eq!(cases.len(), 9);
    for case in cases {
        let master = Master::of(&case);
        for stage in list(&case["stages"]) {
            let mut arguments = stage["input"].clone();
            if arguments.get("ip").is_none() {
                arguments["ip"] = "any".into();
            }
            let mark = master.home.mark();
            let answer = master.add(&arguments);
            let by_address = arguments["ip"] != "any";
            let error = match stage["output"]["status"].as_str() {
                Some("success") => 0,
                _ if by_address => 9007,
                _ => 9008,
            };
            assert_eq!(answer["error"], error, "{} {}: {answer}", case["name"], stage["description"]);
            for line in list(&stage["log"]) {
                master.home.wait_for_since(mark, line.as_str().unwrap().trim_end());
            }
        }
    }
}

/// The fields of a line such as `OSSEC A:'name' G:'groups' IP:'address' K:'hash'`, as arguments.
fn arguments(line: &str) -> Value {
    let field = |mark: &str| {
        let (_, rest) = line.split_once(&format!(" {mark}:'"))?;
        Some(rest.split_once('\'')?.0.to_owned())
    };
    let mut arguments = json!({"ip": field("IP").unwrap_or_else(|| "any".to_owned())});
    for (name, mark) in [("name", "A"), ("groups", "G"), ("key_hash", "K")] {
        if let Some(value) = field(mark) {
            arguments[name] = value.into();
        }
    }
    arguments
}

#[test]
fn key_hashes_groups_and_addresses_of_enrolment_are_understood() {
    let cases = cases("tls_key_hash");
    assert_eq!(cases.len(), 4);
    for case in cases {
        let master = Master::of(&case);
        for stage in list(&case["stages"]) {
            let answer = master.add(&arguments(stage["tls_request"].as_str().unwrap()));
            let error = if stage["output"].as_str().unwrap().contains("Duplicate IP") { 9007 } else { 9008 };
            assert_eq!(answer["error"], error, "{}: {answer}", case["name"]);
        }
    }
}

#[test]
fn names_and_addresses_are_those_of_enrolment() {
    let cases = cases("tls_valid_name_ip");
    assert_eq!(cases.len(), 27);
    let master = Master::of(&json!({}));
    let own = nix::unistd::gethostname().unwrap().into_string().unwrap();
    for case in cases {
        for stage in list(&case["stages"]) {
            let line = stage["tls_request"].as_str().unwrap().replace("{}", &own);
            let (answer, output) = (master.add(&arguments(&line)), &stage["output"]);
            if output["status"] == "success" {
                assert_eq!([&answer["data"]["name"], &answer["data"]["ip"]], [&output["name"], &output["ip"]]);
                let removal = json!({"function": "remove", "arguments": {"id": answer["data"]["id"], "purge": true}});
                register(&master.home, &removal.to_string()).unwrap();
                continue;
            }
            let message = output["message"].as_str().unwrap();
            let error = match &case["name"] {
                name if name == "Agent name same as Manager" && answer["error"] == 9008 => 9008,
                _ if message.starts_with("Invalid IP") => 9006,
                _ => 9005,
            };
            assert_eq!(answer["error"], error, "{line}: {answer}");
        }
    }
}
