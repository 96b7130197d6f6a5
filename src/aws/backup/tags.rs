use super::super::{AwsFailure, Tags};
use super::AwsBackup;

impl AwsBackup {
    /// Of a recovery point.
    pub async fn tags(&self, arn: &str) -> Result<Tags, AwsFailure> {
        let mut pages = self.client.list_tags().resource_arn(arn).into_paginator().send();
        let mut tags = Vec::new();
        while let Some(page) = pages.next().await {
            tags.extend(page.map_err(self.failed("ListTags"))?.tags.into_iter().flatten());
        }
        Ok(tags.into_iter().collect())
    }

    /// Only of what drctl made.
    pub async fn tag(&self, arn: &str, tags: &Tags) -> Result<(), AwsFailure> {
        let mut call = self.client.tag_resource().resource_arn(arn);
        for (key, value) in tags.iter() {
            call = call.tags(key, value);
        }
        call.send().await.map(drop).map_err(self.failed("TagResource"))
    }
}
