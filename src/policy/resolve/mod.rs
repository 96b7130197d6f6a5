//! Resolves the tables of [`super::schema`] into a policy: applies defaults, and finds faults that only
//! several settings together show.

mod application;
mod automation;
mod aws;
mod encryption;
mod login;
mod methods;
mod notify;
mod postgres;
mod recovery_point;
mod repository;
mod retention;
mod source;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::decode::{Diagnostics, Spanned};
use super::prices::Prices;
use super::schema::{ObjectivesTable, PolicyTable, PricesTable, TransferTable};
use super::settings::{Compression, Objectives, Policy, Transfer};
use super::value::WholeNumber;
use crate::platform::SecretRef;

const MIB: u64 = 1024 * 1024;
const PART_SIZE: u64 = 8 * MIB;
const PART_SIZES: std::ops::RangeInclusive<u64> = 5 * MIB..=64 * MIB;
/// The limit of S3 per upload.
const MOST_PARTS: u64 = 10_000;
const DEFAULT_PARTS: u64 = 9_000;
const LEVEL: i32 = 3;
const PARALLEL: usize = 3;
const STALL: Duration = Duration::from_secs(120);

/// Resolves the policy, if the tables have no fault. Relative paths are relative to the directory of `path`.
pub(super) fn policy(table: PolicyTable, path: &Path, log: &mut Diagnostics<'_>) -> Option<Policy> {
    let base = ResolveBase(path.parent().unwrap_or(Path::new("")));
    let objectives = table.objectives.as_ref().and_then(|objectives| self::objectives(objectives, log));
    let repositories = table.repository.as_ref().map(|table| repository::repositories(table, base, log));
    let encryption = table.encryption.as_ref().and_then(|table| encryption::encryption(table, log));
    let transfer = transfer(table.transfer.as_deref(), log);
    let places = repositories.as_deref().unwrap_or_default();
    let sources = table.sources.as_ref().map(|table| source::sources(table, places, base, log));
    let point = table
        .recovery_point
        .as_ref()
        .map(|table| recovery_point::recovery_point(table, sources.as_deref().unwrap_or_default(), log));
    let context = automation::ResolveContext {
        sources: sources.as_deref().unwrap_or_default(),
        repositories: repositories.as_deref().unwrap_or_default(),
        objectives,
        point: point.as_ref(),
    };
    let retention = table.retention.as_ref().map(|table| retention::retention(table, &context, log));
    if let (Some(repositories), Some(table)) = (&repositories, &table.repository) {
        repository::lock_terms(table, repositories, retention.as_ref(), log);
    }
    let priced = table.prices.iter().flat_map(|prices| &prices.stored).flat_map(|stored| &stored.0);
    for (name, _) in priced {
        repository::known(name, places, log);
    }
    let schedule = table.schedule.as_ref().map(|table| automation::schedule(table, &context, log));
    let drill = table.drill.as_ref().map(|table| automation::drill(table, &context, base, log));
    let notify = table.notify.as_ref().map(|table| notify::notify(table, base, log));
    let compression = table.compression.as_deref();
    let catalog = table.catalog.as_deref();
    let system = table.system.as_deref();
    let runbooks = table.runbooks.as_deref().and_then(|runbooks| runbooks.directory.as_deref());
    if !log.is_clean() {
        return None;
    }
    Some(Policy {
        path: path.to_owned(),
        system: system?.name.as_deref()?.clone(),
        description: system?.description.as_deref().cloned(),
        owner: system?.owner.as_deref().cloned(),
        objectives: objectives?,
        repositories: repositories?,
        encryption: encryption?,
        compression: Compression {
            level: compression.and_then(|table| number(&table.level)).unwrap_or(LEVEL),
            threads: compression.and_then(|table| number(&table.threads)).unwrap_or(0),
        },
        transfer: transfer?,
        catalog: catalog.and_then(|table| table.url.as_ref()).map(|url| base.catalog(&url.0)),
        catalog_password: catalog.and_then(|table| base.secret(&table.password)),
        sources: sources?,
        recovery_point: point,
        retention,
        schedule: schedule.unwrap_or_default(),
        drill: drill.flatten(),
        runbooks: runbooks.map(|directory| base.path(directory)),
        prices: table.prices.as_deref().and_then(prices),
        notify: notify.unwrap_or_default(),
    })
}

/// The directory that relative paths refer to.
#[derive(Clone, Copy)]
struct ResolveBase<'p>(&'p Path);

impl ResolveBase<'_> {
    fn path(self, path: &Path) -> PathBuf {
        // Not `canonicalize`: whether it exists is checked when it is opened.
        self.0.join(path)
    }

    fn secret(self, reference: &Option<Spanned<SecretRef>>) -> Option<SecretRef> {
        reference.as_deref().map(|reference| self.secret_ref(reference))
    }

    fn secret_ref(self, reference: &SecretRef) -> SecretRef {
        match reference {
            SecretRef::File(path) => SecretRef::File(self.path(path)),
            other => other.clone(),
        }
    }

    fn catalog(self, url: &str) -> String {
        match url.strip_prefix("sqlite:") {
            Some(rest) => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                format!("sqlite:{}", self.path(Path::new(path)).display())
            }
            None => url.to_owned(),
        }
    }
}

fn number<const MIN: i64, const MAX: i64, N: TryFrom<i64>>(
    whole: &Option<Spanned<WholeNumber<MIN, MAX>>>,
) -> Option<N> {
    whole.as_ref().and_then(|whole| N::try_from(whole.0).ok())
}

fn prices(table: &PricesTable) -> Option<Prices> {
    let stored = table.stored.iter().flat_map(|stored| &stored.0);
    let classes = table.classes.iter().flat_map(|classes| &classes.0);
    Some(Prices {
        as_of: table.as_of.as_ref()?.0,
        currency: table.currency.as_deref()?.clone(),
        classes: classes.map(|(class, price)| (class.value.clone(), price.0)).collect(),
        storage: table.storage.as_ref().map(|price| price.0),
        stored: stored.map(|(name, price)| (name.value.clone(), price.0)).collect(),
    })
}

fn objectives(table: &ObjectivesTable, log: &mut Diagnostics<'_>) -> Option<Objectives> {
    let (rto, rpo) = (table.rto.as_ref()?, table.rpo.as_ref()?);
    let longest = Duration::from_secs(366 * 24 * 3600);
    for (at, objective) in [(rto, rto.0), (rpo, rpo.0)] {
        if objective > longest {
            log.fault(&at.spot, "is more than a year", "an objective is what the system can live with");
        }
    }
    Some(Objectives { rto: rto.0, rpo: rpo.0 })
}

fn transfer(table: Option<&TransferTable>, log: &mut Diagnostics<'_>) -> Option<Transfer> {
    let part = table.and_then(|table| table.part_size.as_ref());
    let part_size = part.map_or(PART_SIZE, |size| size.0);
    if let Some(part) = part.filter(|part| !PART_SIZES.contains(&part.0)) {
        log.fault(
            &part.spot,
            "is out of range",
            "5 MiB to 64 MiB: stores take no less, and memory grows with it",
        );
    }
    let object = table.and_then(|table| table.object_size.as_ref());
    if let Some(object) = object {
        let most = part_size.saturating_mul(MOST_PARTS);
        if object.0 > most {
            let most = bytesize::ByteSize(most).display().iec();
            let hint = format!("at most {most} here; a larger `part_size` allows more");
            log.fault(&object.spot, format!("is more than {MOST_PARTS} parts"), hint);
        } else if object.0 < part_size {
            log.fault(&object.spot, "is less than one part", "it must be at least `part_size`");
        }
    }
    let or = |value: Option<Duration>, otherwise| value.unwrap_or(otherwise);
    Some(Transfer {
        part_size,
        parallel: table.and_then(|table| number(&table.parallel)).unwrap_or(PARALLEL),
        bandwidth: table.and_then(|table| table.bandwidth.as_ref()).map(|bytes| bytes.0),
        stall: or(table.and_then(|table| table.stall.as_ref()).map(|stall| stall.0), STALL),
        object_size: object.map_or(part_size.saturating_mul(DEFAULT_PARTS), |size| size.0),
    })
}
