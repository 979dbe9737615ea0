//! Programs of this host.

use std::process::{Command, Stdio};

use crate::BootError;

/// What a program says that must succeed.
pub(crate) fn run(command: &mut Command) -> Result<String, BootError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(BootError::io(&program))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let said = text(&output.stderr).trim().to_owned();
    Err(BootError::Tool { program, status: output.status, said })
}
