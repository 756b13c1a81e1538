//! The order in which credentials are looked for: the AWS command line's
//! (<https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-authentication.html>).
//!
//! The first source that is configured is the one; where it fails, none after it is asked. A profile that
//! wants what is not supported here says so, for the same reason.

use std::time::Instant;

use super::{Credentials, Found, container, instance, web_identity};
use crate::config::Aws;
use crate::config::aws::Keys;
use crate::config::metadata::{Container, Instance};
use crate::config::profile::Profile;
use crate::secret::SecretString;
use crate::store::StoreError;

/// Looks for credentials, before `deadline`.
pub(super) fn search(aws: &'static Aws, deadline: Instant) -> Result<Found, StoreError> {
    if let Some(keys) = &aws.keys {
        return Ok(environment(keys));
    }
    let profile = aws.profile.read();
    let profile = profile.map_err(|error| StoreError::Denied(error.to_string()))?;
    match Source::of(aws, &profile)? {
        Source::WebIdentity(identity) => web_identity::fetch(aws, &identity, deadline),
        Source::Profile(credentials) => Ok(Found {
            credentials,
            source: "profile",
            expiration: None,
            is_renewable: true,
            is_extendable: false,
        }),
        Source::Container(container) => container::fetch(aws, container, deadline),
        Source::Instance(instance) => instance::fetch(aws, instance, deadline).map(|found| Found {
            is_extendable: true,
            ..found
        }),
    }
}

fn environment(keys: &Keys) -> Found {
    Found {
        credentials: Credentials {
            id: keys.id.clone(),
            secret: keys.secret.clone(),
            token: keys.token.clone(),
        },
        source: "environment",
        expiration: keys.expiration,
        is_renewable: false,
        is_extendable: false,
    }
}

/// Who has the credentials, where the environment does not.
#[derive(Debug)]
enum Source<'a> {
    WebIdentity(web_identity::Identity),
    Profile(Credentials),
    Container(&'a Container),
    Instance(&'a Instance),
}

impl<'a> Source<'a> {
    fn of(aws: &'a Aws, profile: &Profile) -> Result<Self, StoreError> {
        if aws.profile.is_named() && !profile.exists() {
            return Err(denied(
                "the AWS profile that AWS_PROFILE names is not there",
            ));
        }
        let has = |name| profile.get(name).is_some();
        if has("role_arn") && !has("web_identity_token_file") {
            return Err(unsupported(
                "role_arn with source_profile or credential_source",
            ));
        }
        if let Some(identity) = web_identity::Identity::of(&aws.web_identity, profile)? {
            return Ok(Self::WebIdentity(identity));
        }
        if has("sso_account_id") || has("sso_role_name") {
            return Err(unsupported("IAM Identity Center (sso_account_id)"));
        }
        if let Some(credentials) = keys(&|name| profile.in_credentials(name))? {
            return Ok(Self::Profile(credentials));
        }
        if has("login_session") {
            return Err(unsupported("aws login (login_session)"));
        }
        if has("credential_process") {
            return Err(unsupported("credential_process"));
        }
        if let Some(credentials) = keys(&|name| profile.in_config(name))? {
            return Ok(Self::Profile(credentials));
        }
        if let Some(container) = &aws.container {
            return Ok(Self::Container(container));
        }
        match &aws.instance {
            Some(instance) if instance::is_here(instance) => Ok(Self::Instance(instance)),
            Some(_) => Err(denied(
                "there are no AWS credentials in the environment, a profile or a container, \
                 and this is no EC2 instance",
            )),
            None => Err(denied(
                "there are no AWS credentials in the environment, a profile or a container, \
                 and AWS_EC2_METADATA_DISABLED is true",
            )),
        }
    }
}

/// The keys of one file's profile.
fn keys<'a>(
    get: &dyn Fn(&str) -> Option<&'a SecretString>,
) -> Result<Option<Credentials>, StoreError> {
    let Some(id) = get("aws_access_key_id") else {
        return Ok(None);
    };
    let Some(secret) = get("aws_secret_access_key") else {
        return Err(denied(
            "the AWS profile has aws_access_key_id without aws_secret_access_key",
        ));
    };
    Ok(Some(Credentials {
        id: id.expose().to_owned(),
        secret: secret.clone(),
        token: get("aws_session_token")
            .or_else(|| get("aws_security_token"))
            .cloned(),
    }))
}

fn unsupported(what: &str) -> StoreError {
    StoreError::Denied(format!(
        "the AWS profile asks for {what}, which is not supported here"
    ))
}

fn denied(reason: &str) -> StoreError {
    StoreError::Denied(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// What is chosen with this environment and these files, in a word.
    fn choice(environment: &[&str], config: &str, credentials: &str) -> Result<String, String> {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("config"), config).unwrap();
        std::fs::write(path("credentials"), credentials).unwrap();
        let mut variables = vec![
            ("JOURNAL_KEY_STORE", "s3://bucket".to_owned()),
            ("AWS_CONFIG_FILE", path("config")),
            ("AWS_SHARED_CREDENTIALS_FILE", path("credentials")),
        ];
        for variable in environment {
            let (name, value) = variable.split_once('=').unwrap();
            variables.push((name, value.to_owned()));
        }
        let mut aws = Config::of_variables(&variables).unwrap().aws;
        if let Some(instance) = &mut aws.instance {
            instance.system = root.path().into();
        }
        if aws.keys.is_some() {
            return Ok("environment".to_owned());
        }
        let profile = aws.profile.read().unwrap();
        match Source::of(&aws, &profile) {
            Ok(Source::WebIdentity(_)) => Ok("web identity".to_owned()),
            Ok(Source::Profile(credentials)) => Ok(credentials.id),
            Ok(Source::Container(_)) => Ok("container".to_owned()),
            Ok(Source::Instance(_)) => Ok("instance".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    const KEYS: &str = "AWS_ACCESS_KEY_ID=AK";
    const SECRET: &str = "AWS_SECRET_ACCESS_KEY=secret";
    const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE=/token";
    const ROLE: &str = "AWS_ROLE_ARN=arn:aws:iam::1:role/r";
    const CONTAINER: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2";
    const INSTANCE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1";
    const CREDENTIALS_FILE: &str =
        "[default]\naws_access_key_id = IN_CREDENTIALS\naws_secret_access_key = s\n";
    const CONFIG_FILE: &str =
        "[default]\naws_access_key_id = IN_CONFIG\naws_secret_access_key = s\n";

    #[test]
    fn the_first_source_that_is_configured_is_the_one() {
        let all = [KEYS, SECRET, TOKEN_FILE, ROLE, CONTAINER, INSTANCE];
        for (environment, config, credentials, expected) in [
            (&all[..], CONFIG_FILE, CREDENTIALS_FILE, "environment"),
            (&all[2..], CONFIG_FILE, CREDENTIALS_FILE, "web identity"),
            (&all[4..], CONFIG_FILE, CREDENTIALS_FILE, "IN_CREDENTIALS"),
            (&all[4..], CONFIG_FILE, "", "IN_CONFIG"),
            (&all[4..], "", "", "container"),
            (&all[5..], "", "", "instance"),
        ] {
            let chosen = choice(environment, config, credentials);
            assert_eq!(chosen.as_deref(), Ok(expected), "{environment:?}");
        }
    }

    #[test]
    fn a_profile_may_name_a_web_identity_and_the_environment_each_part_of_it() {
        let role = "[default]\nrole_arn = arn:aws:iam::1:role/r\n";
        let both = format!("{role}web_identity_token_file = /token\n");
        assert_eq!(
            choice(&[], &both, CREDENTIALS_FILE).as_deref(),
            Ok("web identity")
        );
        let token_alone = "[default]\nweb_identity_token_file = /token\n";
        assert_eq!(
            choice(&[ROLE], token_alone, "").as_deref(),
            Ok("web identity")
        );
        let missing = "there is a web identity token file, but neither AWS_ROLE_ARN nor the AWS \
                       profile's role_arn";
        assert_eq!(choice(&[], token_alone, "").unwrap_err(), missing);
        assert_eq!(
            choice(&[TOKEN_FILE, CONTAINER], "", "").unwrap_err(),
            missing
        );
    }

    #[test]
    fn what_is_not_supported_says_so_and_nothing_else_is_asked() {
        let asks = |what| format!("the AWS profile asks for {what}, which is not supported here");
        for (setting, credentials, expected) in [
            (
                "role_arn = r\nsource_profile = p",
                CREDENTIALS_FILE,
                asks("role_arn with source_profile or credential_source"),
            ),
            (
                "sso_session = s\nsso_account_id = 1\nsso_role_name = r",
                CREDENTIALS_FILE,
                asks("IAM Identity Center (sso_account_id)"),
            ),
            ("login_session = s", "", asks("aws login (login_session)")),
            ("credential_process = p", "", asks("credential_process")),
            (
                "aws_access_key_id = AK",
                "",
                "the AWS profile has aws_access_key_id without aws_secret_access_key".to_owned(),
            ),
        ] {
            let config = format!("[default]\n{setting}\n");
            let chosen = choice(&[CONTAINER, INSTANCE], &config, credentials);
            assert_eq!(chosen, Err(expected), "{setting}");
        }
        // The credentials file's keys go before these two.
        for setting in ["login_session = s", "credential_process = p"] {
            let config = format!("[default]\n{setting}\n");
            let chosen = choice(&[], &config, CREDENTIALS_FILE);
            assert_eq!(chosen.as_deref(), Ok("IN_CREDENTIALS"), "{setting}");
        }
    }

    #[test]
    fn a_profile_that_was_named_is_there() {
        let other = ["AWS_PROFILE=other", CONTAINER];
        assert_eq!(
            choice(&other, CONFIG_FILE, CREDENTIALS_FILE).unwrap_err(),
            "the AWS profile that AWS_PROFILE names is not there"
        );
        let its = "[profile other]\nregion = eu-west-1\n";
        assert_eq!(
            choice(&other, its, CREDENTIALS_FILE).as_deref(),
            Ok("container")
        );
    }

    #[test]
    fn without_any_source_the_sentence_tells_where_was_looked() {
        assert_eq!(
            choice(&[], "", "").unwrap_err(),
            "there are no AWS credentials in the environment, a profile or a container, \
             and this is no EC2 instance"
        );
        assert_eq!(
            choice(&["AWS_EC2_METADATA_DISABLED=true", INSTANCE], "", "").unwrap_err(),
            "there are no AWS credentials in the environment, a profile or a container, \
             and AWS_EC2_METADATA_DISABLED is true"
        );
    }
}
