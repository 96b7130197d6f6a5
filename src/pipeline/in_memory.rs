use std::io::{self, Read, Write};

use super::{PipelineError, Recipe};
use crate::model::{Digest, Hasher, Sha256Hex};

/// Bytes passed on at a time.
const CHUNK: usize = 256 << 10;

/// Capacity for what sealing adds: both formats add less than a thousandth to incompressible data, and age
/// its header.
const BEYOND_PLAIN: usize = 64 << 10;

/// The minimum capacity. The C library caches freed blocks up to 32 MiB for each thread that had one; it
/// returns a larger block to the system at once, and its untouched part takes no memory.
const LEAST_ROOM: usize = 33 << 20;

/// A stream that was sealed in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedInMemory {
    pub bytes: Vec<u8>,
    /// Of the sealed bytes.
    pub stored: Sha256Hex,
    /// Of the plain bytes.
    pub plain: Digest,
}

/// Seals a stream whose sealed bytes fit into memory; `size` is its expected length. `see` is called with the
/// plain bytes, 256 KiB at a time except for the last, and aborts by returning an error.
///
/// Allocates once: a growing buffer is in memory twice while it is copied.
pub fn seal_whole(
    stream: impl Read,
    size: usize,
    recipe: &Recipe,
    mut see: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<SealedInMemory, PipelineError> {
    let bytes = Vec::with_capacity(LEAST_ROOM.max(size + size / 1000 + BEYOND_PLAIN));
    let room = Hashed { bytes, hasher: Hasher::default() };
    let mut encoder = recipe.encoder(room).map_err(PipelineError::Encode)?;
    let plain = each_chunk(stream, |chunk| {
        see(chunk).map_err(PipelineError::Read)?;
        encoder.write_all(chunk).map_err(PipelineError::Encode)
    })?;
    if plain.size == 0 {
        return Err(PipelineError::Empty);
    }
    let Hashed { bytes, hasher } = encoder.finish().map_err(PipelineError::Encode)?;
    Ok(SealedInMemory { bytes, stored: hasher.digest().sha256, plain })
}

/// Hashes bytes as they are written, while others are being compressed.
struct Hashed {
    bytes: Vec<u8>,
    hasher: Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes a stream, and passes its bytes to `see` as [`seal_whole`] does.
pub fn digest_whole(
    stream: impl Read,
    mut see: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Digest, PipelineError> {
    each_chunk(stream, |chunk| see(chunk).map_err(PipelineError::Read))
}

fn each_chunk(
    mut stream: impl Read,
    mut take: impl FnMut(&[u8]) -> Result<(), PipelineError>,
) -> Result<Digest, PipelineError> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let mut filled = 0;
        while filled < CHUNK {
            match stream.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(PipelineError::Read(error)),
            }
        }
        if filled == 0 {
            return Ok(hasher.digest());
        }
        hasher.update(&buffer[..filled]);
        take(&buffer[..filled])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{NewIdentity, unseal};
    use crate::policy::{Compression, Encryption, Recipient};

    #[test]
    fn what_is_sealed_whole_opens_and_was_seen_in_order() {
        let identity = NewIdentity::generate();
        let recipients = vec![Recipient { holder: None, key: identity.recipient() }];
        let recipe =
            Recipe::new(Compression { level: 1, threads: 1 }, &Encryption::Age { recipients }).unwrap();
        let plain: Vec<u8> = (0..CHUNK * 2 + 77).map(|n| (n % 251) as u8).collect();
        let mut seen = Vec::new();
        let sealed = seal_whole(&plain[..], plain.len(), &recipe, |chunk| {
            seen.push(chunk.len());
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [CHUNK, CHUNK, 77]);
        assert_eq!(sealed.plain, Digest::compute(&plain));
        assert_eq!(sealed.stored, Sha256Hex::digest(&sealed.bytes));
        let mut back = Vec::new();
        unseal(&sealed.bytes[..], &recipe.encoding(), &identity.identities(), Some(sealed.plain))
            .unwrap()
            .read_to_end(&mut back)
            .unwrap();
        assert_eq!(back, plain);
        let refused = seal_whole(&plain[..], plain.len(), &recipe, |_| Err(io::Error::other("no")));
        assert!(matches!(refused, Err(PipelineError::Read(_))));
        assert!(matches!(seal_whole(&b""[..], 0, &recipe, |_| Ok(())), Err(PipelineError::Empty)));
    }
}
