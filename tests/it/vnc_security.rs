//! VeNCrypt and stored passwords towards real VNC servers: the viewer is asked for nothing, and a target that is
//! not the one that was meant gets nothing.

use consolegate::ids::Protocol;

use crate::support::hypervisor::{Hypervisor, Protection, Tls};
use crate::support::pki::Pki;
use crate::support::program::Program;
use crate::support::rfb::Rfb;
use crate::support::server::{Running, target};
use crate::support::xvnc::{Security, Xvnc};

const VM: &str = "00000005-0000-4000-8000-000000000000";

const PASSWORD: &str = "opensesa";

/// A target at `vnc` whose `[target.vnc_security]` has `lines`.
fn secured(vnc: &str, lines: &str) -> String {
    target(VM, "secured", &format!("vnc = \"{vnc}\"\n[target.vnc_security]\n{}", lines.replace("; ", "\n")))
}

/// The viewer is offered None and sees the screen.
async fn opens(vnc: &str, lines: &str) {
    let server = Running::start(&secured(vnc, lines)).await;
    let token = server.token(VM, Protocol::Vnc).await;
    let viewer = Rfb::open(server.at.proxy, &token).await;
    let mut viewer = viewer.unwrap_or_else(|refused| panic!("{lines}: {refused}"));
    viewer.choose(1).await;
    assert_eq!(viewer.message().await, [0; 4], "SecurityResult: {lines}");
    let screen = viewer.begin().await;
    assert!(screen.width >= 640 && screen.height >= 400, "{screen:?}");
    // A whole picture, in many TLS records, and back again.
    for _ in 0..2 {
        let picture = viewer.picture(&screen).await;
        assert_eq!((picture.width, picture.height), (screen.width.into(), screen.height.into()));
    }
}

/// The viewer gets a 502, its token stays good, and the log says `why`.
async fn is_refused(vnc: &str, lines: &str, why: &str) {
    let mut program = Program::serve(&secured(vnc, lines)).await;
    let token = program.issue(VM, Protocol::Vnc).await;
    for _ in 0..2 {
        let refused = Rfb::open(program.at, &token).await.err();
        assert_eq!(refused.as_deref(), Some("HTTP/1.1 502 Bad Gateway"), "{lines}");
    }
    program.says(why).await;
    program.never_said(PASSWORD);
}

fn ca(pki: &Pki) -> String {
    format!("ca = \"{}\"", pki.file("ca-cert.pem").display())
}

fn client(pki: &Pki) -> String {
    let (certificate, key) = (pki.file("client-cert.pem"), pki.file("client-key.pem"));
    format!("certificate = \"{}\"; key = \"{}\"", certificate.display(), key.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_without_tls() {
    let open = Hypervisor::start(Protection::default()).await;
    opens(&open.vnc(), "types = [\"none\"]").await;
    // Of what is offered, the first that we prefer.
    let password = format!("password = \"{PASSWORD}\"");
    opens(&open.vnc(), &format!("types = [\"vnc\", \"none\"]; {password}")).await;
    let why = "offers security types 1 (None), none of which vnc_security.types allows";
    is_refused(&open.vnc(), &format!("types = [\"vnc\"]; {password}"), why).await;
    let pki = Pki::new();
    is_refused(&open.vnc(), &format!("types = [\"vencrypt-x509-none\"]; {}", ca(&pki)), why).await;

    let locked = Hypervisor::start(Protection { password: Some(PASSWORD), tls: Tls::Off }).await;
    opens(&locked.vnc(), &format!("types = [\"none\", \"vnc\"]; {password}")).await;
    opens(&locked.vnc(), &format!("types = [\"vnc\"]; password = \"{PASSWORD}me\"")).await;
    let wrong = "types = [\"vnc\"]; password = \"opensesx\"";
    is_refused(&locked.vnc(), wrong, "did not accept the security handshake").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_with_a_certificate() {
    let pki = Pki::new();
    let pin = pki.server("127.0.0.1");
    let qemu = Hypervisor::start(Protection { password: None, tls: Tls::X509(pki.dir()) }).await;
    let vnc = qemu.vnc();
    let by_ca =
        format!("types = [\"vencrypt-x509-vnc\", \"vencrypt-x509-none\"]; password = \"x\"; {}", ca(&pki));
    opens(&vnc, &by_ca).await;
    opens(&vnc, &format!("types = [\"vencrypt-x509-none\"]; pin = \"{pin}\"")).await;

    let none = "types = [\"vencrypt-x509-none\"]";
    let stranger = Pki::new();
    is_refused(&vnc, &format!("{none}; {}", ca(&stranger)), "UnknownIssuer").await;
    is_refused(&vnc, &format!("{none}; name = \"host1\"; {}", ca(&pki)), "not valid for name").await;
    let other = stranger.server("127.0.0.1");
    is_refused(&vnc, &format!("{none}; pin = \"{other}\""), "not the pinned one").await;
    // Another way in would be there for the asking: it is not asked for.
    let stricter = format!("types = [\"vencrypt-x509-vnc\"]; password = \"{PASSWORD}\"; {}", ca(&pki));
    let why = "offers VeNCrypt types 260 (X509None), none of which vnc_security.types allows";
    is_refused(&vnc, &stricter, why).await;
    is_refused(&vnc, "types = [\"none\"]", "for VeNCrypt name its kind").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_with_an_expired_certificate() {
    let pki = Pki::new();
    let pin = pki.expired_server("127.0.0.1");
    let qemu = Hypervisor::start(Protection { password: None, tls: Tls::X509(pki.dir()) }).await;
    let none = "types = [\"vencrypt-x509-none\"]";
    is_refused(&qemu.vnc(), &format!("{none}; {}", ca(&pki)), "certificate expired").await;
    // A pin names this very certificate: its dates do not count.
    opens(&qemu.vnc(), &format!("{none}; pin = \"{pin}\"")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_with_certificate_and_password() {
    let pki = Pki::with_server("127.0.0.1");
    let qemu = Hypervisor::start(Protection { password: Some(PASSWORD), tls: Tls::X509(pki.dir()) }).await;
    let with = |password: &str| {
        format!(
            "types = [\"vencrypt-x509-vnc\", \"vencrypt-x509-none\"]; password = \"{password}\"; {}",
            ca(&pki)
        )
    };
    opens(&qemu.vnc(), &with(PASSWORD)).await;
    is_refused(&qemu.vnc(), &with("opensesx"), "did not accept the security handshake").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_that_wants_our_certificate() {
    let pki = Pki::with_server("127.0.0.1");
    pki.client();
    let qemu = Hypervisor::start(Protection { password: None, tls: Tls::Mutual(pki.dir()) }).await;
    let none = format!("types = [\"vencrypt-x509-none\"]; {}", ca(&pki));
    opens(&qemu.vnc(), &format!("{none}; {}", client(&pki))).await;
    let stranger = Pki::new();
    stranger.client();
    for lines in [none.clone(), format!("{none}; {}", client(&stranger))] {
        is_refused(&qemu.vnc(), &lines, "\"refused\"").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_without_a_certificate() {
    let qemu = Hypervisor::start(Protection { password: None, tls: Tls::Anonymous }).await;
    let vnc = qemu.vnc();
    opens(&vnc, "types = [\"vencrypt-tls-none\"]").await;
    opens(&vnc, &format!("types = [\"vencrypt-tls-vnc\", \"vencrypt-tls-none\"]; password = \"{PASSWORD}\""))
        .await;
    // Only where it is named, and only the one that is.
    let pki = Pki::new();
    let x509 = format!("types = [\"vencrypt-x509-none\"]; {}", ca(&pki));
    let why = "offers VeNCrypt types 257 (TLSNone), none of which vnc_security.types allows";
    is_refused(&vnc, &x509, why).await;
    is_refused(&vnc, &format!("types = [\"vencrypt-tls-vnc\"]; password = \"{PASSWORD}\""), why).await;
    is_refused(&vnc, "types = [\"none\"]", "for VeNCrypt name its kind").await;

    let locked = Hypervisor::start(Protection { password: Some(PASSWORD), tls: Tls::Anonymous }).await;
    let with = |password: &str| format!("types = [\"vencrypt-tls-vnc\"]; password = \"{password}\"");
    opens(&locked.vnc(), &with(PASSWORD)).await;
    is_refused(&locked.vnc(), &with("opensesx"), "did not accept the security handshake").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn xvnc_without_a_certificate() {
    const SENTENCE: &str = "opensesame, and then some more than DES takes";
    let user = Some(("operator", SENTENCE));
    let types = "TLSNone,TLSVnc,TLSPlain";
    let security = Security { types, password: Some(PASSWORD), user, certificate: None };
    let xvnc = Xvnc::start_with(security).await;
    let vnc = format!("tcp://{}", xvnc.address());
    opens(&vnc, "types = [\"vencrypt-tls-none\"]").await;
    let with = |password: &str| format!("types = [\"vencrypt-tls-vnc\"]; password = \"{password}\"");
    opens(&vnc, &with(PASSWORD)).await;
    is_refused(&vnc, &with("opensesx"), "did not accept the security handshake").await;
    let plain = |password: &str| {
        format!("types = [\"vencrypt-tls-plain\"]; username = \"operator\"; password = \"{password}\"")
    };
    opens(&vnc, &plain(SENTENCE)).await;
    is_refused(&vnc, &plain(PASSWORD), "invalid password or username").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_named_first_is_taken_and_checked() {
    let pki = Pki::with_server("xvnc.example");
    let types = "TLSNone,X509None";
    let security = Security { types, password: None, user: None, certificate: Some(pki.dir()) };
    let xvnc = Xvnc::start_with(security).await;
    let vnc = format!("tcp://{}", xvnc.address());
    let order = |types: &str, pki: &Pki| format!("types = [{types}]; name = \"xvnc.example\"; {}", ca(pki));
    let x509_first = "\"vencrypt-x509-none\", \"vencrypt-tls-none\"";
    opens(&vnc, &order(x509_first, &pki)).await;
    // The one that was chosen fails, and nothing leads on to the other.
    let stranger = Pki::new();
    is_refused(&vnc, &order(x509_first, &stranger), "UnknownIssuer").await;
    opens(&vnc, &order("\"vencrypt-tls-none\", \"vencrypt-x509-none\"", &stranger)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn xvnc_with_password_and_certificate() {
    let locked = Xvnc::start(Some(PASSWORD)).await;
    opens(&format!("tcp://{}", locked.address()), &format!("types = [\"vnc\"]; password = \"{PASSWORD}\""))
        .await;

    let pki = Pki::with_server("xvnc.example");
    let tls = |types| Security { types, password: Some(PASSWORD), user: None, certificate: Some(pki.dir()) };
    let x509 = Xvnc::start_with(tls("X509Vnc,TLSVnc,VncAuth")).await;
    let vnc = format!("tcp://{}", x509.address());
    let named = format!("password = \"{PASSWORD}\"; name = \"xvnc.example\"; {}", ca(&pki));
    opens(&vnc, &format!("types = [\"vencrypt-x509-vnc\"]; {named}")).await;
    opens(&vnc, &format!("types = [\"vencrypt-x509-none\", \"vencrypt-x509-vnc\", \"vnc\"]; {named}")).await;
    // Without the name, the address that is dialled would have to be in the certificate.
    let unnamed = format!("types = [\"vencrypt-x509-vnc\"]; password = \"{PASSWORD}\"; {}", ca(&pki));
    is_refused(&vnc, &unnamed, "not valid for name").await;
    let none = Xvnc::start_with(tls("X509None")).await;
    let named = format!("types = [\"vencrypt-x509-none\"]; name = \"xvnc.example\"; {}", ca(&pki));
    opens(&format!("tcp://{}", none.address()), &named).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn xvnc_with_user_and_certificate() {
    const SENTENCE: &str = "opensesame, and then some more than DES takes";
    let pki = Pki::with_server("xvnc.example");
    let user = Some(("operator", SENTENCE));
    let security = Security { types: "X509Plain", password: None, user, certificate: Some(pki.dir()) };
    let xvnc = Xvnc::start_with(security).await;
    let vnc = format!("tcp://{}", xvnc.address());
    let plain = |user: &str, password: &str| {
        let who = format!("username = \"{user}\"; password = \"{password}\"; name = \"xvnc.example\"");
        format!("types = [\"vencrypt-x509-plain\"]; {who}; {}", ca(&pki))
    };
    // To another server than the one that was meant nothing of it is said.
    let other = Pki::with_server("xvnc.example");
    let lines = plain("operator", SENTENCE).replace(&ca(&pki), &ca(&other));
    is_refused(&vnc, &lines, "certificate").await;
    opens(&vnc, &plain("operator", SENTENCE)).await;
    // Why somebody is not let in stands in the log alone, in Xvnc's words.
    is_refused(&vnc, &plain("operator", PASSWORD), "invalid password or username").await;
    is_refused(&vnc, &plain("visitor", SENTENCE), "invalid password or username").await;
}
