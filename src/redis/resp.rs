use std::io;
use std::pin::Pin;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// The longest line, and the most bytes of one value. A server's own limit is 512 MiB unless it is configured otherwise.
const LINE: u64 = 64 << 10;
const BULK: u64 = 1 << 30;
const ITEMS: i64 = 1 << 20;
const DEPTH: usize = 8;
const CHUNK: usize = 1 << 20;

/// An answer of the protocol, version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Reply>),
}

impl Reply {
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Simple(text) => Some(text.clone()),
            Self::Bulk(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Self::Integer(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

/// Why an answer could not be read.
#[derive(Debug)]
pub(super) enum RespError {
    Closed,
    Read(io::Error),
    Protocol(&'static str),
}

/// Encodes a command.
pub(super) fn encode(arguments: &[&[u8]], buffer: &mut Vec<u8>) {
    buffer.extend(format!("*{}\r\n", arguments.len()).bytes());
    for argument in arguments {
        buffer.extend(format!("${}\r\n", argument.len()).bytes());
        buffer.extend(*argument);
        buffer.extend(b"\r\n");
    }
}

/// Reads a line without its end.
pub(super) async fn line<R: AsyncBufRead + Unpin>(reader: &mut R) -> Result<String, RespError> {
    let mut bytes = Vec::new();
    let read = reader.take(LINE).read_until(b'\n', &mut bytes).await.map_err(RespError::Read)?;
    if read == 0 {
        return Err(RespError::Closed);
    }
    if bytes.pop() != Some(b'\n') {
        return Err(if read as u64 == LINE {
            RespError::Protocol("a line is too long")
        } else {
            RespError::Closed
        });
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub(super) async fn reply<R: AsyncBufRead + Unpin + Send>(reader: &mut R) -> Result<Reply, RespError> {
    nested(reader, DEPTH).await
}

fn nested<'r, R: AsyncBufRead + Unpin + Send>(
    reader: &'r mut R,
    depth: usize,
) -> Pin<Box<dyn Future<Output = Result<Reply, RespError>> + Send + 'r>> {
    Box::pin(async move {
        let line = line(reader).await?;
        let Some(kind) = line.chars().next() else { return Err(RespError::Protocol("an answer is empty")) };
        let rest = line.get(1..).unwrap_or_default();
        let number = || rest.parse::<i64>().map_err(|_| RespError::Protocol("a number is none"));
        match kind {
            '+' => Ok(Reply::Simple(rest.to_owned())),
            '-' => Ok(Reply::Error(rest.to_owned())),
            ':' => Ok(Reply::Integer(number()?)),
            '$' => match number()? {
                -1 => Ok(Reply::Nil),
                length => bulk(reader, length).await.map(Reply::Bulk),
            },
            '*' => match number()? {
                -1 => Ok(Reply::Nil),
                count if depth == 0 || !(0..=ITEMS).contains(&count) => {
                    Err(RespError::Protocol("an answer is too large"))
                }
                count => {
                    let mut items = Vec::new();
                    for _ in 0..count {
                        items.push(nested(reader, depth - 1).await?);
                    }
                    Ok(Reply::Array(items))
                }
            },
            _ => Err(RespError::Protocol("an answer has an unknown type")),
        }
    })
}

async fn bulk<R: AsyncBufRead + Unpin>(reader: &mut R, length: i64) -> Result<Vec<u8>, RespError> {
    let length = u64::try_from(length).ok().filter(|length| *length <= BULK);
    let length = length.ok_or(RespError::Protocol("a value is too long"))?;
    let mut bytes = Vec::with_capacity(CHUNK.min(length as usize));
    let read = (&mut *reader).take(length).read_to_end(&mut bytes).await.map_err(RespError::Read)?;
    let mut end = [0; 2];
    if read as u64 != length || reader.read_exact(&mut end).await.is_err() {
        return Err(RespError::Closed);
    }
    if end == *b"\r\n" { Ok(bytes) } else { Err(RespError::Protocol("a value has no end")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Result<Reply, RespError> {
        reply(&mut tokio::io::BufReader::with_capacity(3, bytes)).await
    }

    #[tokio::test]
    async fn answers_are_read_and_hostile_ones_refused() {
        assert_eq!(read(b"+OK\r\n").await.unwrap(), Reply::Simple("OK".to_owned()));
        assert_eq!(read(b"$4\r\na\r\n\0\r\n").await.unwrap(), Reply::Bulk(b"a\r\n\0".to_vec()));
        let nested = Reply::Array(vec![Reply::Integer(-3), Reply::Nil, Reply::Error("E x".to_owned())]);
        assert_eq!(read(b"*3\r\n:-3\r\n$-1\r\n-E x\r\n").await.unwrap(), nested);
        for cut in [&b"$4\r\nab"[..], b"+OK", b"", b"*2\r\n:1\r\n", b"$2\r\nabc"] {
            assert!(matches!(read(cut).await, Err(RespError::Closed)), "{cut:?}");
        }
        for bad in [&b"$4\r\nabcdef"[..], b"?\r\n", b"$99999999999\r\n", b"*99999999\r\n", b":x\r\n", b"\r\n"]
        {
            assert!(matches!(read(bad).await, Err(RespError::Protocol(_))), "{bad:?}");
        }
        assert!(matches!(read(&b"*1\r\n".repeat(100)).await, Err(RespError::Protocol(_))));
    }

    #[test]
    fn a_command_carries_any_bytes() {
        let mut bytes = Vec::new();
        encode(&[b"SET", b"\r\n\0"], &mut bytes);
        assert_eq!(bytes, b"*2\r\n$3\r\nSET\r\n$3\r\n\r\n\0\r\n");
    }
}
