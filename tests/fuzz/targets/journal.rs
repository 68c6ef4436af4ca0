//! The journal of an update that a crash interrupted: others may write into its directory, so it is believed no more than
//! a peer.

use clusterd::{
    files::{Checksum, md5_of, recover},
    system::disk::Disk,
};
use serde_json::json;

use super::{
    home::{Home, items},
    input::Input,
};

/// The token of all that is staged.
const TOKEN: u32 = 0xdead_beef;

const PATH: &str = "queue/cluster/apply.journal";

/// The first byte chooses whether the rest is a journal, or steps of which one is made.
pub fn body(input: &[u8]) {
    let mut input = Input(input);
    let home = Home::new();
    let mut contents = Vec::new();
    let journal = match input.byte() % 2 {
        0 => input.0.to_vec(),
        _ => {
            let (journal, staged) = built(input, &home);
            contents = staged;
            journal
        }
    };
    // What is staged in synchronised directories becomes a file, or is removed.
    let stays = |path: &str| !path.contains("/.cluster-") || path.starts_with("outside/");
    let before = home.tree().into_iter().filter(|(path, _)| stays(path)).collect();
    home.write(PATH, &journal);
    let found = recover(home.path(), &items(), &Disk::new());
    assert!(!home.path().join(PATH).exists(), "it is done, or no use: {found:?}");
    assert!(found.problems.iter().all(|problem| !problem.is_empty()));
    home.check(&before, &contents);
}

/// Each step is a byte, a key, a path, and a content if it is to be staged; whatever stands there, its end is right.
fn built(mut input: Input<'_>, home: &Home) -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let mut lines = format!("{}\n", json!({"apply_journal": 1, "token": TOKEN}));
    let mut contents = Vec::new();
    let mut steps = 0;
    while !input.is_over() && steps < 30 {
        let how = input.byte();
        let (key, path) = (input.text(), input.text());
        let mut line = json!({"key": key, "path": path});
        if how & 1 != 0 {
            let number = usize::from(how >> 4);
            line["staged"] = json!(number);
            let content = input.part().to_vec();
            // Beside a file that is there: the directories of others are made before anything is staged.
            for directory in ["etc/shared", "etc/shared/default", "etc/rules", "etc", "outside"] {
                home.write(&format!("{directory}/.cluster-{TOKEN:08x}-{number}.tmp"), &content);
            }
            contents.push((path, content));
        }
        lines.push_str(&format!("{line}\n"));
        steps += 1;
    }
    let sum = Checksum::Md5(md5_of(lines.as_bytes()));
    let end = json!({"steps": steps, "md5": sum.to_string()});
    (format!("{lines}{end}\n").into_bytes(), contents)
}
