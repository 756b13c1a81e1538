//! What the fuzz targets (`fuzz/src/targets`) reach and nothing else does: private parsers, behind plain values. Nothing
//! of it ends up in the extension.

use crate::config::Config;
use crate::store::StoreError;

/// What an S3 answer of this status, these headers and this body would mean: the region that it names, and
/// what was found.
pub fn s3_answer(
    status: u16,
    headers: &[(&[u8], &[u8])],
    body: &[u8],
    conditional: bool,
) -> Option<(Option<String>, Result<bool, StoreError>)> {
    crate::store::s3::fuzz_answer(status, headers, body, conditional)
}

/// The configuration that these variables make, as `journal_config()` and `Debug` show it; or the error.
pub fn configuration(
    variables: &[(String, std::ffi::OsString)],
) -> Result<(String, String), String> {
    Config::of_variables(variables)
        .map(|config| (crate::functions::shown(&config), format!("{config:?}")))
        .map_err(|error| error.to_string())
}
