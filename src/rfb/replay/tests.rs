//! Recorded streams made picture: each encoding by bytes written by hand, our own server's updates, any split.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;

use crate::rfb::canvas::CanvasServer;
use crate::rfb::{fbs, oracle};

use super::*;

/// 32 bits, little-endian, red in the third byte.
const FORMAT: [u8; 16] = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];

const RED: u32 = 0x00ff_0000;
const GREEN: u32 = 0x0000_ff00;
const BLUE: u32 = 0x0000_00ff;

/// A pixel in [`FORMAT`].
fn pixel(colour: u32) -> Vec<u8> {
    colour.to_le_bytes().to_vec()
}

fn start(width: u16, height: u16, format: [u8; 16]) -> Vec<u8> {
    let init = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[0; 16], &[0, 0, 0, 2], b"vm"].concat();
    fbs::handshake(&init, format)
}

/// An update of these rectangles: place, encoding, body.
fn update(rectangles: &[([u16; 4], i32, Vec<u8>)]) -> Vec<u8> {
    let mut message = vec![0, 0];
    message.extend(u16::try_from(rectangles.len()).unwrap().to_be_bytes());
    for (place, encoding, body) in rectangles {
        message.extend(place.iter().flat_map(|number| number.to_be_bytes()));
        message.extend(encoding.to_be_bytes());
        message.extend(body);
    }
    message
}

/// A screen of 4 by 2 pixels after one rectangle.
fn shown(place: [u16; 4], encoding: i32, body: &[u8]) -> Result<Vec<u32>, ScreenError> {
    let stream = [start(4, 2, FORMAT), update(&[(place, encoding, body.to_vec())])].concat();
    let mut whole = Screen::default();
    whole.feed(&stream)?;
    assert!(!whole.is_torn(), "all of it was taken");
    let mut split = Screen::default();
    stream.iter().try_for_each(|byte| split.feed(&[*byte]))?;
    assert_eq!(split.pixels(), whole.pixels(), "byte by byte");
    Ok(whole.pixels().to_vec())
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    // As servers do it: up to here, and the stream goes on.
    encoder.flush().unwrap();
    encoder.get_ref().clone()
}

/// Behind its length, as Zlib and ZRLE have it.
fn measured(bytes: &[u8]) -> Vec<u8> {
    let data = deflated(bytes);
    [&u32::try_from(data.len()).unwrap().to_be_bytes()[..], &data].concat()
}

/// As Tight has it.
fn compact(bytes: &[u8]) -> Vec<u8> {
    let data = deflated(bytes);
    assert!(data.len() < 1 << 14);
    let len = data.len();
    [&[u8::try_from(len & 0x7f).unwrap() | 0x80, u8::try_from(len >> 7).unwrap()][..], &data].concat()
}

#[test]
fn encodings_without_compression() {
    let check = |place, encoding, body: &[&[u8]], expected: [u32; 8]| {
        assert_eq!(shown(place, encoding, &body.concat()).as_deref(), Ok(&expected[..]), "{encoding}");
    };
    let (r, g, b) = (pixel(RED), pixel(GREEN), pixel(BLUE));
    check([1, 0, 2, 1], 0, &[&r, &g], [0, RED, GREEN, 0, 0, 0, 0, 0]);
    // RRE: a background, one rectangle in it; with short coordinates the same.
    let rre: &[&[u8]] = &[&[0, 0, 0, 1], &g, &b, &[0, 1, 0, 0, 0, 2, 0, 1]];
    check([0, 0, 4, 2], 2, rre, [GREEN, BLUE, BLUE, GREEN, GREEN, GREEN, GREEN, GREEN]);
    let short: &[&[u8]] = &[&[0, 0, 0, 1], &g, &b, &[1, 0, 2, 1]];
    check([0, 0, 4, 2], 4, short, [GREEN, BLUE, BLUE, GREEN, GREEN, GREEN, GREEN, GREEN]);
    // Hextile: background, foreground, one rectangle in it; then of its own colour; then raw.
    let tile: &[&[u8]] = &[&[2 + 4 + 8], &g, &r, &[1, 0x20, 0x01]];
    check([0, 0, 4, 2], 5, tile, [GREEN, GREEN, RED, GREEN, GREEN, GREEN, RED, GREEN]);
    let tile: &[&[u8]] = &[&[2 + 8 + 16], &g, &[1], &b, &[0x00, 0x30]];
    check([0, 0, 4, 2], 5, tile, [BLUE, BLUE, BLUE, BLUE, GREEN, GREEN, GREEN, GREEN]);
    check([0, 1, 2, 1], 5, &[&[1], &r, &b], [0, 0, 0, 0, RED, BLUE, 0, 0]);
}

#[test]
fn copies_may_overlap_themselves() {
    let row = [RED, GREEN, BLUE, RED].map(pixel).concat();
    let stream = [
        start(4, 2, FORMAT),
        update(&[([0, 0, 4, 1], 0, row), ([1, 0, 3, 1], 1, vec![0; 4]), ([0, 1, 4, 1], 1, vec![0; 4])]),
    ];
    let mut screen = Screen::default();
    screen.feed(&stream.concat()).unwrap();
    let expected = [RED, RED, GREEN, BLUE];
    assert_eq!(screen.pixels(), [expected, expected].concat());
}

#[test]
fn zrle_tiles_of_every_kind() {
    let check = |body: &[u8], expected: [u32; 8]| {
        assert_eq!(shown([0, 0, 4, 2], 16, &measured(body)).as_deref(), Ok(&expected[..]), "{body:?}");
    };
    // Three bytes a pixel: the fourth is always zero.
    let [r, g, b] = [RED, GREEN, BLUE].map(|colour| pixel(colour)[..3].to_vec());
    let raw = [&[0][..], &r, &g, &b, &r, &r, &r, &r, &g].concat();
    check(&raw, [RED, GREEN, BLUE, RED, RED, RED, RED, GREEN]);
    check(&[&[1][..], &g].concat(), [GREEN; 8]);
    check(
        &[&[2][..], &r, &g, &[0b0110_0000, 0b1000_0000]].concat(),
        [RED, GREEN, GREEN, RED, GREEN, RED, RED, RED],
    );
    check(&[&[3][..], &r, &g, &b, &[0b0001_1000, 0]].concat(), [RED, GREEN, BLUE, RED, RED, RED, RED, RED]);
    check(&[&[128][..], &r, &[2], &b, &[4]].concat(), [RED, RED, RED, BLUE, BLUE, BLUE, BLUE, BLUE]);
    check(
        &[&[130][..], &r, &g, &[0x81, 5, 0, 1]].concat(),
        [GREEN, GREEN, GREEN, GREEN, GREEN, GREEN, RED, GREEN],
    );
    for bad in [&[17][..], &[129], &[2, 0, 0], &[128, 1, 2, 3, 200], &[130, 0, 0, 0, 0, 0, 0, 5], &[]] {
        assert_eq!(shown([0, 0, 4, 2], 16, &measured(bad)), Err(ScreenError::Compressed), "{bad:?}");
    }
}

#[test]
fn zlib_goes_on_from_one_rectangle_to_the_next() {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let mut pieces = Vec::new();
    for colour in [RED, BLUE] {
        let before = encoder.get_ref().len();
        encoder.write_all(&pixel(colour).repeat(4)).unwrap();
        encoder.flush().unwrap();
        let piece = encoder.get_ref()[before..].to_vec();
        pieces.push([&u32::try_from(piece.len()).unwrap().to_be_bytes()[..], &piece].concat());
    }
    let [first, second] =
        [0, 1].map(|at: usize| ([0, u16::try_from(at).unwrap(), 4, 1], 6, pieces[at].clone()));
    let mut screen = Screen::default();
    screen.feed(&[start(4, 2, FORMAT), update(&[first, second])].concat()).unwrap();
    assert_eq!(screen.pixels(), [[RED; 4], [BLUE; 4]].concat());
}

#[test]
fn tight_fills_palettes_and_gradients() {
    let check = |place, body: &[&[u8]], expected: [u32; 8]| {
        assert_eq!(shown(place, 7, &body.concat()).as_deref(), Ok(&expected[..]), "{body:?}");
    };
    check([0, 0, 4, 2], &[&[0x80, 0, 0xff, 0]], [GREEN; 8]);
    // Below twelve bytes nothing is compressed.
    check([0, 0, 2, 1], &[&[0x00, 0xff, 0, 0, 0, 0, 0xff]], [RED, BLUE, 0, 0, 0, 0, 0, 0]);
    let two: &[&[u8]] = &[&[0x40, 1, 1, 0xff, 0, 0, 0, 0, 0xff, 0b0110_0000, 0b1000_0000]];
    check([0, 0, 4, 2], two, [RED, BLUE, BLUE, RED, BLUE, RED, RED, RED]);
    let three: &[&[u8]] = &[&[0x40, 1, 2, 0xff, 0, 0, 0, 0, 0xff, 0, 0xff, 0, 0, 1, 2, 2, 1, 0, 0, 0]];
    check([0, 0, 4, 2], three, [RED, BLUE, GREEN, GREEN, BLUE, RED, RED, RED]);
    // All of 24 bytes, compressed, in the second stream.
    let copy = compact(&[0, 0, 0xff].repeat(8));
    check([0, 0, 4, 2], &[&[0x10], &copy], [BLUE; 8]);
    // The first pixel as it is, then no difference to what its neighbours make likely.
    let gradient = compact(&[&[0xff, 0, 0][..], &[0; 21]].concat());
    check([0, 0, 4, 2], &[&[0x40, 2], &gradient], [RED; 8]);
    for bad in [&[0xa0][..], &[0x40, 3], &[0x90, 2, 1, 2]] {
        assert!(shown([0, 0, 4, 2], 7, bad).is_err(), "{bad:?}");
    }
}

/// Four by two pixels of one colour, red 200, green 40, blue 40, as Chromium's canvas writes them.
const JPEG: &str = "\
     /9j/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpRUk//2wBD\
     AQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//wAARCAACAAQD\
     ASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAX/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFQEBAQAAAAAAAAAAAAAAAAAA\
     BAb/xAAUEQEAAAAAAAAAAAAAAAAAAAAA/9oADAMBAAIRAxEAPwCMAArn/9k=";

#[test]
fn tight_jpeg() {
    let data = STANDARD.decode(JPEG).unwrap();
    let len = data.len();
    let body =
        [&[0x90, u8::try_from(len & 0x7f).unwrap() | 0x80, u8::try_from(len >> 7).unwrap()][..], &data];
    let pixels = shown([0, 0, 4, 2], 7, &body.concat()).unwrap();
    for pixel in &pixels {
        let near =
            [200, 40, 40].iter().zip(&pixel.to_be_bytes()[1..]).all(|(want, is)| is.abs_diff(*want) < 8);
        assert!(near, "{pixel:06x}");
    }
    assert_eq!(shown([0, 0, 2, 2], 7, &body.concat()), Err(ScreenError::Jpeg), "of another size");
    let broken = [&[0x90, 20][..], &data[..20]].concat();
    assert_eq!(shown([0, 0, 4, 2], 7, &broken), Err(ScreenError::Jpeg));
}

#[test]
fn other_pixels() {
    let check = |format: [u8; 16], pixels: &[u8], expected: u32| {
        let stream = [start(1, 1, format), update(&[([0, 0, 1, 1], 0, pixels.to_vec())])].concat();
        let mut screen = Screen::default();
        screen.feed(&stream).unwrap();
        assert_eq!(screen.pixels(), [expected], "{format:?}");
    };
    let with = |bits: u8, big: u8, max: [u8; 3], shift: [u8; 3]| {
        let [r, g, b] = max;
        [bits, bits.min(24), big, 1, 0, r, 0, g, 0, b, shift[0], shift[1], shift[2], 0, 0, 0]
    };
    check(with(32, 0, [255; 3], [0, 8, 16]), &[1, 2, 3, 0], 0x0001_0203);
    check(with(32, 1, [255; 3], [16, 8, 0]), &[0, 1, 2, 3], 0x0001_0203);
    check(with(16, 0, [31, 63, 31], [11, 5, 0]), &[0x00, 0xf8], RED);
    check(with(16, 1, [31, 63, 31], [11, 5, 0]), &[0x07, 0xe0], GREEN);
    check(with(8, 0, [7, 7, 3], [0, 3, 6]), &[0xc0], BLUE);
    // A colour map.
    let map = b"\x01\0\0\x05\0\x01\x12\x34\x56\x78\x9a\xbc";
    let mapped = [8, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let stream = [start(1, 1, mapped), map.to_vec(), update(&[([0, 0, 1, 1], 0, vec![5])])].concat();
    let mut screen = Screen::default();
    screen.feed(&stream).unwrap();
    assert_eq!(screen.pixels(), [0x0012_569a]);
    for bad in
        [with(24, 0, [255; 3], [16, 8, 0]), with(16, 0, [255; 3], [16, 8, 0]), with(8, 0, [0; 3], [0; 3])]
    {
        assert_eq!(Screen::default().feed(&start(1, 1, bad)), Err(ScreenError::PixelFormat));
    }
}

#[test]
fn a_format_holds_from_the_next_update_on() {
    let turned = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 0, 8, 16, 0, 0, 0];
    let raw = || update(&[([0, 0, 1, 1], 0, vec![0xff, 0, 0, 0])]);
    let mut screen = Screen::default();
    let (begun, rest) = (raw()[..10].to_vec(), raw()[10..].to_vec());
    screen.feed(&[start(1, 1, FORMAT), begun].concat()).unwrap();
    screen.set_format(turned);
    assert!(screen.is_torn());
    screen.feed(&rest).unwrap();
    assert_eq!(screen.pixels(), [BLUE]);
    screen.feed(&raw()).unwrap();
    assert_eq!(screen.pixels(), [RED]);
}

#[test]
fn messages_that_are_no_pixels_are_passed_over() {
    let extended = [&[1, 0, 0, 0][..], &[0; 16]].concat();
    let vmware = [&[1, 0][..], &[0; 4]].concat();
    let pseudo = update(&[
        ([0, 0, 1, 1], -239, vec![0; 5]),
        ([0, 0, 8, 1], -240, vec![0; 8]),
        ([0, 0, 0, 0], -240, vec![]),
        ([3, 1, 0, 0], -232, vec![]),
        ([0; 4], -258, vec![]),
        ([0; 4], -261, vec![1]),
        ([0; 4], -307, b"\0\0\0\x03a\x1bb".to_vec()),
        ([0, 1, 9, 9], -308, extended.clone()),
        ([0, 0, 1, 1], 0x574d_5664, vmware),
        ([0, 0, 5, 1], -308, extended),
        ([0, 0, 2, 3], -223, vec![]),
        ([1, 2, 1, 1], 0, pixel(GREEN)),
    ]);
    // Two announced, one sent: the last says that it is.
    let last = update(&[([0, 0, 1, 1], 0, pixel(RED)), ([0; 4], -224, vec![])]);
    let mut last = last;
    last[2..4].copy_from_slice(&[0xff, 0xff]);
    let stream = [
        &start(4, 2, FORMAT)[..],
        b"\x02\x96",
        b"\x03\0\0\0\0\0\0\x02ab",
        b"\x03\0\0\0\xff\xff\xff\xfcabcd",
        b"\xf8\0\0\0\0\0\0\0\x01x",
        b"\xfa\0\x01\x01",
        b"\xff\x01\0\x01\xff\x01\0\x02\0\0\0\x01z",
        &pseudo,
        &last,
        b"\x02",
    ];
    for size in [1, 7, usize::MAX] {
        let mut screen = Screen::default();
        stream.concat().chunks(size).try_for_each(|piece| screen.feed(piece)).unwrap();
        assert_eq!((screen.size(), screen.name(), screen.is_torn()), (Some((2, 3)), "ab", false));
        assert_eq!(screen.pixels(), [RED, 0, 0, 0, 0, GREEN]);
    }
}

#[test]
fn what_cannot_be_shown_is_told() {
    let check = |stream: &[u8], error| {
        let mut screen = Screen::default();
        assert_eq!((screen.feed(stream), screen.feed(b"")), (Err(error), Err(error)));
    };
    check(b"HTTP/1.1 400 Bad", ScreenError::Handshake);
    check(b"RFB 003.003\n\0\0\0\x02", ScreenError::Handshake);
    check(b"RFB 003.008\n\x01\x02", ScreenError::Handshake);
    check(&start(7681, 4320, FORMAT), ScreenError::Size(7681, 4320));
    check(&[&start(4, 2, FORMAT)[..], &[99]].concat(), ScreenError::Message(99));
    let rectangle = |place, encoding| [start(4, 2, FORMAT), update(&[(place, encoding, vec![])])].concat();
    check(&rectangle([3, 0, 2, 1], 0), ScreenError::Beyond);
    check(&rectangle([0, 65535, 1, 1], 0), ScreenError::Beyond);
    check(&rectangle([0, 0, 1, 1], 50), ScreenError::Encoding(50));
    check(&rectangle([0, 0, 1, 1], -260), ScreenError::Encoding(-260));
    let copy = [rectangle([0, 0, 2, 1], 1), vec![0, 3, 0, 0]].concat();
    check(&copy, ScreenError::Beyond);
    let long = [rectangle([0, 0, 1, 1], 16), vec![0xff; 4]].concat();
    check(&long, ScreenError::TooLong("a ZRLE rectangle"));
    // 3.7 and 3.8, as other tools record them.
    for stream in [b"RFB 003.007\n\x01\x01".to_vec(), b"RFB 003.008\n\x02\x02\x01\0\0\0\0".to_vec()] {
        let mut screen = Screen::default();
        screen.feed(&[stream, start(4, 2, FORMAT)[16..].to_vec()].concat()).unwrap();
        assert_eq!(screen.size(), Some((4, 2)));
    }
}

/// Greets a server of ours as a 3.8 viewer, and gives it these messages.
const HELLO: &[u8] = b"RFB 003.008\n\x01\x01";
const ASK: &[u8] = b"\x03\x00\0\0\0\0\xff\xff\xff\xff";

#[test]
fn our_own_server_is_shown_as_it_paints() {
    // RRE and Raw of the same picture.
    let picture = |messages: &[u8]| {
        let mut server = CanvasServer::refusal("There is no console", "Ask for another link.");
        server.feed(&[HELLO, messages, ASK].concat()).unwrap();
        let stream: Vec<u8> = std::iter::from_fn(|| server.output()).flatten().collect();
        let mut screen = Screen::default();
        screen.feed(&stream).unwrap();
        assert!(!screen.is_torn());
        screen.pixels().to_vec()
    };
    let raw = picture(b"");
    assert!(raw.iter().any(|colour| *colour != raw[0]));
    assert_eq!(picture(b"\x02\0\0\x01\0\0\0\x02"), raw);
}

/// What a viewer of `screen` with pixels of `format` sees.
fn viewed(screen: &mut Screen, format: [u8; 16]) -> Vec<u32> {
    let mut viewing = Viewing::default();
    let mut seen = Screen::default();
    let set = [&[0; 4][..], &format].concat();
    viewing.feed(&[HELLO, &set, ASK].concat()).unwrap();
    while let Some(message) = viewing.output(screen).unwrap() {
        seen.feed(&message).unwrap();
        // Its server init tells our own pixels; what follows is in those that were asked for.
        seen.set_format(format);
    }
    seen.pixels().to_vec()
}

#[test]
fn viewers_see_the_picture_in_pixels_of_their_own() {
    let row = [RED, GREEN, BLUE, 0x00ff_ffff].map(pixel).concat();
    let mut screen = Screen::default();
    screen.feed(&[start(4, 1, FORMAT), update(&[([0, 0, 4, 1], 0, row)])].concat()).unwrap();
    for format in [
        FORMAT,
        [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 0, 8, 16, 0, 0, 0],
        [32, 24, 1, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0],
        [16, 16, 0, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0],
        [8, 8, 0, 1, 0, 7, 0, 7, 0, 3, 0, 3, 6, 0, 0, 0],
    ] {
        assert_eq!(viewed(&mut screen, format), [RED, GREEN, BLUE, 0x00ff_ffff], "{format:?}");
    }
}

#[test]
fn a_viewer_gets_what_changed_once_and_follows_a_new_size() {
    let mut screen = Screen::default();
    screen.feed(&start(4, 2, FORMAT)).unwrap();
    let mut viewing = Viewing::default();
    let mut seen = Screen::default();
    let incremental = b"\x03\x01\0\0\0\0\0\x04\0\x02";
    viewing.feed(&[HELLO, b"\x02\0\0\x01\xff\xff\xff\x21", ASK].concat()).unwrap();
    let mut drain = |viewing: &mut Viewing, screen: &mut Screen| {
        let mut count = 0;
        while let Some(message) = viewing.output(screen).unwrap() {
            seen.feed(&message).unwrap();
            count += 1;
        }
        (count, seen.size(), seen.pixels().to_vec())
    };
    // Version, types, result, ServerInit, the whole screen.
    assert_eq!(drain(&mut viewing, &mut screen).0, 5);
    viewing.feed(incremental).unwrap();
    assert_eq!(drain(&mut viewing, &mut screen).0, 0, "nothing has changed");
    screen.feed(&update(&[([3, 1, 1, 1], 0, pixel(GREEN))])).unwrap();
    let (count, _, pixels) = drain(&mut viewing, &mut screen);
    assert_eq!((count, pixels[7]), (1, GREEN));
    screen.feed(&update(&[([0, 0, 2, 3], -223, vec![]), ([1, 2, 1, 1], 0, pixel(RED))])).unwrap();
    assert_eq!(drain(&mut viewing, &mut screen).0, 0, "it did not ask");
    viewing.feed(incremental).unwrap();
    let (_, size, pixels) = drain(&mut viewing, &mut screen);
    assert_eq!((size, pixels[5]), (Some((2, 3)), RED));
    viewing.feed(b"\x04\x01\0\0\0\0\0 ").unwrap();
    assert_eq!(viewing.event(), Some(crate::rfb::Event::Key { down: true, keysym: 0x20 }));
    assert!(viewing.feed(&[77]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_and_any_split_give_the_same(
        encoding in prop::sample::select(vec![0, 1, 2, 4, 5, 6, 7, 16, -239, -308, -307, -223]),
        kind in any::<u8>(), body in prop::collection::vec(any::<u8>(), 0..300), split: u8,
    ) {
        let mut data = vec![split, 0, 0, 0, 1];
        data.extend([0, 1, 0, 1, 0, 9, 0, 5]);
        data.extend(i32::to_be_bytes(encoding));
        data.push(kind);
        data.extend(&body);
        oracle::screen(&data);
        oracle::screen(&[&[split][..], &body].concat());
    }

    #[test]
    fn compressed_bytes_of_any_kind(
        encoding in prop::sample::select(vec![6i32, 16]), body in prop::collection::vec(any::<u8>(), 0..300), split: u8,
    ) {
        let mut data = vec![split, 0, 0, 0, 1];
        data.extend([0, 1, 0, 1, 0, 9, 0, 5]);
        data.extend(encoding.to_be_bytes());
        data.extend(measured(&body));
        oracle::screen(&data);
    }
}
