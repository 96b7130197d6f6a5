//! What `initdb` makes, kept once for each major and its options: every further cluster is a copy of it, with a
//! system identifier of its own. A copy takes a tenth of the time.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Outcome;

/// Where the templates are: they outlive a run, and go with what was built.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp/clusters")
}

/// The template of what these programs make with these arguments; it need not exist yet.
pub(crate) fn template(programs: &Path, arguments: &[String]) -> Outcome<PathBuf> {
    let initdb = programs.join("initdb");
    let built = std::fs::metadata(programs.join("postgres"))?.modified()?;
    let mut hasher = DefaultHasher::new();
    (initdb, built, arguments).hash(&mut hasher);
    Ok(folder().join(format!("{:016x}", hasher.finish())))
}

/// Makes `data` of the template. False where there is none.
pub(crate) fn copy_from(template: &Path, data: &Path) -> Outcome<bool> {
    if !template.exists() {
        return Ok(false);
    }
    copy(template, data)?;
    give_own_identifier(data)?;
    Ok(true)
}

/// Keeps what `initdb` made. Several tests may do so at once: the first one counts.
pub(crate) fn keep(data: &Path, template: &Path) -> Outcome<()> {
    std::fs::create_dir_all(folder())?;
    let part = tempfile::tempdir_in(folder())?;
    let copied = part.path().join("data");
    copy(data, &copied)?;
    if !template.exists() {
        // Lost to another test: its copy is as good.
        let _lost = std::fs::rename(copied, template);
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Outcome<()> {
    let status = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).status()?;
    if status.success() { Ok(()) } else { Err(format!("cp {} ended with {status}", from.display()).into()) }
}

/// Two clusters of one identifier would be taken for copies of each other: it stands in the control file, under a
/// checksum, and in the first page of each WAL segment.
fn give_own_identifier(data: &Path) -> Outcome<()> {
    let path = data.join("global/pg_control");
    let mut control = std::fs::read(&path)?;
    let (identifier, _) = control.split_first_chunk::<8>().ok_or("an empty control file")?;
    let own = (u64::from_ne_bytes(*identifier) >> 32 << 32) | u64::from(fastrand::u32(1..));
    let checksum_of = |bytes: &[u8]| {
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
        u32::try_from(crc).map(u32::to_ne_bytes)
    };
    // The checksum covers what is before it, whose length differs from major to major.
    let mut at = None;
    for place in (64..control.len().min(512)).step_by(4) {
        let (before, rest) = control.split_at(place);
        if rest.starts_with(&checksum_of(before)?) {
            at = Some(place);
            break;
        }
    }
    let at = at.ok_or("a control file without a checksum that fits")?;
    control[..8].copy_from_slice(&own.to_ne_bytes());
    let checksum = checksum_of(&control[..at])?;
    control[at..at + 4].copy_from_slice(&checksum);
    std::fs::write(&path, control)?;
    for entry in std::fs::read_dir(data.join("pg_wal"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            use std::os::unix::fs::FileExt as _;
            let segment = std::fs::OpenOptions::new().write(true).open(entry.path())?;
            segment.write_all_at(&own.to_ne_bytes(), 24)?;
        }
    }
    Ok(())
}
