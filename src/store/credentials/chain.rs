//! The order in which credentials are looked for: the AWS command line's
//! (<https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-authentication.html>).
//!
//! The first source that is configured is the one; where it fails, none after it is asked.

use std::time::Instant;

use once_cell::sync::OnceCell;

use super::assumed_role::Role;
use super::login::Login;
use super::program::Program;
use super::single_sign_on::SingleSignOn;
use super::{Credentials, Found, container, instance, web_identity};
use crate::config::aws::{Keys, WebIdentity};
use crate::config::metadata::{Container, Instance};
use crate::config::profile::{Files, Profile};
use crate::config::{Aws, ConfigError};
use crate::secret::SecretString;
use crate::store::StoreError;
use crate::store::http::Http;

/// What all searches go by: the configuration, and how services are reached.
pub(super) struct Sources {
    pub(super) aws: &'static Aws,
    outward: OnceCell<Http>,
    near: OnceCell<Http>,
}

impl Sources {
    pub(super) fn new(aws: &'static Aws) -> Self {
        Self {
            aws,
            outward: OnceCell::new(),
            near: OnceCell::new(),
        }
    }

    /// Looks for credentials, before `deadline`.
    pub(super) fn search(&self, deadline: Instant) -> Result<Found, StoreError> {
        if let Some(keys) = &self.aws.keys {
            return Ok(environment(keys));
        }
        let files = self.aws.profile.read();
        let files = files.map_err(|error| StoreError::Denied(error.to_string()))?;
        Source::of(self.aws, &files)?.fetch(self, deadline)
    }

    /// To services of AWS's: by the proxy, if there is one.
    pub(super) fn outward(&self) -> Result<&Http, StoreError> {
        once(&self.outward, || Http::new(self.aws, 1))
    }

    /// To services of this machine's or its container's.
    pub(super) fn near(&self) -> Result<&Http, StoreError> {
        once(&self.near, || Http::direct(self.aws))
    }
}

fn once(
    cell: &OnceCell<Http>,
    make: impl FnOnce() -> Result<Http, ConfigError>,
) -> Result<&Http, StoreError> {
    cell.get_or_try_init(make).map_err(StoreError::lasting)
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
    /// A role, and whose credentials it is assumed with.
    Role(Role, Box<Self>),
    WebIdentity(web_identity::Identity),
    SingleSignOn(SingleSignOn),
    Login(Login),
    Program(Program),
    Profile(Credentials),
    Container(&'a Container),
    Instance(&'a Instance),
}

impl<'a> Source<'a> {
    fn of(aws: &'a Aws, files: &Files<'_>) -> Result<Self, StoreError> {
        let name = files.name();
        let profile = files.profile(name);
        if aws.profile.is_named() && !profile.exists() {
            return Err(denied(
                "the AWS profile that AWS_PROFILE names is not there",
            ));
        }
        if let Some(role) = Self::of_role(aws, files, &profile, &mut vec![name.to_owned()])? {
            return Ok(role);
        }
        if let Some(source) = Self::of_profile(&aws.web_identity, files, &profile)? {
            return Ok(source);
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

    /// The role of a profile's, and where the credentials are that it is assumed with; `visited` are the profiles that led
    /// to this one, itself the last.
    fn of_role(
        aws: &'a Aws,
        files: &Files<'_>,
        profile: &Profile,
        visited: &mut Vec<String>,
    ) -> Result<Option<Self>, StoreError> {
        let Some(role) = Role::of(profile)? else {
            return Ok(None);
        };
        let text = |name| profile.get(name).map(SecretString::expose);
        let source = match (text("source_profile"), text("credential_source")) {
            (Some(name), None) => Self::of_source_profile(aws, files, name, visited)?,
            (None, Some(word)) => Self::by_name(aws, word)?,
            _ => {
                return Err(denied(
                    "the AWS profile has role_arn without one of source_profile and \
                     credential_source",
                ));
            }
        };
        Ok(Some(Self::Role(role, Box::new(source))))
    }

    fn of_source_profile(
        aws: &'a Aws,
        files: &Files<'_>,
        name: &str,
        visited: &mut Vec<String>,
    ) -> Result<Self, StoreError> {
        let profile = files.profile(name);
        if !profile.exists() {
            return Err(denied(
                "the AWS profile that source_profile names is not there",
            ));
        }
        // Keys go before a role: so a profile may name itself.
        let has_keys = profile.get("aws_access_key_id").is_some();
        let is_itself = visited.last().is_some_and(|last| last == name);
        if visited.iter().any(|visited| visited == name) && !(has_keys && is_itself) {
            return Err(denied(
                "the AWS profile's source_profile leads back to a profile that it came from",
            ));
        }
        visited.push(name.to_owned());
        let role = match has_keys {
            true => None,
            false => Self::of_role(aws, files, &profile, visited)?,
        };
        let source = match role {
            Some(role) => Some(role),
            // The environment's web identity is for the profile that is in use.
            None => Self::of_profile(&WebIdentity::default(), files, &profile)?,
        };
        source.ok_or_else(|| denied("the AWS profile that source_profile names has no credentials"))
    }

    /// What a profile has besides a role to assume.
    fn of_profile(
        web_identity: &WebIdentity,
        files: &Files<'_>,
        profile: &Profile,
    ) -> Result<Option<Self>, StoreError> {
        if let Some(identity) = web_identity::Identity::of(web_identity, profile)? {
            return Ok(Some(Self::WebIdentity(identity)));
        }
        if let Some(single_sign_on) = SingleSignOn::of(files, profile)? {
            return Ok(Some(Self::SingleSignOn(single_sign_on)));
        }
        if let Some(credentials) = keys(&|name| profile.in_credentials(name))? {
            return Ok(Some(Self::Profile(credentials)));
        }
        if let Some(login) = Login::of(files, profile)? {
            return Ok(Some(Self::Login(login)));
        }
        if let Some(command) = profile.get("credential_process") {
            return Ok(Some(Self::Program(Program::of(command.expose())?)));
        }
        let credentials = keys(&|name| profile.in_config(name))?;
        Ok(credentials.map(Self::Profile))
    }

    /// The one that `credential_source` names. It is said to be there, and asked whatever the machine says of itself.
    fn by_name(aws: &'a Aws, name: &str) -> Result<Self, StoreError> {
        let source = match name.to_ascii_lowercase().as_str() {
            "ecscontainer" => aws.container.as_ref().map(Self::Container),
            "ec2instancemetadata" => aws.instance.as_ref().map(Self::Instance),
            // With any there it would have gone before the profile.
            "environment" => None,
            _ => {
                return Err(denied(
                    "the AWS profile's credential_source is none of Environment, EcsContainer and \
                     Ec2InstanceMetadata",
                ));
            }
        };
        source.ok_or_else(|| denied("the AWS profile's credential_source has no credentials"))
    }

    fn fetch(&self, sources: &Sources, deadline: Instant) -> Result<Found, StoreError> {
        match self {
            Self::Role(role, source) => {
                let found = source.fetch(sources, deadline)?;
                role.assume(sources, &found.credentials, deadline)
            }
            Self::WebIdentity(identity) => web_identity::fetch(sources, identity, deadline),
            Self::SingleSignOn(single_sign_on) => single_sign_on.fetch(sources, deadline),
            Self::Login(login) => login.read(),
            Self::Program(program) => program.run(deadline),
            Self::Profile(credentials) => Ok(Found {
                credentials: credentials.clone(),
                source: "profile",
                expiration: None,
                is_renewable: true,
                is_extendable: false,
            }),
            Self::Container(container) => container::fetch(sources, container, deadline),
            Self::Instance(instance) => Ok(Found {
                is_extendable: true,
                ..instance::fetch(sources, instance, deadline)?
            }),
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

pub(super) fn denied(reason: &str) -> StoreError {
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
        let files = aws.profile.read().unwrap();
        match Source::of(&aws, &files) {
            Ok(source) => Ok(named(&source)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn named(source: &Source<'_>) -> String {
        match source {
            Source::Role(_, source) => format!("role by {}", named(source)),
            Source::WebIdentity(_) => "web identity".to_owned(),
            Source::SingleSignOn(_) => "single sign-on".to_owned(),
            Source::Login(_) => "login".to_owned(),
            Source::Program(_) => "program".to_owned(),
            Source::Profile(credentials) => credentials.id.clone(),
            Source::Container(_) => "container".to_owned(),
            Source::Instance(_) => "instance".to_owned(),
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

    const SIGN_ON: &str =
        "sso_account_id = 1\nsso_role_name = r\nsso_start_url = u\nsso_region = x";

    #[test]
    fn a_profile_s_sources_have_their_order_too() {
        let role = "role_arn = r\ncredential_source = EcsContainer";
        let rest = "login_session = l\ncredential_process = p\naws_access_key_id = IN_CONFIG\n\
                    aws_secret_access_key = s";
        for (setting, credentials, expected) in [
            (
                format!("{role}\n{SIGN_ON}\n{rest}"),
                CREDENTIALS_FILE,
                "role by container",
            ),
            (
                format!("{SIGN_ON}\n{rest}"),
                CREDENTIALS_FILE,
                "single sign-on",
            ),
            (rest.to_owned(), CREDENTIALS_FILE, "IN_CREDENTIALS"),
            (rest.to_owned(), "", "login"),
            (rest.replace("login_session", "other"), "", "program"),
            (
                rest.replace("login_session", "other")
                    .replace("credential_process", "other"),
                "",
                "IN_CONFIG",
            ),
        ] {
            let config = format!("[default]\n{setting}\n");
            let environment = [CONTAINER, INSTANCE, "HOME=/home/me"];
            let chosen = choice(&environment, &config, credentials);
            assert_eq!(chosen.as_deref(), Ok(expected), "{setting}");
        }
    }

    #[test]
    fn a_role_is_assumed_with_what_its_profile_leads_to() {
        let roles = "[profile a]\nrole_arn = a\nsource_profile = b\n\
                     [profile b]\nrole_arn = b\nsource_profile = c\n";
        let chosen = |more: &str| {
            choice(
                &["AWS_PROFILE=a", CONTAINER, TOKEN_FILE],
                &format!("{roles}{more}"),
                CREDENTIALS_FILE,
            )
        };
        for (last, expected) in [
            (
                "role_arn = c\nsource_profile = default",
                "role by role by role by IN_CREDENTIALS",
            ),
            (
                "role_arn = c\ncredential_source = ecscontainer",
                "role by role by role by container",
            ),
            (
                "role_arn = c\ncredential_source = Ec2InstanceMetadata",
                "role by role by role by instance",
            ),
            (
                "role_arn = c\nweb_identity_token_file = /t",
                "role by role by web identity",
            ),
            ("credential_process = p", "role by role by program"),
            // Its own keys, and itself for its role: only the last of a chain, whose role is then not assumed.
            (
                "role_arn = c\nsource_profile = c\naws_access_key_id = C\naws_secret_access_key = s",
                "role by role by C",
            ),
        ] {
            let found = chosen(&format!("[profile c]\n{last}\n"));
            assert_eq!(found.as_deref(), Ok(expected), "{last}");
        }
        let itself = "[default]\nrole_arn = r\nsource_profile = default\n";
        assert_eq!(
            choice(&[], itself, CREDENTIALS_FILE).as_deref(),
            Ok("role by IN_CREDENTIALS")
        );
        let back = "the AWS profile's source_profile leads back to a profile that it came from";
        assert_eq!(choice(&[], itself, "").unwrap_err(), back);
        for (last, reason) in [
            ("role_arn = c\nsource_profile = a", back),
            ("role_arn = c\nsource_profile = c", back),
            (
                "role_arn = c\nsource_profile = d",
                "the AWS profile that source_profile names is not there",
            ),
            (
                "region = r",
                "the AWS profile that source_profile names has no credentials",
            ),
            (
                "role_arn = c",
                "the AWS profile has role_arn without one of source_profile and credential_source",
            ),
            (
                "role_arn = c\nsource_profile = default\ncredential_source = Environment",
                "the AWS profile has role_arn without one of source_profile and credential_source",
            ),
            (
                "role_arn = c\ncredential_source = Elsewhere",
                "the AWS profile's credential_source is none of Environment, EcsContainer and Ec2InstanceMetadata",
            ),
            (
                "role_arn = c\ncredential_source = Environment",
                "the AWS profile's credential_source has no credentials",
            ),
            (
                "role_arn = c\nmfa_serial = m\nsource_profile = default",
                "the AWS profile's role wants an MFA code (mfa_serial), and nobody is here to be asked for it",
            ),
            (
                "role_arn = c\nduration_seconds = hour\nsource_profile = default",
                "the AWS profile's duration_seconds is not a number",
            ),
        ] {
            let found = chosen(&format!("[profile c]\n{last}\n"));
            assert_eq!(found.unwrap_err(), reason, "{last}");
        }
    }

    #[test]
    fn signing_on_takes_what_the_profile_leaves_out_from_its_session() {
        let session = "[sso-session s]\nsso_start_url = u\nsso_region = eu-west-1\n";
        let chosen = |profile: &str, sections: &str| {
            choice(
                &["HOME=/home/me"],
                &format!("[default]\n{profile}\n{sections}"),
                "",
            )
        };
        let by_session = "sso_session = s\nsso_account_id = 1\nsso_role_name = r";
        for profile in [
            SIGN_ON,
            by_session,
            &format!("{by_session}\nsso_region = eu-west-1"),
        ] {
            assert_eq!(
                chosen(profile, session).as_deref(),
                Ok("single sign-on"),
                "{profile}"
            );
        }
        for (profile, reason) in [
            ("sso_account_id = 1", "the AWS profile lacks sso_start_url"),
            (
                "sso_account_id = 1\nsso_start_url = u",
                "the AWS profile lacks sso_region",
            ),
            (
                "sso_session = s\nsso_role_name = r",
                "the AWS profile lacks sso_account_id",
            ),
            (
                "sso_session = s\nsso_account_id = 1",
                "the AWS profile lacks sso_role_name",
            ),
            (
                "sso_session = t\nsso_account_id = 1",
                "the sso-session that the AWS profile names is not there",
            ),
            (
                &format!("{by_session}\nsso_region = eu-west-2"),
                "the AWS profile and its sso-session disagree on where to sign in",
            ),
            (
                &SIGN_ON.replace("sso_region = x", "sso_region = evil.example/"),
                "the AWS profile's sso_region is not a region's name",
            ),
        ] {
            assert_eq!(chosen(profile, session).unwrap_err(), reason, "{profile}");
        }
        let half = "[default]\naws_access_key_id = AK\n";
        assert_eq!(
            choice(&[CONTAINER], half, "").unwrap_err(),
            "the AWS profile has aws_access_key_id without aws_secret_access_key"
        );
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
