//! The rules for the `<global>` blocks, of which one option concerns this daemon.

use std::{path::Path, time::Duration};

use crate::config::{
    auth::seconds,
    fault::{Code, Fault},
    global::Global,
    xml::Element,
};

const OPTION: &str = "agents_disconnection_time";
const WEEK: i64 = 7 * 24 * 3600;

/// What the blocks say, the last word of all, and all their faults.
pub(super) fn read(file: &Path, blocks: &[Element]) -> (Global, Vec<Fault>) {
    let (mut global, mut faults) = (Global::default(), Vec::new());
    for (text, line) in blocks.iter().flat_map(|block| block.options(OPTION)).map(Element::written) {
        match time(text) {
            Some(time) => global.agents_disconnection_time = Some(time),
            None => {
                let remedy = "write seconds, or a number with its unit, such as 90s, 15m or 1h";
                let problem = format!("<{OPTION}> of <global> is not a time");
                faults.push(Fault::new(Code::Reading, file, problem, remedy).line(line).found(text));
            }
        }
    }
    (global, faults)
}

fn time(text: &str) -> Option<Duration> {
    let seconds = match text.split_once('w') {
        Some((weeks, _)) if weeks.bytes().all(|byte| byte.is_ascii_digit()) => seconds(weeks)?.checked_mul(WEEK)?,
        _ => seconds(text)?,
    };
    u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::xml::find_blocks;

    fn parse(text: &str) -> (Option<u64>, Vec<String>) {
        let found = find_blocks(text).expect("well-formed");
        let (global, faults) = read(Path::new("/f"), &found.global);
        let seconds = global.agents_disconnection_time.map(|time| time.as_secs());
        (seconds, faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_last_of_all_blocks_counts() {
        let block = |text: &str| {
            format!(
                "<ossec_config><global><agents_disconnection_time>{text}</agents_disconnection_time></global></ossec_config>"
            )
        };
        for (text, seconds) in [("15m", 900), (" 90 ", 90), ("1h", 3600), ("2w", 2 * 604_800)] {
            assert_eq!(parse(&block(text)), (Some(seconds), vec![]), "{text}");
        }
        assert_eq!(parse("<ossec_config><global><jsonout_output>yes</jsonout_output></global></ossec_config>").0, None);
        let both = format!("{}<ossec_config><global/></ossec_config>{}", block("10m"), block("20m"));
        assert_eq!(parse(&both), (Some(1200), vec![]));
        for text in ["", "0", "soon", "-1", "1x"] {
            let (seconds, faults) = parse(&block(text));
            assert_eq!((seconds, faults.len()), (None, 1), "{text}");
            assert!(
                faults[0].contains("<agents_disconnection_time> of <global> is not a time (/f:1: found "),
                "{faults:?}"
            );
        }
    }
}
