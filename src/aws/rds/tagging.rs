use super::super::{AwsFailure, AwsTags};
use super::Rds;

impl Rds {
    /// Adds tags to a resource of drctl, as checked by the caller.
    pub async fn add_tags(&self, arn: &str, tags: &AwsTags) -> Result<(), AwsFailure> {
        let call = self.client.add_tags_to_resource().resource_name(arn).set_tags(Some(tags.into()));
        call.send().await.map(drop).map_err(self.region.failed("AddTagsToResource"))
    }

    pub async fn remove_tags(&self, arn: &str, keys: &[&str]) -> Result<(), AwsFailure> {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let call = self.client.remove_tags_from_resource().resource_name(arn).set_tag_keys(Some(keys));
        call.send().await.map(drop).map_err(self.region.failed("RemoveTagsFromResource"))
    }
}
