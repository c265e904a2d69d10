//! A file as the body of an answer, read a piece at a time, and never on the thread that serves connections.

use std::fs::File;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

/// Read at a time: a client that does not read costs no more than this.
const PIECE: u64 = 256 * 1024;

/// The file's bytes from where it stands, `left` of them. Fewer are an error: the client was told how many.
#[derive(Debug)]
pub struct FileBody {
    state: State,
    left: u64,
}

#[derive(Debug)]
enum State {
    Waiting(File),
    Reading(JoinHandle<(File, io::Result<Vec<u8>>)>),
    Ended,
}

impl FileBody {
    /// The first `len` bytes of `file`, which may go on growing meanwhile.
    pub fn new(file: File, len: u64) -> Self {
        Self { state: State::Waiting(file), left: len }
    }
}

fn read((mut file, most): (File, u64)) -> (File, io::Result<Vec<u8>>) {
    let mut bytes = Vec::new();
    let read = (&mut file).take(most).read_to_end(&mut bytes);
    (file, read.map(|_| bytes))
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut reading = match std::mem::replace(&mut self.state, State::Ended) {
            State::Waiting(file) => {
                let most = self.left.min(PIECE);
                tokio::task::spawn_blocking(move || read((file, most)))
            }
            State::Reading(reading) => reading,
            State::Ended => return Poll::Ready(None),
        };
        let done = Pin::new(&mut reading).poll(cx);
        if done.is_pending() {
            self.state = State::Reading(reading);
        }
        let (file, bytes) = ready!(done).map_err(io::Error::other)?;
        let bytes = bytes?;
        if bytes.is_empty() {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        self.left -= bytes.len() as u64;
        self.state = State::Waiting(file);
        Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn as_many_bytes_as_were_told() {
        let content: Vec<u8> = (0..700_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let mut body = async |len: u64| {
            file.rewind().unwrap();
            let body = FileBody::new(file.try_clone().unwrap(), len);
            assert_eq!(body.size_hint().exact(), Some(len));
            body.collect().await.map(|read| read.to_bytes())
        };
        for len in [0, 1, 262_144, 700_000] {
            assert_eq!(body(len).await.unwrap(), content[..usize::try_from(len).unwrap()]);
        }
        assert_eq!(
            body(700_001).await.unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof,
            "cut short meanwhile"
        );
    }
}
