//! An element as a value.

use serde_json::{Map, Value};

use crate::config::xml::Element;

pub(super) fn is_empty(element: &Element) -> bool {
    element.trimmed().is_empty() && element.children.is_empty()
}

/// The element as JSON: its text, or an object of its children; a name that occurs more than once becomes an array.
pub(super) fn to_json(element: &Element) -> Value {
    if element.children.is_empty() {
        return element.trimmed().into();
    }
    let mut members = Map::new();
    for child in element.children.iter().filter(|child| !is_empty(child)) {
        let value = to_json(child);
        match members.get_mut(&child.name) {
            None => drop(members.insert(child.name.clone(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(single) => *single = vec![single.take(), value].into(),
        }
    }
    members.into()
}
