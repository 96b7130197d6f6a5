/// A metric. All of them are gauges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    pub name: &'static str,
    /// One line.
    pub help: &'static str,
    pub labels: &'static [&'static str],
}

const fn family(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, help, labels }
}

const SYSTEM: &[&str] = &["system"];
const COPY: &[&str] = &["system", "source", "repository"];
const BACKUP: &[&str] = &["system", "source", "kind", "repository"];
const TASK: &[&str] = &["system", "task", "source", "kind"];
const DRILL: &[&str] = &["system", "source"];
const FORECAST: &[&str] = &["system", "source", "kind", "scenario"];

/// Every metric, in the order in which they are written.
pub const FAMILIES: [Family; 38] = [
    family("drctl_build_info", &["version"], "1, with the version of drctl that wrote the metrics."),
    family("drctl_collection_success", SYSTEM, "1 where the last collection succeeded, 0 where it failed."),
    family(
        "drctl_collected_timestamp_seconds",
        SYSTEM,
        "When the other metrics of the system were collected.",
    ),
    family("drctl_collection_duration_seconds", SYSTEM, "How long that took."),
    family(
        "drctl_fresh_until_timestamp_seconds",
        SYSTEM,
        "Until when newer metrics should have been collected.",
    ),
    family("drctl_rpo_target_seconds", SYSTEM, "The most data that may be lost, by the policy."),
    family("drctl_rto_target_seconds", SYSTEM, "The longest that a recovery may take, by the policy."),
    family(
        "drctl_repository_reached",
        &["system", "repository"],
        "1 where the repository could be queried, 0 where not.",
    ),
    family(
        "drctl_repository_lock_proven",
        &["system", "repository"],
        "1 where the store refused to delete a locked object within 90 days; only where the policy asks for a lock.",
    ),
    family(
        "drctl_recovery_point_timestamp_seconds",
        COPY,
        "The time of the newest data that can be restored from there alone; 0 where nothing can; what was last known where it could not be queried.",
    ),
    family(
        "drctl_copy_verdict",
        &["system", "source", "repository", "verdict"],
        "1 for the verdict of `drctl status` on what is there.",
    ),
    family("drctl_copy_behind", COPY, "1 where a newer backup exists elsewhere."),
    family("drctl_copy_bad_backups", COPY, "Copies that the last check found damaged."),
    family("drctl_copy_missing_backups", COPY, "Backups that were there, or should be, and are missing."),
    family(
        "drctl_loss_if_lost_seconds",
        COPY,
        "Data that would be lost if the source and this location were lost now; absent where that is everything or unknown.",
    ),
    family(
        "drctl_wal_until_timestamp_seconds",
        COPY,
        "Everything committed before can be recovered with the WAL there.",
    ),
    family("drctl_backup_last_good_timestamp_seconds", BACKUP, "When the newest good backup began."),
    family("drctl_backup_last_good_duration_seconds", BACKUP, "How long it took."),
    family("drctl_backup_last_good_size_bytes", BACKUP, "Its stored size."),
    family(
        "drctl_backup_least_expected_size_bytes",
        BACKUP,
        "Half of the median size of the full backups of the 30 days before it; absent for an incremental one, and where they are too few.",
    ),
    family("drctl_backups", BACKUP, "Backups that are held."),
    family("drctl_backups_stored_bytes", BACKUP, "Their stored size."),
    family("drctl_task_last_success_timestamp_seconds", TASK, "When the task last began and succeeded."),
    family("drctl_task_next_timestamp_seconds", TASK, "When the schedule has it next."),
    family(
        "drctl_task_late_after_timestamp_seconds",
        TASK,
        "From when on the task is late unless it is performed before; in the past where it is late now.",
    ),
    family("drctl_task_failing", TASK, "1 where the last attempts failed, 0 where not."),
    family("drctl_drill_last_timestamp_seconds", DRILL, "When the last drill ended."),
    family("drctl_drill_passed_timestamp_seconds", DRILL, "When a drill last passed."),
    family("drctl_drill_passed", DRILL, "1 where the last drill passed, 0 where not."),
    family(
        "drctl_drill_rto_seconds",
        DRILL,
        "What the recovery of the last drill took, allowances included.",
    ),
    family("drctl_drill_rpo_seconds", DRILL, "The data that the recovery of the last drill lost."),
    family(
        "drctl_drill_phase_seconds",
        &["system", "source", "phase"],
        "How long each phase of the last drill took.",
    ),
    family("drctl_rto_forecast_seconds", FORECAST, "What a recovery would take today, by past drills."),
    family(
        "drctl_rto_forecast_standing",
        FORECAST,
        "0 within the target; 1 above 80 % of it, or missed within 90 days; 2 missed.",
    ),
    family(
        "drctl_retention_last_success_timestamp_seconds",
        SYSTEM,
        "When retention last removed everything that it was to.",
    ),
    family("drctl_retention_problem", SYSTEM, "1 where retention is overdue or could not remove everything."),
    family(
        "drctl_notify_failing",
        &["system", "channel"],
        "1 where the channel did not take its last message.",
    ),
    family("drctl_runbooks_overdue", SYSTEM, "1 where a runbook is overdue for a rehearsal."),
];
