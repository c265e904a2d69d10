//! Servers that change while somebody is on their consoles: by the file that names them, and by the admin API.

use std::path::Path;

use consolegate::config::Config;
use consolegate::ids::{Protocol, TargetId, UserId};
use serde_json::{Value, json};

use crate::support::console::{Console, Manner};
use crate::support::redis::Server as Redis;
use crate::support::server::{PROJECT, Running, Socket, http, open, target};
use crate::support::{temp, viewer, within};

const VM: &str = "6c1f2a90-0000-4000-8000-000000000001";
const METAL: &str = "6c1f2a90-0000-4000-8000-000000000002";
const ADMIN: &str = "an-admin-listeners-token";

/// A server whose targets are in a file and in a database.
fn serve(dir: &Path, targets: &str, store: &str) -> Running {
    let text = format!(
        "[listen]\napi = \"127.0.0.1:0\"\nproxy = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
         [admin]\ntoken = \"{ADMIN}\"\n[tokens]\nstore = \"{store}\"\n\
         [inventory]\nfile = \"targets.toml\"\ndatabase = \"targets.redb\"\n"
    );
    std::fs::write(dir.join("targets.toml"), targets).unwrap();
    std::fs::write(dir.join("c.toml"), text).unwrap();
    Running::with(Config::load(Some(&dir.join("c.toml"))).unwrap_or_else(|error| panic!("{error}")))
}

/// A console, as soon as there is one.
async fn console(server: &Running, id: &str) -> Socket {
    let (target, user) = (TargetId::from(id), UserId::from("demo"));
    let opened = async {
        loop {
            // The server lives in this runtime.
            tokio::task::yield_now().await;
            if let Ok(url) = server.api.issue(&target, Protocol::Serial, &user, None).await
                && let Ok((mut socket, _)) = open(&url.replace("http:", "ws:"), &[]).await
            {
                viewer::echo(&mut socket, b"x").await;
                return socket;
            }
        }
    };
    within("a console", opened).await
}

#[tokio::test]
async fn a_file_that_moves_stops_or_drops_a_server_ends_its_consoles_and_says_why() {
    let (line, other, dir) =
        (Console::new(Manner::Echo).await, Console::new(Manner::Echo).await, temp::dir());
    let serial = line.setting("serial");
    let metal = |more: &str| {
        target(METAL, "bm", &format!("{serial}{more}")).replace("kind = \"vm\"", "kind = \"baremetal\"")
    };
    let before = target(VM, "vm", &serial) + &metal("");
    let server = serve(dir.path(), &before, "memory");
    let become_ = async |text: String| {
        std::fs::write(dir.path().join("targets.toml"), text).unwrap();
        server.reload().await;
    };
    let with = |more: &str| target(VM, "vm", &format!("{serial}{more}"));
    for (changed, reason) in [
        (target(VM, "vm", &other.setting("serial")), "the server has moved; ask for a new link"),
        (with("state = \"stopped\"\n"), "the server was stopped"),
        (with("state = \"building\"\n"), "the server is being rebuilt; ask for a new link later"),
        (with("state = \"migrating\"\n"), "the server has moved; ask for a new link"),
        (String::new(), "the server was deleted"),
    ] {
        let (mut vm, mut bare) = (console(&server, VM).await, console(&server, METAL).await);
        // The power of bare metal ends nothing.
        become_(changed + &metal("state = \"stopped\"\n")).await;
        assert_eq!(viewer::closed(&mut vm).await, (1008, reason.to_owned()));
        viewer::echo(&mut bare, b"power on").await;
        assert_eq!(viewer::goodbye(&mut bare).await.0, 1000);
        become_(before.clone()).await;
    }
}

#[tokio::test]
async fn a_link_to_a_server_that_was_stopped_and_started_is_void() {
    let (line, dir) = (Console::new(Manner::Echo).await, temp::dir());
    let serial = line.setting("serial");
    let server = serve(dir.path(), &target(VM, "vm", &serial), "memory");
    let token = server.token(VM, Protocol::Serial).await;
    // Somebody who is on the console tells when the file was read.
    let mut live = console(&server, VM).await;
    let write = |text: String| std::fs::write(dir.path().join("targets.toml"), text).unwrap();
    write(target(VM, "vm", &format!("{serial}state = \"stopped\"\n")));
    server.reload().await;
    assert_eq!(viewer::closed(&mut live).await.0, 1008);
    write(target(VM, "vm", &serial));
    server.reload().await;
    let mut next = console(&server, VM).await;
    assert_eq!(viewer::goodbye(&mut next).await.0, 1000);
    assert_eq!(open(&server.ws(&token), &[]).await.err(), Some(403));
}

/// Registered at one process, on a console by way of another that has the server in a file.
#[tokio::test]
async fn the_admin_apis_changes_end_consoles_at_every_proxy() {
    let (redis, line, dirs) =
        (Redis::start(&[]), Console::new(Manner::Echo).await, [(); 2].map(|()| temp::dir()));
    let registered = serve(dirs[0].path(), "", &redis.url());
    let document = |more: &[(&str, Value)]| {
        let mut document = json!({"project": PROJECT, "serial": format!("tcp://{}", line.address)});
        more.iter().for_each(|(key, value)| document[key] = value.clone());
        document
    };
    let call = async |method: &str, body: Value| {
        let headers = format!("Authorization: Bearer {ADMIN}\r\n");
        let (path, body) = (format!("/v1/targets/{VM}"), body.to_string());
        let answer = http(registered.at.admin, method, &path, &headers, &body).await;
        answer[9..12].parse::<u16>().unwrap()
    };
    assert_eq!(call("PUT", document(&[])).await, 201);
    let filed = target(VM, "vm", &line.setting("serial"));
    let other = serve(dirs[1].path(), &filed, &redis.url());
    for (method, body, reason) in [
        ("PUT", document(&[("state", json!("stopped"))]), "the server was stopped"),
        ("DELETE", Value::Null, "the server was deleted"),
    ] {
        let mut live = console(&other, VM).await;
        assert!(call(method, body).await < 300);
        assert_eq!(viewer::closed(&mut live).await, (1008, reason.to_owned()));
    }
}
