//! A Firecracker that runs no guest, and keeps the real one's rules: the order of calls, the words of its errors, one start a process, the
//! files that it opens and makes, and the code with which it ends. That it keeps them is checked against the real one (`same.rs`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::server::{Reply, Request, Server};

mod bodies;
mod devices;
mod process;
mod snapshot;
mod vsock;

use process::Process;

/// How a fake differs from a plain one.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// What it says it is.
    pub(crate) version: String,
    /// The TAP devices that there are.
    pub(crate) taps: Vec<String>,
    /// Whether it may make those that there are not, as root may.
    pub(crate) makes_taps: bool,
    /// Whether the guest has a driver for the keyboard, and restarts when it is told to.
    pub(crate) has_keyboard: bool,
    /// Whether the guest has drivers for its virtio devices.
    pub(crate) has_drivers: bool,
    /// The vsock port on which the guest says again what it is told.
    pub(crate) echoes_on: Option<u32>,
    /// What is done with the calls of a method and path instead of answering them.
    pub(crate) tricks: Vec<(&'static str, Trick)>,
    /// The call after whose first time they are done; from the beginning when there is none.
    pub(crate) tricks_after: Option<String>,
    /// Whether it says each call on its console.
    pub(crate) tells: bool,
}

/// What is done with a call.
#[derive(Clone, Debug)]
pub(crate) enum Trick {
    /// It is carried out, and answered later.
    Late(Duration),
    /// The process dies before it has its effect.
    Dies,
    /// It is answered like this, and the connection ends.
    Says(Vec<u8>),
    /// It is answered like this, and the connection does not end.
    Begins(Vec<u8>),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: "1.16.1".into(),
            taps: vec!["ctt0".into(), "ctt1".into()],
            makes_taps: false,
            has_keyboard: true,
            has_drivers: true,
            echoes_on: None,
            tricks: Vec::new(),
            tricks_after: None,
            tells: false,
        }
    }
}

/// A running fake.
#[derive(Debug)]
pub(crate) struct Fake {
    socket: PathBuf,
    server: Server,
    process: Arc<Mutex<Process>>,
}

impl Fake {
    /// Starts one.
    ///
    /// # Errors
    /// When the socket is there already, from another one or a dead one: the real one ends with code 1.
    pub(crate) fn start(socket: &Path, options: Options) -> io::Result<Self> {
        let (tricks, tells) = (options.tricks.clone(), options.tells);
        let mut tricks_after = options.tricks_after.clone();
        let process = Arc::new(Mutex::new(Process::new(options)));
        let inner = Arc::clone(&process);
        let server = Server::start(socket, move |request| {
            let called = format!("{} {}", request.method, request.path);
            if tells {
                say(&called);
            }
            let waits = tricks_after.is_some();
            tricks_after.take_if(|after| *after == called);
            let trick = tricks.iter().find(|(call, _)| !waits && *call == called).map(|(_, trick)| trick);
            let answer = |request: &Request| inner.lock().unwrap().handle(request);
            match trick {
                None => answer(request),
                Some(Trick::Late(after)) => Reply::Late(*after, Box::new(answer(request))),
                Some(Trick::Dies) => {
                    inner.lock().unwrap().exit = Some(1);
                    Reply::Die
                }
                Some(Trick::Says(bytes)) => Reply::Raw(bytes.clone()),
                Some(Trick::Begins(bytes)) => Reply::Open(bytes.clone()),
            }
        })?;
        Ok(Self { socket: socket.to_owned(), server, process })
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits for its end, and gives the code with which the process ended.
    pub(crate) async fn exited(&mut self) -> Option<i32> {
        self.server.ended().await;
        self.process.lock().unwrap().exit
    }

    /// What it has done so far.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Process) -> T) -> T {
        look(&self.process.lock().unwrap())
    }
}

#[expect(clippy::print_stdout, reason = "it is the console")]
fn say(called: &str) {
    println!("fake: {called}");
}
