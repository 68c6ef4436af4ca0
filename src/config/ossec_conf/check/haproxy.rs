//! The rules for `<haproxy_helper>` (`spec/haproxy_helper.md` 1), with the texts of the stock daemon.
//!
//! A breach that ends the stock daemon is a fault; what keeps only its helper from starting is a note.

use super::{Check, Written};
use crate::config::{
    fault::{Code, Fault},
    xml::Element,
};

/// Options that are whole numbers, with the least and the greatest.
const NUMBERS: [(&str, i128, i128); 6] = [
    ("haproxy_port", 1024, 65_535),
    ("frequency", 10, i128::MAX),
    ("agent_chunk_size", 100, i128::MAX),
    ("agent_reconnection_time", 0, i128::MAX),
    ("agent_reconnection_stability_time", 10, i128::MAX),
    ("remove_disconnected_node_after", 0, i128::MAX),
];

/// More than 0, and at most 1.
const TOLERANCE: &str = "imbalance_tolerance";

/// Without one of these the helper does not start.
const NEEDED: [&str; 3] = ["haproxy_address", "haproxy_user", "haproxy_password"];

/// Of use with https only.
const OF_TLS: [&str; 4] = ["haproxy_cert", "client_cert", "client_cert_key", "client_cert_password"];

/// All others.
const OTHERS: [&str; 5] =
    ["haproxy_disabled", "haproxy_protocol", "haproxy_backend", "haproxy_resolver", "excluded_nodes"];

impl Check<'_> {
    /// Checks the block.
    pub(super) fn check_helper(&mut self, block: &Element) {
        self.names(block);
        let enabled = self.enabled(block);
        for (option, least, greatest) in NUMBERS {
            self.whole_number(option, block.option(option), least, greatest);
        }
        self.tolerance(block.option(TOLERANCE));
        self.excluded_nodes(block);
        let (protocol, line) = block.option("haproxy_protocol").unwrap_or(("http", block.line));
        if !matches!(protocol, "http" | "https") {
            let problem = format!("Invalid value for haproxy_protocol. '{protocol}' is not one of ['http', 'https']");
            self.fault(line, &problem, "write http or https", protocol);
        }
        if !enabled {
            return;
        }
        for option in NEEDED.into_iter().filter(|option| block.option(option).is_none()) {
            self.warn(block.line, &format!("Missing configuration '{option}'. The helper cannot start."));
        }
        if protocol == "https" && block.option("haproxy_cert").is_none() {
            self.warn(block.line, "HAProxy certificate file required in the haproxy_cert parameter");
        }
        if let Some((_, line)) = OF_TLS.into_iter().find_map(|option| block.option(option))
            && protocol == "http"
        {
            let text = "HTTPS related parameters have been set but will be ignored since HTTP is defined as protocol.";
            self.warn(line, text);
        }
    }

    fn names(&mut self, block: &Element) {
        let numbers = NUMBERS.map(|(option, ..)| option);
        let known: Vec<&str> = [&numbers[..], &[TOLERANCE], &NEEDED, &OF_TLS, &OTHERS].concat();
        for child in block.children.iter().filter(|child| !known.contains(&&*child.name)) {
            self.unknown(child, "haproxy_helper", &known);
        }
    }

    fn enabled(&mut self, block: &Element) -> bool {
        match block.option("haproxy_disabled") {
            Some(("no", _)) => true,
            Some(("yes", _)) => false,
            Some((_, line)) => {
                let text = "<haproxy_disabled> is neither yes nor no and is read as yes; other daemons refuse it";
                self.warn(line, text);
                false
            }
            None => {
                let remedy = "write <haproxy_disabled>yes</haproxy_disabled> there, or no";
                let problem = "'haproxy_disabled' is missing in <haproxy_helper>";
                self.faults.push(Fault::new(Code::Cluster, self.file, problem, remedy).line(block.line));
                false
            }
        }
    }

    fn whole_number(&mut self, option: &str, written: Option<Written<'_>>, least: i128, greatest: i128) {
        let Some((text, line)) = written else { return };
        let remedy = match greatest {
            i128::MAX => format!("write a whole number from {least} on"),
            _ => format!("write a whole number from {least} to {greatest}"),
        };
        let problem = match text.parse::<i128>() {
            Err(_) => format!("HAProxy Helper {option} must be an integer."),
            Ok(number) if number < least => {
                format!("Invalid value for {option}. {number} is less than the minimum of {least}")
            }
            Ok(number) if number > greatest => {
                format!("Invalid value for {option}. {number} is greater than the maximum of {greatest}")
            }
            Ok(_) => return,
        };
        self.fault(line, &problem, &remedy, text);
    }

    fn tolerance(&mut self, written: Option<Written<'_>>) {
        let Some((text, line)) = written else { return };
        let wrong = |rest: String| format!("Invalid value for {TOLERANCE}. {rest}");
        let problem = match text.parse::<f64>() {
            Ok(number) if number <= 0.0 => wrong(format!("{number:?} is less than or equal to the minimum of 0")),
            Ok(number) if number > 1.0 => wrong(format!("{number:?} is greater than the maximum of 1")),
            Ok(number) if !number.is_nan() => return,
            _ => format!("HAProxy Helper {TOLERANCE} must be a float."),
        };
        self.fault(line, &problem, "write a number above 0 and up to 1", text);
    }

    /// Names joined by commas; what the stock daemon makes of anything else ends it.
    fn excluded_nodes(&mut self, block: &Element) {
        let bad = |child: &&Element| !child.children.is_empty() || child.trimmed().is_empty();
        let Some(child) = block.options("excluded_nodes").find(bad) else {
            return;
        };
        let problem = "Requested component does not exist: 'dict' object has no attribute 'find'";
        let remedy = "write the names in <excluded_nodes>, joined by commas without blanks, or remove it";
        self.faults.push(Fault::new(Code::Reading, self.file, problem, remedy).line(child.line));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::super::parse;

    /// What is said of a master's block with these options on line 2: its faults, or else its notes.
    fn said(options: &str) -> Vec<String> {
        let text = format!(
            "<ossec_config><cluster><key>0123456789abcdefghijklmnopqrstuv</key><nodes><node>m</node></nodes>\
             <haproxy_helper>\n{options}</haproxy_helper></cluster></ossec_config>"
        );
        match parse(&text, Path::new("/f"), "4.14.7".parse().unwrap()).cluster {
            Ok((_, notes)) => notes.into_iter().map(|note| note.text).collect(),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        }
    }

    /// Case 4.8: each text of the stock daemon, with the value that brings it.
    #[test]
    fn each_fault_has_the_text_of_the_original() {
        let cases = "
            frequency = x: HAProxy Helper frequency must be an integer.
            frequency = 10.0: HAProxy Helper frequency must be an integer.
            frequency = 3: Invalid value for frequency. 3 is less than the minimum of 10
            haproxy_port = 80: Invalid value for haproxy_port. 80 is less than the minimum of 1024
            haproxy_port = 65536: Invalid value for haproxy_port. 65536 is greater than the maximum of 65535
            agent_chunk_size = 99: Invalid value for agent_chunk_size. 99 is less than the minimum of 100
            agent_reconnection_time = -1: Invalid value for agent_reconnection_time. -1 is less than the minimum of 0
            agent_reconnection_stability_time = 9: 9 is less than the minimum of 10
            remove_disconnected_node_after = -5: -5 is less than the minimum of 0
            imbalance_tolerance = half: HAProxy Helper imbalance_tolerance must be a float.
            imbalance_tolerance = nan: HAProxy Helper imbalance_tolerance must be a float.
            imbalance_tolerance = 0: Invalid value for imbalance_tolerance. 0.0 is less than or equal to the minimum of 0
            imbalance_tolerance = 1.5: Invalid value for imbalance_tolerance. 1.5 is greater than the maximum of 1
            haproxy_protocol = ftp: Invalid value for haproxy_protocol. 'ftp' is not one of ['http', 'https']";
        let cases: Vec<_> = cases.trim().lines().collect();
        assert_eq!(cases.len(), 14);
        for case in cases {
            let (written, text) = case.trim().split_once(": ").expect("an option and its text");
            let (option, value) = written.split_once(" = ").expect("a name and a value");
            let said = said(&format!("<haproxy_disabled>yes</haproxy_disabled><{option}>{value}</{option}>"));
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].starts_with("Error 3004 - Error in cluster configuration: "), "{said:?}");
            // The value stands in the text, or behind the place.
            let found = if text.contains(&format!("'{value}'")) { String::new() } else { format!("found '{value}'; ") };
            assert!(said[0].contains(text) && said[0].contains(&format!("(/f:2: {found}write")), "{said:?}");
        }
        assert!(
            said("<frequency>10</frequency>")[0].contains("'haproxy_disabled' is missing in <haproxy_helper> (/f:1:")
        );
        let nested = said("<haproxy_disabled>no</haproxy_disabled><excluded_nodes><node>a</node></excluded_nodes>");
        assert!(nested[0].starts_with("Error 3006 - ") && nested[0].contains("joined by commas"), "{nested:?}");
    }

    #[test]
    fn what_only_keeps_the_helper_from_working_is_noted() {
        let right = "<haproxy_disabled>no</haproxy_disabled><haproxy_address>lb</haproxy_address>\
                     <haproxy_user>u</haproxy_user><haproxy_password>p</haproxy_password>\
                     <haproxy_port>65535</haproxy_port><imbalance_tolerance>1</imbalance_tolerance>";
        assert_eq!(said(right), Vec::<String>::new());
        let cases = [
            (right.replace("haproxy_user", "user"), "Missing configuration 'haproxy_user'. The helper cannot start."),
            (right.replace("haproxy_user", "user"), "Unknown option <user> in <haproxy_helper>; remove it"),
            (
                right.replace("haproxy_port", "haproxy_prot"),
                "Unknown option <haproxy_prot> in <haproxy_helper>; did you mean <haproxy_port>?",
            ),
            (
                format!("{right}<haproxy_protocol>https</haproxy_protocol>"),
                "certificate file required in the haproxy_cert",
            ),
            (
                format!("{right}<client_cert>/c</client_cert>"),
                "HTTPS related parameters have been set but will be ignored",
            ),
            (right.replace(">no<", ">maybe<"), "is neither yes nor no and is read as yes"),
        ];
        for (options, text) in cases {
            let notes = said(&options);
            assert!(notes.iter().any(|note| note.contains(text) && note.contains("(/f:")), "{text}: {notes:?}");
        }
        assert_eq!(said(&right.replace(">no<", ">yes<")), Vec::<String>::new());
    }
}
