//! The reference of `cluster.json`: every setting with what it accepts and what it is for.
//!
//! `docs/configuration.md` and the man page cluster.json(5) are written from [`GROUPS`]; a test holds them to it. Defaults
//! stand in the embedded `etc/cluster.json` alone. The tests here hold the table to what the reader of the settings does:
//! every setting has its row, and bounds are accepted while what lies beyond is refused.

/// What a setting accepts.
#[derive(Clone, Copy, Debug)]
pub enum Accepts {
    /// A time in seconds, fractions allowed, 0.01 to 604 800.
    Seconds,
    /// A whole number of these bounds, both included.
    Whole(u64, u64),
    /// The same, in bytes.
    Bytes(u64, u64),
    /// A number of these bounds, both included.
    Fraction(f64, f64),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// What these words describe.
    Other(&'static str),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// `intervals.worker.keep_alive`; `DIRECTORY` stands for the name of any directory.
    pub name: &'static str,
    /// The values that it may have.
    pub accepts: Accepts,
    /// Sentences for users; what is literal stands between backticks.
    pub purpose: &'static str,
}

/// Settings that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// What is to be known of all of them; may be empty.
    pub introduction: &'static str,
    /// The settings, in the order of the documents.
    pub settings: &'static [Setting],
}

const fn setting(name: &'static str, accepts: Accepts, purpose: &'static str) -> Setting {
    Setting { name, accepts, purpose }
}

use Accepts::{Bytes, Flag, Fraction, Other, Seconds, Whole, Word};

const NO_EFFECT: &str = "No effect; accepted because the stock daemon has it.";
const SIZES: Accepts = Bytes(1024, 1 << 40);
const COUNT: Accepts = Whole(1, 65_535);

/// All settings.
pub const GROUPS: &[Group] = &[
    Group {
        title: "General",
        introduction: "",
        settings: &[
            setting(
                "version",
                Other("MAJOR.MINOR.PATCH"),
                "The Wazuh version that this node advertises. A master refuses a worker of another minor version (error \
                 3031), a stock master also one of another patch version.",
            ),
            setting(
                "agent_database",
                Word(&["auto", "embedded", "wazuh-db"]),
                "The agent database of this node: `embedded` is that of this daemon, `wazuh-db` the stock daemon; `auto` is \
                 `wazuh-db` if `bin/wazuh-db` is installed, otherwise `embedded`.",
            ),
            setting(
                "registration",
                Word(&["auto", "embedded", "authd"]),
                "The program that registers agents on a master: `embedded` is this daemon, which serves \
                 `queue/sockets/auth`; `authd` is the stock enrollment daemon; `auto` is `authd` if `bin/wazuh-authd` is \
                 installed, otherwise `embedded`.",
            ),
        ],
    },
    Group {
        title: "Synchronised files",
        introduction: "`files` has a member for each synchronised directory, named by its path below the Wazuh home with a \
                       slash at its end. A worker refuses directories that its own settings do not name: add a directory of \
                       your own on every node. `\"etc/rules/\": null` removes a default one.",
        settings: &[
            setting(
                "files.DIRECTORY.permissions",
                Other("octal digits, 0600 to 0775, not writable for others"),
                "Mode of the files on a worker.",
            ),
            setting("files.DIRECTORY.source", Word(&["master"]), "A worker sends no files."),
            setting(
                "files.DIRECTORY.files",
                Other("a list of names"),
                "File names to synchronise; `all` matches every file.",
            ),
            setting("files.DIRECTORY.recursive", Flag, "Whether subdirectories are synchronised as well."),
            setting("files.DIRECTORY.restart", Flag, NO_EFFECT),
            setting(
                "files.DIRECTORY.remove_subdirs_if_empty",
                Flag,
                "Whether a worker removes subdirectories that became empty.",
            ),
            setting("files.DIRECTORY.extra_valid", Word(&["false"]), "A worker sends no files."),
            setting("files.DIRECTORY.description", Other("a text"), "A comment."),
            setting(
                "files.excluded_files",
                Other("a list of names with `ossec.conf` in it"),
                "File names that are excluded in every directory. Each node keeps its own `ossec.conf`.",
            ),
            setting(
                "files.excluded_extensions",
                Other("a list of endings"),
                "Endings of file names that are excluded in every directory.",
            ),
        ],
    },
    Group {
        title: "Worker",
        introduction: "",
        settings: &[
            setting("intervals.worker.sync_integrity", Seconds, "Period of the comparison with the master."),
            setting("intervals.worker.sync_agent_info", Seconds, "Period of reports about agents to the master."),
            setting("intervals.worker.sync_agent_groups", Seconds, NO_EFFECT),
            setting("intervals.worker.timeout_agent_groups", Seconds, "Time limit for storing received agent groups."),
            setting("intervals.worker.keep_alive", Seconds, "Period of keep-alives to the master."),
            setting(
                "intervals.worker.connection_retry",
                Seconds,
                "Longest pause between two attempts to connect; the first one is `link.reconnect_min`, which says too what \
                 holds after a master that was elected.",
            ),
            setting(
                "intervals.worker.max_failed_keepalive_attempts",
                Whole(1, 1000),
                "Keep-alives without a response after which the worker gives up the connection.",
            ),
            setting(
                "intervals.worker.agent_groups_mismatch_limit",
                Whole(1, 1000),
                "Differing checksums of agent groups after which the worker asks for all of them.",
            ),
        ],
    },
    Group {
        title: "Master",
        introduction: "",
        settings: &[
            setting(
                "intervals.master.process_pool_size",
                Whole(1, 1024),
                "No effect, as there are no helper processes; accepted because the stock daemon has it.",
            ),
            setting(
                "intervals.master.sync_agent_groups",
                Seconds,
                "Period of reading new group assignments from the agent database.",
            ),
            setting("intervals.master.timeout_extra_valid", Seconds, NO_EFFECT),
            setting(
                "intervals.master.recalculate_integrity",
                Seconds,
                "Period of scanning the master's files, besides the scans that detected changes cause; and how long a file \
                 must be missing before it is deleted on workers.",
            ),
            setting(
                "intervals.master.timeout_agent_info",
                Seconds,
                "Time limit for storing a worker's report about agents.",
            ),
            setting(
                "intervals.master.agent_group_start_delay",
                Seconds,
                "Time after the start before agent groups are sent.",
            ),
            setting("intervals.master.check_worker_lastkeepalive", Seconds, "Period of looking for silent workers."),
            setting(
                "intervals.master.max_allowed_time_without_keepalive",
                Seconds,
                "Silence after which the master disconnects a worker.",
            ),
            setting(
                "intervals.master.max_locked_integrity_time",
                Seconds,
                "Time after which an unfinished synchronisation is given up.",
            ),
        ],
    },
    Group {
        title: "Between nodes",
        introduction: "",
        settings: &[
            setting(
                "intervals.communication.timeout_cluster_request",
                Seconds,
                "Time limit for a response to a request.",
            ),
            setting("intervals.communication.timeout_dapi_request", Seconds, "Time limit for a DAPI request."),
            setting(
                "intervals.communication.timeout_receiving_file",
                Seconds,
                "Time limit for receiving a file from another node.",
            ),
            setting(
                "intervals.communication.max_zip_size",
                SIZES,
                "Upper bound for the size of an archive, packed and unpacked.",
            ),
            setting(
                "intervals.communication.min_zip_size",
                SIZES,
                "Lower bound for the archive size limit, which is reduced after transfer timeouts; not above \
                 `max_zip_size`.",
            ),
            setting("intervals.communication.compress_level", Whole(0, 9), "Compression level of zlib."),
            setting(
                "intervals.communication.zip_limit_tolerance",
                Fraction(0.0, 0.99),
                "Fraction by which the archive size limit is reduced after a transfer timeout.",
            ),
        ],
    },
    Group {
        title: "Connections",
        introduction: "",
        settings: &[
            setting(
                "link.native",
                Word(&["auto", "never", "require"]),
                "Whether two nodes running this daemon use protocol extensions; `require` accepts nothing but sessions, \
                 and closes every other connection.",
            ),
            setting(
                "link.features",
                Other("a list of the features of the default"),
                "Protocol extensions that this node offers and accepts. `checksum=md5+blake2b`: short checksums (MD5 and 16 \
                 bytes of BLAKE2b-512); `checksum=md5`: MD5 alone; `digest`: a check of equal files ends with one question; \
                 `push`: the master announces changes at once; `keys`: nodes report fingerprints of their keys; `applied`: \
                 workers report files that they could not write; `outline`: the master may ask where configurations differ; \
                 `groups`: the master reports all groups, also those without files; `delta`: large files that change by lines travel as differences; \
                 `known`: a worker with the files of a moment ago is not asked which it has; `quiet`: the master \
                 repeats the hash of group assignments once a minute; `session`: all messages behind hello are \
                 sealed under keys of the connection, so that nothing recorded can be replayed. A node that has had a \
                 session is not accepted without one until `cluster_control --forget NODE`. `term`: nodes take nothing \
                 of a former master.",
            ),
            setting(
                "link.accept_keys",
                Other("a list of up to 4 keys of 32 letters, digits or underscores"),
                "Further keys that this node accepts during a change of the key: a master from its workers, a worker as a \
                 second try when its master does not accept `<key>`. A file that contains keys should be readable for root \
                 and the group `wazuh` only.",
            ),
            setting(
                "link.allow_nodes",
                Other("a list of node names"),
                "The workers that a master accepts, by name; an empty list: all.",
            ),
            setting(
                "link.allow_networks",
                Other("a list of networks in CIDR notation, or addresses"),
                "The networks that a master accepts connections from, IPv4 or IPv6: `10.0.0.0/8` or `fd00::/8`, for \
                 example; an empty list: all. Behind a TCP proxy the address is that of the proxy.",
            ),
            setting(
                "link.accept_patch_versions",
                Flag,
                "Whether workers of another patch version of the same minor version may join.",
            ),
            setting(
                "link.max_unauthenticated_per_address",
                COUNT,
                "Connections of one address that have not sent hello. The oldest one, if it is a second old, is closed for \
                 a new one.",
            ),
            setting(
                "link.max_unauthenticated",
                COUNT,
                "Connections of all addresses that have not sent hello. The oldest one of the address that has most is \
                 closed for a new one.",
            ),
            setting("link.max_workers", COUNT, "Workers that may be connected."),
            setting("link.handshake_timeout", Seconds, "Time limit for hello on a new connection."),
            setting("link.frame_timeout", Seconds, "Time limit from the beginning of a message to its end."),
            setting(
                "link.reconnect_min",
                Seconds,
                "First pause before a worker reconnects; it grows to `intervals.worker.connection_retry`. After a master that \
                 was elected it is a twentieth of `failover.ttl`, if that is shorter, and stays so.",
            ),
        ],
    },
    Group {
        title: "Local programs",
        introduction: "",
        settings: &[
            setting(
                "local.max_clients",
                COUNT,
                "Programs that may be connected to the control socket. The one that has been idle for longest, if for a \
                 second, is disconnected for a new one.",
            ),
            setting("local.show_key", Flag, "Whether `get_config` of the control socket shows the cluster key."),
        ],
    },
    Group {
        title: "Log",
        introduction: "",
        settings: &[
            setting(
                "logging.format",
                Word(&["plain", "json"]),
                "`plain` is the stock format; `json` writes one object per line with the members `timestamp`, `level`, \
                 `tags` and `message`.",
            ),
            setting(
                "logging.max_size",
                Other("0, or bytes from 65536"),
                "Size from which the log is archived before midnight; 0: at midnight only. Archives of a full log are \
                 numbered, from 1 on each day.",
            ),
        ],
    },
    Group {
        title: "Monitoring",
        introduction: "",
        settings: &[setting(
            "metrics.listen",
            Other("a loopback address with its port, the path of a UNIX socket, or an empty text"),
            "Where this node can be monitored: `127.0.0.1:9510`, for example, or a socket that the group of the daemon may \
             use, relative to the Wazuh home unless it begins with a slash; empty disables it. The listener serves \
             `/metrics` (Prometheus), `/health` (status 200, or 503 with the reasons), `/master` (200 on the master, 503 elsewhere) \
             and a status page at `/`. There is no login: every user of the machine can ask at an address.",
        )],
    },
    Group {
        title: "Failover",
        introduction: "Only in the settings of nodes that may become the master. They agree through etcd 3.4 or newer on who \
                       it is (`spec/failover.md`). Without `failover.etcd` the rest has no effect.",
        settings: &[
            setting(
                "failover.etcd",
                Other("a list of URLs like `http://10.0.0.1:2379`, an odd number up to 9"),
                "The members of etcd, where they serve clients. One that hangs delays nothing: each call has one time limit \
                 for all of them. Write `https://` for members on other machines.",
            ),
            setting(
                "failover.user",
                Other("a name; empty for none"),
                "The user of etcd as which this node asks; its role needs readwrite on the prefix `/threatlockdown/NAME/`, \
                 where NAME is that of the cluster.",
            ),
            setting("failover.password_file", Other("a path"), "The file with the password of that user, in one line."),
            setting(
                "failover.ca",
                Other("a path"),
                "Certificates of the authorities that may have signed those of etcd, in PEM form; needed by `https://`. Those \
                 of the system are in `/etc/ssl/certs/ca-certificates.crt` on Debian.",
            ),
            setting(
                "failover.cert",
                Other("a path"),
                "The certificate by which this node proves itself to etcd, in PEM form; empty if etcd wants none.",
            ),
            setting(
                "failover.key",
                Other("a path"),
                "The private key of that certificate, in PEM form, without a password.",
            ),
            setting(
                "failover.ttl",
                Whole(5, 600),
                "Seconds after which a master that is silent is given up. Another node follows at most a second later; a \
                 master that cannot reach etcd stops after 0.8 of them.",
            ),
            setting(
                "failover.candidates",
                Other("a list of at most 16 node names, this one among them"),
                "The nodes that may become the master, the same list on each of them.",
            ),
            setting(
                "failover.registrations",
                Word(&["sync", "off"]),
                "`sync`: a registration or removal is in etcd before it is answered, so that the next master has it. `off`: \
                 one that was answered immediately before the master failed may be lost.",
            ),
            setting(
                "failover.on_master",
                Other("a list: the absolute path of a program, then its arguments"),
                "A program that is run when this node has become the master.",
            ),
            setting(
                "failover.on_standby",
                Other("the same"),
                "A program that is run when this node starts as a worker, or is the master no more.",
            ),
            setting(
                "failover.files",
                Other("a list of files, and of directories with a slash at the end"),
                "What a candidate takes from the master besides the files of the cluster, within 30 s, such as `etc/authd.pass`, \
                 `etc/sslmanager.cert`, `etc/sslmanager.key` and `api/configuration/`. Whoever holds the key of the cluster can \
                 read it. 4 MiB at most. The same on all candidates.",
            ),
            setting(
                "failover.auto",
                Flag,
                "Whether this node becomes the master by itself when the master fails; otherwise only when a person says so.",
            ),
        ],
    },
    Group {
        title: "Distributed API (DAPI)",
        introduction: "",
        settings: &[
            setting(
                "distributed_api.enabled",
                Flag,
                "Whether a worker forwards DAPI requests to the master; otherwise it executes them itself.",
            ),
            setting(
                "distributed_api.executor",
                Other("`auto`, `none`, or a list: the absolute path of a program, then its arguments"),
                "What executes DAPI requests on this node. `auto`: processes of this daemon that run on the Python framework \
                 of the manager (`framework/` of the Wazuh home); where there is none, DAPI requests are refused. `none` \
                 refuses them. A list names a program that is run for each request: it receives the request on standard \
                 input and writes the response to standard output, both JSON; to refuse, it writes one line to standard \
                 error and exits with a status other than 0. At most four run at a time, three of them for one node, each \
                 for `intervals.communication.timeout_dapi_request` at the longest.",
            ),
            setting(
                "distributed_api.processes",
                Whole(1, 8),
                "Processes that execute DAPI requests of one node at a time, with the executor `auto`; requests of other nodes \
                 have one more. They start when they are needed, about 30 MB each, and end after 10 minutes without a \
                 request.",
            ),
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use serde_json::{Value, json};

    use super::{
        super::{ALL_FILES, EMBEDDED, FileRule, Settings},
        *,
    };

    fn embedded() -> Value {
        serde_json::from_str(EMBEDDED).expect("JSON")
    }

    fn all() -> impl Iterator<Item = &'static Setting> {
        GROUPS.iter().flat_map(|group| group.settings)
    }

    /// The names of the leaves; those of all directories once.
    fn leaves(path: &str, value: &Value, found: &mut BTreeSet<String>) {
        let Value::Object(members) = value else {
            found.insert(path.to_owned());
            return;
        };
        for (name, value) in members {
            let name = if path == "files" && value.is_object() { "DIRECTORY" } else { name };
            leaves([path, name].join(".").trim_start_matches('.'), value, found);
        }
    }

    #[test]
    fn every_setting_has_one_row() {
        let mut expected = BTreeSet::new();
        leaves("", &embedded(), &mut expected);
        let names: Vec<_> = all().map(|setting| setting.name.to_owned()).collect();
        assert_eq!(BTreeSet::from_iter(names.iter().cloned()), expected);
        assert_eq!(names.len(), expected.len());
    }

    /// Whether the reader accepts `value` for the setting `name`.
    fn takes(name: &str, value: Value) -> bool {
        let around = |value: Value, name: &str| json!({ name: value });
        let text = name.replace("DIRECTORY", "x/").rsplit('.').fold(value, around).to_string();
        Settings::parse(text.as_bytes(), Path::new("/c.json")).is_ok()
    }

    #[test]
    fn what_a_row_says_is_what_the_reader_accepts() {
        for Setting { name, accepts, .. } in all() {
            let (good, bad) = match *accepts {
                Seconds => (vec![json!(0.01), json!(604_800)], vec![json!(0), json!(604_801), json!("1")]),
                Whole(from, to) | Bytes(from, to) => {
                    // The two sizes may not cross each other.
                    let crossed = name.ends_with("_zip_size");
                    let good = if crossed { vec![] } else { vec![json!(from), json!(to)] };
                    (good, vec![json!(to + 1), json!(from as i64 - 1), json!(0.5)])
                }
                Fraction(from, to) => (vec![json!(from), json!(to)], vec![json!(to + 0.001), json!(from - 0.001)]),
                Flag => (vec![json!(true), json!(false)], vec![json!("true"), json!(1)]),
                Word(words) => {
                    let word = |word: &&str| word.parse::<bool>().map_or(json!(word), Value::Bool);
                    (words.iter().map(word).collect(), vec![json!("another"), json!(1)])
                }
                Other(_) => (vec![], vec![json!({})]),
            };
            good.into_iter().for_each(|value| assert!(takes(name, value.clone()), "{name} takes {value}"));
            bad.into_iter().for_each(|value| assert!(!takes(name, value.clone()), "{name} refuses {value}"));
        }
        let sizes = |least: u64, most: u64| {
            let text =
                json!({"intervals": {"communication": {"min_zip_size": least, "max_zip_size": most}}}).to_string();
            Settings::parse(text.as_bytes(), Path::new("/c.json")).is_ok()
        };
        assert!(sizes(1024, 1 << 40) && !sizes(1023, 1 << 40) && !sizes(1024, (1 << 40) + 1));
    }

    #[test]
    fn a_new_directory_has_the_defaults_of_the_documents() {
        let settings = Settings::parse(br#"{"files": {"x/": {}}}"#, Path::new("/c.json")).expect("right");
        let own = FileRule {
            key: "x/".into(),
            recursive: true,
            permissions: 0o660,
            files: vec![ALL_FILES.into()],
            remove_subdirs_if_empty: false,
        };
        assert_eq!(settings.files.items.last(), Some(&own));
    }

    #[test]
    fn literals_are_between_two_backticks() {
        for Group { introduction, settings, .. } in GROUPS {
            for text in settings.iter().map(|setting| setting.purpose).chain([*introduction]) {
                assert!(text.matches('`').count() % 2 == 0 && (text.is_empty() || text.ends_with('.')), "{text}");
            }
        }
    }
}
