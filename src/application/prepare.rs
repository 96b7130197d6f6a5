use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::destination::member_destination;
use super::error::{ApplicationError, MemberError, MemberRefused};
use super::member::{MemberRequest, PreparedMember};
use super::plan::{ApplicationPlan, MemberPlan};
use super::request::ApplicationRequest;
use super::select::{MemberBackup, MemberSource, PointSelector, SelectedMember, Selection, select};
use super::state::RestoreState;
use crate::model::{BackupId, SourceName};
use crate::policy::{Check, Policy, Reference, Source};
use crate::restore::{Method, Refusal};
use crate::run::RunContext;
use crate::text::quoted_list;

/// A restore of an application that was not refused.
#[derive(Debug)]
pub struct PreparedApplication<'c> {
    pub(super) plan: ApplicationPlan,
    pub(super) request: ApplicationRequest,
    pub(super) selection: Selection,
    /// Members that are not restored yet.
    pub(super) ready: Vec<PreparedMember<'c>>,
    pub(super) references: Vec<Reference>,
    pub(super) state: Option<RestoreState>,
    pub(super) sources: Vec<Source>,
    /// Where each member goes, as a plan file says it.
    destinations: Vec<(SourceName, String)>,
    /// Removed again where nothing was put into it.
    _directory: Option<NewDirectory>,
}

impl PreparedApplication<'_> {
    pub fn plan(&self) -> &ApplicationPlan {
        &self.plan
    }

    /// Returns the plan as a file for `--to`.
    pub fn plan_file(&self) -> String {
        let lines = self.destinations.iter().map(|(source, to)| format!("{source} = {to:?}\n"));
        format!("[to]\n{}", lines.collect::<String>())
    }
}

/// Plans every member, or returns everything that is against any of them.
pub async fn prepare<'c>(
    run: &RunContext,
    policy: &Policy,
    mut request: ApplicationRequest,
    checks: &'c BTreeMap<SourceName, Vec<Check>>,
) -> Result<PreparedApplication<'c>, ApplicationError> {
    let members = members(policy, &request).map_err(ApplicationError::Refused)?;
    let state = RestoreState::read(&request.to.state)?;
    if let Some(state) = &state {
        resumed(state, run, &mut request).map_err(|refusal| ApplicationError::Refused(vec![refusal]))?;
    }
    let sources: Vec<MemberSource> = members
        .iter()
        .map(|source| MemberSource {
            name: source.name.clone(),
            has_wal: source.wal().is_some() && source.base().is_some(),
            prefers: request.to.prefers(&source.name),
        })
        .collect();
    let selection =
        select(&request.inventory, &sources, &request.selector, request.from.as_ref(), run.clock.now())
            .map_err(ApplicationError::Refused)?;
    let directory = request.to.directory.as_deref().and_then(NewDirectory::create);
    let references = references(policy, &selection);
    let mut destinations = Vec::new();
    let (mut ready, mut plans, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for selected in &selection.members {
        run.check_interruption().map_err(|_| ApplicationError::Interrupted)?;
        if let Some(done) = state.as_ref().and_then(|state| state.members.get(&selected.source)) {
            let to = request.to.to.get(&selected.source).cloned().unwrap_or_else(|| done.to.clone());
            destinations.push((selected.source.clone(), to));
            plans.push(restored_before(selected, done.backup.clone(), &done.to, run));
            continue;
        }
        let Some(source) = members.iter().find(|source| source.name == selected.source) else { continue };
        let checks = checks.get(&source.name).map(Vec::as_slice).unwrap_or_default();
        let starts = !checks.is_empty() || references.iter().any(|reference| reference.source == source.name);
        let flags = (state.is_some(), starts);
        match prepare_member(run, &request, (source, selected), flags, checks).await {
            Ok((prepared, to)) => {
                let to = request.to.to.get(&source.name).cloned().unwrap_or(to);
                destinations.push((source.name.clone(), to));
                plans.push(prepared.plan());
                ready.push(prepared);
            }
            Err(MemberRefused { error, .. }) if error.is_interruption() => {
                return Err(ApplicationError::Interrupted);
            }
            Err(why) => refused.push(why),
        }
    }
    if !refused.is_empty() {
        return Err(ApplicationError::Members(refused));
    }
    let plan = ApplicationPlan {
        point: selection.point.clone(),
        time: selection.time,
        label: selection.label.clone(),
        members: plans,
        at_once: request.at_once,
        references: references
            .iter()
            .map(|reference| format!("rows of {} with files of {}", reference.source, reference.files))
            .collect(),
        notes: notes(policy, &selection),
        resumes: state.is_some(),
    };
    let sources = members.into_iter().cloned().collect();
    Ok(PreparedApplication {
        plan,
        request,
        selection,
        ready,
        references,
        state,
        sources,
        destinations,
        _directory: directory,
    })
}

/// Returns the members that are wanted: those of the recovery point, otherwise every source.
fn members<'p>(policy: &'p Policy, request: &ApplicationRequest) -> Result<Vec<&'p Source>, Vec<Refusal>> {
    let names: Vec<SourceName> = match &policy.recovery_point {
        Some(point) => point.members.clone(),
        None => policy.sources.iter().map(|source| source.name.clone()).collect(),
    };
    let unknown: Vec<_> = request.to.unknown(&names).collect();
    if !unknown.is_empty() {
        let message = format!(
            "the plan file names {}, and the application is {}",
            quoted_list(&unknown),
            quoted_list(&names.iter().collect::<Vec<_>>())
        );
        return Err(vec![Refusal::usage("unknown-member", message)]);
    }
    let wanted = names.iter().filter(|name| !request.to.leave_out.contains(name));
    Ok(wanted.filter_map(|name| policy.source(name)).collect())
}

/// Has an attempt restore what the one before began to restore.
fn resumed(state: &RestoreState, run: &RunContext, request: &mut ApplicationRequest) -> Result<(), Refusal> {
    let of = match (&state.point, state.until) {
        (Some(point), _) => PointSelector::Prefix(point.to_string()),
        (None, Some(time)) => PointSelector::Time(time),
        (None, None) => PointSelector::Newest,
    };
    let is_same = match (&request.selector, &of) {
        (PointSelector::Latest, PointSelector::Prefix(_)) => true,
        (PointSelector::Prefix(asked), PointSelector::Prefix(begun)) => begun.starts_with(asked),
        (asked, begun) => asked == begun,
    };
    if state.system != run.system || !is_same {
        let what = match (&state.point, state.until) {
            (Some(point), _) => format!("recovery point {point}"),
            (None, Some(time)) => format!("data of {}", crate::text::format_time(time)),
            (None, None) => "the newest data".to_owned(),
        };
        let message = format!(
            "`{}` says that a restore of {what} of `{}` was begun there, and another is asked for",
            request.to.state.display(),
            state.system
        );
        return Err(Refusal::usage("other-restore", message));
    }
    request.selector = of;
    Ok(())
}

async fn prepare_member<'c>(
    run: &RunContext,
    request: &ApplicationRequest,
    (source, selected): (&Source, &SelectedMember),
    flags: (bool, bool),
    checks: &'c [Check],
) -> Result<(PreparedMember<'c>, String), MemberRefused> {
    let refused = |error: MemberError| MemberRefused { source: source.name.clone(), error };
    if let Some(refusal) = not_here(source) {
        return Err(refused(MemberError::Refused(refusal)));
    }
    let to = member_destination(&request.to, source, &selected.backup).await.map_err(refused)?;
    let in_file = to.in_file();
    let member = MemberRequest::new(request, source, selected, to, flags).map_err(refused)?;
    Ok((member.prepare(run, checks).await?, in_file))
}

/// Refuses what is restored into something of AWS's own.
fn not_here(source: &Source) -> Option<Refusal> {
    let is_managed = source.aws_backup().is_some()
        || source.rds().is_some_and(|rds| rds.login.as_ref().is_none_or(|login| login.logical.is_none()));
    is_managed.then(|| {
        let message =
            format!("`{}` is restored into a new resource of AWS, by a command of its own", source.name);
        Refusal::usage("managed-member", message)
    })
}

fn restored_before(
    selected: &SelectedMember,
    backup: Option<BackupId>,
    to: &str,
    run: &RunContext,
) -> MemberPlan {
    MemberPlan {
        source: selected.source.clone(),
        method: match &selected.backup {
            MemberBackup::Cluster { .. } => Method::Physical,
            MemberBackup::Whole(id) if id.kind() == crate::model::BackupKind::Logical => Method::Logical,
            MemberBackup::Whole(_) => Method::Content,
        },
        backup,
        recovery_point: selected.time.unwrap_or_else(|| run.clock.now()),
        to: to.to_owned(),
        from: vec![],
        bytes: 0,
        stored_bytes: 0,
        estimated_seconds: None,
        steps: vec![],
        notes: vec![],
        is_restored: true,
    }
}

/// Returns the references between members that are restored.
fn references(policy: &Policy, selection: &Selection) -> Vec<Reference> {
    let is_there = |name: &SourceName| selection.members.iter().any(|member| member.source == *name);
    let all = policy.recovery_point.iter().flat_map(|point| &point.references);
    all.filter(|reference| is_there(&reference.source) && is_there(&reference.files)).cloned().collect()
}

fn notes(policy: &Policy, selection: &Selection) -> Vec<String> {
    let mut notes = selection.notes.clone();
    let left: Vec<_> = policy
        .sources
        .iter()
        .map(|source| &source.name)
        .filter(|name| selection.members.iter().all(|member| member.source != **name))
        .collect();
    if !left.is_empty() {
        notes.push(format!(
            "{} {} not restored with it, and can be by a `drctl restore` of its own",
            quoted_list(&left),
            if left.len() == 1 { "is" } else { "are" }
        ));
    }
    notes
}

/// A directory that was made for what is restored below it.
#[derive(Debug)]
struct NewDirectory(PathBuf);

impl NewDirectory {
    /// Creates it for its owner alone; `None`: it exists, or cannot be created, which each member then says.
    fn create(path: &Path) -> Option<Self> {
        fs::DirBuilder::new().mode(0o700).create(path).ok().map(|()| Self(path.to_owned()))
    }
}

impl Drop for NewDirectory {
    fn drop(&mut self) {
        // Only an empty one can be removed.
        let _kept = fs::remove_dir(&self.0);
    }
}
