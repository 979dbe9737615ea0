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
    DefaultNla, Emitable as _, NLA_F_NESTED, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR,
    NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::nftables::{
    DataAttribute, ExpressionAttribute, Expressions, ListAttribute, NfTablesMessage, SetElementAttribute,
    SetElementList, SetElementMessage, TableAttribute, TableMessage,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use super::element::{Element, Set};
use crate::bandwidth::BitRate;
use crate::names::IfName;

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

    /// Enters a TAP device with its limit, in the place of the one that it had. Bytes are counted without Ethernet headers.
    pub(crate) async fn limit(&self, table: &str, tap: IfName, rate: BitRate) -> io::Result<()> {
        let element = [Element::Limited(tap)];
        let with_limit = || {
            let mut message = element_messages(table, &element, true);
            for (_, _, message) in &mut message {
                add_limit(message, rate);
            }
            message
        };
        // An element that is there stays as it is when it is added: so it is deleted, which it can be in any case once it is added.
        let mut batch = with_limit();
        batch.extend(element_messages(table, &element, false));
        batch.extend(with_limit());
        self.commit(batch).await
    }

    /// Takes a TAP device's limit away. It is looked for before: a batch that fails has the kernel wait until no packet is on its way
    /// through the rules any more (`__nf_tables_abort` of `net/netfilter/nf_tables_api.c`), which takes it some milliseconds.
    pub(crate) async fn unlimit(&self, table: &str, tap: IfName) -> io::Result<()> {
        let element = Element::Limited(tap);
        if !self.elements_of(table, &[Set::Limited]).await?.contains(&element) {
            return Ok(());
        }
        absent_is_fine(self.commit(element_messages(table, &[element], false)).await)
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
        self.elements_of(table, &Set::ALL).await
    }

    /// What may come from each TAP device; nothing where there is no table.
    pub(crate) async fn guests(&self, table: &str) -> io::Result<Vec<Element>> {
        self.elements_of(table, &[Set::Guests]).await
    }

    /// What is known of seats' addresses; nothing where there is no table.
    pub(crate) async fn addresses(&self, table: &str) -> io::Result<Vec<Element>> {
        self.elements_of(table, &[Set::Guests, Set::Seats]).await
    }

    async fn elements_of(&self, table: &str, sets: &'static [Set]) -> io::Result<Vec<Element>> {
        let (channel, table) = (Arc::clone(&self.socket), table.to_owned());
        blocking(move || {
            let mut channel = channel.lock().unwrap_or_else(PoisonError::into_inner);
            let mut elements = Vec::new();
            for &set in sets {
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

/// `NFTA_SET_ELEM_EXPR` and the attributes of a limit of `linux/netfilter/nf_tables.h`.
const EXPRESSION: u16 = 7;
const LIMIT_RATE: u16 = 1;
const LIMIT_UNIT: u16 = 2;
const LIMIT_BURST: u16 = 3;
const LIMIT_TYPE: u16 = 4;
const LIMIT_FLAGS: u16 = 5;

/// Gives each element of a message this limit: the rule that looks it up goes on only where more has come, which is
/// `limit rate over … bytes/second` of nft(8).
fn add_limit(message: &mut NfTablesMessage, rate: BitRate) {
    let NfTablesMessage::NewSetElement(SetElementMessage { attributes }) = message else { return };
    // Numbers are big-endian here.
    let long = |kind, number: u64| DefaultNla::new(kind, number.to_be_bytes().to_vec());
    let short = |kind, number: u32| DefaultNla::new(kind, number.to_be_bytes().to_vec());
    let limit = vec![
        long(LIMIT_RATE, rate.bytes()),
        // Seconds. The bucket holds as much as comes in one of them (`nft_limit_init` of `net/netfilter/nft_limit.c`), and `LIMIT_BURST`.
        long(LIMIT_UNIT, 1),
        short(LIMIT_BURST, 0),
        // `NFT_LIMIT_PKT_BYTES` and `NFT_LIMIT_F_INV`.
        short(LIMIT_TYPE, 1),
        short(LIMIT_FLAGS, 1),
    ];
    let name = "limit".to_owned();
    let limit = [
        ExpressionAttribute::Name(name.clone()),
        ExpressionAttribute::Data(Expressions::Other { expression_type: name, attributes: limit }),
    ];
    let mut bytes = vec![0; limit.as_slice().buffer_len()];
    limit.as_slice().emit(&mut bytes);
    for attribute in attributes {
        let SetElementList::Elements(elements) = attribute else { continue };
        for element in elements {
            if let ListAttribute::Element(attributes) = element {
                let nested = DefaultNla::new(EXPRESSION | NLA_F_NESTED, bytes.clone());
                attributes.push(SetElementAttribute::Other(nested));
            }
        }
    }
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
