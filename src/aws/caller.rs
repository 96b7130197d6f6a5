//! Queries the identity of the caller, and its rights according to IAM.

use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, PolicyEvaluationDecisionType};
use thiserror::Error;

use super::{AwsError, AwsFailure, CallPace, paced_config};
use crate::policy::{AwsLocation, Credentials};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// As returned by STS: of an assumed role, the session.
    pub arn: String,
    pub account: String,
    /// The principal that IAM can simulate: the role of a session. `None` if unknown.
    pub principal: Option<String>,
}

#[derive(Debug, Error)]
pub enum CallerError {
    #[error("failed to speak to AWS")]
    Client(#[from] AwsError),
    #[error(transparent)]
    Aws(#[from] AwsFailure),
}

/// Actions on resources in a request with this context.
#[derive(Clone, Debug, Default)]
pub struct SimulationRequest {
    pub actions: Vec<String>,
    pub resources: Vec<String>,
    pub context: Vec<SimulationContext>,
}

/// The value of a condition key in a request.
#[derive(Clone, Debug)]
pub struct SimulationContext {
    pub key: String,
    pub kind: ContextType,
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextType {
    Text,
    Texts,
    YesOrNo,
}

/// Whether one action is allowed on one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub action: String,
    pub is_allowed: bool,
}

/// Returns the identity of the credentials.
pub async fn caller(place: &AwsLocation) -> Result<Caller, CallerError> {
    let client = aws_sdk_sts::Client::new(&paced_config(place, CallPace::Look).await?);
    let asked = client.get_caller_identity().send().await;
    let answer = asked.map_err(|error| AwsFailure::from_sdk("GetCallerIdentity", &place.region, error))?;
    let lacking = |what| AwsFailure::lacking("GetCallerIdentity", &place.region, what);
    let arn = answer.arn.ok_or_else(|| lacking("ARN"))?;
    let principal = match &place.credentials {
        // A session ARN lacks the path of its role; the policy has it.
        Credentials::Role { arn, .. } => Some(arn.clone()),
        _ => principal(&arn),
    };
    Ok(Caller { account: answer.account.ok_or_else(|| lacking("account"))?, arn, principal })
}

/// Returns the role of a session, or the user.
fn principal(arn: &str) -> Option<String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, service, _, account, resource] = parts[..] else { return None };
    match (service, resource.split_once('/')?) {
        ("iam", _) => Some(arn.to_owned()),
        ("sts", ("assumed-role", rest)) => {
            let role = rest.split('/').next()?;
            Some(format!("arn:{partition}:iam::{account}:role/{role}"))
        }
        _ => None,
    }
}

/// Simulates each of the actions on each of the resources with IAM.
pub async fn simulate(
    place: &AwsLocation,
    principal: &str,
    question: &SimulationRequest,
) -> Result<Vec<Decision>, CallerError> {
    let client = aws_sdk_iam::Client::new(&paced_config(place, CallPace::Look).await?);
    let context = question.context.iter().map(|said| {
        let kind = match said.kind {
            ContextType::Text => ContextKeyTypeEnum::String,
            ContextType::Texts => ContextKeyTypeEnum::StringList,
            ContextType::YesOrNo => ContextKeyTypeEnum::Boolean,
        };
        ContextEntry::builder()
            .context_key_name(&said.key)
            .context_key_type(kind)
            .set_context_key_values(Some(said.values.clone()))
            .build()
    });
    let asked = client
        .simulate_principal_policy()
        .policy_source_arn(principal)
        .set_action_names(Some(question.actions.clone()))
        .set_resource_arns(Some(question.resources.clone()))
        .set_context_entries(Some(context.collect()).filter(|entries: &Vec<_>| !entries.is_empty()));
    let mut pages = asked.into_paginator().send();
    let mut decisions = Vec::new();
    while let Some(page) = pages.next().await {
        let page =
            page.map_err(|error| AwsFailure::from_sdk("SimulatePrincipalPolicy", &place.region, error))?;
        decisions.extend(page.evaluation_results.into_iter().flatten().map(|result| Decision {
            is_allowed: result.eval_decision == PolicyEvaluationDecisionType::Allowed,
            action: result.eval_action_name,
        }));
    }
    Ok(decisions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_asked_about_by_its_role() {
        let role = "arn:aws:iam::123456789012:role/drctl-backup".to_owned();
        let session = "arn:aws:sts::123456789012:assumed-role/drctl-backup/session";
        assert_eq!(principal(session), Some(role.clone()));
        assert_eq!(principal(&role), Some(role));
        assert_eq!(principal("arn:aws:sts::123456789012:federated-user/x"), None);
        assert_eq!(principal("arn:aws:iam::123456789012:root"), None);
    }
}
