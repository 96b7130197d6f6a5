//! What is the account's: quotas, events, who calls, and what IAM would let them do.

use chrono::TimeDelta;

use super::error::{Answered, ApiError};
use super::router::Asked;
use super::state::{ACCOUNT, Event, now, time};
use super::xml::Xml;

pub(super) const CALLER: &str = "arn:aws:sts::123456789012:assumed-role/drctl-backup/session";

pub(super) fn caller(_asked: &Asked) -> Answered<Xml> {
    Ok(Xml::new().text("Arn", CALLER).text("UserId", "AROAEXAMPLE:session").text("Account", ACCOUNT))
}

pub(super) fn simulate(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let principal = form.required("PolicySourceArn")?;
    // IAM simulates users, groups and roles; a session has to be named by its role.
    if !principal.starts_with("arn:aws:iam::") {
        let words = format!("Invalid Entity Arn: {principal} does not clearly define entity type and name.");
        return Err(ApiError::new("InvalidInput", words));
    }
    let actions = form.list("ActionNames", "member").unwrap_or_default();
    let resources = form.list("ResourceArns", "member").unwrap_or_else(|| vec!["*".to_owned()]);
    form.get("MaxItems");
    form.get("Marker");
    // What a request says of itself decides nothing here.
    for number in 1..=form.record().len() {
        let entry = format!("ContextEntries.member.{number}");
        form.get(&format!("{entry}.ContextKeyName"));
        form.get(&format!("{entry}.ContextKeyType"));
        form.list(&format!("{entry}.ContextKeyValues"), "member");
    }
    let script = asked.shared.script();
    let results = actions.iter().flat_map(|action| resources.iter().map(move |resource| (action, resource)));
    let results: Vec<Xml> = results
        .map(|(action, resource)| {
            let decision = if script.denied.contains(action) { "implicitDeny" } else { "allowed" };
            Xml::new()
                .text("EvalActionName", action)
                .text("EvalResourceName", resource)
                .text("EvalDecision", decision)
        })
        .collect();
    Ok(Xml::new().text("IsTruncated", false).list("EvaluationResults", "member", results))
}

pub(super) fn attributes(asked: &Asked) -> Answered<Xml> {
    let mut state = asked.shared.state();
    let region = state.region(&asked.region);
    let manual = region.snapshots.values().filter(|snapshot| snapshot.kind == "manual").count();
    let of_clusters = region.cluster_snapshots.values().filter(|snapshot| snapshot.kind == "manual").count();
    let storage: u32 = region.instances.values().map(|one| one.settings.allocated_storage).sum();
    let quotas = [
        ("DBInstances", region.instances.len(), region.quotas.instances),
        ("ManualSnapshots", manual, region.quotas.manual_snapshots),
        ("ManualClusterSnapshots", of_clusters, region.quotas.manual_cluster_snapshots),
        ("AllocatedStorage", usize::try_from(storage).unwrap_or(usize::MAX), 100_000),
        ("DBParameterGroups", region.parameter_groups.len(), 50),
        ("DBSubnetGroups", region.subnet_groups.len(), 50),
    ];
    let quotas = quotas.map(|(name, used, max)| {
        Xml::new().text("AccountQuotaName", name).text("Used", used).text("Max", max)
    });
    Ok(Xml::new().list("AccountQuotas", "AccountQuota", quotas))
}

pub(super) fn events(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let (source, kind) = (form.owned("SourceIdentifier"), form.owned("SourceType"));
    if source.is_some() && kind.is_none() {
        return Err(ApiError::new(
            "InvalidParameterCombination",
            "SourceType must be given with SourceIdentifier",
        ));
    }
    let minutes: i64 = form.parsed("Duration")?.unwrap_or(60);
    let until = form.time("EndTime")?.unwrap_or_else(now);
    let from = form.time("StartTime")?.unwrap_or(until - TimeDelta::minutes(minutes));
    let all: Vec<Event> = {
        let mut state = asked.shared.state();
        let events = state.region(&asked.region).events.iter();
        events
            .filter(|event| source.as_ref().is_none_or(|source| *source == event.source))
            .filter(|event| kind.as_ref().is_none_or(|kind| *kind == event.kind))
            .filter(|event| event.at >= from && event.at <= until)
            .cloned()
            .collect()
    };
    let (page, marker) = form.page(all, |event| format!("{}{}", time(event.at), event.source))?;
    let shown: Vec<Xml> = page
        .iter()
        .map(|event| {
            Xml::new()
                .text("SourceIdentifier", &event.source)
                .text("SourceType", &event.kind)
                .text("Message", &event.message)
                .texts("EventCategories", "EventCategory", [&event.category])
                .text("Date", time(event.at))
                .text("SourceArn", &event.arn)
        })
        .collect();
    Ok(Xml::new().maybe("Marker", marker).list("Events", "Event", shown))
}
