//! Whether a backup is full or incremental: a base backup, or one of content. Pure.

use std::path::PathBuf;

use thiserror::Error;

use crate::model::{BackupId, Manifest, ServerFacts, parent};

/// The first major with incremental base backups.
const FIRST_MAJOR: u32 = 17;

/// The extent of a base backup that the user requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// Incremental, where that is possible and the policy asks for it; otherwise full.
    #[default]
    AsDue,
    Full,
    /// Incremental, or none at all.
    Incremental,
}

/// A server's support for incremental backups.
#[derive(Clone, Debug)]
pub struct IncrementalSupport {
    /// Its name in messages.
    pub name: String,
    pub server: ServerFacts,
    /// Whether it summarizes its WAL, so that it knows the changed blocks.
    pub summarizes: bool,
    /// Whether its files are read, without a replication connection.
    pub from_files: bool,
}

/// That increments of content are possible: what the host keeps of a backup, its state, says what is new since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentIncrements {
    /// The maximum number of incrementals per full one.
    pub most: u32,
}

/// An earlier backup of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub manifest: Manifest,
    /// The backups that a restore of it needs, the full one first and itself last; or why it cannot be a
    /// parent, as text that follows its id.
    pub chain: Result<Vec<Manifest>, String>,
    /// The path of what this host keeps of it: its `backup_manifest`, or the state of its content.
    pub list: PathBuf,
}

/// The possible parents of the next backup.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    /// The maximum number of incrementals per full one; 0: the policy asks for full ones only.
    pub most: u32,
    /// Newest first.
    pub backups: Vec<Candidate>,
}

/// What a backup copies.
#[derive(Clone, Debug, PartialEq)]
pub enum BaseScope {
    /// Everything; the reason is `None` where it was requested, or where only that is possible.
    Full(Option<FullBackupReason>),
    Incremental {
        /// The changes since this one.
        since: Box<Candidate>,
        /// Why a newer one was not used.
        passed_over: Option<FullBackupReason>,
    },
}

/// What a backup copies, and where this host keeps what the next one needs.
#[derive(Clone, Debug, PartialEq)]
pub struct BasePlan {
    pub scope: BaseScope,
    /// Incremental only: nothing is stored where the server does not provide it.
    pub is_strict: bool,
    /// Where its `backup_manifest` is cached, or the state of its content, for the next backup.
    pub keep: Option<PathBuf>,
}

impl Default for BasePlan {
    fn default() -> Self {
        Self { scope: BaseScope::Full(None), is_strict: false, keep: None }
    }
}

impl BasePlan {
    /// Returns its parent.
    pub fn since(&self) -> Option<&Candidate> {
        match &self.scope {
            BaseScope::Full(_) => None,
            BaseScope::Incremental { since, .. } => Some(since),
        }
    }
}

/// Why a base backup is full.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FullBackupReason {
    #[error(
        "the policy asks for no incremental ones (`incrementals` of the source's `base` says how many may build on a full one)"
    )]
    NotAsked,
    #[error(
        "it is read from the data directory, and only a replication connection gives the changes (`method`)"
    )]
    Files,
    #[error("the server is of PostgreSQL {0}, and needs to be of {FIRST_MAJOR} or later")]
    Major(u32),
    #[error(
        "`summarize_wal` is off on the server: set it to `on` (`drctl wal configure` does), which takes no restart"
    )]
    NoSummaries,
    #[error("there is no base backup of this cluster before it")]
    First,
    #[error("the last full one has as many as the policy allows ({0})")]
    EnoughOfThem(u32),
    #[error("there is no full one of this cluster left to build on")]
    NoFull,
    #[error("`incrementals` of the source allows none")]
    NotAskedOfContent,
    #[error("there is no backup of it to build on")]
    FirstOfContent,
    #[error("{backup} cannot be built on: {why}")]
    Unfit { backup: BackupId, why: String },
    #[error("the server does not give the changes since {backup}: {words}")]
    Denied { backup: BackupId, words: String },
}

impl FullBackupReason {
    /// Returns whether it need not be reported.
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::NotAsked | Self::Files | Self::NotAskedOfContent)
    }

    /// Returns whether it is regular: a full backup is simply due.
    pub fn is_due(&self) -> bool {
        self.is_silent() || matches!(self, Self::First | Self::FirstOfContent | Self::EnoughOfThem(_))
    }
}

/// Decides what the next base backup copies.
///
/// # Errors
/// Why it would be a full one, where only an incremental one was requested.
pub fn decide(
    extent: Extent,
    candidates: &Candidates,
    support: &IncrementalSupport,
) -> Result<BaseScope, FullBackupReason> {
    scope(extent, || select(candidates, support))
}

/// Decides what the next backup of content copies.
///
/// # Errors
/// As [`decide`].
pub fn decide_content(extent: Extent, candidates: &Candidates) -> Result<BaseScope, FullBackupReason> {
    scope(extent, || {
        let own: Vec<&Candidate> = candidates.backups.iter().collect();
        match (candidates.most, own.iter().any(|candidate| parent(&candidate.manifest).is_none())) {
            (0, _) => Err(FullBackupReason::NotAskedOfContent),
            (_, false) => Err(FullBackupReason::FirstOfContent),
            (most, true) => newest_fit(&own, most),
        }
    })
}

type Selected<'a> = Result<(&'a Candidate, Option<FullBackupReason>), FullBackupReason>;

fn scope<'a>(extent: Extent, select: impl FnOnce() -> Selected<'a>) -> Result<BaseScope, FullBackupReason> {
    if extent == Extent::Full {
        return Ok(BaseScope::Full(None));
    }
    match select() {
        Ok((since, passed_over)) => {
            Ok(BaseScope::Incremental { since: Box::new(since.clone()), passed_over })
        }
        // An explicit request for an incremental backup is not served with a full one.
        Err(why) if extent == Extent::Incremental => Err(why),
        Err(why) => Ok(BaseScope::Full(Some(why))),
    }
}

/// Selects the newest possible parent, and returns why a newer one was passed over.
fn select<'a>(candidates: &'a Candidates, support: &IncrementalSupport) -> Selected<'a> {
    let (most, server) = (candidates.most, &support.server);
    if support.from_files {
        return Err(FullBackupReason::Files);
    }
    if most == 0 {
        return Err(FullBackupReason::NotAsked);
    }
    if server.major < FIRST_MAJOR {
        return Err(FullBackupReason::Major(server.major));
    }
    if !support.summarizes {
        return Err(FullBackupReason::NoSummaries);
    }
    let is_of_it = |candidate: &&Candidate| {
        candidate.manifest.server.as_ref().is_some_and(|of| {
            of.system_identifier.is_some()
                && of.system_identifier == server.system_identifier
                && of.major == server.major
        })
    };
    let own: Vec<&Candidate> = candidates.backups.iter().filter(is_of_it).collect();
    if own.is_empty() {
        return Err(FullBackupReason::First);
    }
    newest_fit(&own, most)
}

/// Selects among those that could be one.
fn newest_fit<'a>(own: &[&'a Candidate], most: u32) -> Selected<'a> {
    // A backup older than the newest full one is no parent: the changes since would only be more.
    let full = own.iter().position(|candidate| parent(&candidate.manifest).is_none());
    let full = full.ok_or(FullBackupReason::NoFull)?;
    let as_count = usize::try_from(most).unwrap_or(usize::MAX);
    if full >= as_count {
        return Err(FullBackupReason::EnoughOfThem(most));
    }
    let mut passed_over = None;
    for backup in own.iter().take(full + 1).copied() {
        match &backup.chain {
            Ok(chain) if chain.len() <= as_count => return Ok((backup, passed_over)),
            Ok(_) => {}
            Err(why) => {
                let (backup, why) = (backup.manifest.id.clone(), why.clone());
                passed_over.get_or_insert(FullBackupReason::Unfit { backup, why });
            }
        }
    }
    Err(passed_over.unwrap_or(FullBackupReason::EnoughOfThem(most)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Lsn, Physical, chain};
    use crate::repository::fixtures;

    fn server(identifier: &str, major: u32) -> ServerFacts {
        ServerFacts {
            version: String::new(),
            major,
            system_identifier: Some(identifier.to_owned()),
            address: None,
            replaces: None,
        }
    }

    fn support(identifier: &str, major: u32) -> IncrementalSupport {
        IncrementalSupport {
            name: "the server".to_owned(),
            server: server(identifier, major),
            summarizes: true,
            from_files: false,
        }
    }

    fn manifest(minute: u8, of: &str, parent: Option<BackupId>) -> Manifest {
        let mut manifest = fixtures::backup(i64::from(minute)).0;
        manifest.id = manifest.id.as_str().replace("-logical-", "-base-").parse().unwrap();
        manifest.server = Some(server(of, 17));
        let start = Lsn(u64::from(minute) << 24);
        manifest.physical = Some(Physical { parent, ..Physical::sample(1, start, Lsn(start.0 + 300)) });
        manifest
    }

    /// Backups in the order they were taken: whether each is a full one, and whether it is fit.
    fn candidates(most: u32, taken: &[(bool, bool)]) -> Candidates {
        let mut manifests: Vec<Manifest> = Vec::new();
        for (minute, (is_full, _)) in (1..).zip(taken) {
            let before = manifests.last().map(|manifest| manifest.id.clone());
            manifests.push(manifest(minute, "7", before.filter(|_| !is_full)));
        }
        let whole = |id: &BackupId| {
            let at = manifests.iter().position(|manifest| manifest.id == *id)?;
            taken[at].1.then(|| &manifests[at])
        };
        let backups = manifests.iter().zip(taken).map(|(manifest, (_, fit))| Candidate {
            manifest: manifest.clone(),
            chain: match fit {
                true => chain(manifest, whole)
                    .map(|chain| chain.into_iter().cloned().collect())
                    .map_err(|broken| broken.to_string()),
                false => Err("unfit".to_owned()),
            },
            list: PathBuf::new(),
        });
        let mut backups: Vec<_> = backups.collect();
        backups.reverse();
        Candidates { most, backups }
    }

    const FULL: (bool, bool) = (true, true);
    const CHANGES: (bool, bool) = (false, true);

    #[test]
    fn the_newest_is_built_on_until_there_are_enough() {
        let of = support("7", 17);
        let minute = |candidates: &Candidates| {
            let (since, _) = select(candidates, &of)?;
            Ok::<_, FullBackupReason>((since.manifest.id.begun() - fixtures::noon()).num_minutes())
        };
        assert_eq!(minute(&candidates(2, &[])), Err(FullBackupReason::First));
        assert_eq!(minute(&candidates(2, &[FULL])), Ok(1));
        assert_eq!(minute(&candidates(2, &[FULL, CHANGES])), Ok(2));
        assert_eq!(minute(&candidates(2, &[FULL, CHANGES, CHANGES])), Err(FullBackupReason::EnoughOfThem(2)));
        assert_eq!(minute(&candidates(2, &[FULL, CHANGES, CHANGES, FULL])), Ok(4));
        assert_eq!(minute(&candidates(0, &[FULL])), Err(FullBackupReason::NotAsked));
        let mut gone = candidates(6, &[FULL, CHANGES]);
        gone.backups.pop();
        assert_eq!(minute(&gone), Err(FullBackupReason::NoFull));
        // One that is unfit is passed, and told of, where there is another; what builds on it is, too.
        let passed = candidates(6, &[FULL, CHANGES, (false, false), CHANGES]);
        assert_eq!(minute(&passed), Ok(2));
        assert!(select(&passed, &of).unwrap().1.unwrap().to_string().contains("missing or incomplete"));
        let unfit = candidates(6, &[FULL, CHANGES, (true, false)]);
        assert!(matches!(minute(&unfit), Err(FullBackupReason::Unfit { why, .. }) if why == "unfit"));
    }

    #[test]
    fn a_server_that_cannot_or_is_another_one_is_copied_whole() {
        let one = candidates(6, &[FULL]);
        let why = |support: &IncrementalSupport| select(&one, support).map(drop);
        assert_eq!(why(&support("7", 16)), Err(FullBackupReason::Major(16)));
        let silent = IncrementalSupport { summarizes: false, ..support("7", 17) };
        assert_eq!(why(&silent), Err(FullBackupReason::NoSummaries));
        let files = IncrementalSupport { from_files: true, ..support("7", 17) };
        assert_eq!(why(&files), Err(FullBackupReason::Files));
        assert_eq!(why(&support("8", 17)), Err(FullBackupReason::First));
        // Upgraded in place, or unknown.
        assert_eq!(why(&support("7", 18)), Err(FullBackupReason::First));
        let mut unknown = support("7", 17);
        unknown.server.system_identifier = None;
        assert_eq!(why(&unknown), Err(FullBackupReason::First));
    }

    #[test]
    fn content_is_built_on_like_clusters() {
        let decided =
            |most, taken: &[(bool, bool)]| match decide_content(Extent::AsDue, &candidates(most, taken)) {
                Ok(BaseScope::Incremental { since, .. }) => {
                    Ok((since.manifest.id.begun() - fixtures::noon()).num_minutes())
                }
                Ok(BaseScope::Full(why)) => Err(why.unwrap()),
                Err(why) => Err(why),
            };
        assert_eq!(decided(2, &[]), Err(FullBackupReason::FirstOfContent));
        assert_eq!(decided(0, &[FULL]), Err(FullBackupReason::NotAskedOfContent));
        assert_eq!(decided(2, &[FULL, CHANGES]), Ok(2));
        assert_eq!(decided(2, &[FULL, CHANGES, CHANGES]), Err(FullBackupReason::EnoughOfThem(2)));
        assert_eq!(decided(6, &[FULL, CHANGES, (false, false)]), Ok(2));
        let one = candidates(6, &[FULL]);
        assert_eq!(decide_content(Extent::Full, &one), Ok(BaseScope::Full(None)));
        assert!(decide_content(Extent::Incremental, &candidates(6, &[])).is_err());
    }

    #[test]
    fn who_asks_for_the_changes_gets_them_or_nothing() {
        let (of, none, one) = (support("7", 17), candidates(6, &[]), candidates(6, &[FULL]));
        let first = FullBackupReason::First;
        assert_eq!(decide(Extent::Full, &one, &of), Ok(BaseScope::Full(None)));
        assert_eq!(decide(Extent::AsDue, &none, &of), Ok(BaseScope::Full(Some(first.clone()))));
        assert_eq!(decide(Extent::Incremental, &none, &of), Err(first));
        for extent in [Extent::AsDue, Extent::Incremental] {
            let since = Box::new(one.backups[0].clone());
            let expected = BaseScope::Incremental { since, passed_over: None };
            assert_eq!(decide(extent, &one, &of), Ok(expected));
        }
    }

    proptest! {
        /// Whatever went wrong before: what is built on is whole, fits, is no older than the newest full one,
        /// and there are never more of them than the policy allows.
        #[test]
        fn what_is_built_on_is_whole_and_the_chain_has_an_end(
            most in 0_u32..5,
            taken in prop::collection::vec((any::<bool>(), prop::bool::weighted(0.8)), 0..9),
        ) {
            let candidates = candidates(most, &taken);
            match select(&candidates, &support("7", 17)) {
                Ok((backup, passed)) => {
                    let chain = backup.chain.as_ref().unwrap();
                    prop_assert!(chain.len() <= most as usize);
                    prop_assert!(parent(&chain[0]).is_none());
                    prop_assert_eq!(&chain[chain.len() - 1], &backup.manifest);
                    let fit = |manifest: &Manifest| candidates.backups.iter()
                        .any(|known| known.manifest == *manifest && known.chain.is_ok());
                    prop_assert!(chain.iter().all(fit));
                    let newest_full = candidates.backups.iter()
                        .find(|known| parent(&known.manifest).is_none()).unwrap();
                    prop_assert!(backup.manifest.id >= newest_full.manifest.id);
                    let newer = candidates.backups.iter().take_while(|known| known.manifest.id != newest_full.manifest.id);
                    prop_assert!(newer.count() < most as usize);
                    prop_assert_eq!(passed.is_some(), candidates.backups[0].manifest != backup.manifest);
                }
                Err(why) => prop_assert!(most == 0 || why != FullBackupReason::NotAsked),
            }
        }

        /// Where nothing goes wrong, a full one is taken after just as many as the policy allows.
        #[test]
        fn full_ones_come_as_often_as_the_policy_says(most in 1_u32..5, count in 1_usize..14) {
            let mut taken = Vec::new();
            for _ in 0..count {
                taken.push((select(&candidates(most, &taken), &support("7", 17)).is_err(), true));
            }
            let expected = (0..count).map(|n| (n % (most as usize + 1) == 0, true));
            prop_assert_eq!(taken, expected.collect::<Vec<_>>());
        }
    }
}
