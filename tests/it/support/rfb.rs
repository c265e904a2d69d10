//! An RFB client over the proxy's WebSocket (RFC 6143): handshake, VNC password, and the screen in Raw encoding.

use std::net::SocketAddr;

use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;

use super::chance::Chance;
use super::picture::Picture;
use super::wire::{self, BINARY, Frame, Incoming};

/// A viewer of a VNC console.
pub(crate) struct Rfb {
    outgoing: OwnedWriteHalf,
    incoming: Incoming,
    chance: Chance,
    read: Vec<u8>,
}

/// What ServerInit says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Screen {
    pub(crate) width: u16,
    pub(crate) height: u16,
    pub(crate) name: String,
}

/// 32 bits a pixel, little-endian, red in the third byte.
const PIXELS: [u8; 16] = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];

impl Rfb {
    /// Opens the console; the error is the refusal's status line.
    pub(crate) async fn open(proxy: SocketAddr, token: &str) -> Result<Self, String> {
        let (outgoing, incoming) = wire::open(proxy, token, None).await?;
        Ok(Self { outgoing, incoming, chance: Chance::new(8), read: Vec::new() })
    }

    /// The proxy's next frame, whatever it is.
    pub(crate) async fn frame(&mut self) -> Frame {
        self.incoming.next().await
    }

    /// The next message of the handshake: the proxy sends each in a frame of its own.
    pub(crate) async fn message(&mut self) -> Vec<u8> {
        self.incoming.data().await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let frame = wire::frame(BINARY, true, bytes, &mut self.chance);
        self.outgoing.write_all(&frame).await.expect("the proxy takes a message");
    }

    /// Says goodbye.
    pub(crate) async fn close(&mut self) {
        let frame = wire::close(1000, &mut self.chance);
        self.outgoing.write_all(&frame).await.expect("the proxy takes a goodbye");
    }

    /// Versions, and the choice of `security`, which must be all that is offered.
    pub(crate) async fn choose(&mut self, security: u8) {
        assert_eq!(self.message().await, b"RFB 003.008\n");
        self.send(b"RFB 003.008\n").await;
        assert_eq!(self.message().await, [1, security], "one security type is offered");
        self.send(&[security]).await;
    }

    /// Answers the challenge with `password` (RFC 6143 section 7.2.2); SecurityResult as it came.
    pub(crate) async fn answer(&mut self, password: &str) -> Vec<u8> {
        let challenge = self.message().await;
        self.send(&response(&challenge, password)).await;
        self.message().await
    }

    /// ClientInit, shared, and ServerInit, which comes whole in one frame.
    pub(crate) async fn begin(&mut self) -> Screen {
        self.send(&[1]).await;
        self.screen().await
    }

    /// ServerInit, once ClientInit is sent.
    pub(crate) async fn screen(&mut self) -> Screen {
        let init = self.message().await;
        let number = |at: usize| u16::from_be_bytes([init[at], init[at + 1]]);
        let length = u32::from_be_bytes(init[20..24].try_into().expect("four bytes")) as usize;
        assert_eq!(init.len(), 24 + length, "ServerInit is whole");
        let name = String::from_utf8(init[24..].to_vec()).expect("a name in UTF-8");
        Screen { width: number(0), height: number(2), name }
    }

    /// Asks for the whole screen, in Raw encoding, and waits for it.
    pub(crate) async fn picture(&mut self, screen: &Screen) -> Picture {
        let Screen { width, height, .. } = *screen;
        self.send(&[&[0, 0, 0, 0][..], &PIXELS].concat()).await;
        self.send(&[2, 0, 0, 1, 0, 0, 0, 0]).await;
        let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
        self.send(&[&[3, 0, 0, 0, 0, 0][..], &size].concat()).await;
        let (width, height) = (usize::from(width), usize::from(height));
        let mut picture = Picture { width, height, rgb: vec![0; width * height * 3] };
        let mut missing = width * height;
        while missing > 0 {
            let kind = self.take(1).await[0];
            match kind {
                0 => missing -= self.update(&mut picture).await,
                // Bell; and a clipboard, which is read past.
                2 => {}
                3 => {
                    let head = self.take(7).await;
                    let length = u32::from_be_bytes(head[3..].try_into().expect("four bytes"));
                    self.take(length as usize).await;
                }
                other => panic!("server message {other}"),
            }
        }
        picture
    }

    /// One FramebufferUpdate; how many pixels it had.
    async fn update(&mut self, picture: &mut Picture) -> usize {
        let head = self.take(3).await;
        let mut pixels = 0;
        for _ in 0..u16::from_be_bytes([head[1], head[2]]) {
            let head = self.take(12).await;
            let number = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
            let [x, y, width, height] = [number(0), number(2), number(4), number(6)];
            assert_eq!(head[8..], [0, 0, 0, 0], "Raw, as asked for");
            let data = self.take(width * height * 4).await;
            for (index, pixel) in data.chunks(4).enumerate() {
                let at = ((y + index / width) * picture.width + x + index % width) * 3;
                picture.rgb[at..at + 3].copy_from_slice(&[pixel[2], pixel[1], pixel[0]]);
            }
            pixels += width * height;
        }
        pixels
    }

    async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            let data = self.incoming.data().await;
            self.read.extend(data);
        }
        let rest = self.read.split_off(count);
        std::mem::replace(&mut self.read, rest)
    }
}

/// The challenge encrypted with DES; the key is the password, the bits of each byte reversed.
fn response(challenge: &[u8], password: &str) -> Vec<u8> {
    assert_eq!(challenge.len(), 16);
    let mut key = [0; 8];
    for (place, byte) in key.iter_mut().zip(password.bytes()) {
        *place = byte.reverse_bits();
    }
    let des = Des::new(&key.into());
    let encrypt = |block: &[u8]| {
        let mut block = <[u8; 8]>::try_from(block).expect("eight bytes").into();
        des.encrypt_block(&mut block);
        block.to_vec()
    };
    challenge.chunks(8).flat_map(encrypt).collect()
}
