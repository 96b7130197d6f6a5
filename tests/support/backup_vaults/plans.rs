use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::points;
use super::route::Asked;
use super::world::{World, now};

/// A plan, and what it selects.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) vault: String,
    /// Resource ARNs, or patterns with `*`.
    pub(crate) selected: Vec<String>,
    pub(crate) excepted: Vec<String>,
    /// Tags that select too.
    pub(crate) tags: Vec<(String, String)>,
}

impl World {
    pub(crate) fn add_plan(&mut self, region: &str, plan: Plan) {
        self.regions.entry(region.to_owned()).or_default().plans.push(plan);
    }

    pub(super) fn plan(&self, asked: &Asked) -> Result<&Plan, Refusal> {
        let plans = self.regions.get(&asked.region).into_iter().flat_map(|region| &region.plans);
        let mut plans = plans.filter(|plan| plan.id == asked.label(0));
        plans.next().ok_or_else(|| Refusal::not_found(format!("Cannot find plan {}", asked.label(0))))
    }

    pub(super) fn get_plan(&self, asked: &Asked) -> Answer {
        let plan = self.plan(asked)?;
        Ok(json!({
            "BackupPlanId": plan.id,
            "BackupPlanArn": format!("arn:aws:backup:{}:123456789012:backup-plan:{}", asked.region, plan.id),
            "BackupPlan": {
                "BackupPlanName": plan.name,
                "Rules": [{
                    "RuleName": "daily", "TargetBackupVaultName": plan.vault,
                    "ScheduleExpression": "cron(0 5 ? * * *)", "RuleId": "r1",
                }],
            },
        }))
    }

    pub(super) fn get_selection(&self, asked: &Asked) -> Answer {
        let plan = self.plan(asked)?;
        let tags = plan.tags.iter().map(|(key, value)| {
            json!({ "ConditionType": "STRINGEQUALS", "ConditionKey": key, "ConditionValue": value })
        });
        Ok(json!({
            "BackupPlanId": plan.id,
            "SelectionId": asked.label(1),
            "BackupSelection": {
                "SelectionName": "all",
                "IamRoleArn": "arn:aws:iam::123456789012:role/backup",
                "Resources": plan.selected,
                "NotResources": plan.excepted,
                "ListOfTags": tags.collect::<Vec<_>>(),
            },
        }))
    }
}

pub(super) fn shown(region: &str, plan: &Plan) -> Value {
    json!({
        "BackupPlanId": plan.id,
        "BackupPlanName": plan.name,
        "BackupPlanArn": format!("arn:aws:backup:{region}:123456789012:backup-plan:{}", plan.id),
        "CreationDate": points::seconds(now()),
    })
}
