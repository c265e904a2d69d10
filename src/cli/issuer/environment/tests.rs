//! What openrc files in the wild say, and what is wrong with them.

use secrecy::ExposeSecret as _;

use super::*;

fn read(variables: &[(&str, &str)], api: Option<&str>) -> Result<Environment, EnvironmentError> {
    let lookup =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Environment::read(api, &lookup)
}

fn keystone(variables: &[(&str, &str)]) -> Keystone {
    match read(variables, None).unwrap().login {
        Login::Keystone(keystone) => *keystone,
        other => panic!("{other}"),
    }
}

const OPENRC: [(&str, &str); 8] = [
    ("OS_AUTH_URL", "https://id.example:5000/"),
    ("OS_USERNAME", "demo"),
    ("OS_PASSWORD", "p w"),
    ("OS_PROJECT_NAME", "shop"),
    ("OS_USER_DOMAIN_NAME", "Default"),
    ("OS_PROJECT_DOMAIN_ID", "default"),
    ("OS_REGION_NAME", "RegionOne"),
    ("OS_INTERFACE", "publicURL"),
];

#[test]
fn an_openrc_file_with_a_password() {
    let found = keystone(&OPENRC);
    assert_eq!((found.url.as_str(), found.interface.as_str()), ("https://id.example:5000/v3", "public"));
    assert_eq!(found.region.as_deref(), Some("RegionOne"));
    let Method::Password { user, password } = &found.method else { panic!("{found:?}") };
    let demo = Named::Name { name: "demo".into(), domain: Domain::Name("Default".into()) };
    assert_eq!((user, password.expose_secret()), (&demo, "p w"));
    let shop = Named::Name { name: "shop".into(), domain: Domain::Id("default".into()) };
    assert_eq!(found.project, Some(shop));
    assert!(!format!("{found:?}").contains("p w"), "a password in Debug");
    // The domain that openstackclient takes where none is named.
    let bare: Vec<_> = OPENRC.into_iter().filter(|(name, _)| !name.contains("DOMAIN")).collect();
    let Method::Password { user, .. } = keystone(&bare).method else { panic!() };
    assert_eq!(user, Named::Name { name: "demo".into(), domain: Domain::Id("default".into()) });
}

#[test]
fn an_application_credential_wins_over_a_password() {
    let more = [("OS_APPLICATION_CREDENTIAL_ID", "ac1"), ("OS_APPLICATION_CREDENTIAL_SECRET", "s3")];
    let found = keystone(&[&OPENRC[..], &more].concat());
    assert!(
        matches!(found.method, Method::ApplicationCredential { credential: Named::Id(id), .. } if id == "ac1")
    );
    let typed = [("OS_AUTH_TYPE", "v3password")];
    let found = keystone(&[&OPENRC[..], &more, &typed].concat());
    assert!(matches!(found.method, Method::Password { .. }));
}

#[test]
fn our_own_variables_and_plain_tokens() {
    let api = Some("http://127.0.0.1:8774/v2.1/");
    let found = read(&[("CONSOLEGATE_TOKEN", "t"), ("OS_AUTH_URL", "x")], api).unwrap();
    assert!(matches!(found.login, Login::Token(token) if token.expose_secret() == "t"));
    assert_eq!(found.base.as_deref(), Some("http://127.0.0.1:8774/v2.1"));
    let basic =
        [("CONSOLEGATE_USERNAME", "u"), ("CONSOLEGATE_PASSWORD", "p"), ("CONSOLEGATE_API", "http://x")];
    assert!(matches!(read(&basic, None).unwrap().login, Login::Basic { user, .. } if user == "u"));
    let typed = [
        ("OS_AUTH_TYPE", "http_basic"),
        ("OS_USERNAME", "u"),
        ("OS_PASSWORD", "p"),
        ("OS_ENDPOINT", "http://x"),
    ];
    assert!(matches!(read(&typed, None).unwrap().login, Login::Basic { .. }));
    assert!(matches!(read(&[("OS_TOKEN", "t")], api).unwrap().login, Login::Token(_)));
    let rescoped = keystone(&[("OS_TOKEN", "t"), ("OS_AUTH_URL", "http://x/v3")]);
    assert!(matches!(rescoped.method, Method::Token(_)));
}

#[test]
fn versions_choose_the_call() {
    let read = |written: &str| version(Some(written.to_owned()));
    assert_eq!(version(None), Ok(Version::Remote("2.6".into())));
    assert_eq!(read("2.96").unwrap().header(), "compute 2.96");
    assert_eq!(read("2.latest").unwrap().header(), "compute latest");
    for old in ["2", "2.0", "2.1"] {
        assert_eq!(read(old), Ok(Version::Actions("2.1".into())), "{old}");
    }
    assert_eq!(read("2.5"), Ok(Version::Actions("2.5".into())));
    for wrong in ["1.1", "2.x", "3.0", "2.99999999"] {
        assert_eq!(read(wrong), Err(EnvironmentError::ComputeVersion(wrong.into())));
    }
}

#[test]
fn what_is_missing_is_named() {
    let missing = |variables: &[(&str, &str)]| read(variables, None).map(|_| ()).unwrap_err();
    assert_eq!(missing(&[]), EnvironmentError::Nothing);
    assert_eq!(missing(&[("OS_TOKEN", "t")]), EnvironmentError::Nothing);
    assert_eq!(missing(&[("CONSOLEGATE_TOKEN", "t")]), EnvironmentError::NoBase);
    assert_eq!(missing(&OPENRC[..2]), EnvironmentError::Missing("OS_PASSWORD"));
    assert_eq!(
        missing(&[("OS_AUTH_URL", "x"), ("OS_USERNAME", "")]),
        EnvironmentError::Missing("OS_USERNAME")
    );
    assert_eq!(
        missing(&[("OS_AUTH_TYPE", "v3oidc"), ("OS_AUTH_URL", "x")]),
        EnvironmentError::AuthType("v3oidc".into())
    );
    let two = [&OPENRC[..], &[("OS_IDENTITY_API_VERSION", "2.0")]].concat();
    assert_eq!(missing(&two), EnvironmentError::IdentityVersion("2.0".into()));
}
