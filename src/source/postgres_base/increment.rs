use std::path::PathBuf;

use thiserror::Error;

use super::error::BaseError;
use super::prepare::BaseBackupCapture;
use super::replication;
use super::replication::StartedCopy;
use crate::event::Events;
use crate::model::{BackupId, Manifest, ServerFacts, parent};
use crate::platform::{CancellationToken, ProcessError};
use crate::postgres::Tools;
use crate::text::error_chain;

/// The first major that can be copied by its changes.
const FIRST_MAJOR: u32 = 17;

/// What of a cluster is to be copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// What changed since the backup before, where that can be done and the policy asks for it; otherwise all.
    #[default]
    AsDue,
    Full,
    /// What changed, or nothing.
    Incremental,
}

/// An earlier base backup of the source.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub manifest: Manifest,
    /// What a restore of it needs, the full one first and itself last; or why it cannot be built on, in words
    /// that follow its id.
    pub chain: Result<Vec<Manifest>, String>,
    /// PostgreSQL's list of its files.
    pub list: PathBuf,
}

/// What a base backup may build on.
#[derive(Clone, Debug, Default)]
pub struct IncrementalBase {
    pub extent: Extent,
    /// How many may build on a full one; 0: the policy asks for full ones only.
    pub most: u32,
    /// The newest first.
    pub candidates: Vec<Candidate>,
    /// Where this one's list of files is kept, for the next.
    pub keep: Option<PathBuf>,
}

/// Why a base backup is a full one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FullBackupReason {
    #[error(
        "the policy asks for none (`incrementals` of the source's `base` says how many may build on a full one)"
    )]
    NotAsked,
    #[error(
        "it is read from the data directory, and only a replication connection gives the changes (`through`)"
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
    #[error("{backup} cannot be built on: {why}")]
    Unfit { backup: BackupId, why: String },
    #[error("the server does not give the changes since {backup}: {words}")]
    Denied { backup: BackupId, words: String },
}

impl FullBackupReason {
    /// Whether nothing is amiss: it is simply time for one.
    fn is_due(&self) -> bool {
        matches!(self, Self::NotAsked | Self::Files | Self::First | Self::EnoughOfThem(_))
    }
}

/// What the next base backup builds on.
#[derive(Debug)]
struct SelectedIncrement<'a> {
    backup: &'a Candidate,
    /// The full one first, and itself last.
    chain: &'a [Manifest],
    /// A newer one would have done, but for this.
    passed: Option<FullBackupReason>,
}

/// Pure.
fn choose<'a>(
    ancestry: &'a IncrementalBase,
    server: &ServerFacts,
    summarizes: bool,
) -> Result<SelectedIncrement<'a>, FullBackupReason> {
    if ancestry.most == 0 {
        return Err(FullBackupReason::NotAsked);
    }
    if server.major < FIRST_MAJOR {
        return Err(FullBackupReason::Major(server.major));
    }
    if !summarizes {
        return Err(FullBackupReason::NoSummaries);
    }
    let is_of_it = |candidate: &&Candidate| {
        candidate.manifest.server.as_ref().is_some_and(|of| {
            of.system_identifier.is_some()
                && of.system_identifier == server.system_identifier
                && of.major == server.major
        })
    };
    let own: Vec<&Candidate> = ancestry.candidates.iter().filter(is_of_it).collect();
    if own.is_empty() {
        return Err(FullBackupReason::First);
    }
    // Nothing is built on what is older than the newest full one: the changes since would only be more.
    let full = own.iter().position(|candidate| parent(&candidate.manifest).is_none());
    let full = full.ok_or(FullBackupReason::NoFull)?;
    let most = usize::try_from(ancestry.most).unwrap_or(usize::MAX);
    if full >= most {
        return Err(FullBackupReason::EnoughOfThem(ancestry.most));
    }
    let mut passed = None;
    for backup in &own[..=full] {
        match &backup.chain {
            Ok(chain) if chain.len() <= most => return Ok(SelectedIncrement { backup, chain, passed }),
            Ok(_) => {}
            Err(why) => {
                let (backup, why) = (backup.manifest.id.clone(), why.clone());
                passed.get_or_insert(FullBackupReason::Unfit { backup, why });
            }
        }
    }
    Err(passed.unwrap_or(FullBackupReason::EnoughOfThem(ancestry.most)))
}

/// Begins a copy of the changes, or of everything where there is a reason to, which is told. Gives what it
/// builds on, the full one first; empty for a full one.
pub(super) async fn begin<'a>(
    prepared: &BaseBackupCapture,
    tools: &Tools,
    ancestry: &'a IncrementalBase,
    events: &Events,
    stop: &CancellationToken,
) -> Result<(StartedCopy, &'a [Manifest]), BaseError> {
    let chosen = match ancestry.extent {
        Extent::Full => None,
        Extent::AsDue | Extent::Incremental => {
            match choose(ancestry, &prepared.server, prepared.summarizes) {
                Ok(chosen) => Some(chosen),
                Err(why) => full_because(prepared, ancestry, why, events)?,
            }
        }
    };
    if let Some(SelectedIncrement { backup: candidate, chain, passed }) = chosen {
        match replication::begin(prepared, tools, Some(&candidate.list), stop).await {
            Ok(begun) => {
                if let Some(passed) = passed {
                    events.warning(passed.to_string());
                }
                events.notice(format!("copying what changed since {}", candidate.manifest.id));
                return Ok((begun, chain));
            }
            // The server has looked at what it is to build on, and has said no before anything was stored.
            Err(BaseError::Start { source: ProcessError::Failed { stderr, .. }, .. })
                if !stderr.is_empty() =>
            {
                // It warns, too, that what it has just refused is not done.
                let words =
                    stderr.iter().filter(|line| !line.starts_with("WARNING:")).map(|line| line.trim());
                let words = words.collect::<Vec<_>>().join(" ");
                let backup = candidate.manifest.id.clone();
                full_because(prepared, ancestry, FullBackupReason::Denied { backup, words }, events)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok((replication::begin(prepared, tools, None, stop).await?, &[]))
}

/// Files are always copied whole.
pub(super) fn refuse_files(
    prepared: &BaseBackupCapture,
    ancestry: &IncrementalBase,
) -> Result<(), BaseError> {
    match ancestry.extent {
        Extent::Incremental => Err(no_incremental(prepared, FullBackupReason::Files)),
        Extent::AsDue | Extent::Full => Ok(()),
    }
}

fn no_incremental(prepared: &BaseBackupCapture, why: FullBackupReason) -> BaseError {
    BaseError::NoIncremental { server: prepared.parameters.to_string(), why }
}

/// Who asked for the changes in so many words is not given something else.
fn full_because<'a>(
    prepared: &BaseBackupCapture,
    ancestry: &IncrementalBase,
    why: FullBackupReason,
    events: &Events,
) -> Result<Option<SelectedIncrement<'a>>, BaseError> {
    if ancestry.extent == Extent::Incremental {
        return Err(no_incremental(prepared, why));
    }
    match why {
        FullBackupReason::NotAsked => {}
        why if why.is_due() => events.notice(format!("taking a full base backup: {}", error_chain(&why))),
        why => events.warning(format!(
            "taking a full base backup in place of an incremental one: {}",
            error_chain(&why)
        )),
    }
    Ok(None)
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
    fn ancestry(most: u32, taken: &[(bool, bool)]) -> IncrementalBase {
        let mut manifests: Vec<Manifest> = Vec::new();
        for (minute, (is_full, _)) in (1..).zip(taken) {
            let before = manifests.last().map(|manifest| manifest.id.clone());
            manifests.push(manifest(minute, "7", before.filter(|_| !is_full)));
        }
        let whole = |id: &BackupId| {
            let at = manifests.iter().position(|manifest| manifest.id == *id)?;
            taken[at].1.then(|| &manifests[at])
        };
        let candidates = manifests.iter().zip(taken).map(|(manifest, (_, fit))| Candidate {
            manifest: manifest.clone(),
            chain: match fit {
                true => chain(manifest, whole)
                    .map(|chain| chain.into_iter().cloned().collect())
                    .map_err(|broken| broken.to_string()),
                false => Err("unfit".to_owned()),
            },
            list: PathBuf::new(),
        });
        let mut candidates: Vec<_> = candidates.collect();
        candidates.reverse();
        IncrementalBase { extent: Extent::AsDue, most, candidates, keep: None }
    }

    const FULL: (bool, bool) = (true, true);
    const CHANGES: (bool, bool) = (false, true);

    #[test]
    fn the_newest_is_built_on_until_there_are_enough() {
        let of = server("7", 17);
        let minute = |ancestry: &IncrementalBase| {
            let chosen = choose(ancestry, &of, true)?;
            Ok::<_, FullBackupReason>((chosen.backup.manifest.id.begun() - fixtures::noon()).num_minutes())
        };
        assert_eq!(minute(&ancestry(2, &[])), Err(FullBackupReason::First));
        assert_eq!(minute(&ancestry(2, &[FULL])), Ok(1));
        assert_eq!(minute(&ancestry(2, &[FULL, CHANGES])), Ok(2));
        assert_eq!(minute(&ancestry(2, &[FULL, CHANGES, CHANGES])), Err(FullBackupReason::EnoughOfThem(2)));
        assert_eq!(minute(&ancestry(2, &[FULL, CHANGES, CHANGES, FULL])), Ok(4));
        assert_eq!(minute(&ancestry(0, &[FULL])), Err(FullBackupReason::NotAsked));
        let mut gone = ancestry(6, &[FULL, CHANGES]);
        gone.candidates.pop();
        assert_eq!(minute(&gone), Err(FullBackupReason::NoFull));
        // One that is unfit is passed, and told of, where there is another; what builds on it is, too.
        let passed = ancestry(6, &[FULL, CHANGES, (false, false), CHANGES]);
        assert_eq!(minute(&passed), Ok(2));
        assert!(choose(&passed, &of, true).unwrap().passed.unwrap().to_string().contains("not whole"));
        let unfit = ancestry(6, &[FULL, CHANGES, (true, false)]);
        assert!(matches!(minute(&unfit), Err(FullBackupReason::Unfit { why, .. }) if why == "unfit"));
    }

    #[test]
    fn a_server_that_cannot_or_is_another_one_is_copied_whole() {
        let one = ancestry(6, &[FULL]);
        let why = |of: &ServerFacts, summarizes| choose(&one, of, summarizes).map(drop);
        assert_eq!(why(&server("7", 16), true), Err(FullBackupReason::Major(16)));
        assert_eq!(why(&server("7", 17), false), Err(FullBackupReason::NoSummaries));
        assert_eq!(why(&server("8", 17), true), Err(FullBackupReason::First));
        // Upgraded in place, or unknown.
        assert_eq!(why(&server("7", 18), true), Err(FullBackupReason::First));
        assert_eq!(
            why(&ServerFacts { system_identifier: None, ..server("7", 17) }, true),
            Err(FullBackupReason::First)
        );
    }

    proptest! {
        /// Whatever went wrong before: what is built on is whole, fits, is no older than the newest full one,
        /// and there are never more of them than the policy allows.
        #[test]
        fn what_is_built_on_is_whole_and_the_chain_has_an_end(
            most in 0_u32..5,
            taken in prop::collection::vec((any::<bool>(), prop::bool::weighted(0.8)), 0..9),
        ) {
            let ancestry = ancestry(most, &taken);
            match choose(&ancestry, &server("7", 17), true) {
                Ok(SelectedIncrement { backup, chain, passed }) => {
                    prop_assert!(chain.len() <= most as usize);
                    prop_assert!(parent(&chain[0]).is_none());
                    prop_assert_eq!(&chain[chain.len() - 1], &backup.manifest);
                    let fit = |manifest: &Manifest| ancestry.candidates.iter()
                        .any(|known| known.manifest == *manifest && known.chain.is_ok());
                    prop_assert!(chain.iter().all(fit));
                    let newest_full = ancestry.candidates.iter()
                        .find(|known| parent(&known.manifest).is_none()).unwrap();
                    prop_assert!(backup.manifest.id >= newest_full.manifest.id);
                    let newer = ancestry.candidates.iter().take_while(|known| known.manifest.id != newest_full.manifest.id);
                    prop_assert!(newer.count() < most as usize);
                    prop_assert_eq!(passed.is_some(), ancestry.candidates[0].manifest != backup.manifest);
                }
                Err(why) => prop_assert!(most == 0 || why != FullBackupReason::NotAsked),
            }
        }

        /// Where nothing goes wrong, a full one is taken after just as many as the policy allows.
        #[test]
        fn full_ones_come_as_often_as_the_policy_says(most in 1_u32..5, count in 1_usize..14) {
            let mut taken = Vec::new();
            for _ in 0..count {
                taken.push((choose(&ancestry(most, &taken), &server("7", 17), true).is_err(), true));
            }
            let expected = (0..count).map(|n| (n % (most as usize + 1) == 0, true));
            prop_assert_eq!(taken, expected.collect::<Vec<_>>());
        }
    }
}
