use super::*;

fn files(root: &Path, name: Option<&str>, config: &str, credentials: &str) -> ProfileFiles {
    let file = |name: &str, content: &str| {
        let path = root.join(name);
        std::fs::write(&path, content).unwrap();
        Some(File {
            path,
            variable: None,
        })
    };
    ProfileFiles {
        name: name.map(Into::into),
        config: file("config", config),
        credentials: file("credentials", credentials),
        ..ProfileFiles::default()
    }
}

fn profile(name: Option<&str>, config: &str, credentials: &str) -> Profile {
    let root = tempfile::tempdir().unwrap();
    let files = files(root.path(), name, config, credentials);
    let files = files.read().unwrap();
    files.profile(files.name())
}

fn exists(files: &ProfileFiles) -> bool {
    files.read().unwrap().profile("default").exists()
}

const FILE: &str = "\
# a comment
[default]
region = eu-west-1   
; another
[profile one]
Region=eu-north-1
[profile \"two words\"]
region : us-west-2
[one]
region = not-a-profile
[sso-session one]
region = nor-this
[profile one]
output = json
";

#[test]
fn a_profile_of_the_config_file_has_its_prefix_unless_it_is_the_default() {
    for (name, expected) in [
        (None, Some("eu-west-1")),
        (Some("default"), Some("eu-west-1")),
        (Some("one"), Some("eu-north-1")),
        (Some("two words"), Some("us-west-2")),
        (Some("two"), None),
        (Some("profile one"), None),
    ] {
        let profile = profile(name, FILE, "");
        let region = profile.get("region").map(SecretString::expose);
        assert_eq!(region, expected, "{name:?}");
        assert_eq!(profile.exists(), expected.is_some(), "{name:?}");
    }
}

#[test]
fn the_credentials_file_goes_before_the_config_file_and_has_no_prefix() {
    let profile = profile(
        Some("one"),
        "[profile one]\nregion = a\nrole_arn = b\n",
        "[profile one]\nregion = wrong\n[one]\n  region = c\n  aws_access_key_id = AK=:=\n",
    );
    let get = |name| profile.get(name).map(SecretString::expose);
    assert_eq!(get("region"), Some("c"));
    assert_eq!(get("role_arn"), Some("b"));
    assert_eq!(get("aws_access_key_id"), Some("AK=:="));
    assert!(profile.in_config("aws_access_key_id").is_none());
}

#[test]
fn nested_settings_are_told_from_the_profile_s_own() {
    let profile = profile(
        None,
        "[default]\n\
         services = mine\n\
         s3 =\n  endpoint_url = https://not-this\n  region = nor-this\n\
         region = eu-west-1\n\
         credential_process =\n   /bin/without-a-sign\n   [no header]\n\
         [services mine]\n\
         s3 = \n\n  endpoint_url = https://s3.internal\n\
         sts =\n\tendpoint_url=https://sts.internal\n",
        "",
    );
    let of = |setting: Option<&SecretString>| setting.map(|s| s.expose().to_owned());
    assert_eq!(of(profile.get("region")).as_deref(), Some("eu-west-1"));
    assert_eq!(
        of(profile.endpoint("s3")).as_deref(),
        Some("https://s3.internal")
    );
    assert_eq!(
        of(profile.endpoint("sts")).as_deref(),
        Some("https://sts.internal")
    );
    assert_eq!(of(profile.endpoint("ec2")), None);
}

#[test]
fn a_file_that_is_not_there_has_no_profile_and_one_that_is_no_text_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let mut files = files(root.path(), None, "", "[default]\naws_access_key_id = AK\n");
    for path in [
        root.path().join("none"),
        root.path().join("config/x"),
        "/dev/null".into(),
    ] {
        files.config = Some(File {
            path,
            variable: Some(CONFIG),
        });
        assert!(exists(&files));
    }
    std::fs::write(root.path().join("credentials"), b"[default]\n\xff=\xff\n").unwrap();
    let error = files.read().unwrap_err().to_string();
    assert_eq!(error, "AWS_SHARED_CREDENTIALS_FILE: not UTF-8");
    files.config = Some(File {
        path: root.path().into(),
        variable: Some(CONFIG),
    });
    files.credentials = None;
    assert!(!exists(&files));
}

#[test]
fn the_files_are_below_home_unless_they_are_named() {
    let paths = |variables: &[(&str, &str)]| {
        let lookup = |name: &str| {
            let (_, value) = variables.iter().find(|(n, _)| *n == name)?;
            Some(std::ffi::OsString::from(value))
        };
        let files = ProfileFiles::of(&Environment(&lookup)).unwrap();
        [files.config, files.credentials].map(|f| Some(f?.path.to_string_lossy().into_owned()))
    };
    let expected = |config: Option<&str>, credentials: Option<&str>| {
        [config, credentials].map(|path| path.map(str::to_owned))
    };
    assert_eq!(paths(&[]), expected(None, None));
    assert_eq!(
        paths(&[("HOME", "/home/me"), ("AWS_CONFIG_FILE", "/etc/aws")]),
        expected(Some("/etc/aws"), Some("/home/me/.aws/credentials"))
    );
    assert_eq!(
        paths(&[("HOME", "/home/me"), ("AWS_SHARED_CREDENTIALS_FILE", "~/c")]),
        expected(Some("/home/me/.aws/config"), Some("/home/me/c"))
    );
}
