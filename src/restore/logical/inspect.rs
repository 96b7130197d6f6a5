//! Inspects the restored database and compares it with the recorded facts.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::compare::compare;
use super::database::execute;
use super::large_objects::dangling;
use super::pg_restore_errors::UnfilledView;
use super::plan::DumpRestorePlan;
use super::query::ask;
use super::selection::SelectedEntries;
use super::{Compared, DumpRestoreError};
use crate::model::{DatabaseFacts, TableFacts};
use crate::postgres::{SumRequest, close, count_rows, qualified, read_facts, sum_contents};
use crate::restore::scheduled_jobs::JobScheduler;
use crate::run::RunContext;
use crate::source::{Unreadable, unreadable};

/// Counts and compares. `unfilled`: materialised views that are reported, and not compared.
pub(super) async fn inspect(
    run: &RunContext,
    plan: &DumpRestorePlan,
    chosen: Option<&SelectedEntries>,
    unfilled: &[UnfilledView],
) -> Result<Compared, DumpRestoreError> {
    tokio::select! {
        compared = read_and_compare(plan, chosen, unfilled) => compared,
        () = run.cancel.cancelled() => Err(DumpRestoreError::Interrupted),
    }
}

async fn read_and_compare(
    plan: &DumpRestorePlan,
    chosen: Option<&SelectedEntries>,
    unfilled: &[UnfilledView],
) -> Result<Compared, DumpRestoreError> {
    let mut connection = plan.inside().connect().await.map_err(DumpRestoreError::Connect)?;
    // Counting is all it does, and it may use the resources of the load.
    let parallel = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL max_parallel_workers_per_gather = {}",
        plan.jobs.clamp(1, 8)
    );
    execute(&mut connection, "prepare to count", parallel).await?;
    let mut found = read_facts(&mut connection).await.map_err(DumpRestoreError::TargetFacts)?;
    let mut recorded = plan.steps.recorded.clone();
    // A view that is not filled cannot be read, and is reported by itself.
    let is_unfilled = |table: &TableFacts| {
        unfilled.iter().any(|view| (&view.schema, &view.name) == (&table.schema, &table.name))
    };
    recorded.tables.retain(|table| !is_unfilled(table));
    found.tables.retain(|table| !is_unfilled(table));
    let unreadable = unreadable(&mut connection, plan.steps.target_major);
    let unreadable = ask(unreadable).await?;
    let undetermined = set_aside(&mut recorded, &unreadable, chosen);
    let counted: BTreeSet<(&str, &str)> = recorded
        .tables
        .iter()
        .filter(|table| table.rows.is_some())
        .map(|table| (table.schema.as_str(), table.name.as_str()))
        .collect();
    let is_wanted = |table: &TableFacts| {
        let is_chosen =
            chosen.is_none_or(|chosen| chosen.loaded.contains(&(table.schema.clone(), table.name.clone())));
        is_chosen && counted.contains(&(table.schema.as_str(), table.name.as_str()))
    };
    let (mut wanted, others): (Vec<TableFacts>, Vec<TableFacts>) =
        found.tables.into_iter().partition(is_wanted);
    let uncounted = count_rows(&mut connection, &mut wanted).await.map_err(DumpRestoreError::TargetFacts)?;
    // In another version or encoding the same value may have another text.
    if recorded.major == found.major && recorded.encoding == found.encoding {
        without_contents_of(&mut recorded, &plan.steps.deactivates);
        let same = SumRequest::Same(&recorded.tables);
        if !sum_contents(&mut connection, &mut wanted, same).await {
            connection = plan.inside().connect().await.map_err(DumpRestoreError::Connect)?;
        }
    }
    for table in &mut recorded.tables {
        if uncounted.contains(&qualified(&table.schema, &table.name)) {
            table.rows = None;
        }
    }
    found.tables = wanted.into_iter().chain(others).collect();
    let descending = descending(&mut connection).await?;
    let left_out = chosen.filter(|chosen| !chosen.large_objects && recorded.large_objects > 0);
    let dangling = match left_out {
        Some(chosen) => dangling(&mut connection, chosen).await?,
        None => vec![],
    };
    close(connection).await;
    let compared = compare(&recorded, &found, chosen, &descending).map_err(DumpRestoreError::Different)?;
    let unlocked =
        uncounted.iter().map(|name| format!("rows of {name} not counted: no lock on it was to be had"));
    Ok(Compared { undetermined: undetermined.into_iter().chain(unlocked).collect(), dangling, ..compared })
}

/// Removes from the comparison the contents of the tables whose jobs were set inactive.
fn without_contents_of(recorded: &mut DatabaseFacts, deactivated: &[&JobScheduler]) {
    let is_changed = |table: &TableFacts| {
        deactivated.iter().any(|of| (of.schema, of.table) == (table.schema.as_str(), table.name.as_str()))
    };
    recorded.tables.iter_mut().filter(|table| is_changed(table)).for_each(|table| table.content = None);
}

/// Removes from the comparison what the restoring role may not read: the rows of tables and the values of
/// sequences. They are loaded like all others, and are no reason to drop the database. Returns each, as text.
fn set_aside(
    recorded: &mut DatabaseFacts,
    unreadable: &[Unreadable],
    chosen: Option<&SelectedEntries>,
) -> Vec<String> {
    let reason = |schema: &str, name: &str| {
        unreadable.iter().find(|item| match item {
            Unreadable::Schema(of) => of == schema,
            Unreadable::Table { schema: of, name: named }
            | Unreadable::RowSecurity { schema: of, name: named }
            | Unreadable::Sequence { schema: of, name: named } => of == schema && named == name,
            Unreadable::LargeObjects { .. } | Unreadable::Subscription(_) => false,
        })
    };
    let mut undetermined = Vec::new();
    for table in recorded.tables.iter_mut().filter(|table| table.rows.is_some()) {
        let key = (table.schema.clone(), table.name.clone());
        if chosen.is_none_or(|chosen| chosen.loaded.contains(&key))
            && let Some(why) = reason(&table.schema, &table.name)
        {
            table.rows = None;
            undetermined.push(format!("rows not counted: {why}"));
        }
    }
    recorded.sequences.retain(|sequence| {
        let key = (sequence.schema.clone(), sequence.name.clone());
        let is_chosen = chosen.is_none_or(|chosen| chosen.sequences.contains(&key));
        let why = reason(&sequence.schema, &sequence.name).filter(|_| is_chosen);
        undetermined.extend(why.map(|why| format!("value not read: {why}")));
        why.is_none()
    });
    undetermined
}

/// Returns the sequences that count downwards.
async fn descending(connection: &mut PgConnection) -> Result<BTreeSet<(String, String)>, DumpRestoreError> {
    let rows: Vec<(String, String)> = ask(sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text
           FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE s.seqincrement < 0",
    )
    .fetch_all(connection))
    .await?;
    Ok(rows.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentSum, SequenceState, SumScope};
    use crate::restore::logical::tests::situation;
    use crate::restore::scheduled_jobs::SCHEDULERS;

    #[test]
    fn the_contents_of_a_table_whose_jobs_were_set_inactive_are_not_compared() {
        let mut recorded = situation().recorded;
        let template = TableFacts {
            content: Some(ContentSum { scope: SumScope::All, rows: 3, sum: "1".to_owned() }),
            ..recorded.tables[0].clone()
        };
        let table = |schema: &str, name: &str| TableFacts {
            schema: schema.to_owned(),
            name: name.to_owned(),
            ..template.clone()
        };
        recorded.tables = vec![
            table("cron", "job"),
            table("pgagent", "pga_job"),
            table("timetable", "chain"),
            table("public", "job"),
        ];
        let summed = |facts: &DatabaseFacts| {
            facts.tables.iter().map(|table| table.content.is_some()).collect::<Vec<_>>()
        };
        // With `--with-active-jobs` nothing is changed.
        without_contents_of(&mut recorded, &[]);
        assert_eq!(summed(&recorded), [true; 4]);
        without_contents_of(&mut recorded, &SCHEDULERS);
        assert_eq!(summed(&recorded), [false, false, false, true]);
        assert!(recorded.tables.iter().all(|table| table.rows.is_some()), "they are counted");
    }

    #[test]
    fn what_may_not_be_read_is_undetermined_and_everything_else_compared() {
        let mut recorded = situation().recorded;
        let sequence = |name: &str| SequenceState {
            schema: "public".to_owned(),
            name: name.to_owned(),
            last_value: 1,
            is_called: true,
            ..SequenceState::default()
        };
        recorded.sequences = vec![sequence("a"), sequence("b")];
        let (schema, name) = ("public".to_owned(), "orders".to_owned());
        let unreadable = [
            Unreadable::RowSecurity { schema: schema.clone(), name },
            Unreadable::Sequence { schema, name: "a".to_owned() },
        ];
        let undetermined = set_aside(&mut recorded, &unreadable, None);
        assert_eq!(
            undetermined,
            [
                r#"rows not counted: table "public"."orders" (row-level security hides rows)"#,
                r#"value not read: sequence "public"."a" (no SELECT)"#,
            ]
        );
        assert_eq!((recorded.tables[0].rows, recorded.tables[1].rows), (None, Some(4)));
        assert_eq!(recorded.sequences, [sequence("b")]);
        let nothing_chosen = SelectedEntries::default();
        assert!(
            set_aside(
                &mut situation().recorded,
                &[Unreadable::Schema("public".to_owned())],
                Some(&nothing_chosen)
            )
            .is_empty()
        );
    }
}
