//! The command line (`spec/protocol.md` 15.3).

use std::{ffi::OsString, path::PathBuf};

use lexopt::{Arg, Parser, ValueExt};

pub const HELP: &str = "\
usage: wazuh-clusterd [-f] [-d] [-t] [-r] [-c FILE] [--home DIR]
       wazuh-clusterd -V | -h

Keeps this node equal to the other nodes of its cluster.

  -f            stay in the foreground and log to standard error too
  -d            log at debug level (only where wazuh_clusterd.debug is there and 0)
  -t            check the configuration and end: 0 if it is good, 1 if not
  -r            stay root instead of becoming the user 'wazuh'
  -c FILE       read the <cluster> section of FILE instead of etc/ossec.conf
  --home DIR    the installation; default: $WAZUH_HOME, the parent directory of the
                program's, or /var/ossec
  -V            show the version and the licence
  -h            show this text

exit status:
  0  it was stopped by SIGINT, the cluster is disabled, or the check was good
  1  the configuration is wrong, or the daemon could not start; the reason is in
     logs/cluster.log and on standard error
  2  the command line is wrong
  70 a thread failed: please report it
  143 it was stopped by SIGTERM
";

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    Help,
    Version,
    Run(Arguments),
}

/// How the daemon is to run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    pub foreground: bool,
    pub debug: u8,
    pub test: bool,
    pub stay_root: bool,
    pub config: Option<PathBuf>,
    pub home: Option<PathBuf>,
}

impl Arguments {
    /// Parses what follows the name of the program.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Order, lexopt::Error> {
        let mut parser = Parser::from_args(arguments);
        let mut parsed = Self::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Short('f') => parsed.foreground = true,
                Arg::Short('d') => parsed.debug = parsed.debug.saturating_add(1),
                Arg::Short('t') => parsed.test = true,
                Arg::Short('r') => parsed.stay_root = true,
                Arg::Short('c') => parsed.config = Some(parser.value()?.parse()?),
                Arg::Long("home") => parsed.home = Some(parser.value()?.parse()?),
                Arg::Short('V') | Arg::Long("version") => return Ok(Order::Version),
                Arg::Short('h') | Arg::Long("help") => return Ok(Order::Help),
                other => return Err(other.unexpected()),
            }
        }
        Ok(Order::Run(parsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Order, String> {
        Arguments::parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_those_of_the_original() {
        assert_eq!(parse(""), Ok(Order::Run(Arguments::default())));
        let all = Arguments {
            foreground: true,
            debug: 2,
            test: true,
            stay_root: true,
            config: Some("/x/ossec.conf".into()),
            home: Some("/x".into()),
        };
        assert_eq!(parse("-ddf -rt -c /x/ossec.conf --home=/x"), Ok(Order::Run(all)));
        assert_eq!(parse("-f -V"), Ok(Order::Version));
        assert_eq!(parse("-x"), Err("invalid option '-x'".into()));
        assert!(parse("-c").is_err());
        assert!(parse("start").is_err());
    }
}
