//! Requests to the registrar, and the files that it finds (`spec/registration.md`): a client.keys that others wrote, and a
//! list of rows to be made that a crash left.

use std::{
    fs,
    sync::LazyLock,
    time::{Duration, Instant},
};

use clusterd::{
    agents::{
        Backend, Covered, Error, Reply, Store, TakenInfo,
        client_keys::{Line, Lines},
    },
    config::{Auth, Cluster, ClusterKey, Config, Global, Home, Settings},
    registration::{Registrar, Service},
    system::{clock::Clock, shutdown, thread::Group},
};
use serde_json::{Value, json};

use super::{home::directory, input::Input};

/// Requests that are made of one input.
const MOST: usize = 20;

/// An agent database that knows nobody and takes everything.
struct Nobody;

impl Backend for Nobody {
    fn query(&self, _: &str) -> Result<Reply, Error> {
        Ok(Reply::Ok("[]".to_owned()))
    }

    fn take_info(&self) -> Result<TakenInfo, Error> {
        Ok(TakenInfo { info: "{}".to_owned(), more: false })
    }

    fn store_info(&self, _: &str) -> Result<Option<usize>, Error> {
        Ok(None)
    }
}

/// The first part is client.keys, the second what a crash left, each other a request.
pub fn body(input: &[u8]) {
    static SETTINGS: LazyLock<Settings> = LazyLock::new(Settings::default);
    let mut input = Input(input);
    let directory = directory();
    let home = Home::new(directory.path());
    for below in ["etc/shared/default", "queue/cluster-state", "queue/rids"] {
        fs::create_dir_all(directory.path().join(below)).expect("a directory");
    }
    fs::write(home.client_keys(), input.part()).expect("a file");
    fs::write(home.agents_pending(), input.part()).expect("a file");

    let cluster = Cluster::new(ClusterKey::new("0123456789abcdef0123456789abcdef").expect("a key"));
    let (auth, global, settings) = (Auth::default(), Global::default(), SETTINGS.clone());
    let config = Config { home: home.clone(), cluster, auth, global, settings };
    let (trigger, order) = shutdown::channel();
    let (threads, clock) = (Group::new(4), Clock::real());
    let service = Service::new(&config, Store::new(Nobody), &clock, &order, 0);
    let registrar = service.registrar.clone();
    service.start(Covered::default(), None, |_| (), &threads).expect("a thread");
    for _ in 0..MOST {
        if input.is_over() {
            break;
        }
        ask(&registrar, &home, input.part());
    }
    drop(trigger);
    assert_eq!(threads.join(Instant::now() + Duration::from_secs(60)), 0, "the registrar ends");
}

/// An agent that was registered is in the file, under the id and with the key that were told, and is found.
fn ask(registrar: &Registrar, home: &Home, request: &[u8]) {
    let answer = registrar.ask(request).expect("it answers");
    let Ok(answer) = serde_json::from_slice::<Value>(&answer) else {
        assert!(answer.starts_with(b"ok ") || answer.starts_with(b"err "));
        return;
    };
    let Some(told) = answer.get("data").filter(|data| data.is_object()) else { return };
    let [id, name, ip, key] = ["id", "name", "ip", "key"].map(|part| told[part].as_str().expect("a text").to_owned());
    let file = fs::read(home.client_keys()).expect("it is there");
    let mut lines = Lines::new(&file[..]);
    let mut found = None;
    while let Some((line, _)) = lines.read().expect("it is not too long") {
        match Line::parse(line) {
            Line::Agent(agent) if agent.id.trim_start_matches('0') == id.trim_start_matches('0') && found.is_none() => {
                found = Some([agent.id, agent.name, agent.ip, agent.key].map(str::to_owned));
            }
            _ => {}
        }
    }
    let same = found.is_some_and(|[at, called, from, with]| {
        [at, called, with] == [id.clone(), name, key] && first(&from) == first(&ip)
    });
    assert!(same, "{told} does not stand in the file");
    let again = registrar.ask(json!({"function": "get", "arguments": {"id": id}}).to_string().as_bytes());
    let again: Value = serde_json::from_slice(&again.expect("it answers")).expect("JSON");
    assert!(["id", "name", "key"].iter().all(|part| again["data"][part] == told[part]), "{again} is not {told}");
}

/// An address without its prefix, which is not always told.
fn first(ip: &str) -> Option<&str> {
    ip.split('/').next()
}
