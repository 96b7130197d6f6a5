//! Which operation does what.

use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::route::Asked;
use super::world::{Call, World};
use super::{plans, points};

/// So that clients have to follow pages.
const PAGE: usize = 3;

pub(super) fn perform(world: &mut World, asked: &Asked) -> Answer {
    world.calls.push(Call {
        region: asked.region.clone(),
        operation: asked.operation,
        about: asked.labels.clone(),
        body: asked.body.clone(),
    });
    world.tick();
    match asked.operation {
        "StartBackupJob" => world.start_backup(asked),
        "StartCopyJob" => world.start_copy(asked),
        "StartRestoreJob" => world.start_restore(asked),
        "DeleteRecoveryPoint" => world.delete_point(asked),
        "UpdateRecoveryPointLifecycle" => world.update_lifecycle(asked),
        "PutRestoreValidationResult" => world.put_validation(asked),
        "TagResource" => world.tag(asked),
        "ListTags" => world.list_tags(asked),
        "DescribeBackupVault" => world.describe_vault(asked),
        "DescribeRecoveryPoint" => world.describe_point(asked),
        "GetRecoveryPointRestoreMetadata" => world.restore_metadata(asked),
        "GetRestoreJobMetadata" => world.restore_job_metadata(asked),
        "GetBackupPlan" => world.get_plan(asked),
        "GetBackupSelection" => world.get_selection(asked),
        "DescribeRestoreJob" => Ok(world.restore_job(asked)?.shown(&asked.region)),
        "DescribeBackupJob" | "DescribeCopyJob" => describe_job(world, asked),
        "GetBackupVaultAccessPolicy" => match &world.known_vault(asked)?.access_policy {
            Some(policy) => Ok(json!({ "BackupVaultName": asked.label(0), "Policy": policy })),
            None => Err(Refusal::not_found("Backup vault has no policy")),
        },
        _ => list(world, asked),
    }
}

fn describe_job(world: &World, asked: &Asked) -> Answer {
    let unknown = || Refusal::not_found(format!("Cannot find job {}", asked.label(0)));
    let region = world.regions.get(&asked.region).ok_or_else(unknown)?;
    if asked.operation == "DescribeBackupJob" {
        let job = region.backup_jobs.iter().find(|job| job.id == asked.label(0)).ok_or_else(unknown)?;
        return Ok(job.shown(&asked.region));
    }
    let job = region.copy_jobs.iter().find(|job| job.id == asked.label(0)).ok_or_else(unknown)?;
    Ok(json!({ "CopyJob": job.shown(&asked.region) }))
}

fn list(world: &World, asked: &Asked) -> Answer {
    let own = &asked.region;
    let Some(region) = world.regions.get(own) else { return page(listed(asked), vec![], asked) };
    let items: Vec<Value> = match asked.operation {
        "ListBackupVaults" => {
            region.vaults.iter().map(|(name, vault)| points::shown_vault(own, name, vault)).collect()
        }
        "ListRecoveryPointsByBackupVault" => {
            let vault = world.known_vault(asked)?;
            if vault.is_closed {
                return Err(Refusal::new(403, "AccessDeniedException", "not authorized to list this vault"));
            }
            let points = vault.points.values();
            points
                .filter(|point| asked.wants("resourceArn", &point.resource))
                .filter(|point| asked.wants("backupPlanId", point.plan.as_deref().unwrap_or_default()))
                .map(|point| points::shown_point(own, asked.label(0), point))
                .collect()
        }
        "ListRecoveryPointsByResource" => {
            let all = region
                .vaults
                .iter()
                .flat_map(|(name, vault)| vault.points.values().map(move |point| (name, point)));
            all.filter(|(_, point)| point.resource == asked.label(0))
                .map(|(vault, point)| points::shown_point(own, vault, point))
                .collect()
        }
        "ListBackupJobs" => {
            let jobs = region.backup_jobs.iter().rev();
            jobs.filter(|job| asked.wants("resourceArn", &job.resource))
                .filter(|job| asked.wants("state", job.course.state))
                .filter(|job| asked.wants("backupVaultName", &job.vault))
                .map(|job| job.shown(own))
                .collect()
        }
        "ListCopyJobs" => {
            let jobs = region.copy_jobs.iter().rev();
            jobs.filter(|job| asked.wants("sourceRecoveryPointArn", &job.source))
                .filter(|job| asked.wants("state", job.course.state))
                .filter(|job| {
                    asked.wants(
                        "destinationVaultArn",
                        &points::vault_arn(&job.target_region, &job.target_vault),
                    )
                })
                .map(|job| job.shown(own))
                .collect()
        }
        "ListRestoreJobs" => {
            let jobs = region.restore_jobs.iter().rev();
            jobs.filter(|job| asked.wants("status", job.course.state)).map(|job| job.shown(own)).collect()
        }
        "ListBackupPlans" => region.plans.iter().map(|plan| plans::shown(own, plan)).collect(),
        "ListBackupSelections" => {
            let plan = world.plan(asked)?;
            vec![json!({ "SelectionId": "s1", "SelectionName": "all", "BackupPlanId": plan.id })]
        }
        "ListProtectedResources" => {
            let points = region.vaults.values().flat_map(|vault| vault.points.values());
            let mut resources: Vec<_> = points.map(|point| point.resource.clone()).collect();
            resources.sort();
            resources.dedup();
            let shown =
                |arn: String| json!({ "ResourceType": points::resource_type(&arn), "ResourceArn": arn });
            resources.into_iter().map(shown).collect()
        }
        other => return Err(Refusal::new(501, "NotImplemented", other)),
    };
    page(listed(asked), items, asked)
}

/// What the list is called.
fn listed(asked: &Asked) -> &'static str {
    match asked.operation {
        "ListBackupVaults" => "BackupVaultList",
        "ListBackupJobs" => "BackupJobs",
        "ListCopyJobs" => "CopyJobs",
        "ListRestoreJobs" => "RestoreJobs",
        "ListBackupPlans" => "BackupPlansList",
        "ListBackupSelections" => "BackupSelectionsList",
        "ListProtectedResources" => "Results",
        _ => "RecoveryPoints",
    }
}

fn page(name: &str, items: Vec<Value>, asked: &Asked) -> Answer {
    let from: usize = asked.query.get("nextToken").and_then(|token| token.parse().ok()).unwrap_or(0);
    let wanted = asked.query.get("maxResults").and_then(|most| most.parse().ok()).unwrap_or(PAGE);
    let most = wanted.min(PAGE);
    let next = (items.len() > from + most).then(|| (from + most).to_string());
    let shown: Vec<Value> = items.into_iter().skip(from).take(most).collect();
    let mut answer = json!({ "NextToken": next });
    answer[name] = shown.into();
    Ok(answer)
}
