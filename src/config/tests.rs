use super::*;

pub(super) fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::of_variables(variables)
}

/// With a bucket besides, since nothing else has AWS's settings read.
pub(super) fn read_s3(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    read(&[variables, &[("JOURNAL_KEY_STORE", "s3://bucket")]].concat())
}

#[test]
fn a_directory_of_keys_asks_nothing_of_aws() {
    for (variable, value) in [
        ("HTTPS_PROXY", "socks5://127.0.0.1:1080"),
        ("AWS_ACCESS_KEY_ID", "AK"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://10.0.0.1"),
        ("AWS_REGION", "eu west"),
    ] {
        let with = |store| read(&[("JOURNAL_KEY_STORE", store), (variable, value)]);
        assert!(with("file:///srv/keys").is_ok(), "{variable}");
        assert!(with("s3://bucket").is_err(), "{variable}");
    }
}

#[test]
fn an_empty_environment_gives_the_documented_defaults() {
    let config = read(&[]).unwrap();
    assert_eq!(config.store, None);
    assert_eq!(config.cache_keys.get(), 200_000);
    assert_eq!(config.key_prefix, "s3_files/journals/keys/master/");
    assert_eq!(config.cache_ttl, Duration::from_secs(3600));
    assert_eq!(config.cache_stale, Duration::from_secs(3600));
    assert_eq!(config.fetch_timeout, Duration::from_secs(4));
    assert_eq!(config.fetch_threads.get(), 32);
    assert_eq!(config.item_max, 16_777_216);
    assert_eq!(config.schema, "main");
    assert!(!config.replicated);
    assert_eq!(config.admin, Admin::None);
}

#[test]
fn an_empty_prefix_allows_any_name_and_other_empty_values_are_unset() {
    let config = read(&[("JOURNAL_KEY_PREFIX", ""), ("JOURNAL_CACHE_KEYS", "")]).unwrap();
    assert_eq!(config.key_prefix, "");
    assert_eq!(config.cache_keys.get(), 200_000);
}

#[test]
fn stores_are_buckets_and_absolute_directories() {
    let store = |text| read(&[("JOURNAL_KEY_STORE", text)]).map(|c| c.store.unwrap());
    let bucket = |name: &str| StoreLocation::S3 {
        bucket: Bucket::Named(name.into()),
    };
    assert_eq!(store("s3://my.bucket-1"), Ok(bucket("my.bucket-1")));
    assert_eq!(store("s3://journal/"), Ok(bucket("journal")));
    let directory = |path: &str| StoreLocation::Directory(path.into());
    assert_eq!(store("file:///srv/keys"), Ok(directory("/srv/keys")));
    assert_eq!(
        store("file:///srv/my%20keys"),
        Ok(directory("/srv/my keys"))
    );
    for text in [
        "s3://",
        "s3://a",
        "s3://a/b",
        "s3://a..b",
        "s3://b?x",
        "/srv",
        "file://host/srv",
        "file://keys",
        "file:///srv/a#b",
        "file:///srv/a?b",
        "http://x",
    ] {
        assert!(store(text).is_err(), "{text}");
    }
}

#[test]
fn a_value_that_cannot_be_read_names_its_variable_and_not_itself() {
    for (variable, value, reason) in [
        ("JOURNAL_CACHE_KEYS", "many", "not a number"),
        ("JOURNAL_CACHE_KEYS", "0", "must be at least 1"),
        ("JOURNAL_FETCH_THREADS", "9999", "too large"),
        ("JOURNAL_CACHE_TTL", "-1", "not a number of seconds"),
        ("JOURNAL_CACHE_TTL", "NaN", "not a number of seconds"),
        ("JOURNAL_CACHE_STALE", "inf", "not a number of seconds"),
        ("JOURNAL_FETCH_TIMEOUT", "0", "no time at all"),
        ("JOURNAL_ALLOW_HTTP", "yes", "neither 0 nor 1"),
        ("JOURNAL_REPLICATED", "maybe", "neither auto, on nor off"),
        (
            "JOURNAL_SCHEMA",
            "TEMP",
            "not a schema that may hold the key tables",
        ),
        (
            "HTTPS_PROXY",
            "socks5://secret@host",
            "not an http:// or https:// proxy",
        ),
        ("AWS_REGION", "eu west", "not a region's name"),
        (
            "AWS_ACCESS_KEY_ID",
            "AK",
            "missing beside AWS_ACCESS_KEY_ID",
        ),
    ] {
        let error = read_s3(&[(variable, value)]).unwrap_err();
        assert_eq!(error.reason, reason, "{variable}={value}");
    }
    let error = read(&[("JOURNAL_CACHE_KEYS", "many")]).unwrap_err();
    assert_eq!(error.to_string(), "JOURNAL_CACHE_KEYS: not a number");
}

#[test]
fn auto_recognises_rqlited() {
    let none = |_: &str| None;
    let auto = |host| Config::read(&Environment(&none), host).unwrap().replicated;
    assert!(auto(Some("rqlited")));
    assert!(auto(Some("rqlited-v9")));
    assert!(!auto(Some("sqlite3")));
    assert!(!auto(Some("rqlite")));
    assert!(!auto(None));
    assert!(read(&[("JOURNAL_REPLICATED", "on")]).unwrap().replicated);
    assert!(!read(&[("JOURNAL_REPLICATED", "off")]).unwrap().replicated);
}

#[test]
fn an_administrator_may_make_keys_alone() {
    let admin = |value| read(&[("JOURNAL_ADMIN", value)]).map(|config| config.admin);
    assert_eq!(admin("0"), Ok(Admin::None));
    assert_eq!(admin("create"), Ok(Admin::Create));
    assert_eq!(admin("1"), Ok(Admin::All));
    assert!(admin("Create").is_err() && admin("2").is_err());
}
