//! What the log says, and what it never says.

use super::super::super::testing::logged;
use super::*;

#[test]
fn one_line_a_decision_and_no_secret_in_any() {
    let fixture = Fixture::new();
    let mut tokens = Vec::new();
    let log = logged(|| {
        let reply = fixture.call(&remote(VM, NOVNC, AT_2_6));
        let token = reply.token().reveal().to_owned();
        let headers = &[("X-OpenStack-Nova-API-Version", "2.31")];
        let uri = format!("/v2.1/os-console-auth-tokens/{token}?query-secret=1");
        for token in ["admin", "member", "credential-secret"] {
            fixture.call(&Ask { uri: &uri, token, headers, ..Ask::default() });
        }
        fixture.call(&Ask { uri: "/v2.1/servers?name=query-secret", ..Ask::default() });
        fixture.call(&remote("/v2.1/servers/a%0Ab/action", r#"{"os-getVNCConsole":{"type":"novnc"}}"#, &[]));
        fixture.call(&remote(VM, r#"{"remote_console":{"protocol":"body-secret"}}"#, AT_2_6));
        let (server, user) = ("vm".into(), "root".into());
        let issued = fixture.api.issue(&server, Protocol::Vnc, &user, None);
        let url = tokio_test::block_on(issued).unwrap();
        tokens = vec![token, url[url.len() - 36..].to_owned()];
    });
    let issued: Vec<_> = log.lines().filter(|line| line.contains("console issued")).collect();
    assert_eq!(issued.len(), 2, "{log}");
    for part in ["request=req-", "target=\"vm\"", "user=\"member\"", "protocol=\"vnc\"", "grant=", "token=\""]
    {
        assert!(issued[0].contains(part), "{part}: {}", issued[0]);
    }
    let refused: Vec<_> = log.lines().filter(|line| line.contains("request refused")).collect();
    let causes = [("policy", 3), ("unauthenticated", 1), ("no-server", 4), ("schema", 9)];
    assert_eq!(refused.len(), causes.len(), "{log}");
    for (line, (cause, code)) in refused.iter().zip(causes) {
        assert!(line.contains(&format!("cause=\"{cause}\" code=\"CONSOLE.{code:04}\"")), "{line}");
    }
    assert!(refused[2].contains(r#"target="a\nb""#), "escaped: {}", refused[2]);
    assert!(!log.contains("secret"), "{log}");
    for token in &tokens {
        assert!(!log.contains(token), "{log}");
    }
}
