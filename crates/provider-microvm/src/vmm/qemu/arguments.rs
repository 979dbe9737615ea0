//! QEMU's command line.

use std::path::{Path, PathBuf};

use crate::vmm::keeper::{Argument, Open};
use crate::vmm::{Drive, MacAddress, VmSpec, folder};

/// The name of the serial port over which the agent speaks (`/dev/virtio-ports/` in a guest that makes such links).
pub const AGENT_PORT: &str = "clarateach.agent";

/// The name that QMP has for the agent's port.
pub(in crate::vmm) const AGENT: &str = "agent";

/// How the guest's instructions are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acceleration {
    Kvm,
    /// Translated, with a buffer of so many MiB for what is translated.
    Tcg {
        buffer_mib: u32,
    },
}

/// Where the guest's memory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// The VM's own.
    Own,
    /// In a file, which has all that the guest writes.
    In(PathBuf),
    /// What the guest does not write is that of a file, which stays as it is. QEMU waits for the rest of the machine's state.
    Of(PathBuf),
}

/// A command line and what has to be open for it.
#[derive(Debug, Default)]
pub(super) struct CommandLine {
    pub(super) arguments: Vec<Argument>,
    pub(super) descriptors: Vec<Open>,
}

impl CommandLine {
    /// The command line of a VM.
    pub(super) fn of(spec: &VmSpec, acceleration: Acceleration, memory: &Memory) -> Self {
        let mut line = Self::default();
        line.machine(spec, acceleration);
        line.memory(spec.memory_mib, memory);
        line.kernel(spec, acceleration);
        // Standard output, which the keeper reads. The guest may write what it likes, but nobody writes to it.
        line.pair("-chardev", "stdio,id=console,signal=off");
        line.pair("-serial", "chardev:console");
        for drive in &spec.drives {
            line.drive(drive);
        }
        for (number, nic) in spec.nics.iter().enumerate() {
            let tap = Open::Tap { name: nic.tap.as_str().to_owned() };
            line.with_open("-netdev", &format!("tap,id=net{number},vhost=off,fd="), tap, "");
            line.pair(
                "-device",
                &format!("virtio-net-device,id=nic{number},netdev=net{number},mac={}", nic.mac),
            );
        }
        line.pair("-device", "virtio-serial-device,id=ports,max_ports=2");
        line.listener(AGENT, folder::AGENT);
        let port = format!("virtserialport,id={AGENT},bus=ports.0,nr=1,chardev={AGENT},name={AGENT_PORT}");
        line.pair("-device", &port);
        line.pair("-object", "rng-builtin,id=entropy");
        line.pair("-device", "virtio-rng-device,rng=entropy");
        line.listener("qmp", folder::QMP);
        line.pair("-mon", "chardev=qmp,mode=control");
        line
    }

    /// What of it is the same for all seats that can be started from one snapshot.
    pub(super) fn machine_of(spec: &VmSpec, acceleration: Acceleration) -> Vec<String> {
        let mut nobody = VmSpec { seat: String::new(), ..spec.clone() };
        nobody.nics.iter_mut().for_each(|nic| nic.mac = MacAddress([0; 6]));
        let word = |argument| match argument {
            Argument::Plain(text) => text,
            Argument::Descriptor(before, _, behind) => format!("{before}#{behind}"),
        };
        Self::of(&nobody, acceleration, &Memory::Own).arguments.into_iter().map(word).collect()
    }

    fn machine(&mut self, spec: &VmSpec, acceleration: Acceleration) {
        self.pair("-name", &format!("guest={},debug-threads=on", value(&spec.seat)));
        self.pair("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
        // The guest's memory is neither shared with that of others, which tells them of it, nor in a core dump.
        let machine =
            "microvm,pit=on,pic=on,rtc=on,acpi=on,memory-backend=memory,mem-merge=off,dump-guest-core=off";
        self.pair("-M", machine);
        match acceleration {
            Acceleration::Kvm => {
                self.pair("-accel", "kvm");
                self.pair("-cpu", "host");
            }
            Acceleration::Tcg { buffer_mib } => {
                self.pair("-accel", &format!("tcg,tb-size={buffer_mib}"));
                self.pair("-cpu", "max");
            }
        }
        self.pair("-smp", &spec.vcpus.to_string());
        self.pair("-m", &format!("{}M", spec.memory_mib));
        self.pair("-display", "none");
        for word in ["-nodefaults", "-no-user-config", "-no-reboot", "-S"] {
            self.plain(word);
        }
    }

    fn memory(&mut self, mib: u32, memory: &Memory) {
        let (path, share, write) = match memory {
            Memory::Own => return self.pair("-object", &format!("memory-backend-ram,id=memory,size={mib}M")),
            Memory::In(path) => (path, "on", true),
            Memory::Of(path) => (path, "off", false),
        };
        let backend =
            format!("memory-backend-file,id=memory,size={mib}M,share={share},mem-path=/proc/self/fd/");
        self.with_open("-object", &backend, file(path, write), "");
        if !write {
            self.pair("-incoming", "defer");
        }
    }

    fn kernel(&mut self, spec: &VmSpec, acceleration: Acceleration) {
        for (option, path) in [("-kernel", &spec.kernel), ("-initrd", &spec.initramfs)] {
            self.with_open(option, "/proc/self/fd/", file(path, false), "");
        }
        self.pair("-append", &kernel_command_line(&spec.command_line, acceleration));
    }

    fn drive(&mut self, drive: &Drive) {
        // A set of one descriptor, numbered as the descriptor is.
        let (number, serial) = (self.descriptors.len(), drive.serial.as_str());
        let read_only = if drive.read_only { "on" } else { "off" };
        self.with_open("-add-fd", &format!("set={number},fd="), file(&drive.path, !drive.read_only), "");
        self.pair(
            "-blockdev",
            &format!(
                "driver=raw,node-name=node-{serial},read-only={read_only},discard=unmap,\
                 file.driver=file,file.filename=/dev/fdset/{number},file.discard=unmap"
            ),
        );
        self.pair(
            "-device",
            &format!("virtio-blk-device,id={},drive=node-{serial},serial={serial}", drive_id(serial)),
        );
    }

    fn listener(&mut self, id: &str, name: &str) {
        let listener = Open::Listener { name: name.to_owned() };
        self.with_open("-chardev", &format!("socket,id={id},server=on,wait=off,fd="), listener, "");
    }

    fn with_open(&mut self, option: &str, before: &str, open: Open, behind: &str) {
        self.plain(option);
        self.arguments.push(Argument::Descriptor(before.into(), self.descriptors.len(), behind.into()));
        self.descriptors.push(open);
    }

    fn pair(&mut self, option: &str, value: &str) {
        self.plain(option);
        self.plain(value);
    }

    fn plain(&mut self, word: &str) {
        self.arguments.push(Argument::Plain(word.to_owned()));
    }
}

/// The name that QMP has for a drive.
pub(in crate::vmm) fn drive_id(serial: &str) -> String {
    format!("disk-{serial}")
}

/// What a guest needs to be told on this machine: the serial line; to end by a triple fault, which is the one way that microvm has; and under TCG
/// the outcome of the clock's calibration, which hangs there, and that its clock is not to be judged by the ticks that a busy host lets through:
/// a guest that takes ticks for its clock stands still as soon as it has nothing to do (`tsc=reliable`, kernel-parameters.txt).
fn kernel_command_line(more: &str, acceleration: Acceleration) -> String {
    let mut line = "console=ttyS0 reboot=t panic=-1".to_owned();
    if acceleration != Acceleration::Kvm {
        line.push_str(" tsc_early_khz=2000000 lpj=4000000 tsc=reliable");
    }
    if !more.trim().is_empty() {
        line.push(' ');
        line.push_str(more.trim());
    }
    line
}

fn file(path: &Path, write: bool) -> Open {
    Open::File { path: path.to_owned(), write }
}

/// Text as the value of one of QEMU's options, where a comma is written twice.
fn value(text: &str) -> String {
    text.replace(',', ",,")
}

#[cfg(test)]
mod tests;
