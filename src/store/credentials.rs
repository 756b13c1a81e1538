//! AWS credentials: what they are and where they come from.

use crate::config::Aws;
use crate::secret::SecretString;
use crate::store::StoreError;

/// What a request is signed with.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    /// The access key id; it stands in every signed request.
    pub(super) id: String,
    /// The secret access key.
    pub(super) secret: SecretString,
    /// The session token of temporary credentials.
    pub(super) token: Option<SecretString>,
}

/// The credentials to sign with now.
///
/// # Errors
/// [`StoreError::Denied`] where there are none.
pub(super) fn of_environment(aws: &Aws) -> Result<Credentials, StoreError> {
    let (id, secret, token) = aws
        .keys
        .clone()
        .ok_or_else(|| StoreError::Denied("there are no AWS credentials".to_owned()))?;
    Ok(Credentials { id, secret, token })
}
