use std::io::{self, BufRead as _, Read, Write as _};
use std::sync::Arc;

use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;

use super::parts::PartWriter;
use super::read_ahead::ReadAhead;
use super::{Budget, PartLayout, Piece, Produce, Recipe, SealProgress};
use crate::model::{Digest, Hasher};

/// A stream that was sealed completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The digest of the producer's output.
    pub plain: Digest,
    /// The digest of each stored object, in order.
    pub objects: Vec<Digest>,
    /// The last lines of the producer's stderr.
    pub remarks: Vec<String>,
}

/// Why a stream was not sealed. No last piece was sent.
#[derive(Debug, Error)]
pub enum PipelineError {
    #[error("failed to read the data to store")]
    Read(#[source] io::Error),
    #[error("the producer of the data failed")]
    Producer(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the producer finished without writing anything")]
    Empty,
    #[error("failed to compress and encrypt")]
    Encode(#[source] io::Error),
    #[error("the consumer of the parts has stopped")]
    Stopped,
}

/// Reads the producer to its end, on one thread, and sends the encoded pieces from another. Blocks: run it on
/// a thread of its own, not on the runtime. On an error the sent pieces must be discarded.
pub fn seal(
    producer: Box<dyn Produce>,
    recipe: &Recipe,
    shape: PartLayout,
    budget: Budget,
    pieces: Sender<Piece>,
    progress: Arc<SealProgress>,
) -> Result<Sealed, PipelineError> {
    let output = PartWriter::new(shape, budget, Handle::current(), pieces.clone(), Arc::clone(&progress));
    let encode = |error: io::Error| {
        if pieces.is_closed() { PipelineError::Stopped } else { PipelineError::Encode(error) }
    };
    let mut encoder = recipe.encoder(output).map_err(encode)?;
    let plain = Plain { producer, hasher: Hasher::default() };
    let mut ahead = ReadAhead::new(plain).map_err(PipelineError::Read)?;
    loop {
        let chunk = ahead.fill_buf().map_err(PipelineError::Read)?;
        let count = chunk.len();
        if count == 0 {
            break;
        }
        encoder.write_all(chunk).map_err(encode)?;
        ahead.consume(count);
        progress.add_plain(count as u64);
    }
    let Plain { producer, hasher } = ahead.into_inner().map_err(PipelineError::Read)?;
    let remarks = producer.finish().map_err(PipelineError::Producer)?;
    if hasher.size() == 0 {
        return Err(PipelineError::Empty);
    }
    let objects = encoder.finish().and_then(PartWriter::finish).map_err(encode)?;
    Ok(Sealed { plain: hasher.digest(), objects, remarks })
}

/// The producer's output, hashed as it is read.
struct Plain {
    producer: Box<dyn Produce>,
    hasher: Hasher,
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.producer.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Encoding;
    use crate::pipeline::{MemoryProducer, NewIdentity, unseal};
    use crate::policy::{Compression, Encryption, Recipient};

    const SHAPE: PartLayout = PartLayout { part_size: 1000, parts_per_object: 3 };

    fn recipe(to: &NewIdentity) -> Recipe {
        let recipients = vec![Recipient { holder: None, key: to.recipient() }];
        Recipe::new(Compression { level: 3, threads: 2 }, &Encryption::Age { recipients }).unwrap()
    }

    /// Seals and gathers: the objects, and what `seal` said.
    fn run(
        producer: Box<dyn Produce>,
        recipe: &Recipe,
    ) -> (Vec<Vec<u8>>, Vec<usize>, Result<Sealed, PipelineError>) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let recipe = recipe.clone();
        let work = runtime.spawn_blocking(move || {
            seal(producer, &recipe, SHAPE, Budget::of_parts(2), sender, Arc::default())
        });
        runtime.block_on(async {
            let (mut objects, mut open, mut sizes) = (vec![], vec![], vec![]);
            while let Some(piece) = receiver.recv().await {
                match piece {
                    Piece::Part(part) => {
                        sizes.push(part.bytes.len());
                        open.extend_from_slice(&part.bytes);
                    }
                    Piece::ObjectEnd(digest) => {
                        assert_eq!(digest, Digest::compute(&open));
                        objects.push(std::mem::take(&mut open));
                    }
                }
            }
            (objects, sizes, work.await.unwrap())
        })
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(len as u64);
        (0..len).map(|_| random.u8(..)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_bytes_come_back(len in 1usize..20_000, text in any::<bool>()) {
            let bytes = if text { b"the same line again\n".repeat(len / 20 + 1) } else { noise(len) };
            let identity = NewIdentity::generate();
            let (objects, sizes, sealed) = run(Box::new(MemoryProducer::new(bytes.clone())), &recipe(&identity));
            let sealed = sealed.unwrap();
            prop_assert_eq!(sealed.plain, Digest::compute(&bytes));
            prop_assert_eq!(objects.len(), sealed.objects.len());
            prop_assert!(objects.iter().all(|object| !object.is_empty() && object.len() <= 3000));
            prop_assert!(sizes[..sizes.len() - 1].iter().all(|size| *size == 1000));
            let stored = objects.concat();
            let encoding = [Encoding::Zstd, Encoding::Age];
            let mut back = Vec::new();
            unseal(&stored[..], &encoding, &identity.identities(), Some(sealed.plain)).unwrap().read_to_end(&mut back).unwrap();
            prop_assert_eq!(back, bytes);
        }

        #[test]
        fn any_cut_or_flipped_bit_is_an_error(len in 1usize..9_000, at in any::<prop::sample::Index>(), cut in any::<bool>()) {
            let bytes = noise(len);
            let identity = NewIdentity::generate();
            let (objects, _, sealed) = run(Box::new(MemoryProducer::new(bytes)), &recipe(&identity));
            let mut stored = objects.concat();
            let position = at.index(stored.len());
            if cut { stored.truncate(position) } else { stored[position] ^= 1 }
            let encoding = [Encoding::Zstd, Encoding::Age];
            let opened = unseal(&stored[..], &encoding, &identity.identities(), Some(sealed.unwrap().plain));
            let outcome = opened.map(|mut stream| stream.read_to_end(&mut Vec::new()).is_err());
            prop_assert!(matches!(outcome, Err(_) | Ok(true)));
        }
    }

    struct Dies(usize);

    impl Read for Dies {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(self.0);
            self.0 -= count;
            buffer[..count].copy_from_slice(&noise(count));
            Ok(count)
        }
    }

    impl Produce for Dies {
        fn finish(self: Box<Self>) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
            Err("killed".into())
        }
    }

    #[test]
    fn a_producer_that_dies_never_ends_its_last_object() {
        let identity = NewIdentity::generate();
        let (objects, _, sealed) = run(Box::new(Dies(10_000_000)), &recipe(&identity));
        assert!(matches!(sealed, Err(PipelineError::Producer(_))), "{sealed:?}");
        // Objects before the last one may have been ended. How many, the compressor's threads decide.
        let stored = objects.concat();
        let opened = unseal(&stored[..], &[Encoding::Zstd, Encoding::Age], &identity.identities(), None);
        assert!(opened.map_or(true, |mut stream| stream.read_to_end(&mut Vec::new()).is_err()));
    }

    #[test]
    fn nothing_is_not_a_backup() {
        let (objects, _, sealed) =
            run(Box::new(MemoryProducer::new(vec![])), &recipe(&NewIdentity::generate()));
        assert!(objects.is_empty());
        assert!(matches!(sealed, Err(PipelineError::Empty)), "{sealed:?}");
    }

    /// A store's stream ends with an error where its bytes are not those that were stored.
    #[test]
    fn a_damaged_header_is_not_taken_for_another_key() {
        struct Altered<'a>(&'a [u8]);
        impl Read for Altered<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.read(buffer)? {
                    0 => Err(io::Error::other("not what was stored")),
                    count => Ok(count),
                }
            }
        }
        let identity = NewIdentity::generate();
        let (objects, _, _) = run(Box::new(MemoryProducer::new(noise(500))), &recipe(&identity));
        let mut stored = objects.concat();
        let line = stored.windows(6).position(|some| some == b"X25519").unwrap();
        stored[line + 10] = if stored[line + 10] == b'A' { b'B' } else { b'A' };
        let opened =
            unseal(Altered(&stored), &[Encoding::Zstd, Encoding::Age], &identity.identities(), None).err();
        assert!(matches!(opened, Some(crate::pipeline::OpenError::Read(_))), "{opened:?}");
    }

    #[test]
    fn another_key_opens_nothing() {
        let (objects, _, _) =
            run(Box::new(MemoryProducer::new(noise(500))), &recipe(&NewIdentity::generate()));
        let stored = objects.concat();
        let stranger = NewIdentity::generate().identities();
        let opened = unseal(&stored[..], &[Encoding::Zstd, Encoding::Age], &stranger, None).err();
        assert!(matches!(opened, Some(crate::pipeline::OpenError::WrongIdentity)), "{opened:?}");
    }
}
