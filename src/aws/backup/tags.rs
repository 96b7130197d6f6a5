use super::super::{AwsFailure, AwsTags};
use super::AwsBackup;

/// The service that stores the tags of a recovery point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RetainedBy {
    AwsBackup,
    Rds,
    /// A service without a client in drctl: EC2 for volumes, DynamoDB for tables without AWS Backup's
    /// advanced features.
    Another,
}

impl RetainedBy {
    fn from_arn(arn: &str) -> Self {
        match arn.split(':').nth(2) {
            Some("backup") => Self::AwsBackup,
            Some("rds") => Self::Rds,
            _ => Self::Another,
        }
    }
}

/// Returns whether its tags can be queried.
pub fn has_known_tags(arn: &str) -> bool {
    RetainedBy::from_arn(arn) != RetainedBy::Another
}

impl AwsBackup {
    /// Returns the tags of a recovery point; `None` if drctl cannot query the service that stores them.
    pub async fn tags(&self, arn: &str) -> Result<Option<AwsTags>, AwsFailure> {
        match RetainedBy::from_arn(arn) {
            RetainedBy::AwsBackup => {}
            RetainedBy::Rds => {
                let asked = self.rds.client.list_tags_for_resource().resource_name(arn).send().await;
                let answer = asked.map_err(self.region.failed("ListTagsForResource"))?;
                return Ok(Some(answer.tag_list.into()));
            }
            RetainedBy::Another => return Ok(None),
        }
        let mut pages = self.client.list_tags().resource_arn(arn).into_paginator().send();
        let mut tags = Vec::new();
        while let Some(page) = pages.next().await {
            tags.extend(page.map_err(self.region.failed("ListTags"))?.tags.into_iter().flatten());
        }
        Ok(Some(tags.into_iter().collect()))
    }

    /// Tags a recovery point. Only for those created by drctl, with [known tags](has_known_tags).
    pub async fn tag(&self, arn: &str, tags: &AwsTags) -> Result<(), AwsFailure> {
        if RetainedBy::from_arn(arn) == RetainedBy::Rds {
            let call = self.rds.client.add_tags_to_resource().resource_name(arn).set_tags(Some(tags.into()));
            return call.send().await.map(drop).map_err(self.region.failed("AddTagsToResource"));
        }
        let mut call = self.client.tag_resource().resource_arn(arn);
        for (key, value) in tags.iter() {
            call = call.tags(key, value);
        }
        call.send().await.map(drop).map_err(self.region.failed("TagResource"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_asked_of_the_service_that_a_recovery_point_belongs_to() {
        for (arn, keeper) in [
            ("arn:aws:backup:us-east-1:123456789012:recovery-point:1EB3B5E7", RetainedBy::AwsBackup),
            ("arn:aws-cn:backup:cn-north-1:123456789012:recovery-point:1EB3B5E7", RetainedBy::AwsBackup),
            (
                "arn:aws:backup:us-east-1:123456789012:recovery-point:continuous:db-AB-1f",
                RetainedBy::AwsBackup,
            ),
            ("arn:aws:rds:us-east-1:123456789012:snapshot:awsbackup:job-1", RetainedBy::Rds),
            ("arn:aws:rds:us-east-1:123456789012:cluster-snapshot:awsbackup:job-1", RetainedBy::Rds),
            ("arn:aws:dynamodb:us-east-1:123456789012:table/shop/backup/0154", RetainedBy::Another),
            ("arn:aws:ec2:us-east-1::snapshot/snap-0a1b", RetainedBy::Another),
        ] {
            assert_eq!(RetainedBy::from_arn(arn), keeper, "{arn}");
        }
    }
}
