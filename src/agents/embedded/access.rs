//! What statements of other programs may do.

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// Statements of other programs read and change rows of this file, and nothing else: whoever may ask a question here is
/// not to write elsewhere, nor to leave tables and triggers that the stock daemon does not know.
pub(super) fn only_rows(context: AuthContext<'_>) -> Authorization {
    let allowed = match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => true,
        AuthAction::Insert { .. } | AuthAction::Update { .. } | AuthAction::Delete { .. } => true,
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => true,
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        AuthAction::Pragma { pragma_name, pragma_value } => pragma_value.is_none() || asks(pragma_name),
        _ => false,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}

/// Whether this pragma only asks, although it has an argument.
fn asks(pragma: &str) -> bool {
    ["table_info", "table_xinfo", "index_list", "index_info", "foreign_key_list", "quick_check", "integrity_check"]
        .iter()
        .any(|name| pragma.eq_ignore_ascii_case(name))
}
