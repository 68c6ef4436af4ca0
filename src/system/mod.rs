//! System.

pub mod disk;
