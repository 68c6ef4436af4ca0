//! The table of this node's tasks.

use super::html::{Column, NOTHING, Row, ago_of, table};
use crate::{metrics::Task, observation::view::View, system::human};

const COLUMNS: [Column; 5] = [
    Column("Task", false),
    Column("Last good run", false),
    Column("Duration", true),
    Column("Good runs", true),
    Column("Failed runs", true),
];

pub(super) fn write(out: &mut String, view: &View) {
    out.push_str("<h2>Tasks of this node</h2>\n");
    out.push_str(&table("tasks", &COLUMNS, view.tasks().map(|task| row(task, view))));
}

fn row(task: Task, view: &View) -> Row<{ COLUMNS.len() }> {
    let meter = view.node.metrics.task(task);
    let last = meter.last();
    let runs = meter.seconds.cumulative().last().copied().unwrap_or_default();
    let cells = [
        task.title().to_owned(),
        ago_of(last.map(|last| last.wall), view.now),
        last.map_or_else(|| NOTHING.to_owned(), |last| human::short(last.took)),
        runs.to_string(),
        meter.failures.get().to_string(),
    ];
    Row { cells, below: String::new() }
}
