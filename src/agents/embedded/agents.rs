//! Rows of agents.
