//! Changes and lists elements of sets over netlink, without a process.
//!
//! What belongs to one change is one datagram, and the kernel makes all of it or none (`net/netfilter/nfnetlink.c`):
//!
//! ```text
//!   BATCH_BEGIN │ NEWSETELEM … │ DELSETELEM … │ BATCH_END        one acknowledgement or error for each in the middle
//! ```
//!
//! The kernel does the work within `sendmsg(2)`, so its answers are there to be read when that returns; nothing waits.
//! Adding an element that is there changes nothing. Deleting one that is not there would fail the batch, so each is added just before.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::nftables::{
    DataAttribute, ListAttribute, NfTablesMessage, SetElementAttribute, SetElementList, SetElementMessage,
    TableAttribute, TableMessage,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use super::element::{Element, Set};

/// `NFNL_SUBSYS_NFTABLES` of `linux/netfilter/nfnetlink.h`: whose batch it is.
const NFTABLES: u16 = 10;

/// How many elements a message holds: an attribute's length has 16 bits, and an element takes at most 44 bytes.
const AT_ONCE: usize = 1000;

/// How often a list is read again that changed while it was read.
const TRIES: usize = 20;

/// `MSG_DONTWAIT` of `bits/socket.h`: the same on every architecture of Linux that Rust runs on.
const DONT_WAIT: i32 = 0x40;

/// A socket to nftables, in the network namespace in which it was opened.
#[derive(Clone, Debug)]
pub(crate) struct Nftables {
    socket: Arc<Mutex<Channel>>,
}

#[derive(Debug)]
struct Channel {
    socket: Socket,
    sequence: u32,
}

impl Nftables {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket: Arc::new(Mutex::new(Channel { socket, sequence: 0 })) })
    }

    /// Adds these elements, all or none.
    pub(crate) async fn add(&self, table: &str, elements: &[Element]) -> io::Result<()> {
        self.commit(element_messages(table, elements, true)).await
    }

    /// Deletes these elements, all or none; those that are not there are no error, nor is a missing table.
    pub(crate) async fn delete(&self, table: &str, elements: &[Element]) -> io::Result<()> {
        let mut batch = element_messages(table, elements, true);
        batch.extend(element_messages(table, elements, false));
        absent_is_fine(self.commit(batch).await)
    }

    /// Deletes both tables with all that is in them.
    pub(crate) async fn delete_tables(&self, table: &str) -> io::Result<()> {
        let batch = [NetfilterProtoFamily::Bridge, NetfilterProtoFamily::Inet]
            .into_iter()
            .flat_map(|family| {
                let named = || TableMessage { attributes: vec![TableAttribute::Name(table.to_owned())] };
                [
                    (family, NLM_F_CREATE, NfTablesMessage::NewTable(named())),
                    (family, 0, NfTablesMessage::DeleteTable(named())),
                ]
            })
            .collect();
        self.commit(batch).await
    }

    /// All elements of all sets; none where there is no table.
    pub(crate) async fn elements(&self, table: &str) -> io::Result<Vec<Element>> {
        let (channel, table) = (Arc::clone(&self.socket), table.to_owned());
        blocking(move || {
            let mut channel = channel.lock().unwrap_or_else(PoisonError::into_inner);
            let mut elements = Vec::new();
            for set in Set::ALL {
                let mut tries = 0..TRIES;
                let list = loop {
                    if let Some(list) = channel.dump(&table, set)? {
                        break list;
                    }
                    if tries.next().is_none() {
                        return Err(io::Error::other(format!("the set {} changes all the time", set.name())));
                    }
                };
                elements.extend(list);
            }
            Ok(elements)
        })
        .await
    }

    async fn commit(&self, messages: Vec<Message>) -> io::Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let channel = Arc::clone(&self.socket);
        // Other programs may hold the kernel's lock for a while.
        blocking(move || channel.lock().unwrap_or_else(PoisonError::into_inner).commit(messages)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

type Message = (NetfilterProtoFamily, u16, NfTablesMessage);

fn family(set: Set) -> NetfilterProtoFamily {
    if set.is_of_bridge() { NetfilterProtoFamily::Bridge } else { NetfilterProtoFamily::Inet }
}

/// One message for each set, or several for many elements.
fn element_messages(table: &str, elements: &[Element], add: bool) -> Vec<Message> {
    let mut messages = Vec::new();
    for set in Set::ALL {
        let keys: Vec<_> = elements.iter().filter(|element| element.set() == set).map(Element::key).collect();
        for keys in keys.chunks(AT_ONCE) {
            let of_key = |key: &Vec<u8>| SetElementAttribute::Key(DataAttribute::Value(key.clone()));
            let elements = keys.iter().map(|key| ListAttribute::Element(vec![of_key(key)])).collect();
            let message = SetElementMessage {
                attributes: vec![
                    SetElementList::Table(table.to_owned()),
                    SetElementList::Set(set.name().to_owned()),
                    SetElementList::Elements(elements),
                ],
            };
            messages.push(if add {
                (family(set), NLM_F_CREATE, NfTablesMessage::NewSetElement(message))
            } else {
                (family(set), 0, NfTablesMessage::DeleteSetElement(message))
            });
        }
    }
    messages
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl Channel {
    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn commit(&mut self, messages: Vec<Message>) -> io::Result<()> {
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

    /// `None` when somebody changed the set in between.
    fn dump(&mut self, table: &str, set: Set) -> io::Result<Option<Vec<Element>>> {
        let message = SetElementMessage {
            attributes: vec![
                SetElementList::Table(table.to_owned()),
                SetElementList::Set(set.name().to_owned()),
            ],
        };
        let message = NetfilterMessage::new(
            NetfilterHeader::new(family(set), 0, 0),
            NfTablesMessage::GetSetElement(message),
        );
        let sequence = self.next();
        let mut datagram = Vec::new();
        write(&mut datagram, sequence, NLM_F_DUMP, message);
        self.socket.send(&datagram, 0)?;
        let mut keys = Vec::new();
        let (mut outcome, mut whole) = (Ok(()), true);
        self.answers(|message| {
            if message.header.sequence_number != sequence {
                return;
            }
            whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
            match &message.payload {
                NetlinkPayload::Error(answer) if answer.code.is_some() => outcome = Err(answer.to_io()),
                NetlinkPayload::InnerMessage(message) => keys.extend(keys_of(message)),
                _ => {}
            }
        })?;
        absent_is_fine(outcome)?;
        Ok(whole.then(|| keys.iter().filter_map(|key| set.element(key)).collect()))
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

fn keys_of(message: &NetfilterMessage) -> Vec<Vec<u8>> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewSetElement(message)) = &message.inner else {
        return Vec::new();
    };
    let elements = message.attributes.iter().filter_map(|attribute| match attribute {
        SetElementList::Elements(elements) => Some(elements),
        _ => None,
    });
    let attributes = elements.flatten().filter_map(|element| match element {
        ListAttribute::Element(attributes) => Some(attributes),
        _ => None,
    });
    let keys = attributes.flatten().filter_map(|attribute| match attribute {
        SetElementAttribute::Key(DataAttribute::Value(key)) => Some(key.clone()),
        _ => None,
    });
    keys.collect()
}
