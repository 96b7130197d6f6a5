//! The caller's permissions in AWS, compared with those of its role.

use super::{Area, DoctorFinding};
use crate::aws::{ContextType, Decision, SimulationContext, SimulationRequest, caller, simulate};
use crate::iam;
use crate::iam::{Effect, IamRole, IamStatement};
use crate::policy::{AwsLocation, Policy};
use crate::text::error_chain;

/// Actions that delete backups: only retention should have them.
const ENDS: [&str; 3] = ["rds:DeleteDBSnapshot", "rds:DeleteDBClusterSnapshot", "s3:DeleteObjectVersion"];

pub(super) async fn examine(
    policy: &Policy,
    subject: &str,
    place: &AwsLocation,
    role: IamRole,
) -> Vec<DoctorFinding> {
    let who = match caller(place).await {
        Ok(who) => who,
        Err(error) => {
            return vec![DoctorFinding::fault(
                Area::Source,
                subject,
                error_chain(&error),
                "Give the host credentials, or name them in the source.",
            )];
        }
    };
    let mut findings =
        vec![DoctorFinding::good(Area::Source, subject, format!("authenticated to AWS as {}", who.arn))];
    let own = who.account.parse().ok();
    // For an AWS-compatible service, too: the permissions that drctl would need at AWS.
    let document = match iam::document(&at_aws(policy), role, own.as_ref()) {
        Ok(document) => document,
        Err(error) => {
            findings.push(DoctorFinding::note(Area::Source, subject, error_chain(&error)));
            return findings;
        }
    };
    let Some(principal) = who.principal else {
        findings.push(cannot_ask(subject, role, "IAM answers for roles and users only"));
        return findings;
    };
    let needed = document.statements().iter().filter(|statement| statement.effect == Effect::Allow);
    let mut missing = Vec::new();
    let mut asked = 0;
    for statement in needed.clone() {
        match simulate(place, &principal, &question(statement)).await {
            Ok(decisions) => missing.extend(actions(decisions, false)),
            Err(error) => {
                findings.push(cannot_ask(subject, role, &error_chain(&error)));
                return findings;
            }
        }
        asked += statement.action.len();
    }
    missing.sort();
    missing.dedup();
    findings.push(if missing.is_empty() {
        let message = format!("it has all {asked} permissions that the {role} needs");
        DoctorFinding::good(Area::Source, subject, message)
    } else {
        DoctorFinding::fault(
            Area::Source,
            subject,
            format!("it lacks permissions that the {role} needs: {}", missing.join(", ")),
            format!("`drctl iam show {role}` prints the policy of that role."),
        )
    });
    if role != IamRole::Retention {
        let resources = needed.flat_map(|statement| statement.resource.iter().map(|arn| concrete(arn)));
        let resources = resources.filter(|arn| arn.contains("snapshot:") || arn.starts_with("arn:aws:s3:::"));
        let ends = SimulationRequest {
            actions: ENDS.map(str::to_owned).to_vec(),
            resources: resources.collect(),
            context: vec![],
        };
        if let Ok(decisions) = simulate(place, &principal, &ends).await {
            let may = actions(decisions, true);
            if !may.is_empty() {
                findings.push(DoctorFinding::warning(
                    Area::Source,
                    subject,
                    format!("it may delete backups or their keys, which the {role} must not: {}", may.join(", ")),
                    format!("`drctl iam show {role}` prints the policy that denies it. Stolen credentials could delete the backups."),
                ));
            }
        }
    }
    findings
}

/// Returns the actions that are allowed somewhere, or denied somewhere.
fn actions(decisions: Vec<Decision>, allowed: bool) -> Vec<String> {
    let such = decisions.into_iter().filter(|decision| decision.is_allowed == allowed);
    let mut actions: Vec<_> = such.map(|decision| decision.action).collect();
    actions.sort();
    actions.dedup();
    actions
}

fn cannot_ask(subject: &str, role: IamRole, reason: &str) -> DoctorFinding {
    let message = format!("the permissions of the {role} cannot be simulated: {reason}");
    DoctorFinding::note(Area::Source, subject, message)
}

/// Returns the policy with every location at AWS, so that its document names them.
fn at_aws(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    for source in &mut policy.sources {
        if let crate::policy::SourceConfig::Rds(rds) = &mut source.config {
            rds.place.endpoint = None;
        }
    }
    policy
}

/// Returns the requests that a statement would allow: patterns are replaced by a matching name.
fn question(statement: &IamStatement) -> SimulationRequest {
    let context = statement.condition.iter().map(|(operator, key, values)| SimulationContext {
        key: key.to_owned(),
        kind: match operator {
            "Bool" => ContextType::YesOrNo,
            several if several.starts_with("ForAnyValue") => ContextType::Texts,
            _ => ContextType::Text,
        },
        values: match operator {
            // The condition requires that it exists.
            "Null" => vec!["2000-01-01T00:00:00Z".to_owned()],
            _ => values.iter().map(|value| concrete(value)).collect(),
        },
    });
    SimulationRequest {
        actions: statement.action.clone(),
        resources: statement.resource.iter().map(|resource| concrete(resource)).collect(),
        context: context.collect(),
    }
}

fn concrete(pattern: &str) -> String {
    match pattern {
        "*" => "*".to_owned(),
        pattern => pattern.replace('*', "drctl").replace('?', "x"),
    }
}
