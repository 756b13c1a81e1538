//! The commands, one a file.

pub(crate) mod audit;
pub(crate) mod doctor;
pub(crate) mod drill;
pub(crate) mod erase;
pub(crate) mod migrate;
pub(crate) mod pause;
pub(crate) mod rewrap;
pub(crate) mod rotate;
pub(crate) mod search;
pub(crate) mod status;
