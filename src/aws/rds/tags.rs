use aws_sdk_rds::types::Tag;

use super::super::AwsTags;

impl From<Option<Vec<Tag>>> for AwsTags {
    fn from(tags: Option<Vec<Tag>>) -> Self {
        let pair = |tag: Tag| Some((tag.key?, tag.value.unwrap_or_default()));
        tags.into_iter().flatten().filter_map(pair).collect()
    }
}

impl From<&AwsTags> for Vec<Tag> {
    fn from(tags: &AwsTags) -> Self {
        tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
    }
}
