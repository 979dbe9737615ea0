//! Which rules are in force.
//!
//! The kernel tells a rule as it was given it, in expressions, with what its counters have counted and with a number that it gave it
//! (`nf_tables_fill_rule_info` of `net/netfilter/nf_tables_api.c`). So who has put rules there, and finds them again with nothing but the counters changed, finds
//! his rules; one that is missing, that is new or that was replaced is somebody else's doing. What they mean need not be understood for that.

use std::collections::BTreeMap;

use netlink_packet_netfilter::nftables::{
    ExpressionAttribute, ListAttribute, NfTablesMessage, RuleAttribute, RuleMessage,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};

/// A chain of our tables: whether it is in the one of the family bridge, and its name.
type Chain = (bool, String);

/// The rules of our tables by their chains, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules(BTreeMap<Chain, Vec<Rule>>);

/// A rule: its number, and what it says without what it counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rule {
    number: u64,
    says: Vec<ListAttribute<ExpressionAttribute>>,
}

impl Rules {
    /// Whether there are as many in each chain as a text for `nft` adds, and no other chain has any.
    pub(crate) fn are_those_of(&self, text: &str) -> bool {
        let mut added: BTreeMap<Chain, usize> = BTreeMap::new();
        for line in text.lines() {
            // add rule FAMILY TABLE CHAIN …
            let mut words = line.split(' ');
            if (words.next(), words.next()) == (Some("add"), Some("rule"))
                && let (Some(family), Some(chain)) = (words.next(), words.nth(1))
            {
                *added.entry((family == "bridge", chain.to_owned())).or_default() += 1;
            }
        }
        self.0
            .iter()
            .map(|(chain, rules)| (chain, rules.len()))
            .eq(added.iter().map(|(chain, n)| (chain, *n)))
    }

    /// Asks for the rules of a table.
    pub(super) fn question(table: &str) -> NfTablesMessage {
        NfTablesMessage::GetRule(RuleMessage { attributes: vec![RuleAttribute::Table(table.to_owned())] })
    }

    /// Adds one that the kernel tells of.
    pub(super) fn add(&mut self, message: &NetfilterMessage) {
        let NetfilterMessageInner::NfTables(NfTablesMessage::NewRule(rule)) = &message.inner else { return };
        let (mut chain, mut told) = (None, Rule::default());
        for attribute in &rule.attributes {
            match attribute {
                RuleAttribute::Chain(name) => chain = Some(name),
                RuleAttribute::Handle(number) => told.number = *number,
                RuleAttribute::Expressions(says) => {
                    told.says = says.iter().filter(|one| !is_counter(one)).cloned().collect();
                }
                _ => {}
            }
        }
        if let Some(chain) = chain {
            let is_of_bridge = message.header.family == NetfilterProtoFamily::Bridge;
            self.0.entry((is_of_bridge, chain.clone())).or_default().push(told);
        }
    }
}

fn is_counter(expression: &ListAttribute<ExpressionAttribute>) -> bool {
    let ListAttribute::Element(attributes) = expression else { return false };
    attributes
        .iter()
        .any(|attribute| matches!(attribute, ExpressionAttribute::Name(name) if name == "counter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_lost_a_rule_or_has_one_more_is_another() {
        let text = "add table inet t\nadd chain inet t one { type filter hook input priority 0; }\nadd rule inet t one drop\n\
                    add rule inet t one accept\nadd rule bridge t two jump one\n";
        let of = |one: &[u64], two: &[u64]| {
            let rules = |numbers: &[u64]| {
                numbers.iter().map(|number| Rule { number: *number, ..Rule::default() }).collect::<Vec<_>>()
            };
            let chains = [((false, "one".to_owned()), rules(one)), ((true, "two".to_owned()), rules(two))];
            Rules(chains.into_iter().filter(|(_, rules)| !rules.is_empty()).collect())
        };
        assert!(of(&[4, 5], &[3]).are_those_of(text));
        for other in [of(&[4], &[3]), of(&[4, 5, 6], &[3]), of(&[4, 5], &[]), of(&[], &[])] {
            assert!(!other.are_those_of(text), "{other:?}");
        }
        assert!(!of(&[4, 5], &[3]).are_those_of("add table inet t\n"));
        assert_ne!(of(&[4, 5], &[3]), of(&[5, 4], &[3]));
    }
}
