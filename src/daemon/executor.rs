//! Whether the program that executes requests of the API (`distributed_api.executor`) can be run by this process.

use std::{fs, io, path::Path};

use nix::unistd::{AccessFlags, access};

use crate::config::settings::Executor;

/// What is wrong with the program, with the remedy; none if it can be run, or if no program is named.
pub fn problem(executor: &Executor) -> Option<String> {
    let Executor::Command(command) = executor else { return None };
    let program = command.first()?;
    let (problem, remedy) = match runnable(Path::new(program)) {
        Ok(true) => return None,
        Ok(false) => ("it is not a file".to_owned(), "name the file of a program"),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            (format!("{error}"), "let the user of the daemon execute it, or name another one")
        }
        Err(error) => (error.to_string(), "put the program there, or name another one"),
    };
    Some(format!(
        "distributed_api.executor in etc/cluster.json: {program} cannot be run, and this node refuses requests of the API: \
         {problem}; {remedy}"
    ))
}

fn runnable(program: &Path) -> io::Result<bool> {
    access(program, AccessFlags::X_OK)?;
    Ok(fs::metadata(program)?.is_file())
}
