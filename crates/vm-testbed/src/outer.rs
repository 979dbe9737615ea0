//! A host with hardware virtualization, emulated: for what needs a KVM that runs stock guests, on machines that have none.
//!
//! ```text
//!   this host        QEMU translates, and emulates AMD's SVM
//!     outer guest      the distribution's generic kernel with KVM on that; this host's root, below memory that takes what is written
//!       a program        of this host, as root, with its libraries and all other programs
//!         inner guests     by a real monitor, of /dev/kvm
//! ```
//!
//! The outer guest has two serial lines: what its kernel and its first program say, and what the caller's program says. It has no network but
//! loopback. Its root is no initramfs, from which no jailer could go away (`pivot_root(2)`), and `/run` is a file system in memory, where hard links
//! and sockets work as on a disk.

mod clock;
#[expect(clippy::panic, reason = "it is a part of tests, which may stop at the first surprise")]
mod program;
mod suite;

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::machine::{QEMU, Started, option};
use crate::paths::{cached, is_installed, set};
use crate::{BootError, Console, Initramfs, Kernel};

pub use program::TestProgram;

/// What the first root loads: the way to this host's files.
const MODULES: [&str; 4] = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];
/// What is not loaded by whoever needs it.
const FOR_GUESTS: &str =
    "kvm-amd tun veth bridge nft_fib_inet nft_masq nft_ct nft_chain_nat nf_conntrack_bridge nft_meta_bridge";
/// Five levels of page tables do not work with nested paging, and no monitor restores clocks where the time stamp counter is not the clock. On a busy host
/// the check of the timer finds wrongly that there is none. A kernel that failed ends, and does not go on with what is left of it. What costs time and is of
/// no use here is off.
const ARGUMENTS: &str = "console=ttyS0 panic=-1 oops=panic quiet mitigations=off nokaslr random.trust_cpu=on tsc=reliable no_timer_check";
/// How a kernel that failed itself says so; one that was asked too much says another reason. It may not get further than the first.
const FAILED: [&str; 2] = ["stack guard page was hit", "Kernel panic - not syncing: Fatal exception"];
/// How often a program is started whose outer guest's kernel failed. QEMU 7.2, and more rarely 10.0, come back from an inner guest with a state of which the outer
/// guest's kernel dies, in the inner guest's thread. That was seen with two processors alone; it is for none of the tests to prevent.
const TRIES: u32 = 3;
/// After how long without any work of its processors an outer guest stands still. That was seen once, with QEMU 10.0 and one processor that waited for an interrupt
/// which never came; a guest that only waits for time to pass works several times a second.
const STILL: Duration = Duration::from_secs(180);
/// What the program is told of this host's environment, when it is set here.
const PASSED: [&str; 10] = [
    "FIRECRACKER_BIN",
    "JAILER_BIN",
    "CLARATEACH_GUEST",
    "CLARATEACH_KERNEL",
    "CLARATEACH_AGENT",
    "CLARATEACH_WORKSPACE",
    "CARGO_TARGET_DIR",
    "XDG_CACHE_HOME",
    "RUST_BACKTRACE",
    "RUST_LOG",
];
/// Between two looks at what is said.
const LOOK: Duration = Duration::from_millis(100);

/// An outer guest.
#[derive(Clone, Debug)]
pub struct Outer {
    qemu: PathBuf,
    kernel: Kernel,
    processors: u32,
    memory: u32,
}

/// How a program in an outer guest ended.
#[derive(Clone, Debug)]
pub struct OuterRun {
    /// Its exit code, or 128 and the signal that ended it.
    pub code: i32,
    /// All that it said, on both outputs.
    pub said: String,
    /// How long the outer guest had run when it was ready for the program.
    pub ready: Duration,
    /// What the outer guest's kernel and first program said.
    pub console: Console,
}

impl Outer {
    /// One with one processor and 4 GiB, in the QEMU that `CLARATEACH_OUTER_QEMU` names, or that `scripts/ensure-outer-qemu.sh` unpacked, or that is
    /// installed.
    ///
    /// # Errors
    /// [`BootError::Missing`] when there is no QEMU, or its kernel is not there.
    pub fn find() -> Result<Self, BootError> {
        let unpacked =
            || cached("outer-qemu/usr/bin").map(|folder| folder.join(QEMU)).filter(|path| path.is_file());
        let installed = || is_installed(QEMU).then(|| PathBuf::from(QEMU));
        let missing = || BootError::Missing(format!("no {QEMU}: install qemu-system-x86"));
        let qemu = set("CLARATEACH_OUTER_QEMU").or_else(unpacked).or_else(installed).ok_or_else(missing)?;
        Ok(Self { qemu, kernel: Kernel::generic()?, processors: 1, memory: 4096 })
    }

    /// Its processors. With more than one its kernel fails now and then (see [`TRIES`]), and one guest of two does not get further than two of one.
    #[must_use]
    pub fn processors(mut self, processors: u32) -> Self {
        self.processors = processors;
        self
    }

    /// Its memory in MiB.
    #[must_use]
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// Runs a program in it until it ends: with the arguments, variables and folder of this command, and the variables that tests are told things
    /// by. Each line is told as it comes. When the kernel below it fails, that is told, and the program is started anew in a new guest, a few times.
    ///
    /// # Errors
    /// When there is no QEMU, it fails, the guest ends before the program, or either is still there after `limit`; it is killed then.
    pub fn run(
        &self,
        program: &Command,
        limit: Duration,
        mut tell: impl FnMut(&str),
    ) -> Result<OuterRun, BootError> {
        for _ in 1..TRIES {
            match self.once(program, limit, &mut tell) {
                Err(BootError::Ended { console, stands_still, .. })
                    if stands_still || has_failed(&console) =>
                {
                    tell(&format!("{}, once more in a new one:", how(stands_still)));
                    console.tail().lines().for_each(&mut tell);
                }
                ended => return ended,
            }
        }
        self.once(program, limit, &mut tell)
    }

    fn once(
        &self,
        program: &Command,
        limit: Duration,
        tell: &mut impl FnMut(&str),
    ) -> Result<OuterRun, BootError> {
        let folder = tempfile::tempdir().map_err(BootError::io(std::env::temp_dir()))?;
        let output = folder.path().join("output");
        let source = self.kernel.source();
        let modules = source.canonicalize().map_err(BootError::io(source))?.join("lib/modules");
        let script = BEGIN.replace("MODULES", &quoted(modules.as_os_str()));
        let mut archive = Initramfs::handing_over(&self.kernel, &MODULES, &script, "/run/outer/start")?;
        archive.file("command", 0o755, command_line(program).as_bytes())?;
        archive.file("start", 0o755, START.replace("FOR_GUESTS", FOR_GUESTS).as_bytes())?;
        let started = Instant::now();
        let mut guest = Started::of(folder, &archive.finish(), |first_root, console| {
            self.command(first_root, console, &output)
        })?;
        let mut lines = Lines::new(output);
        let (mut work, mut worked) = (None, Instant::now());
        let console = loop {
            let has_ended = guest.has_ended()?;
            lines.read(tell)?;
            let console = guest.console();
            let now = guest.work_of_processors();
            if now != work {
                (work, worked) = (now, Instant::now());
            }
            let stands_still = worked.elapsed() > STILL;
            if !has_ended && (stands_still || has_failed(&console)) {
                // It may go on without the processor that failed, on which programs wait.
                return Err(BootError::Ended { console, said: lines.said, stands_still });
            }
            if has_ended || started.elapsed() > limit {
                break guest.wait(Duration::ZERO)?;
            }
            pause();
        };
        let number =
            |prefix: &str| console.after(prefix).next().and_then(|text| text.trim().parse::<f64>().ok());
        match (number("outer: exit "), number("outer: ready ")) {
            (Some(code), Some(ready)) => Ok(OuterRun {
                code: code as i32,
                said: lines.said,
                ready: Duration::from_secs_f64(ready),
                console,
            }),
            _ => Err(BootError::Ended { console, said: lines.said, stands_still: false }),
        }
    }

    fn command(&self, first_root: &Path, console: &Path, output: &Path) -> Command {
        let mut qemu = Command::new(&self.qemu);
        qemu.args(["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,+svm,la57=off"]);
        qemu.args(["-smp", &self.processors.to_string()]);
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        let arguments = clock::ticks_per_ms()
            .map_or_else(|| ARGUMENTS.to_owned(), |ticks| format!("{ARGUMENTS} tsc_early_khz={ticks}"));
        qemu.args(["-m", &self.memory.to_string(), "-append", &arguments]);
        qemu.arg("-kernel").arg(self.kernel.image()).arg("-initrd").arg(first_root);
        for file in [console, output] {
            qemu.args(["-serial", &format!("file:{}", option(file))]);
        }
        qemu.args(["-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"]);
        qemu.args(["-device", "virtio-9p-pci,fsdev=root,mount_tag=root"]);
        qemu
    }
}

/// Of a guest that failed by itself.
fn how(stands_still: bool) -> &'static str {
    if stands_still { "the outer guest stands still" } else { "the outer guest's kernel failed" }
}

/// Whether the guest's kernel failed by itself.
fn has_failed(console: &Console) -> bool {
    FAILED.iter().any(|words| console.text().contains(words))
}

/// What is said in a file that grows, line by line.
struct Lines {
    path: PathBuf,
    file: Option<File>,
    bytes: Vec<u8>,
    said: String,
}

impl Lines {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None, bytes: Vec::new(), said: String::new() }
    }

    fn read(&mut self, tell: &mut impl FnMut(&str)) -> Result<(), BootError> {
        if self.file.is_none() {
            // QEMU makes it when it starts.
            self.file = File::open(&self.path).ok();
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.read_to_end(&mut self.bytes).map_err(BootError::io(&self.path))?;
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            tell(line.trim_end_matches('\n'));
            self.said.push_str(&line);
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "there is no runtime here")]
fn pause() {
    std::thread::sleep(LOOK);
}

/// A shell's script that becomes the program.
fn command_line(program: &Command) -> String {
    let mut script = String::from("#!/bin/sh\n");
    let passed =
        PASSED.iter().filter_map(|name| Some((OsStr::new(name).to_owned(), std::env::var_os(name)?)));
    let own = program.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    for (name, value) in passed.chain(own) {
        script.push_str(&format!("export {}={}\n", name.to_string_lossy(), quoted(&value)));
    }
    if let Some(folder) = program.get_current_dir() {
        script.push_str(&format!("cd {} || exit 126\n", quoted(folder.as_os_str())));
    }
    script.push_str("exec");
    for word in [program.get_program()].into_iter().chain(program.get_args()) {
        script.push(' ');
        script.push_str(&quoted(word));
    }
    script.push('\n');
    script
}

/// A word as a shell has it.
fn quoted(word: &OsStr) -> String {
    format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))
}

/// In the first root: this host's root, and memory over it.
const BEGIN: &str = r#"
mkdir /lower /memory
mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576,cache=loose,ro root /lower
mount -t tmpfs -o size=80% memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work overlay /mnt
mkdir -p /mnt/lib/modules
mount --bind /mnt/MODULES /mnt/lib/modules
mount -t tmpfs -o mode=755,size=80% run /mnt/run
mkdir /mnt/run/outer
mkdir -m 1777 /mnt/run/tmp
cp /command /start /bin/busybox /mnt/run/outer
[ -e /mnt/sbin/modprobe ] || cp /bin/busybox /mnt/sbin/modprobe
for folder in proc sys dev; do mount --move /$folder /mnt/$folder; done
mkdir /mnt/dev/pts /mnt/dev/shm
mount -t devpts devpts /mnt/dev/pts
mount -t tmpfs shm /mnt/dev/shm
mount -t cgroup2 cgroup2 /mnt/sys/fs/cgroup
"#;

/// In the new root, as the first process.
const START: &str = r#"#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb TMPDIR=/run/tmp
for module in FOR_GUESTS; do modprobe $module; done
# As udev does: a group that is nobody's.
chown 0:36 /dev/kvm
chmod 660 /dev/kvm
ip link set lo up
stty -F /dev/ttyS1 raw
echo "outer: ready $(cut -d' ' -f1 /proc/uptime)" >/dev/ttyS0
/run/outer/command </dev/null >/dev/ttyS1 2>&1
echo "outer: exit $?" >/dev/ttyS0
exec /run/outer/busybox poweroff -f
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_said_to_a_shell_as_it_is() {
        let mut program = Command::new("printf");
        program.args(["%s|", "it's", "a b", "", "$HOME"]).env("A_WORD", "1 '2'").current_dir("/");
        let script = command_line(&program);
        assert!(
            script.contains("export A_WORD='1 '\\''2'\\'''\ncd '/' || exit 126\nexec 'printf'"),
            "{script}"
        );
        let said = Command::new("sh").arg("-c").arg(&script).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout), "it's|a b||$HOME|");
    }

    #[test]
    fn a_kernel_that_failed_is_told_from_one_that_was_asked_too_much() {
        for (said, failed) in [
            ("[  193.872754] BUG: TASK stack guard page was hit at 000000008164d4d5", true),
            ("[  440.4] Kernel panic - not syncing: Fatal exception in interrupt", true),
            ("[  440.4] Kernel panic - not syncing: System is deadlocked on memory", false),
            ("outer: ready 4.25", false),
        ] {
            assert_eq!(has_failed(&Console::new(said.as_bytes())), failed, "{said}");
        }
    }

    #[test]
    fn lines_are_told_once_and_when_they_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        let mut lines = Lines::new(path.clone());
        let mut told = Vec::new();
        lines.read(&mut |line: &str| told.push(line.to_owned())).unwrap();
        for (content, wanted) in [("one\ntw", 1), ("one\ntwo\nthree\n", 3)] {
            std::fs::write(&path, content).unwrap();
            lines.read(&mut |line: &str| told.push(line.to_owned())).unwrap();
            assert_eq!(told.len(), wanted, "{told:?}");
        }
        assert_eq!(told, ["one", "two", "three"]);
        assert_eq!(lines.said, "one\ntwo\nthree\n");
    }
}
