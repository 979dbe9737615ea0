//! Tables that a terminal shows and Markdown understands.

use crate::console;

/// Rows under a heading; the first column is text, the others are figures.
#[derive(Debug)]
pub(super) struct Table(Vec<Vec<String>>);

impl Table {
    pub(super) fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self(vec![heading.map(str::to_owned).to_vec()])
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.push(Vec::from(cells));
    }

    /// Prints it, unless it has no rows.
    pub(super) fn print(&self) {
        if self.0.len() > 1 {
            self.lines().iter().for_each(|line| console::line(line));
        }
    }

    fn lines(&self) -> Vec<String> {
        let columns = self.0.first().map_or(0, Vec::len);
        let width = |column: usize| self.0.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut lines = Vec::new();
        for (number, row) in self.0.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            lines.push(format!("| {} |", cells.collect::<Vec<_>>().join(" | ")));
            if number == 0 {
                let rules = widths.iter().enumerate().map(|(column, width)| match column {
                    0 => "-".repeat(*width),
                    _ => format!("{}:", "-".repeat(width.saturating_sub(1))),
                });
                lines.push(format!("| {} |", rules.collect::<Vec<_>>().join(" | ")));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest() {
        let mut table = Table::new(["way", "×"]);
        table.row(["floor".into(), "1.05".into()]);
        assert_eq!(table.lines(), ["| way   |    × |", "| ----- | ---: |", "| floor | 1.05 |"]);
    }
}
