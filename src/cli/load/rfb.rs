//! The RFB greeting (RFC 6143 section 7.1 to 7.3), as short as it can be: 3.8, security None, an empty screen.

use anyhow::bail;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const VERSION: &[u8; 12] = b"RFB 003.008\n";

/// One security type, None.
const SECURITY: [u8; 2] = [1, 1];

/// ServerInit: 640 by 480, 32 bits a pixel in native form, the name "load".
const SERVER_INIT: [u8; 28] = [
    2, 128, 1, 224, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0, 0, 0, 0, 4, b'l', b'o', b'a',
    b'd',
];

/// The console's side.
pub(super) async fn serve(stream: &mut TcpStream) -> anyhow::Result<()> {
    stream.write_all(VERSION).await?;
    let mut version = [0; 12];
    stream.read_exact(&mut version).await?;
    stream.write_all(&SECURITY).await?;
    stream.read_u8().await?;
    // SecurityResult OK.
    stream.write_all(&[0; 4]).await?;
    // ClientInit: shared or not.
    stream.read_u8().await?;
    stream.write_all(&SERVER_INIT).await?;
    Ok(())
}

/// The viewer's side: how many of the four messages it has answered.
#[derive(Default)]
pub(super) struct Viewer {
    step: usize,
}

impl Viewer {
    pub(super) fn done(&self) -> bool {
        self.step == 4
    }

    /// Takes whole messages from the front of `bytes`; returns what to send.
    pub(super) fn feed(&mut self, bytes: &mut Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let mut answer = Vec::new();
        while !self.done() {
            let need = match (self.step, bytes.first()) {
                (0, _) => VERSION.len(),
                (1, Some(types)) => 1 + usize::from(*types),
                (1, None) => 1,
                (2, _) => 4,
                // The name's length stands at the end of the fixed part.
                _ => match bytes.get(20..24) {
                    Some(&[0, 0, high, low]) => 24 + usize::from(u16::from_be_bytes([high, low])),
                    Some(_) => bail!("the desktop's name is too long"),
                    None => 24,
                },
            };
            if bytes.len() < need {
                break;
            }
            let message: Vec<u8> = bytes.drain(..need).collect();
            match self.step {
                0 => answer.extend_from_slice(VERSION),
                1 if message[1..].contains(&1) => answer.push(1),
                1 => bail!("the console offers no security type None"),
                // ClientInit: shared.
                2 if message == [0; 4] => answer.push(1),
                2 => bail!("the console refused"),
                _ => {}
            }
            self.step += 1;
        }
        Ok(answer)
    }
}
