//! The checks, by what they are about.

mod concurrency;
mod conflict;
mod create;
mod destroy;
mod inside;
mod list;
mod restart;
mod shutdown;
mod trouble;

use concurrency::*;
use conflict::*;
use create::*;
use destroy::*;
use inside::*;
use list::*;
use restart::*;
use shutdown::*;
use trouble::*;

use crate::Check;

macro_rules! table {
    (; $($name:ident,)*) => {
        &[$(Check { name: stringify!($name), body: |context| Box::pin($name(context)) }),*]
    };
}

static ALL: &[Check] = for_each_check!([table]);

/// Every check, in the order of a report.
#[must_use]
pub fn all() -> &'static [Check] {
    ALL
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_check_has_a_name_of_its_own() {
        let names: HashSet<_> = all().iter().map(|check| check.name).collect();
        assert_eq!(names.len(), all().len());
    }
}
