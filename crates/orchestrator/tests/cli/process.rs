//! Runs the binary, for one command or as a service.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Far longer than anything takes; only a hang gets here.
const HANG: Duration = Duration::from_secs(60);

/// The binary, cut off from the environment and the files of whoever runs the tests.
pub(crate) fn orchestrator(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestrator"));
    command.env_clear().current_dir(directory).stdin(Stdio::null());
    command
}

/// A new file for what a process of this test says, in the folder that `CLARATEACH_TEST_OUTPUT` names; none without
/// it. Whoever runs the tests looks for secrets there.
pub(crate) fn kept_as(what: &str) -> Option<File> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let folder = PathBuf::from(std::env::var_os("CLARATEACH_TEST_OUTPUT")?);
    fs::create_dir_all(&folder).unwrap();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("{what}-{}-{number}.log", std::process::id());
    Some(File::options().create_new(true).append(true).open(folder.join(name)).unwrap())
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Passes itself on when the exit code is as expected.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, expected, "{self:?}");
        self
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Done {
    finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Runs a command to its end, with this on its standard input.
pub(crate) fn run_with_input(command: &mut Command, input: &str) -> Done {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    finish(child)
}

/// Waits for a command that runs.
pub(crate) fn finish(child: Child) -> Done {
    let output = child.wait_with_output().unwrap();
    if let Some(mut file) = kept_as("command") {
        file.write_all(&output.stdout).unwrap();
        file.write_all(&output.stderr).unwrap();
    }
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A running service over simulated seats. It ends with this.
pub(crate) struct Service {
    pub(crate) directory: TempDir,
    pub(crate) url: String,
    child: Child,
    /// Said before it listened.
    passed: RefCell<VecDeque<String>>,
    lines: Receiver<String>,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Service {
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[])
    }

    pub(crate) fn start_with(flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = orchestrator(directory.path());
        command.args(["serve", "--provider", "sim", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        command.args(flags).envs(variables.iter().copied());
        Self::launch(directory, command)
    }

    /// Starts what was prepared and waits until it listens.
    pub(crate) fn launch(directory: TempDir, command: Command) -> Self {
        let mut service = Self::begin(directory, command);
        let listening = service.logged("listening");
        service.url = format!("http://{}", listening["address"].as_str().unwrap());
        // What was said before that is still to be waited for: it may come in another order.
        *service.passed.get_mut() = service.log().lines().map(str::to_owned).collect();
        service
    }

    /// Starts what was prepared, and waits for nothing; where it listens is not known.
    pub(crate) fn begin(directory: TempDir, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let log = Arc::new(Mutex::new(String::new()));
        let (kept, stderr) = (log.clone(), BufReader::new(child.stderr.take().unwrap()));
        let mut file = kept_as("service");
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(file) = &mut file {
                    writeln!(file, "{line}").unwrap();
                }
                kept.lock().unwrap().push_str(&format!("{line}\n"));
                let _ = sender.send(line);
            }
        });
        let (url, passed) = (String::new(), RefCell::default());
        Self { directory, url, child, passed, lines, log, reader: Some(reader) }
    }

    /// Waits for the next line of the log; `what` is what it is waited for.
    fn next_line(&self, what: &str) -> String {
        if let Some(line) = self.passed.borrow_mut().pop_front() {
            return line;
        }
        self.lines.recv_timeout(HANG).unwrap_or_else(|_| panic!("{what:?}: {}", self.log()))
    }

    /// Waits until the log has a line with this in it, whatever the format.
    pub(crate) fn line_with(&self, text: &str) -> String {
        loop {
            let line = self.next_line(text);
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits until the log has an event with this message.
    pub(crate) fn logged(&self, message: &str) -> Value {
        loop {
            let line = self.next_line(message);
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if event["message"].as_str().is_some_and(|text| text.contains(message)) {
                return event;
            }
        }
    }

    /// Everything that was logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// A client command for this service.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = orchestrator(self.directory.path());
        command.args(arguments).env("ORCHESTRATOR_URL", &self.url);
        command
    }

    /// Runs a client command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        run(&mut self.command(arguments))
    }

    /// Starts a client command that goes on beside the test.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Waits until a seat is known to the service, however far it is.
    pub(crate) fn knows(&self, workshop: &str, seat: &str) {
        let since = std::time::Instant::now();
        while self.run(&["seat", "show", workshop, seat]).code != 0 {
            assert!(since.elapsed() < HANG, "{}", self.log());
        }
    }

    /// The address of a path of its API.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Ends the service at once, as a power failure would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until the service has ended by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Its last lines are kept too.
        let _ = self.reader.take().map(JoinHandle::join);
    }
}
