//! The RFCs' bytes, and what holds for all bytes.

use proptest::prelude::*;

use super::super::oracle;
use super::*;

/// What a client asks first: WILL and DO BINARY and SGA, WILL COM-PORT-OPTION.
const FIRST: [u8; 15] = [255, 251, 0, 255, 251, 3, 255, 251, 44, 255, 253, 0, 255, 253, 3];

fn received(telnet: &mut Telnet, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let kept = telnet.receive(&mut bytes);
    bytes.truncate(kept);
    bytes
}

fn output(telnet: &mut Telnet) -> Vec<u8> {
    let output = telnet.output().to_vec();
    telnet.wrote(output.len());
    output
}

/// A client whose first words are spoken.
fn client(settings: Vec<Setting>) -> Telnet {
    let mut telnet = Telnet::new(settings);
    assert_eq!(output(&mut telnet), FIRST);
    telnet
}

/// What the server's `bytes` give: data, and the answer.
#[track_caller]
fn check(bytes: &[u8], data: &[u8], answer: &[u8]) {
    let mut telnet = client(Vec::new());
    assert_eq!((received(&mut telnet, bytes), output(&mut telnet)), (data.to_vec(), answer.to_vec()));
}

#[test]
fn data_and_commands_of_rfc_854() {
    check(b"login: ", b"login: ", b"");
    check(b"a\xff\xffb", b"a\xffb", b"");
    check(b"a\r\0b\r\nc", b"a\rb\r\nc", b"");
    check(b"\0a", b"\0a", b"");
    // NOP, Data Mark, Break, Go Ahead, and a stray end of parameters.
    check(b"a\xff\xf1b\xff\xf2c\xff\xf3d\xff\xf9e\xff\xf0f", b"abcdef", b"");
    // A command between CR and its NUL.
    check(b"\r\xff\xf1\0a", b"\ra", b"");
}

#[test]
fn options_are_answered_once_and_unknown_ones_refused() {
    // A server's usual beginning: WILL ECHO, WILL SGA, DO BINARY, WILL BINARY; only ECHO we had not asked for.
    let begin = b"\xff\xfb\x01\xff\xfb\x03\xff\xfd\x00\xff\xfb\x00";
    check(begin, b"", b"\xff\xfd\x01");
    check(&[&begin[..], begin].concat(), b"", b"\xff\xfd\x01");
    // DO TERMINAL-TYPE, DO NAWS, WILL STATUS, DO ECHO: no. WONT and DONT of them need no answer.
    check(
        b"\xff\xfd\x18\xff\xfd\x1f\xff\xfb\x05\xff\xfd\x01",
        b"",
        b"\xff\xfc\x18\xff\xfc\x1f\xff\xfe\x05\xff\xfc\x01",
    );
    check(b"\xff\xfe\x18\xff\xfc\x05\xff\xfe\x00\xff\xfc\x00", b"", b"");
    // Taken back after it was in force, and given again.
    check(b"\xff\xfb\x00\xff\xfc\x00\xff\xfb\x00", b"", b"\xff\xfe\x00\xff\xfd\x00");
}

#[test]
fn binary_carries_carriage_returns_as_they_are() {
    let mut telnet = client(Vec::new());
    telnet.send(b"a\r\n\xff");
    assert_eq!(output(&mut telnet), b"a\r\0\n\xff\xff");
    assert_eq!(received(&mut telnet, b"\xff\xfd\x00\xff\xfb\x00\r\0\r\n"), b"\r\0\r\n");
    telnet.send(b"a\r\n\xff");
    assert_eq!(output(&mut telnet), b"a\r\n\xff\xff");
}

#[test]
fn settings_are_the_bytes_of_rfc_2217() {
    let settings = vec![
        Setting::Baud(9600),
        Setting::DataBits(7),
        Setting::Parity(Parity::Even),
        Setting::StopBits(2),
        Setting::Flow(Flow::XonXoff),
        Setting::Dtr(true),
        Setting::Rts(false),
    ];
    let mut telnet = client(settings);
    assert_eq!(received(&mut telnet, b"\xff\xfd\x2c"), b"");
    let expected = [
        &b"\xff\xfa\x2c\x01\x00\x00\x25\x80\xff\xf0"[..],
        b"\xff\xfa\x2c\x02\x07\xff\xf0",
        b"\xff\xfa\x2c\x03\x03\xff\xf0",
        b"\xff\xfa\x2c\x04\x02\xff\xf0",
        b"\xff\xfa\x2c\x05\x02\xff\xf0",
        b"\xff\xfa\x2c\x05\x08\xff\xf0",
        b"\xff\xfa\x2c\x05\x0c\xff\xf0",
    ];
    assert_eq!(output(&mut telnet), expected.concat());
    // Once only, and the answers: 9600, and 8 bits where 7 were asked for.
    let answers = b"\xff\xfd\x2c\xff\xfa\x2c\x65\x00\x00\x25\x80\xff\xf0a\xff\xfa\x2c\x66\x08\xff\xf0b";
    assert_eq!(received(&mut telnet, answers), b"ab");
    assert_eq!(output(&mut telnet), b"");
    assert_eq!(telnet.differing(), Some((Setting::DataBits(7), 8)));
    assert_eq!(telnet.differing(), None);
    // RTS is answered for itself, not for DTR or the flow control.
    received(&mut telnet, b"\xff\xfa\x2c\x69\x0b\xff\xf0");
    assert_eq!(telnet.differing(), Some((Setting::Rts(false), 11)));
    assert!(!telnet.unset());
}

#[test]
fn a_byte_of_255_within_parameters_is_doubled() {
    let mut telnet = client(vec![Setting::Baud(255)]);
    received(&mut telnet, b"\xff\xfd\x2c");
    assert_eq!(output(&mut telnet), b"\xff\xfa\x2c\x01\x00\x00\x00\xff\xff\xff\xf0");
    received(&mut telnet, b"\xff\xfa\x2c\x65\x00\x00\x00\xff\xff\xff\xf0");
    assert_eq!(telnet.differing(), None);
}

#[test]
fn a_server_without_rfc_2217_is_told_of_once() {
    let mut telnet = client(vec![Setting::Baud(9600)]);
    assert!(!telnet.unset(), "not before the answer");
    received(&mut telnet, b"\xff\xfe\x2c");
    assert!(telnet.unset() && !telnet.unset());
    assert!(!telnet.begin_break());
    assert_eq!(output(&mut telnet), b"\xff\xf3");
    let mut bare = client(Vec::new());
    received(&mut bare, b"\xff\xfe\x2c");
    assert!(!bare.unset(), "nothing was wanted");
}

#[test]
fn break_suspension_modem_lines_and_signature() {
    let mut telnet = client(Vec::new());
    // Before the option is agreed on its commands say nothing.
    received(&mut telnet, b"\xff\xfa\x2c\x6c\xff\xf0\xff\xfa\x2c\x6b\xb0\xff\xf0");
    assert_eq!((telnet.suspended(), telnet.modem()), (false, None));
    received(&mut telnet, b"\xff\xfd\x2c\xff\xfa\x2c\x6c\xff\xf0\xff\xfa\x2c\x6b\xb0\xff\xf0");
    assert_eq!((telnet.suspended(), telnet.modem()), (true, Some(0xb0)));
    received(&mut telnet, b"\xff\xfa\x2c\x6d\xff\xf0");
    assert!(!telnet.suspended());
    assert!(telnet.begin_break());
    telnet.end_break();
    assert_eq!(output(&mut telnet), b"\xff\xfa\x2c\x05\x05\xff\xf0\xff\xfa\x2c\x05\x06\xff\xf0");
    received(&mut telnet, b"\xff\xfa\x2c\x64\xff\xf0\xff\xfa\x2c\x64ser2net\xff\xf0");
    assert_eq!(output(&mut telnet), b"\xff\xfa\x2c\x00consolegate\xff\xf0");
    // A server that takes the option back takes its suspension back.
    received(&mut telnet, b"\xff\xfa\x2c\x6c\xff\xf0\xff\xfe\x2c");
    assert!(!telnet.suspended());
}

#[test]
fn parameters_may_be_broken_or_long() {
    let long = [&b"\xff\xfa\x2c\x64"[..], &[b'x'; 5000], b"\xff\xf0a"].concat();
    check(&long, b"a", b"");
    // Cut off by another command: void; what comes behind counts.
    check(b"\xff\xfa\x2c\x64\xff\xf1a\xff\xfa\xff\xf0b\xff\xfa\xff\xf0c", b"abc", b"");
}

proptest! {
    #[test]
    fn any_split_gives_the_same_bytes(data in commands()) {
        oracle::telnet(&data);
    }

    #[test]
    fn the_output_does_not_grow_beyond_the_input(data in commands()) {
        let mut telnet = client(Vec::new());
        received(&mut telnet, &data);
        prop_assert!(output(&mut telnet).len() <= 10 * data.len());
    }
}

/// Mostly commands, with the numbers that mean something.
fn commands() -> impl Strategy<Value = Vec<u8>> {
    let known =
        prop::sample::select(vec![0, 1, 3, 13, 44, 100, 101, 105, 107, 108, 240, 250, 251, 252, 253, 254]);
    let byte = prop_oneof![3 => Just(255), 4 => known, 2 => any::<u8>()];
    prop::collection::vec(byte, 0..200)
}
