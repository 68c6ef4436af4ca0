//! Requests of the API, executed with the manager's Python framework; here that of `tests/framework`.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use clusterd::{limits, system::clock::FakeClock, wire::ErrorObject};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::support::{LocalProgram, Node, SECOND, TestHome, advance_until, eventually, install_framework};

/// A home with the framework.
fn home() -> TestHome {
    let home = TestHome::new();
    home.write("etc/ossec.conf", "<ossec_config/>");
    // As the process of a daemon has it for what it serves.
    home.write("var/run/wazuh-db-1.pid", "");
    install_framework(&home.path(""));
    home
}

fn master(settings: Value) -> (Node, FakeClock) {
    let (clock, hand) = FakeClock::new();
    (Node::master(home(), &clock, settings), hand)
}

/// A request for a function of the module `wazuh.manager`.
fn request(name: &str, arguments: Value) -> Value {
    in_module("wazuh.manager", name, arguments)
}

fn in_module(module: &str, name: &str, arguments: Value) -> Value {
    let short = name.rsplit('.').next().unwrap();
    let callable = json!({"__name__": short, "__module__": module, "__qualname__": name, "__type__": "function"});
    json!({"f": {"__callable__": callable}, "f_kwargs": arguments, "request_type": "local_master"})
}

/// What comes of a request: the result, or the error.
fn ask(program: &mut LocalProgram, request: &Value) -> Result<Value, ErrorObject> {
    ask_by(program, "dapi", &request.to_string())
}

fn ask_by(program: &mut LocalProgram, command: &str, payload: &str) -> Result<Value, ErrorObject> {
    assert_eq!(program.ask(command, payload).counter, 7);
    answer(program)
}

fn answer(program: &mut LocalProgram) -> Result<Value, ErrorObject> {
    let (got, text) = program.string();
    match got.field.as_str() {
        "dapi_res ---" => match ErrorObject::from_json(text.as_bytes()) {
            Some(error) => Err(error),
            None => {
                Ok(serde_json::from_str::<Value>(&text).unwrap()["__wazuh_result__"]["__object__"]["result"].clone())
            }
        },
        "dapi_err ---" => Err(ErrorObject::from_json(got.body.as_bytes()).expect("what the framework understands")),
        other => panic!("{other}: {got:?}"),
    }
}

fn asked(node: &Node, name: &str, arguments: Value) -> Result<Value, ErrorObject> {
    ask(&mut LocalProgram::of(node), &request(name, arguments))
}

/// The child that executes the next request, and its parent.
fn processes(node: &Node) -> (i64, i64) {
    let both = asked(node, "processes", json!({})).unwrap();
    (both["pid"].as_i64().unwrap(), both["parent"].as_i64().unwrap())
}

fn runs(pid: i64) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Whether there is anything of a process, if only for whoever waits for it.
fn exists(pid: i64) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Waits until a function has left so many numbers of processes.
fn mark(home: &TestHome, name: &str, count: usize) -> Vec<i64> {
    let mut pids = Vec::new();
    eventually("the function has begun", || {
        let text = String::from_utf8(home.read(name).unwrap_or_default()).unwrap();
        pids = text.lines().map(|line| line.parse().unwrap()).collect();
        pids.len() >= count && text.ends_with('\n')
    });
    pids
}

#[test]
fn a_request_is_executed_where_it_belongs() {
    let (clock, _hand) = FakeClock::new();
    let master = Node::master(home(), &clock, json!({}));
    let worker = Node::worker(home(), &clock, json!({}), "w1", master.port());
    eventually("the worker connects", || !LocalProgram::of(&worker).ask("get_nodes", "{}").field.starts_with("err"));
    let word = json!({"a": "ä\"b", "c": [1, null]});
    let local = request("echo", word.clone());
    let mut share = request("processes", json!({}));
    (share["request_type"], share["from_cluster"]) = (json!("distributed_master"), json!(true));
    assert_eq!(ask(&mut LocalProgram::of(&master), &local).as_ref(), Ok(&word));
    assert_eq!(ask(&mut LocalProgram::of(&worker), &local).as_ref(), Ok(&word));
    let there = ask_by(&mut LocalProgram::of(&master), "dapi_fwd", &format!("w1 {share}")).unwrap();
    assert_ne!(there["parent"], json!(processes(&master).1), "it has processes of its own");
    // What is the master's would come back to it.
    let error = ask_by(&mut LocalProgram::of(&master), "dapi_fwd", &format!("w1 {local}")).unwrap_err();
    assert!(error.message().contains("a worker does not execute for its master"), "{error}");
    assert_eq!(asked(&master, "later", json!({})).unwrap_err().code, 1000, "it is not awaited");
    let mut later = request("later", json!({}));
    later["is_async"] = json!(true);
    assert_eq!(ask(&mut LocalProgram::of(&master), &later), Ok(json!("later")));
    let login = in_module("api.authentication", "check_user_master", json!({"user": "a", "password": "right"}));
    assert_eq!(ask(&mut LocalProgram::of(&worker), &login), Ok(json!({"result": true})));
}

#[test]
fn processes_are_there_while_they_are_used() {
    let (master, hand) = master(json!({"distributed_api": {"processes": 1}}));
    let (child, parent) = processes(&master);
    assert_eq!(processes(&master), (child, parent), "they are kept");
    let about = asked(&master, "environment", json!({})).unwrap();
    assert_eq!((&about["group"], &about["adjusted"]), (&json!(parent), &json!(500)));
    let names: Vec<_> = about["names"].as_array().unwrap().iter().filter(|name| *name != "LC_CTYPE").collect();
    assert_eq!(names, ["WAZUH_HOME"]);
    hand.advance(limits::API_IDLE - SECOND);
    assert_eq!(processes(&master), (child, parent));
    advance_until(&hand, SECOND, "they end", || !runs(parent) && !runs(child));
    let (child, parent) = processes(&master);
    assert!(runs(child) && runs(parent));
    master.stop();
    // They were told to, and may not have got to it.
    eventually("they end with the node", || !runs(child) && !runs(parent));
}

#[test]
fn what_may_not_be_called_is_refused_in_the_words_of_the_original() {
    let (master, _hand) = master(json!({}));
    let refused = |request: &Value| ask(&mut LocalProgram::of(&master), request).unwrap_err().to_string();
    let module = |module: &str| format!("Error 1000 - Decoding callable from module '{module}' is not allowed");
    let marked = |name: &str| {
        format!(
            "Error 1000 - Function '{name}' from module 'wazuh.manager' is not exposed with @dapi_allower decorator"
        )
    };
    let touch = json!({"command": ["touch", master.home.path("touched")]});
    assert_eq!(refused(&in_module("os", "system", json!({}))), module("os"));
    let file = refused(&request("echo", json!({"tmp_file": "tmp/a"})));
    assert!(file.contains("Invalid tmp_file path"), "{file}");
    assert_eq!(LocalProgram::of(&master).ask("dapi", "{\"f\": 1").counter, 7);
    // Those are refused by this daemon, these by the process that would have to call them.
    let (_, parent) = processes(&master);
    assert_eq!(refused(&in_module("wazuh.core.utils", "execute", touch.clone())), module("wazuh.core.utils"));
    assert_eq!(refused(&in_module("wazuh.core.manager", "status", json!({}))), module("wazuh.core.manager"));
    assert_eq!(refused(&in_module("wazuh.nothing", "status", json!({}))), module("wazuh.nothing"));
    assert_eq!(refused(&request("hidden", json!({}))), marked("hidden"));
    assert_eq!(refused(&request("execute", touch.clone())), marked("execute"), "it is of another module");
    assert_eq!(refused(&request("WazuhError", json!({"code": 1}))), marked("WazuhError"));
    assert_eq!(refused(&request("os.system", json!({}))), module("wazuh.manager"));
    assert_eq!(refused(&request("missing", json!({}))), "Error 1000 - Wazuh object cannot be decoded from JSON");
    let nested = json!({"list": [in_module("wazuh.core.utils", "execute", json!({}))["f"]]});
    assert_eq!(refused(&request("echo", nested)), module("wazuh.core.utils"));
    let mut method = request("echo", json!({}));
    method["f"]["__callable__"]["__wazuh__"] = json!({});
    assert_eq!(refused(&method), "Error 1000 - Method 'echo' is not exposed with @dapi_allower decorator");
    let wrong = asked(&master, "processes", json!({"argument": 1})).unwrap_err();
    assert!(wrong.code == 1000 && wrong.message().contains("unexpected keyword argument"), "{wrong}");
    assert!(master.home.read("touched").is_none() && processes(&master).1 == parent);
}

#[test]
fn an_error_of_the_function_is_a_result() {
    let (master, _hand) = master(json!({}));
    let mut program = LocalProgram::of(&master);
    program.send("dapi", request("fail", json!({"password": "s"})).to_string().as_bytes());
    assert_eq!(program.next().counter, 7);
    let (got, text) = program.string();
    assert_eq!(got.field, "dapi_res ---");
    let error: Value = serde_json::from_str(&text).unwrap();
    let (class, object) = (&error["__wazuh_exception__"]["__class__"], &error["__wazuh_exception__"]["__object__"]);
    assert_eq!((class, &object["code"]), (&json!("WazuhError"), &json!(1726)));
    let log = master.home.path("logs/cluster.log");
    assert_eq!(object["dapi_errors"]["m"]["logfile"], json!(log), "the node is that of the daemon");
    let crashed = asked(&master, "crash", json!({"password": "s"})).unwrap_err();
    assert_eq!(crashed.to_string(), "Error 1000 - Wazuh Internal Error: ValueError: s");
}

#[test]
fn a_daemon_that_has_come_up_is_seen_at_once() {
    let (master, _hand) = master(json!({}));
    let mut needs = request("echo", json!({}));
    needs["basic_services"] = json!(["wazuh-db", "wazuh-execd"]);
    let error = ask(&mut LocalProgram::of(&master), &needs).unwrap_err();
    assert_eq!(error.to_string(), "Error 1017 - wazuh-execd");
    master.home.write("var/run/wazuh-execd-1.pid", "");
    assert!(ask(&mut LocalProgram::of(&master), &needs).is_ok());
}

#[test]
fn large_requests_and_answers_pass_and_too_large_ones_do_not() {
    let (master, _hand) = master(json!({}));
    let file = "y".repeat(8_500_000);
    assert_eq!(asked(&master, "echo", json!({"file": file})).unwrap()["file"], json!(file));
    assert_eq!(asked(&master, "text", json!({"length": 16 << 20})).unwrap().as_str().unwrap().len(), 16 << 20);
    let (_, parent) = processes(&master);
    let error = asked(&master, "text", json!({"length": limits::API})).unwrap_err();
    assert_eq!(error.to_string(), "Error 1000 - the answer is too long");
    assert_eq!(processes(&master).1, parent);
}

#[test]
fn a_function_that_takes_too_long_is_ended_and_others_are_served() {
    // The program sends no keep-alive, and must not be closed for that at the moment of its answer.
    let (master, hand) = master(json!({"intervals": {"master": {"max_allowed_time_without_keepalive": 1000}}}));
    let mut program = LocalProgram::of(&master);
    let mut forever = request("wait", json!({"mark": "mark"}));
    forever["api_timeout"] = json!(100_000);
    assert_eq!(program.ask("dapi", forever.to_string()).counter, 7);
    let [stuck] = mark(&master.home, "mark", 1)[..] else { panic!("it was called twice") };
    let (other, parent) = processes(&master);
    assert_ne!(other, stuck);
    hand.advance(204 * SECOND);
    assert!(runs(stuck));
    hand.advance(2 * SECOND);
    assert_eq!(answer(&mut program).unwrap_err().to_string(), "Error 3021 - Timeout executing API request");
    eventually("it is ended", || !runs(stuck));
    assert_eq!(processes(&master).1, parent);
    assert_eq!(mark(&master.home, "mark", 1), [stuck], "it is not asked for again");
}

/// Whoever waits for as long as it takes is waited for.
#[test]
fn wait_for_complete_has_no_limit_but_the_one_that_asked() {
    let (master, hand) = master(json!({}));
    let mut program = LocalProgram::of(&master);
    let mut forever = request("wait", json!({"mark": "mark"}));
    forever["wait_for_complete"] = json!(true);
    assert_eq!(program.ask("dapi", forever.to_string()).counter, 7);
    let [waits] = mark(&master.home, "mark", 1)[..] else { panic!("it was called twice") };
    (0..10).for_each(|_| hand.advance(100 * SECOND));
    assert!(asked(&master, "echo", json!({})).is_ok() && runs(waits));
    let begun = Instant::now();
    drop(program);
    eventually("it ends with the one that asked", || !runs(waits));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(asked(&master, "echo", json!({})).is_ok());
}

/// The framework gives up waiting and leaves the thread to itself: the process must not get another request.
#[test]
fn a_child_whose_thread_is_still_busy_is_replaced() {
    let (master, _hand) = master(json!({"distributed_api": {"processes": 1}}));
    let mut late = request("wait", json!({"mark": "mark"}));
    late["api_timeout"] = json!(1);
    let error = ask(&mut LocalProgram::of(&master), &late).unwrap_err();
    assert_eq!(error.code, 3021);
    let [busy] = mark(&master.home, "mark", 1)[..] else { panic!("it was called twice") };
    assert_ne!(processes(&master).0, busy);
    eventually("it ends", || !runs(busy));
}

/// However long whoever asked takes to accept the answer.
#[test]
fn a_process_executes_the_next_request_while_an_answer_is_on_its_way() {
    let (master, _hand) = master(json!({"distributed_api": {"processes": 1}}));
    let (child, _) = processes(&master);
    let mut slow = LocalProgram::of(&master);
    assert_eq!(slow.ask("dapi", request("text", json!({"length": 500_000})).to_string()).counter, 7);
    // It takes nothing for now.
    assert_eq!(processes(&master).0, child);
    assert_eq!(answer(&mut slow).unwrap().as_str().unwrap().len(), 500_000);
}

#[test]
fn a_process_that_dies_is_told_and_nothing_is_asked_for_twice() {
    let (master, _hand) = master(json!({}));
    let (_, before) = processes(&master);
    let begun = Instant::now();
    let error = asked(&master, "die", json!({"mark": "mark"})).unwrap_err();
    assert_eq!(error.to_string(), "Error 1000 - Wazuh Internal Error: the executor ended (signal 9)");
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(processes(&master).1, before);
    let (child, parent) = processes(&master);
    assert_eq!(mark(&master.home, "mark", 1).len(), 1);
    for dies in [child, parent] {
        kill(Pid::from_raw(dies as i32), Signal::SIGKILL).unwrap();
        // The child has threads: until it is reaped, its end of the line may be open.
        eventually("it is dead", || if dies == child { !exists(dies) } else { !runs(dies) });
        assert!(asked(&master, "echo", json!({})).is_ok());
        let (child, parent) = processes(&master);
        assert!(dies != child && dies != parent);
    }
}

#[test]
fn a_parent_that_hangs_is_replaced() {
    let (master, _hand) = master(json!({}));
    let (_, parent) = processes(&master);
    let mut waits = LocalProgram::of(&master);
    assert_eq!(waits.ask("dapi", request("wait", json!({"mark": "mark"})).to_string()).counter, 7);
    let [child] = mark(&master.home, "mark", 1)[..] else { panic!("it was called twice") };
    kill(Pid::from_raw(parent as i32), Signal::SIGSTOP).unwrap();
    assert_ne!(processes(&master).1, parent);
    drop(waits);
    eventually("the old one ends with its last request", || !runs(parent) && !runs(child));
}

#[test]
fn a_process_is_replaced_when_it_has_done_much_or_holds_much() {
    let (master, _hand) = master(json!({"distributed_api": {"processes": 1}}));
    let mut program = LocalProgram::of(&master);
    let mut pid = || ask(&mut program, &request("processes", json!({}))).unwrap()["pid"].as_i64().unwrap();
    let first = pid();
    (2..=limits::API_PROCESS_REQUESTS).for_each(|_| assert_eq!(pid(), first));
    let second = pid();
    assert_ne!(first, second);
    assert_eq!(asked(&master, "hold", json!({"length": 1000})).unwrap(), json!(1));
    assert_eq!(pid(), second);
    assert_eq!(asked(&master, "hold", json!({"length": limits::API_PROCESS_MEMORY})).unwrap(), json!(2));
    assert_ne!(pid(), second);
    eventually("they end", || !runs(first) && !runs(second));
}

#[test]
fn changed_files_are_read_by_new_processes() {
    let (master, _hand) = master(json!({}));
    let (_, parent) = processes(&master);
    assert_eq!(asked(&master, "read_configuration", json!({})).unwrap(), json!("<ossec_config/>"));
    let mut waits = LocalProgram::of(&master);
    let last = request("wait", json!({"mark": "mark", "seconds": 1}));
    assert_eq!(waits.ask("dapi", last.to_string()).counter, 7);
    let [child] = mark(&master.home, "mark", 1)[..] else { panic!("it was called twice") };
    master.home.write("etc/ossec.conf", "<ossec_config> </ossec_config>");
    assert_eq!(asked(&master, "read_configuration", json!({})).unwrap(), json!("<ossec_config> </ossec_config>"));
    assert_ne!(processes(&master).1, parent);
    assert_eq!(answer(&mut waits), Ok(json!("waited")), "what was under way is carried to its end");
    eventually("the old ones end", || !runs(child) && !runs(parent));
    let (child, parent) = processes(&master);
    master.home.write("api/configuration/security/rbac.db", "one");
    let (_, second) = processes(&master);
    master.home.write("api/configuration/security/rbac.db", "another");
    assert_ne!(parent, second);
    assert_eq!(processes(&master).1, second, "it is the same database");
    eventually("the old ones end", || !runs(child) && !runs(parent));
}

#[test]
fn a_framework_that_cannot_be_imported_is_not_tried_all_the_time() {
    let (master, hand) = master(json!({}));
    let package = "framework/wazuh/manager.py";
    let good = String::from_utf8(master.home.read(package).unwrap()).unwrap();
    let bad = format!("open('tries', 'a').write('x')\nimport nothing_of_this_name\n{good}");
    master.home.write(package, bad);
    let tries = || master.home.read("tries").unwrap_or_default().len();
    for _ in 0..5 {
        let error = asked(&master, "echo", json!({})).unwrap_err();
        assert!(error.message().contains("No module named 'nothing_of_this_name'"), "{error}");
    }
    assert_eq!(tries(), 1);
    hand.advance(10 * SECOND);
    (0..2).for_each(|_| assert!(asked(&master, "echo", json!({})).is_err()));
    assert_eq!(tries(), 2);
    hand.advance(10 * SECOND);
    assert!(asked(&master, "echo", json!({})).is_err());
    assert_eq!(tries(), 2, "the pause grows");
    master.home.write(package, good);
    master.home.write("framework/wazuh/__init__.py", "__version__ = '4.14.8'\n");
    assert!(asked(&master, "echo", json!({})).is_ok());
}

/// One without marks, without what later versions can be told, and without one of the modules.
#[test]
fn an_old_framework_works_too() {
    let (master, _hand) = master(json!({}));
    let edit = |file: &str, from: &str, to: &str| {
        let path = format!("framework/wazuh/{file}");
        let text = String::from_utf8(master.home.read(&path).unwrap()).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        master.home.write(&path, text.replace(from, to));
    };
    edit("manager.py", "    exposed.__wazuh_exposed__ = True\n", "");
    edit("core/cluster/dapi/dapi.py", ", remove_denied_nodes=False", "");
    let mut newer = request("echo", json!({"a": 1}));
    newer["remove_denied_nodes"] = json!(true);
    assert_eq!(ask(&mut LocalProgram::of(&master), &newer), Ok(json!({"a": 1})));
    assert_eq!(asked(&master, "hidden", json!({})), Ok(json!("not exposed")), "no version says what is");
    assert!(asked(&master, "execute", json!({"command": ["true"]})).is_err());
}

#[test]
fn where_requests_are_not_passed_on_they_are_executed() {
    let (clock, _hand) = FakeClock::new();
    let master = Node::master(home(), &clock, json!({}));
    let worker = Node::worker(home(), &clock, json!({"distributed_api": {"enabled": false}}), "w1", master.port());
    let (_, parent) = processes(&worker);
    assert_ne!(parent, processes(&master).1);
    assert_eq!(processes(&worker).1, parent);
}

/// Case 4.5.
#[test]
fn many_at_once_are_all_answered_and_one_node_cannot_take_all_processes() {
    let (clock, _hand) = FakeClock::new();
    let master = Node::master(home(), &clock, json!({}));
    let worker = Node::worker(home(), &clock, json!({}), "w1", master.port());
    eventually("the worker connects", || !LocalProgram::of(&worker).ask("get_nodes", "{}").field.starts_with("err"));
    let (all, begun) = (50, Instant::now());
    let programs: Vec<_> = (0..all).map(|_| LocalProgram::of(&worker)).collect();
    let one = |mut program| ask(&mut program, &request("processes", json!({}))).unwrap()["pid"].as_i64().unwrap();
    let pids: BTreeSet<i64> = std::thread::scope(|scope| {
        let asks: Vec<_> = programs.into_iter().map(|program| scope.spawn(move || one(program))).collect();
        asks.into_iter().map(|ask| ask.join().unwrap()).collect()
    });
    assert!(pids.len() <= 2, "those of one node: {pids:?}");
    eprintln!("{all} requests of a worker at once: {:?}", begun.elapsed());
    let mut greedy: Vec<_> = (0..6).map(|_| LocalProgram::of(&master)).collect();
    for program in &mut greedy {
        assert_eq!(program.ask("dapi", request("wait", json!({"mark": "mark"})).to_string()).counter, 7);
    }
    let stuck = mark(&master.home, "mark", 2);
    assert!(!stuck.contains(&processes(&worker).0));
    assert_eq!(mark(&master.home, "mark", 2).len(), 2);
}
