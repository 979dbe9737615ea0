//! What the kernel's command line tells an agent of its machine.
//!
//! A machine of QEMU tells by itself what is what: its disks have serials that were chosen, and the link is a virtio-serial port with a name.
//! Firecracker has neither, so two words say it. The kernel passes over words with a dot that are no module's.
//!
//! ```text
//!   clarateach.disks=root,scratch,data    the serials of the disks vda, vdb, vdc: in the order in which they are attached
//!   clarateach.link=vsock:1024            the link is served on this port of the guest's vsock device
//! ```

use std::fmt;

/// The word of the disks.
const DISKS: &str = "clarateach.disks";
/// The word of the link.
const LINK: &str = "clarateach.link";
/// How a port of vsock begins.
const VSOCK: &str = "vsock:";
/// How many disks can be told: they have one letter each.
const MOST: usize = 26;

/// What the kernel's command line tells an agent of its machine. Written by [`Display`](fmt::Display), with a space between two words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootWords {
    /// The serials of the disks in the order in which they are attached; nothing: each disk tells its own.
    pub disks: Option<Vec<String>>,
    /// The port of the vsock device on which the link is served; nothing: the link is the virtio-serial port [`PORT`](crate::PORT).
    pub vsock_port: Option<u32>,
}

/// A word of ours with a value that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} on the kernel's command line is not {wanted}")]
pub struct BadBootWord {
    word: String,
    wanted: &'static str,
}

impl BootWords {
    /// Reads a command line (`/proc/cmdline`). Of a word that is there twice the last one counts, as with the kernel's own.
    ///
    /// # Errors
    /// When a word of ours has a value that is none.
    pub fn parse(command_line: &str) -> Result<Self, BadBootWord> {
        let mut words = Self::default();
        for word in command_line.split_ascii_whitespace() {
            let bad = |wanted| BadBootWord { word: word.to_owned(), wanted };
            match word.split_once('=') {
                Some((DISKS, value)) => {
                    words.disks = Some(disks(value).ok_or_else(|| {
                        bad("clarateach.disks= and 1 to 26 different serials with a comma between two")
                    })?);
                }
                Some((LINK, value)) => {
                    let port = value.strip_prefix(VSOCK).and_then(|port| port.parse().ok());
                    words.vsock_port = Some(port.ok_or_else(|| bad("clarateach.link=vsock: and a port"))?);
                }
                _ => {}
            }
        }
        Ok(words)
    }
}

fn disks(value: &str) -> Option<Vec<String>> {
    let serials: Vec<_> = value.split(',').map(str::to_owned).collect();
    let mut different = serials.clone();
    different.sort_unstable();
    different.dedup();
    let is_good = different.len() == serials.len() && serials.len() <= MOST;
    (is_good && serials.iter().all(|serial| !serial.is_empty())).then_some(serials)
}

impl fmt::Display for BootWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(disks) = &self.disks {
            write!(f, "{DISKS}={}", disks.join(","))?;
        }
        if let Some(port) = self.vsock_port {
            let between = if self.disks.is_some() { " " } else { "" };
            write!(f, "{between}{LINK}={VSOCK}{port}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_words_are_passed_over() {
        let line = "console=ttyS0 reboot=k clarateach.disks=root,scratch clarateach.link=vsock:1024 quiet\n";
        let words = BootWords::parse(line).unwrap();
        assert_eq!(words.disks.as_deref(), Some(&["root".to_owned(), "scratch".to_owned()][..]));
        assert_eq!(words.vsock_port, Some(1024));
        assert_eq!(words.to_string(), "clarateach.disks=root,scratch clarateach.link=vsock:1024");
        for line in ["", "console=ttyS0 root=/dev/vda clarateach.disk=x xclarateach.link=y clarateach.link"] {
            assert_eq!(BootWords::parse(line).unwrap(), BootWords::default(), "{line}");
        }
        let twice = BootWords::parse("clarateach.link=vsock:1 clarateach.link=vsock:2").unwrap();
        assert_eq!(twice.to_string(), "clarateach.link=vsock:2");
    }

    #[test]
    fn a_word_of_ours_that_says_nothing_is_told() {
        let many: Vec<_> = (0..27).map(|number| number.to_string()).collect();
        let many = format!("clarateach.disks={}", many.join(","));
        for word in ["clarateach.disks=", "clarateach.disks=a,,b", "clarateach.disks=a,b,a", &many] {
            let why = BootWords::parse(&format!("quiet {word}")).unwrap_err().to_string();
            assert!(why.contains(word) && why.contains("1 to 26 different serials"), "{why}");
        }
        for word in ["clarateach.link=", "clarateach.link=1024", "clarateach.link=vsock:4294967296"] {
            let why = BootWords::parse(word).unwrap_err().to_string();
            assert_eq!(
                why,
                format!("{word:?} on the kernel's command line is not clarateach.link=vsock: and a port")
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            disks in proptest::option::of(proptest::collection::btree_set("[A-Za-z0-9_-]{1,20}", 1..=26)),
            vsock_port in proptest::option::of(any::<u32>()),
        ) {
            let words = BootWords { disks: disks.map(|disks| disks.into_iter().collect()), vsock_port };
            prop_assert_eq!(BootWords::parse(&format!("quiet {words} panic=-1")).unwrap(), words);
        }

        #[test]
        fn anything_can_be_read(line in ".{0,200}") {
            // What is not understood is an error, and nothing worse.
            drop(BootWords::parse(&line));
            drop(BootWords::parse(&format!("clarateach.disks={line}")));
        }
    }
}
