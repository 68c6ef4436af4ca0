//! Tables as the stock daemon draws them: every column, the last one too, is as wide as its longest value plus two.

use crate::system::{terminal, visible::visible};

const GAP: usize = 2;

/// The text of a table.
pub(super) fn draw<const N: usize>(head: [&str; N], rows: &[[&str; N]]) -> String {
    let rows: Vec<[String; N]> = std::iter::once(&head).chain(rows).map(|row| row.map(visible)).collect();
    let widest = |column: usize| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0) + GAP;
    let widths: [usize; N] = std::array::from_fn(widest);
    let line = |row: &[String; N]| {
        let cell = |(cell, wide): (&String, usize)| format!("{cell}{:1$}", "", wide - width(cell));
        row.iter().zip(widths).map(cell).collect::<String>() + "\n"
    };
    rows.iter().map(line).collect()
}

fn width(text: &str) -> usize {
    text.chars().map(terminal::width).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_their_longest_value_and_a_node_cannot_write_to_the_terminal() {
        let table = draw(["NAME", "V"], &[["a-long-name", "1"], ["b", "\x1b[2J"]]);
        assert_eq!(table, "NAME         V          \na-long-name  1          \nb            \\u{1b}[2J  \n");
        assert_eq!(draw(["NAME"], &[]), "NAME  \n");
        let wide = draw(["NAME", "V"], &[["日本", "1"], ["e\u{301}\u{202e}", "2"]]);
        assert_eq!(wide, "NAME       V  \n日本       1  \ne\u{301}\\u{202e}  2  \n");
    }
}
