//! A real Keystone decides who is known: the clients' logins, what they may, and what happens when it is gone.

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::connect::script;
use crate::support::console::{Console, Manner};
use crate::support::keystone::{Keystone, PASSWORD, project_named};
use crate::support::server::{Running, http, open, token_of};
use crate::support::xvnc::Xvnc;
use crate::support::{python, temp};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000003";
const NAME: &str = "keystone-vm";

/// A cloud: Keystone with two projects and three users, and an issuer with one server of the project `demo`.
struct Cloud {
    keystone: Keystone,
    running: Running,
    demo: String,
    demo_user: String,
}

impl Cloud {
    async fn start(consoles: &str) -> Self {
        let keystone = Keystone::start().await;
        let (demo, other) = (keystone.project("demo").await, keystone.project("other").await);
        let (demo_user, reader) = (keystone.user("demo").await, keystone.user("reader").await);
        keystone.assign(&demo_user, &demo, "member").await;
        keystone.assign(&demo_user, &other, "member").await;
        keystone.assign(&reader, &demo, "reader").await;
        let running = Running::start(&format!(
            "[limits]\noutstanding_per_target = 0\nissue_per_second = 0\n\
             [auth.keystone]\nurl = \"{}\"\nusername = \"consolegate\"\npassword = \"{PASSWORD}\"\ntimeout = \"60s\"\n\
             [[target]]\nid = \"{VM}\"\nname = \"{NAME}\"\nproject = \"{demo}\"\n{consoles}\n",
            keystone.url()
        ))
        .await;
        keystone.compute_at(&format!("http://{}/v2.1", running.at.api)).await;
        Self { keystone, running, demo, demo_user }
    }

    /// Asks for the server's console; the whole answer as text.
    async fn ask(&self, token: &str) -> String {
        let headers = format!(
            "X-Auth-Token: {token}\r\nContent-Type: application/json\r\nOpenStack-API-Version: compute 2.96\r\n"
        );
        let body = json!({"remote_console": {"protocol": "vnc", "type": "novnc"}}).to_string();
        let path = format!("/v2.1/servers/{VM}/remote-consoles");
        http(self.running.at.api, "POST", &path, &headers, &body).await
    }

    #[track_caller]
    fn check(&self, answer: &str, status: u16, words: &str) {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        assert!(answer.contains(words), "{words}: {answer}");
    }

    /// `openstack console url show --novnc`, after a login of its own.
    async fn openstack(&self, login: &[&str]) -> python::Ran {
        let url = self.keystone.url();
        let all = [&["--os-auth-url", &url, "--os-region-name", "RegionOne"], login].concat();
        let show = ["console", "url", "show", "--novnc", NAME, "-f", "json"];
        python::run("openstack", &[&all[..], &show[..]].concat(), &[]).await
    }
}

fn by_password<'a>(user: &'a str, project: &'a str) -> Vec<&'a str> {
    vec![
        "--os-username",
        user,
        "--os-password",
        PASSWORD,
        "--os-project-name",
        project,
        "--os-user-domain-name",
        "Default",
        "--os-project-domain-name",
        "Default",
    ]
}

fn in_project(name: &str) -> Value {
    json!({"project": project_named(name)})
}

#[tokio::test(flavor = "multi_thread")]
async fn openstackclient_goes_from_login_to_a_console() {
    let screen = Xvnc::start(None).await;
    let cloud = Cloud::start(&format!("vnc = \"tcp://{}\"", screen.address())).await;
    let token = cloud.keystone.log_in("demo", in_project("demo")).await;
    let (id, secret) = cloud.keystone.application_credential(&cloud.demo_user, &token).await;
    let credential = [
        "--os-auth-type",
        "v3applicationcredential",
        "--os-application-credential-id",
        &id,
        "--os-application-credential-secret",
        &secret,
    ];
    for login in [&by_password("demo", "demo")[..], &credential] {
        let shown: Value = serde_json::from_str(&cloud.openstack(login).await.success()).unwrap();
        let ws = cloud.running.ws(&token_of(shown["url"].as_str().unwrap()));
        let (mut socket, _) = open(&ws, &[]).await.unwrap_or_else(|status| panic!("{status}: {shown}"));
        assert_eq!(socket.next().await.unwrap().unwrap().into_data().as_ref(), b"RFB 003.008\n");
    }
    for (user, project, words) in [
        ("reader", "demo", "Policy doesn't allow os_compute_api:os-remote-consoles to be performed."),
        ("demo", "other", &format!("No Server found for {NAME}")),
    ] {
        let ran = cloud.openstack(&by_password(user, project)).await;
        assert!(!ran.status.success() && ran.stderr.contains(words), "{user} in {project}: {}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keystone_has_the_last_word_and_is_asked_once() {
    let console = Console::new(Manner::Vnc).await;
    let mut cloud = Cloud::start(&console.setting("vnc")).await;
    let member = cloud.keystone.log_in("demo", in_project("demo")).await;
    let before = cloud.keystone.validations();
    let all = futures_util::future::join_all((0..20).map(|_| cloud.ask(&member))).await;
    for answer in all {
        cloud.check(&answer, 200, "token%3D");
    }
    assert_eq!(cloud.keystone.validations() - before, 1, "twenty callers at once share one look-up");

    // Who may not, and why.
    let reader = cloud.keystone.log_in("reader", in_project("demo")).await;
    cloud.check(&cloud.ask(&reader).await, 403, "Policy doesn't allow os_compute_api:os-remote-consoles");
    let other = cloud.keystone.log_in("demo", in_project("other")).await;
    cloud.check(&cloud.ask(&other).await, 404, "could not be found");
    let path = format!("/v2.1/{}/servers", cloud.demo);
    let headers = format!("X-Auth-Token: {other}\r\n");
    let foreign = http(cloud.running.at.api, "GET", &path, &headers, "").await;
    cloud.check(&foreign, 400, "doesn't match Context's project_id");
    let unscoped = cloud.keystone.log_in("demo", json!("unscoped")).await;
    cloud.check(&cloud.ask(&unscoped).await, 401, "for no project");
    let uri = format!("www-authenticate: Keystone uri=\"http://{}\"", cloud.keystone.address);
    cloud.check(&cloud.ask("gAAAAA-no-such-token").await, 401, &uri);
    let before = cloud.keystone.validations();
    cloud.check(&cloud.ask("gAAAAA-no-such-token").await, 401, "requires authentication");
    assert_eq!(cloud.keystone.validations(), before, "a refusal is remembered for a moment");

    // A revoked token works until its answer has aged.
    cloud.keystone.revoke(&member).await;
    cloud.check(&cloud.ask(&member).await, 200, "token%3D");
    cloud.running.clock.advance(std::time::Duration::from_secs(60));
    cloud.check(&cloud.ask(&member).await, 401, "requires authentication");

    // Keystone gone: who is known goes on for a minute, nobody else gets in.
    let known = cloud.keystone.log_in("demo", in_project("demo")).await;
    let late = cloud.keystone.log_in("demo", in_project("demo")).await;
    cloud.check(&cloud.ask(&known).await, 200, "token%3D");
    cloud.keystone.stop().await;
    cloud.check(&cloud.ask(&known).await, 200, "token%3D");
    cloud.check(&cloud.ask(&late).await, 503, "retry-after: 5");
    cloud.running.clock.advance(std::time::Duration::from_secs(60));
    cloud.check(&cloud.ask(&known).await, 503, "serviceUnavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_client_goes_from_login_to_a_console() {
    let console = Console::new(Manner::Echo).await;
    let cloud = Cloud::start(&console.setting("serial")).await;
    let token = cloud.keystone.log_in("demo", in_project("demo")).await;
    let (id, secret) = cloud.keystone.application_credential(&cloud.demo_user, &token).await;
    let url = cloud.keystone.url();
    // Without the version, as many an openrc has it.
    let bare = url.trim_end_matches("/v3");
    let password = [
        ("OS_AUTH_URL", bare),
        ("OS_USERNAME", "demo"),
        ("OS_PASSWORD", PASSWORD),
        ("OS_PROJECT_NAME", "demo"),
        ("OS_USER_DOMAIN_NAME", "Default"),
        ("OS_PROJECT_DOMAIN_NAME", "Default"),
        ("OS_REGION_NAME", "RegionOne"),
        ("OS_INTERFACE", "public"),
        ("OS_IDENTITY_API_VERSION", "3"),
    ];
    let credential = [
        ("OS_AUTH_TYPE", "v3applicationcredential"),
        ("OS_AUTH_URL", &url),
        ("OS_APPLICATION_CREDENTIAL_ID", &id),
        ("OS_APPLICATION_CREDENTIAL_SECRET", &secret),
    ];
    let token = [("OS_AUTH_URL", url.as_str()), ("OS_TOKEN", &token), ("OS_PROJECT_ID", &cloud.demo)];
    for login in [&password[..], &credential, &token] {
        let (code, out, said) = script(&["--server", NAME, "--until", "there"], login, "there\n").await;
        assert!(code == 0 && out == "there\n", "{}: {code} {said}", login[0].0);
        assert!(!said.contains(PASSWORD) && !said.contains(&secret), "{said}");
    }
    let with = |name: &'static str, value: &'static str| {
        let rest = password.into_iter().filter(|(other, _)| *other != name);
        rest.chain([(name, value)]).collect::<Vec<_>>()
    };
    for (name, value, expected, words) in [
        ("OS_PASSWORD", "wrong", 3, "Keystone refused the login: 401"),
        ("OS_PROJECT_NAME", "nowhere", 3, "Keystone refused the login: 401"),
        ("OS_USERNAME", "reader", 3, "Policy doesn't allow os_compute_api:os-remote-consoles"),
        ("OS_PROJECT_NAME", "other", 3, "could not be found"),
        ("OS_REGION_NAME", "Elsewhere", 1, "it has RegionOne public"),
        ("OS_AUTH_URL", "http://127.0.0.1:1/v3", 4, "cannot ask http://127.0.0.1:1 (is it running?)"),
    ] {
        let (code, _, said) = script(&["--server", NAME], &with(name, value), "").await;
        assert!(code == expected && said.contains(words), "{name}={value}: {code} {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_clouds_yaml_serves_openstackclient_and_ours() {
    let console = Console::new(Manner::Echo).await;
    let cloud = Cloud::start(&console.setting("serial")).await;
    let dir = temp::dir();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let clouds = format!(
        "clouds:\n  shop:\n    auth:\n      auth_url: {}\n      username: demo\n      project_name: demo\n      \
         user_domain_name: Default\n      project_domain_name: Default\n    region_name: RegionOne\n    \
         interface: public\n    identity_api_version: 3\n    compute_api_version: 2.6\n",
        cloud.keystone.url()
    );
    let clouds = file("clouds.yaml", &clouds);
    let secure = file("secure.yaml", &format!("clouds:\n  shop:\n    auth:\n      password: {PASSWORD}\n"));
    let mut named = vec![
        ("OS_CLOUD", "shop"),
        ("OS_CLIENT_CONFIG_FILE", clouds.as_str()),
        ("OS_CLIENT_SECURE_FILE", secure.as_str()),
    ];
    let show = ["console", "url", "show", "--serial", NAME, "-f", "json"];
    let shown: Value =
        serde_json::from_str(&python::run("openstack", &show, &named).await.success()).unwrap();
    assert!(shown["url"].as_str().is_some_and(|url| url.contains("token")), "{shown}");
    let arguments = ["--server", NAME, "--until", "there"];
    let (code, out, said) = script(&arguments, &named, "there\n").await;
    assert!(code == 0 && out == "there\n", "{code} {said}");
    // A variable is stronger than the file.
    named.push(("OS_PROJECT_NAME", "other"));
    let (code, _, said) = script(&arguments, &named, "").await;
    assert!(code == 3 && said.contains("could not be found"), "{code} {said}");
    let there_is_no = python::run("openstack", &show, &named).await;
    assert!(!there_is_no.status.success() && there_is_no.stderr.contains("No Server found"));
}
