use std::io::{self, Write};

use age::x25519;
use thiserror::Error;
use zstd::zstd_safe::CParameter;

use crate::model::Encoding;
use crate::policy::{Compression, Encryption};

/// Bytes that zstd compresses as one job. Smaller than its default at these levels, which would take more
/// memory than all parts in flight; the loss of ratio is under one percent.
const JOB_BYTES: u32 = 2 << 20;

/// The size of level 3's tables, as a power of 2. The default is so large that other threads keep evicting
/// them from a core's cache: with these it takes a tenth less time, and stays within 0.7 % of the size.
const TABLES_OF_LEVEL_3: u32 = 16;

/// The shortest match that level 3 searches for, where the default is 5. A dump contains `bytea` and UUIDs as
/// hexadecimal digits, any five of which occurred before: evaluating worthless matches takes half as long
/// again, and makes the dump larger. Everything else that was tried grows by less than 0.4 %.
const MATCH_OF_LEVEL_3: u32 = 6;

/// How much of the preceding input a job looks back into, and so reads twice: 9 is the maximum reach of a
/// match, and each step less halves it. A database does not grow because of it; source code, by two percent.
const OVERLAP: u32 = 4;

/// The encoding of an artifact's bytes.
#[derive(Clone)]
pub struct Recipe {
    level: i32,
    threads: u32,
    recipients: Vec<x25519::Recipient>,
}

#[derive(Debug, Error)]
pub enum RecipeError {
    #[error("`{recipient}` is not an age recipient (`age1…`)")]
    Recipient { recipient: String },
}

impl Recipe {
    pub fn new(compression: Compression, encryption: &Encryption) -> Result<Self, RecipeError> {
        let recipients = match encryption {
            Encryption::None => vec![],
            Encryption::Age { recipients } => recipients
                .iter()
                .map(|recipient| {
                    recipient
                        .key
                        .parse()
                        .map_err(|_| RecipeError::Recipient { recipient: recipient.key.clone() })
                })
                .collect::<Result<_, _>>()?,
        };
        let threads = match compression.threads {
            0 => {
                std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(4)).min(4)
            }
            n => n,
        };
        Ok(Self { level: compression.level, threads, recipients })
    }

    /// Returns the recipe for one thread, for streams that are sealed concurrently: each then takes little
    /// memory besides its bytes.
    pub fn on_one_thread(self) -> Self {
        Self { threads: 1, ..self }
    }

    /// Returns the steps in the order applied.
    pub fn encoding(&self) -> Vec<Encoding> {
        if self.recipients.is_empty() { vec![Encoding::Zstd] } else { vec![Encoding::Zstd, Encoding::Age] }
    }

    /// Returns the suffix of an artifact's name: `.zst.age` or `.zst`.
    pub fn suffix(&self) -> &'static str {
        if self.recipients.is_empty() { ".zst" } else { ".zst.age" }
    }

    pub(super) fn encoder<W: Write>(&self, output: W) -> io::Result<Encoder<W>> {
        let sealed = if self.recipients.is_empty() {
            Envelope::Open(output)
        } else {
            let recipients = self.recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
            let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
            Envelope::Age(Box::new(encryptor.wrap_output(output)?))
        };
        let mut encoder = zstd::Encoder::new(sealed, self.level)?;
        encoder.include_checksum(true)?;
        if self.level == 3 {
            encoder.set_parameter(CParameter::HashLog(TABLES_OF_LEVEL_3))?;
            encoder.set_parameter(CParameter::ChainLog(TABLES_OF_LEVEL_3))?;
            encoder.set_parameter(CParameter::MinMatch(MATCH_OF_LEVEL_3))?;
        }
        if self.threads > 1 {
            encoder.multithread(self.threads)?;
            encoder.set_parameter(CParameter::JobSize(JOB_BYTES))?;
            encoder.set_parameter(CParameter::OverlapSizeLog(OVERLAP))?;
        }
        Ok(Encoder(encoder))
    }
}

impl std::fmt::Debug for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "zstd -{} -T{}, {} age recipients", self.level, self.threads, self.recipients.len())
    }
}

/// zstd, then age, onto `W`. Without [`Encoder::finish`] the output is truncated.
pub(super) struct Encoder<W: Write>(zstd::Encoder<'static, Envelope<W>>);

impl<W: Write> Encoder<W> {
    pub(super) fn finish(self) -> io::Result<W> {
        match self.0.finish()? {
            Envelope::Age(writer) => writer.finish(),
            Envelope::Open(output) => Ok(output),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

enum Envelope<W: Write> {
    Age(Box<age::stream::StreamWriter<W>>),
    Open(W),
}

impl<W: Write> Write for Envelope<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Age(writer) => writer.write(bytes),
            Self::Open(output) => output.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Age(writer) => writer.flush(),
            Self::Open(output) => output.flush(),
        }
    }
}
