//! Talks with nftables: a batch of changes, or a list.
//!
//! What belongs to one change is one datagram, and the kernel makes all of it or none (`net/netfilter/nfnetlink.c`):
//!
//! ```text
//!   BATCH_BEGIN │ NEWSETELEM … │ DELSETELEM … │ BATCH_END        one acknowledgement or error for each in the middle
//! ```
//!
//! The kernel does the work within `sendmsg(2)`, so its answers are there to be read when that returns; nothing waits.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::nftables::NfTablesMessage;
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

/// `NFNL_SUBSYS_NFTABLES` of `linux/netfilter/nfnetlink.h`: whose batch it is.
const NFTABLES: u16 = 10;

/// `MSG_DONTWAIT` of `bits/socket.h`: the same on every architecture of Linux that Rust runs on.
const DONT_WAIT: i32 = 0x40;

/// One change: of which family, with which flags.
pub(super) type Message = (NetfilterProtoFamily, u16, NfTablesMessage);

/// A socket, and the number of what was sent last.
#[derive(Debug)]
pub(super) struct Channel {
    socket: Socket,
    sequence: u32,
}

impl Channel {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Makes all of these changes, or none.
    pub(super) fn commit(&mut self, messages: Vec<Message>) -> io::Result<()> {
        let control = |inner| {
            NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFTABLES), inner)
        };
        let mut datagram = Vec::new();
        let first = self.next();
        write(&mut datagram, first, 0, control(ControlMessage::BatchBegin));
        for (family, flags, message) in messages {
            let sequence = self.next();
            let message = NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message);
            write(&mut datagram, sequence, NLM_F_ACK | flags, message);
        }
        let last = self.next();
        write(&mut datagram, last, 0, control(ControlMessage::BatchEnd));
        self.socket.send(&datagram, 0)?;
        let mut outcome = Ok(());
        self.answers(|message| {
            let ours = message.header.sequence_number.wrapping_sub(first) <= last.wrapping_sub(first);
            if let NetlinkPayload::Error(answer) = &message.payload
                && ours
                && answer.code.is_some()
                && outcome.is_ok()
            {
                outcome = Err(answer.to_io());
            }
        })?;
        outcome
    }

    /// Has each entry of a list told. Whether nobody changed it meanwhile; there is none of what is not there.
    pub(super) fn list(
        &mut self,
        family: NetfilterProtoFamily,
        question: NfTablesMessage,
        mut each: impl FnMut(&NetfilterMessage),
    ) -> io::Result<bool> {
        let message = NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), question);
        let sequence = self.next();
        let mut datagram = Vec::new();
        write(&mut datagram, sequence, NLM_F_DUMP, message);
        self.socket.send(&datagram, 0)?;
        let (mut outcome, mut whole) = (Ok(()), true);
        self.answers(|message| {
            if message.header.sequence_number != sequence {
                return;
            }
            whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
            match &message.payload {
                NetlinkPayload::Error(answer) if answer.code.is_some() => outcome = Err(answer.to_io()),
                NetlinkPayload::InnerMessage(message) => each(message),
                _ => {}
            }
        })?;
        absent_is_fine(outcome)?;
        Ok(whole)
    }

    /// Reads everything that the kernel has answered.
    fn answers(&self, mut each: impl FnMut(&NetlinkMessage<NetfilterMessage>)) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(1 << 16);
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, DONT_WAIT) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let mut rest = &buffer[..];
            while rest.len() >= 16 {
                let message =
                    NetlinkMessage::<NetfilterMessage>::deserialize(rest).map_err(io::Error::other)?;
                each(&message);
                let length = usize::try_from(message.header.length).unwrap_or(usize::MAX).next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }
}

fn write(datagram: &mut Vec<u8>, sequence: u32, flags: u16, message: NetfilterMessage) {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let start = datagram.len();
    datagram.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut datagram[start..]);
}

/// What is not there need not be taken away.
pub(super) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
