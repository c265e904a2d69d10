//! What a real Keystone does too rarely or too slowly: a script of answers, and a count of what was asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Mutex as StdMutex;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::config::Role;

use super::*;

const GOOD: &str = r#"{"token": {"user": {"id": "u"}, "project": {"id": "p"}, "roles": [{"name": "member"}],
    "expires_at": "2026-01-01T01:00:00.000000Z"}}"#;

fn unscoped() -> String {
    GOOD.replace("project", "domain")
}

/// One answer to a validation: a status and a body.
type Step = (u16, String);

/// A Keystone of our own making.
#[derive(Default)]
struct Script {
    /// Answers to validations, in turn; the last one stays.
    steps: StdMutex<VecDeque<Step>>,
    /// Status of logins.
    login: StdMutex<Option<u16>>,
    logins: StdMutex<usize>,
    /// What came: the token asked about, and ours.
    asked: StdMutex<Vec<(String, String)>>,
    /// Validations wait for it, if set.
    gate: Option<Notify>,
}

impl Script {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let header = |name| {
            let value = request.headers().get(name);
            value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(request.uri(), "/v3/auth/tokens?nocatalog");
        if request.method() == Method::POST {
            let count = {
                let mut logins = self.logins.lock().unwrap();
                *logins += 1;
                *logins
            };
            let status = self.login.lock().unwrap().unwrap_or(201);
            let response =
                Response::builder().status(status).header("X-Subject-Token", format!("ours-{count}"));
            return response.body(Full::default()).unwrap();
        }
        self.asked.lock().unwrap().push((header("x-subject-token"), header("x-auth-token")));
        let mut steps = self.steps.lock().unwrap();
        let step = if steps.len() > 1 { steps.pop_front() } else { steps.front().cloned() };
        let (status, body) = step.unwrap();
        Response::builder().status(status).body(Full::from(body)).unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn logins(&self) -> usize {
        *self.logins.lock().unwrap()
    }
}

struct Fixture {
    script: Arc<Script>,
    keystone: Arc<Keystone>,
    clock: Clock,
}

impl Fixture {
    async fn new(steps: &[(u16, &str)]) -> Self {
        Self::with(Script::default(), steps, Duration::from_secs(30)).await
    }

    async fn with(script: Script, steps: &[(u16, &str)], timeout: Duration) -> Self {
        *script.steps.lock().unwrap() = steps.iter().map(|(s, body)| (*s, (*body).to_owned())).collect();
        let script = Arc::new(script);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::clone(&script);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let script = Arc::clone(&served);
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let script = Arc::clone(&script);
                        async move {
                            if let Some(gate) =
                                script.gate.as_ref().filter(|_| request.method() == Method::GET)
                            {
                                gate.notified().await;
                            }
                            Ok::<_, Infallible>(script.answer(&request))
                        }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        let clock = Clock::manual_at(humantime::parse_rfc3339("2026-01-01T00:00:00Z").unwrap());
        let keystone = keystone(&format!("http://{address}/v3"), timeout, &clock);
        Self { script, keystone: Arc::new(keystone), clock }
    }

    async fn find(&self, token: &str) -> Result<String, AuthError> {
        self.keystone.find(token.as_bytes()).await.map(|caller| caller.user.to_string())
    }
}

fn keystone(url: &str, timeout: Duration, clock: &Clock) -> Keystone {
    let settings = config::Keystone {
        url: url.to_owned(),
        username: "consolegate".to_owned(),
        password: "x".into(),
        project: "service".to_owned(),
        user_domain: "Default".to_owned(),
        project_domain: "Default".to_owned(),
        ca: None,
        timeout,
        cache_ttl: Duration::from_secs(60),
    };
    Keystone::new(&settings, Arc::new(Policy::new(Role::defaults())), clock.clone()).unwrap()
}

fn user() -> Result<String, AuthError> {
    Ok("u".to_owned())
}

#[tokio::test]
async fn an_answer_is_believed_for_its_time() {
    let at = Fixture::new(&[(200, GOOD), (404, "{}")]).await;
    assert_eq!(at.find("t").await, user());
    at.clock.advance(Duration::from_millis(59_999));
    assert_eq!(at.find("t").await, user());
    assert_eq!((at.script.asked(), at.script.logins()), (1, 1));
    at.clock.advance(Duration::from_millis(1));
    assert_eq!(at.find("t").await, Err(AuthError::Unauthenticated), "revoked meanwhile");
    assert_eq!(at.script.asked.lock().unwrap()[0], ("t".to_owned(), "ours-1".to_owned()));
}

#[tokio::test]
async fn an_answer_ends_with_its_token() {
    let at = Fixture::new(&[(200, GOOD)]).await;
    at.clock.advance(Duration::from_secs(3590));
    assert_eq!(at.find("t").await, user());
    at.clock.advance(Duration::from_secs(9));
    assert_eq!((at.find("t").await, at.script.asked()), (user(), 1));
    at.clock.advance(Duration::from_secs(1));
    assert_eq!((at.find("t").await, at.script.asked()), (user(), 2), "Keystone has the last word");
}

#[tokio::test]
async fn a_refusal_is_remembered_for_a_moment() {
    let at = Fixture::new(&[(404, "{}"), (200, GOOD)]).await;
    assert_eq!(at.find("t").await, Err(AuthError::Unauthenticated));
    assert_eq!(at.find("t").await, Err(AuthError::Unauthenticated));
    assert_eq!(at.script.asked(), 1);
    at.clock.advance(Duration::from_secs(5));
    assert_eq!(at.find("t").await, user());
}

#[tokio::test]
async fn a_token_without_a_project_is_told_so() {
    let at = Fixture::new(&[(200, &unscoped())]).await;
    assert_eq!(at.find("t").await, Err(AuthError::Unscoped));
}

#[tokio::test]
async fn our_own_token_is_renewed_once() {
    let at = Fixture::new(&[(200, GOOD), (401, "{}"), (200, GOOD), (401, "{}")]).await;
    assert_eq!(at.find("a").await, user());
    assert_eq!(at.find("b").await, user());
    assert_eq!((at.script.logins(), at.script.asked()), (2, 3));
    assert_eq!(at.find("c").await, Err(AuthError::Unavailable), "a second 401 is a fault of our own");
    assert_eq!((at.script.logins(), at.script.asked()), (3, 5));
}

#[tokio::test]
async fn a_refused_login_is_not_repeated_at_once() {
    let at = Fixture::new(&[(200, GOOD)]).await;
    *at.script.login.lock().unwrap() = Some(401);
    assert_eq!(at.find("a").await, Err(AuthError::Unavailable));
    assert_eq!(at.find("a").await, Err(AuthError::Unavailable));
    assert_eq!(at.script.logins(), 1);
    *at.script.login.lock().unwrap() = None;
    at.clock.advance(LOGIN_PAUSE);
    assert_eq!(at.find("a").await, user());
}

#[tokio::test]
async fn whatever_else_keystone_says_lets_nobody_in() {
    for (status, body) in
        [(200, "no JSON"), (200, "{}"), (201, GOOD), (302, ""), (403, "{}"), (500, ""), (503, "")]
    {
        let at = Fixture::new(&[(status, body), (200, GOOD)]).await;
        assert_eq!(at.find("t").await, Err(AuthError::Unavailable), "{status} {body}");
        assert_eq!(at.find("t").await, user(), "a failure is not remembered");
    }
    for status in [500, 503, 200] {
        let at = Fixture::new(&[(200, GOOD)]).await;
        *at.script.login.lock().unwrap() = Some(status);
        assert_eq!(at.find("t").await, Err(AuthError::Unavailable), "{status}");
    }
}

#[tokio::test]
async fn where_nothing_listens_nobody_is_let_in() {
    let at = Fixture::new(&[(200, GOOD)]).await;
    let dead = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let keystone = keystone(&format!("http://{dead}/v3"), Duration::from_secs(30), &at.clock);
    assert_eq!(keystone.find(b"t").await, Err(AuthError::Unavailable));
}

#[tokio::test]
async fn a_keystone_that_hangs_is_given_up() {
    let script = Script { gate: Some(Notify::new()), ..Script::default() };
    let at = Fixture::with(script, &[(200, GOOD)], Duration::from_millis(50)).await;
    assert_eq!(at.find("t").await, Err(AuthError::Unavailable));
    at.script.gate.as_ref().unwrap().notify_one();
}

#[tokio::test]
async fn concurrent_callers_share_one_look_up() {
    let script = Script { gate: Some(Notify::new()), ..Script::default() };
    let at = Fixture::with(script, &[(200, GOOD)], Duration::from_secs(30)).await;
    let ask = |token: &'static str| {
        let keystone = Arc::clone(&at.keystone);
        tokio::spawn(
            async move { keystone.find(token.as_bytes()).await.map(|caller| caller.user.to_string()) },
        )
    };
    let waiting: Vec<_> = (0..100).map(|_| ask("t")).collect();
    // The first one's client hangs up; the look-up belongs to all.
    let mut waiting = waiting.into_iter();
    let first = waiting.next().unwrap();
    tokio::task::yield_now().await;
    first.abort();
    at.script.gate.as_ref().unwrap().notify_one();
    for one in waiting {
        assert_eq!(one.await.unwrap(), user());
    }
    assert_eq!((at.script.asked(), at.script.logins()), (1, 1));
    let other = ask("other");
    at.script.gate.as_ref().unwrap().notify_one();
    assert_eq!((other.await.unwrap(), at.script.asked()), (user(), 2), "tokens are apart");
}

#[tokio::test]
async fn what_cannot_be_a_token_is_not_asked_about() {
    let at = Fixture::new(&[(200, GOOD)]).await;
    for token in ["", "a b", "a\nb", "é", &"x".repeat(LONGEST_TOKEN + 1)] {
        assert_eq!(at.find(token).await, Err(AuthError::Unauthenticated), "{token:?}");
    }
    assert_eq!((at.script.asked(), at.script.logins()), (0, 0));
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let at = Fixture::new(&[(200, GOOD)]).await;
    at.find("t").await.unwrap();
    let shown = format!("{:?}", at.keystone);
    assert!(shown.starts_with("Keystone(Client { url: \"http://127.0.0.1:"), "{shown}");
}
