//! The settings of `cluster.json` (`spec/protocol.md` 15.2), ours among them.
//!
//! The embedded file holds every setting; that of the home, which may be missing, overrides it key by key: objects are
//! merged, all else is replaced. Times are seconds, with fractions if need be.

mod choice;
mod failover;
mod file_rules;
mod intervals;
mod lines;
mod link;
mod logging;
mod metrics;
pub mod reference;
mod section;
mod version;

use std::{io, path::Path};

use serde_json::{Map, Value};

use super::{
    fault::{Code, Fault, Faults},
    source,
};
use crate::logging::LogSettings;
use section::{Section, Sink};

pub use choice::Choice;
pub use failover::{Failover, Registrations};
pub use file_rules::{ALL_FILES, FileRule, FileRules, RULESET_KEYS};
pub use intervals::{Communication, MasterIntervals, WorkerIntervals};
pub use link::{DistributedApi, Executor, Link, Local, MOST_KEYS, Native};
pub use metrics::{Listen, Metrics};
pub use version::{Version, VersionError};

const EMBEDDED: &str = include_str!("../../../etc/cluster.json");
/// Bytes that an override may have.
const LIMIT: u64 = 1 << 20;

/// How the daemon works.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The version that this node states in `hello`.
    pub version: Version,
    /// Which files are kept equal.
    pub files: FileRules,
    /// Times and limits of a worker.
    pub worker: WorkerIntervals,
    /// Times and limits of a master.
    pub master: MasterIntervals,
    /// Times and limits of both.
    pub communication: Communication,
    /// Requests of the API between nodes.
    pub distributed_api: DistributedApi,
    /// Which agent database this node uses; the external one is `wazuh-db`.
    pub agent_database: Choice,
    /// Who registers agents on this node; the external one is `wazuh-authd`.
    pub registration: Choice,
    /// Connections between nodes.
    pub link: Link,
    /// Connections of local programs.
    pub local: Local,
    /// The log.
    pub logging: LogSettings,
    /// Who may watch this node.
    pub metrics: Metrics,
    /// Whether this node may become the master when that fails; none if not.
    pub failover: Option<Failover>,
}

impl Settings {
    /// The embedded settings with those of `file` over them, if there is such a file.
    ///
    /// # Errors
    /// All faults of the file: it can not be read, is not JSON, or has unknown members or values that are out of their
    /// range.
    pub fn load(file: &Path) -> Result<Self, Faults> {
        match source::read(file, LIMIT) {
            Ok(bytes) => Self::parse(&bytes, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::parse(b"{}", file),
            Err(error) => {
                let problem = format!("the file can not be read: {error}");
                Err(Faults(vec![Fault::new(Code::Settings, file, problem, source::remedy(&error))]))
            }
        }
    }

    /// The embedded settings with those of the JSON text `overrides` over them; `file` names it in faults.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub fn parse(overrides: &[u8], file: &Path) -> Result<Self, Faults> {
        let malformed = |error: serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            let remedy = "write a JSON object, without comments and without a comma after the last member";
            let text = error.to_string();
            let problem = text.split(" at line ").next().unwrap_or_default();
            let fault = Fault::new(Code::Settings, file, problem, remedy).line(line);
            Faults(vec![fault.detail(format!("column {column}"))])
        };
        let mut value: Value = serde_json::from_str(EMBEDDED).map_err(malformed)?;
        let over: Value = serde_json::from_slice(overrides).map_err(malformed)?;
        let text = String::from_utf8_lossy(overrides);
        let standard: Vec<String> = value["files"].as_object().into_iter().flat_map(Map::keys).cloned().collect();
        merge(&mut value, over);

        let sink = Sink::new(file, &text);
        let settings = Self::read(Section::new(&sink, String::new(), value), &standard);
        let faults = sink.into_faults();
        if faults.is_empty() { Ok(settings) } else { Err(Faults(faults)) }
    }

    /// Names of the settings that differ, but for what changes while a node runs.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        // All are named, so that none can be forgotten.
        let Self {
            version,
            files,
            worker,
            master,
            communication,
            distributed_api,
            agent_database,
            registration,
            link,
            local,
            logging: _,
            metrics,
            failover,
        } = self;
        let differences = [
            ("version", *version != other.version),
            ("files", *files != other.files),
            ("intervals.worker", *worker != other.worker),
            ("intervals.master", *master != other.master),
            ("intervals.communication", *communication != other.communication),
            ("distributed_api", *distributed_api != other.distributed_api),
            ("agent_database", *agent_database != other.agent_database),
            ("registration", *registration != other.registration),
            ("link", *link != other.link),
            ("local", *local != other.local),
            ("metrics", *metrics != other.metrics),
            ("failover", *failover != other.failover),
        ];
        differences.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    /// `standard` are the members that `files` has by default.
    fn read(mut root: Section<'_>, standard: &[String]) -> Self {
        let version = root.convert("version", "a version like 4.14.7", |value| value.as_str()?.parse().ok());
        let files = FileRules::read(root.section("files"), standard);
        let mut intervals = root.section("intervals");
        let settings = Self {
            version: version.unwrap_or(Version { major: 0, minor: 0, patch: 0 }),
            files,
            worker: WorkerIntervals::read(intervals.section("worker")),
            master: MasterIntervals::read(intervals.section("master")),
            communication: Communication::read(intervals.section("communication")),
            distributed_api: DistributedApi::read(root.section("distributed_api")),
            agent_database: Choice::read(&mut root, "agent_database", "wazuh-db"),
            registration: Choice::read(&mut root, "registration", "authd"),
            link: Link::read(root.section("link")),
            local: Local::read(root.section("local")),
            logging: logging::read(root.section("logging")),
            metrics: Metrics::read(root.section("metrics")),
            failover: Failover::read(root.section("failover")),
        };
        intervals.finish();
        root.finish();
        settings
    }
}

impl Default for Settings {
    /// The embedded settings.
    fn default() -> Self {
        Self::parse(b"{}", Path::new("the embedded cluster.json"))
            .expect("the embedded settings are checked by the tests")
    }
}

/// Lays `over` upon `base`: members of objects one by one, anything else as a whole.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => merge_members(base, over),
        (base, over) => *base = over,
    }
}

fn merge_members(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (name, value) in over {
        match base.get_mut(&name) {
            Some(member) => merge(member, value),
            None => drop(base.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::logging::LogFormat;

    fn parse(text: &str) -> Result<Settings, Faults> {
        Settings::parse(text.as_bytes(), Path::new("/c.json"))
    }

    #[test]
    fn the_embedded_settings_are_those_of_the_original() {
        let settings = Settings::default();
        assert_eq!(settings.version.to_string(), "4.14.7");
        assert_eq!(settings.worker.sync_integrity, Duration::from_secs(9));
        assert_eq!(settings.master.max_allowed_time_without_keepalive, Duration::from_secs(120));
        assert_eq!((settings.communication.max_zip_size, settings.communication.min_zip_size), (1 << 30, 30 << 20));
        assert_eq!(settings.communication.zip_limit_tolerance, 0.2);
        assert_eq!(
            (settings.link.native, &settings.link.features[..]),
            (
                Native::Auto,
                &[
                    "checksum=md5+blake2b",
                    "checksum=md5",
                    "digest",
                    "push",
                    "keys",
                    "applied",
                    "outline",
                    "groups",
                    "delta",
                    "known",
                    "quiet",
                    "session",
                    "term"
                ]
                .map(str::to_owned)[..]
            )
        );
        assert_eq!(settings.logging, LogSettings { format: LogFormat::Plain, max_size: 64 << 20 });
        let rule = |key: &str| settings.files.items.iter().find(|item| item.key == key).expect(key).clone();
        assert_eq!(settings.files.items.len(), 6);
        assert!(RULESET_KEYS.into_iter().all(|key| rule(key).files == [ALL_FILES] && rule(key).permissions == 0o660));
        assert_eq!(
            (rule("etc/").permissions, rule("etc/").recursive, &rule("etc/").files[..]),
            (0o640, false, &["client.keys".to_owned()][..])
        );
        assert!(rule("etc/shared/").remove_subdirs_if_empty && rule("etc/lists/").files == [ALL_FILES]);
        assert_eq!(settings.files.excluded_extensions, ["~", ".tmp", ".lock", ".swp"]);
    }

    #[test]
    fn an_override_changes_only_what_it_names() {
        let text = r#"{"intervals": {"worker": {"keep_alive": 0.2}}, "link": {"features": []},
            "files": {"etc/shared/": {"permissions": "0600"}, "wodles/own/": {"files": ["a.py"]}},
            "version": "4.12.0"}"#;
        let settings = parse(text).expect("right");
        let default = Settings::default();
        assert_eq!(settings.worker.keep_alive, Duration::from_millis(200));
        assert_eq!((settings.version.minor, settings.link.features.len()), (12, 0));
        assert_eq!((&settings.master, &settings.local), (&default.master, &default.local));
        let own = FileRule {
            key: "wodles/own/".into(),
            recursive: true,
            permissions: 0o660,
            files: vec!["a.py".into()],
            remove_subdirs_if_empty: false,
        };
        assert_eq!(settings.files.items.last(), Some(&own));
        let shared = settings.files.items.iter().find(|item| item.key == "etc/shared/").expect("shared");
        assert_eq!((shared.permissions, shared.remove_subdirs_if_empty), (0o600, true));
        // Case 4.9.
        let less = parse(r#"{"files": {"etc/rules/": null, "etc/lists/": null}}"#).expect("right").files;
        let left = default.files.items.iter().filter(|item| !["etc/rules/", "etc/lists/"].contains(&&*item.key));
        assert_eq!((less.items.len(), &less.items), (4, &left.cloned().collect()));
        assert_eq!(Settings::load(Path::new("/nonexistent/cluster.json")), Ok(default));
    }

    #[test]
    fn each_fault_has_path_line_and_remedy() {
        let cases = [
            (
                r#"{"version": "4.14"}"#,
                "version is not acceptable",
                r#"found the string "4.14"; write a version like 4.14.7"#,
            ),
            (
                r#"{"intervals": {"worker": {"keep_alive": 0}}}"#,
                "intervals > worker > keep_alive is",
                "(seconds, 0.01 to 604800)",
            ),
            (
                r#"{"intervals": {"worker": {"keep_alive": "60"}}}"#,
                "keep_alive is not acceptable",
                r#"found the string "60""#,
            ),
            (r#"{"intervals": {"worker": {"keep_alive": -1e300}}}"#, "keep_alive is not acceptable", "write a number"),
            (r#"{"intervals": {"worker": null}}"#, "intervals > worker is not an object", "found null"),
            (r#"{"intervals": {"slave": {}}}"#, "intervals > slave is not a setting", "worker, master, communication"),
            (r#"{"intervals": {"communication": {"compress_level": 10}}}"#, "compress_level", "from 0 to 9"),
            (r#"{"intervals": {"communication": {"max_zip_size": 4096}}}"#, "min_zip_size is larger", "31457280, 4096"),
            (r#"{"link": {"native": "yes"}}"#, "link > native", "write auto, never or require"),
            (
                r#"{"link": {"features": ["pull"]}}"#,
                "link > features",
                "checksum=md5+blake2b, checksum=md5, digest, push, keys, applied, outline, groups, delta, known, quiet, session",
            ),
            (r#"{"distributed_api": {"executor": ["run"]}}"#, "does not begin with an absolute path", "found 'run'"),
            (
                r#"{"distributed_api": {"executor": "run"}}"#,
                "executor is not acceptable",
                "write auto, none, or a list",
            ),
            (r#"{"distributed_api": {"processes": 9}}"#, "processes", "from 1 to 8"),
            (r#"{"link": {"max_workers": 0}}"#, "max_workers", "from 1 to 65535"),
            (r#"{"local": {"show_key": "no"}}"#, "show_key", "true or false"),
            (r#"{"agent_database": "authd"}"#, "agent_database", "write auto, embedded or wazuh-db"),
            (r#"{"registration": true}"#, "registration", "write auto, embedded or authd"),
            (r#"{"logging": {"format": "xml"}}"#, "logging > format", r#"found the string "xml"; write plain or json"#),
            (
                r#"{"logging": {"max_size": 4096}}"#,
                "logging > max_size",
                "write 0, or a whole number of bytes from 65536",
            ),
            (
                r#"{"link": {"accept_keys": 1}}"#,
                "link > accept_keys is not acceptable",
                "it is not a list; write a list",
            ),
            (r#"{"link": {"accept_keys": [1]}}"#, "link > accept_keys", "key 1: it is not a string; write a list"),
            (
                r#"{"link": {"allow_networks": ["10.1.2.3/8"]}}"#,
                "link > allow_networks is not acceptable",
                "found '10.1.2.3/8'; write 10.0.0.0/8, if you mean that network",
            ),
            (
                r#"{"link": {"allow_networks": "::/0"}}"#,
                "link > allow_networks",
                "write a list of networks like 10.0.0.0/8",
            ),
            (
                r#"{"link": {"allow_nodes": ["w 1"]}}"#,
                "link > allow_nodes",
                "write a list of node names, or [] for all",
            ),
            (r#"{"link": {"allow_node": []}}"#, "link > allow_node is not a setting", "did you mean allow_nodes?"),
            (
                r#"{"link": {"native": "require", "features": ["digest"]}}"#,
                "link > native is require, which needs the feature session",
                "add session to link > features",
            ),
            (r#"{"link": {"accept_keys": ["short"]}}"#, "link > accept_keys", "key 1: it has 5 characters; write a"),
            (r#"{"metrics": {"listen": "0.0.0.0:9100"}}"#, "metrics > listen", "a loopback address"),
            (r#"{"metrics": {"listen": 9100}}"#, "metrics > listen", "the path of a UNIX socket"),
            (r#"{"lokal": 1}"#, "lokal is not a setting (/c.json:2: did you mean local?)", ""),
            (r#"{"x": 1}"#, "x is not a setting", "known here are: version, files"),
            (r#"{"versoin": "4.14.7"}"#, "versoin is not a setting (/c.json:2: did you mean version?)", ""),
            (
                r#"{"files": {"etc/": {"extra_valid": true}}}"#,
                "files > etc/ > extra_valid",
                "a worker never sends files",
            ),
            (
                r#"{"files": {"etc/": {"source": "worker"}}}"#,
                "files > etc/ > source",
                r#"found the string "worker"; write master"#,
            ),
            (r#"{"files": {"etc/": {"permissions": "0777"}}}"#, "files > etc/ > permissions", "octal digits"),
            (r#"{"files": {"etc/": {"permissions": 640}}}"#, "files > etc/ > permissions", "found the number 640"),
            (
                r#"{"files": {"etc/": {"recursive": true}}}"#,
                "files > etc/decoders/ lies in etc/, and both are recursive",
                "(and so would those of etc/lists/, etc/rules/, etc/shared/) (/c.json:2: found 'true'; set recursive",
            ),
            (r#"{"files": {"etc/rules/own/": {}}}"#, "files > etc/rules/own/ lies in etc/rules/", "set recursive"),
            (r#"{"files": {"etc/": {"files": []}}}"#, "files > etc/ > files", "write a list"),
            (r#"{"files": {"etc/": {"fils": []}}}"#, "files > etc/ > fils is not a setting", "did you mean files?"),
            (r#"{"files": {"etc/": {"colour": []}}}"#, "files > etc/ > colour is not a setting", "permissions, source"),
            (r#"{"files": {"etc/rulse/": null}}"#, "files > etc/rulse/ is not left out", "known are etc/, etc/shared/"),
            (r#"{"files": {"excluded_files": null}}"#, "files > excluded_files is not acceptable", "found null"),
            (r#"{"files": {"etc/": 1}}"#, "files > etc/ is not an object", "found the number 1"),
            (r#"{"files": {"../x/": {}}}"#, "files > ../x/ is not the path of a directory", "slash at its end"),
            (r#"{"files": {"excluded_files": []}}"#, "files > excluded_files", "ossec.conf"),
            (r#"{"files": {"excluded_extensions": [""]}}"#, "files > excluded_extensions", "a list of endings"),
            ("3", "the file is not an object", "found the number 3"),
        ];
        for (text, problem, rest) in cases {
            let faults = parse(&format!("\n{text}")).expect_err(text).0;
            let shown: Vec<_> = faults.iter().map(Fault::to_string).collect();
            let shown = shown.join("\n");
            assert!(shown.starts_with("Error 3005 - Error reading cluster.json: "), "{shown}");
            assert!(shown.contains(problem) && shown.contains(rest), "{shown}");
            assert!(text == "3" || shown.contains("(/c.json:2: "), "{shown}");
        }
    }

    #[test]
    fn keys_are_read_and_no_fault_shows_one() {
        let keys = |list: &str| parse(&format!(r#"{{"link": {{"accept_keys": {list}}}}}"#));
        const ONE: &str = "0123456789abcdef0123456789abcdef";
        const TWO: &str = "____________abcdef0123456789ABCD";
        let settings = keys(&format!(r#"["{ONE}", "{TWO}"]"#)).expect("right");
        let texts: Vec<_> = settings.link.accept_keys.iter().map(|key| key.expose()).collect();
        assert_eq!(texts, [ONE, TWO]);
        assert!(!format!("{settings:?}").contains("cdef"));
        let many = vec![format!("\"{ONE}\""); 5].join(",");
        for text in [
            format!(r#"{{"link": {{"accept_keys": "{ONE}"}}}}"#),
            format!(r#"{{"link": {{"accept_keys": ["{ONE}", "{TWO}-", "{ONE}é"]}}}}"#),
            format!(r#"{{"link": {{"accept_keys": [{many}]}}}}"#),
            format!(r#"{{"link": {{"accept_keys": {{"{ONE}": "{TWO}"}}}}}}"#),
            format!(r#"{{"link": {{"accept_key": ["{ONE}"]}}}}"#),
            format!(r#"{{"accept_keys": ["{ONE}"]}}"#),
            format!(r#"{{"link": ["{ONE}"]}}"#),
            format!(r#"{{"link": "{ONE}"}}"#),
            format!(r#"{{"link": {{"accept_keys": ["{ONE}" "{TWO}"]}}}}"#),
        ] {
            let faults = parse(&text).expect_err(&text).to_string();
            assert!(!faults.contains("cdef"), "{text}: {faults}");
        }
    }

    #[test]
    fn differences_are_named() {
        let other =
            parse(r#"{"intervals": {"worker": {"keep_alive": 1}}, "local": {"max_clients": 1}}"#).expect("right");
        assert_eq!(Settings::default().differences(&other), ["intervals.worker", "local"]);
        assert_eq!(other.differences(&other), Vec::<&str>::new());
    }

    #[test]
    fn all_faults_are_reported_at_once_each_with_its_line() {
        let text = r#"{"link": {"native": 1,
            "max_workers": -1},
            "local": {
            "max_clients": 1.5, "x": {}},
            "version": []}"#;
        let shown = parse(text).expect_err("faults").to_string();
        let places: Vec<_> =
            shown.lines().filter_map(|line| line.split("/c.json:").nth(1)?.split(':').next()).collect();
        assert_eq!(places.len(), 5, "{shown}");
        for line in ["1", "2", "4", "5"] {
            assert!(places.contains(&line), "{shown}");
        }
    }

    #[test]
    fn malformed_json_has_line_and_column() {
        let shown = parse("{\n\"local\": {},\n}").expect_err("malformed").to_string();
        assert!(
            shown.starts_with("Error 3005 - Error reading cluster.json: trailing comma (/c.json:3: column 1; "),
            "{shown}"
        );
        let directory = tempfile::tempdir().expect("a directory");
        let shown = Settings::load(directory.path()).expect_err("a directory").to_string();
        assert!(shown.contains("Error 3005") && shown.contains("put a regular file there"), "{shown}");
        assert!(Settings::parse(b"\xff", Path::new("/c.json")).is_err());
    }

    #[test]
    fn at_most_255_directories() {
        let items: Vec<_> = (0..250).map(|index| format!("\"d{index}/\": {{}}")).collect();
        let shown = parse(&format!("{{\"files\": {{{}}}}}", items.join(","))).expect_err("256").to_string();
        assert!(shown.contains("one directory too many"), "{shown}");
        assert!(parse(&format!("{{\"files\": {{{}}}}}", items[1..].join(","))).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Settings::parse(&bytes, Path::new("/c.json"));
        }

        #[test]
        fn no_value_panics(
            name in prop::sample::select(vec!["version", "files", "intervals", "link", "local", "distributed_api", "logging"]),
            member in "worker|keep_alive|native|features|etc/|x/|excluded_files|[a-z/]{0,5}",
            value in "null|true|-?[0-9]{1,25}|1e30[0-9]|\\[\\]|\\{\\}|\"[a-z/.]{0,5}\"|\\[1,\"a\"\\]|\\{\"files\": 1\\}",
        ) {
            let _ = parse(&format!("{{\"{name}\": {{\"{member}\": {value}}}}}"));
            let _ = parse(&format!("{{\"{name}\": {value}}}"));
        }
    }
}
