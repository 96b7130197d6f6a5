use super::super::AwsFailure;
use super::super::rds::{Database, Removal};
use super::AwsBackup;
use crate::policy::RdsDatabase;

/// What a query finds of a resource.
#[derive(Clone, Debug)]
pub enum ResourceState {
    /// A database of RDS.
    Database(Box<Database>),
    Gone,
    /// It is another service's, which drctl does not query.
    Unknown,
}

impl ResourceState {
    /// `None`: nothing is known.
    pub fn is_there(&self) -> Option<bool> {
        match self {
            Self::Database(_) => Some(true),
            Self::Gone => Some(false),
            Self::Unknown => None,
        }
    }

    /// Returns what RDS calls the database for ever.
    pub fn resource_id(self) -> Option<String> {
        if let Self::Database(database) = self { Some(database.resource_id) } else { None }
    }
}

impl AwsBackup {
    /// Returns the engine of a cluster that has an ARN of RDS; `None` of everything else, and where there is none.
    pub async fn engine(&self, resource: &str) -> Result<Option<String>, AwsFailure> {
        match database_of(resource) {
            Some(id @ RdsDatabase::Cluster(_)) => {
                Ok(self.rds.database(&id).await?.map(|cluster| cluster.profile.engine))
            }
            _ => Ok(None),
        }
    }

    /// Returns what is there of a resource, by its ARN. AWS Backup does not report it, and of the services drctl
    /// queries RDS only.
    pub async fn resource(&self, arn: &str) -> Result<ResourceState, AwsFailure> {
        let Some(id) = database_of(arn) else { return Ok(ResourceState::Unknown) };
        let found = self.rds.database(&id).await?;
        Ok(found.map_or(ResourceState::Gone, |database| ResourceState::Database(Box::new(database))))
    }

    /// Deletes a database that a restore job made, if it is the very one. `None`: it is no database of RDS.
    pub async fn delete_made(&self, arn: &str, resource_id: &str) -> Result<Option<Removal>, AwsFailure> {
        let Some(id) = database_of(arn) else { return Ok(None) };
        self.rds.delete_made_by_job(&id, resource_id).await.map(Some)
    }
}

fn database_of(arn: &str) -> Option<RdsDatabase> {
    match arn.split(':').collect::<Vec<_>>()[..] {
        [_, _, "rds", _, _, "db", name] => Some(RdsDatabase::Instance(name.to_owned())),
        [_, _, "rds", _, _, "cluster", name] => Some(RdsDatabase::Cluster(name.to_owned())),
        _ => None,
    }
}
