//! A handful of measurements of one thing.

use serde::Serialize;

/// What is told of the measurements, in their own unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// The value that nineteen of twenty stay below; the largest when there are fewer than twenty.
    pub(super) p95: f64,
    pub(super) samples: usize,
}

impl Spread {
    /// `None` when nothing was measured.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        let p95 = sorted[(sorted.len() * 95).div_ceil(100) - 1];
        Some(Self { median, min, max, p95, samples: sorted.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(Spread::of([]), None);
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max, odd.samples), (2.0, 1.0, 3.0, 3));
        assert!((Spread::of([4.0, 1.0]).unwrap().median - 2.5).abs() < 1e-9);
    }

    #[test]
    fn one_of_twenty_lies_above_p95() {
        let twenty = Spread::of((1..=20).map(f64::from)).unwrap();
        assert_eq!(twenty.p95, 19.0);
        assert_eq!(Spread::of([7.0]).unwrap().p95, 7.0);
    }
}
