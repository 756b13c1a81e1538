//! What an entry item is before it is encrypted: JSON, compressed with gzip.

pub mod gzip;
pub mod json;
