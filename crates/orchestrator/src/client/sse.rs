//! Server-sent events, as bytes arrive.
//!
//! Follows the event stream grammar of the HTML standard: lines end with LF, CR or CRLF, chunks may end
//! anywhere (between the two bytes of a CRLF or inside a character, too), a blank line ends an event, `:` begins
//! a comment, and what has no data is no event.

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its `event:` field; empty when there was none.
    pub(crate) name: String,
    /// Its `data:` lines, joined.
    pub(crate) data: String,
}

/// The service's events are far smaller; a stream without an end of line must not eat the memory.
const MAX_PENDING: usize = 16 * 1024 * 1024;

/// The stream sends a line or an event that is larger than any of ours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {MAX_PENDING} bytes")]
pub(crate) struct TooLarge;

/// A parser that is fed chunks.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    begun: bool,
    event: Event,
    has_data: bool,
}

impl Parser {
    /// Takes a chunk and returns the events that it completes.
    ///
    /// # Errors
    /// When an event outgrows what this program takes.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Result<Vec<Event>, TooLarge> {
        let mut events = Vec::new();
        for &byte in chunk {
            let second_of_crlf = self.after_cr && byte == b'\n';
            self.after_cr = byte == b'\r';
            match byte {
                _ if second_of_crlf => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                _ => self.line.push(byte),
            }
        }
        if self.line.len() + self.event.data.len() > MAX_PENDING { Err(TooLarge) } else { Ok(events) }
    }

    fn end_line(&mut self) -> Option<Event> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let begun = std::mem::replace(&mut self.begun, true);
        let line = if begun { &*text } else { text.strip_prefix('\u{feff}').unwrap_or(&text) };
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data += value;
                self.has_data = true;
            }
            "event" => value.clone_into(&mut self.event.name),
            // A comment has an empty field; ids and retry times mean nothing to us.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.into(), data: data.into() }
    }

    fn all(text: &str) -> Vec<Event> {
        Parser::default().feed(text.as_bytes()).unwrap()
    }

    #[rstest]
    #[case("event: seat\ndata: {}\n\n", &[("seat", "{}")])]
    #[case("event: seat\r\ndata: {}\r\n\r\n", &[("seat", "{}")])]
    #[case("event:seat\rdata:{}\r\r", &[("seat", "{}")])]
    #[case("data: a\ndata: b\n\ndata\n\n", &[("", "a\nb"), ("", "")])]
    #[case(": keep-alive\n\nevent: lost\n\ndata: x\n\n", &[("", "x")])]
    #[case("\u{feff}data: x\nid: 7\nretry: 9\n\n", &[("", "x")])]
    #[case("data:  two spaces\n\n", &[("", " two spaces")])]
    #[case("data: not ended\n", &[])]
    fn reads(#[case] text: &str, #[case] expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(name, data)| event(name, data)).collect();
        assert_eq!(all(text), expected);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = Parser::default();
        let chunk = vec![b'x'; MAX_PENDING / 2 + 1];
        assert_eq!(parser.feed(&chunk), Ok(vec![]));
        assert_eq!(parser.feed(&chunk), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            events in proptest::collection::vec(("[a-z]{1,5}", "[a-zäλ {}:\"]{0,12}(\n[a-z:]{0,5})?"), 0..6),
            end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
            cuts in proptest::collection::vec(1usize..7, 1..40),
        ) {
            let mut text = format!(": hello{end}");
            for (name, data) in &events {
                text += &format!("event: {name}{end}");
                for line in data.split('\n') {
                    text += &format!("data: {line}{end}");
                }
                text += end;
            }
            let (mut parser, mut read, mut rest) = (Parser::default(), Vec::new(), text.as_bytes());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, tail) = rest.split_at(*cut.min(&rest.len()));
                read.extend(parser.feed(chunk).unwrap());
                rest = tail;
            }
            let expected: Vec<_> = events.iter().map(|(name, data)| event(name, data)).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn any_bytes_are_borne(chunks in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let mut parser = Parser::default();
            for chunk in chunks {
                parser.feed(&chunk).unwrap();
            }
        }
    }
}
