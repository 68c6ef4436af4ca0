use super::*;

fn read(line: &str) -> Result<Request, Fault> {
    parse(line.split_whitespace().map(OsString::from))
}

fn request(action: Action, nodes: &[&str]) -> Request {
    let nodes = nodes.iter().map(|&name| name.to_owned()).collect();
    let (statuses, wishes) = (Vec::new(), Wishes::default());
    let (watch, home, paint) = (None, None, Paint::default());
    Request {
        action,
        nodes,
        statuses,
        wishes,
        purge: false,
        force: false,
        json: false,
        watch,
        debug: false,
        home,
        paint,
    }
}

#[test]
fn command_lines_mean_what_users_of_the_original_expect() {
    let health = |more| Action::Health { more };
    let cases = [
        ("", request(Action::Help, &[])),
        ("-d", Request { debug: true, ..request(Action::Help, &[]) }),
        ("-l -h --nonsense", request(Action::Help, &[])),
        ("-u", request(Action::Usage, &[])),
        ("--version", request(Action::Version, &[])),
        ("-l", request(Action::Nodes, &[])),
        ("--list-nodes", request(Action::Nodes, &[])),
        ("-l -fn w1 w2", request(Action::Nodes, &["w1", "w2"])),
        ("-fn w1 w1 -l", request(Action::Nodes, &["w1"])),
        ("-l --filter-node w1 -fn w2", request(Action::Nodes, &["w1", "w2"])),
        ("-dl", Request { debug: true, ..request(Action::Nodes, &[]) }),
        ("-i", request(health(false), &[])),
        ("-i more", request(health(true), &[])),
        ("-i more -fn w1", request(health(true), &["w1"])),
        ("-fn w1 -i", request(health(false), &["w1"])),
        ("--health=more", request(health(true), &[])),
        ("-di more", Request { debug: true, ..request(health(true), &[]) }),
        ("-i --json", Request { json: true, ..request(health(false), &[]) }),
        ("-l --watch", Request { watch: Some(Duration::from_secs(2)), ..request(Action::Nodes, &[]) }),
        ("--watch 0.5 -i", Request { watch: Some(Duration::from_millis(500)), ..request(health(false), &[]) }),
        ("--watch=60 -l", Request { watch: Some(Duration::from_secs(60)), ..request(Action::Nodes, &[]) }),
        ("--config-diff -fn w1", request(Action::ConfigDiff, &["w1"])),
        ("-a", request(Action::Agents, &[])),
        ("--forget w3 --json", Request { json: true, ..request(Action::Forget("w3".into()), &[]) }),
        ("--promote --force --json", Request { force: true, json: true, ..request(Action::Promote, &[]) }),
        ("--key-status", request(Action::Keys, &[])),
        ("--key-status -fn w1 --json", Request { json: true, ..request(Action::Keys, &["w1"]) }),
        ("--list-agents -fn w1", request(Action::Agents, &["w1"])),
        ("-a -fs active pending", {
            let statuses = vec!["active".into(), "pending".into()];
            Request { statuses, ..request(Action::Agents, &[]) }
        }),
        ("--add-agent web --ip 10.0.0.1 --groups a,b --force", {
            let wishes = Wishes { ip: Some("10.0.0.1".into()), groups: Some("a,b".into()) };
            Request { wishes, force: true, ..request(Action::AddAgent("web".into()), &[]) }
        }),
        ("--remove-agent 7 --purge", Request { purge: true, ..request(Action::RemoveAgent("007".into()), &[]) }),
        ("--agent-key=1234 --json", Request { json: true, ..request(Action::AgentKey("1234".into()), &[]) }),
        ("-l --home /opt/w", Request { home: Some("/opt/w".into()), ..request(Action::Nodes, &[]) }),
    ];
    for (line, expected) in cases {
        assert_eq!(read(line), Ok(expected), "{line}");
    }
}

#[test]
fn wrong_command_lines_are_named() {
    let unknown = |option: &str| Fault::UnknownOption(option.into());
    let two = |first: &str, second: &str| Fault::TwoActions(first.into(), second.into());
    let cases = [
        ("-x", unknown("-x")),
        ("-fs active", Fault::NothingToApplyTo("-fs", "-a")),
        ("-l -fs active", Fault::NothingToApplyTo("-fs", "-a")),
        ("-a -fs", Fault::NoStatus),
        ("-a -fs gone", Fault::UnknownStatus("gone".into())),
        ("-a -l", two("-a", "-l")),
        ("--key-status -i", two("--key-status", "-i")),
        ("-f", unknown("-f")),
        ("-fnw1 -l", unknown("-fnw1")),
        ("--list", unknown("--list")),
        ("-l w1", Fault::Stray("w1".into())),
        ("-i less", Fault::NotMore("less".into())),
        ("-iless", Fault::NotMore("less".into())),
        ("-i more w1", Fault::Stray("w1".into())),
        ("-l -fn", Fault::NoNode),
        ("-l --watch 0", Fault::NoSeconds("0".into())),
        ("-l --watch w1", Fault::NoSeconds("w1".into())),
        ("--watch", Fault::NothingToApplyTo("--watch", "-l, -i, -a, --key-status or --config-diff")),
        ("-fn -l", Fault::NoNode),
        ("--forget w3 -l", two("--forget", "-l")),
        (
            "--forget w3 -fn w3",
            Fault::NothingToApplyTo("-fn", "-l, -i, -a, --key-status, --config-diff or --confirm-deletions"),
        ),
        ("--list-nodes -i", two("-l", "-i")),
        ("-i -i more", Fault::UnlikeActions("-i".into())),
        ("--forget a --forget b", Fault::UnlikeActions("--forget".into())),
        ("-fn w1", Fault::NothingToApplyTo("-fn", "-l, -i, -a, --key-status, --config-diff or --confirm-deletions")),
        (
            "-u --json",
            Fault::NothingToApplyTo("--json", "an option that queries, confirms, forgets, promotes or registers"),
        ),
        ("--agent-key w1", Fault::NoAgent("w1".into())),
        ("--remove-agent 123456789", Fault::NoAgent("123456789".into())),
        ("--agent-key 1 --purge", Fault::NothingToApplyTo("--purge", "--remove-agent")),
        ("-a --force", Fault::NothingToApplyTo("--force", "--add-agent or --promote")),
        ("--groups a --ip 10.0.0.1 -l", Fault::NothingToApplyTo("--ip", "--add-agent")),
        ("--add-agent a --remove-agent 1", two("--add-agent", "--remove-agent")),
    ];
    for (line, expected) in cases {
        assert_eq!(read(line), Err(expected), "{line}");
    }
    assert!(matches!(read("-l --home"), Err(Fault::Other(_))));
    assert!(matches!(read("-l --json=yes"), Err(Fault::Other(_))));
}

#[test]
fn messages_name_what_was_typed() {
    let cases = [
        ("-l -a", "-l and -a cannot be combined; choose one"),
        ("--forget a --forget b", "--forget is given twice with different values; choose one"),
        ("-l --groups a", "--groups can be used with --add-agent only"),
        ("--list-node", "the option --list-node is not known; did you mean --list-nodes?"),
        ("-x", "the option -x is not known"),
    ];
    for (line, text) in cases {
        assert_eq!(read(line).expect_err(line).to_string(), text);
    }
}
