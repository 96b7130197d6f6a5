use std::sync::Arc;

use crate::model::BackupKind;
use crate::policy::Source;
use crate::source;

/// A backup of a source. A source with several methods occurs once for each.
#[derive(Clone, Debug)]
pub struct PlannedSource {
    pub source: Source,
    /// The implementation that captures it.
    pub opened: Arc<dyn source::Source>,
    /// `None` where this version cannot back it up: the run reports that, and does not succeed.
    pub kind: Option<BackupKind>,
}
