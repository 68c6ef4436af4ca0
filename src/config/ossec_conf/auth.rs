//! The rules for the `<auth>` block, of which only a few options concern this daemon. Its other options are those of the
//! stock enrolment daemon and are not looked at.

use std::path::Path;

use crate::{
    config::{
        auth::{Auth, Force, seconds},
        fault::{Code, Fault},
        xml::Element,
    },
    system::spelling,
};

/// The options of `<force>`.
const OF_FORCE: [&str; 4] = ["enabled", "key_mismatch", "disconnected_time", "after_registration_time"];

/// What the block says, and all its faults; without a block the defaults count.
pub(super) fn read(file: &Path, block: Option<&Element>) -> (Auth, Vec<Fault>) {
    let mut reader = Reader { file, faults: Vec::new() };
    let auth = block.map(|block| reader.auth(block)).unwrap_or_default();
    (auth, reader.faults)
}

struct Reader<'a> {
    file: &'a Path,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn auth(&mut self, block: &Element) -> Auth {
        let mut auth = Auth::default();
        let mut legacy = Force::default();
        let mut has_force = false;
        for option in &block.children {
            match &*option.name {
                "purge" => auth.purge = self.flag(option, option.trimmed()),
                "force" => {
                    has_force = true;
                    self.force(option, &mut auth.force);
                }
                "force_insert" => legacy.enabled = self.flag(option, option.trimmed()),
                "force_time" => legacy.disconnected_time = Some(self.seconds(option)).filter(|seconds| *seconds != 0),
                _ => {}
            }
        }
        // Options of before 4.3, which count only where there is no newer one.
        if !has_force {
            auth.force = legacy;
        }
        auth
    }

    fn force(&mut self, block: &Element, force: &mut Force) {
        for option in &block.children {
            match &*option.name {
                "enabled" => force.enabled = self.flag(option, option.trimmed()),
                "key_mismatch" => force.key_mismatch = self.flag(option, option.trimmed()),
                "after_registration_time" => force.after_registration_time = self.seconds(option),
                "disconnected_time" => {
                    let enabled = option.attributes.iter().find(|(name, _)| name == "enabled");
                    let enabled = self.flag(option, enabled.map_or("", |(_, value)| value));
                    force.disconnected_time = enabled.then(|| self.seconds(option));
                }
                name => {
                    let remedy = match spelling::closest(name, OF_FORCE) {
                        Some(meant) => format!("did you mean <{meant}>?"),
                        None => format!("remove it; known are {}", OF_FORCE.join(", ")),
                    };
                    self.fault(option, format!("Unknown option <{name}> in <force>"), &remedy, option.trimmed());
                }
            }
        }
    }

    fn flag(&mut self, option: &Element, text: &str) -> bool {
        if !matches!(text, "yes" | "no") {
            let remedy = match &*option.name {
                "disconnected_time" => "write <disconnected_time enabled=\"yes\"> or enabled=\"no\"",
                _ => "write yes or no",
            };
            self.fault(option, format!("<{}> of <auth> is not yes or no", option.name), remedy, text);
        }
        text == "yes"
    }

    fn seconds(&mut self, option: &Element) -> i64 {
        let text = option.trimmed();
        seconds(text).unwrap_or_else(|| {
            let remedy = "write seconds, or a number with its unit, such as 30m, 1h or 7d";
            self.fault(option, format!("<{}> of <auth> is not a time", option.name), remedy, text);
            0
        })
    }

    fn fault(&mut self, option: &Element, problem: String, remedy: &str, found: &str) {
        self.faults.push(Fault::new(Code::Reading, self.file, problem, remedy).line(option.line).found(found));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::xml::find_blocks;

    fn parse(options: &str) -> (Auth, Vec<String>) {
        let text = format!("<ossec_config><auth>\n{options}</auth></ossec_config>");
        let found = find_blocks(&text).expect("well-formed");
        let (auth, faults) = read(Path::new("/f"), found.auth.as_ref());
        (auth, faults.iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn good(options: &str) -> Auth {
        let (auth, faults) = parse(options);
        assert_eq!(faults, Vec::<String>::new(), "{options}");
        auth
    }

    #[test]
    fn what_the_installer_writes_is_read() {
        let auth = good(
            "<disabled>no</disabled><port>1515</port><use_source_ip>no</use_source_ip>
             <force><enabled>yes</enabled><key_mismatch>no</key_mismatch>
             <disconnected_time enabled=\"yes\">2h</disconnected_time>
             <after_registration_time>30m</after_registration_time></force>
             <purge>yes</purge><use_password>maybe</use_password><ciphers>HIGH:!ADH</ciphers><anything/>",
        );
        let force =
            Force { enabled: true, key_mismatch: false, disconnected_time: Some(7200), after_registration_time: 1800 };
        assert_eq!(auth, Auth { purge: true, force });
        assert_eq!(good(""), Auth::default());
        assert_eq!(read(Path::new("/f"), None), (Auth::default(), vec![]));
    }

    #[test]
    fn old_options_count_where_there_is_no_new_one() {
        let force = good("<force_insert>no</force_insert><force_time>60</force_time>").force;
        assert_eq!(force, Force { enabled: false, disconnected_time: Some(60), ..Force::default() });
        assert_eq!(good("<force_time>0</force_time>").force, Force { disconnected_time: None, ..Force::default() });
        let both = good("<force_insert>no</force_insert><force><key_mismatch>no</key_mismatch></force>").force;
        assert_eq!(both, Force { key_mismatch: false, ..Force::default() });
        let off = good("<force><disconnected_time enabled=\"no\">never</disconnected_time></force>").force;
        assert_eq!(off, Force { disconnected_time: None, ..Force::default() });
    }

    #[test]
    fn all_faults_at_once_each_with_its_line_and_remedy() {
        let (_, faults) = parse(
            "<purge>maybe</purge>
             <force><enabled>1</enabled>
             <disconnected_time>1h</disconnected_time>
             <after_registration_time>soon</after_registration_time>
             <colour>red</colour><enable>no</enable></force>",
        );
        let parts = [
            "<purge> of <auth> is not yes or no (/f:2: found 'maybe'; write yes or no)",
            "<enabled> of <auth> is not yes or no (/f:3: found '1'",
            "<disconnected_time> of <auth> is not yes or no (/f:4: found ''; write <disconnected_time enabled=\"yes\">",
            "<after_registration_time> of <auth> is not a time (/f:5: found 'soon'; write seconds",
            "Unknown option <colour> in <force> (/f:6: found 'red'; remove it",
            "Unknown option <enable> in <force> (/f:6: found 'no'; did you mean <enabled>?)",
        ];
        assert_eq!(faults.len(), parts.len(), "{faults:?}");
        for (fault, part) in faults.iter().zip(parts) {
            assert!(fault.starts_with("Error 3006 - ") && fault.contains(part), "{fault}");
        }
    }
}
