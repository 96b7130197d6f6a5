use super::super::AwsFailure;
use super::super::convert::found;
use super::AwsBackup;

impl AwsBackup {
    /// Returns the engine of a cluster with an ARN of RDS; `None` for other resources, and if it does not
    /// exist.
    pub async fn engine(&self, resource: &str) -> Result<Option<String>, AwsFailure> {
        let parts: Vec<_> = resource.split(':').collect();
        let [_, _, "rds", _, _, "cluster", name] = parts.as_slice() else { return Ok(None) };
        let asked = self.rds.describe_db_clusters().db_cluster_identifier(*name).send().await;
        let answer = found(asked.map_err(self.failed("DescribeDBClusters")))?;
        let mut clusters = answer.and_then(|answer| answer.db_clusters).into_iter().flatten();
        Ok(clusters.next().and_then(|cluster| cluster.engine))
    }

    /// Returns whether a restored resource still exists. AWS Backup does not report it, and drctl queries RDS
    /// only; `None` for other services.
    pub async fn is_there(&self, made: &str) -> Result<Option<bool>, AwsFailure> {
        let parts: Vec<_> = made.split(':').collect();
        match parts.as_slice() {
            [_, _, "rds", _, _, "db", name] => {
                let asked = self.rds.describe_db_instances().db_instance_identifier(*name).send().await;
                let answer = found(asked.map_err(self.failed("DescribeDBInstances")))?;
                Ok(Some(answer.is_some_and(|answer| !answer.db_instances().is_empty())))
            }
            [_, _, "rds", _, _, "cluster", name] => {
                let asked = self.rds.describe_db_clusters().db_cluster_identifier(*name).send().await;
                let answer = found(asked.map_err(self.failed("DescribeDBClusters")))?;
                Ok(Some(answer.is_some_and(|answer| !answer.db_clusters().is_empty())))
            }
            _ => Ok(None),
        }
    }
}
