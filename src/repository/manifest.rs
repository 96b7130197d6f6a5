use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::Deserialize;
use thiserror::Error;

use super::layout;
use crate::model::{BackupId, Manifest, SystemName};
use crate::store::{PutOptions, Store, StoreError, StoreErrorKind, Written};
use crate::text::visible;

/// The maximum size of a manifest.
pub const MANIFEST_LIMIT: u64 = 4 * 1024 * 1024;

/// `major.minor` of the on-store format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FormatVersion {
    pub major: u32,
    pub minor: u32,
}

impl FormatVersion {
    /// The version that this drctl writes.
    pub const CURRENT: Self = Self { major: 1, minor: 0 };

    /// Accepts a newer minor version, and rejects an unknown major one.
    pub fn readable(self) -> Result<Self, FormatError> {
        if self.major == Self::CURRENT.major { Ok(self) } else { Err(FormatError::UnknownMajor(self)) }
    }

    /// Rejects newer versions: only a fully understood repository may be written to or copied.
    pub fn writable(self) -> Result<Self, FormatError> {
        if self.readable()? > Self::CURRENT { Err(FormatError::NewerMinor(self)) } else { Ok(self) }
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for FormatVersion {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let refused = || FormatError::NotAVersion(text.to_owned());
        let (major, minor) = text.split_once('.').ok_or_else(refused)?;
        Ok(Self {
            major: major.parse().map_err(|_| refused())?,
            minor: minor.parse().map_err(|_| refused())?,
        })
    }
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FormatError {
    #[error("`{0}` is not a format version (like `1.0`)")]
    NotAVersion(String),
    #[error(
        "format {0} is unknown to this version of drctl, which reads format {major}",
        major = FormatVersion::CURRENT.major
    )]
    UnknownMajor(FormatVersion),
    #[error(
        "format {0} is newer than {current}, the newest this version of drctl writes; it may be read, not changed",
        current = FormatVersion::CURRENT
    )]
    NewerMinor(FormatVersion),
}

/// A manifest that cannot be read or does not match its key.
#[derive(Debug, Error)]
pub enum ManifestError {
    #[error("failed to read the manifest of `{backup}`")]
    Read { backup: BackupId, source: StoreError },
    #[error("failed to write the manifest of `{backup}`")]
    Write { backup: BackupId, source: StoreError },
    #[error(
        "failed to accept the manifest of `{backup}` in {location}: it is not the one that is known of it"
    )]
    Differs { backup: BackupId, location: String },
    #[error("failed to understand the manifest of `{backup}`")]
    Json { backup: BackupId, source: serde_json::Error },
    #[error("failed to accept the manifest of `{backup}`")]
    Format { backup: BackupId, source: FormatError },
    #[error(
        "failed to accept the manifest of `{backup}`: its {field} is `{found}` where `{expected}` is expected"
    )]
    Disagrees { backup: BackupId, field: &'static str, found: String, expected: String },
    #[error("failed to accept the manifest of `{backup}`: its artifacts are impossible ({why})")]
    Artifacts { backup: BackupId, why: String },
}

/// Serialises the manifest into the bytes that are stored, the same in every repository.
///
/// # Errors
///
/// The manifest is inconsistent: what would be rejected on reading is not written.
pub fn serialise(manifest: &Manifest) -> Result<Bytes, ManifestError> {
    let backup = || manifest.id.clone();
    let mut bytes = serde_json::to_vec_pretty(manifest)
        .map_err(|source| ManifestError::Json { backup: backup(), source })?;
    bytes.push(b'\n');
    parse(&bytes, &manifest.system, &manifest.id)?;
    if bytes.len() as u64 > MANIFEST_LIMIT {
        return Err(ManifestError::Artifacts { backup: backup(), why: "there are too many".to_owned() });
    }
    Ok(bytes.into())
}

/// Parses the manifest of `id`. Checks the format version before anything else.
///
/// Its repository is checked by [`check_repository`], since it is not in the key.
pub fn parse(bytes: &[u8], system: &SystemName, id: &BackupId) -> Result<Manifest, ManifestError> {
    #[derive(Deserialize)]
    struct Header {
        format: String,
    }
    let json = |source| ManifestError::Json { backup: id.clone(), source };
    let header: Header = serde_json::from_slice(bytes).map_err(json)?;
    version(&header.format, id)?;
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(json)?;

    agrees(id, "system", &manifest.system, system)?;
    agrees(id, "id", &manifest.id, id)?;
    agrees(id, "source", &manifest.source, id.source())?;
    agrees(id, "kind", &manifest.kind, &id.kind())?;
    check_artifacts(&manifest)
        .map_err(|why| ManifestError::Artifacts { backup: id.clone(), why })
        .map(|()| manifest)
}

/// Returns an error if this version may not copy the backup or write to its repository: a newer minor version
/// may name objects in an unknown way.
pub fn check_writable(manifest: &Manifest) -> Result<(), ManifestError> {
    let refused = |source| ManifestError::Format { backup: manifest.id.clone(), source };
    version(&manifest.format, &manifest.id)?.writable().map_err(refused).map(|_| ())
}

/// Rejects a manifest of another repository.
pub fn check_repository(manifest: &Manifest, repository_id: &str) -> Result<(), ManifestError> {
    agrees(&manifest.id, "repository_id", &manifest.repository_id, &repository_id)
}

/// Reads a manifest, with its exact bytes for copies.
pub async fn read(
    store: &dyn Store,
    system: &SystemName,
    id: &BackupId,
) -> Result<(Manifest, Bytes), ManifestError> {
    let (bytes, _) = store
        .get(&layout::manifest(system, id), MANIFEST_LIMIT)
        .await
        .map_err(|source| ManifestError::Read { backup: id.clone(), source })?;
    Ok((parse(&bytes, system, id)?, bytes))
}

/// Writes a manifest, which makes the objects it names a backup: all of them must be confirmed.
///
/// `bytes` come from [`serialise`] or, for a copy, from [`read`]. An existing manifest with the same bytes is
/// a success (`None`).
pub async fn commit(
    store: &dyn Store,
    system: &SystemName,
    id: &BackupId,
    bytes: Bytes,
    options: &PutOptions,
) -> Result<Option<Written>, ManifestError> {
    let key = layout::manifest(system, id);
    let options = PutOptions { precondition: crate::store::Precondition::Absent, ..options.clone() };
    match store.put(&key, bytes.clone(), &options).await {
        Ok(written) => Ok(Some(written)),
        Err(error) if error.kind == StoreErrorKind::Exists => {
            let read = store.get(&key, MANIFEST_LIMIT).await;
            let (standing, _) = read.map_err(|source| ManifestError::Read { backup: id.clone(), source })?;
            if standing == bytes {
                Ok(None)
            } else {
                Err(ManifestError::Differs { backup: id.clone(), location: store.location() })
            }
        }
        Err(source) => Err(ManifestError::Write { backup: id.clone(), source }),
    }
}

fn version(text: &str, id: &BackupId) -> Result<FormatVersion, ManifestError> {
    text.parse::<FormatVersion>()
        .and_then(FormatVersion::readable)
        .map_err(|source| ManifestError::Format { backup: id.clone(), source })
}

fn agrees<T: PartialEq<U> + fmt::Display, U: fmt::Display>(
    id: &BackupId,
    field: &'static str,
    found: &T,
    expected: &U,
) -> Result<(), ManifestError> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (visible(&found.to_string()).into_owned(), expected.to_string());
    Err(ManifestError::Disagrees { backup: id.clone(), field, found, expected })
}

/// Checks the names, which become keys, and the sizes, which are summed: neither is trusted.
fn check_artifacts(manifest: &Manifest) -> Result<(), String> {
    if manifest.artifacts.is_empty() {
        return Err("there are none".to_owned());
    }
    let (mut stored, mut plain) = (0_u64, 0_u64);
    let mut names = std::collections::BTreeSet::new();
    for artifact in &manifest.artifacts {
        if !is_object_name(&artifact.name) {
            return Err(format!("`{}` is not a name", visible(&artifact.name)));
        }
        if artifact.objects.is_empty() {
            return Err(format!("`{}` has no objects", artifact.name));
        }
        plain = plain.checked_add(artifact.plain.size).ok_or("they are too large")?;
        for (n, object) in artifact.objects.iter().enumerate() {
            if object.name != layout::object_name(&artifact.name, n) {
                return Err(format!("`{}` is not object {n} of `{}`", visible(&object.name), artifact.name));
            }
            if !names.insert(&object.name) {
                return Err(format!("`{}` is named twice", visible(&object.name)));
            }
            stored = stored.checked_add(object.stored.size).ok_or("they are too large")?;
        }
    }
    if stored > i64::MAX as u64 || plain > i64::MAX as u64 {
        return Err("they are too large".to_owned());
    }
    Ok(())
}

fn is_object_name(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=200).contains(&name.len())
        && name != layout::MANIFEST
        && name.bytes().next().is_some_and(word)
        && name.bytes().all(|b| word(b) || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        super::super::fixtures::backup(0).0
    }

    fn parsed(
        manifest: &Manifest,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> Result<Manifest, ManifestError> {
        let mut json = serde_json::to_value(manifest).unwrap();
        change(&mut json);
        parse(json.to_string().as_bytes(), &manifest.system, &manifest.id)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let manifest = sample();
        let bytes = serialise(&manifest).unwrap();
        assert_eq!(parse(&bytes, &manifest.system, &manifest.id).unwrap(), manifest);
    }

    #[test]
    fn a_newer_minor_is_read_but_not_copied_and_an_unknown_major_is_refused() {
        let newer = parsed(&sample(), |json| {
            json["format"] = "1.7".into();
            json["something_new"] = true.into();
        });
        let newer = newer.unwrap();
        assert!(matches!(
            check_writable(&newer),
            Err(ManifestError::Format { source: FormatError::NewerMinor(_), .. })
        ));
        // Of an unknown major version only the version is read.
        let unknown = parse(br#"{"format": "2.0"}"#, &sample().system, &sample().id);
        assert!(matches!(unknown, Err(ManifestError::Format { source: FormatError::UnknownMajor(_), .. })));
    }

    #[test]
    fn a_manifest_that_is_not_what_its_key_says_is_refused() {
        for (field, value) in [
            ("system", "other"),
            ("source", "other"),
            ("kind", "base"),
            ("id", "20261120T120000Z-database-logical-9999"),
        ] {
            let result = parsed(&sample(), |json| json[field] = value.into());
            assert!(
                matches!(&result, Err(ManifestError::Disagrees { field: named, .. }) if *named == field),
                "{field}: {result:?}"
            );
        }
        assert!(check_repository(&sample(), "another").is_err());
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["../../other/secret", "a/b", "", "manifest.json", ".hidden", "database.dump.zst.age.002"]
        {
            let result = parsed(&sample(), |json| json["artifacts"][0]["objects"][1]["name"] = name.into());
            assert!(matches!(result, Err(ManifestError::Artifacts { .. })), "{name}: {result:?}");
            let result = parsed(&sample(), |json| json["artifacts"][0]["name"] = name.into());
            assert!(matches!(result, Err(ManifestError::Artifacts { .. })), "{name}: {result:?}");
        }
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        let result =
            parsed(&sample(), |json| json["artifacts"][0]["objects"][0]["stored"]["size"] = u64::MAX.into());
        assert!(matches!(result, Err(ManifestError::Artifacts { .. })), "{result:?}");
    }

    #[test]
    fn half_a_manifest_is_refused() {
        let bytes = serialise(&sample()).unwrap();
        let half = &bytes[..bytes.len() / 2];
        assert!(matches!(parse(half, &sample().system, &sample().id), Err(ManifestError::Json { .. })));
    }
}
