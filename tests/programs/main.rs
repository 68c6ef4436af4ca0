//! The two programs as a person meets them: started with a home of their own, fed good and bad input over their sockets,
//! and judged by their log, their exit status and the files they leave.
//!
//! Each test has its own directories and its own loopback address, so all run at the same time. A test waits for what it
//! wants to see, never for a time.

#![allow(clippy::unwrap_used, reason = "all of this program is a test")]

mod archives;
mod authd_cases;
mod background;
mod coarse;
mod configuration;
mod control;
mod crash;
mod disk;
mod documents;
mod drift;
mod entries;
mod executor;
mod files;
mod frames;
mod full_disk;
mod ghost;
mod haproxy_helper;
mod hello;
mod hostile;
mod init_script;
mod key_change;
mod limits;
mod load;
mod load_balancers;
mod logs;
mod manager_role;
mod manifests;
mod mistakes;
mod observation;
mod places;
mod privileges;
mod process;
mod redirection;
mod registration;
mod reload;
mod secrets;
mod service_manager;
mod standing;
mod stock_programs;
mod support;
mod transfers;
mod verdicts;
mod watch;
