//! The command line (`spec/protocol.md` 15.3).

use std::{ffi::OsString, path::PathBuf};

use lexopt::{Arg, Parser, ValueExt};

use crate::options::{self, Flag, flag};

/// The options.
#[derive(Clone, Copy)]
enum Id {
    Foreground,
    Debug,
    Test,
    StayRoot,
    Config,
    Home,
    GenerateKey,
    Version,
    Help,
}

const FLAGS: [Flag<Id>; 9] = [
    flag(Id::Foreground, "f", "", "", "Stay in the foreground, and log to standard error as well."),
    flag(Id::Debug, "d", "", "", "Log at debug level, twice: more; wazuh_clusterd.debug overrides it if it is not 0."),
    flag(Id::Test, "t", "", "", "Check the configuration and exit: 0 if it has no errors, 1 otherwise."),
    flag(Id::StayRoot, "r", "", "", "Stay root instead of becoming the user wazuh."),
    flag(Id::Config, "c", "", "FILE", "Read the <cluster> section of FILE instead of etc/ossec.conf."),
    flag(Id::Home, "", "home", "DIR", "The Wazuh home."),
    flag(Id::GenerateKey, "", "generate-key", "", "Print a new cluster key."),
    flag(Id::Version, "V", "version", "", "Show the versions and the licence."),
    flag(Id::Help, "h", "help", "", "Show this help."),
];

const REST: &str = "\
The Wazuh home is --home, then $WAZUH_HOME, then the directory above this program's own if it contains etc/ossec.conf,
then /var/ossec.

Exit codes:
  0    stopped by SIGINT, the cluster is disabled, or the configuration has no errors
  1    the configuration is wrong, or the daemon could not start; see logs/cluster.log and standard error
  2    the command line is wrong
  70   a thread failed: please report it, with the log
  143  stopped by SIGTERM
";

/// What `-h` shows.
pub fn help() -> String {
    format!(
        "Keep this node in sync with its cluster.\n\nUsage: wazuh-clusterd [OPTION]...\n\n\
         Options:\n{}\n{REST}",
        options::help(&FLAGS)
    )
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    Help,
    Version,
    GenerateKey,
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
            let flag = match &argument {
                Arg::Short(letter) => FLAGS.iter().find(|flag| flag.is_short(&letter.to_string())),
                Arg::Long(name) => FLAGS.iter().find(|flag| flag.is_long(name)),
                Arg::Value(_) => None,
            };
            match flag.map(|flag| flag.id) {
                Some(Id::Foreground) => parsed.foreground = true,
                Some(Id::Debug) => parsed.debug = parsed.debug.saturating_add(1),
                Some(Id::Test) => parsed.test = true,
                Some(Id::StayRoot) => parsed.stay_root = true,
                Some(Id::Config) => {
                    let file = PathBuf::from(parser.value()?);
                    // It is read again when the daemon has left its working directory.
                    parsed.config = Some(std::path::absolute(&file).unwrap_or(file));
                }
                Some(Id::Home) => parsed.home = Some(parser.value()?.parse()?),
                Some(Id::GenerateKey) => return Ok(Order::GenerateKey),
                Some(Id::Version) => return Ok(Order::Version),
                Some(Id::Help) => return Ok(Order::Help),
                None => {
                    return Err(match argument {
                        Arg::Short(letter) => options::unknown(&format!("-{letter}"), &FLAGS).into(),
                        Arg::Long(name) => options::unknown(&format!("--{name}"), &FLAGS).into(),
                        Arg::Value(_) => argument.unexpected(),
                    });
                }
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
        assert_eq!(parse("--generate-key"), Ok(Order::GenerateKey));
        assert_eq!(parse("-x"), Err("the option -x is not known".into()));
        assert_eq!(parse("--hom /x"), Err("the option --hom is not known; did you mean --home?".into()));
        assert_eq!(parse("-v"), Err("the option -v is not known; did you mean -V?".into()));
        assert!(parse("-c").is_err());
        assert!(parse("start").is_err());
        assert_eq!(parse("--=x"), Err("the option -- is not known".into()));
    }

    #[test]
    fn the_help_fits_120_columns() {
        assert!(help().lines().all(|line| line.len() <= 120), "{}", help());
    }
}
