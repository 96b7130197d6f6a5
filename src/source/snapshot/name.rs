use crate::model::{BackupId, SystemName};

/// What RDS calls a backup's snapshot, in every region: letters, digits and single hyphens, in small letters,
/// as RDS stores it.
pub fn identifier(system: &SystemName, backup: &BackupId) -> String {
    let words = format!("drctl-{system}-{backup}").to_ascii_lowercase();
    words.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// What the identifiers of all of a system's snapshots begin with.
pub fn identifier_prefix(system: &SystemName) -> String {
    let words = format!("drctl-{system}");
    let words: Vec<_> = words.split('-').filter(|word| !word.is_empty()).collect();
    format!("{}-", words.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BackupKind;

    #[test]
    fn it_is_what_rds_takes() {
        let system = "class--board".parse().unwrap();
        let begun = "2026-11-20T22:02:51Z".parse().unwrap();
        let backup = BackupId::new(begun, &"in--stance".parse().unwrap(), BackupKind::Snapshot, 5);
        let name = identifier(&system, &backup);
        assert!(name.starts_with("drctl-class-board-20261120t220251z-in-stance-snapshot-"), "{name}");
        assert!(name.len() < 255 && !name.contains("--"), "{name}");
        assert!(name.starts_with(&identifier_prefix(&system)), "{name}");
    }
}
