//! Reads one backup in one repository again.

use std::io;
use std::sync::Arc;

use crate::model::{Artifact, CheckDepth, CopyFault, Encoding, Manifest, ObjectFault, ObjectPart};
use crate::pipeline::{Identities, OpenError, unseal};
use crate::platform::CancellationToken;
use crate::repository::reader::{ReadError, ReadWindow, stream, stream_object};
use crate::repository::{ManifestError, Repository, layout, manifest};
use crate::store::StoreErrorKind;
use crate::text::error_chain;

/// Smaller than a restore's: memory matters more than speed.
const WINDOW: ReadWindow = ReadWindow { chunk: 2 << 20, parallel: 4 };

/// The result of reading it.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    pub(crate) faults: Vec<ObjectFault>,
    /// What could not be read for reasons other than the backup: nothing is known of it.
    pub(crate) unread: Vec<String>,
    /// The depth to which every artifact was compared.
    pub(crate) depth: Option<CheckDepth>,
    /// An encrypted artifact that none of the given identities opens.
    pub(crate) not_opened: bool,
}

/// Called for each object when it is done, with its name, and whether it is intact.
pub(crate) type BytesRead<'a> = &'a (dyn Fn(&str, bool) + Send + Sync);

/// Reads every object of a backup. With identities (or without encryption) the plain bytes are compared, too.
pub(crate) async fn examine(
    repository: &Repository,
    expected: &Manifest,
    identities: &Identities,
    cancel: &CancellationToken,
    seen: BytesRead<'_>,
) -> Examined {
    let mut examined = Examined::default();
    match check_manifest(repository, expected).await {
        Ok(()) => seen(layout::MANIFEST, true),
        Err(ReadFailure::Fault(fault)) => {
            seen(layout::MANIFEST, false);
            examined.faults.push(fault);
        }
        Err(ReadFailure::Unread(reason)) => {
            examined.unread.push(reason);
            return examined;
        }
    }
    for artifact in &expected.artifacts {
        if cancel.is_cancelled() {
            examined.unread.push(ReadError::Interrupted.to_string());
            break;
        }
        let reading = CopyReader { repository, manifest: expected, artifact, cancel };
        let depth = reading.run(identities, seen, &mut examined).await;
        examined.depth = Some(examined.depth.map_or(depth, |least| least.min(depth)));
    }
    examined
}

enum ReadFailure {
    Fault(ObjectFault),
    Unread(String),
}

fn fault(object: &str, fault: CopyFault, detail: impl Into<String>) -> ObjectFault {
    ObjectFault { object: object.to_owned(), fault, detail: detail.into() }
}

async fn check_manifest(repository: &Repository, expected: &Manifest) -> Result<(), ReadFailure> {
    let bad = |kind, detail: String| ReadFailure::Fault(fault(layout::MANIFEST, kind, detail));
    match manifest::read(&*repository.store, &expected.system, &expected.id).await {
        Ok((standing, _)) if standing == *expected => Ok(()),
        Ok(_) => {
            Err(bad(CopyFault::Altered, "it is not the manifest that is known of this backup".to_owned()))
        }
        Err(ManifestError::Read { source, .. }) => Err(match source.kind {
            StoreErrorKind::NotFound => bad(CopyFault::Missing, String::new()),
            StoreErrorKind::Corrupt | StoreErrorKind::TooLarge => bad(CopyFault::Altered, source.to_string()),
            _ => ReadFailure::Unread(error_chain(&source)),
        }),
        Err(error) => Err(bad(CopyFault::Altered, error_chain(&error))),
    }
}

struct CopyReader<'a> {
    repository: &'a Repository,
    manifest: &'a Manifest,
    artifact: &'a Artifact,
    cancel: &'a CancellationToken,
}

impl CopyReader<'_> {
    async fn run(&self, identities: &Identities, seen: BytesRead<'_>, examined: &mut Examined) -> CheckDepth {
        let is_encrypted = self.artifact.encoding.contains(&Encoding::Age);
        let can_open = !is_encrypted || !identities.is_empty();
        let undecodable = if can_open {
            match self.decode(identities).await {
                Ok(()) => {
                    self.artifact.objects.iter().for_each(|object| seen(&object.name, true));
                    return CheckDepth::Plain;
                }
                Err(error) => Some(error),
            }
        } else {
            None
        };
        // Only reading each object separately tells which ones are damaged.
        let mut all_good = true;
        for object in &self.artifact.objects {
            if self.cancel.is_cancelled() {
                examined.unread.push(ReadError::Interrupted.to_string());
                return CheckDepth::Stored;
            }
            match self.compare(object).await {
                Ok(()) => seen(&object.name, true),
                Err(ReadFailure::Fault(fault)) => {
                    all_good = false;
                    seen(&object.name, false);
                    examined.faults.push(fault);
                }
                Err(ReadFailure::Unread(reason)) => {
                    all_good = false;
                    examined.unread.push(reason);
                }
            }
        }
        match undecodable.filter(|_| all_good) {
            None => {}
            // A damaged header looks the same; but then its object would not have been intact.
            Some(DecodeError::NoIdentity) => examined.not_opened = true,
            // Every object is intact now: a failure of the store was temporary.
            Some(DecodeError::Read(reason)) => examined.unread.push(reason),
            Some(DecodeError::Undecodable(detail)) => {
                examined.faults.push(fault(&self.artifact.name, CopyFault::Undecodable, detail));
            }
        }
        CheckDepth::Stored
    }

    fn folder(&self) -> String {
        layout::backup(&self.manifest.system, &self.manifest.id)
    }

    async fn compare(&self, object: &ObjectPart) -> Result<(), ReadFailure> {
        let store = Arc::clone(&self.repository.store);
        let mut stream = stream_object(store, &self.folder(), object, WINDOW, self.cancel.clone());
        while let Some(read) = stream.next().await {
            read.map_err(|error| judge(&object.name, &error))?;
        }
        Ok(())
    }

    /// Decrypts and decompresses on a thread of its own, and discards the plain bytes.
    async fn decode(&self, identities: &Identities) -> Result<(), DecodeError> {
        let store = Arc::clone(&self.repository.store);
        let stream = stream(store, &self.folder(), self.artifact, WINDOW, self.cancel.clone());
        let (identities, artifact) = (identities.clone(), self.artifact.clone());
        let decoding = tokio::task::spawn_blocking(move || {
            let mut stored = stream.into_reader();
            let decoded = match unseal(&mut stored, &artifact.encoding, &identities, Some(artifact.plain)) {
                Ok(mut plain) => io::copy(&mut plain, &mut io::sink()).map_err(OpenError::Read),
                Err(error) => Err(error),
            };
            decoded.map_err(decode_error)?;
            // Only the end of the stream proves the digest of the last object.
            let more =
                io::copy(&mut stored, &mut io::sink()).map_err(OpenError::Read).map_err(decode_error)?;
            match more {
                0 => Ok(()),
                more => Err(DecodeError::Undecodable(format!("{more} bytes follow its end"))),
            }
        });
        decoding.await.unwrap_or_else(|error| Err(DecodeError::Read(error.to_string())))
    }
}

enum DecodeError {
    NoIdentity,
    Read(String),
    Undecodable(String),
}

fn decode_error(error: OpenError) -> DecodeError {
    match &error {
        OpenError::NoIdentity | OpenError::WrongIdentity => return DecodeError::NoIdentity,
        OpenError::Read(source) | OpenError::Header(source) => {
            let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<ReadError>());
            if let Some(inner) = inner {
                return DecodeError::Read(error_chain(inner));
            }
        }
    }
    DecodeError::Undecodable(error_chain(&error))
}

fn judge(object: &str, error: &ReadError) -> ReadFailure {
    match error {
        ReadError::Size { found, expected, .. } => {
            let kind = if found < expected { CopyFault::Short } else { CopyFault::Long };
            ReadFailure::Fault(fault(object, kind, format!("it has {found} bytes, {expected} were stored")))
        }
        ReadError::Altered { found, expected, .. } => {
            let detail = format!("its SHA-256 is {found}, {expected} was stored");
            ReadFailure::Fault(fault(object, CopyFault::Altered, detail))
        }
        ReadError::Store(source) => match source.kind {
            StoreErrorKind::NotFound => ReadFailure::Fault(fault(object, CopyFault::Missing, String::new())),
            StoreErrorKind::Corrupt => {
                ReadFailure::Fault(fault(object, CopyFault::Altered, source.to_string()))
            }
            _ => ReadFailure::Unread(error_chain(source)),
        },
        ReadError::Interrupted => ReadFailure::Unread(error_chain(error)),
    }
}
