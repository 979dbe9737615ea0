//! Words that the other side says. Whoever has the guest's kernel can say anything in them, and they end in listings, logs and on terminals.

use serde::{Deserialize, Deserializer};

/// The most characters that a text from the other side has.
pub const LONGEST_TEXT: usize = 1000;

/// As much of a text as is told: without control characters, where white space becomes a space, and of [`LONGEST_TEXT`] characters at most.
#[must_use]
pub fn plain(text: &str) -> String {
    let spaced = text.chars().map(|char| if char.is_whitespace() { ' ' } else { char });
    spaced.filter(|char| !char.is_control()).take(LONGEST_TEXT).collect()
}

pub(crate) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| plain(&text))
}

pub(crate) fn read_option<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(|text| plain(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_short_and_moves_no_cursor() {
        assert_eq!(plain("no disk\r\n\u{1b}[2Jthe\tend\u{0}\u{9b}"), "no disk  [2Jthe end");
        assert_eq!(plain(&"ü".repeat(LONGEST_TEXT + 1)), "ü".repeat(LONGEST_TEXT));
    }
}
