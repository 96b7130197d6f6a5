use std::collections::BTreeMap;

use futures_util::future::join_all;

use crate::model::SourceName;
use crate::policy::Policy;
use crate::text::error_chain;
use crate::wal::{ArchiverReport, said};

/// What the servers say themselves whose log the policy has archived: whose log it is, along which timeline it goes
/// on, what they were told is archived, and what keeps more from coming.
#[derive(Debug, Default)]
pub struct Servers {
    pub asked: BTreeMap<SourceName, ArchiverReport>,
    /// Those that could not be asked, and why.
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
