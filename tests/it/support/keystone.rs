//! A real Keystone: its own WSGI application under gunicorn, on SQLite, behind a front that counts what it is asked.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinHandle;

use super::process::Process;
use super::{python, temp, within};

/// The password of every user made here.
pub(crate) const PASSWORD: &str = "a-password-for-tests";

/// A running Keystone on a loopback port; gone when dropped.
pub(crate) struct Keystone {
    pub(crate) address: SocketAddr,
    admin: String,
    validations: Arc<AtomicUsize>,
    front: JoinHandle<()>,
    // In this order: the process ends before its directory is removed.
    process: Option<Process>,
    _dir: tempfile::TempDir,
}

/// What Keystone answered: its status, the token in its header, its body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) token: String,
    pub(crate) body: Value,
}

impl Answer {
    #[track_caller]
    fn id_of(&self, kind: &str) -> String {
        assert_eq!(self.status, 201, "{}", self.body);
        self.body[kind]["id"].as_str().expect("an id").to_owned()
    }
}

impl Keystone {
    /// Makes one with Keystone's own defaults (the roles `admin`, `member`, `reader`, `service`) and a user
    /// `consolegate` that has the role `service` on the project `service`.
    pub(crate) async fn start() -> Self {
        let dir = temp::dir();
        // The front's port is ours from the start: Keystone has to know its own URL.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("its address");
        let config = write_files(dir.path());
        manage(&config, &["db_sync"]).await;
        let url = format!("http://{address}/v3");
        let bootstrap = ["bootstrap", "--bootstrap-password", PASSWORD, "--bootstrap-region-id", "RegionOne"];
        manage(&config, &[&bootstrap[..], &["--bootstrap-public-url", &url]].concat()).await;

        // Keystone reads the command line itself, so gunicorn gets none: its settings are in its file.
        let mut command = python::command("gunicorn", dir.path());
        command.env("OS_KEYSTONE_CONFIG_FILES", &config).current_dir(dir.path());
        let mut process = Process::start("gunicorn", command, dir.path());
        let socket = dir.path().join("socket");
        process.ready("its socket", async || UnixStream::connect(&socket).await.ok()).await;

        let validations = Arc::new(AtomicUsize::new(0));
        let front = tokio::spawn(serve(listener, socket, Arc::clone(&validations)));
        let process = Some(process);
        let mut keystone = Self { address, admin: String::new(), validations, front, process, _dir: dir };
        keystone.admin = keystone.log_in("admin", json!({"project": project_named("admin")})).await;
        let service = keystone.project("service").await;
        let user = keystone.user("consolegate").await;
        keystone.assign(&user, &service, "service").await;
        keystone
    }

    /// The URL that clients log in at.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v3", self.address)
    }

    /// How often anybody had a token validated.
    pub(crate) fn validations(&self) -> usize {
        self.validations.load(Ordering::SeqCst)
    }

    /// Ends it: nothing listens any more.
    pub(crate) async fn stop(&mut self) {
        self.process = None;
        self.front.abort();
        // The listener is closed once the task is gone.
        let _ = (&mut self.front).await;
    }

    /// A token for a user, by password; `scope` as the API wants it.
    pub(crate) async fn log_in(&self, user: &str, scope: Value) -> String {
        let user = json!({"name": user, "domain": {"id": "default"}, "password": PASSWORD});
        let identity = json!({"methods": ["password"], "password": {"user": user}});
        let body = json!({"auth": {"identity": identity, "scope": scope}});
        let answer = self.call(Method::POST, "/v3/auth/tokens", &[], Some(body)).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.token
    }

    /// Makes a project, and returns its id.
    pub(crate) async fn project(&self, name: &str) -> String {
        let body = json!({"project": {"name": name, "domain_id": "default"}});
        self.ask(Method::POST, "/v3/projects", Some(body)).await.id_of("project")
    }

    /// Makes a user, and returns its id.
    pub(crate) async fn user(&self, name: &str) -> String {
        let body = json!({"user": {"name": name, "domain_id": "default", "password": PASSWORD}});
        self.ask(Method::POST, "/v3/users", Some(body)).await.id_of("user")
    }

    /// Gives a user a role on a project.
    pub(crate) async fn assign(&self, user: &str, project: &str, role: &str) {
        let roles = self.ask(Method::GET, &format!("/v3/roles?name={role}"), None).await.body;
        let role = roles["roles"][0]["id"].as_str().unwrap_or_else(|| panic!("no role {role}: {roles}"));
        let path = format!("/v3/projects/{project}/users/{user}/roles/{role}");
        assert_eq!(self.ask(Method::PUT, &path, None).await.status, 204);
    }

    /// Puts a compute service at `url` into the catalogue.
    pub(crate) async fn compute_at(&self, url: &str) {
        let body = json!({"service": {"type": "compute", "name": "nova"}});
        let service = self.ask(Method::POST, "/v3/services", Some(body)).await.id_of("service");
        let endpoint =
            json!({"service_id": service, "interface": "public", "url": url, "region_id": "RegionOne"});
        let answer = self.ask(Method::POST, "/v3/endpoints", Some(json!({"endpoint": endpoint}))).await;
        answer.id_of("endpoint");
    }

    /// Makes an application credential with the holder's token: its id and secret.
    pub(crate) async fn application_credential(&self, user: &str, token: &str) -> (String, String) {
        let path = format!("/v3/users/{user}/application_credentials");
        let body = json!({"application_credential": {"name": "consoles"}});
        let answer = self.call(Method::POST, &path, &[("X-Auth-Token", token)], Some(body)).await;
        let secret = answer.body["application_credential"]["secret"].as_str().map(str::to_owned);
        (answer.id_of("application_credential"), secret.expect("a secret"))
    }

    /// Revokes a token.
    pub(crate) async fn revoke(&self, token: &str) {
        let headers = [("X-Auth-Token", self.admin.as_str()), ("X-Subject-Token", token)];
        let answer = self.call(Method::DELETE, "/v3/auth/tokens", &headers, None).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.call(method, path, &[("X-Auth-Token", &self.admin)], body).await
    }

    /// One call of Keystone's API.
    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let mut request =
            Request::builder().method(method).uri(path).header("Host", self.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = request.header("Content-Type", "application/json").body(Full::from(body)).unwrap();
        let exchange = async {
            let socket = tokio::net::TcpStream::connect(self.address).await.expect("Keystone's front");
            exchange(TokioIo::new(socket), request).await.expect("Keystone's answer")
        };
        let (head, body) = within("Keystone's answer", exchange).await.into_parts();
        let token = head.headers.get("x-subject-token").map(|token| token.to_str().unwrap().to_owned());
        Answer {
            status: head.status.as_u16(),
            token: token.unwrap_or_default(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }
}

impl Drop for Keystone {
    fn drop(&mut self) {
        self.front.abort();
    }
}

/// A project of the default domain, in a scope.
pub(crate) fn project_named(name: &str) -> Value {
    json!({"name": name, "domain": {"id": "default"}})
}

/// Keystone's and gunicorn's settings, and keys; returns the path of the first.
fn write_files(dir: &Path) -> PathBuf {
    let at = dir.display();
    for kind in ["fernet", "receipts", "credential"] {
        let keys = dir.join(kind);
        fs::create_dir(&keys).expect("a directory for keys");
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).expect("its mode");
        // What keystone-manage fernet_setup makes: 0 is the next key, the highest number the one in use.
        for name in ["0", "1"] {
            let key = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
            fs::write(keys.join(name), base64::engine::general_purpose::URL_SAFE.encode(key)).expect("a key");
        }
    }
    let settings = format!(
        "[DEFAULT]\nlog_file = {at}/keystone.log\n[database]\nconnection = sqlite:///{at}/keystone.db\n\
         [token]\nprovider = fernet\n[fernet_tokens]\nkey_repository = {at}/fernet\n\
         [fernet_receipts]\nkey_repository = {at}/receipts\n[credential]\nkey_repository = {at}/credential\n\
         [cache]\nenabled = false\n"
    );
    fs::write(dir.join("keystone.conf"), settings).expect("Keystone's settings");
    // The worker's time limit covers its start, which takes long where everything else runs too.
    let gunicorn = format!(
        "wsgi_app = \"keystone.wsgi.api:application\"\nworkers = 1\nthreads = 4\ntimeout = 300\n\
         bind = \"unix:{at}/socket\"\n"
    );
    fs::write(dir.join("gunicorn.conf.py"), gunicorn).expect("gunicorn's settings");
    dir.join("keystone.conf")
}

async fn manage(config: &Path, args: &[&str]) {
    let all = [&["--config-file", config.to_str().expect("a path")], args].concat();
    python::run("keystone-manage", &all, &[]).await.success();
}

/// Passes every request on to the socket, one connection each, and counts validations.
async fn serve(listener: TcpListener, socket: PathBuf, validations: Arc<AtomicUsize>) {
    // Dropped with this task: connections end with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (socket, validations) = (socket.clone(), Arc::clone(&validations));
        connections.spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let validation = request.method() == Method::GET && request.uri().path() == "/v3/auth/tokens";
                validations.fetch_add(usize::from(validation), Ordering::SeqCst);
                let socket = socket.clone();
                async move { Ok::<_, Infallible>(pass_on(&socket, request).await) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            // A client that hangs up is none of our concern.
            let _ = http.serve_connection(TokioIo::new(client), service).await;
        });
    }
}

async fn pass_on(socket: &Path, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return bad_gateway() };
    let Ok(upstream) = UnixStream::connect(socket).await else { return bad_gateway() };
    let request = Request::from_parts(head, Full::new(body.to_bytes()));
    let Some(response) = exchange(TokioIo::new(upstream), request).await else { return bad_gateway() };
    let (mut head, body) = response.into_parts();
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    Response::from_parts(head, Full::new(body))
}

fn bad_gateway() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// One request and its whole answer on a connection of its own.
async fn exchange<T>(io: T, request: Request<Full<Bytes>>) -> Option<Response<Bytes>>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.ok()?.into_parts();
    Some(Response::from_parts(head, body.collect().await.ok()?.to_bytes()))
}
