//! A role assumed with a token of an identity provider, such as a Kubernetes service account's
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>).

use std::path::PathBuf;
use std::time::Instant;

use http::Request;
use http::header::CONTENT_TYPE;
use url::form_urlencoded::Serializer;

use super::Found;
use super::chain::Sources;
use super::container::read_token;
use super::sts::{FORM, SESSION, Sts, VERSION};
use crate::config::aws::WebIdentity;
use crate::config::profile::Profile;
use crate::secret::{SecretBytes, SecretString};
use crate::store::StoreError;

/// Who wants which role, and as whom.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    token_file: PathBuf,
    role: String,
    session: String,
}

impl Identity {
    /// The environment's, each part of which may be the profile's instead; `None` without a token file.
    pub(super) fn of(
        environment: &WebIdentity,
        profile: &Profile,
    ) -> Result<Option<Self>, StoreError> {
        let of_profile = |name| profile.get(name).map(|value| value.expose().to_owned());
        let token_file = environment
            .token_file
            .clone()
            .or_else(|| of_profile("web_identity_token_file").map(PathBuf::from));
        let Some(token_file) = token_file else {
            return Ok(None);
        };
        let role = environment.role.clone().or_else(|| of_profile("role_arn"));
        let session = environment.session.clone();
        Ok(Some(Self {
            token_file,
            role: role.ok_or_else(|| {
                StoreError::Denied(
                    "there is a web identity token file, but neither AWS_ROLE_ARN nor the AWS \
                     profile's role_arn"
                        .to_owned(),
                )
            })?,
            session: session
                .or_else(|| of_profile("role_session_name"))
                .unwrap_or_else(|| SESSION.to_owned()),
        }))
    }

    /// The form that is posted: the token is never in a URL, which proxies and servers log.
    fn form(&self) -> Result<SecretBytes, StoreError> {
        let token = read_token(&self.token_file).ok_or_else(|| {
            StoreError::Denied("the web identity token file cannot be read".to_owned())
        })?;
        // Room for all of it, each character in three: growing would leave copies behind.
        let room = 256 + 3 * (token.expose().len() + self.role.len() + self.session.len());
        let mut form = Serializer::new(String::with_capacity(room));
        form.append_pair("Action", "AssumeRoleWithWebIdentity")
            .append_pair("Version", VERSION)
            .append_pair("RoleArn", &self.role)
            .append_pair("RoleSessionName", &self.session)
            .append_pair("WebIdentityToken", token.expose());
        let form = SecretString::from(form.finish());
        SecretBytes::copy_of(form.expose().as_bytes()).map_err(|_| StoreError::out_of_memory())
    }
}

/// One unsigned POST to STS.
pub(super) fn fetch(
    sources: &Sources,
    identity: &Identity,
    deadline: Instant,
) -> Result<Found, StoreError> {
    let sts = Sts::of(sources)?;
    let request = Request::post(sts.url.as_str())
        .header(CONTENT_TYPE, FORM)
        .body(identity.form()?)
        .map_err(|_| StoreError::lasting("the endpoint makes no URL"))?;
    sts.credentials("web identity", request, deadline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_holds_the_token_as_it_is_in_the_file_now() {
        let root = tempfile::tempdir().unwrap();
        let identity = Identity {
            token_file: root.path().join("token"),
            role: "arn:aws:iam::1:role/r".to_owned(),
            session: "s".to_owned(),
        };
        assert_eq!(
            identity.form().unwrap_err().to_string(),
            "the web identity token file cannot be read"
        );
        for token in ["a.b+c", "later"] {
            std::fs::write(&identity.token_file, format!("{token}\n")).unwrap();
            let form = identity.form().unwrap();
            let pairs: Vec<_> = url::form_urlencoded::parse(&form).into_owned().collect();
            let of = |name: &str| pairs.iter().find(|(n, _)| n == name).unwrap().1.clone();
            assert_eq!(of("Action"), "AssumeRoleWithWebIdentity");
            assert_eq!(of("Version"), "2011-06-15");
            assert_eq!(of("RoleArn"), identity.role);
            assert_eq!(of("RoleSessionName"), "s");
            assert_eq!(of("WebIdentityToken"), token);
        }
    }
}
