//! Taking backups: `plan` decides, `execute` acts.
