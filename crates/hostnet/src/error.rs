//! What can go wrong with the host's network.

use std::fmt;
use std::io;

use ipnet::Ipv4Net;

/// Why the network of a workshop or a seat is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// What was asked for cannot be.
    #[error("{for_whom}: {detail}")]
    Input {
        /// For whom.
        for_whom: String,
        /// What is wrong with it.
        detail: String,
    },
    /// An interface with the name of ours is somebody else's; it is left alone.
    #[error(
        "{for_whom}: there is an interface {interface} that is not ours ({found}); remove it (ip link del {interface}) if nobody \
         needs it, or rename it"
    )]
    Foreign {
        /// For whom.
        for_whom: String,
        /// Its name.
        interface: String,
        /// How it is told from ours.
        found: String,
    },
    /// The subnet shares addresses with a network that the host already reaches.
    #[error(
        "{for_whom}: the subnet {subnet} collides with {with}; choose another address pool, or remove that"
    )]
    Collision {
        /// For whom.
        for_whom: String,
        /// The subnet.
        subnet: Ipv4Net,
        /// What it collides with.
        with: String,
    },
    /// The kernel refused.
    #[error("{doing}: {source}{}", Hint(source))]
    Kernel {
        /// What was tried, and for whom.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel cannot hold seats to a limit that is configured.
    #[error(
        "{for_whom}: this kernel cannot limit {what}: it has no {module}; load that module (modprobe {module}), use a kernel that has it, \
         or take the limit away"
    )]
    Unsupported {
        /// For whom.
        for_whom: String,
        /// What was to be limited.
        what: &'static str,
        /// What the kernel lacks.
        module: &'static str,
    },
    /// The packet filter's tables cannot be made.
    #[error("the packet filter's tables cannot be made: {0}{hint}", hint = NftHint(.0))]
    Nft(String),
    /// Several things went wrong while cleaning up; the rest is done.
    #[error("{}", Several(.0))]
    Several(Vec<Self>),
}

const CAPABILITY: &str = "; it needs the capability CAP_NET_ADMIN (root has it)";

struct Hint<'a>(&'a io::Error);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.kind() == io::ErrorKind::PermissionDenied {
            return f.write_str(CAPABILITY);
        }
        Ok(())
    }
}

/// What nft says of the kernel's refusal has no number.
struct NftHint<'a>(&'a str);

impl fmt::Display for NftHint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains("Operation not permitted") {
            return f.write_str(CAPABILITY);
        }
        Ok(())
    }
}

struct Several<'a>(&'a [NetError]);

impl fmt::Display for Several<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if number > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl NetError {
    pub(crate) fn kernel(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Kernel { doing: doing.into(), source }
    }

    /// One error of all that were collected; none is success.
    pub(crate) fn collected(mut errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }
}
