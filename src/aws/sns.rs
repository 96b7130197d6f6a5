//! Topics of Amazon SNS.

use aws_sdk_sns::types::MessageAttributeValue;

use super::{AwsError, AwsFailure, CallPace, paced_config};
use crate::model::Sha256Hex;
use crate::policy::AwsLocation;

/// What is published.
#[derive(Clone, Debug)]
pub struct Publication {
    /// At most 100 characters of ASCII, one line.
    pub subject: String,
    pub text: String,
    /// For the filters of subscriptions.
    pub attributes: Vec<(&'static str, String)>,
    /// For FIFO topics: messages of a group keep their order.
    pub group: String,
    /// What it is about.
    pub id: String,
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum SnsError {
    #[error("failed to speak to AWS")]
    Client(#[from] AwsError),
    #[error(transparent)]
    Aws(#[from] AwsFailure),
}

/// Publishes to the topic with this ARN.
pub async fn publish(place: &AwsLocation, topic: &str, publication: Publication) -> Result<(), SnsError> {
    let client = aws_sdk_sns::Client::new(&paced_config(place, CallPace::Look).await?);
    let Publication { subject, text, attributes, group, id } = publication;
    let mut request = client.publish().topic_arn(topic).subject(&subject);
    if topic.ends_with(".fifo") {
        // The same text within five minutes is the same message.
        let deduplication = Sha256Hex::digest(format!("{id}\n{subject}\n{text}").as_bytes()).to_string();
        request = request.message_group_id(group).message_deduplication_id(deduplication);
    }
    for (name, value) in attributes {
        let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
        // It lacks nothing.
        if let Ok(value) = value {
            request = request.message_attributes(name, value);
        }
    }
    let sent = request.message(text).send().await;
    sent.map_err(|error| AwsFailure::from_sdk("Publish", &place.region, error))?;
    Ok(())
}
