//! Everything that is printed for a person or a script goes through here.

use std::io::{self, IsTerminal as _, Write as _};

use crate::exit::{Exit, Failure};

/// How results are written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs: what the service answered.
    Json,
    /// For shell scripts: a line per row without a header, its fields separated by tabs, "-" where there is nothing.
    Tsv,
}

/// The terminal, or what stands in for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ui {
    /// How results are written.
    pub(crate) output: Output,
    color_out: bool,
    color_err: bool,
    interactive: bool,
}

/// How a text stands out on a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    /// All is well.
    Good,
    /// Worth a look.
    Warning,
    /// Something is wrong.
    Bad,
    /// Less important than its surroundings.
    Quiet,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Good => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Bad => "\x1b[1;31m",
            Self::Quiet => "\x1b[2m",
        }
    }
}

impl Ui {
    /// For this process. Colour goes to terminals only, and not where `NO_COLOR` is set (no-color.org).
    pub(crate) fn new(output: Output) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let interactive = io::stderr().is_terminal();
        Self {
            output,
            color_out: wanted && io::stdout().is_terminal(),
            color_err: wanted && interactive,
            interactive,
        }
    }

    /// Whether a person watches standard error, so that progress can be drawn there.
    pub(crate) fn interactive(self) -> bool {
        self.interactive
    }

    /// Colours a part of a line on standard output.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        paint(self.color_out, tone, text)
    }

    /// Writes a result line.
    ///
    /// # Errors
    /// When standard output is closed or full.
    pub(crate) fn line(self, text: &str) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{text}")
    }

    /// Writes a JSON result.
    ///
    /// # Errors
    /// When standard output is closed or full.
    pub(crate) fn json(self, value: &serde_json::Value) -> io::Result<()> {
        self.line(&format!("{value:#}"))
    }

    /// Writes a row of fields for a shell script. What is not known or empty is "-": a shell's `read` would run
    /// neighbouring tabs together.
    ///
    /// # Errors
    /// When standard output is closed or full.
    pub(crate) fn row(self, fields: impl IntoIterator<Item = impl AsRef<str>>) -> io::Result<()> {
        let fields = fields.into_iter().map(|field| match field.as_ref() {
            "" => "-".to_owned(),
            text => text.replace(char::is_control, " "),
        });
        self.line(&fields.collect::<Vec<_>>().join("\t"))
    }

    /// Tells what goes on, on standard error; what cannot be told is no reason to stop.
    pub(crate) fn note(self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Tells what failed and what to do, on standard error, and how the process ends.
    pub(crate) fn fail(self, error: &anyhow::Error) -> Exit {
        // `orchestrator seat list … | head` closes our standard output: that is the reader's choice, no failure.
        let closed = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
        if closed.into_iter().any(|cause| cause.kind() == io::ErrorKind::BrokenPipe) {
            return Exit::Ok;
        }
        let Some(failure) = error.downcast_ref::<Failure>() else {
            self.error(&format!("{error:#}"), &[], None);
            return Exit::Failure;
        };
        self.error(&failure.message, &failure.details, failure.remedy.as_deref());
        failure.exit
    }

    fn error(self, message: &str, details: &[String], remedy: Option<&str>) {
        let mut text = format!("{} {message}", paint(self.color_err, Tone::Bad, "error:"));
        for detail in details {
            text += &format!("\n  - {detail}");
        }
        if let Some(remedy) = remedy {
            text += &format!("\n{} {remedy}", paint(self.color_err, Tone::Good, "what to do:"));
        }
        self.note(&text);
    }

    /// A table with the headers, ready for rows.
    pub(crate) fn table(self, headers: &[&str]) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING).set_header(headers.iter().copied());
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table
    }
}

fn paint(color: bool, tone: Tone, text: &str) -> String {
    if color { format!("{}{text}\x1b[0m", tone.code()) } else { text.to_owned() }
}
