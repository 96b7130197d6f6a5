use std::io::{self, BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use super::Identities;
use super::read_ahead::ReadAhead;
use crate::model::{Digest, Encoding, Hasher};

const BUFFER: usize = 128 << 10;

/// Why stored bytes cannot be decoded.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("no identity was given, and the backup is encrypted")]
    NoIdentity,
    #[error("none of the identities given is one of the backup's recipients")]
    WrongIdentity,
    #[error("the stored object is not an age file, or its header is damaged")]
    Header(#[source] io::Error),
    #[error("failed to read the stored object")]
    Read(#[source] io::Error),
}

impl OpenError {
    /// Returns whether a reason, as text, is that the right identity was not given.
    pub fn is_of_key(reason: &str) -> bool {
        [Self::NoIdentity, Self::WrongIdentity].iter().any(|error| reason.contains(&error.to_string()))
    }
}

/// Decodes a stream into its plain bytes, and returns an error at their end if they do not match `expected`.
pub fn unseal<'a>(
    stored: impl Read + Send + 'a,
    encoding: &[Encoding],
    identities: &Identities,
    expected: Option<Digest>,
) -> Result<Box<dyn Read + Send + 'a>, OpenError> {
    let mut stream: Box<dyn Read + Send + 'a> = Box::new(stored);
    for step in encoding.iter().rev() {
        stream = undo(*step, BufReader::with_capacity(BUFFER, stream), identities)?;
    }
    Ok(proven(stream, expected))
}

/// Decodes as [`unseal`] does, with a thread for each step and one for the verification, for long streams.
pub fn unseal_ahead(
    stored: impl BufRead + Send + 'static,
    encoding: &[Encoding],
    identities: &Identities,
    expected: Digest,
) -> Result<Box<dyn BufRead + Send>, OpenError> {
    let mut steps = encoding.iter().rev();
    let ahead = |stream| ReadAhead::new(stream).map_err(OpenError::Read);
    let mut plain = match steps.next() {
        Some(step) => ahead(undo(*step, stored, identities)?)?,
        None => ahead(Box::new(stored))?,
    };
    for step in steps {
        plain = ahead(undo(*step, plain, identities)?)?;
    }
    let mut hasher = Hasher::default();
    let proven = plain.shown_to(move |chunk| {
        hasher.update(chunk);
        if chunk.is_empty() { compare(&hasher, expected) } else { Ok(()) }
    });
    Ok(Box::new(proven.map_err(OpenError::Read)?))
}

fn undo<'a>(
    step: Encoding,
    stream: impl BufRead + Send + 'a,
    identities: &Identities,
) -> Result<Box<dyn Read + Send + 'a>, OpenError> {
    Ok(match step {
        Encoding::Age => Box::new(decrypt(stream, identities)?),
        Encoding::Zstd => Box::new(zstd::Decoder::with_buffer(stream).map_err(OpenError::Read)?),
    })
}

fn proven<'a>(stream: Box<dyn Read + Send + 'a>, expected: Option<Digest>) -> Box<dyn Read + Send + 'a> {
    match expected {
        Some(expected) => Box::new(VerifiedReader { stream, hasher: Hasher::default(), expected }),
        None => stream,
    }
}

fn decrypt<R: BufRead>(stored: R, identities: &Identities) -> Result<impl Read + use<R>, OpenError> {
    if identities.is_empty() {
        return Err(OpenError::NoIdentity);
    }
    let failed = |error| match error {
        age::DecryptError::NoMatchingKeys => OpenError::WrongIdentity,
        age::DecryptError::Io(error) => OpenError::Read(error),
        other => OpenError::Header(io::Error::other(other)),
    };
    let stored = Arc::new(Mutex::new(stored));
    let decryptor = age::Decryptor::new(BufferedReader(Arc::clone(&stored))).map_err(failed)?;
    decryptor.decrypt(identities.iter()).map_err(|error| match failed(error) {
        // A damaged header looks like another key; the end of the stored bytes shows the damage.
        OpenError::WrongIdentity => {
            let rest = io::copy(&mut BufferedReader(stored).take(TOLD_WITHIN), &mut io::sink());
            rest.map_or_else(OpenError::Read, |_| OpenError::WrongIdentity)
        }
        error => error,
    })
}

/// How much to read to distinguish damage from another key; what proves the key first is smaller.
const TOLD_WITHIN: u64 = 64 << 20;

/// A stream that can be read further after its reader has given up.
struct BufferedReader<R>(Arc<Mutex<R>>);

impl<R: Read> Read for BufferedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(buffer)
    }
}

/// Compares with the digest at the end of the stream.
struct VerifiedReader<R> {
    stream: R,
    hasher: Hasher,
    expected: Digest,
}

impl<R: Read> Read for VerifiedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        if count == 0 && !buffer.is_empty() {
            compare(&self.hasher, self.expected)?;
        }
        Ok(count)
    }
}

fn compare(hasher: &Hasher, expected: Digest) -> io::Result<()> {
    let found = hasher.clone().digest();
    if found == expected {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "the plain bytes are not those that were recorded: {} bytes with SHA-256 {}, expected {} bytes with {}",
            found.size, found.sha256, expected.size, expected.sha256
        ),
    ))
}
