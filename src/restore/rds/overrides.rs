//! Settings that a restore changes from what was recorded: AWS may refuse today what it granted then.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use thiserror::Error;

use super::parameter_groups::is_default;
use super::restore_source::RestoreSource;
use crate::aws::rds::Database;
use crate::model::{RegionNames, RestoreProfile};
use crate::restore::Refusal;

/// Leaves the setting to AWS's default.
const DEFAULT: &str = "default";

/// The settings that can be overridden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OverrideKey {
    Ca,
    Class,
    EngineVersion,
    KmsKey,
    MultiAz,
    NetworkType,
    OptionGroup,
    ParameterGroup,
    SecurityGroups,
    StorageType,
    SubnetGroup,
    Zone,
}

impl OverrideKey {
    pub const ALL: [Self; 12] = [
        Self::Ca,
        Self::Class,
        Self::EngineVersion,
        Self::KmsKey,
        Self::MultiAz,
        Self::NetworkType,
        Self::OptionGroup,
        Self::ParameterGroup,
        Self::SecurityGroups,
        Self::StorageType,
        Self::SubnetGroup,
        Self::Zone,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::Class => "class",
            Self::EngineVersion => "engine_version",
            Self::KmsKey => "kms_key",
            Self::MultiAz => "multi_az",
            Self::NetworkType => "network_type",
            Self::OptionGroup => "option_group",
            Self::ParameterGroup => "parameter_group",
            Self::SecurityGroups => "security_groups",
            Self::StorageType => "storage_type",
            Self::SubnetGroup => "subnet_group",
            Self::Zone => "zone",
        }
    }

    /// Returns all keys, for messages.
    pub fn listed() -> String {
        Self::ALL.map(|key| format!("`{key}`")).join(", ")
    }

    /// Returns what is wrong with a value, whatever the database is.
    fn objection(self, value: &str) -> Option<&'static str> {
        match self {
            Self::Class if !value.starts_with("db.") => Some("a class begins with `db.`, as `db.r6g.large`"),
            Self::MultiAz if !matches!(value, "yes" | "no") => Some("it is `yes` or `no`"),
            Self::Zone if value == DEFAULT => Some("leave it out, and AWS takes one"),
            Self::KmsKey if value == DEFAULT => {
                Some("leave it out, and the key is the one of before, or that of the policy")
            }
            _ => None,
        }
    }
}

impl fmt::Display for OverrideKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum OverrideError {
    #[error("`{0}` does not say what to set: it is KEY=VALUE, as `class=db.r6g.large`")]
    Form(String),
    #[error("`{0}` is nothing that a restore can set")]
    Unknown(String),
    #[error("`{0}` is set twice")]
    Twice(OverrideKey),
    #[error("`{key}={value}`: {why}")]
    Value { key: OverrideKey, value: String, why: &'static str },
}

/// The requested changes to what was recorded, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(BTreeMap<OverrideKey, String>);

/// A changed setting, and its original value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    pub key: OverrideKey,
    pub value: String,
    /// `None`: it would not have been set, or is unknown.
    pub was: Option<String>,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// The kinds of database, which take different settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RdsTopology {
    Instance,
    Aurora,
    MultiAzCluster,
}

impl RdsTopology {
    fn from_profile(profile: &RestoreProfile) -> Self {
        match (&profile.cluster, profile.engine.starts_with("aurora")) {
            (None, _) => Self::Instance,
            (Some(_), true) => Self::Aurora,
            (Some(_), false) => Self::MultiAzCluster,
        }
    }
}

impl Overrides {
    /// Parses `KEY=VALUE`, each key once.
    pub fn parse(settings: &[String]) -> Result<Self, OverrideError> {
        let mut overrides = BTreeMap::new();
        for text in settings {
            let form = || OverrideError::Form(text.clone());
            let (name, value) = text.split_once('=').ok_or_else(form)?;
            let (name, value) = (name.trim(), value.trim());
            let known = OverrideKey::ALL.into_iter().find(|key| key.as_str() == name);
            let key = known.ok_or_else(|| OverrideError::Unknown(name.to_owned()))?;
            if value.is_empty() {
                return Err(form());
            }
            if let Some(why) = key.objection(value) {
                return Err(OverrideError::Value { key, value: value.to_owned(), why });
            }
            if overrides.insert(key, value.to_owned()).is_some() {
                return Err(OverrideError::Twice(key));
            }
        }
        Ok(Self(overrides))
    }

    /// Returns a setting; `None`: as recorded.
    pub(super) fn get(&self, key: OverrideKey) -> Option<&str> {
        self.0.get(&key).map(String::as_str)
    }

    /// Returns the replacement for a setting; `Some(None)`: AWS's default.
    fn instead(&self, key: OverrideKey) -> Option<Option<String>> {
        self.get(key).map(|value| (value != DEFAULT).then(|| value.to_owned()))
    }

    /// Applies them to the recorded settings of the database.
    pub(super) fn onto(&self, mut profile: RestoreProfile) -> RestoreProfile {
        if let Some(class) = self.instead(OverrideKey::Class) {
            let members = profile.cluster.iter_mut().flat_map(|cluster| &mut cluster.members);
            members.for_each(|member| member.class.clone_from(&class));
            profile.class = class;
        }
        if let Some(ca) = self.instead(OverrideKey::Ca) {
            profile.ca_certificate = ca;
        }
        if let Some(version) = self.instead(OverrideKey::EngineVersion) {
            profile.engine_version = version;
        }
        if let Some(answer) = self.get(OverrideKey::MultiAz) {
            profile.multi_az = Some(answer == "yes");
        }
        if let Some(network) = self.instead(OverrideKey::NetworkType) {
            profile.network_type = network;
        }
        if let Some(kind) = self.instead(OverrideKey::StorageType) {
            // Performance provisioned for one storage type is refused for another.
            if kind != profile.storage.kind {
                (profile.storage.iops, profile.storage.throughput) = (None, None);
            }
            profile.storage.kind = kind;
        }
        profile
    }

    /// Applies them to the names that are used in the region.
    pub(super) fn names(&self, mut names: RegionNames) -> RegionNames {
        let word = |key| self.get(key).map(str::to_owned);
        names.kms_key = word(OverrideKey::KmsKey).or(names.kms_key);
        names.subnet_group = word(OverrideKey::SubnetGroup).or(names.subnet_group);
        names.parameter_group = word(OverrideKey::ParameterGroup).or(names.parameter_group);
        names.option_group = word(OverrideKey::OptionGroup).or(names.option_group);
        let groups = self.get(OverrideKey::SecurityGroups);
        let groups = groups.map(|list| list.split(',').map(|group| group.trim().to_owned()).collect());
        names.security_groups = groups.or(names.security_groups);
        names
    }

    /// Returns each with its original value.
    pub(super) fn changed(
        &self,
        recorded: &RestoreProfile,
        names: &RegionNames,
        is_home: bool,
    ) -> Vec<Changed> {
        let home = |name: &Option<String>| name.clone().filter(|_| is_home);
        let list = |groups: &[String]| (!groups.is_empty()).then(|| groups.join(", "));
        let was = |key| match key {
            OverrideKey::Ca => recorded.ca_certificate.clone(),
            OverrideKey::Class => recorded.class.clone().or_else(|| classes(recorded)),
            OverrideKey::EngineVersion => recorded.engine_version.clone(),
            OverrideKey::KmsKey => names.kms_key.clone().or_else(|| home(&recorded.kms_key)),
            OverrideKey::MultiAz => {
                recorded.multi_az.map(|answer| if answer { "yes" } else { "no" }.to_owned())
            }
            OverrideKey::NetworkType => recorded.network_type.clone(),
            OverrideKey::OptionGroup => names.option_group.clone().or_else(|| home(&recorded.option_group)),
            OverrideKey::ParameterGroup => {
                let group = recorded.parameter_group.as_ref().map(|group| group.name.clone());
                names.parameter_group.clone().or(group)
            }
            OverrideKey::SecurityGroups => match &names.security_groups {
                Some(groups) => list(groups),
                None => list(&recorded.security_groups).filter(|_| is_home),
            },
            OverrideKey::StorageType => recorded.storage.kind.clone(),
            OverrideKey::SubnetGroup => names.subnet_group.clone().or_else(|| home(&recorded.subnet_group)),
            OverrideKey::Zone => None,
        };
        self.0
            .iter()
            .map(|(key, value)| Changed { key: *key, value: value.clone(), was: was(*key) })
            .collect()
    }

    /// Returns the settings that RDS does not take for this kind of database, or not with this value.
    pub(super) fn objections(
        &self,
        profile: &RestoreProfile,
        via: &RestoreSource,
        region: &str,
    ) -> Vec<Refusal> {
        let shape = RdsTopology::from_profile(profile);
        let (is_snapshot, is_encrypted) = (via.is_snapshot(), via.is_encrypted());
        let mut refusals: Vec<Refusal> = { self.0.keys() }
            .filter_map(|key| Some(not_settable(*key, unfit(*key, shape, is_snapshot)?)))
            .collect();
        if self.get(OverrideKey::KmsKey).is_some()
            && shape != RdsTopology::Instance
            && !is_encrypted
            && !is_snapshot
        {
            refusals.push(not_settable(
                OverrideKey::KmsKey,
                "RDS encrypts what is not encrypted only where a snapshot is restored: use `--backup`",
            ));
        }
        if let Some(zone) = self.get(OverrideKey::Zone) {
            if !zone.starts_with(region) {
                let message = format!("zone `{zone}` is not in {region}");
                refusals.push(Refusal::not_ready("other-zone", message));
            }
            if shape == RdsTopology::Instance && profile.multi_az == Some(true) {
                refusals.push(not_settable(
                    OverrideKey::Zone,
                    "a Multi-AZ instance is in two, which RDS chooses: add `--set multi_az=no`, and make it Multi-AZ afterwards",
                ));
            }
        }
        refusals
    }
}

fn not_settable(key: OverrideKey, why: &str) -> Refusal {
    Refusal::not_ready("not-settable", format!("`--set {key}=…` does not go with it: {why}"))
}

/// Returns the classes of a cluster's instances.
fn classes(profile: &RestoreProfile) -> Option<String> {
    let members = profile.cluster.iter().flat_map(|cluster| &cluster.members);
    let mut classes: Vec<&str> = members.filter_map(|member| member.class.as_deref()).collect();
    classes.sort_unstable();
    classes.dedup();
    (!classes.is_empty()).then(|| classes.join(", "))
}

fn unfit(key: OverrideKey, shape: RdsTopology, is_snapshot: bool) -> Option<&'static str> {
    match (key, shape) {
        (OverrideKey::EngineVersion, RdsTopology::Instance) => Some(
            "RDS gives an instance the version of its snapshot; `aws rds modify-db-snapshot --engine-version` upgrades the snapshot before",
        ),
        (OverrideKey::EngineVersion, _) if !is_snapshot => {
            Some("RDS takes a version only where a snapshot is restored: use `--backup`")
        }
        (OverrideKey::KmsKey, RdsTopology::Instance) => Some(
            "RDS encrypts an instance with the key of its snapshot; the copy in another region has another (`--from REGION`), and so has one made by `aws rds copy-db-snapshot --kms-key-id`",
        ),
        (OverrideKey::MultiAz, RdsTopology::Aurora | RdsTopology::MultiAzCluster) => {
            Some("a cluster is in as many zones as it has instances")
        }
        (OverrideKey::OptionGroup, RdsTopology::Aurora | RdsTopology::MultiAzCluster) => {
            Some("a cluster of PostgreSQL has no option group")
        }
        (OverrideKey::Ca | OverrideKey::Zone, RdsTopology::MultiAzCluster) => {
            Some("RDS chooses it itself for the instances of a Multi-AZ cluster")
        }
        _ => None,
    }
}

/// Describes how an instance started by an earlier run differs from the plan. It is left so: only what is
/// missing is created.
pub(super) fn settings_drift(
    existing: &Database,
    wanted: &[(&'static str, Option<String>)],
    overrides: &Overrides,
) -> Vec<String> {
    let has = &existing.profile;
    let name = existing.id.identifier();
    let group = |group: &Option<String>| group.clone().filter(|group| !is_default(group));
    let now = |what: &str| match what {
        "class" => has.class.clone(),
        "certificate" => has.ca_certificate.clone(),
        "subnet group" => has.subnet_group.clone(),
        "parameter group" => group(&has.parameter_group.as_ref().map(|group| group.name.clone())),
        "option group" => group(&has.option_group),
        "storage" => has.storage.kind.clone(),
        "key" => has.kms_key.clone(),
        "engine version" => {
            has.engine_version.clone().filter(|_| overrides.get(OverrideKey::EngineVersion).is_some())
        }
        _ => None,
    };
    let differs = |(what, wanted): &(&'static str, Option<String>)| {
        let (wanted, now) = (wanted.as_ref()?, now(what)?);
        (*wanted != now)
            .then(|| format!("`{name}` was begun with {what} {now}, and not {wanted}: it stays so"))
    };
    wanted.iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClusterMember, ClusterProfile, StorageProfile};

    fn parsed(settings: &[&str]) -> Result<Overrides, OverrideError> {
        Overrides::parse(&settings.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        assert!(parsed(&["class=db.r6g.large", "multi_az=no"]).is_ok());
        assert!(matches!(parsed(&["class"]), Err(OverrideError::Form(_))));
        assert!(matches!(parsed(&["class="]), Err(OverrideError::Form(_))));
        assert_eq!(parsed(&["clas=db.r6g.large"]), Err(OverrideError::Unknown("clas".to_owned())));
        assert_eq!(parsed(&["ca=a", "ca=b"]), Err(OverrideError::Twice(OverrideKey::Ca)));
        for wrong in ["class=r6g.large", "class=default", "multi_az=true", "zone=default", "kms_key=default"]
        {
            assert!(matches!(parsed(&[wrong]), Err(OverrideError::Value { .. })), "{wrong}");
        }
    }

    #[test]
    fn another_kind_of_storage_does_not_get_the_speed_of_the_old_one() {
        let storage = StorageProfile { kind: Some("io2".to_owned()), iops: Some(9000), ..Default::default() };
        let recorded = RestoreProfile { storage, ..Default::default() };
        let same = parsed(&["storage_type=io2"]).unwrap().onto(recorded.clone());
        assert_eq!(same.storage.iops, Some(9000));
        let other = parsed(&["storage_type=gp3"]).unwrap().onto(recorded.clone());
        assert_eq!((other.storage.kind.as_deref(), other.storage.iops), (Some("gp3"), None));
        let left = parsed(&["storage_type=default", "ca=default"]).unwrap().onto(recorded);
        assert_eq!((left.storage.kind, left.ca_certificate), (None, None));
    }

    #[test]
    fn a_class_is_that_of_all_of_a_cluster_s_instances() {
        let member = |class: &str| ClusterMember { class: Some(class.to_owned()), ..Default::default() };
        let members = vec![member("db.r6g.large"), member("db.r6g.xlarge")];
        let cluster = Some(ClusterProfile { members, ..ClusterProfile::default() });
        let recorded =
            RestoreProfile { engine: "aurora-postgresql".to_owned(), cluster, ..Default::default() };
        let overrides = parsed(&["class=db.r7g.large"]).unwrap();
        let changed = overrides.changed(&recorded, &RegionNames::default(), true);
        assert_eq!(changed[0].was.as_deref(), Some("db.r6g.large, db.r6g.xlarge"));
        let made = overrides.onto(recorded).cluster.unwrap().members;
        assert!(made.iter().all(|member| member.class.as_deref() == Some("db.r7g.large")), "{made:?}");
    }

    #[test]
    fn what_a_kind_of_database_does_not_take_is_said() {
        let via = RestoreSource::Automated {
            origin: crate::aws::rds::Origin::Snapshot("s".to_owned()),
            identifier: "shop".to_owned(),
            resource_id: "db-1".to_owned(),
            until: "2026-11-20T12:00:00Z".parse().unwrap(),
            encrypted: true,
        };
        let refused = |settings: &[&str], profile: &RestoreProfile| {
            parsed(settings).unwrap().objections(profile, &via, "us-west-2").len()
        };
        let instance = RestoreProfile { multi_az: Some(true), ..Default::default() };
        let cluster = |engine: &str| RestoreProfile {
            engine: engine.to_owned(),
            cluster: Some(ClusterProfile::default()),
            ..Default::default()
        };
        assert_eq!(refused(&["class=db.r6g.large", "ca=x", "option_group=y"], &instance), 0);
        assert_eq!(refused(&["kms_key=k", "engine_version=15.4"], &instance), 2);
        assert_eq!(refused(&["zone=us-west-2a"], &instance), 1, "it is Multi-AZ");
        assert_eq!(refused(&["zone=us-east-1a"], &RestoreProfile::default()), 1, "of another region");
        assert_eq!(refused(&["zone=us-west-2a", "kms_key=k"], &cluster("aurora-postgresql")), 0);
        assert_eq!(refused(&["multi_az=no", "engine_version=15.4"], &cluster("aurora-postgresql")), 2);
        assert_eq!(refused(&["ca=x", "zone=us-west-2a"], &cluster("postgres")), 2);
        let plain = |via: RestoreSource| {
            let overrides = parsed(&["kms_key=k"]).unwrap();
            overrides.objections(&cluster("aurora-postgresql"), &via, "us-west-2").len()
        };
        let RestoreSource::Automated { origin, identifier, resource_id, until, .. } = via.clone() else {
            unreachable!()
        };
        let moment = RestoreSource::Automated { origin, identifier, resource_id, until, encrypted: false };
        assert_eq!(plain(moment), 1, "only a snapshot is encrypted by a restore");
    }
}
