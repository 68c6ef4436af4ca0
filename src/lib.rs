//! The cluster daemon of ThreatLockDown managers: it lets several managers act as one.
//!
//! The **master** holds the authoritative agent keys, rules, decoders, CDB lists and group configuration. **Workers**
//! connect to it and stay in sync with it. The daemon speaks the protocol of the stock `wazuh-clusterd` (4.4 to 4.14), so
//! a node that runs this daemon can join, or lead, a cluster of stock nodes. `spec/…` in these pages names the section of
//! the specification that a rule comes from.
//!
//! # The threads
//!
//! ```text
//!  MASTER                                                             WORKER
//!
//!  main: signals, the service manager                                 main: signals, the service manager
//!  listen ─► accepts; starts the reader of a connection               connect ─► keeps one connection (dial: resolves
//!            when its first message is whole:                                        and connects), with its reader:
//!
//!    reader ◄───────────────── TCP, AES-128-CBC + HMAC ─────────────────► reader
//!                              (one permanent connection,
//!                               opened by the worker)
//!
//!  local_integrity   looks every 8 s, and when file_watch
//!                    sees a change; publishes one
//!                    manifest for all workers
//!  integrity         while a worker is being checked:    ◄── manifest ──  integrity    asks for a check every 9 s;
//!                    compares, packs, sends              ── files ────►                verifies and stages while files
//!                                                                                     arrive, journals, renames
//!  agent_info        stores the agent information of     ◄── string ───  agent_info   every 10 s: sends what has changed
//!                    workers                                                          of the agents that report here
//!  local_groups      every 10 s: reads new group
//!                    assignments, once for all workers
//!  groups_send       one for each worker that lacks      ── string ──►  agent_groups stores them, compares the hash of
//!                    assignments                                                      all
//!  keep_alive        every 60 s: disconnects workers     ◄── echo-c ───  keep_alive   sends a keep-alive every 60 s
//!                    that were silent for 120 s
//!  nodes             keeps the known workers on the disk
//!  lookout           where `<nodes>` names others too: looks every 10 s whether one of them is the master by now
//!  failover          of a candidate: tells the arbiter             failover     of a candidate: becomes the master
//!                    who may follow                                             when that is gone
//!                                                                  failover-files  takes the private files of the master
//!  haproxy_helper    runs the framework's helper as a process beside this one, if it is enabled; haproxy-lines: what it
//!                    says, for the log
//!
//!  registrar ─► owns client.keys and registers agents (master); auth-listen, auth ─► serve it to the manager's other
//!  programs, one thread for each                                                                  (both roles)
//!  agent-db ─► owns the embedded agent database; agent-db-read ─► runs the SQL of others that only reads; wdb, wdb-http
//!  ─► serve it to the manager's other programs, one thread for each; housekeeping ─► takes over duties of Wazuh daemons
//!  that are not installed                                                                         (both roles)
//!  dapi ─► five threads, or as configured, that have requests of the Wazuh server API executed by processes of the
//!          manager's framework, in turns of the nodes (dapi-wait: waits for a command that does)   (both roles)
//!  metrics-listen ─► accepts monitoring programs, metrics ─► answers one of them                  (both roles)
//!  local, local_alive ─► the control socket of the node, one thread for each local program        (both roles)
//!  arbiter-watch, presence ─► what the arbiter knows of the master, what it is to know of this candidate; lease, fence
//!  ─► renew the role of a master that was elected, and end it when that fails                     (both roles)
//!  hooks ─► runs failover.on_master and failover.on_standby, where they are configured            (both roles)
//!  log ─► archives closed log files, and counts in the log what was left out of it                (both roles)
//!  signals ─► hands SIGTERM, SIGINT and SIGHUP to main                                            (both roles)
//! ```
//!
//! Both roles watch their files, so a look is at those only that may have changed ([`files::watch`]).
//!
//! When files of the master change, the master reports that to the workers at once (`int_changed`), and they ask for a
//! check without waiting for their turn ([`session::native`]). When they have applied what was sent, they prove it by the
//! digest of their files.
//!
//! Work that takes long is done by short-lived threads of bounded number: `integrity`, `agent_info` and `groups_send` on
//! the master, `writer` while a peer takes less than it is sent, `send` while a file of several chunks goes out that
//! another thread makes, `hello` while the master asks a connection that may be dead, `sendsync` while requests of a
//! worker to a program of the master are under way, `request` for what needs the agent database, a scan or another
//! node, `agents` while agents are counted for monitoring, `own-address` while a master checks whether its own address
//! is among its `<nodes>`, `promote`, `hand-over` and `give-way` while the master changes.
//! No thread that reads a connection ever asks the agent database or the registrar: a slow one delays no keep-alive.
//!
//! A thread owns what it works on. Threads share an `Arc` of the configuration, the registry of workers behind a
//! `RwLock`, the manifest as `RwLock<Option<Arc<Manifest>>>` and the keys as `RwLock<Arc<Keys>>` (readers clone the `Arc`
//! and drop the lock), and channels. SIGHUP changes the keys and how the log is written, and nothing else of the
//! configuration.
//!
//! Five locks are held across I/O, each for its only purpose: the lock of the scanner lets one walk over the files happen
//! at a time, the lock of the log one line be written at a time, the lock of the term one change of master be written at a
//! time, the lock of the office one write at the arbiter be under way at a time, the lock of the checks one manifest be read at a time, whose holder waits for the memory that this takes
//! ([`limits`]). Their holders take no other lock. Otherwise no lock is held across I/O, a send or a callback, and none
//! while another is taken.
//!
//! # The path of a message
//!
//! The reader assembles frames ([`wire::Deframer`], which checks a length before it allocates for it) and decrypts them in
//! place ([`crypto`]; the first message of a worker decides which of the master's keys the connection uses). When both ends
//! have agreed on a session ([`session::native`]), all further frames are sealed under keys of their own. An answer goes
//! to the thread that waits for it. A request goes to the session of the connection with a [`connection::Reply`], by which
//! it is answered once; the table of commands ([`wire::Command`]) decides whether this peer may send it. The session
//! answers cheap requests at once, and long ones on a thread of their own ([`questions::Later`]). Answers and own requests
//! go to a bounded outbox. Whoever puts something there writes it, unless another thread is writing, as far as the peer
//! takes it at once; the thread `writer` does the rest. The reader never waits for an answer, and one thread writes at a time.
//!
//! # The end
//!
//! SIGTERM drops one sender. This ends every wait of every thread ([`system::shutdown`]); connections close, and the
//! threads are joined under one deadline. The agent database ends last, because what was taken from it and not delivered is
//! given back to it. An update of files that has begun is carried to its end. A panic in a request or in one turn of a task
//! ([`turn`]) is caught and logged. Anywhere else it ends the process, because a node with a thread missing only looks
//! alive.
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
//! | [`observation`] | `/metrics`, `/health`, `/master` and a page for people |
//! | [`local`] | the control socket: server, requests, and a client |
//! | [`failover`] | the thread of a candidate: a worker that becomes the master by itself, a master that can be followed; private files; hooks |
//! | [`master`] [`worker`] | what only that role has: listener, its end of each connection · connector with back-off, its end of the connection |
//! | [`questions`] | what is answered of the cluster and of a node, in one place for both sockets |
//! | [`registry`] | the workers that a master knows, connected and away |
//! | [`services`] | what a node does for other programs: the agent database, the registrar, the API, programs that wait |
//! | [`api`] | requests of the API, executed by processes that understand them: the manager's framework, or a command |
//! | [`redirection`] | requests of local programs that another node answers, and their way back |
//! | [`drift`] | where configurations differ, and whether a ruleset is applied |
//! | [`verdict`] | how a node stands, and why: one judgement for all who show it |
//! | [`tasks`] | one folder for each documented thread: [`tasks::keep_alive`], [`tasks::agent_info`], [`tasks::agent_groups_send`], [`tasks::local_agent_groups`], [`tasks::haproxy_helper`], [`tasks::integrity`], [`tasks::local_integrity`] |
//! | [`session`] | hello, the agreement of two nodes of this daemon, transfers that both ends answer alike |
//! | [`node`] | what the modules of one node share: configuration, clock, threads |
//! | [`connection`] | one peer: its reader, who writes to it, the reply to a request, file and string transfer |
//! | [`registration`] | client.keys, ids, duplicates, force rules: embedded and served, or a client of `wazuh-authd` |
//! | [`agents`] | the agent database: embedded and served, or a client of `wazuh-db` |
//! | [`election`] | whether this node, a candidate, is the master: its office at the arbiter, records of what is registered |
//! | [`term`] | which master this node follows, or is: the term, and the role of the node |
//! | [`config`] | ossec.conf, cluster.json, internal options: one typed configuration, all faults at once |
//! | [`files`] | which files, manifest and its digests, scan and checksum cache, archive, staged and journaled apply |
//! | [`arbiter`] | who is master, decided by etcd: leases, guarded writes, the deadline of a master, and its fence |
//! | [`sockets`] | the sockets where other programs of this machine and this daemon meet |
//! | [`framework`] | the manager's Python framework, and programs of this daemon that run on it |
//! | [`wire`] | frames, the table of commands, typed requests, errors; no I/O, no clock |
//! | [`turn`] | one turn of a task: guarded, measured, counted and logged in one place |
//! | [`metrics`] | counters, and their text form |
//! | [`logging`] | `cluster.log`: its lines, their bounds, its archives |
//! | [`crypto`] | Fernet, sessions, fingerprints of keys |
//! | [`limits`] | what anybody may take of a node, in one table, and who goes, or is next, when it is full |
//! | [`options`] | what the command lines of both programs have in common |
//! | [`system`] | clock, threads, shutdown, disk, user, service manager; the only home of `unsafe` |

// What changes the disk goes through the door for that (`system::disk`).
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod agents;
pub mod api;
pub mod arbiter;
pub mod config;
pub mod connection;
pub mod control;
pub mod crypto;
pub mod daemon;
pub mod drift;
pub mod election;
pub mod failover;
pub mod files;
pub mod framework;
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
pub mod term;
pub mod turn;
pub mod verdict;
pub mod wire;
pub mod worker;
