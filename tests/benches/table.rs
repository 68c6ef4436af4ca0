//! Tables that a person reads: the first column to the left, the others to the right. Where `BENCH_OUT` names a file, each
//! row is added to it too, as a line of JSON: for the one table of all at the end of `make bench`
//! (`scripts/bench_table.py`), and for `make bench-compare`. They take from a row what stands under "median", "mean", "per
//! second" or "resident", and under "limit".

use std::{fs::OpenOptions, io::Write};

/// Rows under a heading; printed when complete.
pub struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these names of columns.
    pub fn new<const N: usize>(title: impl Into<String>, columns: [&str; N]) -> Self {
        Self { title: title.into(), rows: vec![columns.map(str::to_owned).to_vec()] }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// Prints it.
    pub fn print(&self) {
        if let Err(error) = self.record() {
            eprintln!("BENCH_OUT cannot be written: {error}");
        }
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        println!("\n{}", self.title);
        for (at, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            println!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
            if at == 0 {
                println!("  {}", "-".repeat(widths.iter().sum::<usize>() + 2 * (columns - 1)));
            }
        }
    }
}

impl Table {
    fn record(&self) -> std::io::Result<()> {
        let Some(path) = std::env::var_os("BENCH_OUT") else { return Ok(()) };
        let Some((columns, rows)) = self.rows.split_first() else { return Ok(()) };
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        for row in rows {
            let cells: serde_json::Map<String, serde_json::Value> =
                columns.iter().cloned().zip(row.iter().map(|cell| cell.as_str().into())).collect();
            let bench = env!("CARGO_CRATE_NAME");
            writeln!(file, "{}", serde_json::json!({ "bench": bench, "table": self.title, "row": cells }))?;
        }
        Ok(())
    }
}

/// Three digits after the point, or a dash for nothing.
pub fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.3}") } else { "-".to_owned() }
}

/// How often the one contains the other, or a dash.
pub fn ratio(value: f64, limit: f64) -> String {
    if value.is_finite() && limit > 0.0 { format!("{:.2}", value / limit) } else { "-".to_owned() }
}
