//! What the policy schedules: what is due, who does it, and the files that wake drctl for it.
//!
//! *Invariants.* What is due follows from the schedule, the manifests and the journal alone, so every host, and every
//! scheduler that wakes drctl, comes to the same answer; nothing is remembered elsewhere. A task is performed once for
//! each of its times, however many hosts are woken: it is decided again under the task's lease. Of times that were
//! missed only the last is made up for; the others are counted.
//!
//! *Not here.* How a task is performed: that is its command's ([`crate::cli`]). When cron lines fire:
//! [`crate::policy`].

mod due;
mod export;
mod history;
mod run;
mod task;

pub use due::{TaskState, Turn, task_state, task_states};
pub use export::{ExportError, ExportFile, ExportFormat, ExportRequest, WAKE_MINUTES, export};
pub use history::{Performance, TaskHistory};
pub use run::{LeaseParts, Perform, PerformError, Performed, TaskEnd, run_due};
pub use task::{ScheduledTask, Task, scheduled_tasks};
