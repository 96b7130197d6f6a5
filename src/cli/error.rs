use std::error::Error;
use std::fmt;

use super::exit::Exit;
use crate::catalog::CatalogError;

/// A command's failure as shown to the user: what failed, why, and what to do next.
///
/// Library errors carry facts. The hints are added here or by the verb, since only the command line knows its
/// commands.
#[derive(Debug)]
pub struct CommandError {
    pub exit: Exit,
    context: Vec<String>,
    error: Box<dyn Error + Send + Sync>,
    pub hints: Vec<String>,
}

impl CommandError {
    pub fn new(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit, context: vec![], error: error.into(), hints: vec![] }
    }

    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Exit::Failed, error)
    }

    pub fn usage(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Exit::Usage, error)
    }

    /// Prepends the action that failed.
    pub fn context(mut self, text: impl Into<String>) -> Self {
        self.context.insert(0, text.into());
        self
    }

    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hints.push(text.into());
        self
    }

    /// Returns what failed, then each cause; a cause contained in the previous line is left out.
    pub fn chain(&self) -> Vec<String> {
        let mut lines = self.context.clone();
        let mut next: Option<&(dyn Error + 'static)> = Some(&*self.error);
        while let Some(error) = next {
            let text = error.to_string();
            if !lines.last().is_some_and(|last| last.contains(&text)) {
                lines.push(text);
            }
            next = error.source();
        }
        lines
    }
}

impl From<CatalogError> for CommandError {
    fn from(error: CatalogError) -> Self {
        let hint = match &error {
            CatalogError::Damaged { .. } => "`drctl catalog rebuild` rebuilds it from the repositories.",
            CatalogError::Create { .. } => {
                "DRCTL_STATE_DIR names another directory for it; it is rebuilt from the repositories."
            }
            CatalogError::Newer { .. } => "Use that version, or name another catalog in the policy.",
            CatalogError::Unknown(_) => "`drctl list` shows what there is.",
            CatalogError::Ambiguous { .. } => "Give more of the id; `drctl list` shows how much is enough.",
            _ => return Self::failed(error),
        };
        let is_usage = matches!(error, CatalogError::Unknown(_) | CatalogError::Ambiguous { .. });
        Self::new(if is_usage { Exit::Usage } else { Exit::Failed }, error).hint(hint)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain().join(": "))
    }
}
