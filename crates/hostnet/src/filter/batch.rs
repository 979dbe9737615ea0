//! Changes and lists elements of sets over netlink, without a process.
//!
//! Adding an element that is there changes nothing. Deleting one that is not there would fail the batch, so each is added just before.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use netlink_packet_core::{DefaultNla, Emitable as _, NLA_F_NESTED, NLM_F_CREATE};
use netlink_packet_netfilter::nftables::{
    DataAttribute, ExpressionAttribute, Expressions, ListAttribute, NfTablesMessage, SetElementAttribute,
    SetElementList, SetElementMessage, TableAttribute, TableMessage,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};

use super::channel::{Channel, Message, absent_is_fine};
use super::element::{Element, Set};
use super::rules::Rules;
use crate::bandwidth::BitRate;
use crate::names::IfName;

/// How many elements a message holds: an attribute's length has 16 bits, and an element takes at most 44 bytes.
const AT_ONCE: usize = 1000;

/// How often a list is read again that changed while it was read.
const TRIES: usize = 20;

/// A socket to nftables, in the network namespace in which it was opened.
#[derive(Clone, Debug)]
pub(crate) struct Nftables {
    socket: Arc<Mutex<Channel>>,
}

impl Nftables {
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { socket: Arc::new(Mutex::new(Channel::open()?)) })
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

    /// The rules of both tables; none where there is no table.
    pub(crate) async fn rules(&self, table: &str) -> io::Result<Rules> {
        let table = table.to_owned();
        self.with(move |channel| {
            until_whole("the rules of the packet filter", || {
                let mut rules = Rules::default();
                for family in [NetfilterProtoFamily::Bridge, NetfilterProtoFamily::Inet] {
                    if !channel.list(family, Rules::question(&table), |message| rules.add(message))? {
                        return Ok(None);
                    }
                }
                Ok(Some(rules))
            })
        })
        .await
    }

    async fn elements_of(&self, table: &str, sets: &'static [Set]) -> io::Result<Vec<Element>> {
        let table = table.to_owned();
        self.with(move |channel| {
            let mut elements = Vec::new();
            for &set in sets {
                elements.extend(until_whole(&format!("the set {}", set.name()), || {
                    let mut keys = Vec::new();
                    let whole = channel.list(family(set), question(&table, set), |message| {
                        keys.extend(keys_of(message));
                    })?;
                    Ok(whole.then(|| keys.iter().filter_map(|key| set.element(key)).collect::<Vec<_>>()))
                })?);
            }
            Ok(elements)
        })
        .await
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Channel) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let channel = Arc::clone(&self.socket);
        blocking(move || work(&mut channel.lock().unwrap_or_else(PoisonError::into_inner))).await
    }

    async fn commit(&self, messages: Vec<Message>) -> io::Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        // Other programs may hold the kernel's lock for a while.
        self.with(move |channel| channel.commit(messages)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Reads a list until nobody has changed it in between.
fn until_whole<T>(what: &str, mut read: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    for _ in 0..TRIES {
        if let Some(list) = read()? {
            return Ok(list);
        }
    }
    Err(io::Error::other(format!("{what} changes all the time")))
}

fn family(set: Set) -> NetfilterProtoFamily {
    if set.is_of_bridge() { NetfilterProtoFamily::Bridge } else { NetfilterProtoFamily::Inet }
}

/// Asks for the elements of a set.
fn question(table: &str, set: Set) -> NfTablesMessage {
    NfTablesMessage::GetSetElement(SetElementMessage {
        attributes: vec![SetElementList::Table(table.to_owned()), SetElementList::Set(set.name().to_owned())],
    })
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
