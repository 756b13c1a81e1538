//! Threads: who waits for whom, who does the work, and the locks between them.

pub(crate) mod flight;
pub(crate) mod pool;
pub(crate) mod sync;
