//! The credentials that `aws login` left
//! (<https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-sign-in.html>).
//!
//! They last for minutes. The AWS command line renews them in its cache whenever it is used; here they are only read.

use std::path::PathBuf;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Found;
use super::chain::denied;
use super::document::{Document, MOST_BYTES};
use crate::config::profile::{Files, Profile};
use crate::secret::SecretBytes;
use crate::store::StoreError;
use crate::store::signature::hex;

/// Where they are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Login(PathBuf);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cached {
    access_token: Document,
}

impl Login {
    /// The profile's; `None` where it has none.
    pub(super) fn of(files: &Files, profile: &Profile) -> Result<Option<Self>, StoreError> {
        let Some(session) = profile.in_config("login_session") else {
            return Ok(None);
        };
        let cache = files.login_cache().ok_or_else(none)?;
        let name = hex(&Sha256::digest(session.expose()));
        Ok(Some(Self(cache.join(format!("{name}.json")))))
    }

    pub(super) fn read(&self) -> Result<Found, StoreError> {
        let text = SecretBytes::of_file(&self.0, MOST_BYTES).map_err(|_| none())?;
        let cached: Option<Cached> = serde_json::from_slice(&text).ok();
        let found = cached.and_then(|cached| cached.access_token.found("login"));
        let found = found.ok_or_else(none)?;
        match found.expiration {
            Some(end) if end <= time::OffsetDateTime::now_utc() => Err(denied(
                "the credentials of aws login have ended: run aws login, or any command of aws",
            )),
            _ => Ok(found),
        }
    }
}

fn none() -> StoreError {
    denied("there are no credentials of aws login: run aws login")
}
