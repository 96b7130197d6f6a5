use std::collections::BTreeMap;

use futures_util::future::join_all;

use crate::model::SourceName;
use crate::policy::Policy;
use crate::text::error_chain;
use crate::wal::{ArchiverReport, said};

/// The facts of the servers whose WAL the policy archives: their cluster and timeline, the last file
/// confirmed as archived, and stalls.
#[derive(Debug, Default)]
pub struct Servers {
    pub asked: BTreeMap<SourceName, ArchiverReport>,
    /// Those that could not be queried, and why.
    pub not_asked: Vec<(SourceName, String)>,
}

impl Servers {
    pub async fn ask(policy: &Policy) -> Self {
        let asked = policy.sources.iter().map(async |source| (source, said(&policy.system, source).await));
        let mut servers = Self::default();
        for (source, said) in join_all(asked).await {
            match said {
                Ok(Some(said)) => {
                    servers.asked.insert(source.name.clone(), said);
                }
                Ok(None) => {}
                Err(error) => servers.not_asked.push((source.name.clone(), error_chain(&error))),
            }
        }
        servers
    }
}
