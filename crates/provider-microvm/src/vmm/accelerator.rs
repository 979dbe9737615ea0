//! Whether guests run with hardware virtualization.
//!
//! That `/dev/kvm` can be opened says little: it may be that of a machine which is itself virtual and whose KVM emulates the kernel mode of its guests, one
//! instruction at a time, or that of an emulator that lacks something. So a small guest is run that does what a kernel does first. It runs in a process of its
//! own, which is killed when it does not end in time: a processor that hangs in KVM cannot be called back.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::keeper::{Answer, GENERATION, LONGEST, Request};
use super::{KeeperCommand, UserIds};

#[cfg(target_arch = "x86_64")]
mod guest;

const DEVICE: &str = "/dev/kvm";
/// What takes a processor some 10 ms takes most of a minute where it is emulated; a busy host is somewhere in between.
const PATIENCE: Duration = Duration::from_secs(4);

/// What runs the guests' instructions on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accel {
    /// KVM.
    Kvm,
    /// QEMU's translator.
    Tcg {
        /// Why not KVM, for a person.
        why: String,
    },
}

/// Finds out by running a guest. Takes some tens of milliseconds where KVM works or is not there, and four seconds at most.
pub async fn probe(keeper: &KeeperCommand) -> Accel {
    // Spares the process on a host without KVM, and says better what to do.
    let result = match there() {
        Ok(()) => ask(keeper).await,
        Err(why) => Err(why),
    };
    match result {
        Ok(()) => Accel::Kvm,
        Err(why) => Accel::Tcg { why },
    }
}

/// Whether this process may use KVM's device, which says nothing of how fast its guests are.
pub(crate) fn there() -> Result<(), String> {
    let open = fs::OpenOptions::new().read(true).write(true).open(DEVICE);
    open.map(drop).map_err(|why| cannot_open(&why))
}

/// The supplementary groups with which this user may open `/dev/kvm`; or why he may not at all.
pub(super) fn groups(user: Option<UserIds>) -> Result<Vec<u32>, String> {
    let Some(user) = user.filter(|user| user.uid != 0) else { return Ok(Vec::new()) };
    let data = fs::metadata(DEVICE).map_err(|why| cannot_open(&why))?;
    let grants = |mask: u32| data.mode() & mask == mask;
    if grants(0o006) {
        Ok(Vec::new())
    } else if grants(0o060) && data.gid() != 0 {
        Ok(if data.gid() == user.gid { Vec::new() } else { vec![data.gid()] })
    } else {
        Err(format!("{DEVICE} is for root alone: give it the group kvm and mode 0660, as udev does"))
    }
}

/// Is the process that runs the guest.
pub(super) fn run() -> Result<(), String> {
    #[cfg(target_arch = "x86_64")]
    return guest::run();
    #[cfg(not(target_arch = "x86_64"))]
    return Err("guests are x86-64 machines, and this host is none".into());
}

async fn ask(keeper: &KeeperCommand) -> Result<(), String> {
    let failed = |what: &str| format!("the process that tries {DEVICE} {what}");
    let mut command = Command::new(&keeper.program);
    command.args(&keeper.args).env_clear().current_dir("/").kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|why| failed(&format!("does not start: {why}")))?;
    let answered = timeout(PATIENCE, converse(&mut child)).await;
    // It may have ended by itself.
    drop(child.kill().await);
    let answer = match answered {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => return Err(failed(&format!("does not answer: {why}"))),
        Err(_) => {
            let limit = PATIENCE.as_secs();
            return Err(format!(
                "a guest that takes milliseconds on a processor did not end in {limit} s: this host's KVM emulates it"
            ));
        }
    };
    match answer {
        Answer::Probed { trouble: None } => Ok(()),
        Answer::Probed { trouble: Some(why) } | Answer::Failed { why, .. } => Err(why),
        _ => Err(failed("answers something else")),
    }
}

async fn converse(child: &mut Child) -> io::Result<Answer> {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("it has no pipes"));
    };
    let mut line = serde_json::to_vec(&Request::Probe { generation: GENERATION })?;
    line.push(b'\n');
    input.write_all(&line).await?;
    let mut answer = Vec::new();
    output.take(LONGEST).read_to_end(&mut answer).await?;
    Ok(serde_json::from_slice(&answer)?)
}

fn cannot_open(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::NotFound => format!(
            "there is no {DEVICE}: the processor or the machine has no virtualization, or the module kvm is not loaded"
        ),
        _ => format!("{DEVICE} cannot be opened: {why}"),
    }
}
