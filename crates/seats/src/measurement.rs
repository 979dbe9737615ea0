//! What a provider counts and measures of its seats together.

/// One number for whoever watches the service, such as `microvm_disk_bytes{direction="read"}`.
///
/// All of its words are the program's own, so that there are as many series as the program has words for, however many seats there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// Its name, without the service's prefix and the suffix of counters.
    pub name: &'static str,
    /// What it is, for a person. The same for all of one name, as is the kind.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: MeasurementKind,
    /// What tells those of one name apart.
    pub labels: &'static [(&'static str, &'static str)],
    /// How much it is.
    pub value: u64,
}

/// What can be done with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeasurementKind {
    /// It only grows while the service runs, and begins with nothing.
    Counter,
    /// It is as it is now.
    Gauge,
}
