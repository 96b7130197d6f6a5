use std::collections::BTreeMap;

use hyper::{Method, Uri};
use serde_json::Value;

/// A request, by its operation.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) region: String,
    pub(super) operation: &'static str,
    /// The labels of its path, in their order.
    pub(super) labels: Vec<String>,
    pub(super) query: BTreeMap<String, String>,
    pub(super) body: Value,
}

const OPERATIONS: &[(&str, &str, &str)] = &[
    ("GET", "backup-vaults", "ListBackupVaults"),
    ("GET", "backup-vaults/*", "DescribeBackupVault"),
    ("GET", "backup-vaults/*/access-policy", "GetBackupVaultAccessPolicy"),
    ("GET", "backup-vaults/*/recovery-points", "ListRecoveryPointsByBackupVault"),
    ("GET", "backup-vaults/*/recovery-points/*", "DescribeRecoveryPoint"),
    ("DELETE", "backup-vaults/*/recovery-points/*", "DeleteRecoveryPoint"),
    ("POST", "backup-vaults/*/recovery-points/*", "UpdateRecoveryPointLifecycle"),
    ("GET", "backup-vaults/*/recovery-points/*/restore-metadata", "GetRecoveryPointRestoreMetadata"),
    ("GET", "resources", "ListProtectedResources"),
    ("GET", "resources/*/recovery-points", "ListRecoveryPointsByResource"),
    ("PUT", "backup-jobs", "StartBackupJob"),
    ("GET", "backup-jobs", "ListBackupJobs"),
    ("GET", "backup-jobs/*", "DescribeBackupJob"),
    ("PUT", "copy-jobs", "StartCopyJob"),
    ("GET", "copy-jobs", "ListCopyJobs"),
    ("GET", "copy-jobs/*", "DescribeCopyJob"),
    ("PUT", "restore-jobs", "StartRestoreJob"),
    ("GET", "restore-jobs", "ListRestoreJobs"),
    ("GET", "restore-jobs/*", "DescribeRestoreJob"),
    ("GET", "restore-jobs/*/metadata", "GetRestoreJobMetadata"),
    ("PUT", "restore-jobs/*/validations", "PutRestoreValidationResult"),
    ("GET", "tags/*", "ListTags"),
    ("POST", "tags/*", "TagResource"),
    ("GET", "backup/plans", "ListBackupPlans"),
    ("GET", "backup/plans/*", "GetBackupPlan"),
    ("GET", "backup/plans/*/selections", "ListBackupSelections"),
    ("GET", "backup/plans/*/selections/*", "GetBackupSelection"),
];

impl Asked {
    pub(super) fn read(region: &str, method: &Method, uri: &Uri, body: Value) -> Option<Self> {
        let path: Vec<String> = uri.path().split('/').filter(|part| !part.is_empty()).map(decoded).collect();
        let (operation, labels) = OPERATIONS.iter().find_map(|(verb, pattern, operation)| {
            let labels = labels(pattern, &path).filter(|_| *verb == method.as_str())?;
            Some((*operation, labels))
        })?;
        let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let query = query.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        Some(Self { region: region.to_owned(), operation, labels, query, body })
    }

    pub(super) fn label(&self, at: usize) -> &str {
        self.labels.get(at).map_or("", String::as_str)
    }

    pub(super) fn word(&self, name: &str) -> Option<String> {
        self.body[name].as_str().map(str::to_owned)
    }

    pub(super) fn words(&self, name: &str) -> BTreeMap<String, String> {
        let pairs = self.body[name].as_object().into_iter().flatten();
        pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// Whether the query names nothing else.
    pub(super) fn wants(&self, name: &str, value: &str) -> bool {
        self.query.get(name).is_none_or(|wanted| wanted == value)
    }
}

fn labels(pattern: &str, path: &[String]) -> Option<Vec<String>> {
    let pattern: Vec<_> = pattern.split('/').collect();
    if pattern.len() != path.len() {
        return None;
    }
    let mut labels = Vec::new();
    for (wanted, part) in pattern.into_iter().zip(path) {
        match wanted {
            "*" => labels.push(part.clone()),
            word if word == part => {}
            _ => return None,
        }
    }
    Some(labels)
}

fn decoded(part: &str) -> String {
    let query = format!("x={}", part.replace('+', "%2B"));
    url::form_urlencoded::parse(query.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}
