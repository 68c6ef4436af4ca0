//! A manager's Python framework in a home: that of `tests/framework`, and the interpreter of this machine.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// The interpreter itself, which needs no environment.
static INTERPRETER: LazyLock<PathBuf> = LazyLock::new(|| {
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    String::from_utf8(asked.expect("python3 is installed").stdout).unwrap().trim().into()
});

/// Installs the framework in `home`.
pub fn install_framework(home: &Path) {
    let framework = home.join("framework");
    fs::create_dir_all(framework.join("python/bin")).unwrap();
    symlink(&*INTERPRETER, framework.join("python/bin/python3")).unwrap();
    copy(Path::new("tests/framework"), &framework);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap().map(Result::unwrap) {
        let destination = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &destination);
        } else {
            fs::copy(entry.path(), destination).unwrap();
        }
    }
}
