//! The boundary with the operating system: what the standard library does not offer of it.
#![allow(unsafe_code)]

mod allocator;
pub mod locked;
pub mod process;
pub(crate) mod program;
