//! Getting data back: `plan` decides, `execute` acts.
