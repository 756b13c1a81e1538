//! AWS credentials: what they are and where they come from.

mod assumed_role;
mod chain;
mod container;
mod document;
mod instance;
mod login;
mod program;
mod provider;
mod service;
mod single_sign_on;
mod sts;
mod web_identity;

pub(super) use provider::Provider;
use time::OffsetDateTime;

use crate::secret::SecretString;

/// What a request is signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    /// The access key id; it stands in every signed request.
    pub(super) id: String,
    /// The secret access key.
    pub(super) secret: SecretString,
    /// The session token of temporary credentials.
    pub(super) token: Option<SecretString>,
}

/// Credentials as a source gives them.
#[derive(Clone, Debug)]
struct Found {
    credentials: Credentials,
    /// A word for where they came from.
    source: &'static str,
    /// When they end; `None` for those that do not.
    expiration: Option<OffsetDateTime>,
    /// Whether the source may have later ones before then.
    is_renewable: bool,
    /// Whether they are used on past their end while the source is in trouble, as AWS's SDKs use an instance's: the store
    /// decides, and may take them for longer than was said.
    is_extendable: bool,
}
