//! What people see. Everything that this program prints goes through here.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a developer's tool talks to a terminal")]

use std::io::IsTerminal as _;

/// A line of its own weight: a new part begins.
pub(crate) fn title(text: &str) {
    println!("\n{}", styled("1", text));
}

/// A line as it is.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// A line that matters less.
pub(crate) fn dim(text: &str) {
    println!("{}", styled("2", text));
}

/// A line for whoever looks on, where the output is a result that a script takes.
pub(crate) fn aside(text: &str) {
    eprintln!("{text}");
}

/// What went wrong.
pub(crate) fn error(text: &str) {
    let word = if std::io::stderr().is_terminal() { "\x1b[31merror:\x1b[0m" } else { "error:" };
    eprintln!("{word} {text}");
}

/// Text in a terminal's style, plain when the output goes elsewhere or the terminal has none.
pub(crate) fn styled(style: &str, text: &str) -> String {
    let has_styles = std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb");
    if has_styles && std::io::stdout().is_terminal() {
        format!("\x1b[{style}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}
