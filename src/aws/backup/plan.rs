use super::super::AwsFailure;
use super::AwsBackup;

/// An AWS Backup plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsBackupPlan {
    pub id: String,
    pub name: String,
    /// The vaults that its rules write to.
    pub vaults: Vec<String>,
    pub selections: Vec<BackupPlanSelection>,
}

/// A selection of resources by a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupPlanSelection {
    pub name: String,
    /// ARNs, or patterns for them.
    pub resources: Vec<String>,
    pub without: Vec<String>,
    /// It also selects by tags, and those of the resource are not known here.
    pub by_tags: bool,
}

/// Whether a plan covers a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    Covered,
    NotCovered,
    /// It depends on the tags of the resource.
    Unknown,
}

impl AwsBackupPlan {
    pub fn covers(&self, resource: &str) -> Coverage {
        let each = self.selections.iter().map(|selection| selection.covers(resource));
        each.fold(Coverage::NotCovered, |sum, one| match (sum, one) {
            (Coverage::Covered, _) | (_, Coverage::Covered) => Coverage::Covered,
            (Coverage::Unknown, _) | (_, Coverage::Unknown) => Coverage::Unknown,
            _ => Coverage::NotCovered,
        })
    }
}

impl BackupPlanSelection {
    /// Evaluates the selection as AWS does: tags restrict what the patterns match, and without patterns a
    /// selection by tags matches everything.
    fn covers(&self, resource: &str) -> Coverage {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, resource));
        if any(&self.without) {
            return Coverage::NotCovered;
        }
        match (any(&self.resources), self.resources.is_empty(), self.by_tags) {
            (true, _, false) => Coverage::Covered,
            (true, _, true) | (_, true, true) => Coverage::Unknown,
            _ => Coverage::NotCovered,
        }
    }
}

/// Matches a pattern in which `*` is any text.
fn fits(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let pieces: Vec<_> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl AwsBackup {
    /// Returns a plan by its name or ID.
    pub async fn plan(&self, named: &str) -> Result<Option<AwsBackupPlan>, AwsFailure> {
        let mut pages = self.client.list_backup_plans().into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.region.failed("ListBackupPlans"))?;
            let mut plans = page.backup_plans_list.into_iter().flatten();
            let own = plans.find(|plan| {
                plan.backup_plan_id.as_deref() == Some(named)
                    || plan.backup_plan_name.as_deref() == Some(named)
            });
            if let Some(id) = own.and_then(|plan| plan.backup_plan_id) {
                return self.plan_of_id(id).await.map(Some);
            }
        }
        Ok(None)
    }

    async fn plan_of_id(&self, id: String) -> Result<AwsBackupPlan, AwsFailure> {
        let operation = "GetBackupPlan";
        let asked = self.client.get_backup_plan().backup_plan_id(&id).send().await;
        let plan = asked.map_err(self.region.failed(operation))?.backup_plan;
        let plan = plan.ok_or_else(|| self.region.lacking(operation, "plan"))?;
        let mut vaults: Vec<_> = plan.rules.into_iter().map(|rule| rule.target_backup_vault_name).collect();
        vaults.sort();
        vaults.dedup();
        let selections = self.selections(&id).await?;
        Ok(AwsBackupPlan { id, name: plan.backup_plan_name, vaults, selections })
    }

    async fn selections(&self, plan: &str) -> Result<Vec<BackupPlanSelection>, AwsFailure> {
        let mut pages = self.client.list_backup_selections().backup_plan_id(plan).into_paginator().send();
        let mut selections = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(self.region.failed("ListBackupSelections"))?;
            for listed in page.backup_selections_list.into_iter().flatten() {
                let id = listed.selection_id.unwrap_or_default();
                let asked = self.client.get_backup_selection().backup_plan_id(plan).selection_id(id);
                let answer = asked.send().await.map_err(self.region.failed("GetBackupSelection"))?;
                let Some(selection) = answer.backup_selection else { continue };
                let conditions = selection.conditions.is_some_and(|conditions| {
                    [
                        conditions.string_equals,
                        conditions.string_not_equals,
                        conditions.string_like,
                        conditions.string_not_like,
                    ]
                    .into_iter()
                    .flatten()
                    .any(|list| !list.is_empty())
                });
                let by_tags = conditions || selection.list_of_tags.is_some_and(|tags| !tags.is_empty());
                selections.push(BackupPlanSelection {
                    name: selection.selection_name,
                    resources: selection.resources.unwrap_or_default(),
                    without: selection.not_resources.unwrap_or_default(),
                    by_tags,
                });
            }
        }
        Ok(selections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOURCE: &str = "arn:aws:s3:::shop-files";

    fn selection(resources: &[&str], without: &[&str], by_tags: bool) -> BackupPlanSelection {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        BackupPlanSelection {
            name: "all".to_owned(),
            resources: owned(resources),
            without: owned(without),
            by_tags,
        }
    }

    #[test]
    fn a_plan_covers_what_its_patterns_name_and_its_exceptions_do_not() {
        for (selection, expected) in [
            (selection(&[RESOURCE], &[], false), Coverage::Covered),
            (selection(&["*"], &[], false), Coverage::Covered),
            (selection(&["arn:aws:s3:::shop-*"], &[], false), Coverage::Covered),
            (selection(&["arn:*:shop*files"], &[], false), Coverage::Covered),
            (selection(&["arn:aws:s3:::shop"], &[], false), Coverage::NotCovered),
            (selection(&["arn:aws:rds:*"], &[], false), Coverage::NotCovered),
            (selection(&["*"], &["arn:aws:s3:::*"], false), Coverage::NotCovered),
            (selection(&["*"], &[], true), Coverage::Unknown),
            (selection(&[], &[], true), Coverage::Unknown),
            (selection(&[], &[RESOURCE], true), Coverage::NotCovered),
            (selection(&["arn:aws:rds:*"], &[], true), Coverage::NotCovered),
        ] {
            assert_eq!(selection.covers(RESOURCE), expected, "{selection:?}");
        }
    }
}
