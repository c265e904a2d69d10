//! The canvas as a viewer sees it: a small decoder draws what was sent, and it must be what was painted.

use proptest::prelude::*;

use super::paint::PALETTE;
use super::*;

const HELLO: &[u8] = b"RFB 003.008\n\x01\x01";
const UPDATE: &[u8] = b"\x03\0\0\0\0\0\x03\x20\x01\xe0";
const MORE: &[u8] = b"\x03\x01\0\0\0\0\x03\x20\x01\xe0";

/// A viewer's screen: red, green, blue of every pixel.
struct Screen {
    pixels: Vec<[u8; 3]>,
    big_endian: bool,
}

impl Screen {
    fn new() -> Self {
        Self { pixels: vec![[0; 3]; usize::from(WIDTH) * usize::from(HEIGHT)], big_endian: false }
    }

    /// Draws a whole FramebufferUpdate in our pixel format; returns how many pixels it carried.
    fn draw(&mut self, mut update: &[u8]) -> usize {
        let (mut carried, update) = (0, &mut update);
        assert_eq!(take(update, 2), [0, 0]);
        for _ in 0..number16(update) {
            let [x, y, w, h] = [(); 4].map(|()| usize::from(number16(update)));
            carried += w * h;
            match number32(update) {
                0 => {
                    for at in 0..w * h {
                        let pixel = self.pixel(update);
                        self.fill(x + at % w, y + at / w, 1, 1, pixel);
                    }
                }
                2 => {
                    let count = number32(update);
                    let background = self.pixel(update);
                    self.fill(x, y, w, h, background);
                    for _ in 0..count {
                        let pixel = self.pixel(update);
                        let [rx, ry, rw, rh] = [(); 4].map(|()| usize::from(number16(update)));
                        assert!(rx + rw <= w && ry + rh <= h, "a run beyond its rectangle");
                        self.fill(x + rx, y + ry, rw, rh, pixel);
                    }
                }
                other => panic!("encoding {other}"),
            }
        }
        assert!(update.is_empty(), "bytes behind the last rectangle");
        carried
    }

    fn pixel(&self, input: &mut &[u8]) -> [u8; 3] {
        let p = take(input, 4);
        if self.big_endian { [p[1], p[2], p[3]] } else { [p[2], p[1], p[0]] }
    }

    fn fill(&mut self, x: usize, y: usize, w: usize, h: usize, pixel: [u8; 3]) {
        for row in y..y + h {
            let start = row * usize::from(WIDTH) + x;
            self.pixels[start..start + w].fill(pixel);
        }
    }
}

fn take<'b>(input: &mut &'b [u8], n: usize) -> &'b [u8] {
    let (head, rest) = input.split_at(n);
    *input = rest;
    head
}

fn number16(input: &mut &[u8]) -> u16 {
    u16::from_be_bytes(take(input, 2).try_into().expect("two bytes"))
}

fn number32(input: &mut &[u8]) -> u32 {
    u32::from_be_bytes(take(input, 4).try_into().expect("four bytes"))
}

fn outputs(server: &mut CanvasServer) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| server.output()).collect()
}

/// A server past its handshake, and past its first full update.
fn greeted(mut server: CanvasServer) -> CanvasServer {
    server.feed(HELLO).expect("a good handshake");
    outputs(&mut server);
    server
}

fn painted(server: &CanvasServer) -> Vec<[u8; 3]> {
    let mut band = Band::new(0, HEIGHT);
    server.paint(&mut band);
    (0..HEIGHT).flat_map(|y| band.row(y, 0, WIDTH).to_vec()).map(|ink| PALETTE[ink.index()]).collect()
}

fn key(keysym: u32) -> Vec<u8> {
    [b"\x04\x01\0\0".as_slice(), &keysym.to_be_bytes()].concat()
}

#[test]
fn handshake_bytes_are_the_rfcs() {
    let mut server = CanvasServer::refusal("This link was already used.", "Ask for a new one.");
    assert_eq!(outputs(&mut server), [b"RFB 003.008\n".to_vec()]);
    server.feed(b"RFB 003.008\n").expect("version");
    assert_eq!(outputs(&mut server), [vec![1, 1]]);
    server.feed(b"\x01").expect("choice");
    assert_eq!(outputs(&mut server), [vec![0, 0, 0, 0]]);
    server.feed(b"\x01").expect("ClientInit");
    let init = outputs(&mut server);
    assert_eq!(init[0][..20], *b"\x03\x20\x01\xe0\x20\x18\0\x01\0\xff\0\xff\0\xff\x10\x08\0\0\0\0");
    assert_eq!(init[0][20..24], [0, 0, 0, 40]);
    assert_eq!(&init[0][24..], b"consolegate: This link was already used.");
    assert_eq!(init.len(), 1);
    assert_eq!(server.poll_event(), Some(Event::Ready));
}

#[test]
fn what_is_decoded_is_what_was_painted() {
    let check = |encodings: &[u8], encoding: u32| {
        let mut server = greeted(CanvasServer::refusal("The target did not answer.", "Try again later."));
        server.feed(&[encodings, UPDATE].concat()).expect("encodings and a request");
        let sent = outputs(&mut server);
        assert_eq!(sent.len(), 24, "one chunk a band");
        assert!(sent.iter().all(|chunk| chunk.len() <= 64_100));
        assert_eq!(number32(&mut &sent[0][12..16]), encoding);
        let mut screen = Screen::new();
        assert_eq!(screen.draw(&sent.concat()), 800 * 480);
        assert!(screen.pixels == painted(&server), "the viewer's picture differs");
        sent.concat().len()
    };
    let raw = check(b"\x02\0\0\0", 0);
    let rre = check(b"\x02\0\0\x02\0\0\0\x07\0\0\0\x02", 2);
    assert!(rre * 20 < raw, "RRE took {rre} bytes, Raw {raw}");
}

#[test]
fn a_change_is_sent_once_however_often_it_is_asked_for() {
    let mut server = greeted(CanvasServer::demo("demo"));
    server.feed(&UPDATE.repeat(50)).expect("requests");
    assert_eq!(outputs(&mut server).len(), 24);
    server.feed(&MORE.repeat(50)).expect("requests");
    assert_eq!(outputs(&mut server).len(), 0, "nothing changed");
    server.feed(&key(0x61)).expect("a key");
    // Keys and typed text are one line each; the pending request is answered, the others were the same one.
    assert_eq!(outputs(&mut server).len(), 2);
    server.feed(&key(0x62)).expect("a key");
    assert_eq!(outputs(&mut server).len(), 0, "nobody asked");
}

#[test]
fn a_format_changed_in_the_middle_of_an_update_waits_for_the_next() {
    let mut server = greeted(CanvasServer::demo("demo"));
    server.feed(UPDATE).expect("a request");
    let mut sent = server.output().expect("the first band");
    let mut wire = PixelFormat::OURS.wire();
    wire[2] = 1;
    let format = [b"\0\0\0\0".as_slice(), &wire].concat();
    server.feed(&[format.as_slice(), MORE].concat()).expect("a format");
    sent.extend((1..24).flat_map(|_| server.output().expect("a band")));
    let mut screen = Screen::new();
    screen.draw(&sent);
    assert!(screen.pixels == painted(&server));
    screen.big_endian = true;
    screen.draw(&outputs(&mut server).concat());
    assert!(screen.pixels == painted(&server));
}

#[test]
fn the_demo_shows_and_tells_what_it_hears() {
    let mut server = greeted(CanvasServer::demo("demo"));
    let before = painted(&server);
    server.feed(&key(0xff1b)).expect("a key");
    server.feed(b"\x05\x01\0\x10\x01\0\x06\0\0\0\0\0\0\x02hi").expect("pointer and clipboard");
    let events: Vec<_> = std::iter::from_fn(|| server.poll_event()).collect();
    assert_eq!(
        events,
        [
            Event::Ready,
            Event::Key { down: true, keysym: 0xff1b },
            Event::Pointer { x: 16, y: 256, buttons: 1 },
            Event::CutText("hi".to_owned()),
        ]
    );
    assert!(before != painted(&server));
    let before = painted(&server);
    server.set_status("12:00:00 UTC");
    assert!(before != painted(&server));
}

#[test]
fn a_refusal_listens_to_nobody() {
    let mut server = greeted(CanvasServer::refusal("m", "h"));
    let before = painted(&server);
    server.feed(&[key(0x61), b"\x05\x01\0\x10\x01\0".to_vec()].concat()).expect("input");
    assert_eq!(server.poll_event(), Some(Event::Ready));
    assert_eq!(server.poll_event(), None);
    assert!(before == painted(&server));
}

#[test]
fn events_nobody_fetches_do_not_pile_up() {
    let mut server = greeted(CanvasServer::demo("demo"));
    server.feed(&key(0x61).repeat(10_000)).expect("keys");
    assert_eq!(std::iter::from_fn(|| server.poll_event()).count(), MAX_EVENTS);
}

#[test]
fn a_broken_viewer_stays_broken() {
    let mut server = greeted(CanvasServer::demo("demo"));
    assert_eq!(server.feed(b"\x09"), Err(CanvasError::UnknownMessage(9)));
    assert_eq!(server.feed(MORE), Err(CanvasError::UnknownMessage(9)));
}

#[derive(Clone, Debug)]
enum Act {
    Key(u32),
    Pointer(u16, u16, u8),
    Cut(u8),
    Status(u8),
    Update,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        prop_oneof![0x20u32..0x7f, 0xff00u32..0xffff].prop_map(Act::Key),
        (0u16..900, 0u16..600, 0u8..8).prop_map(|(x, y, b)| Act::Pointer(x, y, b)),
        any::<u8>().prop_map(Act::Cut),
        any::<u8>().prop_map(Act::Status),
        Just(Act::Update),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever changes, a viewer that keeps asking has the painted screen in the end: no damage is forgotten.
    #[test]
    fn incremental_updates_miss_nothing(acts in prop::collection::vec(act(), 1..40), rre: bool) {
        let mut server = greeted(CanvasServer::demo("demo"));
        let encodings: &[u8] = if rre { b"\x02\0\0\x01\0\0\0\x02" } else { b"\x02\0\0\0" };
        server.feed(&[encodings, UPDATE].concat()).expect("a request");
        let mut screen = Screen::new();
        screen.draw(&outputs(&mut server).concat());
        for act in acts.into_iter().chain([Act::Update]) {
            let fed = match act {
                Act::Key(keysym) => server.feed(&key(keysym)),
                Act::Pointer(x, y, b) => {
                    server.feed(&[&[5, b], x.to_be_bytes().as_slice(), &y.to_be_bytes()].concat())
                }
                Act::Cut(n) => server.feed(&[b"\x06\0\0\0\0\0\0\x01".as_slice(), &[n]].concat()),
                Act::Status(n) => {
                    server.set_status(&n.to_string());
                    Ok(())
                }
                Act::Update => {
                    let fed = server.feed(MORE);
                    let sent = outputs(&mut server).concat();
                    if !sent.is_empty() {
                        screen.draw(&sent);
                    }
                    fed
                }
            };
            prop_assert_eq!(fed, Ok(()));
        }
        prop_assert!(screen.pixels == painted(&server));
    }
}
