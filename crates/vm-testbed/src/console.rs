//! What a guest said on its serial line.

/// The most of a console that is kept: a boot says some tens of kilobytes.
pub(crate) const MOST: u64 = 4 << 20;

/// What a guest said on its serial line.
#[derive(Clone, Debug, Default)]
pub struct Console(String);

impl Console {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).replace('\r', ""))
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What follows this at the start of a line, for every such line.
    pub fn after<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.lines().filter_map(move |line| line.strip_prefix(prefix))
    }

    /// Its last forty lines.
    #[must_use]
    pub fn tail(&self) -> String {
        let lines: Vec<_> = self.0.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_how_they_begin() {
        let console = Console::new(b"Command line: say=image: 1\r\nimage: 1\r\nnot image: 2\r\nimage: 3");
        assert_eq!(console.after("image: ").collect::<Vec<_>>(), ["1", "3"]);
    }

    #[test]
    fn the_tail_is_the_end() {
        let text: Vec<_> = (0..100).map(|line| line.to_string()).collect();
        let tail = Console::new(text.join("\r\n").as_bytes()).tail();
        assert!(tail.starts_with("60\n") && tail.ends_with("\n99"), "{tail}");
        assert_eq!(Console::new(b"one").tail(), "one");
    }
}
