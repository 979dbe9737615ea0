//! Whether two readings of a layer saw the same headers.

use std::hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState};

use super::Header;

/// Some headers in their order, as far as one has to know to tell them from others. Nobody who writes an archive knows the
/// key, which is another each time, so nobody can make two that look the same.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    none: DefaultHasher,
    some: DefaultHasher,
}

impl Headers {
    /// None yet.
    pub(crate) fn new() -> Self {
        let none = RandomState::new().build_hasher();
        Self { some: none.clone(), none }
    }

    /// None yet, to be compared with these.
    pub(crate) fn again(&self) -> Self {
        Self { some: self.none.clone(), none: self.none.clone() }
    }

    pub(crate) fn add(&mut self, header: &Header) {
        header.hash(&mut self.some);
    }

    /// Whether these are those, of which one came from the other by [`Headers::again`].
    pub(crate) fn same(&self, those: &Self) -> bool {
        self.some.finish() == those.some.finish()
    }
}
