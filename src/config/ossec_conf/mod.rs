//! Reading and checking the blocks of `ossec.conf` that concern this daemon.
//!
//! `<cluster>` (`spec/protocol.md` 15.1): every rule is checked, and every breach is reported, in the order of the
//! stock checks: its first message is our first. Other daemons read the same blocks, so they have no option of ours.

mod auth;
mod check;
mod global;
mod options;
mod value;

use std::path::Path;

use super::{
    Auth, Cluster, Global, Note, Secret,
    fault::{Code, Fault, printable},
    settings::Version,
    source,
    xml::{self, Element},
};
use crate::system::spelling;
use check::Check;

/// Bytes that an `ossec.conf` may have.
pub(super) const LIMIT: u64 = 16 << 20;

/// What the file says.
pub(super) struct OssecConf {
    /// The cluster and what is worth knowing of it, or what is wrong.
    pub(super) cluster: Result<(Cluster, Vec<Note>), Vec<Fault>>,
    pub(super) auth: Auth,
    /// What is wrong with `<auth>`. It concerns this daemon only if it registers agents.
    pub(super) auth_faults: Vec<Fault>,
    pub(super) global: Global,
    /// What is wrong with `<global>`. It concerns this daemon only if it looks after the agents of its database.
    pub(super) global_faults: Vec<Fault>,
}

impl OssecConf {
    /// A file that cannot be read.
    fn unreadable(fault: Fault) -> Self {
        let (auth, global) = (Auth::default(), Global::default());
        Self { cluster: Err(vec![fault]), auth, auth_faults: Vec::new(), global, global_faults: Vec::new() }
    }
}

/// Reads the blocks of the file; `<cluster>` is checked if it is not disabled, for a node that states `version`.
pub(super) fn load(file: &Path, version: Version) -> OssecConf {
    let bytes = source::read(file, LIMIT).map_err(|error| {
        let problem = format!("the file can not be read: {error}");
        let remedy = match file.parent() {
            Some(etc) if !etc.exists() => format!("no Wazuh installation at {}; name it with --home", above(etc)),
            _ => source::remedy(&error).to_owned(),
        };
        Fault::new(Code::Reading, file, problem, remedy)
    });
    match bytes {
        // Other daemons' sections may hold any bytes, and are none of our business.
        Ok(bytes) => parse(&Secret::lossy(&bytes), file, version),
        Err(fault) => OssecConf::unreadable(fault),
    }
}

/// The directory around `etc`, for people.
fn above(etc: &Path) -> std::path::Display<'_> {
    etc.parent().unwrap_or(etc).display()
}

fn parse(text: &str, file: &Path, version: Version) -> OssecConf {
    let found = match xml::find_blocks(text) {
        Ok(found) => found,
        Err(malformed) => {
            let fault = Fault::new(Code::Reading, file, malformed.problem, malformed.remedy).line(malformed.line);
            return OssecConf::unreadable(fault);
        }
    };
    let (auth, auth_faults) = auth::read(file, found.auth.as_ref());
    let (global, global_faults) = global::read(file, &found.global);
    OssecConf { cluster: cluster(found, text, file, version), auth, auth_faults, global, global_faults }
}

fn cluster(found: xml::Found, text: &str, file: &Path, version: Version) -> Result<(Cluster, Vec<Note>), Vec<Fault>> {
    let Some(block) = found.cluster else {
        return Err(vec![no_cluster(&found.astray, text, file)]);
    };
    let mut notes = Vec::new();
    let mut warn = |line: usize, text: &str| {
        notes.push(Note::warning(format!("{text} ({}:{line})", file.display())));
    };
    for line in found.astray {
        warn(line, "A <cluster> block stands outside <ossec_config> and is not read; put it into <ossec_config>");
    }
    if !found.earlier.is_empty() {
        let lines: Vec<_> = found.earlier.iter().map(usize::to_string).collect();
        let (count, lines, last) = (lines.len() + 1, lines.join(", "), block.line);
        let text = format!(
            "There are {count} <cluster> blocks, at lines {lines} and {last}; only the last one counts, as a whole; \
             remove the others"
        );
        warn(last, &text);
    }
    if let Some((name, line)) = found.capital {
        let (name, small) = (printable(&name), printable(&name.to_ascii_lowercase()));
        warn(line, &format!("<{name}> is read as <{small}>; write it so, as other programs may not read it"));
    }
    let mut check = Check { file, block: &block, version, faults: Vec::new(), notes };
    let cluster = check.cluster();
    if check.faults.is_empty() { Ok((cluster, check.notes)) } else { Err(check.faults) }
}

/// A node that is in no cluster says so: a block that was misspelt must not look like that.
fn no_cluster(astray: &[usize], text: &str, file: &Path) -> Fault {
    let problem = "there is no <cluster> in <ossec_config>";
    let remedy = "write <cluster> there; with <disabled>yes</disabled> if this node is in no cluster";
    let fault = Fault::new(Code::Reading, file, problem, remedy);
    let alike = |block: &Element| {
        spelling::closest(&block.name, ["cluster"]).is_some()
            || block.children.iter().any(|child| matches!(&*child.name, "node_name" | "node_type"))
    };
    match (astray, xml::other_blocks(text).unwrap_or_default().into_iter().find(alike)) {
        ([line, ..], _) => fault.line(*line).detail("this one stands outside <ossec_config>"),
        (_, Some(block)) => fault.line(block.line).detail(format!("<{}> looks like it", printable(&block.name))),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::config::{NodeType, cluster::OPTIONS};

    const FILE: &str = "/f";
    const KEY: &str = "0123456789abcdefghijklmnopqrstu_";
    const NEW: Version = Version { major: 4, minor: 14, patch: 7 };

    fn read(text: &str) -> Result<(Cluster, Vec<Note>), Vec<Fault>> {
        parse(text, Path::new(FILE), NEW).cluster
    }

    /// A block on line 1 that is right but for `options`, which stand on line 2 and win over the right ones.
    fn block(options: &str) -> String {
        format!("<ossec_config><cluster><key>{KEY}</key><nodes>NODES</nodes>\n{options}</cluster></ossec_config>",)
            .replace("NODES", if options.contains("<nodes>") { "" } else { "<node>10.0.0.1</node>" })
    }

    #[test]
    fn each_message_of_the_original_with_place_and_remedy() {
        let cases = [
            (
                "<key>short</key>",
                "Key must be 32 characters long and only have alphanumeric characters",
                "it has 5 characters",
            ),
            ("<key>c98b62a9b6169ac5f67dae55ae4a908-</key>", "Key must be 32", "a character is not a letter"),
            ("<key>c98b62a9b6169ac5f67dae55ae4a908é</key>", "Key must be 32", "a character is not a letter"),
            (
                "<key>to_be_replaced_by_cluster_key</key>",
                "Key must be 32",
                "a placeholder of a template was not replaced",
            ),
            (
                "<node_type>foo</node_type>",
                "Invalid node type foo. Correct values are master and worker",
                "found 'foo'",
            ),
            (
                "<port>80</port>",
                "Port must be higher than 1024 and lower than 65535.",
                "found '80'; write a port between 1025 and 65534",
            ),
            ("<port>1024</port>", "Port must be higher than 1024 and lower than 65535.", "found '1024'"),
            ("<port>65535</port>", "Port must be higher than 1024 and lower than 65535.", "found '65535'"),
            ("<port>99999999999999999999</port>", "Port must be higher", "found '99999999999999999999'"),
            ("<port>15i6</port>", "Cluster port must be an integer.", "found '15i6'"),
            ("<port>-1516</port>", "Cluster port must be an integer.", "found '-1516'"),
            (
                "<disabled>maybe</disabled>",
                "Allowed values for 'disabled' field are 'yes' and 'no'. Found: 'maybe'",
                "write yes or no",
            ),
            (
                "<nodes><node>localhost</node></nodes>",
                "Invalid elements in node fields: localhost.",
                "found 'localhost'",
            ),
            (
                "<nodes><node>m</node><node>0.0.0.0</node><node>127.0.1.1</node></nodes>",
                "node fields: 0.0.0.0, 127.0.1.1.",
                "found '0.0.0.0'",
            ),
            ("<nodes><node></node></nodes>", "Invalid elements in node fields: NODE_IP.", "no node is given"),
            ("<name>my cluster</name>", "The name of the cluster must not have blanks", "found 'my cluster'"),
            ("<node_name>a.b</node_name>", "The name of the node", "found 'a.b'"),
            (
                "<node_type>worker</node_type><nodes><node>ma ster</node></nodes>",
                "The address of the master must not have blanks",
                "found 'ma ster'; write the IP address or the host name of the master into <node>",
            ),
            ("<bind_addr>[::]</bind_addr>", "The bind_addr is neither", "found '[::]'"),
        ];
        for (options, problem, rest) in cases {
            let faults = read(&block(options)).expect_err(options);
            let shown = faults[0].to_string();
            assert_eq!(faults.len(), 1, "{shown}");
            assert!(shown.starts_with("Error 3004 - Error in cluster configuration: "), "{shown}");
            assert!(shown.contains(problem) && shown.contains(rest) && shown.contains(" (/f:2: "), "{shown}");
        }
        let unspecified =
            read("<ossec_config><cluster><nodes><node>m</node></nodes><key> </key></cluster></ossec_config>");
        let shown = unspecified.expect_err("no key")[0].to_string();
        assert!(shown.starts_with("Error 3004 - Error in cluster configuration: Unspecified key (/f:1: "), "{shown}");
        let shown = read("<ossec_config>\n<cluster>").expect_err("malformed")[0].to_string();
        assert!(
            shown.starts_with("Error 3006 - Error reading cluster configuration: <cluster> is never closed (/f:2: "),
            "{shown}"
        );
    }

    #[test]
    fn what_is_right_is_taken() {
        let (cluster, notes) = read(&block(
            "<port> 15<!-- x -->17 </port><node_type>worker</node_type><name>c&amp;d</name>\
             <hidden>perhaps</hidden><disabled>no</disabled>\
             <bind_addr><![CDATA[::]]></bind_addr>\
             <haproxy_helper><haproxy_disabled>yes</haproxy_disabled><a>1</a><b><c>x</c></b><a>2</a></haproxy_helper>\
             <node_name/>",
        ))
        .expect("right");
        assert!(notes.iter().all(|note| note.text.contains("Unknown option <")), "{notes:?}");
        assert_eq!(
            (cluster.port, cluster.node_type, &*cluster.name, &*cluster.bind_addr),
            (1517, NodeType::Worker, "c&d", "::")
        );
        assert_eq!((&*cluster.node_name, &*cluster.hidden, cluster.key.expose()), ("node01", "perhaps", KEY));
        let helper = serde_json::json!({"haproxy_disabled": "yes", "a": ["1", "2"], "b": {"c": "x"}});
        assert_eq!(cluster.haproxy_helper, Some(helper));
        let order = ["key", "nodes", "port", "node_type", "name", "hidden", "disabled", "bind_addr", "haproxy_helper"];
        assert_eq!(cluster.written, order);
        let (cluster, _) = read(&block("<nodes><node>127.0.0.1</node></nodes><port>65534</port>")).expect("right");
        assert_eq!((cluster.nodes, cluster.port), (vec!["127.0.0.1".to_owned()], 65_534));
    }

    #[test]
    fn disabled_ends_the_checks() {
        let enabled = "<ossec_config><cluster><disabled>no</disabled></cluster>";
        for text in [
            "<ossec_config><cluster><disabled>yes</disabled><key>x</key><port>1</port></cluster></ossec_config>",
            &format!(
                "{enabled}</ossec_config><ossec_config><cluster><disabled>yes</disabled></cluster></ossec_config>"
            ),
        ] {
            assert!(read(text).expect("disabled").0.disabled, "{text}");
        }
        let both = "<ossec_config><cluster><disabled>yes</disabled><port>x</port></cluster></ossec_config>";
        assert!(read(both).expect_err("digits are checked before")[0].to_string().contains("must be an integer"));
    }

    #[test]
    fn what_works_but_should_be_known() {
        let cases = [
            ("<node_type>client</node_type>", "is read as 'worker'"),
            ("<key>c98b62a9b6169ac5f67dae55ae4a9088</key>", "published example"),
            ("<key>ugdtAnd7Pi9myP7CVts4qZaZQEQcRYZa</key>", "published example"),
            ("<node_name>to_be_replaced_by_hostname</node_name>", "placeholder 'to_be_replaced_by_hostname'"),
            ("<nodes><node>a</node><node>b</node></nodes>", "use only the first, a"),
            ("<nodes><node>a:1516</node></nodes>", "'a:1516' is neither"),
            ("<nodes><node>ma ster</node></nodes>", "'ma ster' is neither"),
            ("<interval>2m</interval>", "Unknown option <interval>"),
            ("<port>1516</port><port>1517</port>", "<port> is given more than once"),
            ("<prot>1516</prot>", "Unknown option <prot> in <cluster>; did you mean <port>? (/f:2)"),
            ("<colour>red</colour>", "Unknown option <colour> in <cluster>; remove it, other daemons may refuse it"),
        ];
        for (options, text) in cases {
            let (_, notes) = read(&block(options)).expect(options);
            assert!(
                notes.iter().any(|note| note.text.contains(text) && note.text.contains("(/f:2")),
                "{options} {notes:?}"
            );
            assert!(!notes.iter().any(|note| note.text.contains("c98b") || note.text.contains("ugdt")));
        }
        let (_, notes) = read(&format!("<cluster></cluster>\n{}", block(""))).expect("right");
        assert!(notes[0].text.contains("outside <ossec_config>") && notes[0].text.contains("(/f:1)"), "{notes:?}");
    }

    /// Case 4.12: what cannot be found is not what is disabled.
    #[test]
    fn a_file_without_a_cluster_is_at_fault() {
        let options = "<node_type>master</node_type>";
        let cases = [
            (String::new(), "(/f: write <cluster>"),
            ("<ossec_config><global/></ossec_config>".to_owned(), "(/f: write <cluster>"),
            (format!("\n<cluster>{options}</cluster>"), "(/f:2: this one stands outside <ossec_config>;"),
            (format!("<osec_config>\n<cluster>{options}</cluster></osec_config>"), "(/f:2: this one stands outside"),
            (
                format!("<ossec_config>\n\n<clutser>{options}</clutser></ossec_config>"),
                "(/f:3: <clutser> looks like it;",
            ),
            ("<ossec_config>\n<clutser></clutser></ossec_config>".to_owned(), "(/f:2: <clutser> looks like it;"),
        ];
        for (text, rest) in cases {
            let faults = read(&text).expect_err(&text);
            let shown = faults[0].to_string();
            assert!(shown.contains("there is no <cluster> in <ossec_config> ") && shown.contains(rest), "{shown}");
        }
    }

    /// Case 4.7: an old cluster may have such names; who upgrades it is to know.
    #[test]
    fn dots_in_the_name_of_the_node_are_a_matter_of_the_version() {
        let text = block("<node_name>manager.siem.local</node_name>");
        let shown = read(&text).expect_err("too new")[0].to_string();
        assert!(
            shown.contains("found 'manager.siem.local'") && shown.contains("their version in cluster.json"),
            "{shown}"
        );
        let (cluster, notes) = parse(&text, Path::new(FILE), Version { patch: 5, ..NEW }).cluster.expect("old");
        assert_eq!(cluster.node_name, "manager.siem.local");
        assert!(notes.len() == 1 && notes[0].text.contains("has a dot") && notes[0].text.contains("/f:2"), "{notes:?}");
    }

    #[test]
    fn the_key_is_in_no_message() {
        let secret = "verysecret-verysecret-verysecret";
        let faults = read(&block(&format!("<key>{secret}</key>"))).expect_err("hyphens");
        assert!(!format!("{faults:?}").contains("verysecret"));
    }

    /// Each `*.conf` has an `*.expected` beside it: the faults, or `get_config` and the notes. `FILE` stands for its
    /// path. Run with `UPDATE_EXPECTED=1` to write them anew, and read the difference.
    #[test]
    fn fixtures() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
        let files = fs::read_dir(directory).expect("fixtures").map(|entry| entry.expect("an entry").path());
        let mut checked = 0;
        for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "conf")) {
            let shown = match load(&file, NEW).cluster {
                Ok((cluster, notes)) => {
                    let options = cluster.to_json(false).into_iter().map(|(name, value)| format!("{name} = {value}"));
                    let notes = notes.iter().map(|note| format!("{:?}: {}", note.level, note.text));
                    options.chain(notes).collect::<Vec<_>>().join("\n")
                }
                Err(faults) => crate::config::Faults(faults).to_string(),
            };
            let shown = shown.replace(&file.display().to_string(), "FILE");
            if std::env::var_os("UPDATE_EXPECTED").is_some() {
                fs::write(file.with_extension("expected"), format!("{shown}\n")).expect("written");
            }
            let expected = fs::read_to_string(file.with_extension("expected")).unwrap_or_default();
            assert_eq!(shown.trim(), expected.trim(), "{}", file.display());
            checked += 1;
        }
        assert!(checked >= 5);
    }

    #[test]
    fn the_samples_lack_nothing_but_the_key() {
        for node_type in [NodeType::Master, NodeType::Worker] {
            let file = format!("{}/etc/ossec-cluster-{node_type}.conf", env!("CARGO_MANIFEST_DIR"));
            let sample = &fs::read_to_string(file).expect("sample");
            let faults = read(sample).expect_err("no key");
            assert!(faults.len() == 1 && faults[0].to_string().contains("Unspecified key"), "{faults:?}");
            let (cluster, notes) =
                read(&sample.replace("<key></key>", &format!("<key>{KEY}</key>"))).expect("complete");
            assert_eq!((cluster.node_type, notes), (node_type, vec![]));
        }
    }

    #[test]
    fn files_that_can_not_be_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("ossec.conf");
        let fault = |path: &Path| load(path, NEW).cluster.expect_err("a fault")[0].to_string();
        let shown = fault(&file);
        assert!(
            shown.starts_with("Error 3006 - Error reading cluster configuration: ") && shown.contains("create it"),
            "{shown}"
        );
        assert!(fault(directory.path()).contains("put a regular file there"));
        fs::write(&file, vec![b' '; 20 << 20]).expect("written");
        assert!(fault(&file).contains("larger than 16 MiB"));
        fs::write(&file, b"<ossec_config><localfile>\xff\xfe\0</localfile></ossec_config>").expect("written");
        assert!(load(&file, NEW).cluster.expect_err("no cluster")[0].to_string().contains("there is no <cluster>"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn no_value_panics(option in prop::sample::select(OPTIONS.to_vec()), value in "\\PC{0,40}") {
            let _ = read(&block(&format!("<{option}>{value}</{option}>")));
        }
    }
}
