use crate::model::{Artifact, CloudBackupCopy};
use crate::policy::RdsDatabase;
use crate::source::manual_restore::plain;

/// Returns the commands that restore a snapshot with the AWS CLI, for the manifest. They omit the database's
/// settings: those are in the details, which only key holders can read.
pub(super) fn lines(details: &Artifact, of: &RdsDatabase, id: &str, held: &[CloudBackupCopy]) -> Vec<String> {
    let regions: Vec<&str> = held.iter().map(|copy| copy.region.as_str()).collect();
    let region = regions.first().copied().unwrap_or("REGION");
    // Without tags of its own it inherits the snapshot's, and so do its snapshots: they would look like this
    // backup.
    let tags = format!("--tags Key=restored-by-hand-from,Value={id}");
    let mut lines = vec![
        format!("# Amazon RDS keeps snapshot {id}, in {}; use the region that lives", regions.join(" and ")),
        format!("{} > details.json  # how the database was set up", plain(details)),
    ];
    match of {
        RdsDatabase::Instance(_) => {
            lines.push(format!(
                "aws rds restore-db-instance-from-db-snapshot --region {region} --db-snapshot-identifier {id} --db-instance-identifier NEW --db-subnet-group-name GROUP --vpc-security-group-ids SG --db-parameter-group-name GROUP --multi-az --no-publicly-accessible --deletion-protection {tags}  # each as details.json says; left out, AWS takes its defaults"
            ));
            lines.push(format!(
                "aws rds wait db-instance-available --region {region} --db-instance-identifier NEW"
            ));
            lines.push(format!(
                "aws rds describe-db-instances --region {region} --db-instance-identifier NEW --query 'DBInstances[0].Endpoint'"
            ));
        }
        RdsDatabase::Cluster(_) => {
            lines.push(format!(
                "aws rds restore-db-cluster-from-snapshot --region {region} --snapshot-identifier {id} --db-cluster-identifier NEW --engine ENGINE --db-subnet-group-name GROUP --vpc-security-group-ids SG --db-cluster-parameter-group-name GROUP --deletion-protection {tags}  # each as details.json says; a Multi-AZ cluster also needs --db-cluster-instance-class CLASS, and makes its own instances"
            ));
            lines.push(format!(
                "aws rds wait db-cluster-available --region {region} --db-cluster-identifier NEW"
            ));
            lines.push(format!(
                "aws rds create-db-instance --region {region} --db-cluster-identifier NEW --db-instance-identifier NEW-1 --engine ENGINE --db-instance-class CLASS  # Aurora only: without it there is nothing to connect to"
            ));
            lines.push(format!(
                "aws rds wait db-instance-available --region {region} --db-instance-identifier NEW-1"
            ));
            lines.push(format!(
                "aws rds describe-db-clusters --region {region} --db-cluster-identifier NEW --query 'DBClusters[0].Endpoint'"
            ));
        }
    }
    lines
}
