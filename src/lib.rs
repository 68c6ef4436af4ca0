//! The cluster daemon of ThreatLockDown: a cluster lets several Wazuh managers act as one.
//!
//! The **master** holds the authoritative agent keys, rules, decoders, CDB lists and group configuration. **Workers**
//! connect to it and stay in sync with it. The daemon speaks the protocol of the stock `wazuh-clusterd` (4.4 to 4.14), so a
//! node running this daemon may join, or lead, a cluster of stock nodes; `spec/…` in these pages names the section of the
//! protocol's description that a rule comes from. In comments, *original* is the stock daemon, and *ours* is this one.
//!
//! # The threads
//!
//! ```text
//!  MASTER                                                             WORKER
//!
//!  main: signals, the service manager                                 main: signals, the service manager
//!  listen ─► accepts; two threads each, when                          connect ─► keeps one connection (dial: resolves
//!            its first message is whole:                                        and connects), two threads:
//!
//!    reader ◄───────────────── TCP, AES-128-CBC + HMAC ─────────────────► reader
//!    writer                    (one permanent connection,                 writer
//!                               opened by the worker)
//!
//!  local_integrity   every 8 s, and when file_watch sees a
//!                    change: which files, which checksums;
//!                    publishes one manifest for all workers
//!  integrity         while a worker is being checked:   ◄── manifest ──  integrity    every 9 s: may I? compare me!
//!                    compare, pack, send                 ── files ────►               verify, stage, journal, rename
//!  agent_info        stores what the worker knows        ◄── string ───  agent_info   every 10 s: what has changed of
//!                    of its agents                                                    the agents that report here
//!  local_groups      every 10 s: new assignments of
//!                    agents to groups, once for all
//!  groups_send       one for each worker that lacks      ── string ──►  agent_groups stores them, compares the hash of
//!                    some                                                             all
//!  keep_alive        every 60 s: closes workers that were ◄─ echo-c ───  keep_alive   every 60 s: sends a keep-alive
//!                    silent for 120 s
//!  nodes             keeps on the disk which workers
//!                    are known
//!
//!  registrar ─► owns client.keys and registers (master); auth-listen, auth ─► serve it to the manager's other programs,
//!  one thread for each                                                                            (both roles)
//!  agent-db ─► owns the embedded agent database; agent-db-read ─► does beside it what others only read with SQL; wdb,
//!  wdb-http ─► serve it to the manager's other programs, one thread for each; housekeeping ─► does what those programs
//!  would, where they are not installed                                                            (both roles)
//!  dapi ─► four that execute requests of the API in turns of the nodes, if a program is named for that
//!          (dapi-wait: its end)                                                                   (both roles)
//!  metrics-listen ─► accepts those who watch the node, metrics ─► answers one of them             (both roles)
//!  local, local_alive ─► the control socket of the node, two threads for each local program       (both roles)
//!  log ─► archives closed log files, and tells what was left out of the log                       (both roles)
//!  signals ─► hands SIGTERM, SIGINT and SIGHUP to main                                            (both roles)
//! ```
//!
//! Where the files of the master change, it tells the workers at once (`int_changed`), and they ask for a check without
//! waiting for their turn ([`session::native`]); when they have what was sent, they show it by its digest.
//!
//! Short-lived threads, of bounded number, do what takes long: `integrity`, `agent_info` and `groups_send` on the master,
//! `hello` while a ghost is asked whether it lives, `sendsync` while there are requests of a worker to a program of the
//! master, `request` for what needs the agent database, a scan or another node, `agents` while these are counted for
//! who watches the node, `own-address` while a master looks whether it is where its `<nodes>` say. No thread that reads a
//! connection ever asks the agent database or the registrar: a slow one delays no keep-alive.
//!
//! A thread owns what it works on. Threads share an `Arc` of the configuration, the registry of workers behind a
//! `RwLock`, the manifest as `RwLock<Option<Arc<Manifest>>>` and the keys as `RwLock<Arc<Keys>>` (readers clone the `Arc`
//! and drop the lock), and channels. SIGHUP changes the keys and how the log is written, and nothing else of the
//! configuration.
//! Three locks are held across I/O, each for its only purpose: that of the scanner lets one walk over the files happen at a
//! time, that of the log one line be written at a time, and to one file, that of the checks one manifest be read at a time,
//! whose holder waits for the room that this takes ([`limits`]). Their holders take no other lock. Otherwise no lock is held
//! across I/O, a send or a callback, and none while another is taken.
//!
//! # The way of a message
//!
//! The reader puts bytes together ([`wire::Deframer`], which checks a length before it makes room for it), decrypts them
//! in place ([`crypto`]; a master lets the first message of a worker decide for one of its keys) and either hands an answer
//! to the thread that waits for it or lets the session of this connection handle the request: cheap ones at once, long ones
//! on a thread of the module that they belong to. Answers and own requests go to the writer's bounded outbox. The reader never
//! waits for an answer, and only the writer writes.
//!
//! # The end
//!
//! SIGTERM drops one sender; every wait of every thread ends with that ([`system::shutdown`]), connections close
//! themselves, and the threads are joined under one deadline. The agent database ends last, because what was taken from it
//! and not delivered is given back to it. An update of files that has begun is carried to its end. A
//! panic in a request or in one turn of a task ([`turn`]) is caught and logged; anywhere else it ends the process, because
//! a node with a thread missing only looks alive.
//!
//! # The modules
//!
//! A module uses only modules that stand below it in this table; `tests/layers` holds the code to it. So [`files`],
//! [`config`] and [`system`] know nothing of the network, [`agents`] and [`registration`] only their own sockets.
//!
//! | module | what it holds |
//! |---|---|
//! | [`daemon`] | start order, background, pid file, signals; [`daemon::Prepared`] and [`daemon::Running`] are a node in this process |
//! | [`control`] | the program `cluster_control` |
//! | [`observation`] | `/metrics`, `/health` and a page for people |
//! | [`local`] | the control socket: server, requests, and a client |
//! | [`master`] [`worker`] | what only that role has: listener, its end of each connection · connector with back-off, its end of the connection |
//! | [`questions`] | what is answered of the cluster and of a node, in one place for both sockets |
//! | [`registry`] | the workers that a master knows, connected and away |
//! | [`services`] | what a node does for other programs: the agent database, the registrar, the API, programs that wait |
//! | [`api`] | requests of the API, executed by a program that understands them |
//! | [`redirection`] | requests of local programs that another node answers, and their way back |
//! | [`drift`] | where configurations differ, and whether a ruleset is applied |
//! | [`verdict`] | how a node stands, and why: one judgement for all who show it |
//! | [`tasks`] | one folder for each documented thread: [`tasks::keep_alive`], [`tasks::agent_info`], [`tasks::agent_groups_send`], [`tasks::local_agent_groups`], [`tasks::integrity`], [`tasks::local_integrity`] |
//! | [`session`] | hello, the agreement of two nodes of this daemon, transfers that both ends answer alike |
//! | [`node`] | what the modules of one node share: configuration, clock, threads |
//! | [`connection`] | one peer: reader, writer, the reply to a request, file and string transfer |
//! | [`registration`] | client.keys, ids, duplicates, force rules: embedded and served, or a client of `wazuh-authd` |
//! | [`agents`] | the agent database: embedded and served, or a client of `wazuh-db` |
//! | [`config`] | ossec.conf, cluster.json, internal options: one typed configuration, all faults at once |
//! | [`files`] | which files, manifest and its digests, scan and checksum cache, archive, staged and journaled apply |
//! | [`sockets`] | the sockets where other programs of this machine and this daemon meet |
//! | [`wire`] | frames, the table of commands, typed requests, errors; no I/O, no clock |
//! | [`turn`] | one turn of a task: guarded, measured, counted and logged in one place |
//! | [`metrics`] | counters, and their text form |
//! | [`logging`] | `cluster.log`: its lines, their bounds, its archives |
//! | [`crypto`] | Fernet, fingerprints of keys |
//! | [`limits`] | what anybody may take of a node, in one table, and who goes when it is full |
//! | [`options`] | what the command lines of both programs have in common |
//! | [`system`] | clock, threads, shutdown, disk, user, service manager; the only home of `unsafe` |

pub mod agents;
pub mod api;
pub mod config;
pub mod connection;
pub mod control;
pub mod crypto;
pub mod daemon;
pub mod drift;
pub mod files;
pub mod limits;
pub mod local;
pub mod logging;
pub mod master;
pub mod metrics;
pub mod node;
pub mod observation;
pub mod options;
pub mod questions;
pub mod redirection;
pub mod registration;
pub mod registry;
pub mod services;
pub mod session;
pub mod sockets;
pub mod system;
pub mod tasks;
pub mod turn;
pub mod verdict;
pub mod wire;
pub mod worker;
